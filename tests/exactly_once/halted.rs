//! A partition that halts costs its mirror nothing while it waits for somebody to decide.

use std::time::Duration;

use heliostat::observe::status::State;
use serde_json::json;

use super::cut_back::write;
use super::pair::{Pair, wait_hit};
use super::{END, FLOW, LIMIT, MIRROR, TOPIC, let_pass, wait_copied};
use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::rec::Rec;
use crate::support::wait_for;

/// It is looked at again and again, but claimed only until it is known where it stands: each claim costs an offset of the mirror's log.
#[test]
fn a_gap_that_halts_its_partition_is_claimed_once() {
    let (pair, sides) = Pair::with_topic(1);
    let records: Vec<Rec> = (0..40)
        .map(|number: i32| Rec::new(0, Some(b"key"), Some(&number.to_be_bytes())))
        .collect();
    sides.source.produce(TOPIC, &records[..20], Producing::default());
    let mut daemon = Daemon::start(&pair.topology(", on_gap: halt"));
    wait_copied(&sides, &daemon);
    daemon.process().kill();
    pair.forget_members();
    sides.source.produce(TOPIC, &records[20..], Producing::default());
    sides.source.delete_records(TOPIC, 0, 30);
    daemon.restart();
    wait_for(LIMIT, "it halts", || match daemon.flow(FLOW).partitions.first() {
        Some(partition) if partition.state == State::Gap => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let end = sides.target.end_offsets(MIRROR);
    // It is tried again after one, two and four seconds.
    let_pass(Duration::from_secs(6));
    assert_eq!(sides.target.end_offsets(MIRROR), end);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    daemon.restart();
    let_pass(Duration::from_secs(2));
    assert_eq!(sides.target.end_offsets(MIRROR), end, "who comes next knows it");
}

/// The same where it was copied until then, and a batch was lost on the way of which nobody knows whether it has arrived.
#[test]
fn a_gap_that_halts_a_partition_in_the_middle_is_claimed_once() {
    let (pair, sides) = Pair::with_topic(1);
    write(&sides.source, "before", 20);
    let mut daemon = Daemon::start(&pair.topology(", on_gap: halt"));
    wait_copied(&sides, &daemon);
    let cut = pair
        .target
        .add_fault(json!({ "kind": "cut", "api": "Produce", "topic": MIRROR, "takes_effect": false }));
    write(&sides.source, "cut off", 20);
    wait_hit(&pair.target, cut);
    sides.source.delete_records(TOPIC, 0, 30);
    pair.target.cluster().control().clear_faults();
    wait_for(LIMIT, "it halts", || match daemon.flow(FLOW).partitions.first() {
        Some(partition) if partition.state == State::Gap && partition.position == Some(20) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let end = sides.target.end_offsets(MIRROR);
    // It is tried again after one, two and four seconds.
    let_pass(Duration::from_secs(8));
    assert_eq!(sides.target.end_offsets(MIRROR), end);
    let partition = daemon.flow(FLOW).partitions.remove(0);
    assert_eq!((partition.state, partition.position), (State::Gap, Some(20)));
    assert_eq!(daemon.stop(END).code(), Some(0));
}
