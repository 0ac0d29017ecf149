//! Runs of offsets that are in step on both sides.

use serde::{Deserialize, Serialize};

use crate::cluster::offsets::is_offset;

/// `length` records at `source`, `source + 1`, … that are at `target`, `target + 1`, … on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(i64, i64, i64)", from = "(i64, i64, i64)")]
pub struct Segment {
    /// The first source offset.
    pub source: i64,
    /// The first target offset.
    pub target: i64,
    /// How many offsets.
    pub length: i64,
}

impl From<Segment> for (i64, i64, i64) {
    fn from(segment: Segment) -> Self {
        (segment.source, segment.target, segment.length)
    }
}

impl From<(i64, i64, i64)> for Segment {
    fn from((source, target, length): (i64, i64, i64)) -> Self {
        Segment {
            source,
            target,
            length,
        }
    }
}

impl Segment {
    /// The source offset after the last one.
    pub fn source_end(&self) -> i64 {
        self.source.saturating_add(self.length)
    }

    /// The target offset after the last one.
    pub fn target_end(&self) -> i64 {
        self.target.saturating_add(self.length)
    }

    /// Whether it can be: a run of records that a log on either side can hold. What is read in the map topic need not be, as anyone
    /// who may write there can write anything.
    pub fn is_sound(&self) -> bool {
        let ends = (self.source.checked_add(self.length)).zip(self.target.checked_add(self.length));
        let has_sound_ends = ends.is_some_and(|(source, target)| is_offset(source) && is_offset(target));
        self.length > 0 && is_offset(self.source) && is_offset(self.target) && has_sound_ends
    }

    /// Whether all of it lies behind another one, on both sides.
    pub fn is_behind(&self, other: &Segment) -> bool {
        self.source >= other.source_end() && self.target >= other.target_end()
    }

    /// Take in the next run, if it is in step.
    fn extend(&mut self, run: Segment) -> bool {
        let in_step = run.source == self.source_end() && run.target == self.target_end();
        let together = self.length.checked_add(run.length).filter(|_| in_step);
        self.length = together.unwrap_or(self.length);
        together.is_some()
    }
}

/// Note that the records of a run are on the other side: the last segment grows, or a new one begins where the step breaks.
pub fn push(segments: &mut Vec<Segment>, run: Segment) {
    if !segments.last_mut().is_some_and(|last| last.extend(run)) {
        segments.push(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::offsets::OFFSET_MAX;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn segments_say_exactly_what_was_pushed(steps in prop::collection::vec((1i64..4, 1i64..4, 1i64..5), 0..200)) {
            let (mut source, mut target) = (0, 0);
            let mut pushed = Vec::new();
            let mut segments = Vec::new();
            for (source_step, target_step, length) in steps {
                source += source_step;
                target += target_step;
                push(&mut segments, Segment { source, target, length });
                pushed.extend((0..length).map(|i| (source + i, target + i)));
                source += length - 1;
                target += length - 1;
            }
            let said: Vec<(i64, i64)> = segments
                .iter()
                .flat_map(|segment| (0..segment.length).map(|i| (segment.source + i, segment.target + i)))
                .collect();
            prop_assert_eq!(said, pushed);
        }
    }

    #[test]
    fn what_is_no_run_of_two_logs_is_not_sound() {
        for (segment, is_sound) in [
            ((0, 0, 1), true),
            ((5, 7, OFFSET_MAX - 7), true),
            ((5, 7, OFFSET_MAX - 6), false),
            ((0, 0, 0), false),
            ((0, 0, -1), false),
            ((-1, 0, 1), false),
            ((0, -1, 1), false),
            ((i64::MAX, 0, 1), false),
            ((1, 1, i64::MAX), false),
            ((i64::MIN, i64::MIN, i64::MIN), false),
        ] {
            assert_eq!(Segment::from(segment).is_sound(), is_sound, "{segment:?}");
        }
    }

    proptest! {
        #[test]
        fn any_runs_are_pushed(runs in prop::collection::vec(any::<(i64, i64, i64)>(), 0..20), at in any::<i64>()) {
            let mut segments = Vec::new();
            for run in runs {
                push(&mut segments, Segment::from(run));
            }
            // In step with one that is as long as can be.
            let mut segments = vec![Segment::from((at, at, i64::MAX))];
            let end = segments[0].source_end();
            push(&mut segments, Segment::from((end, end, i64::MAX)));
            prop_assert_eq!(segments.len(), 2);
        }
    }

    #[test]
    fn a_segment_is_written_as_three_numbers() {
        let segment = Segment {
            source: 5,
            target: 7,
            length: 11,
        };
        assert_eq!(serde_json::to_string(&segment).unwrap(), "[5,7,11]");
    }
}
