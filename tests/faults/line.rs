//! The line between the daemon and a cluster: refused, cut, silent.

use std::time::{Duration, Instant};

use heliostat::observe::status::State;

use super::{Pair, QUICK_GROUPS, topology, wait_flow, wait_mirrored, wait_more};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape};
use crate::support::proxy::Proxy;
use crate::support::{wait_for, wait_until};

/// For how long the source refuses connections.
const REFUSED: Duration = Duration::from_secs(20);

/// A pair whose source the daemon reaches over a line of its own; the producer does not use it.
fn far_source(partitions: i32) -> (Pair, Proxy) {
    let (source, proxy) = BuiltIn::start_behind(&[]);
    (
        Pair::of(source, BuiltIn::start(1, QUICK_GROUPS), partitions),
        proxy,
    )
}

/// The same for the target.
fn far_target(partitions: i32) -> (Pair, Proxy) {
    let (target, proxy) = BuiltIn::start_behind(QUICK_GROUPS);
    (Pair::of(BuiltIn::start(1, &[]), target, partitions), proxy)
}

fn over_source_line(pair: &Pair, proxy: &Proxy) -> String {
    topology(&proxy.address().to_string(), &pair.target.bootstrap())
}

fn over_target_line(pair: &Pair, proxy: &Proxy) -> String {
    topology(&pair.source.bootstrap(), &proxy.address().to_string())
}

fn names(reason: Option<&String>, cluster: &str) -> bool {
    reason.is_some_and(|reason| reason.contains(cluster) && reason.contains("away"))
}

#[test]
fn a_source_that_refuses_connections_for_20_seconds_is_a_state_with_a_growing_unknown_lag() {
    let (pair, proxy) = far_source(2);
    let mut daemon = Daemon::start(&over_source_line(&pair, &proxy));
    let load = pair.load(500);
    wait_flow(&mut daemon, "records are copied", |flow| {
        flow.records_total > 500 && flow.lag.known
    });
    proxy.refuse();
    let refused = Instant::now();
    let away = wait_flow(&mut daemon, "the flow knows that its source is away", |flow| {
        flow.state == State::Waiting && !flow.lag.known
    });
    assert!(names(away.reason.as_ref(), "source"), "{away:?}");
    let later = wait_flow(&mut daemon, "its lag has grown with the time", |flow| {
        flow.lag.seconds > (REFUSED - Duration::from_secs(2)).as_secs_f64()
    });
    assert!(
        !later.lag.known && later.lag.unknown_since_ms.is_some(),
        "{later:?}"
    );
    assert!(
        later.lag.seconds < refused.elapsed().as_secs_f64() + 3.0,
        "{later:?}"
    );
    assert!(names(later.reason.as_ref(), "source"), "{later:?}");
    wait_until(REFUSED, "the time is up", || refused.elapsed() >= REFUSED);
    proxy.accept();
    let accepted = Instant::now();
    wait_flow(&mut daemon, "the flow copies again", |flow| flow.is_healthy());
    eprintln!("healthy again after {:?}", accepted.elapsed());
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_source_that_is_away_at_the_start_is_waited_for() {
    let (pair, proxy) = far_source(1);
    proxy.refuse();
    let load = pair.load(500);
    wait_more(&load, 500);
    // Ready all the same: what was mirrored before is of use.
    let mut daemon = Daemon::start(&over_source_line(&pair, &proxy));
    let flow = wait_flow(&mut daemon, "the flow says what it waits for", |flow| {
        flow.state == State::Waiting
            && flow
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains("source"))
    });
    assert!(!flow.lag.known, "{flow:?}");
    proxy.accept();
    wait_flow(&mut daemon, "the flow copies", |flow| {
        flow.is_healthy() && flow.records_total > 0
    });
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_target_that_is_away_at_the_start_is_waited_for() {
    let (pair, proxy) = far_target(1);
    proxy.refuse();
    let load = pair.load(500);
    wait_more(&load, 500);
    let mut daemon = Daemon::spawn(&over_target_line(&pair, &proxy), &[]);
    wait_for(super::LIMIT, "the daemon serves", || {
        crate::support::http::connects(daemon.http())
    });
    let flow = wait_flow(&mut daemon, "the flow says what it waits for", |flow| {
        flow.state == State::Waiting
            && flow
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains("target"))
    });
    assert!(!flow.is_healthy(), "{flow:?}");
    let ready = daemon.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("target"), "{}", ready.body);
    assert_eq!(daemon.get("/livez").status, 200);
    proxy.accept();
    daemon.wait_ready();
    pair.finish(load, &daemon).verdict.expect_exact();
}

/// Writes as fast as it can what is large enough to be on its way at every moment.
fn heavy(pair: &Pair) -> Load {
    let shape = Shape {
        rate: Some(2_000),
        partitions: pair.partitions,
        value_bytes: 4_000,
        ..Shape::default()
    };
    Load::start(&pair.source(), super::TOPIC, shape)
}

#[test]
fn a_line_from_the_source_that_is_cut_again_and_again_costs_no_record() {
    let (pair, proxy) = far_source(2);
    let daemon = Daemon::start(&over_source_line(&pair, &proxy));
    let load = heavy(&pair);
    wait_mirrored(&pair.target(), 1);
    for _ in 0..10 {
        wait_more(&load, 500);
        proxy.cut();
    }
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_line_to_the_target_that_is_cut_again_and_again_costs_no_record() {
    let (pair, proxy) = far_target(2);
    let daemon = Daemon::start(&over_target_line(&pair, &proxy));
    let load = heavy(&pair);
    wait_mirrored(&pair.target(), 1);
    for _ in 0..10 {
        wait_more(&load, 500);
        proxy.cut();
    }
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_source_that_falls_silent_is_noticed_and_copied_when_it_speaks_again() {
    let (pair, proxy) = far_source(1);
    let mut daemon = Daemon::start(&over_source_line(&pair, &proxy));
    let load = pair.load(500);
    wait_mirrored(&pair.target(), 1);
    proxy.stall(true);
    let silent = wait_flow(&mut daemon, "the silence is noticed", |flow| {
        flow.state == State::Waiting && !flow.lag.known
    });
    assert!(names(silent.reason.as_ref(), "source"), "{silent:?}");
    proxy.stall(false);
    wait_flow(&mut daemon, "the flow copies again", |flow| flow.is_healthy());
    pair.finish(load, &daemon).verdict.expect_exact();
}

#[test]
fn a_target_that_falls_silent_is_noticed_and_copied_to_when_it_speaks_again() {
    let (pair, proxy) = far_target(1);
    let mut daemon = Daemon::start(&over_target_line(&pair, &proxy));
    let load = pair.load(500);
    wait_mirrored(&pair.target(), 1);
    proxy.stall(true);
    wait_flow(&mut daemon, "the silence is noticed", |flow| {
        flow.state == State::Waiting && names(flow.reason.as_ref(), "target")
    });
    assert_eq!(daemon.get("/readyz").status, 503);
    proxy.stall(false);
    wait_flow(&mut daemon, "the flow copies again", |flow| flow.is_healthy());
    pair.finish(load, &daemon).verdict.expect_exact();
}
