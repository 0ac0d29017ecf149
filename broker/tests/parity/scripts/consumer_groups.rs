//! Groups of the consumer protocol (KIP-848): members that join, acknowledge, leave, and are refused.

use std::collections::BTreeMap;

use heliostat_wire::message::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest,
    consumer_group_heartbeat::TopicPartitions,
    offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
};

use super::{group_offsets::commit, groups::joining as joining_classic};
use crate::{
    harness::Parity,
    side::{Outcome, Side},
};

/// The member's partitions of `read`.
const ALL: &[(&str, &[i32])] = &[("read", &[0, 1, 2])];

/// How often a member asks until it is where it should be.
const TRIES: usize = 10_000;

type Owned<'a> = &'a [(&'a str, &'a [i32])];

pub async fn life(p: &mut Parity) {
    ready(p).await;
    for version in p.versions(ApiKey::ConsumerGroupHeartbeat) {
        let group = &format!("consumers-{version}");
        // Version 0 lets the cluster make ids up.
        let id = if version == 0 { "" } else { "one" };
        let joined = p.at("joining", version, |_| joining(group, id, &["read"])).await;
        p.keep("member", &joined, |answer| answer.member_id.unwrap_or_default());
        let beat = |side: &Side, epoch| beating(group, &side.noted("member"), epoch);
        describing(p, "with one member", group).await;
        p.at("nothing new", version, |side| beat(side, 1)).await;
        p.at("owning", version, |side| owning(side, beat(side, 1), ALL))
            .await;
        p.at("owning less", version, |side| {
            owning(side, beat(side, 1), &[("read", &[1])])
        })
        .await;
        p.at("owning nothing", version, |side| owning(side, beat(side, 1), &[]))
            .await;
        p.at("owning what is not there", version, |side| {
            owning(side, beat(side, 1), &[("read", &[7])])
        })
        .await;
        p.at("all of it again", version, |side| ConsumerGroupHeartbeatRequest {
            member_epoch: 1,
            ..owning(side, joining(group, &side.noted("member"), &["read"]), ALL)
        })
        .await;
        for epoch in [2, 7, -3, i32::MAX] {
            p.at(&format!("epoch {epoch}"), version, |side| beat(side, epoch))
                .await;
        }
        p.at("away without an instance id", version, |side| beat(side, -2))
            .await;
        p.at("an instance id that it has not", version, |side| {
            static_member(beat(side, 1), "instance")
        })
        .await;
        p.at("reading more", version, |side| ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(names(&["read", "read-too", "read-none"])),
            ..beat(side, 1)
        })
        .await;
        p.at("the epoch before", version, |side| {
            owning(side, beat(side, 1), ALL)
        })
        .await;
        describing(p, "reading more", group).await;
        p.at("reading less", version, |side| ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(names(&["read-too"])),
            ..owning(side, beat(side, 2), &[("read", &[0, 1, 2]), ("read-too", &[0])])
        })
        .await;
        p.at("revoked", version, |side| {
            owning(side, beat(side, 2), &[("read-too", &[0])])
        })
        .await;
        p.at("reading nothing", version, |side| ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: Some(vec![]),
            ..beat(side, 3)
        })
        .await;
        p.at("revoked too", version, |side| owning(side, beat(side, 3), &[]))
            .await;
        p.at("another assignor", version, |side| {
            ConsumerGroupHeartbeatRequest {
                server_assignor: Some("range".to_owned()),
                ..beat(side, 4)
            }
        })
        .await;
        describing(p, "reading nothing", group).await;
        others(p, group).await;
        p.at("leaving", version, |side| beat(side, -1)).await;
        p.at("leaving again", version, |side| beat(side, -1)).await;
        describing(p, "left", group).await;
        p.newest("deleting it", |_| deleting(group)).await;
        describing(p, "deleted", group).await;
    }
}

pub async fn refused(p: &mut Parity) {
    ready(p).await;
    let join = || joining("refusing", "one", &["read"]);
    let cases = [
        ("no group", with(join(), |join| join.group_id.clear())),
        (
            "a blank group",
            with(join(), |join| join.group_id = " ".to_owned()),
        ),
        ("no group to stay in", with(join(), |join| join.member_epoch = 1)),
        ("no group to leave", with(join(), |join| join.member_epoch = -1)),
        (
            "no group to be away from",
            with(join(), |join| join.member_epoch = -2),
        ),
        ("epoch -3", with(join(), |join| join.member_epoch = -3)),
        ("no timeout", with(join(), |join| join.rebalance_timeout_ms = -1)),
        (
            "partitions that are null",
            with(join(), |join| join.topic_partitions = None),
        ),
        (
            "no topics",
            with(join(), |join| join.subscribed_topic_names = None),
        ),
        (
            "an empty instance id",
            with(join(), |join| join.instance_id = Some(String::new())),
        ),
        (
            "an empty rack",
            with(join(), |join| join.rack_id = Some(String::new())),
        ),
        (
            "an unknown assignor",
            with(join(), |join| join.server_assignor = Some("sticky".to_owned())),
        ),
        (
            "an empty assignor",
            with(join(), |join| join.server_assignor = Some(String::new())),
        ),
    ];
    for (case, request) in cases {
        p.all(case, |_, _| request.clone()).await;
    }
    p.at("no member id", 1, |_| joining("refusing", "", &["read"]))
        .await;
    p.all("with partitions", |side, _| {
        owning(side, join(), &[("read", &[0])])
    })
    .await;
    for (regex, text) in [("open", "(read"), ("empty", ""), ("repeated", "*")] {
        let request = with(join(), |join| {
            join.subscribed_topic_names = None;
            join.subscribed_topic_regex = Some(text.to_owned());
        });
        p.at(&format!("a regular expression: {regex}"), 1, |_| request.clone())
            .await;
        p.at("leaving", 1, |_| beating("refusing", "one", -1)).await;
    }
    describing(p, "after refusals", "refusing").await;
    p.all("describing nothing", |_, _| {
        ConsumerGroupDescribeRequest::default()
    })
    .await;
    describing(p, "without a name", "").await;
    p.newest("a classic group", |_| joining_classic("classic-one", ""))
        .await;
    describing(p, "a classic group", "classic-one").await;
}

pub async fn statics(p: &mut Parity) {
    ready(p).await;
    let group = "static-consumers";
    for version in p.versions(ApiKey::ConsumerGroupHeartbeat) {
        let instance = &format!("instance-{version}");
        let first = &format!("first-{version}");
        let second = &format!("second-{version}");
        let join = |id: &str| static_member(joining(group, id, &["read"]), instance);
        let beat = |id: &str, epoch| static_member(beating(group, id, epoch), instance);
        let joined = p.at("joining", version, |_| join(first)).await;
        p.keep("epoch", &joined, |answer| answer.member_epoch.to_string());
        let epoch = |side: &Side| side.noted_number("epoch") as i32;
        p.at("the instance is held", version, |_| join(second)).await;
        p.at("another comes with it", version, |side| beat(second, epoch(side)))
            .await;
        p.at("away", version, |_| beat(first, -2)).await;
        describing(p, "away", group).await;
        p.at("back under another id", version, |_| join(second)).await;
        p.at("the first is fenced", version, |side| beat(first, epoch(side)))
            .await;
        p.at("staying", version, |side| {
            owning(side, beat(second, epoch(side)), ALL)
        })
        .await;
        describing(p, "back", group).await;
        p.at("another leaves", version, |_| beat(first, -1)).await;
        p.at("leaving", version, |_| beat(second, -1)).await;
        describing(p, "left", group).await;
    }
}

pub async fn two_members(p: &mut Parity) {
    ready(p).await;
    for version in p.versions(ApiKey::ConsumerGroupHeartbeat) {
        let group = &format!("pair-{version}");
        p.at("one", version, |_| joining(group, "one", &["read"])).await;
        p.at("two", version, |_| joining(group, "two", &["read"])).await;
        describing(p, "before anything is revoked", group).await;
        p.at("two waits", version, |_| beating(group, "two", 2)).await;
        let told = p
            .at("one is to revoke", version, |side| {
                owning(side, beating(group, "one", 1), ALL)
            })
            .await;
        let kept = |outcome: &Outcome<heliostat_wire::message::ConsumerGroupHeartbeatResponse>| {
            let Outcome::Answer(answer) = outcome else {
                return vec![];
            };
            let topics = answer
                .assignment
                .iter()
                .flat_map(|assignment| &assignment.topic_partitions);
            topics
                .flat_map(|topic| topic.partitions.clone())
                .collect::<Vec<_>>()
        };
        let (ours, kafka) = (kept(&told.ours), kept(&told.kafka));
        p.ours.note("kept", format!("{ours:?}"));
        p.kafka.note("kept", format!("{kafka:?}"));
        describing(p, "revoking", group).await;
        p.at("one has revoked", version, |side| {
            let kept = side.noted("kept");
            let kept: Vec<i32> = kept
                .trim_matches(['[', ']'])
                .split(", ")
                .filter_map(|text| text.parse().ok())
                .collect();
            owning(side, beating(group, "one", 1), &[("read", &kept)])
        })
        .await;
        p.at("two is given", version, |_| beating(group, "two", 2)).await;
        describing(p, "done", group).await;
        p.at("one leaves", version, |_| beating(group, "one", -1)).await;
        p.at("two has all", version, |_| beating(group, "two", 2)).await;
        describing(p, "alone", group).await;
        p.at("two leaves", version, |_| beating(group, "two", -1)).await;
    }
}

/// What members are to have after each change of the membership: how many partitions stay where they are, too.
pub async fn assignors(p: &mut Parity) {
    p.create("many", 10, &[]).await;
    p.create("some", 4, &[]).await;
    p.coordinated("assignors", 0).await;
    for (assignor, topics) in [
        ("uniform", &["many"][..]),
        ("range", &["many"]),
        ("range", &["many", "some"]),
        ("uniform", &["many", "some"]),
    ] {
        let group = &format!("{assignor}-{}", topics.len());
        let mut before = [BTreeMap::new(), BTreeMap::new()];
        for (step, (member, epoch)) in [
            ("a", 0),
            ("b", 0),
            ("c", 0),
            ("a", -1),
            ("d", 0),
            ("e", 0),
            ("c", -1),
            ("b", -1),
            ("a", 0),
        ]
        .into_iter()
        .enumerate()
        {
            let request = match epoch {
                0 => ConsumerGroupHeartbeatRequest {
                    server_assignor: Some(assignor.to_owned()),
                    ..joining(group, member, topics)
                },
                _ => beating(group, member, epoch),
            };
            let case = format!("{assignor} {topics:?} step {step}: {member} {epoch}");
            let mut outcomes = Vec::new();
            for (side, before) in [&mut p.ours, &mut p.kafka].into_iter().zip(&mut before) {
                let _ = side.ask(&request, 1).await;
                // Whoever is there acknowledges until it has what it is to have.
                outcomes.push(moves(before, settle(side, group).await));
            }
            if assignor == "uniform" && topics.len() > 1 {
                // Kafka goes through topics in the order of their ids, which differ: how even it becomes and how many
                // partitions move for that is what can be compared.
                let [ours, kafka] = [&outcomes[0], &outcomes[1]];
                assert_eq!(ours.0, kafka.0, "{case}: partitions of each member");
                assert!(
                    ours.1 <= kafka.1,
                    "{case}: {} partitions move, in Kafka {}",
                    ours.1,
                    kafka.1
                );
                continue;
            }
            p.newest(&case, |_| ConsumerGroupDescribeRequest {
                group_ids: vec![group.clone()],
                include_authorized_operations: false,
            })
            .await;
        }
    }
}

/// As above, where members read different topics.
pub async fn assignors_of_different_readers(p: &mut Parity) {
    p.create("many", 10, &[]).await;
    p.create("some", 4, &[]).await;
    let group = "different-readers";
    p.coordinated(group, 0).await;
    let mut before = [BTreeMap::new(), BTreeMap::new()];
    let both: &[&str] = &["many", "some"];
    let mut total = [0, 0];
    for (member, topics) in [
        ("a", &["many"][..]),
        ("b", both),
        ("c", &["some"]),
        ("d", both),
        ("b", &[]),
        ("e", &["many"]),
        ("a", &[]),
        ("f", both),
        ("c", &[]),
    ] {
        let request = match topics {
            [] => beating(group, member, -1),
            _ => joining(group, member, topics),
        };
        let mut outcomes = Vec::new();
        for (side, before) in [&mut p.ours, &mut p.kafka].into_iter().zip(&mut before) {
            let _ = side.ask(&request, 1).await;
            outcomes.push(moves(before, settle(side, group).await));
        }
        let [ours, kafka] = [&outcomes[0], &outcomes[1]];
        assert_eq!(ours.0, kafka.0, "{member} {topics:?}: partitions of each member");
        total[0] += ours.1;
        total[1] += kafka.1;
    }
    // Which of the members has a partition at each step depends on the ids of topics; how many move in all does not.
    assert!(
        total[0] <= total[1],
        "{} partitions move, in Kafka {}",
        total[0],
        total[1]
    );
}

/// Who reads a partition, by topic and number.
type Readers = BTreeMap<(String, i32), String>;

/// How many partitions the members have, in order, and how many went from one to another.
fn moves(before: &mut Readers, now: Readers) -> (Vec<usize>, usize) {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    now.values()
        .for_each(|member| *counts.entry(member).or_default() += 1);
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable();
    let is_there = |member: &String| now.values().any(|other| other == member);
    let moved = now.iter().filter(|(partition, member)| {
        before
            .get(partition)
            .is_some_and(|old| old != *member && is_there(old))
    });
    let moved = moved.count();
    *before = now;
    (counts, moved)
}

/// All members of a group say that they have what they were told to have, until nothing is left to do.
async fn settle(side: &mut Side, group: &str) -> Readers {
    for _ in 0..TRIES {
        let describe = ConsumerGroupDescribeRequest {
            group_ids: vec![group.to_owned()],
            include_authorized_operations: false,
        };
        let described = side.ask(&describe, 1).await.answer().groups.remove(0);
        if matches!(described.group_state.as_str(), "Stable" | "Empty") {
            let read = described.members.into_iter().flat_map(|member| {
                let topics = member.assignment.topic_partitions.into_iter();
                let partitions = topics.flat_map(|topic| {
                    let name = topic.topic_name;
                    topic
                        .partitions
                        .into_iter()
                        .map(move |partition| (name.clone(), partition))
                });
                partitions.map(move |partition| (partition, member.member_id.clone()))
            });
            return read.collect();
        }
        for member in described.members {
            let owned = member.assignment.topic_partitions.into_iter();
            let request = ConsumerGroupHeartbeatRequest {
                topic_partitions: Some(
                    owned
                        .map(|topic| TopicPartitions {
                            topic_id: topic.topic_id,
                            partitions: topic.partitions,
                        })
                        .collect(),
                ),
                ..beating(group, &member.member_id, member.member_epoch)
            };
            let _ = side.ask(&request, 1).await;
        }
    }
    panic!("{group} has not settled after {TRIES} rounds")
}

pub async fn expressions(p: &mut Parity) {
    ready(p).await;
    let join = |topics: Option<&[&str]>, regex: &str| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: topics.map(names),
        subscribed_topic_regex: Some(regex.to_owned()),
        ..joining("matching", "one", &[])
    };
    // Kafka matches beside the heartbeats, so that how soon a member is told is not compared.
    for side in [&mut p.ours, &mut p.kafka] {
        let mut told = side.ask(&join(None, "rea[d]|read-t.*"), 1).await.answer();
        for _ in 0..TRIES {
            if told
                .assignment
                .is_some_and(|assignment| assignment.topic_partitions.len() == 2)
            {
                break;
            }
            told = side
                .ask(&beating("matching", "one", told.member_epoch), 1)
                .await
                .answer();
        }
    }
    describing(p, "matched", "matching").await;
    p.at("leaving", 1, |_| beating("matching", "one", -1)).await;
}

async fn ready(p: &mut Parity) {
    p.create("read", 3, &[]).await;
    p.create("read-too", 1, &[]).await;
    p.coordinated("read", 0).await;
}

/// What the other APIs of groups say to one of the consumer protocol that has a member.
async fn others(p: &mut Parity, group: &str) {
    p.newest("describing as a classic group", |_| DescribeGroupsRequest {
        groups: vec![group.to_owned()],
        ..Default::default()
    })
    .await;
    p.newest("listing", |_| ListGroupsRequest {
        types_filter: vec!["consumer".to_owned()],
        states_filter: vec!["Stable".to_owned()],
    })
    .await;
    p.newest("joining as a classic member", |_| joining_classic(group, ""))
        .await;
    for epoch in [-1, 3, 4, 5] {
        p.newest(&format!("committing in epoch {epoch}"), |side| {
            OffsetCommitRequest {
                generation_id_or_member_epoch: epoch,
                member_id: side.noted("member"),
                ..commit(group, "read", &[(0, 1)])
            }
        })
        .await;
    }
    p.newest("deleting offsets", |_| OffsetDeleteRequest {
        group_id: group.to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "read".to_owned(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        }],
    })
    .await;
    p.newest("deleting a group with a member", |_| deleting(group))
        .await;
}

async fn describing(p: &mut Parity, case: &str, group: &str) {
    for operations in [false, true] {
        p.all(&format!("{case}, operations {operations}"), |_, _| {
            ConsumerGroupDescribeRequest {
                group_ids: vec![group.to_owned(), format!("{group}-none")],
                include_authorized_operations: operations,
            }
        })
        .await;
    }
}

pub fn joining(group: &str, id: &str, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(names(topics)),
        topic_partitions: Some(vec![]),
        ..beating(group, id, 0)
    }
}

pub fn beating(group: &str, id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.to_owned(),
        member_id: id.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn owning(
    side: &Side,
    request: ConsumerGroupHeartbeatRequest,
    owned: Owned<'_>,
) -> ConsumerGroupHeartbeatRequest {
    let topic = |(name, partitions): &(&str, &[i32])| TopicPartitions {
        topic_id: side.topic_id(name),
        partitions: partitions.to_vec(),
    };
    ConsumerGroupHeartbeatRequest {
        topic_partitions: Some(owned.iter().map(topic).collect()),
        ..request
    }
}

fn static_member(request: ConsumerGroupHeartbeatRequest, instance: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        instance_id: Some(instance.to_owned()),
        ..request
    }
}

fn deleting(group: &str) -> DeleteGroupsRequest {
    DeleteGroupsRequest {
        groups_names: vec![group.to_owned()],
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn with<T>(mut value: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut value);
    value
}
