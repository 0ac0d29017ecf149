//! What is written to the map topic: JSON, so that a person with `kafka-console-consumer` can read it at night.
//!
//! Four kinds of records, told apart by their keys:
//!
//! - `{"topic":"primary.orders"}`: the *provenance* of a mirror topic: which topic of which cluster it mirrors, and through which clusters the
//!   data came before that. Written before the first record is copied. It is how any daemon, with any file and any aliases, knows what
//!   would come back in a circle.
//! - `{"topic":"primary.orders","partition":3,"block":120,"owner":[7,2]}`: a *block* of the offset map: some segments of one partition, and the position of
//!   the flow there. `block` is the first target offset that it speaks of, and with `owner` two daemons never write to the same block. A block is
//!   written again, with more segments, until it is full; the topic's compaction keeps the last.
//! - `{"paused":"orders"}`, with a partition or without, or `{"paused":"*"}`: what somebody has [paused](super::pause).
//! - `{"first":"daemon"}`: which daemon [begins](super::first), where none finds anybody in the group.

use serde::{Deserialize, Serialize};

use super::epochs::Epochs;
use super::first::{FirstKey, Start};
use super::pause::{Pause, PauseKey, Scope};
use super::segments::Segment;
use crate::cluster::offsets::is_offset;

/// The format of the values; a reader leaves out what it does not know.
pub const VERSION: u8 = 1;

/// How many segments a block holds before the next one begins: a record of some kilobytes.
pub const SEGMENTS_PER_BLOCK: usize = 256;

/// A block with more segments than this is not read: nobody writes so many, and the last one of each partition is kept in memory.
const SEGMENTS_READ_MAX: usize = 16 * SEGMENTS_PER_BLOCK;

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
    /// Where its writer stood before the first of these segments: source and target position. Between that and the positions of the block
    /// nothing was copied but these segments. Of what lies between two blocks otherwise nothing is known. Blocks of a writer who could not
    /// tell have none: they go on from the block before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<(i64, i64)>,
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
    /// Which daemon begins; absent when that was taken back.
    First(Option<Start>),
}

/// Why a record of the map topic is left out. Anyone who may write to the topic can write anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The key is none that this version writes.
    #[error("its key is not one that this version knows")]
    Key,
    /// The value is of another version, or none at all.
    #[error("its value is not of version {VERSION}")]
    Value,
    /// It says what cannot be.
    #[error("it is no block of an offset map: {0}")]
    Block(&'static str),
}

impl MapRecord {
    /// Reads a record. `None` for what this version does not know: it is left out, never guessed at.
    pub fn read(key: &[u8], value: Option<&[u8]>) -> Option<MapRecord> {
        MapRecord::try_read(key, value).ok()
    }

    /// The same, with the reason where it is left out.
    ///
    /// # Errors
    /// If this version does not know it, or it says of offsets what cannot be: nothing that comes of it has to be doubted later.
    pub fn try_read(key: &[u8], value: Option<&[u8]>) -> Result<MapRecord, Unreadable> {
        if let Ok(key) = serde_json::from_slice::<PauseKey>(key) {
            let scope = key.scope().ok_or(Unreadable::Key)?;
            return Ok(MapRecord::Pause(scope, versioned(value)?));
        }
        if let Ok(key) = serde_json::from_slice::<FirstKey>(key) {
            let known = key.is_known().then_some(()).ok_or(Unreadable::Key);
            return known.and_then(|()| Ok(MapRecord::First(versioned(value)?)));
        }
        let key: Key = serde_json::from_slice(key).map_err(|_| Unreadable::Key)?;
        match (key.partition, key.block) {
            (None, None) => Ok(MapRecord::Provenance(key.topic, versioned(value)?)),
            (Some(partition), Some(id)) if partition >= 0 && is_offset(id) => {
                let block: Option<Block> = versioned(value)?;
                block.as_ref().map_or(Ok(()), Block::check)?;
                Ok(MapRecord::Block(key.topic, partition, (id, key.owner), block))
            }
            _ => Err(Unreadable::Key),
        }
    }
}

impl Block {
    /// Whether it can be about the mirror topic with this id: only two ids that are known and differ say that it is not.
    pub fn is_of_mirror(&self, id: Option<&str>) -> bool {
        match (self.target_topic_id.as_deref(), id) {
            (Some(then), Some(now)) => then == now,
            _ => true,
        }
    }

    /// Whether it can be what a writer of blocks has meant.
    fn check(&self) -> Result<(), Unreadable> {
        if !is_offset(self.position) || !is_offset(self.target_position) {
            return Err(Unreadable::Block("its positions are no offsets"));
        }
        if !self
            .from
            .is_none_or(|(source, target)| is_offset(source) && is_offset(target))
        {
            return Err(Unreadable::Block("it begins at no offset"));
        }
        if self.segments.len() > SEGMENTS_READ_MAX {
            return Err(Unreadable::Block("it has more segments than anybody writes"));
        }
        if !self.segments.iter().all(Segment::is_sound) {
            return Err(Unreadable::Block("a segment is no run of offsets"));
        }
        if !self.segments.windows(2).all(|pair| pair[1].is_behind(&pair[0])) {
            return Err(Unreadable::Block("its segments do not ascend"));
        }
        Ok(())
    }
}

/// `None` for a tombstone.
fn versioned<T: for<'a> Deserialize<'a>>(value: Option<&[u8]>) -> Result<Option<T>, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u8,
    }
    let Some(bytes) = value else { return Ok(None) };
    let versioned: Option<Versioned> = serde_json::from_slice(bytes).ok();
    let known = versioned.filter(|versioned| versioned.v == VERSION);
    let value = known.and_then(|_| serde_json::from_slice(bytes).ok());
    value.ok_or(Unreadable::Value).map(Some)
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
            from: Some((98, 90)),
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
        expect![[r#"{"v":1,"source_topic":"orders","source_topic_id":"AAAAAAAAAAAAAAAAAAAAAQ","position":130,"target_position":123,"from":[98,90],"segments":[[100,95,28]],"at_ms":1700000000000,"released":false}"#]]
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

    fn read_block(block: &Block, id: i64, partition: i32) -> Result<MapRecord, Unreadable> {
        let key = Key {
            topic: "t".into(),
            partition: Some(partition),
            block: Some(id),
            owner: None,
        };
        MapRecord::try_read(&bytes(&key), Some(&bytes(block)))
    }

    #[test]
    fn a_block_that_says_what_cannot_be_is_left_out() {
        let with = |segments: &[(i64, i64, i64)]| Block {
            segments: segments.iter().copied().map(Segment::from).collect(),
            ..block()
        };
        assert!(read_block(&block(), 95, 3).is_ok());
        assert!(read_block(&with(&[(0, 0, 5), (5, 6, 1), (9, 7, 1)]), 0, 0).is_ok());
        assert_eq!(read_block(&block(), 95, -1), Err(Unreadable::Key));
        assert_eq!(read_block(&block(), -95, 3), Err(Unreadable::Key));
        assert_eq!(read_block(&block(), i64::MAX, 3), Err(Unreadable::Key));
        let positions = [(-1, 0), (0, -1), (i64::MAX, 0), (0, i64::MAX)];
        for (position, target_position) in positions {
            let block = Block {
                position,
                target_position,
                ..block()
            };
            assert!(matches!(read_block(&block, 0, 0), Err(Unreadable::Block(_))));
        }
        for segments in [
            &[(0, 0, 0)][..],
            &[(0, 0, -5)],
            &[(-1, 0, 5)],
            &[(0, i64::MAX, 5)],
            &[(5, 5, i64::MAX)],
            &[(0, 0, 5), (4, 5, 1)],
            &[(0, 0, 5), (5, 4, 1)],
            &[(5, 5, 1), (0, 0, 1)],
        ] {
            let read = read_block(&with(segments), 0, 0);
            assert!(matches!(read, Err(Unreadable::Block(_))), "{segments:?}");
        }
        let many: Vec<_> = (0..SEGMENTS_READ_MAX as i64 + 1)
            .map(|at| (at * 2, at, 1))
            .collect();
        assert!(read_block(&with(&many), 0, 0).is_err());
        assert!(read_block(&with(&many[1..]), 0, 0).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_left_out(key in prop::collection::vec(any::<u8>(), 0..60), value in prop::collection::vec(any::<u8>(), 0..60)) {
            MapRecord::read(&key, Some(&value));
            MapRecord::read(&key, None);
        }
    }
}
