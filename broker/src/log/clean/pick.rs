//! Which log is to be cleaned next, and who is at it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use heliostat_wire::Uuid;

use super::super::checkpoint::{TopicPartition, lock};
use super::super::error::StorageError;
use super::super::partition::{Inner, Log};
use super::super::settings::LogConfig;
use super::round::Round;
use super::throttle::Throttle;
use super::{CleanError, CleanReport, CleanerOptions};

/// Cleans logs, on the threads of those who call it.
#[derive(Debug, Default)]
pub struct Cleaner {
    state: Mutex<State>,
    throttle: Throttle,
}

#[derive(Debug, Default)]
struct State {
    busy: BTreeSet<TopicPartition>,
    /// Logs that cannot be cleaned, by the id of their topic: a topic that is made anew starts anew.
    uncleanable: BTreeMap<TopicPartition, Uuid>,
    /// Logs for which there was no room or no disk, and when to try again.
    postponed: BTreeMap<TopicPartition, i64>,
    facts: CleanerFacts,
}

/// What has been done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanerFacts {
    /// Rounds that came to their end.
    pub rounds: u64,
    /// Rounds that did not.
    pub failed_rounds: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Records that were dropped.
    pub records_dropped: u64,
    /// Partitions that are damaged and therefore not cleaned any more.
    pub uncleanable_partitions: usize,
    /// Partitions that are cleaned right now.
    pub partitions_in_progress: usize,
}

/// A log whose turn it is. Nobody else cleans it until this is dropped.
#[derive(Debug)]
pub struct ToClean {
    log: Arc<Log>,
    cleaner: Arc<Cleaner>,
    first_dirty: i64,
    end: i64,
    cuts: u64,
}

/// How a log stands with the cleaner.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Standing {
    cuts: u64,
    first_dirty: i64,
    /// The base offset of the first segment that must be left alone.
    end: i64,
    clean_bytes: u64,
    dirty_bytes: u64,
    /// max.compaction.lag.ms says that it is high time.
    overdue: bool,
}

/// After how long a log is tried again whose disk was full, or failed.
const RETRY_MS: i64 = 60_000;

impl Cleaner {
    /// The log of the largest dirty part, if it is larger than min.cleanable.dirty.ratio, or has waited for longer than
    /// max.compaction.lag.ms.
    pub fn next(self: &Arc<Self>, logs: &[Arc<Log>], now_ms: i64) -> Option<ToClean> {
        let mut best: Option<(f64, ToClean)> = None;
        for log in logs.iter().filter(|log| log.config().compact) {
            let Some(standing) = self.standing(log, now_ms) else {
                continue;
            };
            let ratio = standing.ratio();
            let due = standing.overdue || ratio > log.config().min_cleanable_dirty_ratio;
            if standing.dirty_bytes > 0
                && due
                && best.as_ref().is_none_or(|(most, _)| ratio > *most)
                && let Some(turn) = self.take(log, standing)
            {
                best = Some((ratio, turn));
            }
        }
        best.map(|(_, to_clean)| to_clean)
    }

    /// This log, however small its dirty part; `None` if there is none, or somebody is at it, or it cannot be cleaned.
    pub fn turn(self: &Arc<Self>, log: &Arc<Log>, now_ms: i64) -> Option<ToClean> {
        let standing = self
            .standing(log, now_ms)
            .filter(|standing| standing.dirty_bytes > 0)?;
        self.take(log, standing)
    }

    /// Cleans the log. What goes wrong is logged here, and decides when it is tried again.
    pub fn clean(
        &self,
        to_clean: &ToClean,
        options: &CleanerOptions,
        now_ms: i64,
    ) -> Result<CleanReport, CleanError> {
        self.throttle.set_rate(options.max_bytes_per_second);
        let log = &to_clean.log;
        let round = Round {
            log,
            config: &log.config(),
            options,
            throttle: &self.throttle,
            first_dirty: to_clean.first_dirty,
            end: to_clean.end,
            now_ms,
            cuts: to_clean.cuts,
            report: CleanReport::default(),
        };
        let result = round.run().and_then(|report| {
            log.set_clean_until(report.end_offset, to_clean.cuts)?;
            Ok(report)
        });
        // Whatever went wrong with the files of a log that was closed meanwhile is no news.
        let overtaken = |error| {
            if log.open_inner().is_none() {
                CleanError::Overtaken
            } else {
                error
            }
        };
        let result = result.map_err(overtaken);
        self.note(log, &result, now_ms);
        result
    }

    /// Ends all rounds that are under way. None begins afterwards.
    pub fn stop(&self) {
        self.throttle.stop();
    }

    /// What has been done so far.
    pub fn facts(&self) -> CleanerFacts {
        let state = lock(&self.state);
        CleanerFacts {
            uncleanable_partitions: state.uncleanable.len(),
            partitions_in_progress: state.busy.len(),
            ..state.facts.clone()
        }
    }

    /// A log is gone.
    pub(in super::super) fn forget(&self, key: &TopicPartition) {
        let mut state = lock(&self.state);
        state.uncleanable.remove(key);
        state.postponed.remove(key);
    }

    fn standing(&self, log: &Log, now_ms: i64) -> Option<Standing> {
        let key = key(log);
        {
            let mut state = lock(&self.state);
            let refused = state.uncleanable.get(&key) == Some(&log.topic_id());
            let waits = state.postponed.get(&key).is_some_and(|until| *until > now_ms);
            if refused || waits || state.busy.contains(&key) {
                return None;
            }
            state.postponed.remove(&key);
        }
        log.standing(now_ms)
            .inspect_err(
                |error| tracing::warn!(log = log.name(), %error, "log cannot be looked at for cleaning"),
            )
            .ok()?
    }

    fn take(self: &Arc<Self>, log: &Arc<Log>, standing: Standing) -> Option<ToClean> {
        lock(&self.state).busy.insert(key(log)).then(|| ToClean {
            log: Arc::clone(log),
            cleaner: Arc::clone(self),
            first_dirty: standing.first_dirty,
            end: standing.end,
            cuts: standing.cuts,
        })
    }

    fn note(&self, log: &Log, result: &Result<CleanReport, CleanError>, now_ms: i64) {
        let mut state = lock(&self.state);
        match result {
            Ok(report) => {
                state.facts.rounds += 1;
                state.facts.bytes_read += report.bytes_read;
                state.facts.bytes_written += report.bytes_written;
                state.facts.records_dropped += report.records_dropped;
                tracing::info!(
                    log = log.name(),
                    end_offset = report.end_offset,
                    records_dropped = report.records_dropped,
                    bytes_read = report.bytes_read,
                    bytes_written = report.bytes_written,
                    "log cleaned"
                );
            }
            Err(CleanError::Stopped) => {}
            Err(error) => {
                state.facts.failed_rounds += 1;
                match error {
                    CleanError::Damaged { .. } => {
                        tracing::error!(
                            log = log.name(), %error,
                            "log is not compacted any more, and keeps all its records; copy what can be read and make the topic anew"
                        );
                        state.uncleanable.insert(key(log), log.topic_id());
                    }
                    CleanError::Storage(error) => {
                        tracing::warn!(log = log.name(), %error, "log was not cleaned; it is tried again in a minute");
                        state.postponed.insert(key(log), now_ms.saturating_add(RETRY_MS));
                    }
                    _ => tracing::debug!(log = log.name(), %error, "log was not cleaned"),
                }
            }
        }
    }
}

impl ToClean {
    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for ToClean {
    fn drop(&mut self) {
        lock(&self.cleaner.state).busy.remove(&key(&self.log));
    }
}

impl Standing {
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more")]
    fn ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            all => self.dirty_bytes as f64 / all as f64,
        }
    }
}

impl Log {
    /// Where the clean part ends, as far as it is known.
    pub fn clean_until(&self) -> Option<i64> {
        self.options.clean_offsets.get(&self.topic, self.partition)
    }

    fn set_clean_until(&self, offset: i64, cuts: u64) -> Result<(), CleanError> {
        let alone = lock(&self.swapping);
        if *alone != cuts {
            return Err(CleanError::Overtaken);
        }
        // Of a log that is deleted nothing is written down.
        drop(self.open_inner().ok_or(CleanError::Overtaken)?);
        Ok(self
            .options
            .clean_offsets
            .set(&self.topic, self.partition, Some(offset))?)
    }

    /// `None` if the log is closed.
    fn standing(&self, now_ms: i64) -> Result<Option<Standing>, StorageError> {
        let config = self.config();
        let cuts = self.cuts();
        let Some(mut inner) = self.open_inner() else {
            return Ok(None);
        };
        let start = inner.log_start_offset;
        // A checkpoint that does not fit the log is from before a DeleteRecords or a truncation.
        let known = self
            .clean_until()
            .filter(|offset| (start..=inner.log_end_offset).contains(offset));
        let first_dirty = known.unwrap_or(start);
        let end = inner.uncleanable_from(first_dirty, &config, now_ms);
        let size = |inner: &Inner, from: i64, to: i64| -> u64 {
            let first = inner
                .segments
                .range(..=from)
                .next_back()
                .map_or(from, |(base, _)| *base);
            inner
                .segments
                .range(first..to.max(first))
                .map(|(_, segment)| segment.size())
                .sum()
        };
        Ok(Some(Standing {
            cuts,
            first_dirty,
            end,
            clean_bytes: size(&inner, i64::MIN, first_dirty),
            dirty_bytes: if first_dirty < end {
                size(&inner, first_dirty, end)
            } else {
                0
            },
            overdue: inner.is_overdue(first_dirty, end, &config, now_ms)?,
        }))
    }
}

impl Inner {
    /// The base offset of the first segment that must not be cleaned yet: the active one, one with records that are not
    /// stable, or one with records younger than min.compaction.lag.ms.
    fn uncleanable_from(&self, first_dirty: i64, config: &LogConfig, now_ms: i64) -> i64 {
        let active = self.segments.keys().next_back().copied().unwrap_or(first_dirty);
        let mut limit = self.last_stable_offset().min(active);
        let lag = config.min_compaction_lag_ms.max(0);
        if lag > 0 {
            let from = self.segment_of(first_dirty);
            let young = self
                .segments
                .range(from..active.max(from))
                .find(|(_, segment)| segment.age_timestamp() > now_ms.saturating_sub(lag));
            limit = young.map_or(limit, |(base, _)| limit.min(*base));
        }
        self.segment_of(limit.max(first_dirty).min(active))
    }

    fn segment_of(&self, offset: i64) -> i64 {
        self.segments
            .range(..=offset)
            .next_back()
            .map_or(offset, |(base, _)| *base)
    }

    fn is_overdue(
        &mut self,
        first_dirty: i64,
        end: i64,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<bool, StorageError> {
        if config.max_compaction_lag_ms == i64::MAX || first_dirty >= end {
            return Ok(false);
        }
        let until = now_ms.saturating_sub(config.max_compaction_lag_ms.max(0));
        let from = self.segment_of(first_dirty);
        for (_, segment) in self.segments.range_mut(from..end) {
            if segment
                .first_timestamp()?
                .is_some_and(|first| first > 0 && first < until)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn key(log: &Log) -> TopicPartition {
    (log.topic().to_owned(), log.partition())
}
