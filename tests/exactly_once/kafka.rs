//! The same on Apache Kafka: daemons and brokers killed under load, a zombie, planned restarts.

use std::time::Duration;

use rand::RngExt as _;

use super::{
    END, MIRROR, TOPIC, finish, forget_members, kills, let_pass, load, random, sides, topology,
    wait_mirrored, write_odd,
};
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::exact::Exact;
use crate::support::kafka::{Pair, available};
use crate::support::wait_for;

const PARTITIONS: i32 = 3;

/// Records a second, over all partitions.
const RATE: u32 = 6_000;

const PROPERTIES: &[&str] = &[
    "group.min.session.timeout.ms=1000",
    "group.initial.rebalance.delay.ms=0",
];

/// Two Kafkas of this test's own, and a topic.
fn start(test: &str) -> Option<(Pair, String)> {
    if !available(&format!("exactly once on Apache Kafka: {test}")) {
        return None;
    }
    let pair = Pair::start(test, PROPERTIES);
    let source = Client::new(pair.a.bootstrap());
    source.create_topic(TOPIC, PARTITIONS, &[]);
    write_odd(&source, PARTITIONS);
    let file = topology(&pair.a.bootstrap(), &pair.b.bootstrap(), "");
    Some((pair, file))
}

fn read(pair: &Pair, daemons: Vec<Daemon>) -> Exact {
    let sides = sides(Client::new(pair.a.bootstrap()), Client::new(pair.b.bootstrap()));
    finish(&sides, daemons)
}

#[test]
fn planned_restarts_and_then_kills_and_a_zombie_on_apache_kafka() {
    let Some((pair, file)) = start("daemons") else {
        return;
    };
    let mut random = random("kafka: daemons");
    let mut daemon = Daemon::spawn(&file, &super::log());
    daemon.wait_ready();
    let source = Client::new(pair.a.bootstrap());
    let target = Client::new(pair.b.bootstrap());
    let first = load(&source, PARTITIONS, RATE);
    for _ in 0..3 {
        let before = target
            .partitions(MIRROR)
            .map_or(0, |_| target.end_offsets(MIRROR).iter().sum());
        wait_mirrored(&target, before + 300);
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        daemon.restart();
    }
    first.stop();
    let log = daemon.log();
    let exact = read(&pair, vec![daemon]);
    exact.expect_equal().expect_whole_map();
    eprintln!("{:?}", exact.runs);
    // No marker lies between two lives of the daemon. (One may lie before the first record, where the first claim had to be repeated.)
    assert!(
        exact.runs.values().all(|runs| runs.len() == 1),
        "{:?}\n{log}",
        exact.runs
    );
    let mut daemon = Daemon::start(&file);
    let second = load(&source, PARTITIONS, RATE);
    for _ in 0..kills(6) {
        let_pass(Duration::from_millis(random.random_range(50..900)));
        daemon.process().kill();
        forget_members(&pair.b.bootstrap());
        daemon.respawn();
    }
    daemon.wait_ready();
    let other = Daemon::start(&file);
    let mirrored = || target.end_offsets(MIRROR).iter().sum::<i64>();
    wait_mirrored(&target, mirrored() + 1_000);
    daemon.process().pause();
    let asleep = mirrored();
    wait_for(super::LIMIT, "the other one copies everything", || {
        let flow = other.flow(super::FLOW);
        let mine = flow
            .partitions
            .iter()
            .filter(|partition| partition.mine && partition.state.is_healthy())
            .count();
        if mine == PARTITIONS as usize {
            Ok(())
        } else {
            Err(mine)
        }
    });
    wait_mirrored(&target, asleep + 1_000);
    daemon.process().resume();
    second.stop();
    read(&pair, vec![other, daemon]).expect_equal().expect_whole_map();
}

#[test]
fn apache_kafkas_that_are_killed_have_each_record_once() {
    let Some((mut pair, file)) = start("killed") else {
        return;
    };
    let mut random = random("kafka: brokers");
    let daemon = Daemon::start(&file);
    let load = load(&Client::new(pair.a.bootstrap()), PARTITIONS, RATE);
    wait_mirrored(&Client::new(pair.b.bootstrap()), 1_000);
    for turn in 0..kills(2) {
        let_pass(Duration::from_millis(random.random_range(200..1_000)));
        let victim = if turn % 2 == 0 { &mut pair.b } else { &mut pair.a };
        victim.kill();
        victim.restart();
    }
    load.stop();
    read(&pair, vec![daemon]).expect_equal().expect_whole_map();
}
