//! Groups whose members change from one protocol to the other while it has members (KIP-848, online migration).

use bytes::Bytes;
use heliostat_wire::message::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DescribeGroupsRequest,
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest, SyncGroupResponse, TxnOffsetCommitRequest,
    consumer_group_heartbeat::TopicPartitions,
    join_group::JoinGroupRequestProtocol,
    leave_group::MemberIdentity,
    offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    sync_group::SyncGroupRequestAssignment,
};

use super::group_offsets::commit;
use crate::{
    harness::{Both, Parity},
    side::{Outcome, Side},
};

const TOPIC: &str = "moved";

/// Partitions 0 and 1 of the topic, as both forms of a consumer's data write them.
const BOTH: &[u8] = b"\0\0\0\x01\0\x05moved\0\0\0\x02\0\0\0\0\0\0\0\x01";
const NOTHING: &[u8] = b"\0\0\0\0";

pub async fn there_and_back(p: &mut Parity) {
    p.create(TOPIC, 2, &[]).await;
    p.coordinated("there-and-back", 0).await;
    let group = "there-and-back";
    classic_group(p, group, None).await;
    p.newest("the first of the other protocol", |_| {
        joining_modern(group, "modern")
    })
    .await;
    shown(p, "upgraded", group).await;
    beats(p, "to rejoin", group, 1).await;
    syncs(p, "before it joins again", group, 1).await;
    commits(p, "before it joins again", group, &[0, 1, 2]).await;
    joins(p, "with all it has", group, BOTH).await;
    shown(p, "revoking", group).await;
    let told = syncs(p, "what it keeps", group, 1).await;
    keep_owned(p, &told);
    beats(p, "to reconcile", group, 1).await;
    let owned = |side: &Side| owned(side);
    joins_owning(p, "with less", group, owned).await;
    shown(p, "revoked", group).await;
    beats(p, "not synced yet", group, 2).await;
    syncs(p, "in the new generation", group, 2).await;
    beats(p, "at rest", group, 2).await;
    beats(p, "in the generation before", group, 1).await;
    commits(p, "at rest", group, &[-1, 0, 1, 2, 3]).await;
    p.newest("the rest for the other", |_| beating_modern(group, "modern", 2))
        .await;
    shown(p, "shared", group).await;
    strangers(p, group).await;
    p.newest("the last of the other protocol leaves", |_| {
        beating_modern(group, "modern", -1)
    })
    .await;
    shown(p, "downgraded", group).await;
    beats(p, "downgraded", group, 2).await;
    syncs(p, "downgraded", group, 2).await;
    joins_owning(p, "downgraded", group, owned).await;
    shown(p, "rejoined", group).await;
    syncs(p, "alone again", group, 3).await;
    shown(p, "alone again", group).await;
    leaves(p, "leaving", group, &|side| side.noted("member")).await;
    shown(p, "left", group).await;
}

/// Requests of members that are not there, or do not fit.
async fn strangers(p: &mut Parity, group: &str) {
    for version in p.versions(ApiKey::JoinGroup) {
        // Before version 4 this makes a member, which leaves at once.
        let joined = p
            .at("another joins", version, |_| joining(group, "", NOTHING))
            .await;
        if version < 4 {
            p.keep("other", &joined, |answer| answer.member_id);
            leaves(p, "another", group, &|side| side.noted("other")).await;
            p.newest("the next epoch", |_| beating_modern(group, "modern", 2))
                .await;
            rejoin(p, group).await;
        }
    }
    for (case, kind, name, metadata) in [
        ("no consumer", "connect", "range", subscription(NOTHING)),
        ("another protocol", "consumer", "other", subscription(NOTHING)),
        ("broken metadata", "consumer", "range", Bytes::from_static(b"\0")),
        (
            "cut metadata",
            "consumer",
            "range",
            Bytes::from_static(b"\0\x01\0\0\0\x01\0\x05mov"),
        ),
        ("no metadata", "consumer", "range", Bytes::new()),
        (
            "metadata of version -1",
            "consumer",
            "range",
            Bytes::from_static(b"\xff\xff\0\0\0\0\xff\xff\xff\xff"),
        ),
    ] {
        p.newest(case, |_| JoinGroupRequest {
            protocol_type: kind.to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: name.to_owned(),
                metadata: metadata.clone(),
            }],
            ..joining(group, "", NOTHING)
        })
        .await;
        p.newest(&format!("{case}, with an id"), |_| JoinGroupRequest {
            protocol_type: kind.to_owned(),
            protocols: vec![JoinGroupRequestProtocol {
                name: name.to_owned(),
                metadata: metadata.clone(),
            }],
            ..joining(group, "somebody", NOTHING)
        })
        .await;
    }
    p.newest("a static member that nobody knows", |_| JoinGroupRequest {
        group_instance_id: Some("nobody".to_owned()),
        ..joining(group, "somebody", NOTHING)
    })
    .await;
    for member in ["nobody", "modern"] {
        for instance in [None, Some("nobody")] {
            let case = format!("{member} {instance:?}");
            let instance = instance.map(str::to_owned);
            p.newest(&case, |_| HeartbeatRequest {
                group_instance_id: instance.clone(),
                ..beating(group, 2, member)
            })
            .await;
            p.newest(&case, |_| SyncGroupRequest {
                group_instance_id: instance.clone(),
                ..syncing(group, 2, member)
            })
            .await;
        }
    }
    for (kind, name) in [
        (Some("connect"), Some("range")),
        (Some("consumer"), Some("roundrobin")),
        (Some("consumer"), None),
        (None, None),
    ] {
        p.newest(&format!("syncing as {kind:?} {name:?}"), |side| {
            SyncGroupRequest {
                protocol_type: kind.map(str::to_owned),
                protocol_name: name.map(str::to_owned),
                ..syncing(group, 2, &side.noted("member"))
            }
        })
        .await;
    }
    leaves(p, "nobody", group, &|_| "nobody".to_owned()).await;
    p.newest("a static member that nobody knows leaves", |_| {
        leaving(group, "", Some("nobody"))
    })
    .await;
}

pub async fn statics(p: &mut Parity) {
    p.create(TOPIC, 2, &[]).await;
    let group = "moved-statics";
    p.coordinated(group, 0).await;
    classic_group(p, group, Some("instance")).await;
    let modern = |id: &str| ConsumerGroupHeartbeatRequest {
        instance_id: Some("instance".to_owned()),
        ..joining_modern(group, id)
    };
    p.newest("the same in the other protocol", |_| modern("modern"))
        .await;
    shown(p, "replaced", group).await;
    p.newest("the old one beats", |side| HeartbeatRequest {
        group_instance_id: Some("instance".to_owned()),
        ..beating(group, 1, &side.noted("member"))
    })
    .await;
    p.newest("the old one joins", |side| JoinGroupRequest {
        group_instance_id: Some("instance".to_owned()),
        ..joining(group, &side.noted("member"), BOTH)
    })
    .await;
    let back = p
        .newest("back in the classic protocol", |_| JoinGroupRequest {
            group_instance_id: Some("instance".to_owned()),
            ..joining(group, "", NOTHING)
        })
        .await;
    p.keep("member", &back, |answer| answer.member_id);
    p.keep("generation", &back, |answer| answer.generation_id.to_string());
    shown(p, "back", group).await;
    p.newest("its partitions", |side| SyncGroupRequest {
        group_instance_id: Some("instance".to_owned()),
        ..syncing(
            group,
            side.noted_number("generation") as i32,
            &side.noted("member"),
        )
    })
    .await;
    shown(p, "with its partitions", group).await;
    p.newest("taken out", |_| leaving(group, "", Some("instance")))
        .await;
    shown(p, "empty", group).await;
}

/// Groups that cannot become one of the consumer protocol.
pub async fn refused(p: &mut Parity) {
    p.create(TOPIC, 2, &[]).await;
    p.coordinated("moved-not", 0).await;
    for (group, kind, metadata, assignment) in [
        ("moved-not-connect", "connect", subscription(NOTHING), told(BOTH)),
        (
            "moved-not-readable",
            "consumer",
            Bytes::from_static(b"\0"),
            told(BOTH),
        ),
        (
            "moved-not-told",
            "consumer",
            subscription(NOTHING),
            Bytes::from_static(b"\0\x01x"),
        ),
        (
            "moved-not-custom",
            "consumer",
            subscription(NOTHING),
            [b"\0\x01", BOTH, b"\0\0\0\x01x"].concat().into(),
        ),
        ("moved-untold", "consumer", subscription(NOTHING), Bytes::new()),
    ] {
        let joined = p
            .at(group, 3, |_| JoinGroupRequest {
                protocol_type: kind.to_owned(),
                protocols: protocols(&["range"], &metadata),
                ..joining(group, "", NOTHING)
            })
            .await;
        p.keep("member", &joined, |answer| answer.member_id);
        p.newest(group, |side| SyncGroupRequest {
            protocol_type: Some(kind.to_owned()),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: side.noted("member"),
                assignment: assignment.clone(),
            }],
            ..syncing(group, 1, &side.noted("member"))
        })
        .await;
        p.newest(group, |_| joining_modern(group, "modern")).await;
        shown(p, group, group).await;
    }
}

/// A classic group with one member, which has both partitions.
async fn classic_group(p: &mut Parity, group: &str, instance: Option<&str>) {
    let join = |id: &str| JoinGroupRequest {
        group_instance_id: instance.map(str::to_owned),
        ..joining(group, id, NOTHING)
    };
    let joined = p.newest("joining", |_| join("")).await;
    p.keep("member", &joined, |answer| answer.member_id);
    if instance.is_none() {
        p.newest("joining with the id", |side| join(&side.noted("member")))
            .await;
    }
    p.newest("syncing", |side| SyncGroupRequest {
        group_instance_id: instance.map(str::to_owned),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: side.noted("member"),
            assignment: told(BOTH),
        }],
        ..syncing(group, 1, &side.noted("member"))
    })
    .await;
}

async fn rejoin(p: &mut Parity, group: &str) {
    let joined = p
        .newest("joining again", |side| {
            joining(group, &side.noted("member"), &owned(side))
        })
        .await;
    p.keep("generation", &joined, |answer| answer.generation_id.to_string());
    p.newest("syncing again", |side| {
        syncing(
            group,
            side.noted_number("generation") as i32,
            &side.noted("member"),
        )
    })
    .await;
}

async fn shown(p: &mut Parity, case: &str, group: &str) {
    p.newest(case, |_| ConsumerGroupDescribeRequest {
        group_ids: vec![group.to_owned()],
        include_authorized_operations: false,
    })
    .await;
    p.newest(case, |_| DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        include_authorized_operations: false,
    })
    .await;
    for kind in ["classic", "consumer"] {
        p.newest(&format!("{case}, {kind}"), |_| ListGroupsRequest {
            types_filter: vec![kind.to_owned()],
            states_filter: vec![],
        })
        .await;
    }
}

async fn beats(p: &mut Parity, case: &str, group: &str, generation: i32) {
    p.newest(case, |side| beating(group, generation, &side.noted("member")))
        .await;
}

async fn joins(p: &mut Parity, case: &str, group: &str, owned: &'static [u8]) {
    joins_owning(p, case, group, |_| owned.to_vec()).await;
}

async fn joins_owning(p: &mut Parity, case: &str, group: &str, owned: impl Fn(&Side) -> Vec<u8>) {
    p.newest(case, |side| joining(group, &side.noted("member"), &owned(side)))
        .await;
}

async fn syncs(p: &mut Parity, case: &str, group: &str, generation: i32) -> Both<SyncGroupResponse> {
    p.newest(case, |side| syncing(group, generation, &side.noted("member")))
        .await
}

async fn leaves(p: &mut Parity, case: &str, group: &str, member: &dyn Fn(&Side) -> String) {
    p.newest(case, |side| leaving(group, &member(side), None)).await;
}

/// Commits and fetches in these generations, in a version that knows no epochs and in the newest.
async fn commits(p: &mut Parity, case: &str, group: &str, generations: &[i32]) {
    for &generation in generations {
        let case = format!("{case}, generation {generation}");
        for version in [8, *p.versions(ApiKey::OffsetCommit).end()] {
            p.at(&case, version, |side| OffsetCommitRequest {
                generation_id_or_member_epoch: generation,
                member_id: side.noted("member"),
                ..commit(group, TOPIC, &[(0, 1)])
            })
            .await;
        }
        p.newest(&case, |side| OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.to_owned(),
                member_id: Some(side.noted("member")),
                member_epoch: generation,
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: TOPIC.to_owned(),
                    partition_indexes: vec![0],
                }]),
            }],
            ..Default::default()
        })
        .await;
        p.newest(&case, |side| TxnOffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id: generation,
            member_id: side.noted("member"),
            transactional_id: "moved".to_owned(),
            ..Default::default()
        })
        .await;
    }
}

/// Takes down which partitions a member has, as its next subscription says it.
fn keep_owned(p: &mut Parity, told: &Both<SyncGroupResponse>) {
    for (side, outcome) in [(&mut p.ours, &told.ours), (&mut p.kafka, &told.kafka)] {
        let Outcome::Answer(answer) = outcome else {
            continue;
        };
        let bytes = &answer.assignment;
        let partitions = bytes.get(2..bytes.len().saturating_sub(4)).unwrap_or(NOTHING);
        let numbers: Vec<String> = partitions.iter().map(u8::to_string).collect();
        side.note("owned", numbers.join(" "));
    }
}

fn owned(side: &Side) -> Vec<u8> {
    side.noted("owned")
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn joining(group: &str, member: &str, owned: &[u8]) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: protocols(&["range", "roundrobin"], &subscription(owned)),
        ..Default::default()
    }
}

fn protocols(names: &[&str], metadata: &Bytes) -> Vec<JoinGroupRequestProtocol> {
    let protocol = |name: &&str| JoinGroupRequestProtocol {
        name: (*name).to_owned(),
        metadata: metadata.clone(),
    };
    names.iter().map(protocol).collect()
}

/// What a consumer of the topic says of itself: version 1, the topic, no data of its own, what it owns.
fn subscription(owned: &[u8]) -> Bytes {
    [b"\0\x01\0\0\0\x01\0\x05moved\xff\xff\xff\xff", owned]
        .concat()
        .into()
}

fn told(partitions: &[u8]) -> Bytes {
    [b"\0\x01", partitions, b"\xff\xff\xff\xff"].concat().into()
}

fn syncing(group: &str, generation_id: i32, member: &str) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.to_owned(),
            assignment: told(BOTH),
        }],
        ..Default::default()
    }
}

fn beating(group: &str, generation_id: i32, member: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.to_owned(),
        generation_id,
        member_id: member.to_owned(),
        group_instance_id: None,
    }
}

fn leaving(group: &str, member: &str, instance: Option<&str>) -> LeaveGroupRequest {
    LeaveGroupRequest {
        group_id: group.to_owned(),
        member_id: member.to_owned(),
        members: vec![MemberIdentity {
            member_id: member.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            reason: None,
        }],
    }
}

fn joining_modern(group: &str, id: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(Vec::<TopicPartitions>::new()),
        ..beating_modern(group, id, 0)
    }
}

fn beating_modern(group: &str, id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: id.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}
