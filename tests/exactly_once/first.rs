//! Which daemon begins where nobody is in the group: whatever becomes of that one, the others are not held up for long.

use std::time::{Duration, Instant};

use super::{END, FLOW, LIMIT, MAP, Rig, SOURCE, TARGET, topology, wait_mirrored, wait_more};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::rec::Rec;
use crate::support::wait_for;

/// Records a second, over all partitions.
const RATE: u32 = 4_000;

/// For how long it holds that a daemon begins, and what a busy machine takes besides.
const HELD_UP: Duration = Duration::from_secs(10 + 8);

/// Waits until the mirror grows, no longer than anybody may be held up.
#[track_caller]
fn wait_copies(rig: &Rig) {
    let now = wait_mirrored(&rig.target(), 0);
    wait_for(HELD_UP, "it copies", || {
        let grown = wait_mirrored(&rig.target(), 0);
        (grown > now + 500).then_some(()).ok_or(grown - now)
    });
}

#[test]
fn what_somebody_has_left_in_the_map_holds_up_one_start_and_no_other() {
    let rig = Rig::start(2);
    let load = rig.load(RATE);
    let mut daemon = Daemon::start(&rig.topology());
    wait_copies(&rig);
    daemon.stop(END);
    // By a clock that is wrong, or by somebody else.
    let value = format!(r#"{{"v":1,"daemon":"gone","at_ms":{0},"for_ms":{0}}}"#, i64::MAX);
    let left = Rec::new(0, Some(br#"{"first":"daemon"}"#), Some(value.as_bytes()));
    rig.target().produce(MAP, &[left], Producing::default());
    daemon.restart();
    wait_copies(&rig);
    daemon.stop(END);
    let again = Instant::now();
    daemon.restart();
    wait_copies(&rig);
    assert!(again.elapsed() < HELD_UP / 3, "{:?}", again.elapsed());
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

#[test]
fn who_begins_with_nothing_holds_up_nobody() {
    let rig = Rig::start(2);
    let load = rig.load(RATE);
    let other = topology(
        &rig.source.bootstrap(),
        &rig.target.bootstrap(),
        ", topics: { include: [nothing] }",
    );
    let idle = Daemon::start(&other);
    let daemon = Daemon::start(&rig.topology());
    wait_for(HELD_UP, "the mirror is there", || {
        rig.target()
            .partitions(super::MIRROR)
            .map(drop)
            .ok_or("it is not")
    });
    wait_copies(&rig);
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
    drop(idle);
}

/// It copies all the same, as long as nobody else does.
#[test]
fn a_daemon_that_the_group_refuses_copies_after_a_kill_and_after_another_one_has_ended() {
    // The smallest session time-out of the target is larger than that of the daemons.
    let target = BuiltIn::start(1, &TARGET[2..]);
    let rig = Rig::of(BuiltIn::start(1, SOURCE), target, 2);
    let load = rig.load(RATE);
    let mut first = Daemon::start(&rig.topology());
    wait_copies(&rig);
    first.process().kill();
    first.restart();
    wait_copies(&rig);
    let second = Daemon::start(&rig.topology());
    wait_more(&load, 4_000);
    let owned = |daemon: &Daemon| {
        let partitions = daemon.flow(FLOW).partitions;
        partitions.iter().filter(|partition| partition.mine).count()
    };
    assert_eq!((owned(&first), owned(&second)), (2, 0));
    first.stop(END);
    wait_copies(&rig);
    assert_eq!(owned(&second), 2);
    wait_for(LIMIT, "the reason is shown", || {
        let reason = second.flow(FLOW).reason.unwrap_or_default();
        reason
            .contains("does not let this daemon into the group")
            .then_some(())
            .ok_or(reason)
    });
    let exact = rig.finish(load, vec![second]);
    exact.expect_equal().expect_whole_map();
}
