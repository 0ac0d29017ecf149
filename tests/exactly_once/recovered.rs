//! What was copied without a fact about it is found again, also where the logs are not as they were.

use serde_json::json;

use super::cut_back::{cut_built_in, write};
use super::pair::Pair;
use super::{END, LIMIT, MAP, MIRROR, Rig, SOURCE, TARGET, TOPIC, wait_copied};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::exact::Exact;
use crate::support::rec::Rec;
use crate::support::wait_until;

#[test]
fn records_that_are_equal_to_each_other_are_all_copied_though_the_source_lost_some_meanwhile() {
    let (pair, sides) = Pair::with_topic(1);
    write(&sides.source, "before", 16);
    let mut daemon = pair.daemon(", on_gap: record");
    wait_copied(&sides, &daemon);
    wait_until(LIMIT, "on record", || {
        Exact::read(&sides).positions.get(&0).map(|found| found.0) == Some(16)
    });
    pair.target.add_fault(
        json!({ "kind": "error", "api": "Produce", "error": "TOPIC_AUTHORIZATION_FAILED", "topic": MAP }),
    );
    let equal: Vec<Rec> = (0..20)
        .map(|_| Rec::new(0, Some(b"key"), Some(b"equal")).at(1_000_000_000_000))
        .collect();
    sides.source.produce(TOPIC, &equal, Producing::default());
    wait_copied(&sides, &daemon);
    daemon.process().kill();
    pair.target.cluster().control().clear_faults();
    pair.forget_members();
    // Ten of those that are copied and not on record are gone, and ten that are equal to them follow.
    sides.source.delete_records(TOPIC, 0, 26);
    sides.source.produce(TOPIC, &equal[..10], Producing::default());
    daemon.restart();
    wait_copied(&sides, &daemon);
    daemon.stop(END);
    assert_eq!(sides.target.read(MIRROR).len(), 46);
}

#[test]
fn a_mirror_that_lost_its_last_batch_gets_that_again_and_no_more_though_its_daemon_had_copied_nothing() {
    let mut rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let sides = rig.sides();
    let mut daemon = Daemon::start(&rig.topology());
    for _ in 0..10 {
        write(&sides.source, "before", 40);
        wait_copied(&sides, &daemon);
    }
    // Nothing can be counted from its beginning.
    sides.source.delete_records(TOPIC, 0, 20);
    for _ in 0..2 {
        assert_eq!(daemon.stop(END).code(), Some(0));
        daemon.restart();
        wait_copied(&sides, &daemon);
    }
    assert_eq!(daemon.stop(END).code(), Some(0));
    let had = sides.target.read(MIRROR).len();
    let end = sides.target.end_offsets(MIRROR)[0];
    let cut = cut_built_in(&mut rig.target, MIRROR, end - 1);
    assert!(cut < end, "the mirror has lost its last batch");
    daemon.restart();
    // Until its daemon has looked at the mirror, the status says what is on record.
    wait_until(LIMIT, "what was lost is there again", || {
        sides.target.read(MIRROR).len() >= had
    });
    daemon.stop(END);
    assert_eq!(sides.target.read(MIRROR).len(), had);
}

/// What was copied behind a gap is looked for behind it, from the first record on.
#[test]
fn a_daemon_that_is_killed_right_behind_a_gap_repeats_nothing() {
    let (pair, sides) = Pair::with_topic(1);
    write(&sides.source, "before", 100);
    let mut daemon = pair.daemon(", on_gap: record");
    wait_copied(&sides, &daemon);
    assert_eq!(daemon.stop(END).code(), Some(0));
    let mut expected = 100;
    for _ in 0..3 {
        write(&sides.source, "deleted before they could be copied", 400);
        let end = sides.source.end_offsets(TOPIC)[0];
        sides.source.delete_records(TOPIC, 0, end);
        write(&sides.source, "behind the gap", 200);
        expected += 200;
        daemon.restart();
        wait_until(LIMIT, "some of it is on the mirror", || {
            sides.target.end_offsets(MIRROR)[0] > expected - 200
        });
        daemon.process().kill();
        pair.forget_members();
        daemon.restart();
        wait_copied(&sides, &daemon);
        assert_eq!(daemon.stop(END).code(), Some(0));
        assert_eq!(
            sides.target.read(MIRROR).len() as i64,
            expected,
            "{}",
            daemon.process().stderr_tail()
        );
    }
}
