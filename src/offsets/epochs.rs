//! Which leader epochs a log had where it was read: with them one can tell whether it is still the log that was read (KIP-101, KIP-320).

use serde::{Deserialize, Serialize};

/// Of no log more epochs are remembered. One is used up by each election of the partition's leader, and a log that is cut back loses
/// the last ones.
const EPOCHS_MAX: usize = 32;

/// Leader epochs in ascending order, each with the first offset that was read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epochs(Vec<(i32, i64)>);

/// Whether a log still holds what was read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// It cannot be told.
    Unknown,
    /// All of it.
    Whole,
    /// What was before this offset.
    Before(i64),
}

/// Asks one epoch after the other where it ends.
#[derive(Debug)]
pub struct Inquiry<'a> {
    left: &'a [(i32, i64)],
    position: i64,
    /// Nothing at or behind this offset is in common.
    upper: i64,
}

impl Epochs {
    /// No epochs: nothing can be told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A batch of this epoch was read at this offset.
    pub fn note(&mut self, epoch: i32, offset: i64) {
        if epoch < 0 || self.0.last().is_some_and(|&(last, _)| last >= epoch) {
            return;
        }
        self.0.push((epoch, offset));
        if self.0.len() > EPOCHS_MAX {
            self.0.remove(0);
        }
    }

    /// What follows was read as well.
    pub fn extend(&mut self, more: &Epochs) {
        more.0
            .iter()
            .for_each(|&(epoch, offset)| self.note(epoch, offset));
    }

    /// Those of what lies before an offset.
    pub fn before(&self, offset: i64) -> Epochs {
        let known = self.0.iter().filter(|&&(_, start)| start < offset);
        Epochs(known.copied().collect())
    }

    /// The epoch of what lies just before an offset.
    pub fn last_before(&self, offset: i64) -> Option<i32> {
        let found = self.0.iter().rev().find(|&&(_, start)| start < offset);
        found.map(|&(epoch, _)| epoch)
    }

    /// What has to be asked to know whether a log holds all that was read before `position`.
    pub fn inquire(&self, position: i64) -> Inquiry<'_> {
        let known = self.0.partition_point(|&(_, start)| start < position);
        Inquiry {
            left: &self.0[..known],
            position,
            upper: position,
        }
    }
}

impl Inquiry<'_> {
    /// The epoch to ask for next; none if nothing is known.
    pub fn epoch(&self) -> Option<i32> {
        self.left.last().map(|&(epoch, _)| epoch)
    }

    /// Takes the answer: the largest epoch of the log that is not beyond the one that was asked for, and where it ends. None as long as
    /// another epoch has to be asked for.
    pub fn answer(&mut self, found: Option<(i32, i64)>) -> Option<Survival> {
        let (Some(&(epoch, start)), Some((found, end))) = (self.left.last(), found) else {
            // The log knows of no epoch so new: it may have been made anew, or its cluster.
            return Some(Survival::Unknown);
        };
        if found == epoch {
            let survived = end.min(self.upper);
            return Some(if survived == self.position {
                Survival::Whole
            } else {
                Survival::Before(survived)
            });
        }
        // It has nothing of this epoch.
        self.upper = self.upper.min(start).min(end);
        self.left = &self.left[..self.left.len() - 1];
        self.left.is_empty().then_some(Survival::Before(self.upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn epochs(known: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        known
            .iter()
            .for_each(|&(epoch, offset)| epochs.note(epoch, offset));
        epochs
    }

    /// A log as its epochs with their first offsets, and its end.
    type Log = (Vec<(i32, i64)>, i64);

    /// As Kafka answers.
    fn end_of((entries, end): &Log, epoch: i32) -> Option<(i32, i64)> {
        let latest = entries.last()?;
        if latest.0 == epoch {
            return Some((epoch, *end));
        }
        let higher = entries.iter().find(|entry| entry.0 > epoch)?;
        let floor = entries.iter().rev().find(|entry| entry.0 <= epoch);
        Some((floor.map_or(epoch, |floor| floor.0), higher.1))
    }

    fn survival(read: &Epochs, position: i64, log: &Log) -> Survival {
        let mut inquiry = read.inquire(position);
        while let Some(epoch) = inquiry.epoch() {
            if let Some(survival) = inquiry.answer(end_of(log, epoch)) {
                return survival;
            }
        }
        Survival::Unknown
    }

    #[test]
    fn a_log_that_only_grew_holds_all_of_it() {
        let read = epochs(&[(0, 0), (3, 100)]);
        let log = (vec![(0, 0), (3, 100), (4, 200)], 250);
        assert_eq!(survival(&read, 200, &log), Survival::Whole);
        assert_eq!(survival(&read, 150, &log), Survival::Whole);
    }

    #[test]
    fn a_log_that_was_cut_back_and_has_grown_again_holds_what_was_before() {
        let read = epochs(&[(0, 0), (3, 100)]);
        let log = (vec![(0, 0), (3, 100), (4, 130)], 400);
        assert_eq!(survival(&read, 200, &log), Survival::Before(130));
        let log = (vec![(0, 0), (4, 70)], 400);
        assert_eq!(survival(&read, 200, &log), Survival::Before(70));
        // The one that leads now had more of the old epoch than was read of it before the next one.
        let log = (vec![(0, 0), (4, 170)], 400);
        assert_eq!(survival(&read, 200, &log), Survival::Before(100));
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known() {
        let log = (vec![(0, 0)], 400);
        assert_eq!(survival(&Epochs::default(), 200, &log), Survival::Unknown);
        assert_eq!(survival(&epochs(&[(7, 0)]), 200, &log), Survival::Unknown);
    }

    #[test]
    fn as_many_are_remembered_as_there_is_room_for() {
        let mut read = Epochs::default();
        (0..100).for_each(|epoch| read.note(epoch, i64::from(epoch) * 10));
        assert_eq!(read.0.len(), EPOCHS_MAX);
        assert_eq!(read.last_before(985), Some(98));
    }

    proptest! {
        #[test]
        fn what_two_logs_have_in_common_is_found(
            common in prop::collection::vec(1i64..20, 1..5),
            mine in prop::collection::vec(1i64..20, 0..4),
            theirs in prop::collection::vec(1i64..20, 0..4),
        ) {
            // Both have the same epochs up to a point; from there on each epoch belongs to one of them alone.
            let (mut log, mut read, mut at, mut epoch) = (Vec::new(), Epochs::default(), 0, 0);
            for length in common {
                log.push((epoch, at));
                read.note(epoch, at);
                (at, epoch) = (at + length, epoch + 1);
            }
            let (shared, mut position) = (at, at);
            for length in &mine {
                read.note(epoch, position);
                (position, epoch) = (position + length, epoch + 1);
            }
            for length in theirs {
                log.push((epoch, at));
                (at, epoch) = (at + length, epoch + 1);
            }
            let found = survival(&read, position, &(log.clone(), at));
            let unknown = !mine.is_empty() && log.last().is_some_and(|last| last.1 < shared);
            if unknown {
                // Nobody has written since: the log knows of no epoch beyond those in common.
                prop_assert_eq!(found, Survival::Unknown);
            } else if position == shared {
                prop_assert_eq!(found, Survival::Whole);
            } else {
                prop_assert_eq!(found, Survival::Before(shared));
            }
        }
    }
}
