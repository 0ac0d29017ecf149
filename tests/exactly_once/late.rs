//! Requests that a broker gets to when their connection is long gone.

use std::time::Duration;

use serde_json::json;

use super::cut_back::write;
use super::pair::{Pair, wait_hit};
use super::{END, MIRROR, let_pass, wait_copied};
use crate::support::exact::Exact;

/// A daemon is killed while the target has a batch of it that it has not looked at yet. Whether it gets to it before the next owner's claim, while that
/// recovers, or when that has long copied the same records again: each is there once.
#[test]
fn a_batch_that_a_broker_gets_to_after_its_owner_was_killed_is_there_once() {
    let (pair, sides) = Pair::with_topic(1);
    write(&sides.source, "before", 40);
    let mut daemon = pair.daemon("");
    wait_copied(&sides, &daemon);
    for delay in [100, 700, 1_500, 3_000] {
        let late = pair.target.add_fault(
            json!({ "kind": "delay", "api": "Produce", "delay_ms": delay, "topic": MIRROR, "count": 1 }),
        );
        write(&sides.source, &format!("late by {delay}"), 40);
        wait_hit(&pair.target, late);
        daemon.process().kill();
        pair.forget_members();
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
