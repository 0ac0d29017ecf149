//! Three nodes of the built-in cluster beside three brokers of Apache Kafka, for what depends on how many there are.

use heliostat_broker::{Cluster, ClusterConfig};

use crate::{
    allowed::Allowed,
    harness::Parity,
    scripts,
    side::Side,
    support::kafka::{Kafka, available},
};

const NODES: u16 = 3;

/// The records are of years ago, and the scripts wait for brokers to come and go.
const KEEP_ALL: &str = "log.retention.ms=-1";

/// Why consumers are sent to leaders.
const FROM_REPLICAS: &str = "consumers read from leaders only (no KIP-392): other replicas would have the same bytes of the same file";

/// Why nobody is named where nobody leads.
const NO_LEADER: &str = "answers name the leader of a partition only where there is one: librdkafka may not survive what Kafka says there";

/// What may differ, with the reasons.
pub const ALLOWED: &[Allowed] = &[
    Allowed {
        api: "*",
        case: "*",
        path: "*error_message",
        ours: "(a text)",
        kafka: "*",
        reason: "Kafka leaves some errors without a text for people",
    },
    Allowed {
        api: "DescribeLogDirs",
        case: "*",
        path: "results[#0].log_dir",
        ours: "<directory 1>",
        kafka: "*",
        reason: "all nodes share one directory",
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "*.partitions[*].error_code",
        ours: "6",
        kafka: "0",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "*.partitions[*].high_watermark",
        ours: "-1",
        kafka: "*",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "*.partitions[*].last_stable_offset",
        ours: "-1",
        kafka: "*",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "*.partitions[*].log_start_offset",
        ours: "-1",
        kafka: "*",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "*.current_leader.*",
        ours: "*",
        kafka: "-1",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "*.records[*",
        ours: "(not there)",
        kafka: "*",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Fetch",
        case: "*, node *",
        path: "node_endpoints[*]",
        ours: "*",
        kafka: "(not there)",
        reason: FROM_REPLICAS,
    },
    Allowed {
        api: "Produce",
        case: "down-one-1, down, *",
        path: "*.current_leader.leader_epoch",
        ours: "-1",
        kafka: "*",
        reason: NO_LEADER,
    },
    Allowed {
        api: "Fetch",
        case: "the start of down-one-1, down, *",
        path: "*.current_leader.leader_epoch",
        ours: "-1",
        kafka: "*",
        reason: NO_LEADER,
    },
    Allowed {
        api: "ElectLeaders",
        case: "back, preferred",
        path: "replica_election_results[__*]",
        ours: "(not there)",
        kafka: "*",
        reason: "there are no internal topics",
    },
    Allowed {
        api: "DescribeProducers",
        case: "*",
        path: "*.error_code",
        ours: "6",
        kafka: "0",
        reason: "only leaders are asked for what a log holds, where Kafka has a copy with each replica",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "*",
        path: "topics[#0].partitions[0].high_watermark",
        ours: "*",
        kafka: "*",
        reason: "what is written about the same changes has not as many entries here",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "*",
        path: "*.log_end_offset",
        ours: "*",
        kafka: "*",
        reason: "what is written about the same changes has not as many entries here",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "*",
        path: "nodes[*].listeners[*",
        ours: "*",
        kafka: "*",
        reason: "controllers have no listeners of their own here",
    },
];

/// What Kafka decides at random.
pub const AT_RANDOM: &[Allowed] = &[
    Allowed {
        api: "CreateTopics",
        case: "*",
        path: "topics[*].configs[*",
        ours: "*",
        kafka: "*",
        reason: "Kafka shows what the active controller, a node at random, goes by; here it is the node that was asked",
    },
    Allowed {
        api: "*",
        case: "*",
        path: "*(order)",
        ours: "*",
        kafka: "*",
        reason: "Kafka answers in the order of its hash maps, or shuffles; here it is the order of the request",
    },
    Allowed {
        api: "*",
        case: "*",
        path: "controller_id",
        ours: "*",
        kafka: "*",
        reason: "Kafka's brokers name any broker, at random, and pass on what is for the controller",
    },
    Allowed {
        api: "FindCoordinator",
        case: "*",
        path: "*node_id",
        ours: "*",
        kafka: "*",
        reason: "which node coordinates what follows from the placement of Kafka's internal topics, which is random",
    },
    Allowed {
        api: "FindCoordinator",
        case: "*",
        path: "*port",
        ours: "*",
        kafka: "*",
        reason: "which node coordinates what follows from the placement of Kafka's internal topics, which is random",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "*",
        path: "topics[#0].partitions[0].leader_id",
        ours: "*",
        kafka: "*",
        reason: "which controller leads is decided by an election in Kafka",
    },
    Allowed {
        api: "DescribeQuorum",
        case: "*",
        path: "topics[#0].partitions[0].leader_epoch",
        ours: "*",
        kafka: "*",
        reason: "which controller leads is decided by an election in Kafka",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_answer_as_those_of_kafka_do() {
    if !available("several_nodes_answer_as_those_of_kafka_do") {
        return;
    }
    let kafkas = tokio::task::spawn_blocking(|| {
        // Kafka would give leaders back by itself now and then.
        let properties = ["auto.leader.rebalance.enable=false", KEEP_ALL];
        Kafka::start_several("parity", NODES, &properties)
    });
    let properties = ["log.flush.policy=os", KEEP_ALL]
        .iter()
        .filter_map(|set| set.split_once('='));
    let properties = properties
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let cluster = Cluster::start(ClusterConfig {
        properties,
        brokers: NODES,
        ..Default::default()
    })
    .await
    .expect("start a built-in cluster");
    let ours = side(cluster.addresses().to_vec()).await;
    let mut kafkas = kafkas.await.expect("start Kafkas");
    let addresses = kafkas
        .iter()
        .map(|kafka| kafka.bootstrap().parse().expect("an address"));
    let kafka = side(addresses.collect()).await;
    let mut parity = Parity::new(ours, kafka).await;
    scripts::run_on_several(&mut parity).await;
    if parity.begin("nodes::down") {
        scripts::down::down(&mut parity, &cluster, &mut kafkas).await;
        parity.end();
    }
    eprintln!("{}", parity.summary());
    let report = parity.differing(ALLOWED, AT_RANDOM);
    assert!(report.is_empty(), "the answers differ:\n{report}");
}

async fn side(nodes: Vec<std::net::SocketAddr>) -> Side {
    let mut side = Side::connect(nodes[0]).await;
    side.nodes = nodes;
    side
}
