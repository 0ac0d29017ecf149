//! One round of cleaning: the keys of the dirty part are gathered, and everything before its end is written anew
//! without the records that they supersede.

use std::fs::File;
use std::time::SystemTime;

use heliostat_wire::batch::{BatchHeader, BatchView};

use super::super::error::{AtPath, ReadError, StorageError};
use super::super::inflate::inflate;
use super::super::partition::Log;
use super::super::scan::{Scan, ScanError, read_batch};
use super::super::segment::Segment;
use super::super::settings::LogConfig;
use super::filter::{Filter, Rest};
use super::offset_map::OffsetMap;
use super::parts::{Part, group, modified};
use super::throttle::Throttle;
use super::transactions::Transactions;
use super::{CleanError, CleanReport, CleanerOptions, at_step};

/// One round on one log.
pub(super) struct Round<'a> {
    pub(super) log: &'a Log,
    pub(super) config: &'a LogConfig,
    pub(super) options: &'a CleanerOptions,
    pub(super) throttle: &'a Throttle,
    pub(super) first_dirty: i64,
    /// Where the dirty part ends: at the base offset of a segment.
    pub(super) end: i64,
    pub(super) now_ms: i64,
    /// How often the log had been truncated when it was looked at.
    pub(super) cuts: u64,
    pub(super) report: CleanReport,
}

impl Round<'_> {
    /// Cleans; [`CleanReport::end_offset`] is then the offset from which on the log is dirty.
    pub(super) fn run(mut self) -> Result<CleanReport, CleanError> {
        self.log.finish_swaps_alone()?;
        // What supersedes a record must be on disk before the record goes, and so must the marker that decides on it,
        // which may lie in the active segment.
        self.log.flush(self.now_ms)?;
        let map = self.build_map()?;
        let end_offset = map.latest_offset().saturating_add(1);
        self.report.distinct_keys = u64::try_from(map.len()).unwrap_or(u64::MAX);
        let parts = self.log.parts(i64::MIN, end_offset)?;
        let from = parts.first().map_or(0, |first| first.base);
        let mut transactions = self.transactions(from, &parts)?;
        let groups = group(
            parts,
            self.config.segment_bytes,
            self.config.segment_index_bytes,
            self.end,
        );
        for parts in &groups {
            self.clean_group(parts, &map, &mut transactions)?;
        }
        self.report.end_offset = end_offset;
        Ok(self.report)
    }

    /// The last offset of each key in the dirty part, or in as much of it as the map has room for.
    fn build_map(&mut self) -> Result<OffsetMap, CleanError> {
        let parts = self.log.parts(self.first_dirty, self.end)?;
        let mut records = 0u64;
        for part in &parts {
            self.each_header(part, &mut |header| {
                records = records.saturating_add(u64::try_from(header.records_count).unwrap_or(0));
            })?;
        }
        let (bytes, factor) = (self.options.map_bytes, self.options.map_load_factor);
        let mut map = OffsetMap::new(records, bytes, factor);
        let mut transactions = self.transactions(self.first_dirty, &parts)?;
        for part in &parts {
            if !self.map_part(part, &mut map, &mut transactions)? {
                tracing::debug!(
                    log = self.log.name(),
                    "the offset map is full; the rest is left to the next round"
                );
                return Ok(map);
            }
            map.covers(part.end.min(self.end).saturating_sub(1));
        }
        map.covers(self.first_dirty.saturating_sub(1));
        Ok(map)
    }

    fn each_header(&self, part: &Part, seen: &mut dyn FnMut(&BatchHeader)) -> Result<(), CleanError> {
        let (file, position) = self.log.open_part(part, self.first_dirty)?;
        for item in Scan::new(&file, position, part.size) {
            self.throttle.check()?;
            let (_, header) = item.map_err(|error| self.damage(part, error))?;
            if header.last_offset() >= self.first_dirty {
                seen(&header);
            }
        }
        Ok(())
    }

    /// `false` if the map is full.
    fn map_part(
        &mut self,
        part: &Part,
        map: &mut OffsetMap,
        transactions: &mut Transactions,
    ) -> Result<bool, CleanError> {
        let (file, position) = self.log.open_part(part, self.first_dirty)?;
        let mut buffer = Vec::new();
        for item in Scan::new(&file, position, part.size) {
            let (position, header) = item.map_err(|error| self.damage(part, error))?;
            if header.last_offset() < self.first_dirty {
                continue;
            }
            let batch = self.read(part, &file, position, &header, &mut buffer)?;
            // What was aborted supersedes nothing.
            let skipped = transactions.see(&batch).discarded || header.is_control();
            let damage = |error| self.damage(part, ScanError::Batch(position, error));
            if !skipped && !self.map_batch(&batch, map).map_err(damage)? {
                return Ok(false);
            }
            map.covers(header.last_offset());
        }
        Ok(true)
    }

    fn map_batch(
        &self,
        batch: &BatchView<'_>,
        map: &mut OffsetMap,
    ) -> Result<bool, heliostat_wire::batch::BatchError> {
        let bytes = inflate(batch)?;
        for record in batch.records(&bytes) {
            let record = record?;
            let offset = batch.header().offset(record.offset_delta);
            if let Some(key) = record.key.filter(|_| offset >= self.first_dirty)
                && !map.put(key, offset)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Those whose markers lie at `from` or behind it: a walk that begins there sees how each ends.
    fn transactions(&self, from: i64, parts: &[Part]) -> Result<Transactions, CleanError> {
        let Some(last) = parts.last() else {
            return Ok(Transactions::default());
        };
        let found = self.log.aborted_transactions(from, last.end);
        Ok(Transactions::new(found.map_err(|error| match error {
            ReadError::Storage(error) => CleanError::Storage(error),
            _ => CleanError::Overtaken,
        })?))
    }

    /// Writes what is left of neighbours into one segment, which takes their place.
    fn clean_group(
        &mut self,
        parts: &[Part],
        map: &OffsetMap,
        transactions: &mut Transactions,
    ) -> Result<(), CleanError> {
        let (Some(first), false) = (parts.first(), parts.is_empty()) else {
            return Ok(());
        };
        let mut cleaned = Segment::create_cleaned(&self.log.dir, first.base, &self.log.options.disk)?;
        let done = self.fill(&mut cleaned, parts, map, transactions);
        let (changed, time) = match done {
            Ok(done) => done,
            Err(error) => {
                cleaned.discard();
                return Err(error);
            }
        };
        if !changed && parts.len() == 1 {
            cleaned.discard();
            return Ok(());
        }
        if let Err(error) = complete(&mut cleaned, time) {
            cleaned.discard();
            return Err(error.into());
        }
        at_step(&self.log.dir);
        self.report.segments_replaced += parts.len();
        self.log.replace(cleaned, parts, self.cuts, self.now_ms)
    }

    /// Whether anything is missing, and when the last part was written to.
    fn fill(
        &mut self,
        cleaned: &mut Segment,
        parts: &[Part],
        map: &OffsetMap,
        transactions: &mut Transactions,
    ) -> Result<(bool, SystemTime), CleanError> {
        let (mut changed, mut time) = (false, SystemTime::UNIX_EPOCH);
        for part in parts {
            let (file, _) = self.log.open_part(part, part.base)?;
            time = modified(&file, part)?;
            let filter = Filter {
                map,
                config: self.config,
                now_ms: self.now_ms,
                round_end: self.end,
                producers: self.log.last_batches()?,
            };
            changed |= self.clean_part(cleaned, (part, &file), &filter, transactions)?;
        }
        Ok((changed, time))
    }

    fn clean_part(
        &mut self,
        cleaned: &mut Segment,
        (part, file): (&Part, &File),
        filter: &Filter<'_>,
        transactions: &mut Transactions,
    ) -> Result<bool, CleanError> {
        let (mut changed, mut buffer) = (false, Vec::new());
        for item in Scan::new(file, 0, part.size) {
            let (position, header) = item.map_err(|error| self.damage(part, error))?;
            let batch = self.read(part, file, position, &header, &mut buffer)?;
            let damage = |error| self.damage(part, ScanError::Batch(position, error));
            let records = u64::try_from(header.records_count).unwrap_or(0);
            let role = transactions.see(&batch);
            let rest = filter.apply(&batch, role.discarded).map_err(damage)?;
            let (bytes, kept) = match &rest {
                Rest::Whole => (Some(batch.bytes()), records),
                Rest::Part(bytes, kept) => (Some(bytes.as_slice()), *kept),
                Rest::Nothing => (None, 0),
            };
            if let Some(bytes) = bytes {
                let header = BatchHeader::parse(bytes).map_err(damage)?;
                cleaned.append_marker(
                    bytes,
                    &header,
                    role.ends.as_ref(),
                    self.config.index_interval_bytes,
                )?;
                self.throttle.spend(bytes.len())?;
                self.report.bytes_written += bytes.len() as u64;
            }
            changed |= rest != Rest::Whole;
            self.report.records_read += records;
            self.report.records_dropped += records - kept;
        }
        Ok(changed)
    }

    fn read<'b>(
        &mut self,
        part: &Part,
        file: &File,
        position: u64,
        header: &BatchHeader,
        buffer: &'b mut Vec<u8>,
    ) -> Result<BatchView<'b>, CleanError> {
        self.throttle.check()?;
        self.throttle.spend(header.size())?;
        self.report.bytes_read += header.size() as u64;
        let batch =
            read_batch(file, position, header.size(), buffer).map_err(|error| self.damage(part, error))?;
        match batch.check_crc() {
            Ok(()) => Ok(batch),
            Err(error) => Err(self.damage(part, ScanError::Batch(position, error))),
        }
    }

    fn damage(&self, part: &Part, error: ScanError) -> CleanError {
        let file = self.log.dir.join(format!("{:020}.log", part.base));
        match error {
            ScanError::Io(source) => CleanError::Storage(StorageError {
                action: "read",
                path: file,
                source,
            }),
            ScanError::Batch(position, source) => CleanError::Damaged {
                file,
                position,
                source,
            },
        }
    }
}

/// Forces all of it to disk. It is as old as the newest segment that it was made from.
fn complete(cleaned: &mut Segment, time: SystemTime) -> Result<(), StorageError> {
    cleaned.seal()?;
    let path = cleaned.path().to_owned();
    cleaned
        .handle()?
        .set_modified(time)
        .at("set the time of", &path)?;
    cleaned.release();
    cleaned.sync()
}
