//! Taking a partition: claim, fence, recover.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use heliostat_wire::batch::{BatchError, BatchView, Batches};
use heliostat_wire::client::Client;
use heliostat_wire::convert::{ConvertError, ConvertReason, Converter, Options, Ready};

use super::align::{ALIGNED_RECORDS_MAX, Digest, InOrder, LastOnes, Stamps, digests, room};
use super::claim::{self, Claim};
use super::former::fence_former;
use super::held::Held;
use super::pairs::{Holes, Pairs};
use super::reader::Reader;
use super::recover::{Count, Counted};
use super::tail::{Own, Tail};
use crate::flow::engine::Side;
use crate::offsets::epochs::Epochs;
use crate::offsets::segments::Segment;

/// A partition and its mirror.
pub struct Sides<'a> {
    /// The source cluster.
    pub source: &'a Client,
    /// The target cluster.
    pub target: &'a Client,
    /// The source topic.
    pub topic: &'a str,
    /// The mirror topic.
    pub target_topic: &'a str,
    /// The partition, the same on both sides.
    pub partition: i32,
    /// Nothing was in the mirror before the claim.
    pub mirror_was_empty: bool,
    /// How records are copied: the recovery counts those that are.
    pub options: Options,
}

/// The last fact of the offset map: all before `source` is on the target before `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The next source offset to copy, as far as the fact knows.
    pub source: i64,
    /// The target offset after the last copied record.
    pub target: i64,
    /// Producer id and epoch of the owner who wrote it.
    pub producer: Option<(i64, i16)>,
    /// That owner has given the partition up: nothing of it is on its way.
    pub released: bool,
    /// The last segments before it.
    pub segments: Vec<Segment>,
    /// The source's log was cut back to `source`, and nothing was copied of what it has there now: all that lies behind `target` is of
    /// what is gone.
    pub is_cut_back: bool,
    /// It is a fact of a mirror that was deleted since, and only says who wrote to that. Whatever lies in the new one was written by somebody
    /// who had not noticed: it came from the middle of the source's log.
    pub is_other_mirror: bool,
    /// What lies behind this target offset was written after the mirror's log had lost its end, by whoever has only noticed by that.
    pub lost_from: Option<i64>,
}

/// Where the records of a whole log landed is told for so many segments at most.
const SEGMENTS_MAX: usize = 100_000;

/// All that was copied is known of a mirror that has nothing.
const NOTHING_BEFORE: Option<(i64, i64)> = Some((0, 0));

/// A partition that is this daemon's.
#[derive(Debug)]
pub struct Taken {
    /// What to write with.
    pub claim: Claim,
    /// The next source offset to copy; none if nothing was ever copied.
    pub position: Option<i64>,
    /// The target offset after the last copied record, as far as it is known.
    pub target_position: Option<i64>,
    /// Where records landed of which the offset map does not know yet.
    pub segments: Vec<Segment>,
    /// Behind which source and target position all that was copied is known, with these; none if that cannot be told, and nothing was on record.
    pub from: Option<(i64, i64)>,
    /// The source's leader epochs, as far as it was read for that.
    pub epochs: Epochs,
    /// The mirror has lost some of what is on record, or has what nobody can tell from what is copied next: where copying goes on has to be on record
    /// before anything is copied.
    pub is_loss: bool,
    /// What happened, if it is worth a line in the log.
    pub note: Option<String>,
}

/// A partition cannot be taken now.
#[derive(Debug)]
pub struct NotTaken {
    /// Where.
    pub side: Side,
    /// Why.
    pub reason: String,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

pub(super) fn on<E: fmt::Display>(side: Side) -> impl Fn(E) -> NotTaken {
    move |error| NotTaken {
        side,
        reason: error.to_string(),
    }
}

/// Takes a partition. Without a transactional id nothing is fenced and nothing recovered: copying goes on at the last fact, and what was
/// copied after it comes again.
pub async fn take(sides: &Sides<'_>, id: Option<&str>, anchor: Option<Anchor>) -> Result<Taken, NotTaken> {
    let claim = claim::claim(sides.target, id).await.map_err(on(Side::Target))?;
    let as_known = |anchor: Option<&Anchor>, note| Taken {
        claim,
        position: anchor.map(|anchor| anchor.source),
        target_position: anchor.map(|anchor| anchor.target),
        segments: Vec::new(),
        from: anchor.map(|anchor| (anchor.source, anchor.target)),
        epochs: Epochs::default(),
        is_loss: false,
        note,
    };
    let is_other_mirror = anchor.as_ref().is_some_and(|anchor| anchor.is_other_mirror);
    let Some(id) = id else {
        return Ok(as_known(anchor.as_ref().filter(|_| !is_other_mirror), None));
    };
    // Whoever had claimed it meanwhile would have taken this epoch.
    let is_first = anchor.is_none() && claim.epoch == 0 && sides.mirror_was_empty;
    if is_first {
        return Ok(Taken {
            from: NOTHING_BEFORE,
            ..as_known(None, None)
        });
    }
    let target = sides.target_reader();
    let start = target.start().await.map_err(on(Side::Target))?;
    let end = target.end().await.map_err(on(Side::Target))?;
    let before = anchor.as_ref().and_then(|anchor| anchor.producer);
    let is_released = !is_other_mirror
        && anchor.as_ref().is_some_and(|anchor| anchor.released)
        && before == Some((claim.producer_id, claim.epoch - 1));
    if let Some((former, _)) = before.filter(|(former, _)| *former != claim.producer_id) {
        // Its word that nothing of it is on its way does not help: others may have had its id since.
        fence_former(sides.target, sides.target_topic, sides.partition, former)
            .await
            .map_err(on(Side::Target))?;
    }
    if !is_released {
        claim::fence(sides.target, id, claim, sides.target_topic, sides.partition)
            .await
            .map_err(on(Side::Target))?;
    }
    let own = Own {
        claim,
        before: before.map(|(id, _)| id),
    };
    if is_other_mirror {
        let tail = read_tail(&target, end, end, own, true).await?;
        return Ok(Taken {
            target_position: Some(tail.end),
            from: NOTHING_BEFORE.filter(|_| end == 0),
            ..as_known(None, None)
        });
    }
    let lost_from = anchor.as_ref().and_then(|anchor| anchor.lost_from);
    let held = match anchor {
        Some(anchor) => {
            let end = lost_from.map_or(end, |from| from.clamp(start, end.max(start)));
            sides.held(anchor, (start, end)).await?
        }
        None => Held::default(),
    };
    let (anchor, note) = (held.anchor, held.loss);
    let is_loss = note.is_some();
    let from = anchor.as_ref().map_or(start, |anchor| anchor.target.max(start));
    let tail = read_tail(&target, from, end, own, !is_released).await?;
    if let Some(anchor) = anchor.as_ref().filter(|anchor| anchor.is_cut_back) {
        let behind = Anchor {
            target: tail.end.max(anchor.target),
            ..anchor.clone()
        };
        return Ok(Taken {
            is_loss,
            // What lies in between is known to be of what is gone.
            from: Some((anchor.source, anchor.target)),
            ..as_known(Some(&behind), note)
        });
    }
    if lost_from.is_some() {
        // It was copied out of its turn, and comes again in its place.
        return Ok(Taken {
            target_position: Some(tail.end),
            is_loss: true,
            ..as_known(anchor.as_ref(), note)
        });
    }
    let Some(last) = tail.last.filter(|_| tail.records > 0) else {
        let target_position = anchor.as_ref().map_or(tail.end, |anchor| anchor.target);
        let is_of_others = anchor.is_none() && tail.foreign > 0;
        let others = is_of_others.then(|| {
            format!(
                "the mirror holds {} records of which nobody knows who wrote them: what is copied comes behind them",
                tail.foreign
            )
        });
        let known = as_known(anchor.as_ref(), note.or(others));
        return Ok(Taken {
            is_loss,
            target_position: Some(target_position),
            // Of what is there nothing can be told.
            from: known.from.or(NOTHING_BEFORE.filter(|_| !is_of_others)),
            ..known
        });
    };
    let recovery = Recovery {
        sides,
        from,
        end: tail.end,
        own,
        stamps: last.1,
        epochs: Mutex::default(),
        holes: Mutex::new(Holes::None),
    };
    let counted = match &anchor {
        Some(anchor) => recovery.anchored(anchor.source, &tail, last, is_loss).await?,
        None => recovery.unanchored(&tail, last, is_loss).await?,
    };
    let (found, found_note) = counted;
    // What was found by content may leave records of the tail over. They come again behind it, and must not be counted the next time.
    let is_by_content = anchor.is_some() && found_note.is_some();
    let note = match (note, found_note) {
        (Some(one), Some(other)) => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    };
    let target_position = found.segments.last().map(Segment::target_end);
    let anchored = anchor.as_ref().map(|anchor| (anchor.source, anchor.target));
    // Where nothing of it counts, what is copied begins behind it.
    let target_position = target_position.filter(|_| !is_by_content).unwrap_or(tail.end);
    let first = found.segments.first().map(|first| (first.source, first.target));
    Ok(Taken {
        claim,
        position: Some(found.position),
        target_position: Some(target_position),
        from: anchored.or(first).or(Some((found.position, target_position))),
        segments: found.segments,
        epochs: recovery
            .epochs
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
        is_loss: is_loss || is_by_content,
        note,
    })
}

/// Reads the target's log from an offset to its end, and until the marker is seen, if there must be one.
async fn read_tail(
    target: &Reader<'_>,
    from: i64,
    end: i64,
    own: Own,
    fenced: bool,
) -> Result<Tail, NotTaken> {
    let mut tail = Tail::at(from);
    while tail.end < end || (fenced && !tail.is_fenced) {
        let before = tail.end;
        let chunk = target.read(tail.end, 0).await.map_err(on(Side::Target))?;
        tail.take_in(&chunk.records, own).map_err(on(Side::Target))?;
        if tail.end == before {
            return Err(on(Side::Target)(target.stuck(before)));
        }
    }
    Ok(tail)
}

/// Finds the source offset that follows what the tail holds.
struct Recovery<'a> {
    sides: &'a Sides<'a>,
    from: i64,
    end: i64,
    own: Own,
    stamps: Stamps,
    /// What was met on the source.
    epochs: Mutex<Epochs>,
    /// What was seen of the source's holes.
    holes: Mutex<Holes>,
}

type Found = (Counted, Option<String>);

impl Recovery<'_> {
    /// By counting, from a fact on. If the source is not as it was, by content.
    /// If the mirror has lost some of what is on record (`is_loss`), what lies behind that may be of later.
    async fn anchored(
        &self,
        source: i64,
        tail: &Tail,
        last: (u128, Stamps),
        is_loss: bool,
    ) -> Result<Found, NotTaken> {
        let start = self.sides.source_start().await?;
        if source >= start && !tail.has_holes && !is_loss {
            let mut count = Count::new(source, tail.runs.clone());
            let mut proven = false;
            self.scan(source, |ready| {
                if let Some(same) = count.pass(ready, last)? {
                    proven = same;
                }
                Ok(if count.is_done() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })
            .await?;
            // If some are missing, there may be another one in the place of the last that is equal to it.
            if proven && !self.is_compacted() {
                return Ok((count.end(), None));
            }
        }
        let _room = room(tail.records).await;
        let mut wanted = InOrder::default();
        self.each_of_tail(|target, digest| {
            wanted.push(target, digest);
            if wanted.len() >= u64::from(ALIGNED_RECORDS_MAX) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await?;
        let mut pairs = Pairs::new(wanted, source, !is_loss);
        self.scan(source.max(start), |ready| {
            let view = BatchView::parse(ready.bytes.as_bytes())?;
            let holes = self.holes();
            for ((_, digest), source) in digests(&view, self.stamps)?
                .into_iter()
                .zip(ready.source.offsets())
            {
                if pairs.pass(source, digest, holes).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            pairs.passed_to(ready.next);
            Ok(ControlFlow::Continue(()))
        })
        .await?;
        let (found, matched) = pairs.end(start);
        let held = format!(
            "the mirror holds {} records behind the last fact of the offset map",
            tail.records
        );
        if source < start && matched == 0 {
            // They are of what the source has lost since. Where no offset was without a record, the first that is lost for good follows them.
            let note = format!("{held}, and the source begins at {start}: it does not have them any more");
            return Ok((found, Some(note)));
        }
        let note = format!(
            "{held}, and the source is not as it was: {matched} of them were found there by content; copying goes on at source offset {}, and at most {} records may be there twice",
            found.position,
            (tail.records - matched).max(0)
        );
        Ok((found, Some(note)))
    }

    /// Without any fact: where the source has the last records of the mirror in a row. If the mirror has lost records, its last ones count only if
    /// all before them are there as well: they may have been written by an owner who did not know that.
    /// Where the source still has its first record they are counted as well, which tells equal records apart.
    async fn unanchored(
        &self,
        tail: &Tail,
        last_one: (u128, Stamps),
        is_loss: bool,
    ) -> Result<Found, NotTaken> {
        let mut last = LastOnes::new();
        self.each_of_tail(|_, digest| {
            last.push(digest.record);
            ControlFlow::Continue(())
        })
        .await?;
        let start = self.sides.source_start().await?;
        let mut count = Count::new(start, tail.runs.clone()).of_at_most(SEGMENTS_MAX);
        let can_be_counted = start == 0 && !tail.has_holes;
        let (mut found, mut proven) = (None, false);
        if !last.is_empty() {
            self.scan(start, |ready| {
                proven |= count.pass(ready, last_one)?.unwrap_or(false);
                let view = BatchView::parse(ready.bytes.as_bytes())?;
                let records = digests(&view, self.stamps)?;
                for (index, (_, digest)) in records.into_iter().enumerate() {
                    if found.is_none() && last.ends_with(digest.record) {
                        found = ready.source.offset_of(index as i64).map(|offset| offset + 1);
                    }
                }
                let can_be_counted = can_be_counted && !self.is_compacted();
                let is_over = found.is_some() && (count.is_done() || !can_be_counted);
                Ok(if is_over || (proven && can_be_counted) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })
            .await?;
        }
        let (is_complete, is_cut) = (count.is_done(), count.is_cut());
        let counted = count.end();
        let counted_to = counted.segments.last().map(Segment::source_end);
        if proven && can_be_counted && !self.is_compacted() {
            found = counted_to;
        }
        // If the number of records agrees as well, it is known of each where it landed.
        let is_each_known = is_complete && counted_to == found && !tail.has_holes && !self.is_compacted();
        let map = match is_loss {
            true => "what is left of the mirror has records",
            false => "the offset map knows nothing of this mirror, which has records",
        };
        let Some(position) = found.filter(|_| is_each_known || !is_loss) else {
            let counted = Counted {
                segments: Vec::new(),
                position: start,
            };
            let note = format!(
                "{map}; they were not found on the source in a row: copying from its beginning, {start}"
            );
            return Ok((counted, Some(note)));
        };
        let segments = if is_each_known && !is_cut {
            counted.segments
        } else {
            Vec::new()
        };
        let note = format!("{map}; its last records were found on the source: copying goes on at {position}");
        Ok((Counted { segments, position }, Some(note)))
    }

    /// The source's records from an offset on that would be copied, batch by batch.
    async fn scan(
        &self,
        from: i64,
        mut pass: impl FnMut(&Ready) -> Result<ControlFlow<()>, BatchError>,
    ) -> Result<(), NotTaken> {
        let failed = on(Side::Source);
        let reader = self.sides.source_reader();
        let end = reader.end().await.map_err(on(Side::Source))?;
        let mut converter = Converter::new(self.sides.options);
        converter.start_at(from);
        let (mut at, mut bytes, mut ready) = (from, 0, Vec::new());
        while at < end {
            let chunk = reader.read(at, bytes).await.map_err(on(Side::Source))?;
            let before = at;
            self.look_for_holes(&chunk.records, before);
            let converted = converter.convert(&chunk.records, &chunk.aborted, &mut ready);
            let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
            for (epoch, offset) in converter.take_epochs() {
                epochs.note(epoch, offset);
            }
            drop(epochs);
            match converted {
                Ok(converted) => at = converted.next,
                Err(ConvertError {
                    reason: ConvertReason::Partial { needed, .. },
                    ..
                }) if needed > bytes => {
                    bytes = needed;
                    continue;
                }
                // What cannot be copied was not.
                Err(ConvertError { next: Some(next), .. }) => {
                    at = next;
                    converter.start_at(next);
                }
                Err(error) => return Err(failed(error.to_string())),
            }
            for ready in ready.drain(..) {
                if pass(&ready).map_err(on(Side::Source))?.is_break() {
                    return Ok(());
                }
            }
            if at <= before {
                return Err(failed(reader.stuck(at).to_string()));
            }
        }
        Ok(())
    }

    fn holes(&self) -> Holes {
        *self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_compacted(&self) -> bool {
        self.holes() == Holes::Compacted
    }

    /// Looks at the offsets of what the source has from an offset on.
    fn look_for_holes(&self, records: &[u8], from: i64) {
        let mut next = from;
        // What cannot be read is said by who converts it.
        for batch in Batches::new(records).map_while(Result::ok) {
            let header = batch.header();
            if header.last_offset() < from {
                continue;
            }
            let span = i64::from(header.last_offset_delta) + 1;
            let found = if header.base_offset > next || i64::from(header.records_count) < span {
                Holes::Compacted
            } else if header.is_control() || header.is_transactional() {
                Holes::Markers
            } else {
                Holes::None
            };
            let mut holes = self.holes.lock().unwrap_or_else(PoisonError::into_inner);
            *holes = found.max(*holes);
            next = header.next_offset();
        }
    }

    /// The flow's records in the target's tail.
    async fn each_of_tail(
        &self,
        mut each: impl FnMut(i64, Digest) -> ControlFlow<()>,
    ) -> Result<(), NotTaken> {
        let target = self.sides.target_reader();
        let mut at = self.from;
        while at < self.end {
            let chunk = target.read(at, 0).await.map_err(on(Side::Target))?;
            let before = at;
            for batch in Batches::new(&chunk.records) {
                let batch = batch.map_err(on(Side::Target))?;
                let next = batch.header().next_offset();
                if !batch.header().is_control() && self.own.wrote(&batch) {
                    for (offset, digest) in digests(&batch, self.stamps).map_err(on(Side::Target))? {
                        if offset >= at && each(offset, digest).is_break() {
                            return Ok(());
                        }
                    }
                }
                at = at.max(next);
            }
            if at == before {
                return Err(on(Side::Target)(target.stuck(at)));
            }
        }
        Ok(())
    }
}

impl Sides<'_> {
    async fn source_start(&self) -> Result<i64, NotTaken> {
        self.source_reader().start().await.map_err(on(Side::Source))
    }

    pub(super) fn source_reader(&self) -> Reader<'_> {
        Reader {
            client: self.source,
            topic: self.topic,
            partition: self.partition,
            committed: true,
        }
    }

    pub(super) fn target_reader(&self) -> Reader<'_> {
        Reader {
            client: self.target,
            topic: self.target_topic,
            partition: self.partition,
            committed: false,
        }
    }
}
