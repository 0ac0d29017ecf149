//! Records as somebody writes them to a map topic who means harm, or whose program is broken: for tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::record::{Block, Key, VERSION, bytes};
use super::segments::Segment;

/// A record as it lies in the topic: key and value.
pub(super) type Raw = (Vec<u8>, Option<Vec<u8>>);

/// The mirror that hostile records are about.
pub(super) const HOSTILE: &str = "hostile";

/// A mirror that no hostile record is about.
pub(super) const OTHER: &str = "other";

/// Numbers, more often than not where reckoning goes wrong.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        prop::sample::select(vec![i64::MIN, i64::MIN + 1, -2, -1, 0, 1]),
        prop::sample::select(vec![i64::MAX, i64::MAX - 1, i64::MAX / 2, i64::MAX / 2 + 1]),
        0i64..50,
    ]
}

/// Anything but an object that this version writes.
fn other_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({ "v": VERSION })),
        Just(json!({ "v": 1e300 })),
        any::<i64>().prop_map(|number| json!(number)),
        ".*".prop_map(|text| json!(text)),
    ]
}

fn block_value() -> impl Strategy<Value = Value> {
    let segments = prop::collection::vec((number(), number(), number()), 0..6);
    let epochs = prop::collection::vec((any::<i32>(), number()), 0..50);
    let producer = (number(), any::<i16>());
    (number(), number(), segments, epochs, producer, any::<bool>()).prop_map(
        |(position, target_position, segments, epochs, (id, epoch), released)| {
            json!({
                "v": VERSION, "source_topic": "t", "position": position, "target_position": target_position,
                "segments": segments, "at_ms": position, "producer_id": id, "producer_epoch": epoch,
                "source_epochs": epochs, "released": released,
            })
        },
    )
}

/// A record about a partition of [`HOSTILE`], or about nothing at all.
pub(super) fn record() -> impl Strategy<Value = Raw> {
    let partition = prop_oneof![0i32..2, any::<i32>()];
    let owner = prop::option::of((number(), any::<i16>()));
    let key = (partition, prop::option::of(number()), owner).prop_map(|(partition, block, owner)| {
        json!({ "topic": HOSTILE, "partition": partition, "block": block, "owner": owner })
    });
    let key = prop_oneof![8 => key, 1 => other_value()];
    let value = prop_oneof![8 => block_value().boxed(), 1 => other_value().boxed()];
    let value = prop::option::weighted(0.9, value);
    (key, value).prop_map(|(key, value)| (bytes(&key), value.map(|value| bytes(&value))))
}

/// What an honest owner has written of partition 0 of [`OTHER`].
pub(super) fn honest() -> Vec<Raw> {
    let record = |at: i64| {
        let segments = vec![Segment::from((at, at + 3, 5)), Segment::from((at + 7, at + 8, 2))];
        let key = Key {
            topic: OTHER.into(),
            partition: Some(0),
            block: Some(at + 3),
            owner: Some((7, 1)),
        };
        let block = Block {
            v: VERSION,
            source_topic: "t".into(),
            source_topic_id: None,
            target_topic_id: None,
            position: at + 9,
            target_position: at + 10,
            segments,
            at_ms: 0,
            producer_id: Some(7),
            producer_epoch: Some(1),
            from: None,
            source_epochs: Default::default(),
            released: false,
        };
        (bytes(&key), Some(bytes(&block)))
    };
    (0..4).map(|number| record(number * 10)).collect()
}
