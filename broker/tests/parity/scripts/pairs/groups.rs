//! Members of groups, and what they commit.

use heliostat_wire::message::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, SyncGroupRequest, consumer_group_heartbeat::TopicPartitions,
};

use super::{Fault, ends, pairs};
use crate::{
    harness::Parity,
    scripts::{
        consumer_groups::{beating as beating_consumer, joining as joining_consumer},
        group_offsets::commit,
        groups::{beating, join_alone, joining, leaving, syncing},
    },
    side::Side,
};

const CLASSIC: &str = "pairs-classic";

fn member(side: &Side) -> String {
    side.noted("member")
}

pub async fn classic(p: &mut Parity) {
    p.coordinated(CLASSIC, 0).await;
    join_alone(p, CLASSIC, 9).await;
    let versions = ends::<HeartbeatRequest>(p);
    let good = |side: &Side| beating(CLASSIC, 1, &member(side));
    pairs(
        p,
        &versions,
        good,
        &[
            ("generation 7", |_, request| request.generation_id = 7),
            ("generation -1", |_, request| request.generation_id = -1),
            ("nobody", |_, request| request.member_id = "nobody".to_owned()),
            ("no member", |_, request| request.member_id = String::new()),
            ("an unknown instance", |_, request| {
                request.group_instance_id = Some("two".to_owned())
            }),
            ("an unknown group", |_, request| {
                request.group_id = "pairs-none".to_owned()
            }),
            ("no group", |_, request| request.group_id = String::new()),
        ],
    )
    .await;
    let versions = ends::<SyncGroupRequest>(p);
    let good = |side: &Side| syncing(CLASSIC, 1, &member(side));
    pairs(
        p,
        &versions,
        good,
        &[
            ("generation 7", |_, request| request.generation_id = 7),
            ("generation -1", |_, request| request.generation_id = -1),
            ("nobody", |_, request| request.member_id = "nobody".to_owned()),
            ("no member", |_, request| request.member_id = String::new()),
            ("an unknown instance", |_, request| {
                request.group_instance_id = Some("two".to_owned())
            }),
            ("another type", |_, request| {
                request.protocol_type = Some("connect".to_owned())
            }),
            ("no type", |_, request| request.protocol_type = None),
            ("another protocol", |_, request| {
                request.protocol_name = Some("other".to_owned())
            }),
            ("no protocol", |_, request| request.protocol_name = None),
            ("an unknown group", |_, request| {
                request.group_id = "pairs-none".to_owned()
            }),
            ("no group", |_, request| request.group_id = String::new()),
        ],
    )
    .await;
    let versions = ends::<JoinGroupRequest>(p);
    let good = |side: &Side| joining(CLASSIC, &member(side));
    pairs(
        p,
        &versions,
        good,
        &[
            ("a short session", |_, request| request.session_timeout_ms = 1),
            ("a long session", |_, request| {
                request.session_timeout_ms = i32::MAX
            }),
            ("nobody", |_, request| request.member_id = "nobody".to_owned()),
            ("an unknown instance", |_, request| {
                request.group_instance_id = Some("two".to_owned())
            }),
            ("another type", |_, request| {
                request.protocol_type = "connect".to_owned()
            }),
            ("no type", |_, request| request.protocol_type = String::new()),
            ("no protocols", |_, request| request.protocols.clear()),
            ("an unknown group", |_, request| {
                request.group_id = "pairs-none".to_owned()
            }),
            ("no group", |_, request| request.group_id = String::new()),
        ],
    )
    .await;
    let versions = ends::<LeaveGroupRequest>(p);
    // Nobody leaves: the member is needed for the next case.
    let good = |_: &Side| leaving(CLASSIC, &[("nobody", None)]);
    pairs(
        p,
        &versions,
        good,
        &[
            ("an unknown instance", |_, request| {
                request.members[0].group_instance_id = Some("two".to_owned())
            }),
            ("no member", |_, request| {
                request.members[0].member_id = String::new()
            }),
            ("a member twice", |_, request| {
                request.members.push(request.members[0].clone())
            }),
            ("an unknown group", |_, request| {
                request.group_id = "pairs-none".to_owned()
            }),
            ("no group", |_, request| request.group_id = String::new()),
        ],
    )
    .await;
    statics(p).await;
}

/// A member that has an instance, and another that has come instead of it.
async fn statics(p: &mut Parity) {
    let group = "pairs-static";
    let with = |member: &str| JoinGroupRequest {
        group_instance_id: Some("one".to_owned()),
        ..joining(group, member)
    };
    p.each(|side| side.note("member", ""));
    for name in ["old", "member"] {
        let joined = p.newest("joining", |_| with("")).await;
        p.keep(name, &joined, |answer| answer.member_id);
        p.newest("syncing", |side| SyncGroupRequest {
            group_instance_id: Some("one".to_owned()),
            ..syncing(group, 1, &side.noted(name))
        })
        .await;
    }
    let good = |side: &Side| HeartbeatRequest {
        group_instance_id: Some("one".to_owned()),
        ..beating(group, 1, &member(side))
    };
    let versions = ends::<HeartbeatRequest>(p);
    pairs(
        p,
        &versions,
        good,
        &[
            ("generation 7", |_, request| request.generation_id = 7),
            ("nobody", |_, request| request.member_id = "nobody".to_owned()),
            ("the one before", |side, request| {
                request.member_id = side.noted("old")
            }),
            ("no member", |_, request| request.member_id = String::new()),
            ("an unknown instance", |_, request| {
                request.group_instance_id = Some("two".to_owned())
            }),
            ("an empty instance", |_, request| {
                request.group_instance_id = Some(String::new())
            }),
        ],
    )
    .await;
    let good = |side: &Side| OffsetCommitRequest {
        generation_id_or_member_epoch: 1,
        member_id: member(side),
        group_instance_id: Some("one".to_owned()),
        ..commit(group, "pairs-committed", &[(0, 1)])
    };
    pairs(p, &[9], good, COMMITS).await;
}

/// What can be wrong with offsets that are committed.
const COMMITS: &[Fault<OffsetCommitRequest>] = &[
    ("generation 7", |_, request| {
        request.generation_id_or_member_epoch = 7
    }),
    ("generation 0", |_, request| {
        request.generation_id_or_member_epoch = 0
    }),
    ("generation -1", |_, request| {
        request.generation_id_or_member_epoch = -1
    }),
    ("nobody", |_, request| request.member_id = "nobody".to_owned()),
    ("the one before", |side, request| {
        request.member_id = side.noted("old")
    }),
    ("no member", |_, request| request.member_id = String::new()),
    ("an unknown instance", |_, request| {
        request.group_instance_id = Some("two".to_owned())
    }),
    ("long metadata", |_, request| {
        request.topics[0].partitions[0].committed_metadata = Some("x".repeat(5000));
    }),
    ("an unknown partition", |_, request| {
        request.topics[0].partitions[0].partition_index = 9
    }),
    ("an unknown topic", |_, request| {
        request.topics[0].name = "pairs-none".to_owned();
    }),
    ("a partition twice", |_, request| {
        let mut again = request.topics[0].partitions[0].clone();
        again.committed_offset += 1;
        request.topics[0].partitions.push(again);
    }),
    ("no topics", |_, request| request.topics.clear()),
    ("an unknown group", |_, request| {
        request.group_id = "pairs-none".to_owned()
    }),
    ("no group", |_, request| request.group_id = String::new()),
];

pub async fn commits(p: &mut Parity) {
    p.create("pairs-committed", 2, &[]).await;
    p.coordinated("pairs-committing", 0).await;
    let good = |side: &Side| OffsetCommitRequest {
        generation_id_or_member_epoch: 1,
        member_id: member(side),
        ..commit("pairs-committing", "pairs-committed", &[(0, 1)])
    };
    join_alone(p, "pairs-committing", 9).await;
    let versions = ends::<OffsetCommitRequest>(p);
    pairs(p, &[versions[0], 7, versions[1]], good, COMMITS).await;
    let joined = p
        .at("joining", 1, |_| {
            joining_consumer("pairs-consuming", "one", &["pairs-committed"])
        })
        .await;
    p.keep("member", &joined, |answer| answer.member_id.unwrap_or_default());
    let good = |side: &Side| OffsetCommitRequest {
        generation_id_or_member_epoch: 1,
        member_id: member(side),
        ..commit("pairs-consuming", "pairs-committed", &[(0, 1)])
    };
    pairs(p, &[versions[0], 7, versions[1]], good, COMMITS).await;
}

pub async fn consumers(p: &mut Parity) {
    p.create("pairs-read", 2, &[]).await;
    p.coordinated("pairs-consumers", 0).await;
    let faults: &[Fault<ConsumerGroupHeartbeatRequest>] = &[
        ("epoch 7", |_, request| request.member_epoch = 7),
        ("epoch -3", |_, request| request.member_epoch = -3),
        ("an empty instance", |_, request| {
            request.instance_id = Some(String::new())
        }),
        ("an unknown assignor", |_, request| {
            request.server_assignor = Some("sticky".to_owned())
        }),
        ("an empty assignor", |_, request| {
            request.server_assignor = Some(String::new())
        }),
        ("no time for rebalances", |_, request| {
            request.rebalance_timeout_ms = 0
        }),
        ("a negative time", |_, request| request.rebalance_timeout_ms = -2),
        ("an empty rack", |_, request| {
            request.rack_id = Some(String::new())
        }),
        ("a bad expression", |_, request| {
            request.subscribed_topic_regex = Some("(".to_owned())
        }),
        ("no names", |_, request| request.subscribed_topic_names = None),
        ("partitions that are null", |_, request| {
            request.topic_partitions = None
        }),
        ("partitions of its own", |side, request| {
            request.topic_partitions = Some(vec![TopicPartitions {
                topic_id: side.topic_id("pairs-read"),
                partitions: vec![0, 9],
            }]);
        }),
        ("no member", |_, request| request.member_id = String::new()),
        ("an unknown group", |_, request| {
            request.group_id = "pairs-none".to_owned()
        }),
        ("no group", |_, request| request.group_id = String::new()),
    ];
    let join = || joining_consumer("pairs-consumers", "one", &["pairs-read"]);
    p.at("joining", 1, |_| join()).await;
    let staying = |_: &Side| beating_consumer("pairs-consumers", "one", 1);
    let more: &[Fault<ConsumerGroupHeartbeatRequest>] = &[
        ("nobody", |_, request| request.member_id = "nobody".to_owned()),
        ("an unknown instance", |_, request| {
            request.instance_id = Some("two".to_owned())
        }),
    ];
    for version in [0, 1] {
        pairs(p, &[version], staying, &[faults, more].concat()).await;
        let leaving = |_: &Side| beating_consumer("pairs-consumers", "nobody", -1);
        pairs(p, &[version], leaving, &[faults, more].concat()).await;
        pairs(p, &[version], |_| join(), faults).await;
    }
}
