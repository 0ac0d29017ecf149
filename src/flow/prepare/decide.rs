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
        let reason = format!(
            "source offsets {position} to {} were deleted before they could be copied. To go on after them, set on_gap: record",
            start - 1
        );
        return Decision::Halt {
            state: State::Gap,
            reason,
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
