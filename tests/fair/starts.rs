//! A start while a node is silent, and while one partition takes long: whatever does not depend on it is copied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_broker::Isolation;
use heliostat_wire::client::{Client as Wire, Config, CoordinatorType, Tcp};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use serde_json::json;

use super::{FLOW, LIMIT, QUICK_GROUPS, ends, partitions, topology, wait_copied};
use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::mirrors::wait_mirrored;
use crate::support::rec::Rec;
use crate::support::wait_until;

const TOPIC: &str = "orders";
const MIRROR: &str = "source.orders";

/// More than are prepared together.
const MANY: i32 = 300;

/// How long a start may take for what does not depend on a silent node: a client asks another node after 5 s, and such questions come one after another.
const START: Duration = Duration::from_secs(20);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// Writes a record to each partition.
#[track_caller]
fn write(client: &Client, topic: &str, partitions: i32, what: &str) {
    let record = |partition| Rec::new(partition, None, Some(what.as_bytes()));
    let records: Vec<Rec> = (0..partitions).map(record).collect();
    client.produce(topic, &records, Producing::default());
}

/// The partitions that a node leads.
#[track_caller]
fn led_by(cluster: &InProcess, topic: &str, count: i32, node: i32) -> BTreeSet<i32> {
    let control = cluster.cluster().control();
    let leader = |partition| control.partition(topic, partition).expect("it is there").0;
    (0..count)
        .filter(|partition| leader(*partition) == Some(node))
        .collect()
}

/// Starts a daemon again that has ended, while a node is silent: all but the partitions that depend on it are copied soon, and these when it is back.
#[track_caller]
fn start_beside(
    cluster: &InProcess,
    silent: i32,
    (from, to): (&Client, &Client),
    daemon: &mut Daemon,
    mirror: &str,
    dependent: &BTreeSet<i32>,
) {
    let all = ends(from, TOPIC);
    assert!(dependent.len() < all.len(), "nothing is left");
    let control = cluster.cluster().control();
    let isolated = block_on(control.isolate_node(silent, Isolation::Silent, None));
    isolated.expect("isolate a node");
    let began = Instant::now();
    daemon.restart();
    let is_free = |(partition, _): &&(i32, i64)| !dependent.contains(partition);
    let free: Vec<_> = all.iter().filter(is_free).copied().collect();
    wait_copied(daemon, START, TOPIC, &free);
    eprintln!(
        "{} partitions took {:?} beside {} of a silent node",
        free.len(),
        began.elapsed(),
        dependent.len()
    );
    let waiting = partitions(daemon, TOPIC);
    let waiting = waiting
        .iter()
        .filter(|found| dependent.contains(&found.partition));
    assert!(
        waiting.clone().all(|found| found.position < Some(2)),
        "it is silent"
    );
    let log = daemon.log();
    let flaps = log
        .lines()
        .filter(|line| line.contains("cluster answers again"))
        .count();
    // A client of librdkafka may try nobody but the silent node at first.
    assert!(flaps <= 1, "most of the cluster was there all the time: {log}");
    block_on(control.start_node(silent)).expect("it is back");
    wait_copied(daemon, LIMIT, TOPIC, &all);
    let status = daemon.stop(LIMIT);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    wait_mirrored(from, TOPIC, to, mirror);
}

#[test]
fn a_node_of_the_source_that_is_silent_at_a_start_holds_up_only_what_it_leads() {
    let source = InProcess::start(3, &[]);
    let target = InProcess::start(1, QUICK_GROUPS);
    let [from, to] = [&source, &target].map(|cluster| Client::new(cluster.bootstrap()));
    from.create_topic(TOPIC, MANY, &[]);
    write(&from, TOPIC, MANY, "one");
    let mut daemon = Daemon::start(&topology(&source.bootstrap(), &target.bootstrap(), ""));
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));
    assert_eq!(daemon.stop(LIMIT).code(), Some(0));
    write(&from, TOPIC, MANY, "two");
    let silent = 3;
    let dependent = led_by(&source, TOPIC, MANY, silent);
    start_beside(&source, silent, (&from, &to), &mut daemon, MIRROR, &dependent);
}

/// Makes a topic of one partition that this node leads.
async fn create_at(client: &Client, topic: &str, node: i32, configs: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client.config().create().expect("an admin client");
    let nodes = [node];
    let assignment: [&[i32]; 1] = [&nodes];
    let new = NewTopic::new(topic, 1, TopicReplication::Variable(&assignment));
    let new = configs.iter().fold(new, |new, (key, value)| new.set(key, value));
    let created = admin.create_topics([&new], &AdminOptions::new()).await;
    created.expect("create a topic")[0]
        .as_ref()
        .expect("create a topic");
}

/// A target, a client of it, and a node of it that coordinates the transactional id that a flow tries at its start, and not its group.
#[track_caller]
fn target_with_coordinators_apart() -> (InProcess, Wire, i32, i32) {
    for nodes in 3..=9 {
        let target = InProcess::start(nodes, QUICK_GROUPS);
        let bootstrap = target.bootstrap();
        let first = bootstrap.split(',').next().expect("an address");
        let (host, port) = first.rsplit_once(':').expect("a host and a port");
        let config = Config::new("tests", vec![(host.to_owned(), port.parse().expect("a port"))]);
        let (client, group, probe) = block_on(async {
            let client = Wire::new(config, Arc::new(Tcp));
            let group = client
                .coordinator(CoordinatorType::Group, "heliostat.source")
                .await;
            let id = "heliostat.source.probe";
            let probe = client.coordinator(CoordinatorType::Transaction, id).await;
            client.close().await;
            (
                client,
                group.expect("a coordinator"),
                probe.expect("a coordinator"),
            )
        });
        if group != probe {
            return (target, client, group, probe);
        }
    }
    panic!("one node coordinates both, however many there are")
}

#[test]
fn a_silent_coordinator_at_a_start_holds_up_only_what_it_coordinates_or_leads() {
    const PARTITIONS: i32 = 60;
    let source = InProcess::start(1, &[]);
    let (target, client, group, silent) = target_with_coordinators_apart();
    let [from, to] = [&source, &target].map(|cluster| Client::new(cluster.bootstrap()));
    // The map is with a node that goes on answering.
    let compacted = [("cleanup.policy", "compact")];
    let ids = block_on(async {
        create_at(&to, "heliostat.source.offset-map.internal", group, &compacted).await;
        let client = Wire::new(client.config().clone(), Arc::new(Tcp));
        let mut ids = BTreeSet::new();
        for partition in 0..PARTITIONS {
            let id = format!("heliostat.source.source.orders.{partition}");
            let node = client.coordinator(CoordinatorType::Transaction, &id).await;
            if node.expect("a coordinator") == silent {
                ids.insert(partition);
            }
        }
        ids
    });
    from.create_topic(TOPIC, PARTITIONS, &[]);
    write(&from, TOPIC, PARTITIONS, "one");
    let mut daemon = Daemon::start(&topology(&source.bootstrap(), &target.bootstrap(), ""));
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));
    assert_eq!(daemon.stop(LIMIT).code(), Some(0));
    write(&from, TOPIC, PARTITIONS, "two");
    let mut dependent = led_by(&target, MIRROR, PARTITIONS, silent);
    dependent.extend(ids);
    start_beside(&target, silent, (&from, &to), &mut daemon, MIRROR, &dependent);
}

#[test]
fn a_partition_that_takes_long_to_prepare_holds_up_no_other() {
    // Their mirrors are read over different connections: a broker works on one request of a connection at a time.
    const TOPICS: [&str; 2] = ["late", "orders"];
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, QUICK_GROUPS)];
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    let [from, to] = [&source, &target].map(Client::new);
    for topic in TOPICS {
        from.create_topic(topic, 1, &[]);
        write(&from, topic, 1, "one");
    }
    let mut daemon = Daemon::start(&topology(&source, &target, ""));
    for topic in TOPICS {
        wait_copied(&daemon, LIMIT, topic, &ends(&from, topic));
    }
    // Whoever comes next has to read the mirrors' ends.
    daemon.process().kill();
    for topic in TOPICS {
        write(&from, topic, 1, "two");
    }
    let fault = json!({ "kind": "delay", "api": "Fetch", "topic": "source.late", "delay_ms": 60_000 });
    clusters[1].add_fault(fault);
    daemon.restart();
    wait_copied(&daemon, START, "orders", &ends(&from, "orders"));
    let late = partitions(&daemon, "late");
    assert!(late.iter().all(|found| found.position < Some(2)), "{late:?}");
    clusters[1].cluster().control().clear_faults();
    wait_copied(&daemon, LIMIT, "late", &ends(&from, "late"));
    assert_eq!(daemon.stop(LIMIT).code(), Some(0));
    for topic in TOPICS {
        wait_mirrored(&from, topic, &to, &format!("source.{topic}"));
    }
}

#[test]
fn what_was_made_and_is_not_shown_yet_is_asked_for_by_its_name_alone() {
    const ASKED: u64 = 20;
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, QUICK_GROUPS)];
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    let [from, to] = [&source, &target].map(Client::new);
    from.create_topic(TOPIC, 1, &[]);
    write(&from, TOPIC, 1, "one");
    // It only counts.
    let counter = |client: &str| {
        json!({ "kind": "delay", "api": "Metadata", "client_id": format!("heliostat/{FLOW}/{client}"),
                "delay_ms": 1, "fraction": 1e-9 })
    };
    let asked = [
        clusters[0].add_fault(counter("reader")),
        clusters[1].add_fault(counter("writer")),
    ];
    let hidden = clusters[1].add_fault(json!({
        "kind": "error", "api": "Metadata", "error": "UNKNOWN_TOPIC_OR_PARTITION", "topic": MIRROR
    }));
    let daemon = Daemon::start(&topology(&source, &target, ""));
    wait_until(LIMIT, "it is asked for again and again", || {
        clusters[1].fault(hidden).hit >= ASKED
    });
    let by_name = clusters[1].fault(hidden).hit;
    let asked = [clusters[0].fault(asked[0]).seen, clusters[1].fault(asked[1]).seen];
    // Some looks at both clusters belong to the start, and one is made every five seconds.
    assert!(asked[0] < ASKED / 2, "{asked:?} questions");
    assert!(
        asked[1] - by_name < ASKED / 2,
        "{asked:?} questions, {by_name} by its name"
    );
    clusters[1].cluster().control().clear_faults();
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));
    wait_mirrored(&from, TOPIC, &to, MIRROR);
}
