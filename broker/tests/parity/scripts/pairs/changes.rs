//! Topics and records that are deleted.

use heliostat_wire::{
    Uuid,
    message::{DeleteRecordsRequest, DeleteTopicsRequest, delete_topics::DeleteTopicState},
};

use super::{ends, pairs};
use crate::{harness::Parity, requests::batch, scripts::lookup::delete_before, side::Side};

pub async fn delete_topics(p: &mut Parity) {
    p.create("pairs-deleted", 1, &[]).await;
    // A topic that is not there. Kafka shuffles its answers: those for several are all alike.
    let good = |_: &Side| DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("pairs-none".to_owned()),
            ..Default::default()
        }],
        timeout_ms: 20_000,
        ..Default::default()
    };
    pairs(
        p,
        &[6],
        good,
        &[
            ("no name", |_, request| request.topics[0].name = None),
            ("an empty name", |_, request| {
                request.topics[0].name = Some(String::new())
            }),
            ("a bad name", |_, request| {
                request.topics[0].name = Some("a b".to_owned())
            }),
            ("an unknown id", |_, request| {
                request.topics[0].topic_id = Uuid::from_bytes([7; 16])
            }),
            ("the id of a topic", |side, request| {
                request.topics[0].topic_id = side.topic_id("pairs-deleted");
                request.topics[0].name.get_or_insert_default();
            }),
            ("its name", |_, request| {
                request.topics[0].name = Some("pairs-deleted".to_owned());
                request.topics.push(request.topics[0].clone());
            }),
            ("twice", |_, request| {
                request.topics.push(request.topics[0].clone())
            }),
        ],
    )
    .await;
}

pub async fn delete_records(p: &mut Parity) {
    p.create("pairs-cut", 2, &[]).await;
    p.create("pairs-kept", 1, &[("cleanup.policy", "compact")]).await;
    for topic in ["pairs-cut", "pairs-kept"] {
        p.append(topic, &batch(&["a", "b", "c"])).await;
    }
    let good = |_: &Side| delete_before("pairs-cut", &[(0, 1)]);
    let versions = ends::<DeleteRecordsRequest>(p);
    pairs(
        p,
        &versions,
        good,
        &[
            ("offset 100", |_, request| {
                request.topics[0].partitions[0].offset = 100
            }),
            ("offset -2", |_, request| {
                request.topics[0].partitions[0].offset = -2
            }),
            ("an unknown partition", |_, request| {
                request.topics[0].partitions[0].partition_index = 9
            }),
            ("an unknown topic", |_, request| {
                request.topics[0].name = "pairs-none".to_owned()
            }),
            ("a bad topic", |_, request| {
                request.topics[0].name = "a b".to_owned()
            }),
            ("a compacted topic", |_, request| {
                request.topics[0].name = "pairs-kept".to_owned()
            }),
            ("a partition twice", |_, request| {
                let mut again = request.topics[0].partitions[0].clone();
                again.offset = 2;
                request.topics[0].partitions.push(again);
            }),
            ("a topic twice", |_, request| {
                request.topics.push(request.topics[0].clone())
            }),
        ],
    )
    .await;
}
