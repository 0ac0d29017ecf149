//! Produced and fetched.

use super::*;

#[tokio::test]
async fn what_is_produced_is_fetched() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let empty = fetch(&mut client, "t", 0).await;
    assert_eq!(
        (empty.error_code, empty.high_watermark, empty.records.len()),
        (0, 0, 0)
    );
    let first = produce(&mut client, "t", 0, batch(&["a", "b"])).await;
    assert_eq!(
        (first.error_code, first.base_offset, first.log_append_time_ms),
        (0, 0, -1)
    );
    let second = produce(&mut client, "t", 0, batch(&["c"])).await;
    assert_eq!((second.base_offset, second.log_start_offset), (2, 0));
    let all = fetch(&mut client, "t", 0).await;
    assert_eq!(values(&all.records), ["a", "b", "c"]);
    assert_eq!(
        (all.high_watermark, all.last_stable_offset, all.log_start_offset),
        (3, 3, 0)
    );
    // An offset within a batch brings the whole batch.
    assert_eq!(values(&fetch(&mut client, "t", 1).await.records), ["a", "b", "c"]);
    assert_eq!(values(&fetch(&mut client, "t", 2).await.records), ["c"]);
    assert_eq!(fetch(&mut client, "t", 3).await.error_code, 0);
    assert_eq!(
        fetch(&mut client, "t", 4).await.error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
}

#[tokio::test]
async fn every_version_carries_the_same_records() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut client, "t").await;
    for version in 3..=13 {
        let mut request = produce_request(topic_id, 0, batch(&[&version.to_string()]));
        request.topic_data[0].name = "t".to_owned();
        let response = client.send_version(&request, version).await.responses.remove(0);
        assert_eq!(response.partition_responses[0].error_code, 0);
        assert_eq!(
            response.partition_responses[0].base_offset,
            i64::from(version) - 3
        );
    }
    for version in 4..=18 {
        let mut request = fetch_request(topic_id, vec![from_offset(0, 0)]);
        request.topics[0].topic = "t".to_owned();
        request.isolation_level = (version % 2) as i8;
        let data = only(client.send_version(&request, version).await);
        assert_eq!(values(&data.records).len(), 11, "{version}");
        assert_eq!(data.aborted_transactions.is_some(), version % 2 == 1);
    }
}

#[tokio::test]
async fn a_fetch_waits_for_records() {
    let cluster = start(&[]).await;
    let (mut reader, mut writer) = (Client::of(&cluster).await, Client::of(&cluster).await);
    writer.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut reader, "t").await;
    let waiting = FetchRequest {
        max_wait_ms: PATIENCE.as_millis() as i32,
        min_bytes: 100,
        ..fetch_request(topic_id, vec![from_offset(0, 0)])
    };
    reader.write(&waiting, 18).await;
    produce(&mut writer, "t", 0, batch(&["a"])).await;
    produce(&mut writer, "t", 0, batch(&["b"])).await;
    let began = Instant::now();
    assert_eq!(
        values(&only(reader.read::<FetchRequest>(18).await).records),
        ["a", "b"]
    );
    assert!(began.elapsed() < PATIENCE);

    let short = FetchRequest {
        max_wait_ms: 30,
        min_bytes: 1,
        ..fetch_request(topic_id, vec![from_offset(0, 2)])
    };
    let began = Instant::now();
    assert_eq!(only(reader.send(&short).await).records.len(), 0);
    assert!(began.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_waiting_fetch_ends_when_its_topic_does_and_when_the_cluster_does() {
    let cluster = start(&[]).await;
    let (mut reader, mut admin) = (Client::of(&cluster).await, Client::of(&cluster).await);
    for topic in ["t", "u"] {
        admin.create_topic(topic, 1, &[]).await;
    }
    let wait = |topic_id| FetchRequest {
        max_wait_ms: i32::MAX,
        ..fetch_request(topic_id, vec![from_offset(0, 0)])
    };
    let topic_id = id_of(&mut admin, "t").await;
    reader.write(&wait(topic_id), 18).await;
    let delete = DeleteTopicsRequest {
        topic_names: vec!["t".to_owned()],
        ..Default::default()
    };
    assert_eq!(admin.send_version(&delete, 5).await.responses[0].error_code, 0);
    assert_ne!(only(reader.read::<FetchRequest>(18).await).error_code, 0);
    let gone = only(reader.send(&wait(topic_id)).await);
    assert_eq!(gone.error_code, ErrorCode::UnknownTopicId.code());

    reader.write(&wait(id_of(&mut admin, "u").await), 18).await;
    let began = Instant::now();
    cluster.shutdown(PATIENCE).await;
    assert!(began.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn limits_cut_at_whole_batches_and_the_first_is_always_there() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 3, &[]).await;
    let topic_id = id_of(&mut client, "t").await;
    let large = "x".repeat(5000);
    for partition in 0..3 {
        for _ in 0..2 {
            produce(&mut client, "t", partition, batch(&[&large])).await;
        }
    }
    let all = || {
        (0..3)
            .map(|partition| from_offset(partition, 0))
            .collect::<Vec<_>>()
    };
    let sizes = |response: FetchResponse| {
        let partitions = &response.responses[0].partitions;
        assert_eq!(
            partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        partitions
            .iter()
            .map(|p| values(&p.records).len())
            .collect::<Vec<_>>()
    };
    // Less than a batch: one whole batch, of the first partition that the client names.
    for first in 0..3 {
        let mut partitions = all();
        partitions.rotate_left(first);
        let request = FetchRequest {
            max_bytes: 10,
            ..fetch_request(topic_id, partitions)
        };
        let response = client.send(&request).await;
        let partitions = &response.responses[0].partitions;
        assert_eq!(partitions[0].partition_index, first as i32);
        let sizes = partitions.iter().map(|p| values(&p.records).len());
        assert_eq!(sizes.collect::<Vec<_>>(), [1, 0, 0]);
    }
    // Room for one batch and a half of each partition.
    let mut partitions = all();
    partitions
        .iter_mut()
        .for_each(|partition| partition.partition_max_bytes = 7500);
    assert_eq!(
        sizes(client.send(&fetch_request(topic_id, partitions)).await),
        [1, 1, 1]
    );
    assert_eq!(
        sizes(client.send(&fetch_request(topic_id, all())).await),
        [2, 2, 2]
    );
}

#[tokio::test]
async fn bad_batches_are_refused_each_for_its_reason() {
    let cluster = start(&[("message.max.bytes", "1000")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    client
        .create_topic("compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    let mut corrupt = batch(&["a"]).to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    let two = [batch(&["a"]), batch(&["b"])].concat();
    let cases = [
        ("t", Bytes::from(corrupt), ErrorCode::CorruptMessage),
        ("t", Bytes::from(two), ErrorCode::InvalidRecord),
        ("t", batch(&[&"x".repeat(2000)]), ErrorCode::MessageTooLarge),
        ("compacted", batch(&["no key"]), ErrorCode::InvalidRecord),
    ];
    for (topic, records, error) in cases {
        let refused = produce(&mut client, topic, 0, records).await;
        assert_eq!(
            (refused.error_code, refused.base_offset),
            (error.code(), -1),
            "{:?}",
            refused.error_message
        );
    }
    assert_eq!(fetch(&mut client, "t", 0).await.high_watermark, 0);
    let topic_id = id_of(&mut client, "t").await;
    let request = ProduceRequest {
        acks: 2,
        ..produce_request(topic_id, 0, batch(&["a"]))
    };
    let refused = client
        .send(&request)
        .await
        .responses
        .remove(0)
        .partition_responses
        .remove(0);
    assert_eq!(refused.error_code, ErrorCode::InvalidRequiredAcks.code());
    let unknown = client
        .send(&produce_request(Uuid::from_bytes([9; 16]), 0, batch(&["a"])))
        .await;
    let code = unknown.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicId.code());
    let refused = produce(&mut client, "t", 5, batch(&["a"])).await;
    assert_eq!(refused.error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn without_acknowledgement_nothing_is_answered_and_errors_close() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut client, "t").await;
    let silent = |partition| ProduceRequest {
        acks: 0,
        ..produce_request(topic_id, partition, batch(&["a"]))
    };
    client.write(&silent(0), 13).await;
    // The next answer is to the next request.
    assert_eq!(fetch(&mut client, "t", 0).await.high_watermark, 1);
    client.write(&silent(7), 13).await;
    assert_eq!(client.read_frame().await, None);
}

#[tokio::test]
async fn an_idempotent_producer_is_written_once() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let init = InitProducerIdRequest {
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    let (one, other) = (client.send(&init).await, client.send(&init).await);
    assert_eq!((one.error_code, one.producer_epoch), (0, 0));
    assert_ne!(one.producer_id, other.producer_id);
    let sequenced = |sequence| {
        fill(
            BatchBuilder::new().producer(one.producer_id, one.producer_epoch, sequence),
            &["a"],
        )
    };
    for (sequence, offset) in [(0, 0), (1, 1), (1, 1), (0, 0), (2, 2)] {
        let response = produce(&mut client, "t", 0, sequenced(sequence)).await;
        assert_eq!((response.error_code, response.base_offset), (0, offset));
    }
    let gap = produce(&mut client, "t", 0, sequenced(9)).await;
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code());
}
