//! What the journal holds about groups of the consumer protocol; see [`crate::group::record`] for the form.
//!
//! | key | value |
//! |---|---|
//! | `c` group | epoch (4), assignment epoch (4), fingerprint (8) |
//! | `m` group, member id | instance id, rack id, assignor (strings or null), client id, client host, rebalance timeout (4), topics, regular expression, state (4), epoch (4), previous epoch (4), assigned, to revoke; for a member of the classic protocol also session timeout (4), count of protocols (4), each with name and metadata |
//! | `t` group, member id | what the member is to have |
//!
//! Partitions are a count of topics (4), each with its id (16 bytes), a count of partitions (4), and these (4 each).

use bytes::Bytes;
use heliostat_wire::Uuid;

use super::assignment::Assignment;
use super::group::{Change, Header};
use super::member::{Classic, Member, MemberState};
use crate::group::member::Client;
use crate::group::record::{self, Reader, VERSION, Writer};

/// The changes of the journal that go with a change of a group.
pub(in crate::group) fn records(group: &str, change: &Change) -> Vec<record::Change> {
    match change {
        Change::Header(header) => vec![(header_key(group), Some(header_value(header)))],
        Change::Member(member) => vec![(key(b'm', group, &member.id), Some(member_value(member)))],
        Change::Target(id, target) => {
            let mut w = Writer::new(VERSION);
            write_assignment(&mut w, target);
            vec![(key(b't', group, id), Some(w.into_bytes()))]
        }
        Change::Gone(id) => vec![(key(b'm', group, id), None), (key(b't', group, id), None)],
    }
}

/// The change that removes a group that has no members.
pub(in crate::group) fn removal(group: &str) -> record::Change {
    (header_key(group), None)
}

/// Reads an entry back, with the group that it belongs to.
pub(in crate::group) fn read(kind: u8, key: &mut Reader<'_>, value: &mut Reader<'_>) -> Option<Change> {
    match kind {
        b'c' => {
            let (epoch, assignment_epoch) = (value.i32()?, value.i32()?);
            let fingerprint = value.i64()?.cast_unsigned();
            Some(Change::Header(Header {
                epoch,
                assignment_epoch,
                fingerprint,
            }))
        }
        b'm' => Some(Change::Member(Box::new(read_member(key.string()?, value)?))),
        b't' => Some(Change::Target(key.string()?, read_assignment(value)?)),
        _ => None,
    }
}

fn header_key(group: &str) -> Vec<u8> {
    let mut w = Writer::new(b'c');
    w.string(group);
    w.into_bytes()
}

fn key(kind: u8, group: &str, member: &str) -> Vec<u8> {
    let mut w = Writer::new(kind);
    w.string(group);
    w.string(member);
    w.into_bytes()
}

fn header_value(header: &Header) -> Vec<u8> {
    let mut w = Writer::new(VERSION);
    w.i32(header.epoch);
    w.i32(header.assignment_epoch);
    w.i64(header.fingerprint.cast_signed());
    w.into_bytes()
}

fn member_value(member: &Member) -> Vec<u8> {
    let mut w = Writer::new(VERSION);
    w.optional(member.instance_id.as_deref());
    w.optional(member.rack_id.as_deref());
    w.optional(member.assignor.as_deref());
    w.string(&member.client.id);
    w.string(&member.client.host);
    w.i32(member.rebalance_timeout_ms);
    w.count(member.topics.len());
    member.topics.iter().for_each(|topic| w.string(topic));
    w.string(&member.regex);
    w.i32(match member.state {
        MemberState::Stable => 0,
        MemberState::Unrevoked => 1,
        MemberState::Unreleased => 2,
    });
    w.i32(member.epoch);
    w.i32(member.previous_epoch);
    write_assignment(&mut w, &member.assigned);
    write_assignment(&mut w, &member.to_revoke);
    if let Some(classic) = &member.classic {
        w.i32(classic.session_timeout_ms);
        w.count(classic.protocols.len());
        for (name, metadata) in &classic.protocols {
            w.string(name);
            w.bytes(metadata);
        }
    }
    w.into_bytes()
}

fn read_member(id: String, r: &mut Reader<'_>) -> Option<Member> {
    let (instance_id, rack_id, assignor) = (r.optional()?, r.optional()?, r.optional()?);
    let client = Client {
        id: r.string()?,
        host: r.string()?,
    };
    let mut member = Member {
        instance_id,
        rack_id,
        assignor,
        ..Member::new(id, client)
    };
    member.rebalance_timeout_ms = r.i32()?;
    for _ in 0..r.i32()? {
        member.topics.insert(r.string()?);
    }
    member.regex = r.string()?;
    member.state = match r.i32()? {
        0 => MemberState::Stable,
        1 => MemberState::Unrevoked,
        2 => MemberState::Unreleased,
        _ => return None,
    };
    (member.epoch, member.previous_epoch) = (r.i32()?, r.i32()?);
    (member.assigned, member.to_revoke) = (read_assignment(r)?, read_assignment(r)?);
    if !r.is_empty() {
        let session_timeout_ms = r.i32()?;
        let mut protocols = Vec::new();
        for _ in 0..r.i32()? {
            protocols.push((r.string()?, Bytes::copy_from_slice(r.bytes()?)));
        }
        member.classic = Some(Classic {
            session_timeout_ms,
            protocols,
        });
    }
    Some(member)
}

fn write_assignment(w: &mut Writer, assignment: &Assignment) {
    w.count(assignment.topics().count());
    for (topic, partitions) in assignment.topics() {
        let number = u128::from_be_bytes(*topic.as_bytes());
        w.i64(((number >> 64) as u64).cast_signed());
        w.i64((number as u64).cast_signed());
        w.count(partitions.len());
        partitions.iter().for_each(|&partition| w.i32(partition));
    }
}

fn read_assignment(r: &mut Reader<'_>) -> Option<Assignment> {
    let mut assignment = Assignment::default();
    for _ in 0..r.i32()? {
        let topic = Uuid::from_bytes(r.take(16)?.try_into().ok()?);
        for _ in 0..r.i32()? {
            assignment.insert(topic, r.i32()?);
        }
    }
    Some(assignment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::config::GroupConfig;
    use crate::group::record::{Entry, decode};

    #[test]
    fn a_group_reads_back_as_it_was_written() {
        let client = Client {
            id: "app".into(),
            host: "/127.0.0.1".into(),
        };
        let topic = |byte| Uuid::from_bytes([byte; 16]);
        let assignment: Assignment = [(topic(1), 0), (topic(0xfe), 7), (topic(0xfe), 8)]
            .into_iter()
            .collect();
        let mut member = Member::new("m".into(), client);
        member.instance_id = Some("i".into());
        member.topics = ["a".into(), "b".into()].into();
        member.regex = "x.*".into();
        member.state = MemberState::Unrevoked;
        member.epoch = -2;
        member.assigned = assignment.clone();
        member.to_revoke = [(topic(3), 1)].into_iter().collect();
        let header = Header {
            epoch: 3,
            assignment_epoch: 2,
            fingerprint: u64::MAX,
        };
        let mut classic = member.clone();
        classic.classic = Some(Classic {
            session_timeout_ms: 10_000,
            protocols: vec![
                ("range".into(), Bytes::from_static(&[0, 3])),
                ("sticky".into(), Bytes::new()),
            ],
        });
        let without = records("g", &Change::Member(Box::new(member.clone())))[0]
            .1
            .clone();
        let target = Change::Target("m".into(), assignment);
        let members = [member, classic].map(|member| Change::Member(Box::new(member)));
        for written in [Change::Header(header), target].into_iter().chain(members) {
            for (key, value) in records("g", &written) {
                let value = value.unwrap();
                for cut in (0..value.len()).filter(|cut| Some(&value[..*cut]) != without.as_deref()) {
                    assert!(decode(&key, &value[..cut], &GroupConfig::default()).is_none());
                }
                let Some(Entry::Consumer { group, change }) = decode(&key, &value, &GroupConfig::default())
                else {
                    panic!("not a group of the consumer protocol")
                };
                assert_eq!((group.as_str(), &change), ("g", &written));
            }
        }
    }
}
