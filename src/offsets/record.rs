//! What is written to the map topic: JSON, so that a person with `kafka-console-consumer` can read it at night.
//!
//! Three kinds of records, told apart by their keys:
//!
//! - `{"topic":"primary.orders"}`: the *provenance* of a mirror topic: which topic of which cluster it mirrors, and through which clusters the
//!   data came before that. Written before the first record is copied. It is how any daemon, with any file and any aliases, knows what
//!   would come back in a circle.
//! - `{"topic":"primary.orders","partition":3,"block":120,"owner":[7,2]}`: a *block* of the offset map: some segments of one partition, and the position of
//!   the flow there. `block` is the first target offset that it speaks of, and with `owner` two daemons never write to the same block. A block is
//!   written again, with more segments, until it is full; the topic's compaction keeps the last.
//! - `{"paused":"orders"}`, with a partition or without, or `{"paused":"*"}`: what somebody has [paused](super::pause).

use serde::{Deserialize, Serialize};

use super::epochs::Epochs;
use super::pause::{Pause, PauseKey, Scope};
use super::segments::Segment;

/// The format of the values; a reader leaves out what it does not know.
pub const VERSION: u8 = 1;

/// How many segments a block holds before the next one begins: a record of some kilobytes.
pub const SEGMENTS_PER_BLOCK: usize = 256;

/// The name of the map topic of mirrors from the cluster called `source`.
pub fn topic_name(source: &str) -> String {
    format!("heliostat.{source}.offset-map.internal")
}

/// Whether a topic is one of Heliostat's map topics.
pub fn is_map_topic(topic: &str) -> bool {
    topic.starts_with("heliostat.") && topic.ends_with(".offset-map.internal")
}

/// The key of a record in the map topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The mirror topic.
    pub topic: String,
    /// The partition, for a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The first target offset that the block speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<i64>,
    /// Who writes it, where it is copied exactly once: owners that go on from the same fact begin with the same target offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// Producer id and epoch of who copies a partition.
pub type Owner = (i64, i16);

/// Which of a partition's blocks one is: its first target offset, and who writes it.
pub type BlockId = (i64, Option<Owner>);

/// Where a mirror topic's data comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// [`VERSION`].
    pub v: u8,
    /// The topic that is mirrored.
    pub source_topic: String,
    /// The id of the cluster that it is on.
    pub source_cluster: String,
    /// The ids of all clusters that the data has passed, the one where it was first written in front, `source_cluster` last.
    pub path: Vec<String>,
}

/// Some segments of one partition, and the position of the flow there when they were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// [`VERSION`].
    pub v: u8,
    /// The topic that is mirrored.
    pub source_topic: String,
    /// Its id on the source, where the source gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_topic_id: Option<String>,
    /// The id of the mirror topic, where the target gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_topic_id: Option<String>,
    /// The next source offset to copy.
    pub position: i64,
    /// The target offset after the last copied record.
    pub target_position: i64,
    /// The segments, in the order in which they were copied.
    pub segments: Vec<Segment>,
    /// When it was written, in milliseconds since 1970.
    pub at_ms: i64,
    /// The producer id that the writer copied with, where it copies exactly once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer_id: Option<i64>,
    /// The epoch of that producer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub producer_epoch: Option<i16>,
    /// The source's last leader epochs before `position`, each with the first offset that was read of it, where the source gives them.
    #[serde(default, skip_serializing_if = "Epochs::is_empty")]
    pub source_epochs: Epochs,
    /// Whether the writer gave the partition up after this: nothing is in flight.
    #[serde(default)]
    pub released: bool,
}

/// A record of the map topic, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapRecord {
    /// A mirror topic's provenance; absent when it was taken back.
    Provenance(String, Option<Provenance>),
    /// A block of a partition; absent when the target no longer holds what it speaks of.
    Block(String, i32, BlockId, Option<Block>),
    /// What somebody has paused; absent when it was resumed.
    Pause(Scope, Option<Pause>),
}

impl MapRecord {
    /// Reads a record. `None` for what this version does not know: it is left out, never guessed at.
    pub fn read(key: &[u8], value: Option<&[u8]>) -> Option<MapRecord> {
        if let Ok(key) = serde_json::from_slice::<PauseKey>(key) {
            return Some(MapRecord::Pause(key.scope()?, versioned(value)?));
        }
        let key: Key = serde_json::from_slice(key).ok()?;
        match (key.partition, key.block) {
            (None, None) => Some(MapRecord::Provenance(key.topic, versioned(value)?)),
            (Some(partition), Some(block)) => {
                let value: Option<Block> = versioned(value)?;
                Some(MapRecord::Block(key.topic, partition, (block, key.owner), value))
            }
            _ => None,
        }
    }
}

/// `Some(None)` for a tombstone, `None` for bytes that are not of this version.
fn versioned<T: for<'a> Deserialize<'a>>(value: Option<&[u8]>) -> Option<Option<T>> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u8,
    }
    let Some(bytes) = value else { return Some(None) };
    let versioned: Versioned = serde_json::from_slice(bytes).ok()?;
    (versioned.v == VERSION)
        .then(|| serde_json::from_slice(bytes).ok())?
        .map(Some)
}

/// The bytes of a key or a value.
pub fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // These types hold nothing that JSON cannot write.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;

    fn block() -> Block {
        Block {
            v: VERSION,
            source_topic: "orders".into(),
            source_topic_id: Some("AAAAAAAAAAAAAAAAAAAAAQ".into()),
            target_topic_id: None,
            position: 130,
            target_position: 123,
            segments: vec![Segment {
                source: 100,
                target: 95,
                length: 28,
            }],
            at_ms: 1_700_000_000_000,
            producer_id: None,
            producer_epoch: None,
            source_epochs: Epochs::default(),
            released: false,
        }
    }

    #[test]
    fn keys_and_values_are_json_that_a_person_can_read() {
        let key = Key {
            topic: "primary.orders".into(),
            partition: Some(3),
            block: Some(95),
            owner: Some((7, 2)),
        };
        expect![[r#"{"topic":"primary.orders","partition":3,"block":95,"owner":[7,2]}"#]]
            .assert_eq(&String::from_utf8_lossy(&bytes(&key)));
        expect![[
            r#"{"v":1,"source_topic":"orders","source_topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","position":130,"target_position":123,"segments":[[100,95,28]],"at_ms":1700000000000,"released":false}"#
        ]]
        .assert_eq(&String::from_utf8_lossy(&bytes(&block())));
        let read = MapRecord::read(&bytes(&key), Some(&bytes(&block())));
        assert_eq!(
            read,
            Some(MapRecord::Block(
                "primary.orders".into(),
                3,
                (95, Some((7, 2))),
                Some(block())
            ))
        );
    }

    #[test]
    fn a_value_of_a_later_version_is_left_out() {
        let key = Key {
            topic: "t".into(),
            partition: Some(0),
            block: Some(0),
            owner: None,
        };
        let later = Block { v: 2, ..block() };
        assert_eq!(MapRecord::read(&bytes(&key), Some(&bytes(&later))), None);
    }

    #[test]
    fn a_tombstone_is_read_as_one() {
        let key = Key {
            topic: "t".into(),
            partition: Some(0),
            block: Some(9),
            owner: None,
        };
        assert_eq!(
            MapRecord::read(&bytes(&key), None),
            Some(MapRecord::Block("t".into(), 0, (9, None), None))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left_out(key in prop::collection::vec(any::<u8>(), 0..60), value in prop::collection::vec(any::<u8>(), 0..60)) {
            MapRecord::read(&key, Some(&value));
            MapRecord::read(&key, None);
        }
    }
}
