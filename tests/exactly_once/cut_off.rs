//! One of several daemons is cut off, from the source or from both clusters: the others have its work within the session time-out.

use std::time::{Duration, Instant};

use heliostat::observe::events::{EventKind, EventList};

use super::line::{Far, PARTITIONS};
use super::{FLOW, LIMIT, MIRROR, TOPIC, let_pass, wait_mirrored, wait_more};
use crate::support::daemon::Daemon;
use crate::support::proxy::Proxy;
use crate::support::wait_for;

/// Records a second, over all partitions.
const RATE: u32 = 8_000;

/// The smallest that Apache Kafka allows by default.
const SESSION: Duration = Duration::from_secs(6);

/// What the rest of the group may take beyond the session time-out, to hear of it, join again, and claim.
const BEYOND_SESSION: Duration = Duration::from_secs(3);

impl Far {
    /// A daemon on these lines.
    fn far(&self) -> Daemon {
        started(&self.topology())
    }

    /// A daemon beside the clusters.
    fn near(&self) -> Daemon {
        started(&self.rig.topology())
    }

    /// Waits until each partition of the mirror is at least where the source is now.
    #[track_caller]
    fn wait_all_go_on(&self, limit: Duration) {
        let wanted = self.rig.source().end_offsets(TOPIC);
        wait_for(limit, "each partition of the mirror goes on", || {
            let ends = self.rig.target().end_offsets(MIRROR);
            match ends.iter().zip(&wanted).all(|(end, wanted)| end >= wanted) {
                true => Ok(()),
                false => Err(format!("{ends:?} of {wanted:?}")),
            }
        });
    }
}

fn started(topology: &str) -> Daemon {
    let mut daemon = Daemon::spawn(&with_session(topology), &super::log());
    daemon.wait_ready();
    daemon
}

fn with_session(topology: &str) -> String {
    let changed = topology.replace(
        "session_timeout: 1s",
        &format!("session_timeout: {}s", SESSION.as_secs()),
    );
    assert_ne!(changed, topology);
    changed
}

/// How many partitions are a daemon's.
fn mine(daemon: &Daemon) -> usize {
    let partitions = daemon.flow(FLOW).partitions;
    partitions.iter().filter(|partition| partition.mine).count()
}

#[track_caller]
fn wait_mine(shares: &[(&Daemon, std::ops::RangeInclusive<usize>)]) {
    wait_for(LIMIT, "the daemons have their shares", || {
        let counts: Vec<usize> = shares.iter().map(|(daemon, _)| mine(daemon)).collect();
        let fits = counts
            .iter()
            .zip(shares)
            .all(|(count, (_, wanted))| wanted.contains(count));
        match fits && counts.iter().sum::<usize>() == PARTITIONS as usize {
            true => Ok(()),
            false => Err(format!("{counts:?}")),
        }
    });
}

fn given_up(daemon: &Daemon) -> usize {
    let list: EventList = serde_json::from_str(&daemon.get("/api/v1/events").body).expect("events");
    let released = |event: &&heliostat::observe::events::Event| event.kind == EventKind::Released;
    list.events.iter().filter(released).count()
}

/// Cuts one of two daemons off while both copy, and looks how soon the other one does its work; then the two share it again.
#[track_caller]
fn work_moves(
    far: &Far,
    cut_off: &Daemon,
    other: &Daemon,
    lines: &[&Proxy],
    cut: impl Fn(&Proxy),
    mend: impl Fn(&Proxy),
) {
    wait_mine(&[(cut_off, 1..=2), (other, 1..=2)]);
    far.wait_all_go_on(LIMIT);
    lines.iter().for_each(|line| cut(line));
    let since = Instant::now();
    // Those that the cut has stopped go on when what has come to the source since then arrives.
    let_pass(Duration::from_millis(200));
    far.wait_all_go_on(SESSION + BEYOND_SESSION);
    eprintln!("all go on after {:?}", since.elapsed());
    if lines.len() == 1 {
        let partition = cut_off.flow(FLOW).partitions.remove(0);
        let reason = partition.reason.unwrap_or_default();
        assert!(
            reason.ends_with("the other daemons of the group do its work meanwhile"),
            "{reason}"
        );
    }
    lines.iter().for_each(|line| mend(line));
    wait_mine(&[(cut_off, 1..=2), (other, 1..=2)]);
    far.wait_all_go_on(LIMIT);
}

#[test]
fn a_daemon_that_loses_its_source_alone_leaves_the_work_to_the_others_until_it_answers() {
    let far = Far::start();
    let load = far.rig.load(RATE);
    let cut_off = far.far();
    wait_mirrored(&far.rig.target(), 16);
    let other = far.near();
    let lines = [&far.to_source];
    work_moves(
        &far,
        &cut_off,
        &other,
        &lines,
        |line| line.stall(true),
        |line| line.stall(false),
    );
    work_moves(&far, &cut_off, &other, &lines, Proxy::refuse, Proxy::accept);
    let exact = far.rig.finish(load, vec![other, cut_off]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

#[test]
fn the_work_of_a_daemon_that_loses_both_clusters_goes_on_elsewhere() {
    let far = Far::start();
    let load = far.rig.load(RATE);
    let cut_off = far.far();
    wait_mirrored(&far.rig.target(), 16);
    let other = far.near();
    let lines = [&far.to_source, &far.to_target];
    work_moves(
        &far,
        &cut_off,
        &other,
        &lines,
        |line| line.stall(true),
        |line| line.stall(false),
    );
    work_moves(&far, &cut_off, &other, &lines, Proxy::refuse, Proxy::accept);
    let exact = far.rig.finish(load, vec![other, cut_off]);
    exact.expect_equal().expect_whole_map();
}

/// Where the source is away for everybody nobody is better off: one of them keeps the work, and goes on at once.
#[test]
fn of_daemons_that_all_lose_the_source_one_keeps_the_work() {
    let mut far = Far::start();
    let load = far.rig.load(RATE);
    let first = far.far();
    wait_mirrored(&far.rig.target(), 16);
    let daemons = [first, far.near()];
    wait_mine(&[(&daemons[0], 1..=2), (&daemons[1], 1..=2)]);
    // What is claimed when the source falls silent costs an offset: nothing is.
    far.wait_all_go_on(LIMIT);
    far.rig.source.process().pause();
    // Longer than both may take to leave, where one does not hear of the other, and to come back.
    let_pass(2 * SESSION);
    wait_for(LIMIT, "somebody has the work", || {
        let counts = [mine(&daemons[0]), mine(&daemons[1])];
        match counts.iter().sum::<usize>() == PARTITIONS as usize {
            true => Ok(()),
            false => Err(format!("{counts:?}")),
        }
    });
    far.rig.source.process().resume();
    wait_more(&load, 1_000);
    far.wait_all_go_on(LIMIT);
    wait_mine(&[(&daemons[0], 1..=2), (&daemons[1], 1..=2)]);
    let exact = far.rig.finish(load, daemons.into());
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

#[test]
fn a_daemon_that_is_alone_keeps_its_work_while_the_source_is_away() {
    let far = Far::start();
    let load = far.rig.load(RATE);
    let daemon = far.far();
    wait_mirrored(&far.rig.target(), 16);
    far.to_source.refuse();
    let_pass(2 * SESSION);
    assert_eq!((mine(&daemon), given_up(&daemon)), (PARTITIONS as usize, 0));
    far.to_source.accept();
    far.wait_all_go_on(LIMIT);
    assert_eq!(given_up(&daemon), 0, "{}", daemon.log());
    let exact = far.rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}
