//! Where a partition goes on, by what is known of it.

use super::*;
use expect_test::{Expect, expect};

fn mirror() -> Mirror {
    Mirror {
        topic: "orders".into(),
        target_topic: "primary.orders".into(),
        partitions: 1,
        source_id: Some("source-1".into()),
        target_id: Some("target-1".into()),
        problem: None,
        is_unseen: false,
    }
}

fn known(position: i64) -> Known {
    Known {
        position,
        target_position: Some(7),
        source_id: Some("source-1".into()),
        target_id: Some("target-1".into()),
        producer: None,
        released: false,
        segments: Vec::new(),
        epochs: Epochs::default(),
        lost_from: None,
    }
}

fn check(known: Option<Known>, (start, end): (i64, i64), policies: (OnGap, OnRecreated), expected: Expect) {
    let decision = decide(known, &mirror(), (start, end), None, policies);
    expected.assert_eq(&format!("{decision:?}"));
}

const DEFAULTS: (OnGap, OnRecreated) = (OnGap::Record, OnRecreated::Halt);

#[test]
fn a_partition_that_was_never_copied_begins_where_the_source_begins() {
    check(
        None,
        (3, 10),
        DEFAULTS,
        expect!["Copy { at: 3, target_position: None, gap: None, note: None, is_new_log: false }"],
    );
}

#[test]
fn a_partition_goes_on_at_its_position() {
    check(
        Some(known(5)),
        (3, 10),
        DEFAULTS,
        expect!["Copy { at: 5, target_position: Some(7), gap: None, note: None, is_new_log: false }"],
    );
}

#[test]
fn records_that_are_gone_are_a_gap_with_exact_offsets() {
    check(
        Some(known(5)),
        (8, 10),
        DEFAULTS,
        expect!["Copy { at: 8, target_position: Some(7), gap: Some((5, 8)), note: None, is_new_log: false }"],
    );
    check(
        Some(known(5)),
        (8, 10),
        (OnGap::Halt, OnRecreated::Halt),
        expect![[
            r#"Halt { state: Gap, reason: "source offsets 5 to 7 were deleted before they could be copied. To go on after them, set on_gap: record", offsets: Some((5, 7)) }"#
        ]],
    );
}

#[test]
fn a_log_that_moved_backwards_is_not_copied_over_the_old_one() {
    check(
        Some(known(50)),
        (0, 10),
        DEFAULTS,
        expect![[
            r#"Halt { state: Recreated, reason: "the source's log ends at 10, before the position 50: it was truncated, or made again. To copy the new log behind the old one, set on_recreated: follow; to begin anew, delete primary.orders on the target", offsets: None }"#
        ]],
    );
}

#[test]
fn a_topic_made_again_is_told_by_its_id_even_if_it_is_longer() {
    let before = Known {
        source_id: Some("source-0".into()),
        ..known(5)
    };
    check(
        Some(before.clone()),
        (0, 100),
        DEFAULTS,
        expect![[
            r#"Halt { state: Recreated, reason: "the source topic was deleted and made again. To copy the new log behind the old one, set on_recreated: follow; to begin anew, delete primary.orders on the target", offsets: None }"#
        ]],
    );
    check(
        Some(before),
        (0, 100),
        (OnGap::Record, OnRecreated::Follow),
        expect![[
            r#"Copy { at: 0, target_position: Some(7), gap: None, note: Some("the source topic was deleted and made again: following the new log from 0"), is_new_log: true }"#
        ]],
    );
}

#[test]
fn a_mirror_topic_made_again_is_filled_again() {
    let before = Known {
        target_id: Some("target-0".into()),
        ..known(5)
    };
    check(
        Some(before),
        (2, 10),
        DEFAULTS,
        expect![[
            r#"Copy { at: 2, target_position: None, gap: None, note: Some("primary.orders was made anew on the target: copying again from the start"), is_new_log: false }"#
        ]],
    );
}
