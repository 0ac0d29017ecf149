//! The pure part: how to go on with a partition, by what is known of it.

use super::{Decision, Known};
use crate::flow::discover::Mirror;
use crate::observe::status::State;
use crate::topology::{OnGap, OnRecreated};

/// Whether two ids are known and differ.
pub(super) fn other(then: Option<&String>, now: Option<&String>) -> bool {
    matches!((then, now), (Some(then), Some(now)) if then != now)
}

/// `start` and `end` are the source's, as readers of committed records see them; `recreated` is what says that its log is another one, where
/// neither id nor length do.
pub(super) fn decide(
    known: Option<Known>,
    mirror: &Mirror,
    (start, end): (i64, i64),
    recreated: Option<&str>,
    (on_gap, on_recreated): (OnGap, OnRecreated),
) -> Decision {
    let from_the_start = |note: Option<String>| Decision::Copy {
        at: start,
        target_position: None,
        gap: None,
        note,
        is_new_log: false,
    };
    let Some(known) = known else {
        return from_the_start(None);
    };
    if other(known.target_id.as_ref(), mirror.target_id.as_ref()) {
        let note = format!(
            "{} was made anew on the target: copying again from the start",
            mirror.target_topic
        );
        return from_the_start(Some(note));
    }
    let position = known.position;
    let recreated = if other(known.source_id.as_ref(), mirror.source_id.as_ref()) {
        Some("the source topic was deleted and made again".to_string())
    } else if position > end {
        Some(format!(
            "the source's log ends at {end}, before the position {position}: it was truncated, or made again"
        ))
    } else {
        recreated.map(str::to_owned)
    };
    match (recreated, on_recreated) {
        (None, _) => {}
        (Some(what), OnRecreated::Follow) => {
            let note = format!("{what}: following the new log from {start}");
            return Decision::Copy {
                at: start,
                target_position: known.target_position,
                gap: None,
                note: Some(note),
                is_new_log: true,
            };
        }
        (Some(what), OnRecreated::Halt) => {
            let reason = format!(
                "{what}. To copy the new log behind the old one, set on_recreated: follow; to begin anew, delete {} on the target",
                mirror.target_topic
            );
            return Decision::Halt {
                state: State::Recreated,
                reason,
                offsets: None,
            };
        }
    }
    if position < start && on_gap == OnGap::Halt {
        return Decision::Halt {
            state: State::Gap,
            reason: gap_reason(position, start),
            offsets: Some((position, start - 1)),
        };
    }
    Decision::Copy {
        at: position.max(start),
        target_position: known.target_position,
        gap: (position < start).then_some((position, start)),
        note: None,
        is_new_log: false,
    }
}

/// Why nothing is copied where the source has deleted what comes next, and the topology file says to halt.
pub fn gap_reason(position: i64, start: i64) -> String {
    let behind = if start - position == 1 { "it" } else { "them" };
    format!(
        "{}. To go on after {behind}, set on_gap: record",
        deleted(position, start)
    )
}

/// That source offsets, from one up to another, are gone.
pub fn deleted(from: i64, to: i64) -> String {
    match to - 1 {
        last if last == from => format!("source offset {from} was deleted before it could be copied"),
        last => format!("source offsets {from} to {last} were deleted before they could be copied"),
    }
}
