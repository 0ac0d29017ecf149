//! Which leader epochs a log had where it was read: with them one can tell whether it is still the log that was read (KIP-101, KIP-320).

use serde::{Deserialize, Serialize};

use crate::cluster::offsets::is_offset;

/// Of no log more epochs are remembered. One is used up by each election of the partition's leader, and a log that is cut back loses
/// the last ones.
const EPOCHS_MAX: usize = 32;

/// Leader epochs in ascending order, each with the first offset that was read of it; the offsets ascend as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(i32, i64)>", into = "Vec<(i32, i64)>")]
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

/// From a topic that others may write to: in their order, and no more than there is room for.
impl From<Vec<(i32, i64)>> for Epochs {
    fn from(known: Vec<(i32, i64)>) -> Self {
        let mut epochs = Epochs::default();
        for (epoch, offset) in known {
            epochs.note(epoch, offset);
        }
        epochs
    }
}

impl From<Epochs> for Vec<(i32, i64)> {
    fn from(epochs: Epochs) -> Self {
        epochs.0
    }
}

impl Epochs {
    /// No epochs: nothing can be told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A batch of this epoch was read at this offset.
    pub fn note(&mut self, epoch: i32, offset: i64) {
        if epoch < 0 || !is_offset(offset) || self.0.last().is_some_and(|&(last, _)| last >= epoch) {
            return;
        }
        // A log in which a later epoch begins there does not hold what was read of earlier ones from there on.
        while self.0.last().is_some_and(|&(_, start)| start >= offset) {
            self.0.pop();
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

    #[test]
    fn epochs_are_written_as_pairs_and_read_in_their_order() {
        let json = |epochs: &Epochs| serde_json::to_string(epochs).unwrap();
        let read = |json: &str| serde_json::from_str::<Epochs>(json).unwrap();
        let known = epochs(&[(0, 0), (3, 100)]);
        assert_eq!(json(&known), "[[0,0],[3,100]]");
        assert_eq!(read(&json(&known)), known);
        assert_eq!(read("[[3,100],[0,0],[-1,7],[4,-1]]"), epochs(&[(3, 100)]));
        assert_eq!(read("[[0,0],[1,50],[2,40]]"), epochs(&[(0, 0), (2, 40)]));
        let many: Vec<(i32, i64)> = (0..10_000).map(|epoch| (epoch, i64::from(epoch))).collect();
        assert_eq!(read(&serde_json::to_string(&many).unwrap()).0.len(), EPOCHS_MAX);
    }

    proptest! {
        #[test]
        fn any_epochs_are_in_their_order(known in prop::collection::vec(any::<(i32, i64)>(), 0..80), at in any::<i64>()) {
            let read = Epochs::from(known);
            prop_assert!(read.0.len() <= EPOCHS_MAX);
            prop_assert!(read.0.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
            let mut inquiry = read.inquire(at);
            while inquiry.epoch().is_some() && inquiry.answer(Some((-1, at))).is_none() {}
        }

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
