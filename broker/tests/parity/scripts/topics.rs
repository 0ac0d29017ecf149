//! Creating, deleting and growing topics.

use heliostat_wire::{
    Uuid,
    message::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
        create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic},
        create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
        delete_topics::DeleteTopicState,
    },
};

use crate::{
    harness::Parity,
    requests::{create as request, topic},
    side::Outcome,
};

/// An id that no topic has.
const NO_ID: Uuid = Uuid::from_bytes([7; 16]);

pub async fn create(p: &mut Parity) {
    for version in p.versions(heliostat_wire::message::ApiKey::CreateTopics) {
        let name = format!("create-{version}");
        let configs = [("retention.ms", "1000"), ("cleanup.policy", "compact,delete")];
        let with_configs = format!("{name}-configs");
        // Broker defaults came with version 4.
        let count = if version < 4 { 2 } else { -1 };
        let made = p
            .at("two topics", version, |_| CreateTopicsRequest {
                topics: vec![
                    CreatableTopic {
                        replication_factor: 1,
                        ..topic(&name, count, &[])
                    },
                    CreatableTopic {
                        replication_factor: 1,
                        ..topic(&with_configs, 3, &configs)
                    },
                ],
                ..request(vec![])
            })
            .await;
        for (side, outcome) in [(&mut p.ours, made.ours), (&mut p.kafka, made.kafka)] {
            if let Outcome::Answer(answer) = outcome {
                answer
                    .topics
                    .iter()
                    .for_each(|topic| side.register(&topic.name, topic.topic_id));
            }
        }
    }
    p.all("exists already", |_, _| request(vec![topic("create-7", 1, &[])]))
        .await;
    p.all("exists already, only validated", |_, _| CreateTopicsRequest {
        validate_only: true,
        ..request(vec![topic("create-7", 1, &[])])
    })
    .await;
    p.all("only validated", |_, _| CreateTopicsRequest {
        validate_only: true,
        ..request(vec![CreatableTopic {
            replication_factor: 1,
            ..topic("create-not", 2, &[("retention.ms", "7")])
        }])
    })
    .await;
    p.all("assigned, only validated", |_, _| CreateTopicsRequest {
        validate_only: true,
        ..request(vec![CreatableTopic {
            replication_factor: -1,
            ..assigned(&[(0, &[1]), (1, &[1])])
        }])
    })
    .await;
}

pub fn assigned(partitions: &[(i32, &[i32])]) -> CreatableTopic {
    CreatableTopic {
        assignments: partitions
            .iter()
            .map(|(partition_index, nodes)| CreatableReplicaAssignment {
                partition_index: *partition_index,
                broker_ids: nodes.to_vec(),
            })
            .collect(),
        ..topic("assigned", -1, &[])
    }
}

pub async fn create_refused(p: &mut Parity) {
    let long = "x".repeat(250);
    p.create("dots.and_underscores", 1, &[]).await;
    let mut bad: Vec<(String, CreatableTopic)> =
        ["", ".", "..", "a b", "é", "a/b", &long, "dots_and.underscores"]
            .iter()
            .map(|name| {
                (
                    format!("named {}", &name[..name.len().min(30)]),
                    topic(name, 1, &[]),
                )
            })
            .collect();
    for count in [0, -2, i32::MIN] {
        bad.push((format!("{count} partitions"), topic("refused", count, &[])));
    }
    bad.push(("20000 partitions".to_owned(), topic("refused", 20_000, &[])));
    for factor in [0, -2, 2, i16::MAX] {
        let new = CreatableTopic {
            replication_factor: factor,
            ..topic("refused", 1, &[])
        };
        bad.push((format!("replication factor {factor}"), new));
    }
    for (name, value) in [
        ("no.such.config", "1"),
        ("retention.ms", "abc"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "remove"),
        ("cleanup.policy", ""),
        ("compression.type", "rar"),
        ("segment.bytes", "1"),
        ("min.insync.replicas", "0"),
        ("message.timestamp.type", "now"),
        ("max.message.bytes", "-1"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("preallocate", "perhaps"),
    ] {
        bad.push((format!("{name}={value}"), topic("refused", 1, &[(name, value)])));
    }
    let mut null = topic("refused", 1, &[]);
    null.configs = vec![CreatableTopicConfig {
        name: "retention.ms".to_owned(),
        value: None,
    }];
    bad.push(("a null value".to_owned(), null));
    type Assignment = (&'static str, &'static [(i32, &'static [i32])]);
    let assignments: &[Assignment] = &[
        ("an unknown node", &[(0, &[9])]),
        ("a node twice", &[(0, &[1, 1])]),
        ("no nodes", &[(0, &[])]),
        ("a gap", &[(0, &[1]), (2, &[1])]),
        ("not from 0", &[(1, &[1])]),
        ("a partition twice", &[(0, &[1]), (0, &[1])]),
        ("different counts", &[(0, &[1]), (1, &[])]),
        ("a negative partition", &[(-1, &[1])]),
        ("a negative node", &[(0, &[-1])]),
    ];
    for (case, partitions) in assignments {
        bad.push((format!("assigned: {case}"), assigned(partitions)));
    }
    let counted = CreatableTopic {
        num_partitions: 1,
        ..assigned(&[(0, &[1])])
    };
    bad.push(("assigned and counted".to_owned(), counted));
    let replicated = CreatableTopic {
        replication_factor: 1,
        ..assigned(&[(0, &[1])])
    };
    bad.push(("assigned and replicated".to_owned(), replicated));
    for (case, new) in &bad {
        p.newest(case, |_| request(vec![new.clone()])).await;
        p.newest(&format!("{case}, only validated"), |_| CreateTopicsRequest {
            validate_only: true,
            ..request(vec![new.clone()])
        })
        .await;
    }
    p.all("many that are wrong", |_, _| {
        request(bad.iter().take(20).map(|(_, new)| new.clone()).collect())
    })
    .await;
    p.all("none", |_, _| request(vec![])).await;
    p.all("twice", |_, _| {
        request(vec![
            topic("twice", 1, &[]),
            topic("twice", 2, &[]),
            topic("", 1, &[]),
        ])
    })
    .await;
    p.all("an internal name", |_, _| CreateTopicsRequest {
        validate_only: true,
        ..request(vec![topic("__cluster_metadata", 1, &[])])
    })
    .await;
}

fn by_name(version: i16, names: &[&str]) -> DeleteTopicsRequest {
    let states = names.iter().map(|name| DeleteTopicState {
        name: Some((*name).to_owned()),
        ..Default::default()
    });
    DeleteTopicsRequest {
        topics: if version < 6 { vec![] } else { states.collect() },
        topic_names: names.iter().map(|name| (*name).to_owned()).collect(),
        timeout_ms: 20_000,
    }
}

pub async fn delete(p: &mut Parity) {
    for version in p.versions(heliostat_wire::message::ApiKey::DeleteTopics) {
        let name = format!("delete-{version}");
        p.create(&name, 1, &[]).await;
        p.at("one of two", version, |_| {
            by_name(version, &[&name, "delete-none"])
        })
        .await;
        p.gone(&name).await;
        p.at("gone", version, |_| by_name(version, &[&name])).await;
    }
    p.all("none", |_, version| by_name(version, &[])).await;
    p.all("bad names", |_, version| by_name(version, &["", "a b", ".", "é"]))
        .await;
    p.all("twice and unknown", |_, version| {
        by_name(version, &["no", "no", "other"])
    })
    .await;
    p.create("delete-twice", 1, &[]).await;
    p.newest("twice", |_| by_name(6, &["delete-twice", "delete-twice"]))
        .await;
    let states = |states: Vec<DeleteTopicState>| DeleteTopicsRequest {
        topics: states,
        timeout_ms: 20_000,
        ..Default::default()
    };
    let state = |name: Option<&str>, topic_id| DeleteTopicState {
        name: name.map(str::to_owned),
        topic_id,
    };
    p.newest("an unknown id", |_| states(vec![state(None, NO_ID)]))
        .await;
    p.newest("an unknown id twice", |_| {
        states(vec![state(None, NO_ID), state(None, NO_ID)])
    })
    .await;
    p.newest("neither name nor id", |_| states(vec![state(None, Uuid::ZERO)]))
        .await;
    p.newest("name and id", |side| {
        states(vec![state(Some("delete-twice"), side.topic_id("delete-twice"))])
    })
    .await;
    p.newest("name and id of one", |side| {
        let id = side.topic_id("delete-twice");
        states(vec![state(Some("delete-twice"), Uuid::ZERO), state(None, id)])
    })
    .await;
    p.create("delete-by-id", 1, &[]).await;
    p.newest("by id", |side| {
        states(vec![state(None, side.topic_id("delete-by-id"))])
    })
    .await;
    p.newest("by id again", |side| {
        states(vec![state(None, side.topic_id("delete-by-id"))])
    })
    .await;
}

/// A topic, how many partitions it shall have, and the nodes of the new ones.
pub type Growth<'a> = (&'a str, i32, Option<&'a [&'a [i32]]>);

pub fn grow_to(topics: &[Growth<'_>], validate_only: bool) -> CreatePartitionsRequest {
    let topic = |&(name, count, assignments): &Growth<'_>| CreatePartitionsTopic {
        name: name.to_owned(),
        count,
        assignments: assignments.map(|all| {
            all.iter()
                .map(|nodes| CreatePartitionsAssignment {
                    broker_ids: nodes.to_vec(),
                })
                .collect()
        }),
    };
    CreatePartitionsRequest {
        topics: topics.iter().map(topic).collect(),
        timeout_ms: 20_000,
        validate_only,
    }
}

pub async fn grow(p: &mut Parity) {
    for version in p.versions(heliostat_wire::message::ApiKey::CreatePartitions) {
        let name = format!("grow-{version}");
        p.create(&name, 2, &[]).await;
        p.at("only validated", version, |_| grow_to(&[(&name, 3, None)], true))
            .await;
        p.at("by one", version, |_| {
            grow_to(&[(&name, 3, None), ("grow-none", 2, None)], false)
        })
        .await;
        p.at("as many", version, |_| grow_to(&[(&name, 3, None)], false))
            .await;
        p.at("assigned", version, |_| {
            grow_to(&[(&name, 5, Some(&[&[1], &[1]]))], false)
        })
        .await;
    }
    let bad: &[(&str, Growth<'_>)] = &[
        ("fewer", ("grow-3", 2, None)),
        ("0", ("grow-3", 0, None)),
        ("-1", ("grow-3", -1, None)),
        ("an empty name", ("", 2, None)),
        ("a bad name", ("a b", 2, None)),
        ("assigned too few", ("grow-3", 7, Some(&[&[1]]))),
        ("assigned too many", ("grow-3", 6, Some(&[&[1], &[1]]))),
        ("assigned none", ("grow-3", 6, Some(&[]))),
        ("assigned to nobody", ("grow-3", 6, Some(&[&[]]))),
        ("assigned to an unknown node", ("grow-3", 6, Some(&[&[9]]))),
        ("assigned to one twice", ("grow-3", 6, Some(&[&[1, 1]]))),
    ];
    for (case, growth) in bad {
        p.newest(case, |_| grow_to(&[*growth], false)).await;
    }
    p.newest("by 20000, only validated", |_| {
        grow_to(&[("grow-3", 20_000, None)], true)
    })
    .await;
    p.all("none", |_, _| grow_to(&[], false)).await;
    p.all("twice", |_, _| {
        grow_to(
            &[("grow-3", 9, None), ("grow-3", 8, None), ("other", 1, None)],
            false,
        )
    })
    .await;
}
