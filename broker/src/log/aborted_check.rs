//! Holds the lists of aborted transactions against the log before anything is answered from them.
//!
//! A wrong entry would make a reader of committed records drop some, or take aborted ones. Kafka looks at the order of
//! the markers only. Here a list whose entries cannot be is made anew at the start, and each entry of the others is
//! looked up in the log once, before the first answer that rests on it. What the log does not bear out is made anew from
//! the log there and then.

use std::collections::BTreeMap;

use super::aborted::AbortedTransaction;
use super::error::{AtPath, ReadError, StorageError};
use super::load::{note, producers_before};
use super::marker::MarkerRecord;
use super::partition::{Inner, Log};
use super::scan::{Scan, ScanError, read_batch};
use super::segment::Segment;

impl Log {
    /// The aborted transactions that have records or their marker from `from` on, and records before `to`, in the
    /// order of their markers. Those whose marker is not written yet are not among them.
    pub fn aborted_transactions(&self, from: i64, to: i64) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut inner = self.open_inner().ok_or_else(|| ReadError::Closed(self.name()))?;
        let first = inner
            .segments
            .range(..=from)
            .next_back()
            .map_or(i64::MIN, |(base, _)| *base);
        loop {
            let mut found = Vec::new();
            let Some(wrong) = collect(&inner, first, from, to, &mut found)? else {
                return Ok(found);
            };
            // What was made anew is not looked up again, so that this comes to an end.
            self.list_anew(&mut inner, wrong)?;
        }
    }

    /// Makes the list of a segment's aborted transactions from its batches.
    fn list_anew(&self, inner: &mut Inner, base: i64) -> Result<(), StorageError> {
        // When a producer was last seen does not matter here.
        let now_ms = 0;
        let mut producers = producers_before(&self.dir, &inner.segments, base, now_ms)?;
        let Some(segment) = inner.segments.get_mut(&base) else {
            return Ok(());
        };
        let (file, mut buffer, mut aborted) = (segment.handle()?, Vec::new(), Vec::new());
        for item in Scan::new(&file, 0, segment.size()) {
            let noted = item.and_then(|(position, header)| {
                if header.is_control() {
                    let batch = read_batch(&file, position, header.size(), &mut buffer)?;
                    aborted.extend(note(&mut producers, &batch, now_ms));
                } else {
                    producers.update(&header, now_ms);
                }
                Ok(())
            });
            match noted {
                Ok(()) => {}
                Err(ScanError::Io(error)) => return Err(error).at("read", segment.path()),
                // Whoever reads that far is told of it.
                Err(ScanError::Batch(..)) => break,
            }
        }
        segment.set_aborted(&aborted)?;
        tracing::warn!(
            file = %segment.path().display(), transactions = aborted.len(),
            "the list of aborted transactions was not that of the log; it was made anew"
        );
        Ok(())
    }
}

/// The base offset of a segment whose list cannot be true beside those of the other segments: what ends later begins where
/// nothing was decided yet, and every marker is in the log, which ends at `log_end_offset`.
pub(super) fn contradiction(segments: &BTreeMap<i64, Segment>, log_end_offset: i64) -> Option<i64> {
    let mut least_first = i64::MAX;
    let mut wrong = None;
    for (base, segment) in segments.iter().rev() {
        let Some(span) = segment.aborted().span() else {
            continue;
        };
        if span.greatest_stable > least_first || span.last >= log_end_offset {
            wrong = Some(*base);
        }
        least_first = least_first.min(span.least_first);
    }
    wrong
}

/// Collects from the segments from `first` on; returns the one whose list is not that of the log, if there is one.
fn collect(
    inner: &Inner,
    first: i64,
    from: i64,
    to: i64,
    found: &mut Vec<AbortedTransaction>,
) -> Result<Option<i64>, StorageError> {
    for (base, segment) in inner.segments.range(first..) {
        let walk = segment.aborted().collect(from, to, found)?;
        for (place, entry) in walk.unproven {
            if !is_borne_out(inner, segment, &entry)? {
                return Ok(Some(*base));
            }
            segment.aborted().prove(place);
        }
        if walk.complete {
            break;
        }
    }
    Ok(None)
}

/// Whether the segment holds the marker that an entry names, and the log the transaction's first batch, if it holds
/// any at its offset: compaction may have removed it, and retention the segment that it was in.
fn is_borne_out(inner: &Inner, segment: &Segment, entry: &AbortedTransaction) -> Result<bool, StorageError> {
    let file = segment.handle()?;
    let mut buffer = Vec::new();
    let from = segment.floor_position(entry.last_offset)?;
    let marker = Scan::new(&file, from, segment.size())
        .find_offset(entry.last_offset)
        .and_then(|found| {
            let marks = |header: &heliostat_wire::batch::BatchHeader| {
                header.is_control()
                    && header.base_offset == entry.last_offset
                    && header.producer_id == entry.producer_id
            };
            match found.filter(|(_, header)| marks(header)) {
                Some((position, header)) => {
                    let batch = read_batch(&file, position, header.size(), &mut buffer)?;
                    Ok(MarkerRecord::decode(&batch))
                }
                None => Ok(None),
            }
        });
    match marker {
        Ok(Some(marker)) if !marker.commit => {}
        Err(ScanError::Io(error)) => return Err(error).at("read", segment.path()),
        _ => return Ok(false),
    }
    let Some((_, segment)) = inner.segments.range(..=entry.first_offset).next_back() else {
        return Ok(true);
    };
    let file = segment.handle()?;
    let from = segment.floor_position(entry.first_offset)?;
    match Scan::new(&file, from, segment.size()).find_offset(entry.first_offset) {
        Ok(Some((_, header))) => Ok(header.base_offset > entry.first_offset
            || header.base_offset == entry.first_offset
                && header.producer_id == entry.producer_id
                && header.is_transactional()
                && !header.is_control()),
        Ok(None) => Ok(true),
        Err(ScanError::Io(error)) => Err(error).at("read", segment.path()),
        Err(ScanError::Batch(..)) => Ok(true),
    }
}
