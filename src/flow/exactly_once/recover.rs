//! How far the source is copied, from what the target's tail holds.

use heliostat_wire::batch::{BatchError, BatchView};
use heliostat_wire::convert::Ready;

use super::align::{Stamps, digests};
use crate::offsets::segments::{self, Segment};

/// Walks along the source until so many of its records have been passed as the tail holds, and pairs offsets on the way.
#[derive(Debug)]
pub(super) struct Count {
    /// Target offsets that are not paired yet, in order: first, and how many.
    target: std::vec::IntoIter<(i64, i64)>,
    open: (i64, i64),
    left: i64,
    segments: Vec<Segment>,
    /// The source offset after the last record that was paired.
    position: i64,
    /// How many segments are kept, and whether there were more.
    segments_max: usize,
    is_cut: bool,
}

/// What a walk has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Where the records landed.
    pub(super) segments: Vec<Segment>,
    /// The next source offset to copy.
    pub(super) position: i64,
}

impl Count {
    /// From a source offset, for the records at these target offsets.
    pub(super) fn new(source: i64, runs: Vec<(i64, i64)>) -> Count {
        Count {
            left: runs.iter().map(|(_, count)| count).sum(),
            target: runs.into_iter(),
            open: (0, 0),
            segments: Vec::new(),
            position: source,
            segments_max: usize::MAX,
            is_cut: false,
        }
    }

    /// If there are more segments than so many, only the last is kept.
    pub(super) fn of_at_most(self, segments_max: usize) -> Count {
        Count { segments_max, ..self }
    }

    /// Whether there were more segments than are kept.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether the walk is over.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Passes a batch of the source. If the walk ends in it, returns whether its last record there has this digest.
    pub(super) fn pass(&mut self, ready: &Ready, last: (u128, Stamps)) -> Result<Option<bool>, BatchError> {
        let taken = self.left.min(i64::from(ready.records));
        if taken == 0 {
            return Ok(None);
        }
        self.left -= taken;
        let mut to_pair = taken;
        for &(source, count) in ready.source.runs() {
            let count = i64::from(count).min(to_pair);
            to_pair -= count;
            self.pair(source, count);
        }
        let whole = taken == i64::from(ready.records);
        let end = ready
            .source
            .offset_of(taken - 1)
            .map_or(self.position, |last| last + 1);
        self.position = if whole { ready.next } else { end };
        if self.left > 0 {
            return Ok(None);
        }
        let batch = BatchView::parse(ready.bytes.as_bytes())?;
        let index = usize::try_from(taken - 1).unwrap_or(0);
        let found = digests(&batch, last.1)?;
        Ok(Some(
            found
                .get(index)
                .is_some_and(|(_, digest)| digest.record == last.0),
        ))
    }

    /// What was found.
    pub(super) fn end(self) -> Counted {
        Counted {
            segments: self.segments,
            position: self.position,
        }
    }

    fn pair(&mut self, mut source: i64, mut count: i64) {
        while count > 0 {
            if self.open.1 == 0 {
                let Some(next) = self.target.next() else { return };
                self.open = next;
            }
            let length = count.min(self.open.1);
            let run = Segment {
                source,
                target: self.open.0,
                length,
            };
            segments::push(&mut self.segments, run);
            if self.segments.len() > self.segments_max {
                self.segments.drain(..self.segments.len() - 1);
                self.is_cut = true;
            }
            source += length;
            count -= length;
            self.open = (self.open.0 + length, self.open.1 - length);
        }
    }
}
