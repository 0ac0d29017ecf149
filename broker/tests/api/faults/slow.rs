//! A disk that holds up one topic, and nothing else.

use heliostat_broker::{Fault, FaultKind};
use heliostat_wire::{
    builder::BatchBuilder,
    message::{
        ApiVersionsRequest, DeleteTopicsRequest, DescribeProducersRequest, InitProducerIdRequest,
        OffsetForLeaderEpochRequest,
        delete_topics::DeleteTopicState,
        describe_producers::TopicRequest,
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};
use tokio::task::JoinSet;

use super::{add, counts};
use crate::{
    client::{Client, PATIENCE, start},
    records::{batch, fetch, fetch_request, fill, from_offset, id_of, list, only, produce, produce_request},
};

/// Longer than everything takes that must not wait for it.
const DELAY_MS: u64 = 5_000;

/// One thread serves everything here: if any request waits for the disk on it, all others do.
#[tokio::test]
async fn a_slow_disk_holds_up_its_topic_alone() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    for topic in ["t", "u"] {
        client.create_topic(topic, 1, &[]).await;
        assert_eq!(produce(&mut client, topic, 0, batch(&["a"])).await.error_code, 0);
    }
    let t = id_of(&mut client, "t").await;
    let init = InitProducerIdRequest {
        transactional_id: Some("x".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    };
    let producer = client.send(&init).await;
    assert_eq!(producer.error_code, 0);
    let id = add(
        &cluster,
        Fault {
            delay_ms: Some(DELAY_MS),
            topic: Some("t".to_owned()),
            ..Fault::new(FaultKind::SlowDisk)
        },
    );

    let mut of_t = JoinSet::new();
    let mut slow = Client::of(&cluster).await;
    of_t.spawn(async move {
        // The topic may be gone by then.
        produce(&mut slow, "t", 0, batch(&["b"])).await;
    });
    while counts(&cluster, id).0 == 0 {
        client.send(&ApiVersionsRequest::default()).await;
    }

    // Each of these looks at the log that somebody is writing to.
    let mut behind = Client::of(&cluster).await;
    of_t.spawn(async move {
        fetch(&mut behind, "t", 0).await;
    });
    let mut admin = Client::of(&cluster).await;
    of_t.spawn(async move {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: "t".to_owned(),
                partition_indexes: vec![0],
            }],
        };
        admin.send(&request).await;
    });
    let mut follower = Client::of(&cluster).await;
    of_t.spawn(async move {
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: "t".to_owned(),
                partitions: vec![OffsetForLeaderPartition {
                    current_leader_epoch: -1,
                    ..Default::default()
                }],
            }],
        };
        follower.send(&request).await;
    });
    let mut transactional = Client::of(&cluster).await;
    of_t.spawn(async move {
        let builder = BatchBuilder::new()
            .producer(producer.producer_id, producer.producer_epoch, 0)
            .transactional();
        let mut request = produce_request(t, 0, fill(builder, &["c"]));
        request.transactional_id = Some("x".to_owned());
        transactional.send(&request).await;
    });

    for _ in 0..20 {
        assert_eq!(produce(&mut client, "u", 0, batch(&["b"])).await.error_code, 0);
        assert_eq!(fetch(&mut client, "u", 0).await.error_code, 0);
        assert_eq!(list(&mut client, "t", 9, -1).await.offset, 1);
        // A consumer at the end has nothing to wait for.
        let at_end = fetch_request(t, vec![from_offset(0, 1)]);
        assert_eq!(only(client.send(&at_end).await).high_watermark, 1);
    }
    let mut deleting = Client::of(&cluster).await;
    of_t.spawn(async move {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some("t".to_owned()),
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let deleted = deleting.send(&request).await;
        assert_eq!(deleted.responses[0].error_code, 0);
    });
    for _ in 0..20 {
        assert_eq!(produce(&mut client, "u", 0, batch(&["c"])).await.error_code, 0);
        assert_eq!(fetch(&mut client, "u", 0).await.error_code, 0);
        assert!(cluster.read_only_partitions().is_empty());
    }
    assert_eq!(
        of_t.try_join_next().map(|done| done.unwrap()),
        None,
        "the disk was not slow for so long"
    );
    cluster.control().remove_fault(id).unwrap();
    while let Some(done) = of_t.join_next().await {
        done.unwrap();
    }
    cluster.shutdown(PATIENCE).await;
}
