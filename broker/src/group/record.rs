//! What the journal holds about groups.
//!
//! Keys begin with a letter (those of the consumer protocol are in `consumer::record`): `g` a group's members and generation, `o` a committed offset, `p` an offset committed in a
//! transaction that is still open. Values begin with the version of their format, which is 1. Integers are big-endian; a
//! string or a byte array is its length (4 bytes; -1 for null) and its bytes.
//!
//! | key | value |
//! |---|---|
//! | `g` group | wall clock of the state or -1 (8), generation (4), protocol type, protocol, leader (strings or null), count of members (4), members |
//! | `o` group, topic, partition (4) | offset (8), leader epoch (4), metadata, commit time (8), expiry time or -1 (8), order (8) |
//! | `p` group, producer id (8), topic, partition (4) | as `o` |
//!
//! A member is its id, instance id (or null), client id, client host, session timeout (4), rebalance timeout (4), count of
//! protocols (4), each with name and metadata, and its assignment.

use bytes::Bytes;

use super::config::GroupConfig;
use super::consumer::{group as consumer, record as consumer_record};
use super::member::{Client, Member};
use super::membership::Group;
use super::offsets::{Committed, OffsetChange};

/// A change of the journal: `None` removes the key.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// An entry of the journal, decoded.
#[derive(Debug)]
pub(super) enum Entry {
    /// A group's members; their sessions have not started.
    Members(Box<Group>),
    /// A part of a group of the consumer protocol.
    Consumer { group: String, change: consumer::Change },
    /// One offset of the named group: always one that sets something.
    Offset { group: String, change: OffsetChange },
}

pub(super) const VERSION: u8 = 1;

/// The change that stores a group's members and generation.
pub(super) fn group_change(group: &Group) -> Change {
    let mut w = Writer::new(VERSION);
    w.i64(group.state_since.unwrap_or(-1));
    w.i32(group.generation);
    w.optional(group.protocol_type.as_deref());
    w.optional(group.protocol_name.as_deref());
    w.optional(group.leader.as_deref());
    w.count(group.members.len());
    for member in group.members.values() {
        w.string(&member.id);
        w.optional(member.instance_id.as_deref());
        w.string(&member.client.id);
        w.string(&member.client.host);
        w.i32(member.session_timeout_ms);
        w.i32(member.rebalance_timeout_ms);
        w.count(member.protocols.len());
        for (name, metadata) in &member.protocols {
            w.string(name);
            w.bytes(metadata);
        }
        w.bytes(&member.assignment);
    }
    (group_key(&group.id), Some(w.0))
}

/// The change that removes a group's members and generation.
pub(super) fn group_removal(group: &str) -> Change {
    (group_key(group), None)
}

/// The change of the journal that goes with a change of an offset.
pub(super) fn offset_change(group: &str, change: &OffsetChange) -> Change {
    match change {
        OffsetChange::Set {
            topic,
            partition,
            committed,
        } => (
            offset_key(group, topic, *partition),
            Some(committed_value(committed)),
        ),
        OffsetChange::Remove { topic, partition } => (offset_key(group, topic, *partition), None),
        OffsetChange::SetPending {
            producer_id,
            topic,
            partition,
            committed,
        } => (
            pending_key(group, *producer_id, topic, *partition),
            Some(committed_value(committed)),
        ),
        OffsetChange::RemovePending {
            producer_id,
            topic,
            partition,
        } => (pending_key(group, *producer_id, topic, *partition), None),
    }
}

/// Reads an entry back; `None` where it is none that this version writes.
pub(super) fn decode(key: &[u8], value: &[u8], config: &GroupConfig) -> Option<Entry> {
    let (kind, key) = key.split_first()?;
    let (version, value) = value.split_first()?;
    if *version != VERSION {
        return None;
    }
    let (mut key, mut value) = (Reader(key), Reader(value));
    let group = key.string()?;
    let entry = match kind {
        b'g' => Entry::Members(Box::new(read_group(&group, &mut value, config)?)),
        b'o' => {
            let (topic, partition, committed) = (key.string()?, key.i32()?, read_committed(&mut value)?);
            Entry::Offset {
                group,
                change: OffsetChange::Set {
                    topic,
                    partition,
                    committed,
                },
            }
        }
        b'p' => {
            let (producer_id, topic, partition) = (key.i64()?, key.string()?, key.i32()?);
            let committed = read_committed(&mut value)?;
            Entry::Offset {
                group,
                change: OffsetChange::SetPending {
                    producer_id,
                    topic,
                    partition,
                    committed,
                },
            }
        }
        _ => {
            let change = consumer_record::read(*kind, &mut key, &mut value)?;
            Entry::Consumer { group, change }
        }
    };
    (key.0.is_empty() && value.0.is_empty()).then_some(entry)
}

fn group_key(group: &str) -> Vec<u8> {
    let mut w = Writer::new(b'g');
    w.string(group);
    w.0
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut w = Writer::new(b'o');
    w.string(group);
    w.string(topic);
    w.i32(partition);
    w.0
}

fn pending_key(group: &str, producer_id: i64, topic: &str, partition: i32) -> Vec<u8> {
    let mut w = Writer::new(b'p');
    w.string(group);
    w.i64(producer_id);
    w.string(topic);
    w.i32(partition);
    w.0
}

fn committed_value(committed: &Committed) -> Vec<u8> {
    let mut w = Writer::new(VERSION);
    w.i64(committed.offset);
    w.i32(committed.leader_epoch);
    w.string(&committed.metadata);
    w.i64(committed.committed_at);
    w.i64(committed.expires_at.unwrap_or(-1));
    w.i64(committed.order);
    w.0
}

fn read_committed(r: &mut Reader<'_>) -> Option<Committed> {
    Some(Committed {
        offset: r.i64()?,
        leader_epoch: r.i32()?,
        metadata: r.string()?,
        committed_at: r.i64()?,
        expires_at: r.i64().map(|at| (at >= 0).then_some(at))?,
        order: r.i64()?,
    })
}

fn read_group(id: &str, r: &mut Reader<'_>, config: &GroupConfig) -> Option<Group> {
    let mut group = Group::new(id, config.clone());
    group.state_since = r.i64().map(|at| (at >= 0).then_some(at))?;
    group.generation = r.i32()?;
    group.protocol_type = r.optional()?;
    group.protocol_name = r.optional()?;
    group.leader = r.optional()?;
    for _ in 0..r.i32()? {
        let member = read_member(r)?;
        group.members.insert(member.id.clone(), member);
    }
    Some(group)
}

fn read_member(r: &mut Reader<'_>) -> Option<Member> {
    let mut member = Member {
        id: r.string()?,
        instance_id: r.optional()?,
        client: Client {
            id: r.string()?,
            host: r.string()?,
        },
        session_timeout_ms: r.i32()?,
        rebalance_timeout_ms: r.i32()?,
        protocols: Vec::new(),
        assignment: Bytes::new(),
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
        session_deadline: None,
    };
    for _ in 0..r.i32()? {
        let name = r.string()?;
        member.protocols.push((name, Bytes::copy_from_slice(r.bytes()?)));
    }
    member.assignment = Bytes::copy_from_slice(r.bytes()?);
    Some(member)
}

pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub fn new(first: u8) -> Self {
        Self(vec![first])
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub fn i32(&mut self, value: i32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    /// What came in one request, with 31 bits of length, has no count or length above that.
    pub fn count(&mut self, count: usize) {
        self.i32(count as i32);
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.extend_from_slice(value);
    }

    pub fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub fn optional(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.i32(-1),
        }
    }
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn i32(&mut self) -> Option<i32> {
        self.take(4)?.try_into().ok().map(i32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.take(8)?.try_into().ok().map(i64::from_be_bytes)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.i32()?).ok()?;
        self.take(length)
    }

    pub fn string(&mut self) -> Option<String> {
        self.optional()?
    }

    pub fn optional(&mut self) -> Option<Option<String>> {
        match self.i32()? {
            -1 => Some(None),
            length => {
                let bytes = self.take(usize::try_from(length).ok()?)?;
                Some(Some(std::str::from_utf8(bytes).ok()?.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: &str, instance_id: Option<&str>) -> Member {
        Member {
            id: id.into(),
            instance_id: instance_id.map(str::to_owned),
            client: Client {
                id: "app".into(),
                host: "/127.0.0.1".into(),
            },
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 60_000,
            protocols: vec![
                ("range".into(), Bytes::from_static(&[0, 1, 2])),
                ("sticky".into(), Bytes::new()),
            ],
            assignment: Bytes::from_static(b"assigned"),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
            session_deadline: None,
        }
    }

    #[test]
    fn a_group_reads_back_as_it_was_written() {
        let mut group = Group::new("g", GroupConfig::default());
        group.generation = 7;
        group.state_since = Some(12);
        group.protocol_type = Some("consumer".into());
        group.protocol_name = Some("range".into());
        group.insert(member("a", None));
        group.insert(member("b", Some("static")));
        let (key, value) = group_change(&group);
        let value = value.unwrap();
        let Some(Entry::Members(read)) = decode(&key, &value, &group.config) else {
            panic!("not a group")
        };
        assert_eq!(read.members, group.members);
        assert_eq!(
            (read.generation, read.leader.as_deref(), read.state_since),
            (7, Some("a"), Some(12))
        );
        for cut in 0..value.len() {
            assert!(decode(&key, &value[..cut], &group.config).is_none());
        }
    }

    #[test]
    fn offsets_read_back_as_they_were_written() {
        let committed = Committed {
            offset: 42,
            leader_epoch: -1,
            metadata: "notes".into(),
            committed_at: 1000,
            expires_at: None,
            order: 3,
        };
        let (topic, partition) = ("t".to_owned(), 5);
        let set = OffsetChange::Set {
            topic: topic.clone(),
            partition,
            committed: committed.clone(),
        };
        let pending = OffsetChange::SetPending {
            producer_id: 9,
            topic,
            partition,
            committed,
        };
        for written in [set, pending] {
            let (key, value) = offset_change("g", &written);
            let Some(Entry::Offset { group, change }) =
                decode(&key, &value.unwrap(), &GroupConfig::default())
            else {
                panic!("not an offset")
            };
            assert_eq!((group.as_str(), change), ("g", written));
        }
    }
}
