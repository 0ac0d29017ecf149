//! Groups of the classic protocol: members that join, stay and leave.

use bytes::Bytes;
use heliostat_wire::message::{
    ApiKey, DeleteGroupsRequest, DescribeGroupsRequest, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    SyncGroupRequest,
    join_group::JoinGroupRequestProtocol,
    leave_group::MemberIdentity,
    offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    sync_group::SyncGroupRequestAssignment,
};

use super::group_offsets::commit;
use crate::{
    harness::{Both, Parity},
    side::{Outcome, Side},
};

/// What a consumer of the topic `t` says of itself.
const SUBSCRIPTION: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0";

pub fn joining(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: protocols(&["range", "roundrobin"]),
        ..Default::default()
    }
}

fn protocols(names: &[&str]) -> Vec<JoinGroupRequestProtocol> {
    let protocol = |name: &&str| JoinGroupRequestProtocol {
        name: (*name).to_owned(),
        metadata: Bytes::from_static(SUBSCRIPTION),
    };
    names.iter().map(protocol).collect()
}

pub fn syncing(group: &str, generation_id: i32, member: &str) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.to_owned(),
            assignment: Bytes::from_static(b"\0\x01all of it"),
        }],
        ..Default::default()
    }
}

pub fn beating(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        group_instance_id: None,
    }
}

pub fn leaving(group: &str, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
    let identity = |(member, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: (*member).to_owned(),
        group_instance_id: instance.map(str::to_owned),
        reason: Some("the end of a test".to_owned()),
    };
    LeaveGroupRequest {
        group_id: group.to_owned(),
        member_id: members
            .first()
            .map_or(String::new(), |(member, _)| (*member).to_owned()),
        members: members.iter().map(identity).collect(),
    }
}

fn member(side: &Side) -> String {
    side.noted("member")
}

fn take_member(p: &mut Parity, both: &Both<JoinGroupResponse>) {
    p.keep("member", both, |answer| answer.member_id);
}

/// Joins a group as its only member, and gets through the first rebalance.
pub async fn join_alone(p: &mut Parity, group: &str, version: i16) {
    p.each(|side| side.note("member", ""));
    let joined = p.at("joining", version, |_| joining(group, "")).await;
    take_member(p, &joined);
    if version >= 4 {
        let joined = p
            .at("joining with the id", version, |side| {
                joining(group, &member(side))
            })
            .await;
        take_member(p, &joined);
    }
    p.at("syncing", version.min(5), |side| syncing(group, 1, &member(side)))
        .await;
}

/// A version of another API that is about as old as this one of JoinGroup.
fn beside(p: &Parity, api: ApiKey, version: i16) -> i16 {
    version.clamp(*p.versions(api).start(), *p.versions(api).end())
}

pub async fn life(p: &mut Parity) {
    p.create("t", 2, &[]).await;
    p.coordinated("life", 0).await;
    for version in p.versions(ApiKey::JoinGroup) {
        let group = &format!("life-{version}");
        join_alone(p, group, version).await;
        let beat = beside(p, ApiKey::Heartbeat, version);
        p.at("beating", beat, |side| beating(group, 1, &member(side)))
            .await;
        p.at("beating in the next generation", beat, |side| {
            beating(group, 2, &member(side))
        })
        .await;
        p.at("beating as nobody", beat, |_| beating(group, 1, "nobody"))
            .await;
        p.at("beating without an id", beat, |_| beating(group, 1, ""))
            .await;
        let sync = beside(p, ApiKey::SyncGroup, version);
        p.at("syncing again", sync, |side| syncing(group, 1, &member(side)))
            .await;
        p.at("syncing in the next generation", sync, |side| {
            syncing(group, 2, &member(side))
        })
        .await;
        p.at("syncing as nobody", sync, |_| syncing(group, 1, "nobody"))
            .await;
        let offsets = beside(p, ApiKey::OffsetCommit, version);
        let with = |generation: i32, member: String| OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            member_id: member,
            ..commit(group, "t", &[(0, 3)])
        };
        p.at("committing", offsets, |side| with(1, member(side))).await;
        p.at("committing in the next generation", offsets, |side| {
            with(2, member(side))
        })
        .await;
        p.at("committing as nobody", offsets, |_| with(1, "nobody".to_owned()))
            .await;
        p.at("committing from outside", offsets, |_| with(-1, String::new()))
            .await;
        p.all("describing", |_, _| DescribeGroupsRequest {
            groups: vec![group.clone()],
            include_authorized_operations: true,
        })
        .await;
        p.at("deleting", beside(p, ApiKey::DeleteGroups, version), |_| {
            deleting(&[group])
        })
        .await;
        p.newest("deleting offsets of its topic", |_| {
            forgetting(group, &[("t", &[0, 1])])
        })
        .await;
        let joined = p
            .at("joining again", version, |side| joining(group, &member(side)))
            .await;
        take_member(p, &joined);
        p.at("beating before syncing", beat, |side| {
            beating(group, 2, &member(side))
        })
        .await;
        p.at("committing before syncing", offsets, |side| with(2, member(side)))
            .await;
        p.newest("describing before syncing", |_| describing(&[group]))
            .await;
        p.at("syncing again", sync, |side| syncing(group, 2, &member(side)))
            .await;
        let leave = beside(p, ApiKey::LeaveGroup, version);
        p.at("leaving as nobody", leave, |_| {
            leaving(group, &[("nobody", None)])
        })
        .await;
        p.at("leaving", leave, |side| leaving(group, &[(&member(side), None)]))
            .await;
        p.at("leaving again", leave, |side| {
            leaving(group, &[(&member(side), None)])
        })
        .await;
        p.at("beating after leaving", beat, |side| {
            beating(group, 2, &member(side))
        })
        .await;
        p.newest("describing it empty", |_| describing(&[group])).await;
        p.newest("deleting offsets of an empty group", |_| {
            forgetting(group, &[("t", &[0, 9]), ("none", &[0])])
        })
        .await;
    }
    p.all("listing", |_, _| ListGroupsRequest::default()).await;
    let filters: &[(&[&str], &[&str])] = &[
        (&["Empty"], &[]),
        (&["stable", "Nothing"], &[]),
        (&[], &["classic"]),
        (&[], &["Consumer", "other"]),
        (&["empty"], &["Classic"]),
    ];
    for (states, types) in filters {
        p.all(&format!("listing {states:?} {types:?}"), |_, _| {
            ListGroupsRequest {
                states_filter: states.iter().map(|state| (*state).to_owned()).collect(),
                types_filter: types.iter().map(|kind| (*kind).to_owned()).collect(),
            }
        })
        .await;
    }
    p.all("deleting several", |_, version| {
        deleting(&[
            &format!("life-{version}"),
            "life-none",
            "",
            &format!("life-{version}"),
        ])
    })
    .await;
    p.all("deleting none", |_, _| deleting(&[])).await;
    p.all("describing several", |_, _| {
        describing(&["life-none", "life-9", "", "life-none"])
    })
    .await;
    p.all("describing none", |_, _| describing(&[])).await;
}

fn deleting(groups: &[&str]) -> DeleteGroupsRequest {
    DeleteGroupsRequest {
        groups_names: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

fn describing(groups: &[&str]) -> DescribeGroupsRequest {
    DescribeGroupsRequest {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        include_authorized_operations: false,
    }
}

fn forgetting(group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let topic = |(name, partitions): &(&str, &[i32])| OffsetDeleteRequestTopic {
        name: (*name).to_owned(),
        partitions: partitions
            .iter()
            .map(|&partition_index| OffsetDeleteRequestPartition { partition_index })
            .collect(),
    };
    OffsetDeleteRequest {
        group_id: group.to_owned(),
        topics: topics.iter().map(topic).collect(),
    }
}

pub async fn refused(p: &mut Parity) {
    p.coordinated("refused", 0).await;
    let group = "refused";
    for session_timeout_ms in [0, -1, 5_999, 6_000, 1_800_001] {
        p.all(&format!("session timeout {session_timeout_ms}"), |_, version| {
            JoinGroupRequest {
                session_timeout_ms,
                ..joining(&format!("refused-{session_timeout_ms}-{version}"), "nobody")
            }
        })
        .await;
    }
    p.all("an empty group", |_, _| joining("", "")).await;
    p.all("nobody", |_, _| joining(group, "nobody")).await;
    p.all("no protocols", |_, version| JoinGroupRequest {
        protocols: vec![],
        ..joining(&format!("refused-no-protocols-{version}"), "")
    })
    .await;
    p.all("no protocol type", |_, version| JoinGroupRequest {
        protocol_type: String::new(),
        ..joining(&format!("refused-no-type-{version}"), "")
    })
    .await;
    p.all("syncing with an empty group", |_, _| syncing("", 1, "nobody"))
        .await;
    p.all("syncing with no group", |_, _| {
        syncing("refused-none", 1, "nobody")
    })
    .await;
    for (kind, name) in [(None, Some("range")), (Some("consumer"), None), (None, None)] {
        p.all(&format!("syncing as {kind:?} {name:?}"), |_, _| {
            SyncGroupRequest {
                protocol_type: kind.map(str::to_owned),
                protocol_name: name.map(str::to_owned),
                ..syncing("refused-none", 1, "nobody")
            }
        })
        .await;
    }
    p.all("beating with an empty group", |_, _| beating("", 1, "nobody"))
        .await;
    p.all("beating with no group", |_, _| {
        beating("refused-none", 1, "nobody")
    })
    .await;
    p.all("leaving an empty group", |_, _| leaving("", &[("nobody", None)]))
        .await;
    p.all("leaving no group", |_, _| {
        leaving("refused-none", &[("nobody", None), ("", Some("i"))])
    })
    .await;
    p.all("nobody leaves", |_, _| leaving("refused-none", &[])).await;
    for name in ["", "refused-none"] {
        p.all(&format!("deleting offsets of {name:?}"), |_, _| {
            forgetting(name, &[("t", &[0])])
        })
        .await;
    }
    join_alone(p, group, 9).await;
    p.all("another protocol type", |_, _| JoinGroupRequest {
        protocol_type: "connect".to_owned(),
        ..joining(group, "")
    })
    .await;
    p.all("other protocols", |_, _| JoinGroupRequest {
        protocols: protocols(&["other"]),
        ..joining(group, "")
    })
    .await;
    for (kind, name) in [("connect", "range"), ("consumer", "roundrobin")] {
        p.at(&format!("syncing as {kind} {name}"), 5, |side| SyncGroupRequest {
            protocol_type: Some(kind.to_owned()),
            protocol_name: Some(name.to_owned()),
            ..syncing(group, 1, &member(side))
        })
        .await;
    }
    p.newest("deleting offsets", |_| {
        forgetting(group, &[("t", &[0]), ("none", &[0]), ("", &[0])])
    })
    .await;
    p.newest("leaving twice at once", |side| {
        let member = member(side);
        leaving(group, &[(&member, None), ("nobody", None), (&member, None)])
    })
    .await;
}

pub async fn statics(p: &mut Parity) {
    p.coordinated("static", 0).await;
    for version in 5..=9 {
        let group = &format!("static-{version}");
        let with = |member: &str, instance: &str| JoinGroupRequest {
            group_instance_id: Some(instance.to_owned()),
            ..joining(group, member)
        };
        p.each(|side| side.note("member", ""));
        let joined = p
            .at("joining with an instance", version, |_| with("", "one"))
            .await;
        take_member(p, &joined);
        let sync = version.min(5);
        let synced = |generation, side: &Side| SyncGroupRequest {
            group_instance_id: Some("one".to_owned()),
            ..syncing(group, generation, &member(side))
        };
        p.at("syncing", sync, |side| synced(1, side)).await;
        p.each(|side| side.note("old", side.noted("member")));
        let joined = p.at("coming back", version, |_| with("", "one")).await;
        take_member(p, &joined);
        p.at("syncing after coming back", sync, |side| synced(1, side))
            .await;
        for (case, instance) in [
            ("the old id beats", Some("one")),
            ("the old id beats without its instance", None),
        ] {
            p.at(case, 4, |side| HeartbeatRequest {
                group_instance_id: instance.map(str::to_owned),
                ..beating(group, 1, &side.noted("old"))
            })
            .await;
        }
        p.at("another instance beats", 4, |side| HeartbeatRequest {
            group_instance_id: Some("two".to_owned()),
            ..beating(group, 1, &member(side))
        })
        .await;
        p.at("the old id joins", version, |side| {
            with(&side.noted("old"), "one")
        })
        .await;
        p.at("an empty instance", version, |_| JoinGroupRequest {
            group_instance_id: Some(String::new()),
            ..joining(&format!("static-empty-{version}"), "")
        })
        .await;
        p.at("nobody joins with a new instance", version, |_| {
            with("nobody", "three")
        })
        .await;
        p.newest("describing", |_| describing(&[group])).await;
        let leave = beside(p, ApiKey::LeaveGroup, version);
        p.at("instances leave", leave, |side| {
            leaving(group, &[(&side.noted("old"), Some("one")), ("", Some("two"))])
        })
        .await;
        p.at("the instance leaves", leave, |_| {
            leaving(group, &[("", Some("one"))])
        })
        .await;
        p.newest("describing it empty", |_| describing(&[group])).await;
    }
}

/// Two members: a second one joins while the first one has to join again.
pub async fn rebalance(p: &mut Parity) {
    p.coordinated("rebalance", 0).await;
    for version in [3, 9] {
        let group = &format!("rebalance-{version}");
        join_alone(p, group, version).await;
        let (ours, kafka) = tokio::join!(
            second_joins(&mut p.ours, group, version),
            second_joins(&mut p.kafka, group, version)
        );
        let ([first, second], [kafka_first, kafka_second]) = (ours, kafka);
        for (case, ours, kafka) in [
            ("the first joins again", first, kafka_first),
            ("a second joins", second, kafka_second),
        ] {
            p.compare_answers::<JoinGroupRequest>(case, version, &Both { ours, kafka });
        }
        p.newest("describing", |_| describing(&[group])).await;
        p.at("syncing with both", version.min(5), |side| {
            let mut request = syncing(group, 2, &member(side));
            request.assignments.push(SyncGroupRequestAssignment {
                member_id: side.noted("second"),
                assignment: Bytes::from_static(b"\0\x01nothing"),
            });
            request
        })
        .await;
        p.at("the second syncs", version.min(5), |side| SyncGroupRequest {
            assignments: vec![],
            ..syncing(group, 2, &side.noted("second"))
        })
        .await;
        p.newest("both leave", |side| {
            leaving(group, &[(&member(side), None), (&side.noted("second"), None)])
        })
        .await;
        p.newest("describing it empty", |_| describing(&[group])).await;
    }
}

/// The answers to the first member, which joins again when it is told to, and to the second.
async fn second_joins(side: &mut Side, group: &str, version: i16) -> [Outcome<JoinGroupResponse>; 2] {
    let mut other = side.beside();
    let mut id = String::new();
    if version >= 4 {
        id = other.ask(&joining(group, ""), version).await.answer().member_id;
    }
    let first = member(side);
    let (second, first) = tokio::join!(async { other.ask(&joining(group, &id), version).await }, async {
        while side.ask(&beating(group, 1, &first), 4).await.answer().error_code == 0 {}
        side.ask(&joining(group, &first), version).await
    });
    if let Outcome::Answer(second) = &second {
        side.note("second", &second.member_id);
    }
    [first, second]
}
