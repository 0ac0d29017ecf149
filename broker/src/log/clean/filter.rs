//! What becomes of a batch when its log is compacted.

use std::collections::HashMap;

use heliostat_wire::batch::{BatchError, BatchHeader, BatchView, Retained};
use heliostat_wire::record::RecordView;

use super::super::inflate::inflate;
use super::super::partition::Log;
use super::super::settings::LogConfig;
use super::CleanError;
use super::offset_map::OffsetMap;

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// All of it, unchanged.
    Whole,
    /// This, with so many records.
    Part(Vec<u8>, u64),
    Nothing,
}

/// Decides on the batches of one round.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) config: &'a LogConfig,
    pub(super) now_ms: i64,
    /// The offset after the last one that this round may look at: the batch that ends there is kept, empty if need be, so
    /// that the offsets up to it stay accounted for.
    pub(super) round_end: i64,
    pub(super) producers: HashMap<i64, LastBatch>,
}

/// What a live producer needs of the log: its last batch, or the marker that holds its epoch if it has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastBatch {
    last_offset: Option<i64>,
    epoch: i16,
}

impl Log {
    /// The last batches of all producers that are known.
    pub(super) fn last_batches(&self) -> Result<HashMap<i64, LastBatch>, CleanError> {
        let inner = self.open_inner().ok_or(CleanError::Overtaken)?;
        let last = |(id, producer): (i64, &super::super::producers::Producer)| {
            let last_offset = producer.batches.back().map(|batch| batch.last_offset);
            let epoch = producer.epoch;
            (id, LastBatch { last_offset, epoch })
        };
        Ok(inner.producers.iter().map(last).collect())
    }
}

impl Filter<'_> {
    /// Applies to a batch what Kafka's cleaner applies. `discarded` says that the batch belongs to an aborted
    /// transaction, or is a marker of a transaction of which nothing else is left.
    pub(super) fn apply(&self, batch: &BatchView<'_>, discarded: bool) -> Result<Rest, BatchError> {
        let header = batch.header();
        let horizon = header.delete_horizon();
        let due = horizon.is_some_and(|horizon| horizon <= self.now_ms);
        let no_records = discarded && (due || !header.is_control());
        let keep_empty = self.is_last_of_producer(header) || header.next_offset() == self.round_end;
        if no_records && !keep_empty {
            return Ok(Rest::Nothing);
        }
        let bytes = inflate(batch)?;
        let mut keep = |record: &RecordView<'_>| !no_records && self.keeps(header, record);
        let (mut kept, mut tombstones) = (0u64, false);
        for record in batch.records(&bytes) {
            let record = record?;
            if keep(&record) {
                kept += 1;
                tombstones |= record.value.is_none();
            }
        }
        if kept == 0 {
            return match keep_empty {
                true if header.records_count == 0 => Ok(Rest::Whole),
                true => Ok(Rest::Part(batch.emptied()?, 0)),
                false => Ok(Rest::Nothing),
            };
        }
        let needs_horizon = horizon.is_none() && (tombstones || (discarded && header.is_control()));
        if !needs_horizon && Ok(kept) == u64::try_from(header.records_count) {
            return Ok(Rest::Whole);
        }
        let new_horizon = || self.now_ms.saturating_add(self.config.delete_retention_ms);
        let how = Retained {
            level: self.config.level(header.compression()?),
            delete_horizon: horizon.or_else(|| needs_horizon.then(new_horizon)),
        };
        Ok(Rest::Part(batch.retain(&bytes, how, &mut keep)?, kept))
    }

    fn keeps(&self, header: &BatchHeader, record: &RecordView<'_>) -> bool {
        let offset = header.offset(record.offset_delta);
        if header.is_control() || offset > self.map.latest_offset() {
            return true;
        }
        // A record without a key can have been appended only before the topic was compacted.
        let Some(key) = record.key else { return false };
        let last_of_key = self.map.get(key).is_none_or(|last| offset >= last);
        let tombstone_stays = || {
            header
                .delete_horizon()
                .is_none_or(|horizon| self.now_ms < horizon)
        };
        last_of_key && (record.value.is_some() || tombstone_stays())
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let last = self
            .producers
            .get(&header.producer_id)
            .filter(|_| header.has_producer_id());
        last.is_some_and(|last| match last.last_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }
}
