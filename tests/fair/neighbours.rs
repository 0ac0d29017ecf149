//! What one part of the target cannot take holds up nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_broker::Isolation;
use heliostat_wire::client::{Client as Wire, Config, CoordinatorType, Tcp};

use super::{FLOW, LIMIT, QUICK_GROUPS, ends, fill, partitions, topology, wait_copied};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::mirrors::wait_mirrored;

const TOPIC: &str = "orders";
const MIRROR: &str = "source.orders";

/// Many more than find room in the memory of a flow that has [`IN_FLIGHT`].
const PARTITIONS: i32 = 24;
const IN_FLIGHT: &str = ", limits: { in_flight_bytes: 4MB }";
const BACKLOG_BYTES: usize = 1_200_000;

/// How long the neighbours of a silent node may take for their backlog. The node's produce requests time out after 31 s.
const NEIGHBOURS: Duration = Duration::from_secs(12);

/// A node of the target on which the flow's own affairs do not depend: it leads neither the offset map nor the group.
fn a_node_of_no_office(target: &InProcess) -> i32 {
    let bootstrap = target.bootstrap();
    let first = bootstrap.split(',').next().expect("an address");
    let (host, port) = first.rsplit_once(':').expect("a host and a port");
    let config = Config::new("tests", vec![(host.to_owned(), port.parse().expect("a port"))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = Wire::new(config, Arc::new(Tcp));
        let map = client.leader("heliostat.source.offset-map.internal", 0).await;
        let group = client
            .coordinator(CoordinatorType::Group, "heliostat.source")
            .await;
        let taken = [map.expect("a leader").node, group.expect("a coordinator")];
        let free = (1..=3).rev().find(|node| !taken.contains(node));
        free.expect("one of three")
    })
}

#[test]
fn a_node_of_the_target_that_falls_silent_holds_up_only_what_it_leads() {
    let source = InProcess::start(1, &[]);
    let target = InProcess::start(3, QUICK_GROUPS);
    let [from, to] = [&source, &target].map(|cluster| Client::new(cluster.bootstrap()));
    from.create_topic(TOPIC, PARTITIONS, &[]);
    fill(&from, TOPIC, 0..PARTITIONS, 1);
    let mut daemon = Daemon::start(&topology(&source.bootstrap(), &target.bootstrap(), IN_FLIGHT));
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let control = target.cluster().control();
    let silent = a_node_of_no_office(&target);
    let leader = |partition| control.partition(MIRROR, partition).expect("it is there").0;
    let held_up: BTreeSet<i32> = (0..PARTITIONS)
        .filter(|partition| leader(*partition) == Some(silent))
        .collect();
    assert!(
        (6..=12).contains(&held_up.len()),
        "node {silent} leads {held_up:?}"
    );
    let isolated = runtime.block_on(control.isolate_node(silent, Isolation::Silent, None));
    isolated.expect("isolate a node");
    let before = Instant::now();
    fill(&from, TOPIC, 0..PARTITIONS, BACKLOG_BYTES);
    eprintln!("written in {:?}", before.elapsed());
    let all = ends(&from, TOPIC);
    let (silenced, neighbours): (Vec<_>, Vec<_>) =
        all.iter().partition(|(partition, _)| held_up.contains(partition));
    let began = Instant::now();
    wait_copied(&daemon, NEIGHBOURS, TOPIC, &neighbours);
    eprintln!(
        "{} neighbours of {} took {:?}",
        neighbours.len(),
        silenced.len(),
        began.elapsed()
    );

    let position = |partition: i32| {
        let found = partitions(&daemon, TOPIC);
        found
            .iter()
            .find(|found| found.partition == partition)
            .and_then(|found| found.position)
    };
    for (partition, end) in silenced {
        assert!(
            position(partition) < Some(end),
            "partition {partition} has been copied to a silent node"
        );
    }
    // What it leads is more than there is room for, so some of it has been let go.
    daemon.wait_log("what waits for it is read again");
    let flow = daemon.flow(FLOW);
    let given_up: u64 = flow
        .partitions
        .iter()
        .map(|partition| partition.errors_total)
        .sum();
    assert_eq!(given_up, 0, "nobody gave up meanwhile");
    runtime.block_on(control.start_node(silent)).expect("it is back");
    wait_copied(&daemon, LIMIT, TOPIC, &all);
    let status = daemon.stop(LIMIT);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    wait_mirrored(&from, TOPIC, &to, MIRROR);
}
