//! Whether the mirror's log still holds what is on record: it may have lost its end in an unclean election, and have grown again since.
//!
//! Where it did, markers of those who claimed it later, or records of others, lie where copied records were; or what its owner wrote before it
//! noticed: a log that has lost everything knows no producer, and takes its next batch as if it were the first. So records are held against those
//! of the source.

use std::iter::once;
use std::ops::Range;

use heliostat_wire::batch::{BatchError, BatchView, Batches};
use heliostat_wire::convert::{Converter, Options};

use super::align::{Stamps, digests};
use super::reader::{Chunk, Reader};
use super::take::{Anchor, NotTaken, Sides, on};
use crate::flow::engine::Side;
use crate::offsets::segments::Segment;

/// So many places are looked at, ever further away, where compaction has left nothing to compare.
const LOOKS: u32 = 8;

/// What lies on the mirror where a record was copied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The record, or nothing any more since retention has deleted it on one of the sides: so far nothing can be copied again.
    Held,
    /// Something else; if it is no marker, of which producer.
    Other {
        /// Its id.
        by: Option<i64>,
    },
    /// Compaction has left nothing to compare.
    Unclear,
}

/// What is left of an anchor, and what happened if that is not all of it.
#[derive(Default)]
pub(super) struct Held {
    /// None if nothing of what is known of it is left.
    pub(super) anchor: Option<Anchor>,
    pub(super) loss: Option<String>,
}

impl Sides<'_> {
    /// Holds the last fact against the mirror's log, which begins at `start` and ends at `end`.
    pub(super) async fn held(&self, anchor: Anchor, (start, end): (i64, i64)) -> Result<Held, NotTaken> {
        let places = Places::before(&anchor.segments, anchor.source, anchor.target.min(end));
        let looker = self.looker(places, start).await?;
        let is_short = anchor.target > end;
        let last = looker.last().await?;
        if !is_short && !matches!(last, Some((_, Look::Other { .. }))) {
            let anchor = Some(anchor);
            return Ok(Held { anchor, loss: None });
        }
        let lost = match (is_short, last) {
            (false, Some((_, Look::Other { by: Some(by) }))) if anchor.producer.is_some_and(|(id, _)| id == by) => {
                "the mirror does not have what the source has in the places of what was copied last: its log has lost its end and has grown since, or the source's log has".to_owned()
            }
            _ => format!(
                "the mirror's log has lost its end: {} was on record, it ends at {end}",
                anchor.target
            ),
        };
        let Some((source, target)) = looker.last_held().await? else {
            let what = match anchor.lost_from {
                Some(_) => "nothing of what was copied last is there: copying again from the start",
                None => "how far it goes is looked for by content",
            };
            let loss = Some(format!("{lost}, and {what}"));
            return Ok(Held { anchor: None, loss });
        };
        let source = (source + 1).min(anchor.source);
        let loss = Some(format!(
            "{lost}, and what was copied is there up to {target}; copying again from source offset {source}"
        ));
        let anchor = Anchor {
            source,
            target: target + 1,
            released: false,
            segments: Vec::new(),
            ..anchor
        };
        let anchor = Some(anchor);
        Ok(Held { anchor, loss })
    }

    /// For looking at these places of the mirror, whose log begins at `start`.
    pub(super) async fn looker(&self, places: Places, start: i64) -> Result<Looker<'_>, NotTaken> {
        let source = self.source_reader();
        let on_source = match places.is_empty() {
            true => 0..0,
            false => {
                let first = source.start().await.map_err(on(Side::Source))?;
                first..source.end().await.map_err(on(Side::Source))?
            }
        };
        Ok(Looker {
            mirror: self.target_reader(),
            source,
            options: self.options,
            places,
            start,
            on_source,
        })
    }
}

/// Looks at what lies where records were copied to.
pub(super) struct Looker<'a> {
    mirror: Reader<'a>,
    source: Reader<'a>,
    options: Options,
    places: Places,
    /// Where the mirror's log begins.
    start: i64,
    /// What the source's log has.
    on_source: Range<i64>,
}

impl Looker<'_> {
    /// The last place of which it can be told what lies there.
    pub(super) async fn last(&self) -> Result<Option<(i64, Look)>, NotTaken> {
        match self.places.count {
            0 => Ok(None),
            count => self.look_back(count - 1, 0).await,
        }
    }

    /// Source and target offset of the last of the records that are where they were copied to, with all before it. Where it cannot be told, they
    /// are taken for lost: they come twice then, and none is missing.
    pub(super) async fn last_held(&self) -> Result<Option<(i64, i64)>, NotTaken> {
        let (mut from, mut to) = (0, self.places.count);
        while from < to {
            let middle = from + (to - from) / 2;
            let found = match self.look_back(middle, from).await? {
                None => self.look_ahead(middle, to).await?,
                found => found,
            };
            match found {
                Some((at, Look::Held)) => from = at + 1,
                Some((at, Look::Other { .. })) if at <= middle => to = at,
                _ => to = from,
            }
        }
        Ok(self.places.get(from - 1))
    }

    /// The first place from `index` back to `floor` of which it can be told.
    async fn look_back(&self, index: i64, floor: i64) -> Result<Option<(i64, Look)>, NotTaken> {
        let back = (0..LOOKS).map(|look| index.saturating_sub((1 << look) - 1));
        let back = back.take_while(|at| *at > floor).chain(once(floor));
        self.first_clear(back.take(LOOKS as usize)).await
    }

    /// The first place behind `index` and before `end` of which it can be told.
    async fn look_ahead(&self, index: i64, end: i64) -> Result<Option<(i64, Look)>, NotTaken> {
        let ahead = (0..LOOKS).map(|look| index.saturating_add(1 << look));
        self.first_clear(ahead.take_while(|at| *at < end)).await
    }

    async fn first_clear(&self, places: impl Iterator<Item = i64>) -> Result<Option<(i64, Look)>, NotTaken> {
        for at in places {
            match self.look(at).await? {
                Look::Unclear => {}
                found => return Ok(Some((at, found))),
            }
        }
        Ok(None)
    }

    /// What lies where a record was copied to.
    async fn look(&self, index: i64) -> Result<Look, NotTaken> {
        // What lies before the start was deleted as retention does, and cannot be read.
        let Some((source, target)) = self.places.get(index).filter(|(_, target)| *target >= self.start)
        else {
            return Ok(Look::Held);
        };
        let chunk = self.mirror.read_little(target).await.map_err(on(Side::Target))?;
        let found = covering(&chunk, target).map_err(on(Side::Target))?;
        let Some(batch) = found else {
            return Ok(Look::Unclear);
        };
        let header = batch.header();
        if header.is_control() {
            return Ok(Look::Other { by: None });
        }
        // Also what the flow wrote: a log that has lost everything takes what its owner sends next for the first. And what it did not write may
        // be of an owner whose producer id nobody knows any more.
        let stamps = Stamps::of(&batch);
        let mirrored = digest(&batch, target, stamps).map_err(on(Side::Target))?;
        let original = match self.original(source, stamps).await? {
            Original::Deleted => return Ok(Look::Held),
            Original::Unclear => None,
            Original::Digest(original) => Some(original),
        };
        Ok(match (mirrored, original) {
            (Some(mirrored), Some(original)) if mirrored == original => Look::Held,
            (Some(_), Some(_)) => Look::Other {
                by: Some(header.producer_id),
            },
            _ => Look::Unclear,
        })
    }

    /// A record of the source as it would be copied.
    async fn original(&self, offset: i64, stamps: Stamps) -> Result<Original, NotTaken> {
        if offset < self.on_source.start {
            return Ok(Original::Deleted);
        }
        if offset >= self.on_source.end {
            return Ok(Original::Unclear);
        }
        let chunk = self.source.read_little(offset).await.map_err(on(Side::Source))?;
        let mut converter = Converter::new(self.options);
        converter.start_at(offset);
        let mut ready = Vec::new();
        // What cannot be copied was not.
        let _ = converter.convert(&chunk.records, &chunk.aborted, &mut ready);
        let Some(first) = ready.first().filter(|ready| ready.source.first() == Some(offset)) else {
            return Ok(Original::Unclear);
        };
        let found = BatchView::parse(first.bytes.as_bytes()).and_then(|batch| digests(&batch, stamps));
        let found = found.ok().and_then(|found| Some(found.first()?.1.record));
        Ok(found.map_or(Original::Unclear, Original::Digest))
    }
}

/// What the source has of a record that was copied.
enum Original {
    /// Its digest, as it would be copied.
    Digest(u128),
    /// Retention has deleted it: it cannot be copied again.
    Deleted,
    /// Nothing, or nothing that could be compared.
    Unclear,
}

fn covering(chunk: &Chunk, offset: i64) -> Result<Option<BatchView<'_>>, BatchError> {
    for batch in Batches::new(&chunk.records) {
        let batch = batch?;
        if batch.header().last_offset() >= offset {
            return Ok((batch.header().base_offset <= offset).then_some(batch));
        }
    }
    Ok(None)
}

fn digest(batch: &BatchView<'_>, offset: i64, stamps: Stamps) -> Result<Option<u128>, BatchError> {
    let found = digests(batch, stamps)?;
    let found = found.into_iter().find(|(found, _)| *found == offset);
    Ok(found.map(|(_, digest)| digest.record))
}

/// Records of segments by their number.
pub(super) struct Places {
    segments: Vec<Segment>,
    count: i64,
}

impl Places {
    /// Those of source offsets before `source_end`, at target offsets before `target_end`.
    pub(super) fn before(segments: &[Segment], source_end: i64, target_end: i64) -> Places {
        let mut places = Places {
            segments: Vec::new(),
            count: 0,
        };
        for segment in segments {
            let room =
                (source_end.saturating_sub(segment.source)).min(target_end.saturating_sub(segment.target));
            let length = segment.length.min(room);
            if length > 0 {
                places.count = places.count.saturating_add(length);
                places.segments.push(Segment { length, ..*segment });
            }
        }
        places
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Source and target offset.
    fn get(&self, mut index: i64) -> Option<(i64, i64)> {
        if index < 0 {
            return None;
        }
        for segment in &self.segments {
            if index < segment.length {
                return Some((segment.source + index, segment.target + index));
            }
            index -= segment.length;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_segments_are_counted_up_to_the_ends_of_both_logs() {
        let segments = [(0, 10, 5), (7, 16, 4)].map(Segment::from);
        let places = Places::before(&segments, 100, 18);
        assert_eq!(places.count, 7);
        assert_eq!((places.get(4), places.get(5)), (Some((4, 14)), Some((7, 16))));
        assert_eq!((places.get(9), places.get(-1)), (None, None));
        let count = |source, target| Places::before(&segments, source, target).count;
        assert_eq!((count(100, 12), count(100, 3)), (2, 0));
        assert_eq!((count(8, 18), count(2, 18)), (6, 2));
    }
}
