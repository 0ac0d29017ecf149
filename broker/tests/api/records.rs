//! Records: produced, fetched, looked up, deleted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::{
    ErrorCode, Uuid,
    batch::Batches,
    builder::{BatchBuilder, NewRecord},
    message::{
        DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest,
        ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        fetch::{FetchPartition, FetchTopic, PartitionData},
        list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic},
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData},
    },
};

use crate::client::{Client, PATIENCE, start, start_nodes};

const NOW: i64 = 1_700_000_000_000;

/// A batch with these values, one millisecond apart.
fn batch(values: &[&str]) -> Bytes {
    fill(BatchBuilder::new(), values)
}

fn fill(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (timestamp, value) in (NOW..).zip(values) {
        builder.push(NewRecord {
            timestamp,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build().unwrap().into()
}

/// The values of all records from `offset` on.
fn values(records: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    for batch in Batches::new(records) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let bytes = batch.decompress(1 << 20).unwrap();
        for record in batch.records(&bytes) {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

async fn id_of(client: &mut Client, topic: &str) -> Uuid {
    client.metadata(&[topic]).await.topics[0].topic_id
}

fn produce_request(topic_id: Uuid, index: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData { index, records }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn produce(client: &mut Client, topic: &str, index: i32, records: Bytes) -> PartitionProduceResponse {
    let topic_id = id_of(client, topic).await;
    let mut response = client.send(&produce_request(topic_id, index, records)).await;
    response.responses.remove(0).partition_responses.remove(0)
}

fn from_offset(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

fn fetch_request(topic_id: Uuid, partitions: Vec<FetchPartition>) -> FetchRequest {
    FetchRequest {
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn fetch(client: &mut Client, topic: &str, offset: i64) -> PartitionData {
    let topic_id = id_of(client, topic).await;
    only(
        client
            .send(&fetch_request(topic_id, vec![from_offset(0, offset)]))
            .await,
    )
}

fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!((response.error_code, response.session_id), (0, 0));
    response.responses.remove(0).partitions.remove(0)
}

async fn list(
    client: &mut Client,
    topic: &str,
    version: i16,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: vec![ListOffsetsPartition {
                timestamp,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    client
        .send_version(&request, version)
        .await
        .topics
        .remove(0)
        .partitions
        .remove(0)
}

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
    // Less than a batch: one whole batch, of each partition in turn.
    let mut turns = vec![0; 3];
    for _ in 0..30 {
        let request = FetchRequest {
            max_bytes: 10,
            ..fetch_request(topic_id, all())
        };
        let sizes = sizes(client.send(&request).await);
        assert_eq!(sizes.iter().sum::<usize>(), 1, "{sizes:?}");
        sizes
            .iter()
            .zip(&mut turns)
            .for_each(|(size, turn)| *turn += size);
    }
    assert!(turns.iter().all(|turn| *turn > 0), "{turns:?}");
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
async fn sessions_are_refused_politely() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let topic_id = id_of(&mut client, "t").await;
    for session_epoch in [-1, 0] {
        let request = FetchRequest {
            session_epoch,
            ..fetch_request(topic_id, vec![from_offset(0, 0)])
        };
        assert_eq!(only(client.send(&request).await).error_code, 0);
    }
    let request = FetchRequest {
        session_id: 5,
        session_epoch: 1,
        ..Default::default()
    };
    let code = client.send(&request).await.error_code;
    assert_eq!(code, ErrorCode::FetchSessionIdNotFound.code());
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
    let transactional = InitProducerIdRequest {
        transactional_id: Some("x".to_owned()),
        ..init
    };
    assert_ne!(client.send(&transactional).await.error_code, 0);
}

#[tokio::test]
async fn only_the_leader_serves_a_partition() {
    let cluster = start_nodes(2, &[]).await;
    let mut nodes = [
        Client::connect(cluster.addresses()[0]).await,
        Client::connect(cluster.addresses()[1]).await,
    ];
    nodes[0].create_topic("t", 2, &[]).await;
    let metadata = nodes[0].metadata(&["t"]).await;
    let topic = &metadata.topics[0];
    for partition in &topic.partitions {
        for (index, node) in nodes.iter_mut().enumerate() {
            let leads = partition.leader_id == index as i32 + 1;
            let expected = if leads {
                0
            } else {
                ErrorCode::NotLeaderOrFollower.code()
            };
            let request = produce_request(topic.topic_id, partition.partition_index, batch(&["a"]));
            let produced = node.send(&request).await;
            let answer = &produced.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, expected);
            let fetched = node
                .send(&fetch_request(
                    topic.topic_id,
                    vec![from_offset(partition.partition_index, 0)],
                ))
                .await;
            assert_eq!(fetched.responses[0].partitions[0].error_code, expected);
            if !leads {
                assert_eq!(answer.current_leader.leader_id, partition.leader_id);
                let leader = &cluster.addresses()[partition.leader_id as usize - 1];
                assert_eq!(produced.node_endpoints[0].port as u16, leader.port());
                assert_eq!(fetched.node_endpoints[0].node_id, partition.leader_id);
            }
        }
    }
}

#[tokio::test]
async fn leader_epochs_fence_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    produce(&mut client, "t", 0, batch(&["a", "b"])).await;
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    produce(&mut client, "t", 0, batch(&["c"])).await;
    let topic_id = id_of(&mut client, "t").await;
    for (current_leader_epoch, error) in [
        (0, ErrorCode::FencedLeaderEpoch),
        (1, ErrorCode::None),
        (2, ErrorCode::UnknownLeaderEpoch),
    ] {
        let partition = FetchPartition {
            current_leader_epoch,
            ..from_offset(0, 0)
        };
        let data = only(client.send(&fetch_request(topic_id, vec![partition])).await);
        assert_eq!(data.error_code, error.code());
    }
    let mut end_of = async |leader_epoch| {
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: "t".to_owned(),
                partitions: vec![OffsetForLeaderPartition {
                    leader_epoch,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let end = client.send(&request).await.topics.remove(0).partitions.remove(0);
        (end.leader_epoch, end.end_offset)
    };
    assert_eq!(end_of(0).await, (0, 2));
    assert_eq!(end_of(1).await, (1, 3));
    assert_eq!(end_of(2).await, (-1, -1));
}

#[tokio::test]
async fn offsets_are_found_by_time_and_at_the_ends() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    assert_eq!(list(&mut client, "t", 10, -1).await.offset, 0);
    assert_eq!(list(&mut client, "t", 10, NOW).await.offset, -1);
    produce(&mut client, "t", 0, batch(&["a", "b", "c"])).await;
    for (timestamp, offset, found) in [
        (-1, 3, -1),
        (-2, 0, -1),
        (-3, 2, NOW + 2),
        (-4, 0, -1),
        (-5, -1, -1),
        (0, 0, NOW),
        (NOW + 1, 1, NOW + 1),
        (NOW + 3, -1, -1),
    ] {
        let answer = list(&mut client, "t", 10, timestamp).await;
        assert_eq!(
            (answer.error_code, answer.offset, answer.timestamp),
            (0, offset, found),
            "{timestamp}"
        );
    }
    for version in 1..=10 {
        assert_eq!(list(&mut client, "t", version, -1).await.offset, 3);
    }
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -9)] {
        let code = list(&mut client, "t", version, timestamp).await.error_code;
        assert_eq!(
            code,
            ErrorCode::UnsupportedVersion.code(),
            "{version} {timestamp}"
        );
    }
    let code = list(&mut client, "u", 10, -1).await.error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn deleted_records_stay_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    produce(&mut client, "t", 0, batch(&["a", "b", "c"])).await;
    let mut delete = async |offset| {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: "t".to_owned(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset,
                }],
            }],
            ..Default::default()
        };
        let result = client.send(&request).await.topics.remove(0).partitions.remove(0);
        (result.error_code, result.low_watermark)
    };
    assert_eq!(delete(2).await, (0, 2));
    assert_eq!(delete(1).await, (0, 2));
    assert_eq!(delete(4).await, (ErrorCode::OffsetOutOfRange.code(), -1));
    assert_eq!(
        fetch(&mut client, "t", 1).await.error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    assert_eq!(list(&mut client, "t", 10, -2).await.offset, 2);
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    assert_eq!(list(&mut client, "t", 10, -2).await.offset, 2);
    assert_eq!(fetch(&mut client, "t", 2).await.log_start_offset, 2);
}

#[tokio::test]
async fn configuration_takes_effect_at_once() {
    use heliostat_wire::message::{
        IncrementalAlterConfigsRequest,
        incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
    };
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let large = batch(&[&"x".repeat(2000)]);
    assert_eq!(produce(&mut client, "t", 0, large.clone()).await.error_code, 0);
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configs: vec![AlterableConfig {
                name: "max.message.bytes".to_owned(),
                config_operation: 0,
                value: Some("1000".to_owned()),
            }],
        }],
        validate_only: false,
    };
    assert_eq!(client.send(&request).await.responses[0].error_code, 0);
    let refused = produce(&mut client, "t", 0, large).await;
    assert_eq!(refused.error_code, ErrorCode::MessageTooLarge.code());
}
