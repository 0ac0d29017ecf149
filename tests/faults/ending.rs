//! SIGTERM and Ctrl-C: what was read is written, within the time that README.md promises, whatever is away.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Pair, QUICK_GROUPS, topology, wait_flow, wait_mirrored, wait_more};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::Daemon;

/// What README.md says.
const DEADLINE: Duration = Duration::from_secs(17);

/// Signals the daemon, and returns its exit code; panics when it takes longer than promised.
#[track_caller]
fn end(daemon: &mut Daemon, signal: Signal) -> Option<i32> {
    let told = Instant::now();
    daemon.process().signal(signal);
    let status = daemon.process().wait(DEADLINE);
    eprintln!("{status} after {:?}", told.elapsed());
    status.code()
}

#[test]
fn both_signals_drain_and_the_next_start_repeats_nothing() {
    let pair = Pair::start(2);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(2_000);
    let signals = [
        (Signal::TERM, 0),
        (Signal::INT, 130),
        (Signal::TERM, 0),
        (Signal::INT, 130),
    ];
    for (signal, code) in signals {
        let mirrored: i64 = match pair.target().partitions(super::MIRROR) {
            Some(_) => pair.target().end_offsets(super::MIRROR).iter().sum(),
            None => 0,
        };
        wait_mirrored(&pair.target(), mirrored + 1_000);
        assert_eq!(end(&mut daemon, signal), Some(code));
        daemon.restart();
    }
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_daemon_whose_source_is_gone_or_silent_ends_in_time() {
    let (source, proxy) = BuiltIn::start_behind(&[]);
    let pair = Pair::of(source, BuiltIn::start(1, QUICK_GROUPS), 2);
    let mut daemon = Daemon::start(&topology(&proxy.address().to_string(), &pair.target.bootstrap()));
    let load = pair.load(1_000);
    wait_mirrored(&pair.target(), 500);
    proxy.stall(true);
    wait_flow(&mut daemon, "the silence is noticed", |flow| !flow.is_healthy());
    assert_eq!(end(&mut daemon, Signal::TERM), Some(0));
    // And once more from the very start, with nobody there.
    proxy.refuse();
    daemon.restart();
    wait_flow(&mut daemon, "the source is away", |flow| !flow.is_healthy());
    assert_eq!(end(&mut daemon, Signal::INT), Some(130));
    proxy.stall(false);
    proxy.accept();
    daemon.restart();
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_daemon_whose_target_is_gone_ends_in_time_and_loses_nothing() {
    let mut pair = Pair::start(2);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(1_000);
    wait_mirrored(&pair.target(), 500);
    pair.target.process().kill();
    wait_more(&load, 500);
    let code = end(&mut daemon, Signal::TERM);
    assert_eq!(
        code,
        Some(1),
        "it could not write what it had read, and says so: {}",
        daemon.log()
    );
    assert!(daemon.log().contains("copied again"), "{}", daemon.log());
    pair.target.restart();
    daemon.restart();
    pair.finish(load, &daemon).verdict.expect_complete();
}

#[test]
fn a_daemon_whose_target_is_silent_ends_in_time_and_loses_nothing() {
    let (target, proxy) = BuiltIn::start_behind(QUICK_GROUPS);
    let pair = Pair::of(BuiltIn::start(1, &[]), target, 2);
    let mut daemon = Daemon::start(&topology(&pair.source.bootstrap(), &proxy.address().to_string()));
    let load = pair.load(1_000);
    wait_mirrored(&pair.target(), 500);
    proxy.stall(true);
    wait_more(&load, 500);
    let code = end(&mut daemon, Signal::INT);
    assert_eq!(
        code,
        Some(1),
        "it could not write what it had read, and says so: {}",
        daemon.log()
    );
    proxy.stall(false);
    daemon.restart();
    pair.finish(load, &daemon).verdict.expect_complete();
}
