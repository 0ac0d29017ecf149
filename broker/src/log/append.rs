//! Appending: what a producer has sent becomes the end of the log.

use std::sync::TryLockError;

use heliostat_wire::batch::{BatchHeader, BatchMut, BatchView, NO_TIMESTAMP, TimestampType};

use super::error::{AppendError, StorageError};
use super::marker::{Marker, MarkerRecord};
use super::partition::{FlushPolicy, Inner, Log};
use super::producers::AppendedBatch;
use super::segment::{RollQuestion, Segment};
use super::settings::LogConfig;
use super::snapshot::write_snapshot;
use super::validate::{ValidBatch, validate};
use super::verification::Guard;

/// What became of a batch that was appended, or was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The offset of its last record. Under [`FlushPolicy::GroupCommit`](super::FlushPolicy::GroupCommit) it may be acknowledged once the high
    /// watermark is beyond it.
    pub last_offset: i64,
    /// The time of append in milliseconds, if the topic uses LogAppendTime; otherwise -1. For a duplicate, the largest
    /// timestamp of the batch that is there.
    pub log_append_time_ms: i64,
    /// The first offset of the log.
    pub log_start_offset: i64,
    /// The producer had sent the batch before; the offsets are those that it got then.
    pub duplicate: bool,
}

/// Somebody else is at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Log {
    /// Appends one batch, as a producer has sent it. When this returns it is in the page cache.
    ///
    /// After [`AppendError::Storage`] nothing of the batch is in the log, which stays readable; the same batch may be
    /// appended again. The one exception: a flush, where [`FlushPolicy::Each`] or flush.messages asks for it, comes after
    /// the append; when it fails, the log is read-only until it was found out what became of the batch.
    pub fn append(&self, records: &[u8], leader_epoch: i32, now_ms: i64) -> Result<Appended, AppendError> {
        self.append_guarded(records, None, leader_epoch, now_ms)
    }

    /// As [`Log::append`], with the guard of [`Log::verify_transaction`], which the first batch of a transaction needs.
    pub fn append_guarded(
        &self,
        records: &[u8],
        guard: Option<Guard>,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let config = self.config();
        let batch = validate(records, &config, now_ms)?;
        let size = u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX);
        if size > config.segment_bytes {
            return Err(AppendError::LargerThanSegment {
                size,
                limit: config.segment_bytes,
            });
        }
        self.write_and_flush(&config, |inner| {
            self.append_valid(inner, batch, guard, &config, leader_epoch, now_ms)
        })
    }

    /// Begins to verify that the transaction of a batch reaches this partition; to be called before the coordinator is
    /// asked. `None` if there is nothing to verify: the batch is not transactional, or its transaction is open here.
    ///
    /// `bumps_epoch` says that the producer starts each of its transactions with a new epoch.
    pub fn verify_transaction(&self, records: &[u8], bumps_epoch: bool) -> Option<Guard> {
        let header = transactional(records)?;
        self.open_inner()?.producers.verify(&header, bumps_epoch)
    }

    /// As [`Log::verify_transaction`], unless somebody is at the log, who may wait for the disk.
    pub fn try_verify_transaction(&self, records: &[u8], bumps_epoch: bool) -> Result<Option<Guard>, Busy> {
        let Some(header) = transactional(records) else {
            return Ok(None);
        };
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(Busy),
        };
        if inner.closed {
            return Ok(None);
        }
        Ok(inner.producers.verify(&header, bumps_epoch))
    }

    /// Writes the end of a producer's transaction. Without an open transaction the marker is written all the same: it
    /// keeps older epochs of the producer out.
    pub fn append_marker(
        &self,
        marker: &Marker,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let config = self.config();
        let bytes = marker
            .encode(config.timestamp_type, now_ms)
            .map_err(AppendError::Corrupt)?;
        let header = *BatchView::parse(&bytes).map_err(AppendError::Corrupt)?.header();
        let record = MarkerRecord {
            commit: marker.commit,
            coordinator_epoch: marker.coordinator_epoch,
        };
        self.write_and_flush(&config, |inner| {
            if inner.is_unproven() {
                return Err(AppendError::Storage(self.refused(inner)));
            }
            inner.producers.check_marker(marker)?;
            // A marker comes from the coordinator, whoever leads, and must not be lost to a change of leaders.
            let leader_epoch = inner.newer_epoch(leader_epoch).unwrap_or(leader_epoch);
            let batch = ValidBatch { bytes, header };
            self.write(inner, batch, Some(record), &config, leader_epoch, now_ms)
        })
    }

    /// Lets `write` append something, takes note of what the disk says to it, and flushes where the policy asks for it.
    fn write_and_flush(
        &self,
        config: &LogConfig,
        write: impl FnOnce(&mut Inner) -> Result<Appended, AppendError>,
    ) -> Result<Appended, AppendError> {
        let (appended, flush) = {
            let mut inner = self
                .open_inner()
                .ok_or_else(|| AppendError::Closed(self.name()))?;
            let appended = match write(&mut inner) {
                Err(AppendError::Storage(error)) if !inner.is_unproven() => {
                    self.note_trouble(&mut inner, &error, false);
                    return Err(AppendError::Storage(error));
                }
                other => other?,
            };
            self.note_success(&mut inner);
            let due = inner.durable <= appended.last_offset;
            let each = self.options.flush_policy == FlushPolicy::Each;
            let flush = due && (each || inner.unflushed_records >= config.flush_messages);
            (appended, flush)
        };
        if flush {
            self.commit()?;
        }
        Ok(appended)
    }

    fn append_valid(
        &self,
        inner: &mut Inner,
        batch: ValidBatch,
        guard: Option<Guard>,
        config: &LogConfig,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        if inner.is_unproven() {
            return Err(AppendError::Storage(self.refused(inner)));
        }
        // Under the lock of the log, so that nothing of an old leader comes after the first record of a new one.
        if let Some(newer) = inner.newer_epoch(leader_epoch) {
            return Err(AppendError::Fenced {
                epoch: leader_epoch,
                newer,
            });
        }
        if let Some(earlier) = inner.producers.check(&batch.header, guard)? {
            return Ok(inner.duplicate(&earlier));
        }
        self.write(inner, batch, None, config, leader_epoch, now_ms)
    }

    /// Gives the batch its place at the log's end. `marker` is what it says, if it is a marker.
    fn write(
        &self,
        inner: &mut Inner,
        mut batch: ValidBatch,
        marker: Option<MarkerRecord>,
        config: &LogConfig,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        batch.header.base_offset = inner.log_end_offset;
        batch.header.partition_leader_epoch = leader_epoch;
        let mut patched = BatchMut::parse(&mut batch.bytes).map_err(AppendError::Corrupt)?;
        patched.set_base_offset(inner.log_end_offset);
        patched.set_partition_leader_epoch(leader_epoch);
        let question = RollQuestion {
            batch_size: u64::try_from(batch.bytes.len()).unwrap_or(u64::MAX),
            batch_max_timestamp: batch.header.max_timestamp,
            last_offset: batch.header.last_offset(),
            now_ms,
            jitter_ms: inner.jitter_ms,
        };
        if inner
            .active()
            .map_or(Ok(true), |active| active.should_roll(config, &question))?
        {
            self.roll(inner, config, now_ms)?;
        }
        inner.epochs.assign(leader_epoch, batch.header.base_offset)?;
        self.hold_files(inner)?;
        inner.write(&batch, marker, config, now_ms, &self.name())?;
        self.advance(inner);
        Ok(Appended {
            base_offset: batch.header.base_offset,
            last_offset: batch.header.last_offset(),
            log_append_time_ms: append_time(config, batch.header.max_timestamp),
            log_start_offset: inner.log_start_offset,
            duplicate: false,
        })
    }

    /// Closes the active segment and starts a new one at the log's end.
    pub(super) fn roll(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        let base = inner.log_end_offset;
        let Some(active) = inner.active().filter(|active| active.base_offset < base) else {
            return Ok(());
        };
        // Completing the old segment does no harm if the new one cannot be created: it goes on as the active one.
        active.seal()?;
        let mut next = Segment::create(&self.dir, base, config, &self.options.disk, now_ms)?;
        active.release();
        if !inner.files_held {
            next.release();
        }
        inner.segments.insert(base, next);
        inner.jitter_ms = jitter(config);
        if let Err(error) = write_snapshot(&self.dir, base, &inner.producers, &self.options.disk) {
            // Without it a recovery reads more of the log, and finds the same.
            tracing::warn!(log = self.name(), %error, "producer snapshot left out");
        }
        Ok(())
    }
}

impl Inner {
    /// The epoch of the leader that has replaced the one of `epoch`, if one has.
    fn newer_epoch(&self, epoch: i32) -> Option<i32> {
        let latest = self.epochs.latest()?.epoch;
        Some(latest).filter(|latest| *latest > epoch)
    }

    /// Writes the batch to the active segment and takes note of it.
    fn write(
        &mut self,
        batch: &ValidBatch,
        marker: Option<MarkerRecord>,
        config: &LogConfig,
        now_ms: i64,
        name: &str,
    ) -> Result<(), AppendError> {
        let header = &batch.header;
        let ended = marker.and_then(|marker| {
            self.producers
                .ended_by(header.producer_id, &marker, header.base_offset)
        });
        let aborted = ended.filter(|ended| !ended.commit).map(|ended| ended.entry);
        let interval = config.index_interval_bytes;
        let active = self
            .active()
            .ok_or_else(|| AppendError::Closed(name.to_owned()))?;
        active.append_marker(&batch.bytes, header, aborted.as_ref(), interval)?;
        self.log_end_offset = header.next_offset();
        self.unflushed_bytes += u64::try_from(batch.bytes.len()).unwrap_or(0);
        self.unflushed_records += i64::from(header.records_count);
        match marker {
            Some(marker) => drop(self.producers.update_marker(header, &marker, now_ms)),
            None => self.producers.update(header, now_ms),
        }
        Ok(())
    }

    fn duplicate(&self, earlier: &AppendedBatch) -> Appended {
        Appended {
            base_offset: earlier.first_offset(),
            last_offset: earlier.last_offset,
            // Whatever the timestamp type, as Kafka tells it.
            log_append_time_ms: earlier.timestamp,
            log_start_offset: self.log_start_offset,
            duplicate: true,
        }
    }
}

/// The header of a batch that is part of a transaction.
fn transactional(records: &[u8]) -> Option<BatchHeader> {
    let header = BatchHeader::parse(records).ok()?;
    (header.has_producer_id() && header.is_transactional()).then_some(header)
}

/// How much earlier than segment.ms the next segment is closed.
pub(super) fn jitter(config: &LogConfig) -> i64 {
    let most = config.segment_jitter_ms.clamp(0, config.segment_ms.max(0));
    if most > 0 { rand::random_range(0..most) } else { 0 }
}

fn append_time(config: &LogConfig, max_timestamp: i64) -> i64 {
    match config.timestamp_type {
        TimestampType::LogAppendTime => max_timestamp,
        TimestampType::CreateTime => NO_TIMESTAMP,
    }
}
