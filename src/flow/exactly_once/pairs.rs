//! Finding out by content how far a source is copied, where counting does not tell.
//!
//! The tail of the mirror has what was copied from a known source offset on. Each record of it stands for a source offset of its own, so that the
//! source is copied at least as far as the tail has records ([`Pairs::new`]). What the source still has up to there was copied, and is only paired.
//! Beyond that a record that is equal to one of the tail may be another one that came later: it counts as copied where nothing else can be
//! meant, or where it makes no difference, and is copied again otherwise.

use std::ops::ControlFlow;

use super::align::{Digest, InOrder, Place};
use super::recover::Counted;
use crate::offsets::segments::{self, Segment};

/// Pairs the source's records, which come in order, with those of the tail.
#[derive(Debug)]
pub(super) struct Pairs {
    wanted: InOrder,
    /// The source offset of the tail's first record, or one before it.
    source: i64,
    /// Before this source offset everything was copied.
    lower: i64,
    found: Found,
    /// Of one of the records before `lower` it is sure which one of the tail it is.
    is_anchored: bool,
    /// By its place there were holes before it.
    had_holes: bool,
    /// What was found beyond `lower`, and of that what is sure.
    beyond: Found,
    doubtful: Vec<(i64, i64)>,
    /// A record that is not copied is equal to one of the tail: content tells nothing here.
    is_repetitive: bool,
}

/// Of which source offsets no record is copied, as far as that can be seen. Where there are such, more of the source may be copied than there are
/// records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holes {
    /// Of none.
    None,
    /// Of markers of transactions, and of what was aborted.
    Markers,
    /// Also of records that compaction has taken.
    Compacted,
}

#[derive(Debug, Default)]
struct Found {
    segments: Vec<Segment>,
    /// The next source offset.
    position: Option<i64>,
    records: i64,
}

impl Found {
    fn push(&mut self, source: i64, target: i64) {
        let run = Segment {
            source,
            target,
            length: 1,
        };
        segments::push(&mut self.segments, run);
        self.position = Some(source + 1);
        self.records += 1;
    }
}

impl Pairs {
    /// For these records of a tail, copied from `source` on. If `is_whole` it has all that was copied from there on, in order.
    pub(super) fn new(wanted: InOrder, source: i64, is_whole: bool) -> Pairs {
        let records = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        Pairs {
            lower: if is_whole {
                source.saturating_add(records)
            } else {
                source
            },
            wanted,
            source,
            found: Found::default(),
            is_anchored: false,
            had_holes: false,
            beyond: Found::default(),
            doubtful: Vec::new(),
            is_repetitive: false,
        }
    }

    /// The next record of the source. Breaks at the first that is to be copied.
    pub(super) fn pass(&mut self, source: i64, digest: Digest, holes: Holes) -> ControlFlow<()> {
        // No record of the tail can be of an earlier offset than it would be without any holes.
        let last = source.saturating_sub(self.source);
        let is_beyond = source >= self.lower;
        let exact = match is_beyond {
            true => None,
            false => self.wanted.find_at(last, digest.record),
        };
        let Some(place) = exact.or_else(|| self.wanted.find(digest.record, last)) else {
            self.is_repetitive |= self.wanted.has(digest.record);
            return ControlFlow::Break(());
        };
        if !is_beyond {
            if place.is_unique {
                self.is_anchored = true;
                // Those that the source does not have any more count too.
                self.had_holes |= place.index < last;
            }
            self.found.push(source, place.target);
            return ControlFlow::Continue(());
        }
        let holes = match self.had_holes {
            true => holes.max(Holes::Markers),
            false => holes,
        };
        match holes {
            Holes::Markers if self.is_anchored => self.note_beyond(source, place),
            // If it is another one, the mirror has the same last of its key.
            Holes::Compacted if place.is_last_of_key => self.beyond.push(source, place.target),
            _ => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// The source was deleted from its beginning at most: if this is a record of the tail, those before it are too.
    fn note_beyond(&mut self, source: i64, place: Place) {
        self.doubtful.push((source, place.target));
        if place.is_unique {
            for (source, target) in self.doubtful.drain(..) {
                self.beyond.push(source, target);
            }
        }
    }

    /// All that the source has before this offset was passed.
    pub(super) fn passed_to(&mut self, next: i64) {
        if self.doubtful.is_empty() {
            let found = match self.beyond.records {
                0 => &mut self.found,
                _ => &mut self.beyond,
            };
            if let Some(position) = &mut found.position {
                *position = next;
            }
        }
    }

    /// Where records landed, how far the source is copied at least, and how many records of the tail were found. The source begins at `start`.
    pub(super) fn end(mut self, start: i64) -> (Counted, i64) {
        if !self.is_repetitive {
            for segment in self.beyond.segments {
                segments::push(&mut self.found.segments, segment);
            }
            self.found.position = self.beyond.position.or(self.found.position);
            self.found.records += self.beyond.records;
        }
        // What the source has lost since was copied as far as is known.
        let position = self
            .found
            .position
            .unwrap_or(self.lower.min(start.max(self.source)));
        let counted = Counted {
            segments: self.found.segments,
            position,
        };
        (counted, self.found.records)
    }
}

#[cfg(test)]
mod tests;
