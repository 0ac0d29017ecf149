//! What makes a log shorter: retention by time and size, DeleteRecords, truncation; and the chores that go with it.

use std::sync::atomic::Ordering;

use super::checkpoint::lock;
use super::error::{DeleteRecordsError, StorageError};
use super::files::remove_if_there;
use super::load::producers_before;
use super::partition::{Inner, Log};
use super::segment::Segment;
use super::settings::LogConfig;
use super::snapshot::remove_snapshots;

/// The recovery point is moved after this time, also where little was appended.
pub(super) const TAIL_AGE_MAX_MS: i64 = 300_000;

impl Log {
    /// Deletes what lies before `before` (-1: the high watermark) for readers, and returns the new log start offset.
    /// It is on disk when this returns; the space comes back when whole segments are behind it.
    pub fn delete_records(&self, before: i64) -> Result<i64, DeleteRecordsError> {
        let mut inner = self
            .open_inner()
            .ok_or_else(|| DeleteRecordsError::Closed(self.name()))?;
        if !self.config().delete {
            return Err(DeleteRecordsError::Policy(self.name()));
        }
        let high_watermark = inner.high_watermark;
        let target = if before == -1 { high_watermark } else { before };
        if target < 0 || target > high_watermark {
            return Err(DeleteRecordsError::OffsetOutOfRange {
                log: self.name(),
                offset: before,
                high_watermark,
            });
        }
        if target > inner.log_start_offset {
            self.options
                .start_offsets
                .set(&self.topic, self.partition, Some(target))?;
            self.start_at(&mut inner, target)?;
        }
        Ok(inner.log_start_offset)
    }

    /// Deletes the segments that retention.ms, retention.bytes or DeleteRecords have made obsolete, oldest first, and
    /// returns how many. The active segment is closed first if it has expired too.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<usize, StorageError> {
        let config = self.config();
        let _alone = lock(&self.swapping);
        if let Err(error) = self.finish_swaps() {
            // The oldest segments can go all the same, and give room.
            tracing::warn!(log = self.name(), %error, "a cleaned segment cannot be given its name yet");
        }
        let Some(mut inner) = self.open_inner() else {
            return Ok(0);
        };
        let start = inner.log_start_offset;
        let mut deleted = self.delete_oldest(&mut inner, &config, now_ms, &mut |_, next| {
            next.is_some_and(|next| next <= start)
        })?;
        if !config.delete {
            return Ok(deleted);
        }
        if let Some(limit) = config.retention_bytes {
            let mut excess = inner.size().saturating_sub(limit);
            deleted += self.delete_oldest(&mut inner, &config, now_ms, &mut |segment, _| {
                let fits = excess > 0 && segment.size() <= excess;
                excess = excess.saturating_sub(segment.size());
                fits
            })?;
        }
        if let Some(limit) = config.retention_ms {
            deleted += self.delete_oldest(&mut inner, &config, now_ms, &mut |segment, _| {
                now_ms.saturating_sub(segment.age_timestamp()) > limit
            })?;
        }
        Ok(deleted)
    }

    /// All that must happen from time to time: retention, removal of files whose delay is over, expiry of producers,
    /// and a flush where flush.ms asks for it or a segment was closed.
    pub fn maintain(&self, now_ms: i64) -> Result<(), StorageError> {
        self.enforce_retention(now_ms)?;
        let config = self.config();
        let flush = {
            let Some(mut inner) = self.open_inner() else {
                return Ok(());
            };
            let expiration_ms = self.options.producer_expiration_ms.load(Ordering::Relaxed);
            inner.producers.expire(now_ms, expiration_ms);
            self.publish(&inner);
            self.remove_retired(&mut inner, now_ms);
            let mut segments = inner.segments.values_mut();
            segments.try_for_each(|segment| segment.mend_indexes(config.index_interval_bytes))?;
            let closed_segment = inner
                .segments
                .keys()
                .next_back()
                .is_some_and(|base| inner.recovery_point < *base);
            let age = now_ms.saturating_sub(inner.last_flush_ms);
            closed_segment || age >= config.flush_ms.min(TAIL_AGE_MAX_MS)
        };
        if flush {
            self.flush(now_ms)?;
        }
        Ok(())
    }

    /// Removes all records from `offset` on, as a follower does that has diverged from its leader. A batch that holds
    /// the offset goes as a whole. Returns the new log end offset.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> Result<i64, StorageError> {
        let config = self.config();
        let mut cuts = lock(&self.swapping);
        self.finish_swaps()?;
        let Some(mut inner) = self.open_inner() else {
            return Ok(lock(&self.inner).log_end_offset);
        };
        if offset >= inner.log_end_offset {
            return Ok(inner.log_end_offset);
        }
        *cuts += 1;
        let offset = offset.max(inner.log_start_offset);
        inner.remove_segments_behind(offset)?;
        let cut = inner
            .active()
            .map(|active| active.truncate_to(offset, config.index_interval_bytes));
        let end = cut.transpose()?.unwrap_or(offset).max(inner.log_start_offset);
        if inner.segments.is_empty() {
            let disk = &self.options.disk;
            let segment = Segment::create(&self.dir, offset, &config, disk, now_ms)?;
            inner.segments.insert(offset, segment);
        }
        inner.release_files();
        inner.log_end_offset = end;
        inner.recovery_point = inner.recovery_point.min(end);
        inner.durable = inner.durable.min(end);
        inner.truncations += 1;
        inner.names_synced = i64::MIN;
        inner.epochs.truncate_from_end(end)?;
        if self.clean_until().is_some_and(|clean| clean > end) {
            let clean = &self.options.clean_offsets;
            clean.set(&self.topic, self.partition, Some(end))?;
        }
        remove_snapshots(&self.dir, |snapshot| snapshot > end)?;
        inner.producers = producers_before(&self.dir, &inner.segments, end, now_ms)?;
        inner.producers.count_in(&self.options.census);
        self.advance(&mut inner);
        Ok(end)
    }

    /// Removes renamed files whose delay is over.
    fn remove_retired(&self, inner: &mut Inner, now_ms: i64) {
        inner.retired.retain(|(path, due)| {
            if *due > now_ms {
                return true;
            }
            remove_if_there(path)
                .inspect_err(|error| tracing::warn!(%error, "deleted segment stays behind"))
                .is_err()
        });
    }

    /// Deletes segments from the oldest on, as long as `obsolete` says so of each. It is asked with the next
    /// segment's base offset, if there is one.
    fn delete_oldest(
        &self,
        inner: &mut Inner,
        config: &LogConfig,
        now_ms: i64,
        obsolete: &mut dyn FnMut(&Segment, Option<i64>) -> bool,
    ) -> Result<usize, StorageError> {
        let mut doomed = Vec::new();
        let mut segments = inner.segments.values().peekable();
        while let Some(segment) = segments.next() {
            let next = segments.peek().map(|next| next.base_offset);
            let end = next.unwrap_or(inner.log_end_offset);
            let empty_and_active = next.is_none() && segment.size() == 0;
            if empty_and_active || end > inner.high_watermark || !obsolete(segment, next) {
                break;
            }
            doomed.push(segment.base_offset);
        }
        if !doomed.is_empty() && doomed.len() == inner.segments.len() {
            self.roll(inner, config, now_ms)?;
        }
        for base in &doomed {
            let Some(segment) = inner.segments.get_mut(base) else {
                continue;
            };
            let retired = segment.retire_for_good()?;
            inner.segments.remove(base);
            let due = now_ms.saturating_add(config.file_delete_delay_ms);
            inner.retired.extend(retired.into_iter().map(|path| (path, due)));
            tracing::info!(log = self.name(), base_offset = base, "segment deleted");
        }
        if let Some(first) = inner
            .segments
            .keys()
            .next()
            .copied()
            .filter(|_| !doomed.is_empty())
        {
            let start = first.max(inner.log_start_offset);
            self.start_at(inner, start)?;
            remove_snapshots(&self.dir, |offset| offset < first)?;
        }
        Ok(doomed.len())
    }

    fn start_at(&self, inner: &mut Inner, offset: i64) -> Result<(), StorageError> {
        inner.log_start_offset = offset;
        inner.high_watermark = inner.high_watermark.max(offset);
        self.publish(inner);
        inner.epochs.truncate_from_start(offset)
    }
}

impl Inner {
    /// Removes the segments that begin behind an offset, the last one first, so that a crash leaves no hole.
    pub(super) fn remove_segments_behind(&mut self, offset: i64) -> Result<(), StorageError> {
        while let Some(mut last) = self.segments.last_entry().filter(|last| *last.key() > offset) {
            let retired = last.get_mut().retire_for_good()?;
            last.remove();
            retired.iter().try_for_each(|path| remove_if_there(path))?;
        }
        Ok(())
    }
}
