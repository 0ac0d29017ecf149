//! Requests that a broker gets to when their connection is long gone.

use std::time::Duration;

use serde_json::json;

use super::cut_back::write;
use super::refused::add;
use super::{END, LIMIT, MIRROR, TOPIC, forget_members, let_pass, log, sides, topology, wait_copied};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::exact::Exact;
use crate::support::wait_until;

/// A daemon is killed while the target has a batch of it that it has not looked at yet. Whether it gets to it before the next owner's claim, while that
/// recovers, or when that has long copied the same records again: each is there once.
#[test]
fn a_batch_that_a_broker_gets_to_after_its_owner_was_killed_is_there_once() {
    let source = InProcess::start(1, &[]);
    let target = InProcess::start(1, &[("group.min.session.timeout.ms", "1000")]);
    let sides = sides(Client::new(source.bootstrap()), Client::new(target.bootstrap()));
    sides.source.create_topic(TOPIC, 1, &[]);
    write(&sides.source, "before", 40);
    let file = topology(&source.bootstrap(), &target.bootstrap(), "");
    let mut daemon = Daemon::spawn(&file, &log());
    daemon.wait_ready();
    wait_copied(&sides, &daemon);
    for delay in [100, 700, 1_500, 3_000] {
        let late = add(
            &target,
            json!({ "kind": "delay", "api": "Produce", "delay_ms": delay, "topic": MIRROR, "count": 1 }),
        );
        write(&sides.source, &format!("late by {delay}"), 40);
        let control = target.cluster().control();
        wait_until(LIMIT, "a batch is in the broker's queue", || {
            let faults = control.faults();
            faults.iter().any(|fault| fault.id == late && fault.hit == 1)
        });
        daemon.process().kill();
        forget_members(&target.bootstrap());
        daemon.restart();
        wait_copied(&sides, &daemon);
        write(&sides.source, &format!("after {delay}"), 40);
        wait_copied(&sides, &daemon);
        let_pass(Duration::from_millis(delay));
    }
    assert_eq!(daemon.stop(END).code(), Some(0));
    Exact::read(&sides).expect_equal().expect_true_map();
    assert_eq!(sides.target.read(MIRROR).len(), 40 * 9);
}
