//! Where in a segment to begin to look, by its indexes. What an index says is checked against the log before it is
//! believed: at a clean start only its last entry was looked at, and a wrong one must cost time, never records.

use std::fs::File;
use std::sync::atomic::Ordering;

use heliostat_wire::batch::{BatchHeader, HEADER_SIZE};

use super::error::{AtPath, StorageError};
use super::files::read_up_to;
use super::index::{OffsetEntry, TimeEntry};
use super::scan::{Scan, ScanError};
use super::segment::Segment;

/// Where the format's number stands in a batch, and the one that Kafka writes since 0.11.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;

impl Segment {
    /// Where to start looking for `offset`: a batch starts there, and none before it holds the offset.
    pub(crate) fn floor_position(&self, offset: i64) -> Result<u64, StorageError> {
        let Some(entry) = self.offsets.floor(offset)? else {
            return Ok(0);
        };
        let file = self.handle()?;
        self.believe(&file, entry, |header| header.base_offset <= offset)
    }

    /// The last indexed place at or before `position`: a batch starts there.
    pub(crate) fn floor_of_position(&self, position: u64) -> Result<u64, StorageError> {
        let Some(entry) = self.offsets.floor_of_position(position)? else {
            return Ok(0);
        };
        let file = self.handle()?;
        self.believe(&file, entry, |_| entry.position <= position)
    }

    /// Where to start looking for the first record with this timestamp or a later one.
    pub(crate) fn floor_position_of_time(&self, timestamp: i64) -> Result<u64, StorageError> {
        let Some(entry) = self.times.floor(timestamp)? else {
            return Ok(0);
        };
        match self.position_of_time(entry)? {
            Some(position) if entry.timestamp <= timestamp => Ok(position),
            _ => {
                self.suspect("time");
                Ok(0)
            }
        }
    }

    /// Whether the time index ends with what the log holds: retention goes by it.
    pub(super) fn is_last_time_right(&self) -> Result<bool, StorageError> {
        match self.largest() {
            Some(entry) => Ok(self.position_of_time(entry)?.is_some()),
            None => Ok(true),
        }
    }

    /// Writes both indexes anew if one was found to be wrong. Damage in the log itself is not looked for here: the
    /// indexes then end before it.
    pub(super) fn mend_indexes(&mut self, index_interval: u64) -> Result<(), StorageError> {
        if !self.is_suspect() {
            return Ok(());
        }
        let file = self.handle()?;
        let (mut offsets, mut times, mut last_entry) = (Vec::new(), Vec::<TimeEntry>::new(), 0);
        let mut largest: Option<TimeEntry> = None;
        for item in Scan::new(&file, 0, self.size()) {
            let (position, header) = match item {
                Ok(found) => found,
                Err(ScanError::Io(error)) => return Err(error).at("read", &self.path),
                Err(ScanError::Batch(..)) => break,
            };
            let offset = header.last_offset();
            if largest.map_or(header.max_timestamp >= 0, |most| {
                header.max_timestamp > most.timestamp
            }) {
                let timestamp = header.max_timestamp;
                largest = Some(TimeEntry { timestamp, offset });
            }
            if position - last_entry > index_interval {
                offsets.push(OffsetEntry { offset, position });
                times.extend(largest);
                last_entry = position;
            }
        }
        times.extend(largest);
        times.dedup_by_key(|entry| entry.timestamp);
        self.set_indexes(&offsets, &times)?;
        tracing::info!(file = %self.path.display(), "indexes were written anew");
        Ok(())
    }

    /// Lets a closed segment end with its last whole batch, where the file has more: the next segment begins at `end`, and
    /// what lies behind that batch was never appended. Only the batches from the last index entry on are looked at.
    ///
    /// A batch that is damaged stays: whoever reads it must hear of it.
    pub(super) fn end_with_last_batch(&mut self, end: i64) -> Result<(), StorageError> {
        let file = self.handle()?;
        let (mut good, mut next_offset) = (self.floor_position(i64::MAX)?, self.base_offset);
        for item in Scan::new(&file, good, self.size()) {
            match item {
                Ok((position, header))
                    if self.follows(&header, next_offset) && header.last_offset() < end =>
                {
                    good = position + u64::try_from(header.size()).unwrap_or(0);
                    next_offset = header.next_offset();
                }
                Err(ScanError::Io(error)) => return Err(error).at("read", &self.path),
                Ok(_) | Err(ScanError::Batch(..)) => break,
            }
        }
        if good == self.size() {
            return Ok(());
        }
        let mut bytes = [0; HEADER_SIZE];
        let filled = read_up_to(&file, &mut bytes, good).at("read", &self.path)?;
        let base_offset = bytes.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes));
        let was_batch =
            filled > MAGIC_AT && bytes[MAGIC_AT] == MAGIC && (next_offset..end).contains(&base_offset);
        if was_batch {
            tracing::error!(file = %self.path.display(), position = good, "a batch at the end of a segment is damaged");
            return Ok(());
        }
        tracing::warn!(
            file = %self.path.display(), position = good, bytes = self.size() - good,
            "what lies behind the last batch of a segment is no part of the log and is left out"
        );
        self.size = good;
        Ok(())
    }

    pub(super) fn suspect(&self, what: &str) {
        if !self.suspect.swap(true, Ordering::Relaxed) {
            tracing::warn!(file = %self.path.display(), what, "an index has a wrong entry and is done without until it is mended");
        }
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Replaces both indexes, as after a walk through the segment.
    pub(super) fn set_indexes(
        &mut self,
        offsets: &[OffsetEntry],
        times: &[TimeEntry],
    ) -> Result<(), StorageError> {
        self.offsets.rebuild(&self.disk, offsets)?;
        self.times.rebuild(&self.disk, times)?;
        self.suspect.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The position of an entry if a batch starts there that fits it; otherwise the segment's start.
    fn believe(
        &self,
        file: &File,
        entry: OffsetEntry,
        fits: impl Fn(&BatchHeader) -> bool,
    ) -> Result<u64, StorageError> {
        let mut bytes = [0; HEADER_SIZE];
        let filled = read_up_to(file, &mut bytes, entry.position).at("read", &self.path)?;
        let right = BatchHeader::parse(&bytes[..filled]).is_ok_and(|header| {
            let size = u64::try_from(header.size()).unwrap_or(u64::MAX);
            // Kafka's cleaner indexes several batches under the last offset of the last one.
            let near = (header.base_offset..=entry.offset).contains(&header.last_offset());
            let within =
                header.base_offset >= self.base_offset && entry.position.saturating_add(size) <= self.size();
            near && within && fits(&header)
        });
        if right {
            return Ok(entry.position);
        }
        self.suspect("offset");
        Ok(0)
    }

    /// Where to start looking for the batch that the entry speaks of; `None` if it is not as the entry says.
    fn position_of_time(&self, entry: TimeEntry) -> Result<Option<u64>, StorageError> {
        let position = self.floor_position(entry.offset)?;
        let file = self.handle()?;
        match Scan::new(&file, position, self.size()).find_offset(entry.offset) {
            Ok(Some((found, header))) => Ok((header.base_offset <= entry.offset
                && header.max_timestamp == entry.timestamp)
                .then_some(found)),
            Ok(None) | Err(ScanError::Batch(..)) => Ok(None),
            Err(ScanError::Io(error)) => Err(error).at("read", &self.path),
        }
    }
}
