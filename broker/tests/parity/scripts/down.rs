//! What the others say while one of three brokers is down, and when it is back.

use heliostat_broker::Cluster;
use heliostat_wire::message::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest,
    OffsetForLeaderEpochRequest,
    create_topics::CreatableTopicConfig,
    describe_topic_partitions::TopicRequest,
    elect_leaders::TopicPartitions,
    metadata::MetadataResponsePartition,
    offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

use super::nodes::{Assignment, assigned, metadata, settled};
use crate::{
    harness::Parity,
    requests::{batch, create, fetch, list_offsets, produce, topic},
    side::Side,
    support::kafka::Kafka,
};

/// The broker that goes, and those that stay.
const GONE: i32 = 2;
const LEFT: [i32; 2] = [1, 3];

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// The topics, with `min.insync.replicas`, and their replicas.
const TOPICS: [(&str, &str, Assignment<'static>); 4] = [
    ("down-one", "1", &[(0, &[1]), (1, &[2]), (2, &[3])]),
    ("down-two", "2", &[(0, &[1, 2]), (1, &[2, 3]), (2, &[3, 1])]),
    (
        "down-three",
        "2",
        &[(0, &[1, 2, 3]), (1, &[2, 3, 1]), (2, &[3, 1, 2])],
    ),
    (
        "down-all",
        "3",
        &[(0, &[1, 2, 3]), (1, &[2, 3, 1]), (2, &[3, 1, 2])],
    ),
];
const PARTITIONS: usize = 3;

pub async fn down(p: &mut Parity, cluster: &Cluster, kafkas: &mut [Kafka]) {
    for (name, in_sync, partitions) in TOPICS {
        p.each(|side| side.go_to(1));
        p.newest("set up", |_| {
            let mut new = assigned(name, partitions);
            new.configs = vec![CreatableTopicConfig {
                name: "min.insync.replicas".to_owned(),
                value: Some(in_sync.to_owned()),
            }];
            create(vec![new])
        })
        .await;
        settled(p, name, partitions).await;
        for (partition, nodes) in partitions {
            p.each(|side| side.go_to(nodes[0]));
            p.newest("before", |side| produce(side, name, *partition, batch(&["a"])))
                .await;
        }
    }
    for (name, _, partitions) in TOPICS {
        for (partition, nodes) in partitions {
            replicated(&mut p.kafka, name, *partition, nodes).await;
        }
    }
    kafkas[GONE as usize - 1].kill();
    cluster.control().stop_node(GONE).await.expect("stop a node");
    tokio::join!(without(&mut p.ours), without(&mut p.kafka));
    for node in LEFT {
        p.each(|side| side.go_to(node));
        shown(p, &format!("down, node {node}")).await;
        asked(p, &format!("down, node {node}")).await;
        elections(p, &format!("down, node {node}")).await;
        creating(p, &format!("down, node {node}")).await;
    }

    tokio::task::block_in_place(|| kafkas[GONE as usize - 1].restart());
    cluster.control().start_node(GONE).await.expect("start a node");
    for (name, _, partitions) in TOPICS {
        settled(p, name, partitions).await;
    }
    for node in [1, 2, 3] {
        p.each(|side| side.go_to(node));
        shown(p, &format!("back, node {node}")).await;
        asked(p, &format!("back, node {node}")).await;
    }
    p.newest("back, preferred", |_| electing(PREFERRED, None)).await;
    for (name, _, partitions) in TOPICS {
        settled(p, name, partitions).await;
    }
    tokio::join!(led_by_first(&mut p.ours), led_by_first(&mut p.kafka));
    for node in [1, 2, 3] {
        p.each(|side| side.go_to(node));
        shown(p, &format!("as before, node {node}")).await;
    }
}

fn names() -> Vec<&'static str> {
    TOPICS.iter().map(|(name, ..)| *name).collect()
}

/// What is said about the topics and the brokers.
async fn shown(p: &mut Parity, when: &str) {
    p.all(&format!("topics, {when}"), |_, _| metadata(&names())).await;
    p.newest(&format!("pages, {when}"), |_| DescribeTopicPartitionsRequest {
        topics: names()
            .into_iter()
            .map(|name| TopicRequest {
                name: name.to_owned(),
            })
            .collect(),
        response_partition_limit: 100,
        cursor: None,
    })
    .await;
    p.all(&format!("the cluster, {when}"), |_, _| {
        DescribeClusterRequest::default()
    })
    .await;
    p.newest(&format!("all brokers, {when}"), |_| DescribeClusterRequest {
        include_fenced_brokers: true,
        ..Default::default()
    })
    .await;
}

/// Records and offsets of every partition.
async fn asked(p: &mut Parity, when: &str) {
    for (name, _, partitions) in TOPICS {
        for &(partition, _) in partitions {
            let case = format!("{name}-{partition}, {when}");
            p.newest(&case, |side| produce(side, name, partition, batch(&["b"])))
                .await;
            p.newest(&format!("the start of {case}"), |side| {
                fetch(side, name, &[(partition, 0)])
            })
            .await;
            p.newest(&case, |_| list_offsets(name, &[(partition, -2)])).await;
            p.newest(&case, |_| OffsetForLeaderEpochRequest {
                replica_id: -1,
                topics: vec![OffsetForLeaderTopic {
                    topic: name.to_owned(),
                    partitions: vec![OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch: -1,
                        leader_epoch: 0,
                    }],
                }],
            })
            .await;
        }
    }
}

fn electing(election_type: i8, topic: Option<&str>) -> ElectLeadersRequest {
    ElectLeadersRequest {
        election_type,
        topic_partitions: topic.map(|topic| {
            vec![TopicPartitions {
                topic: topic.to_owned(),
                partitions: (0..PARTITIONS as i32).collect(),
            }]
        }),
        timeout_ms: 10_000,
    }
}

async fn elections(p: &mut Parity, when: &str) {
    for (name, ..) in TOPICS {
        for (kind, election_type) in [("preferred", PREFERRED), ("unclean", UNCLEAN)] {
            p.newest(&format!("{kind}, {name}, {when}"), |_| {
                electing(election_type, Some(name))
            })
            .await;
        }
    }
}

/// Only validated: what is made while a broker is down.
async fn creating(p: &mut Parity, when: &str) {
    let validated = |topic| CreateTopicsRequest {
        validate_only: true,
        ..create(vec![topic])
    };
    for factor in [2, 3] {
        p.newest(&format!("factor {factor}, {when}"), |_| {
            let mut new = topic("created", 2, &[]);
            new.replication_factor = factor;
            validated(new)
        })
        .await;
    }
    for (case, nodes) in [("beside it", &[1, 2][..]), ("on it alone", &[2])] {
        p.newest(&format!("{case}, {when}"), |_| {
            validated(assigned("created", &[(0, nodes)]))
        })
        .await;
    }
}

const TRIES: usize = 100_000;

/// Waits until all replicas of Kafka's know that the first record is committed: one that became the leader without that
/// would have to find out, for which too few are in sync.
async fn replicated(kafka: &mut Side, name: &str, partition: i32, nodes: &[i32]) {
    const VERSION: i16 = 16;
    for &node in nodes {
        kafka.go_to(node);
        let mut tries = 0;
        loop {
            let request = fetch(kafka, name, &[(partition, 0)]);
            let answer = kafka.ask(&request, VERSION).await.answer();
            if answer.responses[0].partitions[0].high_watermark == 1 {
                break;
            }
            tries += 1;
            assert!(tries < TRIES, "{name}-{partition}, node {node}: {answer:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until a condition holds of every partition, on each of these nodes.
async fn until(
    side: &mut Side,
    nodes: &[i32],
    what: &str,
    holds: impl Fn(&MetadataResponsePartition) -> bool,
) {
    for &node in nodes {
        side.go_to(node);
        let mut tries = 0;
        loop {
            let answer = side.ask(&metadata(&names()), 12).await.answer();
            let partitions: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
            if partitions.len() == TOPICS.len() * PARTITIONS && partitions.iter().all(|p| holds(p)) {
                break;
            }
            tries += 1;
            assert!(tries < TRIES, "{what}, node {node}: {answer:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// Waits until nobody counts on the broker that is gone.
async fn without(side: &mut Side) {
    until(side, &LEFT, "without a broker", |partition| {
        let offline = partition.replica_nodes == [GONE];
        offline == (partition.leader_id < 0)
            && partition.leader_id != GONE
            && !partition.isr_nodes.contains(&GONE)
            && partition.offline_replicas.contains(&GONE) == partition.replica_nodes.contains(&GONE)
    })
    .await;
}

async fn led_by_first(side: &mut Side) {
    until(side, &[1, 2, 3], "led by the first", |partition| {
        partition.leader_id == partition.replica_nodes[0]
    })
    .await;
}
