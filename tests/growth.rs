//! Sources that change while they are mirrored: topics and partitions that come, topics that go, records that are gone.

use std::time::Duration;

use heliostat::observe::status::{DeletedTopic, Lag, PartitionStatus, State, Status};

use crate::support::check::judge;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::load::{Load, Shape};
use crate::support::mirrors::{
    CATCH_UP, FLOW, LOOK_OFTEN, Pair, numbers, topics, wait_ends, wait_quiet, write_numbers,
};
use crate::support::{hold, wait_for, wait_until};

/// How long it may take until what is new on the source is on the target, on a machine that compiles beside it.
const SOON: Duration = Duration::from_secs(15);
/// How long a daemon may take to drain and end.
const END: Duration = Duration::from_secs(15);

const NO_LAG: Lag = Lag {
    known: true,
    records: 0,
    seconds: 0.0,
    unknown_since_ms: None,
    at_least: false,
};

/// The status of one partition of the flow, once it is as it should be.
#[track_caller]
fn wait_partition(
    daemon: &Daemon,
    topic: &str,
    partition: i32,
    what: &str,
    holds: impl Fn(&PartitionStatus) -> bool,
) -> PartitionStatus {
    wait_for(CATCH_UP, what, || {
        let flow = daemon.flow(FLOW);
        let of_it = |found: &&PartitionStatus| found.topic == topic && found.partition == partition;
        match flow.partitions.iter().find(of_it) {
            Some(found) if holds(found) => Ok(found.clone()),
            found => Err(format!("{found:?}")),
        }
    })
}

/// The status says that a topic is gone, and shows nothing of it any more.
#[track_caller]
fn wait_deleted(daemon: &Daemon, topic: &str) -> DeletedTopic {
    wait_for(CATCH_UP, "the status says that it is gone", || {
        let flow = daemon.flow(FLOW);
        let deleted = flow.deleted.iter().rev().find(|deleted| deleted.topic == topic);
        let left = flow.partitions.iter().find(|found| found.topic == topic);
        match (deleted, left) {
            (Some(deleted), None) => Ok(deleted.clone()),
            found => Err(format!("{found:?}")),
        }
    })
}

fn reason(partition: &PartitionStatus) -> &str {
    partition.reason.as_deref().unwrap_or_default()
}

#[test]
fn new_topics_and_partitions_are_mirrored_within_seconds_beside_what_runs() {
    let pair = Pair::start();
    let shape = Shape {
        rate: Some(500),
        ..Shape::default()
    };
    pair.primary.create_topic("steady", 1, &[]);
    let load = Load::start(&pair.primary, "steady", shape);
    // As it is by default.
    let _daemon = Daemon::start(&pair.topology("").replace(LOOK_OFTEN, "discovery_interval: 2s"));
    wait_until(CATCH_UP, "the first records are mirrored", || {
        let there = topics(&pair.standby) == ["primary.steady"];
        there && pair.standby.end_offsets("primary.steady")[0] > 100
    });
    for (topic, partitions) in [("second", 1), ("third", 6)] {
        pair.primary.create_topic(topic, partitions, &[]);
        write_numbers(&pair.primary, topic, partitions, 0..60);
        let began = std::time::Instant::now();
        pair.wait_mirrored(topic);
        assert!(began.elapsed() < SOON, "{topic} took {:?}", began.elapsed());
    }
    for partitions in [3, 9] {
        pair.primary.create_partitions("second", partitions);
        write_numbers(&pair.primary, "second", partitions, 0..90);
        let began = std::time::Instant::now();
        pair.wait_mirrored("second");
        assert!(
            began.elapsed() < SOON,
            "{partitions} partitions took {:?}",
            began.elapsed()
        );
    }
    let written = load.stop();
    wait_ends(
        &pair.standby,
        "primary.steady",
        &pair.primary.end_offsets("steady"),
    );
    let read = pair.standby.read("primary.steady");
    judge(&written.name, &written.acknowledged, &read).expect_exact();
}

#[test]
fn the_mirror_of_a_deleted_topic_stays_and_its_neighbours_go_on() {
    let pair = Pair::start();
    for topic in ["doomed", "neighbour"] {
        pair.primary.create_topic(topic, 2, &[]);
        write_numbers(&pair.primary, topic, 2, 0..200);
    }
    let daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("doomed");
    pair.primary.delete_topic("doomed");
    let deleted = wait_deleted(&daemon, "doomed");
    assert_eq!(
        (deleted.target_topic.as_str(), deleted.missing),
        ("primary.doomed", 0)
    );
    write_numbers(&pair.primary, "neighbour", 2, 200..400);
    pair.wait_mirrored("neighbour");
    let even: Vec<i32> = (0..200).step_by(2).collect();
    assert_eq!(numbers(&pair.standby, "primary.doomed", 0), even);
    // Longer than a log end may stay unknown: a topic that is gone keeps nobody waiting for records.
    hold(Duration::from_secs(6), "the flow has no lag", || {
        daemon.flow(FLOW).lag.seconds < 5.0
    });
    assert_eq!(daemon.flow(FLOW).lag, NO_LAG);
}

#[test]
fn a_topic_made_again_halts_and_says_why() {
    let pair = Pair::start();
    pair.primary.create_topic("phoenix", 1, &[]);
    write_numbers(&pair.primary, "phoenix", 1, 0..100);
    let mut daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("phoenix");
    pair.primary.delete_topic("phoenix");
    wait_deleted(&daemon, "phoenix");
    pair.primary.create_topic("phoenix", 1, &[]);
    // More than the old one had: that it is another log cannot be told from its length.
    write_numbers(&pair.primary, "phoenix", 1, 1_000..1_300);
    let says_so = |daemon: &Daemon| {
        let found = wait_partition(
            daemon,
            "phoenix",
            0,
            "the status says that it was made again",
            |found| found.state == State::Recreated,
        );
        assert_eq!(
            reason(&found),
            "the source topic was deleted and made again. To copy the new log behind the old one, set on_recreated: follow; \
             to begin anew, delete primary.phoenix on the target"
        );
    };
    says_so(&daemon);
    // Another daemon, which knows only what is on the target, says the same.
    assert!(daemon.stop(END).success());
    daemon.restart();
    says_so(&daemon);
    wait_quiet(&[&pair.standby]);
    let old: Vec<i32> = (0..100).collect();
    assert_eq!(numbers(&pair.standby, "primary.phoenix", 0), old);
    // The way out that the reason names.
    pair.standby.delete_topic("primary.phoenix");
    let new: Vec<i32> = (1_000..1_300).collect();
    wait_ends(&pair.standby, "primary.phoenix", &[300]);
    assert_eq!(numbers(&pair.standby, "primary.phoenix", 0), new);
}

#[test]
fn a_topic_made_again_is_followed_where_the_file_says_so() {
    let pair = Pair::start();
    pair.primary.create_topic("phoenix", 1, &[]);
    write_numbers(&pair.primary, "phoenix", 1, 0..100);
    let daemon = Daemon::start(&pair.topology("on_recreated: follow"));
    pair.wait_mirrored("phoenix");
    let mut expected: Vec<i32> = (0..100).collect();
    // Once as soon as it has gone, once after the daemon has seen that it has.
    for (seen, first) in [(false, 1_000), (true, 2_000)] {
        pair.primary.delete_topic("phoenix");
        if seen {
            wait_deleted(&daemon, "phoenix");
        }
        pair.primary.create_topic("phoenix", 1, &[]);
        write_numbers(&pair.primary, "phoenix", 1, first..first + 50);
        expected.extend(first..first + 50);
        wait_ends(&pair.standby, "primary.phoenix", &[expected.len() as i64]);
    }
    wait_quiet(&[&pair.standby]);
    assert_eq!(numbers(&pair.standby, "primary.phoenix", 0), expected);
    let found = wait_partition(&daemon, "phoenix", 0, "it has caught up", |found| {
        found.state == State::CaughtUp
    });
    assert_eq!(
        (found.position, found.target_position, found.lag),
        (Some(50), Some(200), NO_LAG)
    );
}

/// A pair with a topic of two partitions, 100 records in each of them mirrored, then 100 more of which the first 50 of
/// partition 0 are gone while no daemon ran. Returns the daemon, which has ended.
fn gap_while_away(pair: &Pair, defaults: &str) -> Daemon {
    pair.primary.create_topic("cut", 2, &[]);
    write_numbers(&pair.primary, "cut", 2, 0..200);
    let mut daemon = Daemon::start(&pair.topology(defaults));
    pair.wait_mirrored("cut");
    assert!(daemon.stop(END).success());
    write_numbers(&pair.primary, "cut", 2, 200..400);
    pair.primary.delete_records("cut", 0, 150);
    daemon
}

/// What partition 0 must hold in the end: the even numbers of 0 to 399 without those at the offsets 100 to 149.
fn without_the_gap() -> Vec<i32> {
    (0..100).chain(150..200).map(|offset| offset * 2).collect()
}

#[test]
fn records_that_are_gone_before_they_are_copied_are_recorded_as_a_gap() {
    let pair = Pair::start();
    let mut daemon = gap_while_away(&pair, "on_gap: record");
    daemon.restart();
    wait_ends(&pair.standby, "primary.cut", &[150, 200]);
    let found = wait_partition(&daemon, "cut", 0, "it has caught up", |found| {
        found.state == State::CaughtUp && found.source_start == Some(150)
    });
    assert_eq!(
        reason(&found),
        "gap: source offsets 100 to 149 were deleted before they could be copied"
    );
    assert_eq!((found.gap_records_total, found.position), (50, Some(200)));
    assert_eq!((found.target_position, found.lag), (Some(150), NO_LAG));
    assert_eq!(numbers(&pair.standby, "primary.cut", 0), without_the_gap());
    let beside = wait_partition(&daemon, "cut", 1, "its neighbour has caught up", |found| {
        found.state == State::CaughtUp
    });
    assert_eq!((beside.gap_records_total, beside.position), (0, Some(200)));
    daemon.wait_log("gap: source offsets were deleted before they could be copied");
    let total = "heliostat_partition_gap_records_total{";
    let metrics = daemon.get("/metrics").body;
    let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with(total)).collect();
    let gap = |line: &&&str| line.contains(r#"partition="0""#) && line.ends_with(" 50");
    assert_eq!(lines.iter().filter(gap).count(), 1, "{lines:?}");
    // It goes on after it.
    write_numbers(&pair.primary, "cut", 2, 400..410);
    wait_ends(&pair.standby, "primary.cut", &[155, 205]);
}

#[test]
fn a_gap_halts_its_partition_where_the_file_says_so_until_it_says_otherwise() {
    let pair = Pair::start();
    let mut daemon = gap_while_away(&pair, "on_gap: halt");
    daemon.restart();
    let found = wait_partition(&daemon, "cut", 0, "the gap halts it", |found| {
        found.state == State::Gap && found.lag.known
    });
    assert_eq!(
        reason(&found),
        "source offsets 100 to 149 were deleted before they could be copied. To go on after them, set on_gap: record"
    );
    // Source offsets from the position to the log end, as documented: those that are gone are missing too.
    assert_eq!((found.position, found.lag.records), (Some(100), 100));
    wait_ends(&pair.standby, "primary.cut", &[100, 200]);
    wait_quiet(&[&pair.standby]);
    let copied: Vec<i32> = (0..200).step_by(2).collect();
    assert_eq!(numbers(&pair.standby, "primary.cut", 0), copied);
    hold(
        Duration::from_secs(2),
        "the flow is in the state of its gap",
        || daemon.flow(FLOW).state == State::Gap,
    );
    // Who asks the clusters, and not the daemon, is told the same.
    let file = daemon.topology().to_str().expect("a path in UTF-8");
    let output = heliostat(&["status", file, "--clusters", "--check", "-o", "json"], None);
    let status: Status = serde_json::from_slice(&output.stdout).expect("JSON");
    let [halted, beside] = &status.flows[0].partitions[..] else {
        panic!("{status:?}");
    };
    assert_eq!((halted.state, reason(halted)), (State::Gap, reason(&found)));
    assert_eq!(beside.state, State::CaughtUp);
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    // The way out that the reason names.
    assert!(daemon.stop(END).success());
    let file = std::fs::read_to_string(daemon.topology()).expect("read the topology");
    std::fs::write(daemon.topology(), file.replace("on_gap: halt", "on_gap: record")).expect("write it");
    daemon.restart();
    wait_ends(&pair.standby, "primary.cut", &[150, 200]);
    assert_eq!(numbers(&pair.standby, "primary.cut", 0), without_the_gap());
}

#[test]
fn what_is_gone_while_the_daemon_is_frozen_is_named_exactly() {
    let pair = Pair::start();
    pair.primary.create_topic("frozen", 1, &[]);
    write_numbers(&pair.primary, "frozen", 1, 0..100);
    let mut daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("frozen");
    daemon.process().pause();
    for from in [100, 200, 300] {
        write_numbers(&pair.primary, "frozen", 1, from..from + 100);
    }
    pair.primary.delete_records("frozen", 0, 350);
    daemon.process().resume();
    let found = wait_partition(&daemon, "frozen", 0, "it has caught up", |found| {
        found.state == State::CaughtUp && found.position == Some(400)
    });
    // A fetch that was under way may have brought some of the records before they were gone.
    let mirrored = numbers(&pair.standby, "primary.frozen", 0);
    let first = 400 - 50 - i32::try_from(found.gap_records_total).expect("a small gap");
    let expected: Vec<i32> = (0..first).chain(350..400).collect();
    assert_eq!(mirrored, expected);
    assert_eq!(
        reason(&found),
        format!("gap: source offsets {first} to 349 were deleted before they could be copied")
    );
    assert_eq!(found.lag, NO_LAG);
}
