//! Memory does not grow with what waits on the source, nor beyond what may be in flight.

use serde_json::json;

use super::{LIMIT, QUICK_GROUPS, ends, fill, partitions, topology, wait_copied};
use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_still};

const TOPIC: &str = "orders";
const MIRROR: &str = "source.orders";
const PARTITIONS: i32 = 8;

/// What waits on the source first, and what does later, in bytes.
const SMALL: usize = 30_000_000;
const LARGE: usize = 100_000_000;

/// What may differ all the same: what the allocator keeps, and the lists of what waits.
const SLACK: u64 = 8 << 20;

/// So much may be in flight, and so much is in answers that are under way: one is looked at, one waits, and the source's only node sends
/// two.
const IN_FLIGHT: u64 = 16_000_000;
const ANSWERS: u64 = 4 * (8 << 20);

/// The most memory that the daemon ever had, and what it has now, in bytes.
#[track_caller]
fn memory(daemon: &mut Daemon) -> (u64, u64) {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", daemon.process().pid())).expect("it runs");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        1024 * number
            .and_then(|number| number.parse::<u64>().ok())
            .expect("a number")
    };
    (bytes("VmHWM:"), bytes("VmRSS:"))
}

#[test]
fn memory_depends_neither_on_what_waits_on_the_source_nor_on_how_slow_the_target_is() {
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    let from = Client::new(&source);
    from.create_topic(TOPIC, PARTITIONS, &[]);
    fill(&from, TOPIC, 0..PARTITIONS, 1);
    let mut daemon = Daemon::start(&topology(&source, &target, ""));
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));
    let at_rest = memory(&mut daemon).1;

    // The target takes nothing any more.
    let fault = json!({ "kind": "delay", "api": "Produce", "topic": MIRROR, "delay_ms": 3_600_000 });
    clusters[1].add_fault(fault);
    fill(&from, TOPIC, 0..PARTITIONS, SMALL / PARTITIONS as usize);
    let in_flight = |daemon: &mut Daemon| {
        // With what is fetched the memory stands still, too.
        wait_still(LIMIT, "no more is fetched", || memory(daemon).0);
        memory(daemon).0
    };
    let small = in_flight(&mut daemon);
    fill(&from, TOPIC, 0..PARTITIONS, (LARGE - SMALL) / PARTITIONS as usize);
    let large = in_flight(&mut daemon);
    let stalled = partitions(&daemon, TOPIC);
    assert!(
        stalled.iter().all(|partition| partition.position == Some(1)),
        "{stalled:?}"
    );
    eprintln!("{at_rest} bytes at rest, at most {small} with {SMALL} on the source, {large} with {LARGE}");
    assert!(
        large <= small + SLACK,
        "{small} bytes with {SMALL} on the source, {large} with {LARGE}"
    );
    let taken = large - at_rest;
    assert!(
        taken > IN_FLIGHT / 2,
        "{taken} bytes were taken: there was nothing that had to be bounded"
    );
    assert!(taken <= IN_FLIGHT + ANSWERS + SLACK, "{taken} bytes were taken");
}

/// What docs/operations.md says of a partition.
const EACH_PARTITION: u64 = 15_000;

#[test]
fn each_partition_costs_no_more_than_is_said() {
    const FEW: i32 = 100;
    const MANY: i32 = 1_600;
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, QUICK_GROUPS)];
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    let from = Client::new(&source);
    from.create_topic(TOPIC, FEW, &[]);
    let write = |partitions: std::ops::Range<i32>| {
        let records: Vec<Rec> = partitions
            .map(|partition| Rec::new(partition, None, Some(b"one")))
            .collect();
        from.produce(TOPIC, &records, Producing::default());
    };
    write(0..FEW);
    let mut daemon = Daemon::start(&topology(&source, &target, ""));
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));
    wait_still(LIMIT, "memory stands still", || memory(&mut daemon).1 >> 20);
    let few = memory(&mut daemon).1;
    from.create_partitions(TOPIC, MANY);
    write(FEW..MANY);
    wait_copied(&daemon, LIMIT, TOPIC, &ends(&from, TOPIC));
    // What that took for a moment is given back within half a minute.
    let at_most = few + EACH_PARTITION * (MANY - FEW) as u64;
    let many = wait_for(LIMIT, "memory is what the partitions cost", || {
        let now = memory(&mut daemon).1;
        match now <= at_most {
            true => Ok(now),
            false => Err(format!("{now} bytes, {at_most} would be right")),
        }
    });
    let each = many.saturating_sub(few) / (MANY - FEW) as u64;
    eprintln!("{few} bytes with {FEW} partitions, {many} with {MANY}: {each} each");
}
