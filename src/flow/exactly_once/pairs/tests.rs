//! Logs that were copied in part, and lost some of it since, against what is found out about them.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;

/// A record: its key, and what else it contains.
type Record = (u8, u8);

/// A source, what is copied of it, and what became of it since.
#[derive(Debug)]
struct Story {
    /// By offset; none is a marker.
    log: Vec<Option<Record>>,
    anchor: usize,
    /// All before is copied.
    copied: usize,
    /// Where the log begins now.
    start: usize,
    /// What compaction has taken.
    taken: HashSet<usize>,
}

impl Story {
    /// The target's records: it has no markers.
    fn tail(&self) -> Vec<Record> {
        self.log[self.anchor..self.copied]
            .iter()
            .copied()
            .flatten()
            .collect()
    }

    /// What the source still has from an offset on.
    fn rest(&self, from: usize) -> impl Iterator<Item = (usize, Record)> {
        let there = (from.max(self.start)..self.log.len()).filter(|offset| !self.taken.contains(offset));
        there.filter_map(|offset| Some((offset, self.log[offset]?)))
    }

    fn holes(&self) -> Holes {
        let from = self.anchor.max(self.start);
        if self.taken.iter().any(|offset| *offset >= from) {
            return Holes::Compacted;
        }
        match self.log.get(from..).is_some_and(|rest| rest.contains(&None)) {
            true => Holes::Markers,
            false => Holes::None,
        }
    }

    /// Where copying would go on, and how many records of the tail were found.
    fn found(&self) -> (usize, i64) {
        let mut wanted = InOrder::default();
        for (target, record) in (1000..).zip(self.tail()) {
            wanted.push(target, digest(record));
        }
        let mut pairs = Pairs::new(wanted, self.anchor as i64, true);
        for (offset, record) in self.rest(self.anchor) {
            if pairs.pass(offset as i64, digest(record), self.holes()).is_break() {
                break;
            }
        }
        let (counted, found) = pairs.end(self.start as i64);
        (usize::try_from(counted.position).expect("an offset"), found)
    }
}

fn digest((key, value): Record) -> Digest {
    Digest {
        record: u128::from(key) << 8 | u128::from(value),
        key: Some(key.into()),
    }
}

/// Logs with markers or without, of records that are often equal. The first parts say where the anchor is and how far it is copied and deleted.
fn stories(has_markers: bool) -> impl Strategy<Value = Story> {
    let record = (0..3u8, 0..2u8);
    let entry = prop_oneof![4 => record.prop_map(Some), 1 => Just(None)];
    let entry = entry.prop_map(move |entry| entry.or((!has_markers).then_some((0, 0))));
    let log = prop::collection::vec(entry, 1..30);
    (log, [0..30usize, 0..30, 0..30]).prop_map(|(log, places)| {
        let [mut anchor, mut copied, start] = places.map(|place| place % (log.len() + 1));
        if anchor > copied {
            std::mem::swap(&mut anchor, &mut copied);
        }
        Story {
            log,
            anchor,
            copied,
            start,
            taken: HashSet::new(),
        }
    })
}

/// The last value of each key.
fn state(records: impl IntoIterator<Item = Record>) -> BTreeMap<u8, u8> {
    records.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn without_holes_copying_goes_on_exactly_where_it_was(story in stories(false)) {
        prop_assert_eq!(story.found().0, story.copied);
    }

    #[test]
    fn no_record_is_passed_over_that_was_not_copied(story in stories(true)) {
        let (position, _) = story.found();
        let lost: Vec<_> = (story.copied..position).filter(|offset| story.log[*offset].is_some()).collect();
        prop_assert!(lost.is_empty(), "{lost:?} are lost");
    }

    #[test]
    fn records_that_differ_come_once_where_the_source_has_some_of_them_yet(mut story in stories(true), start in 0..5usize) {
        for (number, record) in (0..).zip(story.log.iter_mut().flatten()) {
            *record = (number, 0);
        }
        story.start = story.anchor + start;
        let records = story.tail().len();
        // What is sure to be copied has a record yet.
        let is_anchored = story.rest(story.anchor).next().is_some_and(|(offset, _)| offset < story.anchor + records);
        if !is_anchored || story.start >= story.copied {
            return Ok(());
        }
        let (position, _) = story.found();
        let twice: Vec<_> = (position..story.copied).filter(|offset| story.log[*offset].is_some()).collect();
        prop_assert!(twice.is_empty(), "{twice:?} come twice");
    }

    #[test]
    fn a_compacted_source_has_the_same_last_value_of_each_key(mut story in stories(false), taken in prop::collection::vec(any::<bool>(), 30)) {
        story.start = 0;
        let is_superseded = |offset: &usize| {
            let (key, _) = story.log[*offset].expect("it has no markers");
            story.log[offset + 1..].iter().flatten().any(|(other, _)| *other == key)
        };
        story.taken = (0..story.log.len()).filter(|offset| taken[*offset] && is_superseded(offset)).collect();
        let (position, _) = story.found();
        let before = story.log[..story.anchor].iter().copied().flatten();
        let mirror = before.chain(story.tail()).chain(story.rest(position).map(|(_, record)| record));
        prop_assert_eq!(state(mirror), state(story.log.iter().copied().flatten()));
    }
}
