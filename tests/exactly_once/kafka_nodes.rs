//! An Apache Kafka of three brokers, whose partitions each have three replicas, as source and as target: brokers are killed in turn under load, leaders
//! move, and followers become leaders that had not heard of everything.

use std::time::Duration;

use rand::RngExt as _;

use super::leaders::create;
use super::{
    SOURCE, TARGET, finish, kills, let_pass, load, random, sides, topology, wait_mirrored, write_odd,
};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::kafka::{Kafka, available};

const PARTITIONS: i32 = 4;

/// Records a second of each of the two flows, over all partitions.
const RATE: u32 = 3_000;

/// What is acknowledged is with two of three, also of Kafka's own topics.
const PROPERTIES: &[&str] = &[
    "default.replication.factor=3",
    "min.insync.replicas=2",
    "offsets.topic.replication.factor=3",
    "transaction.state.log.replication.factor=3",
    "transaction.state.log.min.isr=2",
    "group.min.session.timeout.ms=1000",
    "group.initial.rebalance.delay.ms=0",
];

#[test]
fn brokers_of_an_apache_kafka_that_are_killed_in_turn_cost_nothing_and_repeat_nothing() {
    if !available("exactly once on an Apache Kafka of three brokers") {
        return;
    }
    let mut random = random("kafka: nodes");
    let mut nodes = Kafka::start_several("exactly-once", 3, PROPERTIES);
    let bootstrap: Vec<String> = nodes.iter().map(Kafka::bootstrap).collect();
    let bootstrap = bootstrap.join(",");
    let (source, target) = (BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET));
    let kafka = Client::new(&bootstrap).with(&[("socket.timeout.ms", "5000")]);
    let [from, to] = [&source, &target].map(|cluster| Client::new(cluster.bootstrap()));
    from.create_topic(super::TOPIC, PARTITIONS, &[]);
    create(&kafka);
    let only = ", topics: { include: [orders] }";
    let flows = [
        (
            sides(from, kafka.clone()),
            topology(&source.bootstrap(), &bootstrap, only),
        ),
        (sides(kafka, to), topology(&bootstrap, &target.bootstrap(), only)),
    ];
    let copied = flows.map(|(sides, file)| {
        write_odd(&sides.source, PARTITIONS);
        let mut daemon = Daemon::spawn(&file, &super::log());
        daemon.wait_ready();
        wait_mirrored(&sides.target, 16);
        let load = load(&sides.source, PARTITIONS, RATE);
        (sides, daemon, load)
    });
    for turn in 0..kills(4) {
        let_pass(Duration::from_millis(random.random_range(500..2_000)));
        let count = nodes.len();
        let victim = &mut nodes[turn % count];
        victim.kill();
        let_pass(Duration::from_millis(random.random_range(0..2_000)));
        victim.restart();
    }
    for (sides, daemon, load) in copied {
        let written = load.stop();
        assert_eq!(
            written.failed, 0,
            "a producer that never gives up fails no record"
        );
        finish(&sides, vec![daemon]).expect_equal().expect_whole_map();
    }
}
