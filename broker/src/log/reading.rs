//! Reading from a log, and finding offsets by time.
//!
//! The lock is held only to find out which file and which part of it to read. A file that is deleted meanwhile stays
//! readable until it is closed.

use std::cell::Cell;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use heliostat_wire::batch::{BatchError, BatchHeader, Batches, NO_TIMESTAMP};
use heliostat_wire::{FileSlice, Payload};

use super::aborted::AbortedTransaction;
use super::error::{AtPath, ReadError};
use super::files::read_up_to;
use super::inflate::inflate;
use super::partition::{Inner, Log};
use super::scan::{Scan, ScanError, read_batch};
use super::segment::Segment;

/// Whole batches, and where the log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadResult {
    /// Whole batches, one after another. The first one may begin before the offset asked for.
    pub records: Bytes,
    /// The batches instead, if they are left in their file: see [`ReadRequest::in_file_from`].
    pub in_file: Option<FileSlice>,
    /// The offset after the last one that read_uncommitted consumers see.
    pub high_watermark: i64,
    /// The first offset of the log.
    pub log_start_offset: i64,
    /// The offset after the last one that read_committed consumers see.
    pub last_stable_offset: i64,
    /// The aborted transactions that reach into `records`; only for [`Isolation::ReadCommitted`].
    pub aborted_transactions: Vec<AbortedTransaction>,
}

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// What of a log is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// Where to begin: with the batch that holds this offset, or the next one if it lies in a hole.
    pub offset: i64,
    /// How many bytes of batches are wanted at most.
    pub max_bytes: usize,
    /// Whether the first batch is wanted even if it is larger.
    pub min_one_batch: bool,
    /// Up to where.
    pub isolation: Isolation,
    /// At least so many bytes may be left in their file, for the system to send from there.
    pub in_file_from: usize,
}

/// A record that was looked for by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds.
    pub timestamp: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
}

/// No answer is larger, whatever a client allows: Kafka's default of `fetch.max.bytes`.
pub const MAX_READ_BYTES: usize = 55 << 20;

impl Log {
    /// Reads whole batches from the one that holds `offset`, or the next one if the offset lies in a hole, up to
    /// `max_bytes` and the high watermark. With `min_one_batch` the first batch is read even if it is larger. At the
    /// log's end the result is empty.
    pub fn read(&self, offset: i64, max_bytes: usize, min_one_batch: bool) -> Result<ReadResult, ReadError> {
        self.read_some(ReadRequest {
            offset,
            max_bytes,
            min_one_batch,
            isolation: Isolation::ReadUncommitted,
            in_file_from: usize::MAX,
        })
    }

    /// As [`Log::read`], but not beyond what the isolation allows. Aborted records are not filtered. What is left in
    /// its file is not looked at: it is for the client to check it.
    pub fn read_some(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        let (mut result, limit) = self.bounds(request.offset, request.isolation)?;
        let mut from = request.offset;
        while from < limit {
            let Some(place) = self.place(from, None)? else {
                break;
            };
            if let Some((records, end)) = self.read_place(&place, from, limit, request)? {
                if request.isolation == Isolation::ReadCommitted && !records.is_empty() {
                    result.aborted_transactions = self.aborted_transactions(request.offset, end)?;
                }
                match records {
                    Payload::Memory(bytes) => result.records = bytes,
                    Payload::File(slice) => result.in_file = Some(slice),
                }
                break;
            }
            // Everything from the offset on has been compacted away in this segment.
            let Some(next) = place.next_base else { break };
            from = next;
        }
        Ok(result)
    }

    /// The first visible record whose timestamp is `timestamp` or later (ListOffsets by time).
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<FoundOffset>, ReadError> {
        let (start, limit, bases) = {
            let inner = self.open_inner().ok_or_else(|| ReadError::Closed(self.name()))?;
            let reaches = |segment: &&Segment| {
                segment
                    .largest()
                    .is_some_and(|found| found.timestamp >= timestamp)
            };
            let bases: Vec<i64> = inner
                .segments
                .values()
                .filter(reaches)
                .map(|segment| segment.base_offset)
                .collect();
            (inner.log_start_offset, inner.high_watermark, bases)
        };
        for base in bases {
            let Some(place) = self.place(base.max(start), Some(timestamp))? else {
                continue;
            };
            let found = self.find_record(
                &place,
                |header| header.max_timestamp >= timestamp,
                |record| record.timestamp >= timestamp && record.offset >= start,
            )?;
            if let Some(found) = found {
                return Ok(Some(found).filter(|found| found.offset < limit));
            }
        }
        Ok(None)
    }

    /// The first record that has the log's largest timestamp (ListOffsets -3).
    pub fn max_timestamp_offset(&self) -> Result<Option<FoundOffset>, ReadError> {
        let (start, limit, found) = {
            let inner = self.open_inner().ok_or_else(|| ReadError::Closed(self.name()))?;
            let mut best: Option<(i64, i64)> = None;
            for segment in inner.segments.values() {
                if let Some(entry) = segment
                    .largest()
                    .filter(|entry| best.is_none_or(|(most, _)| entry.timestamp > most))
                {
                    best = Some((entry.timestamp, entry.offset));
                }
            }
            (inner.log_start_offset, inner.high_watermark, best)
        };
        let Some((timestamp, batch_last_offset)) = found else {
            return Ok(None);
        };
        let Some(place) = self.place(batch_last_offset, None)? else {
            return Ok(None);
        };
        let mut found = self.find_record(
            &place,
            |header| header.max_timestamp >= timestamp,
            |record| record.timestamp >= timestamp && record.offset >= start,
        )?;
        if found.is_none() {
            // The record is there no more: it lies before the start that DeleteRecords has set.
            found = self.search_max_timestamp(start)?;
        }
        Ok(found.filter(|found| found.offset < limit))
    }

    /// The epoch of the record at `offset`, or of the leader that would write it.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        super::checkpoint::lock(&self.inner)
            .epochs
            .epoch_for_offset(offset)
    }

    /// Looks at every batch from `start` on.
    fn search_max_timestamp(&self, start: i64) -> Result<Option<FoundOffset>, ReadError> {
        let best: Cell<Option<FoundOffset>> = Cell::new(None);
        let exceeds = |timestamp: i64| {
            best.get()
                .map_or(timestamp > NO_TIMESTAMP, |best| timestamp > best.timestamp)
        };
        let mut from = Some(start);
        while let Some(place) = from.map_or(Ok(None), |offset| self.place(offset, None))? {
            self.find_record(
                &place,
                |header| exceeds(header.max_timestamp),
                |record| {
                    if record.offset >= start && exceeds(record.timestamp) {
                        best.set(Some(*record));
                    }
                    false
                },
            )?;
            from = place.next_base;
        }
        Ok(best.get())
    }

    fn bounds(&self, offset: i64, isolation: Isolation) -> Result<(ReadResult, i64), ReadError> {
        let inner = self.open_inner().ok_or_else(|| ReadError::Closed(self.name()))?;
        if offset < inner.log_start_offset || offset > inner.log_end_offset {
            return Err(ReadError::OffsetOutOfRange {
                log: self.name(),
                offset,
                start: inner.log_start_offset,
                end: inner.log_end_offset,
            });
        }
        let result = ReadResult {
            records: Bytes::new(),
            in_file: None,
            high_watermark: inner.high_watermark,
            log_start_offset: inner.log_start_offset,
            last_stable_offset: inner.last_stable_offset(),
            aborted_transactions: Vec::new(),
        };
        let limit = match isolation {
            Isolation::ReadUncommitted => result.high_watermark,
            Isolation::ReadCommitted => result.last_stable_offset,
        };
        Ok((result, limit))
    }

    /// The segment that `offset` falls into, and where in it to begin: by its offset index, or by its time index if
    /// a timestamp is given.
    fn place(&self, offset: i64, timestamp: Option<i64>) -> Result<Option<Place>, ReadError> {
        let inner = self.open_inner().ok_or_else(|| ReadError::Closed(self.name()))?;
        let Some(segment) = floor_segment(&inner, offset) else {
            return Ok(None);
        };
        let by_offset = segment.floor_position(offset)?;
        let position = match timestamp {
            Some(timestamp) => by_offset.max(segment.floor_position_of_time(timestamp)?),
            None => by_offset,
        };
        let next = segment.base_offset.saturating_add(1);
        Ok(Some(Place {
            file: segment.handle()?,
            path: segment.path().to_owned(),
            base_offset: segment.base_offset,
            position,
            end: segment.size(),
            offset,
            next_base: inner.segments.range(next..).next().map(|(base, _)| *base),
        }))
    }

    /// Batches, and the offset after their last one; `None` if no batch of the segment holds `offset` or a later one.
    fn read_place(
        &self,
        place: &Place,
        offset: i64,
        limit: i64,
        request: ReadRequest,
    ) -> Result<Option<(Payload, i64)>, ReadError> {
        let mut scan = Scan::new(&place.file, place.position, place.end);
        let found = scan
            .find_offset(offset)
            .map_err(|error| self.damage(place, error))?;
        let Some((position, header)) = found else {
            return Ok(None);
        };
        let left = usize::try_from(place.end - position).unwrap_or(usize::MAX);
        let mut size = request.max_bytes.min(MAX_READ_BYTES).min(left);
        if header.base_offset >= limit || (size < header.size() && !request.min_one_batch) {
            return Ok(Some((Payload::default(), offset)));
        }
        size = size.max(header.size());
        if size < request.in_file_from {
            return self.read_batches(place, position, limit, size).map(Some);
        }
        let (len, end_offset) = self.whole_batches(place, position, limit, size)?;
        let slice = FileSlice {
            file: Arc::clone(&place.file),
            position,
            len,
            keeps: None,
        };
        read_ahead(&slice);
        Ok(Some((Payload::File(slice), end_offset)))
    }

    /// Reads the whole batches among the `size` bytes from `position` on, as far as they begin before `limit`.
    fn read_batches(
        &self,
        place: &Place,
        position: u64,
        limit: i64,
        size: usize,
    ) -> Result<(Payload, i64), ReadError> {
        let mut buffer = vec![0; size];
        let filled = read_up_to(&place.file, &mut buffer, position).at("read", &place.path)?;
        let mut batches = Batches::new(&buffer[..filled]);
        let (mut whole, mut end_offset) = (0, place.offset);
        while let Some(batch) = batches.next() {
            let batch = match batch {
                Ok(batch) => batch,
                // The whole ones first; the next read begins with the damage, and says so.
                Err(_) if whole > 0 => break,
                Err(error) => return Err(self.damage(place, ScanError::Batch(position, error))),
            };
            if batch.header().base_offset >= limit {
                break;
            }
            end_offset = batch.header().next_offset();
            whole = batches.consumed();
        }
        buffer.truncate(whole);
        Ok((Bytes::from(buffer).into(), end_offset))
    }

    /// How many of the `size` bytes from `position` on are whole batches that begin before `limit`, and the offset after
    /// them.
    fn whole_batches(
        &self,
        place: &Place,
        position: u64,
        limit: i64,
        size: usize,
    ) -> Result<(usize, i64), ReadError> {
        let end = position.saturating_add(size as u64);
        let near = self.floor_of_end(place, end, limit)?.max(position);
        // An entry of the index that is wrong costs a longer walk, and no more.
        let whole = match near {
            near if near == position => Err(()),
            near => whole_until(place, near, end, limit).map_err(drop),
        };
        let (whole, end_offset) = whole.or_else(|()| {
            whole_until(place, position, end, limit).map_err(|error| self.damage(place, error))
        })?;
        Ok((usize::try_from(whole - position).unwrap_or(size), end_offset))
    }

    /// The last indexed place in the segment that lies neither beyond `end` nor beyond the batch with the offset
    /// `limit`; 0 if the segment is gone meanwhile.
    fn floor_of_end(&self, place: &Place, end: u64, limit: i64) -> Result<u64, ReadError> {
        let inner = self.open_inner().ok_or_else(|| ReadError::Closed(self.name()))?;
        let Some(segment) = inner.segments.get(&place.base_offset) else {
            return Ok(0);
        };
        let by_position = segment.floor_of_position(end)?;
        Ok(by_position.min(segment.floor_position(limit)?))
    }

    fn find_record(
        &self,
        place: &Place,
        mut wanted_batch: impl FnMut(&BatchHeader) -> bool,
        wanted: impl Fn(&FoundOffset) -> bool,
    ) -> Result<Option<FoundOffset>, ReadError> {
        let mut buffer = Vec::new();
        for item in Scan::new(&place.file, place.position, place.end) {
            let (position, header) = item.map_err(|error| self.damage(place, error))?;
            if header.last_offset() < place.offset || !wanted_batch(&header) {
                continue;
            }
            let damage = |error: BatchError| self.damage(place, ScanError::Batch(position, error));
            let batch = read_batch(&place.file, position, header.size(), &mut buffer)
                .map_err(|error| self.damage(place, error))?;
            let bytes = inflate(&batch).map_err(damage)?;
            for record in batch.records(&bytes) {
                let record = record.map_err(|error| damage(error.into()))?;
                let found = FoundOffset {
                    offset: header.offset(record.offset_delta),
                    timestamp: header.timestamp(record.timestamp_delta),
                    leader_epoch: header.partition_leader_epoch,
                };
                if wanted(&found) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn damage(&self, place: &Place, error: ScanError) -> ReadError {
        match error {
            ScanError::Io(source) => match Err::<(), _>(source).at("read", &place.path) {
                Err(error) => ReadError::Storage(error),
                Ok(()) => ReadError::Closed(self.name()),
            },
            ScanError::Batch(_, source) => ReadError::Damaged {
                log: self.name(),
                offset: place.offset,
                source,
            },
        }
    }
}

/// A part of a segment file in which something is looked for.
struct Place {
    file: Arc<File>,
    path: PathBuf,
    base_offset: i64,
    position: u64,
    end: u64,
    offset: i64,
    next_base: Option<i64>,
}

/// Where the last whole batch ends that begins before `limit` and ends not beyond `end`, and the offset after it; a
/// batch begins at `from`.
fn whole_until(place: &Place, from: u64, end: u64, limit: i64) -> Result<(u64, i64), ScanError> {
    let (mut whole, mut end_offset) = (from, place.offset);
    for item in Scan::new(&place.file, from, place.end) {
        let (position, header) = match item {
            Ok(found) => found,
            // The whole ones first; the next read begins with the damage, and says so.
            Err(ScanError::Batch(..)) if whole > from => break,
            Err(error) => return Err(error),
        };
        end_offset = header.base_offset;
        let next = position + header.size() as u64;
        if header.base_offset >= limit || next > end {
            break;
        }
        (whole, end_offset) = (next, header.next_offset());
    }
    Ok((whole, end_offset))
}

/// The disk, where it is needed at all, begins now to read what is sent in a moment.
fn read_ahead(slice: &FileSlice) {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::{ReadWriteFlags, preadv2};

        let len = std::num::NonZeroU64::new(slice.len as u64);
        let last = slice.position + len.map_or(0, |len| len.get() - 1);
        // Advice about what is in memory already costs a sixth of what sending it does. The beginning has just been looked at.
        let mut byte = [0];
        let there = preadv2(
            &*slice.file,
            &mut [std::io::IoSliceMut::new(&mut byte)],
            last,
            ReadWriteFlags::NOWAIT,
        );
        if there == Ok(1) {
            return;
        }
        // It is advice: if it is not taken, sending waits for the disk.
        let _ = rustix::fs::fadvise(&*slice.file, slice.position, len, rustix::fs::Advice::WillNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = slice;
}

fn floor_segment(inner: &Inner, offset: i64) -> Option<&Segment> {
    inner
        .segments
        .range(..=offset)
        .next_back()
        .map(|(_, segment)| segment)
}
