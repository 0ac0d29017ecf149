//! What depends on which node is asked, and how many there are.

use heliostat_wire::message::{
    AlterPartitionReassignmentsRequest, ApiKey, CreatePartitionsRequest, DeleteRecordsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeQuorumRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, FindCoordinatorRequest,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, LeaveGroupRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetForLeaderEpochRequest,
    alter_partition_reassignments::{ReassignablePartition, ReassignableTopic},
    create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics::{CreatableReplicaAssignment, CreatableTopic},
    delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
    describe_configs::DescribeConfigsResource,
    describe_log_dirs::DescribableLogDirTopic,
    describe_producers::TopicRequest as ProducersOf,
    describe_quorum::{PartitionData, TopicData},
    describe_topic_partitions::TopicRequest,
    elect_leaders::TopicPartitions,
    incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
    metadata::MetadataRequestTopic,
    offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

use super::{
    group_offsets::commit,
    groups::{joining, syncing},
};
use crate::{
    harness::Parity,
    requests::{batch, create, fetch, list_offsets, produce, topic},
    side::Side,
};

const NODES: [i32; 3] = [1, 2, 3];

pub type Assignment<'a> = &'a [(i32, &'a [i32])];

/// The replicas of new partitions.
type Added<'a> = Option<&'a [&'a [i32]]>;

/// Partitions, and where they are to go.
type Moves<'a> = &'a [(i32, Option<&'a [i32]>)];

/// Led by 1, 2 and 3, with three, two and one replicas.
const SPREAD: [(&str, Assignment<'static>); 3] = [
    ("three", &[(0, &[1, 2, 3]), (1, &[2, 3, 1]), (2, &[3, 1, 2])]),
    ("two", &[(0, &[1, 2]), (1, &[2, 3]), (2, &[3, 1])]),
    ("one", &[(0, &[1]), (1, &[2]), (2, &[3])]),
];

pub fn assigned(name: &str, partitions: Assignment<'_>) -> CreatableTopic {
    let partition = |(partition_index, nodes): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition_index,
        broker_ids: nodes.to_vec(),
    };
    CreatableTopic {
        assignments: partitions.iter().map(partition).collect(),
        ..topic(name, -1, &[])
    }
}

/// Makes a topic with these replicas on both clusters, and waits until all nodes know it.
async fn make(p: &mut Parity, name: &str, partitions: Assignment<'_>) {
    p.newest("set up", |_| create(vec![assigned(name, partitions)]))
        .await;
    settled(p, name, partitions).await;
}

/// Waits until every node of both clusters shows these replicas, all of them in sync.
pub async fn settled(p: &mut Parity, name: &str, partitions: Assignment<'_>) {
    tokio::join!(
        settled_on(&mut p.ours, name, partitions),
        settled_on(&mut p.kafka, name, partitions)
    );
    p.learn(&[name]).await;
}

async fn settled_on(side: &mut Side, name: &str, partitions: Assignment<'_>) {
    const TRIES: usize = 20_000;
    for node in [3, 2, 1] {
        side.go_to(node);
        let mut tries = 0;
        loop {
            let answer = side.ask(&metadata(&[name]), 12).await.answer();
            let mut found = answer.topics[0].partitions.clone();
            found.sort_by_key(|partition| partition.partition_index);
            let sorted = |nodes: &[i32]| {
                let mut nodes = nodes.to_vec();
                nodes.sort_unstable();
                nodes
            };
            let as_wanted = found.len() == partitions.len()
                && found.iter().zip(partitions).all(|(found, (_, nodes))| {
                    found.replica_nodes == *nodes
                        && found.leader_id >= 0
                        && sorted(&found.isr_nodes) == sorted(nodes)
                });
            if as_wanted {
                break;
            }
            tries += 1;
            assert!(tries < TRIES, "{name} on node {node}: {found:?}");
            tokio::task::yield_now().await;
        }
    }
}

pub fn metadata(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some((*name).to_owned()),
        ..Default::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

pub async fn shown(p: &mut Parity) {
    for (name, partitions) in SPREAD {
        make(p, name, partitions).await;
    }
    for node in NODES {
        p.each(|side| side.go_to(node));
        p.all(&format!("the cluster, from node {node}"), |_, _| {
            DescribeClusterRequest::default()
        })
        .await;
        p.all(&format!("topics, from node {node}"), |_, _| {
            metadata(&["three", "two", "one"])
        })
        .await;
        p.newest(&format!("pages, from node {node}"), |_| {
            let topics = ["one", "three", "two"].map(|name| TopicRequest {
                name: name.to_owned(),
            });
            DescribeTopicPartitionsRequest {
                topics: topics.into(),
                response_partition_limit: 100,
                cursor: None,
            }
        })
        .await;
        let asked = ["one", "two", "three"].map(|name| DescribableLogDirTopic {
            topic: name.to_owned(),
            partitions: vec![0, 1, 2],
        });
        p.all(&format!("directories of node {node}"), |_, _| {
            DescribeLogDirsRequest {
                topics: Some(asked.to_vec()),
            }
        })
        .await;
    }
}

pub async fn creating(p: &mut Parity) {
    let cases: &[(&str, Assignment<'_>)] = &[
        ("to all", &[(0, &[3, 1, 2]), (1, &[2, 1, 3])]),
        ("an unknown node", &[(0, &[1, 4])]),
        ("a negative node", &[(0, &[-1])]),
        ("a node twice", &[(0, &[2, 2])]),
        ("nobody", &[(0, &[])]),
        ("different factors", &[(0, &[1, 2]), (1, &[3])]),
        ("a gap", &[(0, &[1]), (2, &[2])]),
        ("not from 0", &[(1, &[1])]),
        ("a partition twice", &[(0, &[1]), (0, &[2])]),
        ("a negative partition", &[(-1, &[1])]),
    ];
    for node in NODES {
        p.each(|side| side.go_to(node));
        for (case, partitions) in cases {
            let request = || heliostat_wire::message::CreateTopicsRequest {
                validate_only: true,
                ..create(vec![assigned("created", partitions)])
            };
            p.newest(&format!("{case}, node {node}"), |_| request()).await;
        }
        for factor in [1, 2, 3, 4, 0, -2] {
            p.newest(&format!("factor {factor}, node {node}"), |_| {
                let mut request = create(vec![CreatableTopic {
                    replication_factor: factor,
                    ..topic("created", 4, &[])
                }]);
                request.validate_only = true;
                request
            })
            .await;
        }
    }
    p.newest("an assignment and a number", |_| {
        create(vec![CreatableTopic {
            num_partitions: 1,
            ..assigned("created", &[(0, &[1])])
        }])
    })
    .await;
}

pub async fn growing(p: &mut Parity) {
    make(p, "grown", &[(0, &[1, 2])]).await;
    let cases: &[(&str, i32, Added<'_>)] = &[
        ("an unknown node", 2, Some(&[&[1, 4]])),
        ("another factor", 2, Some(&[&[1]])),
        ("a node twice", 2, Some(&[&[1, 1]])),
        ("nobody", 2, Some(&[&[]])),
        ("too few", 3, Some(&[&[1, 2]])),
        ("too many", 2, Some(&[&[1, 2], &[2, 3]])),
        ("no assignment", 2, Some(&[])),
        ("as many as there are", 1, None),
        ("fewer", 0, None),
        ("two more", 3, Some(&[&[3, 1], &[2, 3]])),
    ];
    for (case, count, assignments) in cases {
        p.newest(case, |_| CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: "grown".to_owned(),
                count: *count,
                assignments: assignments.map(|all| {
                    let one = |nodes: &&[i32]| CreatePartitionsAssignment {
                        broker_ids: nodes.to_vec(),
                    };
                    all.iter().map(one).collect()
                }),
            }],
            timeout_ms: 10_000,
            validate_only: false,
        })
        .await;
    }
    settled(p, "grown", &[(0, &[1, 2]), (1, &[3, 1]), (2, &[2, 3])]).await;
    p.newest("grown", |_| metadata(&["grown"])).await;
}

pub async fn not_the_leader(p: &mut Parity) {
    make(p, "led", &[(0, &[1, 2]), (1, &[2, 3]), (2, &[3, 1])]).await;
    for node in NODES {
        p.each(|side| side.go_to(node));
        let at = |what: &str| format!("{what}, node {node}");
        for index in 0..3 {
            let at = |what: &str| format!("{what} {index}, node {node}");
            p.newest(&at("produce"), |side| produce(side, "led", index, batch(&["a"])))
                .await;
            p.at(&at("produce by name"), 9, |side| {
                produce(side, "led", index, batch(&["a"]))
            })
            .await;
            p.newest(&at("fetch"), |side| fetch(side, "led", &[(index, 0)]))
                .await;
            p.at(&at("fetch by name"), 11, |side| fetch(side, "led", &[(index, 0)]))
                .await;
        }
        let all = [(0, -1), (1, -1), (2, -2), (3, -1)];
        p.newest(&at("offsets"), |_| list_offsets("led", &all)).await;
        p.newest(&at("epochs"), |_| OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: "led".to_owned(),
                partitions: (0..3)
                    .map(|partition| OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch: -1,
                        leader_epoch: 0,
                    })
                    .collect(),
            }],
        })
        .await;
        p.newest(&at("deletion"), |_| DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: "led".to_owned(),
                partitions: (0..4)
                    .map(|partition_index| DeleteRecordsPartition {
                        partition_index,
                        offset: 0,
                    })
                    .collect(),
            }],
            timeout_ms: 10_000,
        })
        .await;
        p.newest(&at("producers"), |_| DescribeProducersRequest {
            topics: vec![ProducersOf {
                name: "led".to_owned(),
                partition_indexes: vec![0, 1, 2],
            }],
        })
        .await;
    }
}

/// Lets both sides go to their coordinator of a key, and so many nodes further. All nodes know it then: each one of Kafka's hears by itself that
/// the internal topic has leaders.
async fn go_to_coordinator(p: &mut Parity, key: &str, key_type: i8, further: i32) {
    for side in [&mut p.ours, &mut p.kafka] {
        let request = FindCoordinatorRequest {
            key: key.to_owned(),
            key_type,
            ..Default::default()
        };
        let mut coordinator = -1;
        for node in [3, 2, 1] {
            side.go_to(node);
            coordinator = -1;
            while coordinator < 0 {
                coordinator = side.ask(&request, 3).await.answer().node_id;
            }
        }
        side.go_to((coordinator - 1 + further) % 3 + 1);
    }
}

pub async fn not_the_coordinator(p: &mut Parity) {
    make(p, "coordinated", &[(0, &[1])]).await;
    for key_type in [0, 1] {
        go_to_coordinator(p, "somewhere", key_type, 0).await;
        go_to_coordinator(p, "elsewhere", key_type, 0).await;
    }
    p.each(|side| side.go_to(2));
    for key_type in [0, 1, 2] {
        // A key type came with version 1, a list of keys with version 4.
        for version in [3, 5] {
            p.at(&format!("coordinator {key_type}"), version, |_| {
                FindCoordinatorRequest {
                    key: if version < 4 {
                        "somewhere".to_owned()
                    } else {
                        String::new()
                    },
                    key_type,
                    coordinator_keys: match version {
                        0..4 => Vec::new(),
                        _ => vec!["somewhere".to_owned(), "elsewhere".to_owned()],
                    },
                }
            })
            .await;
        }
    }
    for further in [1, 2] {
        go_to_coordinator(p, "somewhere", 0, further).await;
        for version in p.versions(ApiKey::JoinGroup) {
            p.at("join", version, |_| joining("somewhere", "")).await;
        }
        p.newest("sync", |_| syncing("somewhere", 1, "m")).await;
        p.newest("heartbeat", |_| HeartbeatRequest {
            group_id: "somewhere".to_owned(),
            generation_id: 1,
            member_id: "m".to_owned(),
            ..Default::default()
        })
        .await;
        p.newest("leave", |_| LeaveGroupRequest {
            group_id: "somewhere".to_owned(),
            ..Default::default()
        })
        .await;
        p.at("commit", 8, |_| commit("somewhere", "coordinated", &[(0, 1)]))
            .await;
        p.newest("describe", |_| heliostat_wire::message::DescribeGroupsRequest {
            groups: vec!["somewhere".to_owned()],
            ..Default::default()
        })
        .await;
        p.newest("delete", |_| heliostat_wire::message::DeleteGroupsRequest {
            groups_names: vec!["somewhere".to_owned()],
        })
        .await;
        go_to_coordinator(p, "somewhere", 1, further).await;
        p.newest("a transactional id", |_| InitProducerIdRequest {
            transactional_id: Some("somewhere".to_owned()),
            transaction_timeout_ms: 10_000,
            producer_id: -1,
            producer_epoch: -1,
        })
        .await;
        p.newest("transactions", |_| {
            heliostat_wire::message::DescribeTransactionsRequest {
                transactional_ids: vec!["somewhere".to_owned()],
            }
        })
        .await;
    }
}

pub async fn elections(p: &mut Parity) {
    make(p, "elected", &[(0, &[2, 1]), (1, &[3, 2])]).await;
    for node in NODES {
        p.each(|side| side.go_to(node));
        for election_type in [0, 1] {
            p.newest(&format!("type {election_type}, node {node}"), |_| {
                ElectLeadersRequest {
                    election_type,
                    topic_partitions: Some(vec![TopicPartitions {
                        topic: "elected".to_owned(),
                        partitions: vec![0, 1, 2],
                    }]),
                    timeout_ms: 10_000,
                }
            })
            .await;
        }
    }
}

pub async fn moves(p: &mut Parity) {
    make(p, "moved", &[(0, &[1, 3]), (1, &[2, 3])]).await;
    let moving = |partitions: Moves<'_>| AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "moved".to_owned(),
            partitions: partitions
                .iter()
                .map(|(partition_index, replicas)| ReassignablePartition {
                    partition_index: *partition_index,
                    replicas: replicas.map(<[i32]>::to_vec),
                })
                .collect(),
        }],
        ..Default::default()
    };
    let wrong: &[(&str, Moves<'_>)] = &[
        ("to an unknown node", &[(0, Some(&[1, 9]))]),
        ("to one twice", &[(0, Some(&[2, 2]))]),
        ("to nobody", &[(0, Some(&[]))]),
        ("cancelled", &[(0, None), (1, None)]),
        ("no such partition", &[(5, Some(&[1]))]),
    ];
    for (case, partitions) in wrong {
        p.newest(case, |_| moving(partitions)).await;
    }
    p.newest("another factor, not allowed", |_| {
        AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            ..moving(&[(0, Some(&[1, 2, 3]))])
        }
    })
    .await;
    p.each(|side| side.go_to(3));
    p.newest("to others", |_| moving(&[(0, Some(&[3, 2, 1])), (1, Some(&[1]))]))
        .await;
    settled(p, "moved", &[(0, &[3, 2, 1]), (1, &[1])]).await;
    p.newest("moved, none is left", |_| ListPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: None,
    })
    .await;
}

pub async fn configs(p: &mut Parity) {
    let asking = |name: &str| DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: 4,
            resource_name: name.to_owned(),
            configuration_keys: Some(vec!["message.max.bytes".to_owned(), "node.id".to_owned()]),
        }],
        ..Default::default()
    };
    let setting = |name: &str, key: &str, value: Option<&str>| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 4,
            resource_name: name.to_owned(),
            configs: vec![AlterableConfig {
                name: key.to_owned(),
                config_operation: i8::from(value.is_none()),
                value: value.map(str::to_owned),
            }],
        }],
        ..Default::default()
    };
    for node in NODES {
        p.each(|side| side.go_to(node));
        for name in ["1", "2", "3", "4", "x", "-1", ""] {
            p.newest(&format!("broker {name:?}, node {node}"), |_| asking(name))
                .await;
            p.newest(&format!("broker {name:?}, only validated, node {node}"), |_| {
                IncrementalAlterConfigsRequest {
                    validate_only: true,
                    ..setting(name, "message.max.bytes", Some("5000"))
                }
            })
            .await;
        }
    }
    p.each(|side| side.go_to(2));
    for (key, value) in [
        ("message.max.bytes", "4000"),
        ("max.connections.per.ip", "1000"),
        ("num.partitions", "3"),
        ("message.max.bytes", "x"),
    ] {
        p.newest(&format!("{key}={value}"), |_| setting("2", key, Some(value)))
            .await;
    }
    p.newest("for all", |_| setting("", "message.max.bytes", Some("6000")))
        .await;
    // The last change of metadata that every node has to hear of.
    make(p, "after-configs", &[(0, &[1, 2, 3])]).await;
    for node in NODES {
        p.each(|side| side.go_to(node));
        p.newest(&format!("as set, broker {node}"), |_| asking(&node.to_string()))
            .await;
    }
    p.newest("removed", |_| setting("", "message.max.bytes", None))
        .await;
}

pub async fn quorum(p: &mut Parity) {
    for node in NODES {
        p.each(|side| side.go_to(node));
        p.newest(&format!("the metadata, node {node}"), |_| DescribeQuorumRequest {
            topics: vec![TopicData {
                topic_name: "__cluster_metadata".to_owned(),
                partitions: vec![PartitionData { partition_index: 0 }],
            }],
        })
        .await;
    }
}
