//! Recovery of one segment: a walk through its batches that cuts off what is no good batch and makes the indexes anew.
//!
//! What lies before the recovery point was on disk, indexes and all, when that point was written down; the walk begins
//! there, if the index leads to a batch.

use heliostat_wire::batch::BatchView;

use super::error::{AtPath, StorageError};
use super::index::{OffsetEntry, TimeEntry};
use super::scan::{Scan, ScanError, read_batch};
use super::segment::Segment;

/// What recovery found in a segment.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The offset after the last good batch; the segment's base offset if there is none.
    pub(crate) next_offset: i64,
    /// Bytes behind it that are no good batch, or do not follow. They were cut off, but for [`Segment::reindex`].
    pub(crate) cut: u64,
    /// Where the last good batch ends in the file.
    good: u64,
}

/// Where a walk begins.
struct Start {
    position: u64,
    /// No batch may start before this offset.
    next_offset: i64,
}

/// What a walk has found for the indexes.
#[derive(Default)]
struct Entries {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    /// The position of the last batch that got an entry.
    last: u64,
}

impl Segment {
    /// Walks through all batches, checks each, and rebuilds both indexes. What is not a good batch, or does not
    /// follow its predecessor, is cut off with everything behind it. `visit` sees every good batch, in order.
    pub(crate) fn recover(
        &mut self,
        index_interval: u64,
        visit: &mut dyn FnMut(&BatchView<'_>),
    ) -> Result<Recovered, StorageError> {
        let recovered = self.reindex(index_interval, visit)?;
        self.cut(recovered.good)?;
        Ok(recovered)
    }

    /// As [`Segment::recover`], but nothing is cut off: for a segment that was wholly on disk, in which what is no good
    /// batch now was one, and whoever reads it must hear of that.
    pub(crate) fn reindex(
        &mut self,
        index_interval: u64,
        visit: &mut dyn FnMut(&BatchView<'_>),
    ) -> Result<Recovered, StorageError> {
        self.largest = None;
        let start = Start {
            position: 0,
            next_offset: self.base_offset,
        };
        let (recovered, entries) = self.walk(&start, index_interval, visit)?;
        self.set_indexes(&entries.offsets, &entries.times)?;
        Ok(recovered)
    }

    /// As [`Segment::recover`], but from the last index entry before `point` on, which is a recovery point. `None` if the index
    /// does not lead to a batch: then it is not what was on disk, and all has to be looked at.
    pub(crate) fn recover_from(
        &mut self,
        point: i64,
        index_interval: u64,
        visit: &mut dyn FnMut(&BatchView<'_>),
    ) -> Result<Option<Recovered>, StorageError> {
        let Some(entry) = self.offsets.floor(point.saturating_sub(1))? else {
            return Ok(None);
        };
        let file = self.handle()?;
        match Scan::new(&file, entry.position, self.size).next() {
            Some(Ok((_, header))) if header.last_offset() == entry.offset => {}
            Some(Err(ScanError::Io(error))) => return Err(error).at("read", &self.path),
            _ => return Ok(None),
        }
        self.offsets.truncate_after(entry.offset)?;
        self.times.truncate_after(entry.offset)?;
        self.largest = self.times.last();
        let start = Start {
            position: entry.position,
            next_offset: self.base_offset,
        };
        let (recovered, entries) = self.walk(&start, index_interval, visit)?;
        self.cut(recovered.good)?;
        for found in entries.offsets {
            self.offsets.append(&self.disk, found)?;
        }
        for found in entries.times {
            self.times.maybe_append(&self.disk, found)?;
        }
        Ok(Some(recovered))
    }

    fn walk(
        &mut self,
        start: &Start,
        index_interval: u64,
        visit: &mut dyn FnMut(&BatchView<'_>),
    ) -> Result<(Recovered, Entries), StorageError> {
        let file = self.handle()?;
        let found = self.size;
        let (mut next_offset, mut good) = (start.next_offset, start.position);
        let mut entries = Entries {
            last: start.position,
            ..Entries::default()
        };
        let mut buffer = Vec::new();
        for item in Scan::new(&file, start.position, found) {
            let checked = item.and_then(|(position, header)| {
                let batch = read_batch(&file, position, header.size(), &mut buffer)?;
                batch
                    .check_crc()
                    .map_err(|error| ScanError::Batch(position, error))?;
                Ok((position, batch))
            });
            let (position, batch) = match checked {
                Ok(found) => found,
                Err(ScanError::Io(error)) => return Err(error).at("read", &self.path),
                Err(ScanError::Batch(position, error)) => {
                    tracing::warn!(file = %self.path.display(), position, %error, "segment ends here");
                    break;
                }
            };
            let header = batch.header();
            if !self.follows(header, next_offset) {
                tracing::warn!(
                    file = %self.path.display(), position, base_offset = header.base_offset, next_offset,
                    "batch does not follow its predecessor; segment ends here"
                );
                break;
            }
            visit(&batch);
            self.note_timestamp(header);
            if position - entries.last > index_interval {
                entries.offsets.push(OffsetEntry {
                    offset: header.last_offset(),
                    position,
                });
                entries.times.extend(self.largest);
                entries.last = position;
            }
            next_offset = header.next_offset();
            good = position + u64::try_from(header.size()).unwrap_or(0);
        }
        entries.times.extend(self.largest);
        entries.times.dedup_by_key(|entry| entry.timestamp);
        self.since_index_entry = good - entries.last;
        self.first_timestamp = None;
        let cut = found - good;
        Ok((
            Recovered {
                next_offset,
                cut,
                good,
            },
            entries,
        ))
    }
}
