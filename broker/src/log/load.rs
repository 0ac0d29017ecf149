//! Opens a log, and recovers it if the last process did not close it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use heliostat_wire::Uuid;
use heliostat_wire::batch::{BatchHeader, BatchView};

use super::aborted::AbortedTransaction;
use super::aborted_check::contradiction;
use super::append::jitter;
use super::checkpoint::read_topic_id;
use super::clean::finish_swaps;
use super::epoch::LeaderEpochs;
use super::error::{AtPath, StorageError};
use super::files::remove_if_there;
use super::marker::MarkerRecord;
use super::partition::{Identity, Inner, Log, LogOptions};
use super::producers::{Producer, Producers};
use super::rescan::Recovered;
use super::scan::{Scan, ScanError, read_batch};
use super::segment::{DELETED_SUFFIX, Segment, offset_of};
use super::settings::LogConfig;
use super::snapshot::{list_snapshots, read_snapshot, remove_snapshots, write_snapshot};

/// What is known of a log before its directory is looked at.
#[derive(Debug, Clone)]
pub(super) struct OpenLog<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) dir: &'a Path,
    pub(super) config: LogConfig,
    pub(super) options: LogOptions,
    /// Everything before this offset is known to be on disk.
    pub(super) recovery_point: i64,
    /// The last process has closed the log.
    pub(super) clean: bool,
    pub(super) now_ms: i64,
}

impl Log {
    /// Opens the log in a directory that exists. What was acknowledged is there afterwards; a torn tail is not.
    pub(super) fn open(open: OpenLog<'_>) -> Result<Arc<Log>, StorageError> {
        let start = open
            .options
            .start_offsets
            .get(open.topic, open.partition)
            .unwrap_or(0);
        let topic_id = read_topic_id(open.dir)?.unwrap_or(Uuid::ZERO);
        finish_swaps(open.dir)?;
        let epochs = LeaderEpochs::open(open.dir, &open.options.disk)?;
        let mut loader = Loader {
            open: &open,
            segments: BTreeMap::new(),
            epochs,
            recovered: None,
            point: open.recovery_point,
        };
        let bases = loader.list_segments()?;
        let unclean_from = loader.open_segments(&bases)?;
        if loader.epochs.is_lost() {
            loader.find_epochs()?;
        }
        let (mut log_end_offset, mut producers) = match unclean_from {
            Some(from) => loader.recover(from, &bases)?,
            None => loader.take_over()?,
        };
        let first = loader.segments.keys().next().copied().unwrap_or(start);
        let log_start_offset = start.max(first);
        if log_end_offset < log_start_offset {
            tracing::warn!(
                dir = %open.dir.display(), log_end_offset, log_start_offset,
                "the log ends before its start offset; it starts anew from there"
            );
            producers = Producers::default();
            log_end_offset = log_start_offset;
            loader.start_anew(log_start_offset)?;
        }
        let clean = open.options.clean_offsets.get(open.topic, open.partition);
        if clean.is_some_and(|clean| clean > log_end_offset) {
            let clean = &open.options.clean_offsets;
            clean.set(open.topic, open.partition, Some(log_end_offset))?;
        }
        loader.epochs.save()?;
        loader.epochs.truncate_from_end(log_end_offset)?;
        loader.epochs.truncate_from_start(log_start_offset)?;
        producers.replicated(log_end_offset);
        producers.count_in(&open.options.census);
        let recovery_point = loader
            .recovered
            .map_or(log_end_offset, |from| from.min(open.recovery_point))
            .clamp(log_start_offset, log_end_offset);
        let mut inner = Inner {
            segments: loader.segments,
            log_start_offset,
            log_end_offset,
            high_watermark: log_end_offset,
            recovery_point,
            durable: recovery_point,
            truncations: 0,
            commit_queued: false,
            flush_timed: false,
            last_commit: None,
            epochs: loader.epochs,
            producers,
            unflushed_records: 0,
            unflushed_bytes: 0,
            snapshot: None,
            last_flush_ms: open.now_ms,
            jitter_ms: jitter(&open.config),
            retired: Vec::new(),
            closed: false,
            directory_synced: false,
            names_synced: i64::MIN,
            trouble: None,
            files_held: false,
            recently_used: false,
            listed: false,
        };
        inner.release_files();
        let identity = Identity {
            topic: open.topic.to_owned(),
            partition: open.partition,
            topic_id,
            dir: open.dir.to_owned(),
        };
        Ok(Log::new(identity, open.options, open.config, inner))
    }
}

struct Loader<'a> {
    open: &'a OpenLog<'a>,
    segments: BTreeMap<i64, Segment>,
    epochs: LeaderEpochs,
    /// From where on the log was recovered, if it was.
    recovered: Option<i64>,
    /// Everything before this offset is believed to be as it was written.
    point: i64,
}

impl Loader<'_> {
    /// The base offsets of all segments. Rests of deletions and of failed rolls are removed; what is not known is
    /// left alone.
    fn list_segments(&self) -> Result<Vec<i64>, StorageError> {
        let dir = self.open.dir;
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).at("list", dir)? {
            names.extend(entry.at("list", dir)?.file_name().into_string().ok());
        }
        let mut bases: Vec<i64> = names.iter().filter_map(|name| offset_of(name, ".log")).collect();
        bases.sort_unstable();
        for name in &names {
            let path = dir.join(name);
            let index = [".index", ".timeindex", ".txnindex"]
                .iter()
                .find_map(|suffix| offset_of(name, suffix));
            if [DELETED_SUFFIX, ".tmp", ".cleaned"]
                .iter()
                .any(|suffix| name.ends_with(suffix))
            {
                remove_if_there(&path)?;
            } else if let Some(base) = index {
                if bases.binary_search(&base).is_err() {
                    tracing::warn!(file = %path.display(), "index without a segment is removed");
                    remove_if_there(&path)?;
                }
            } else if !is_known(name) {
                tracing::warn!(file = %path.display(), "unknown file is left alone");
            }
        }
        Ok(bases)
    }

    /// Opens the segments as they are; returns from which one on they must be recovered, if any must.
    fn open_segments(&mut self, bases: &[i64]) -> Result<Option<i64>, StorageError> {
        let point = self.open.recovery_point;
        let mut from = if self.open.clean || bases.is_empty() {
            None
        } else {
            bases
                .iter()
                .rev()
                .find(|base| **base <= point)
                .or(bases.first())
                .copied()
        };
        for (place, base) in bases.iter().enumerate() {
            if from.is_some_and(|from| from <= *base) {
                break;
            }
            let next = bases.get(place + 1).copied();
            let end = next.unwrap_or(i64::MAX);
            match Segment::open(self.open.dir, *base, end, &self.open.options.disk)? {
                Some(mut segment) => {
                    if let Some(next) = next {
                        segment.end_with_last_batch(next)?;
                    }
                    self.segments.insert(*base, segment);
                }
                None => from = Some(*base),
            }
        }
        if let Some(wrong) = contradiction(&self.segments, i64::MAX) {
            tracing::warn!(dir = %self.open.dir.display(), base = wrong, "the lists of aborted transactions contradict each other");
            self.segments.split_off(&wrong);
            from = Some(wrong);
        }
        Ok(from)
    }

    /// Reads the leader epochs from the batches of the segments that are open. Those that are recovered later tell
    /// theirs then.
    fn find_epochs(&mut self) -> Result<(), StorageError> {
        for segment in self.segments.values() {
            let file = segment.handle()?;
            for item in Scan::new(&file, 0, segment.size()) {
                match item {
                    Ok((_, header)) => self
                        .epochs
                        .replay(header.partition_leader_epoch, header.base_offset),
                    Err(ScanError::Io(error)) => return Err(error).at("read", segment.path()),
                    // Whoever reads the segment finds the damage too, and deals with it.
                    Err(ScanError::Batch(..)) => break,
                }
            }
        }
        Ok(())
    }

    /// Scans every segment from `from` on. The first batch that is not good ends the log.
    fn recover(&mut self, from: i64, bases: &[i64]) -> Result<(i64, Producers), StorageError> {
        let dir = self.open.dir;
        self.recovered = Some(from);
        let open_later = open_transactions_after(dir, from, self.open.now_ms)?;
        let (mut producers, found) = match self.recover_tail(from)? {
            Some((producers, recovered)) => (producers, Some(recovered)),
            None => {
                remove_snapshots(dir, |offset| offset > from)?;
                self.epochs.rewind(from);
                (
                    producers_before(dir, &self.segments, from, self.open.now_ms)?,
                    None,
                )
            }
        };
        let mut next_offset = found.as_ref().map_or(from, |found| found.next_offset);
        // What is cut off from the end of a segment that reaches to the next one was no part of the log.
        let is_end =
            |recovered: &Recovered| recovered.cut > 0 && bases.binary_search(&recovered.next_offset).is_err();
        let mut ended = found.as_ref().is_some_and(is_end);
        let behind = |base: &i64| {
            if found.is_some() {
                *base > from
            } else {
                *base >= from
            }
        };
        for base in bases.iter().copied().filter(behind) {
            if ended || base < next_offset {
                tracing::warn!(dir = %dir.display(), base, next_offset, "segment after the end of the log is removed");
                let mut doomed = Segment::open_fresh(dir, base, &self.open.options.disk)?;
                doomed
                    .retire()?
                    .iter()
                    .try_for_each(|path| remove_if_there(path))?;
                ended = true;
                continue;
            }
            if base > from {
                if let Some(open) = open_later.get(&base) {
                    producers.close_all_but(open);
                }
                write_snapshot(dir, base, &producers, &self.open.options.disk)?;
            }
            let mut segment = Segment::open_fresh(dir, base, &self.open.options.disk)?;
            let (epochs, mut aborted) = (&mut self.epochs, Vec::new());
            let next = bases.iter().copied().find(|next| *next > base);
            // All of it was on disk when the recovery point was written down: what is not good in it is no torn tail.
            let was_whole = next.filter(|next| *next <= self.open.recovery_point);
            let mut visit = |batch: &BatchView<'_>| {
                epochs.replay(batch.header().partition_leader_epoch, batch.header().base_offset);
                aborted.extend(note(&mut producers, batch, self.open.now_ms));
            };
            let interval = self.open.config.index_interval_bytes;
            let recovered = match was_whole {
                Some(_) => segment.reindex(interval, &mut visit)?,
                None => segment.recover(interval, &mut visit)?,
            };
            segment.set_aborted(&aborted)?;
            next_offset = recovered.next_offset;
            if let Some(next) = was_whole {
                segment.end_with_last_batch(next)?;
                next_offset = next;
            } else if recovered.cut > 0 {
                ended = is_end(&recovered);
                tracing::warn!(dir = %dir.display(), base, bytes = recovered.cut, next_offset, "torn tail was cut off");
            }
            self.segments.insert(base, segment);
        }
        self.settle(next_offset)?;
        Ok((next_offset, producers))
    }

    /// Scans the segment that starts at `base` from the recovery point on. `None` if that is not possible, because the point
    /// is not within it, or its indexes or the leader epochs are damaged.
    fn recover_tail(&mut self, base: i64) -> Result<Option<(Producers, Recovered)>, StorageError> {
        let (dir, point, now_ms) = (self.open.dir, self.point, self.open.now_ms);
        if point <= base || self.epochs.is_lost() {
            return Ok(None);
        }
        let Some(segment) = Segment::open(dir, base, i64::MAX, &self.open.options.disk)? else {
            return Ok(None);
        };
        self.segments.insert(base, segment);
        remove_snapshots(dir, |offset| offset > point)?;
        let mut producers = producers_before(dir, &self.segments, point, now_ms)?;
        let Some(mut segment) = self.segments.remove(&base) else {
            return Ok(None);
        };
        let mut entries = Vec::new();
        segment.aborted().collect(i64::MIN, i64::MAX, &mut entries)?;
        let behind: Vec<_> = entries
            .extract_if(.., |entry| entry.last_offset >= point)
            .collect();
        let kept = entries.len();
        self.epochs.rewind(point);
        let epochs = &mut self.epochs;
        let found = segment.recover_from(point, self.open.config.index_interval_bytes, &mut |batch| {
            // The walk begins a little before the point.
            if batch.header().base_offset >= point {
                epochs.replay(batch.header().partition_leader_epoch, batch.header().base_offset);
                entries.extend(note(&mut producers, batch, now_ms));
            }
        })?;
        let Some(recovered) = found else {
            return Ok(None);
        };
        if !behind.iter().all(|entry| entries[kept..].contains(entry)) {
            // Its marker was never written, or the entry is wrong and belongs before the point.
            return Ok(None);
        }
        segment.extend_aborted(&entries, kept)?;
        self.recovered = Some(point);
        if recovered.next_offset < point {
            tracing::warn!(dir = %dir.display(), point, end = recovered.next_offset, "the log ends before its recovery point");
            return Ok(None);
        }
        self.segments.insert(base, segment);
        Ok(Some((producers, recovered)))
    }

    /// The log was closed: its end and its producers are found by looking at its last segment only.
    fn take_over(&mut self) -> Result<(i64, Producers), StorageError> {
        let Some((base, active)) = self.segments.last_key_value() else {
            self.start_anew(
                self.open
                    .options
                    .start_offsets
                    .get(self.open.topic, self.open.partition)
                    .unwrap_or(0),
            )?;
            return Ok((
                self.segments.keys().next().copied().unwrap_or(0),
                Producers::default(),
            ));
        };
        let (base, file) = (*base, active.handle()?);
        let mut next_offset = base;
        for item in Scan::new(&file, active.floor_position(i64::MAX)?, active.size()) {
            match item {
                Ok((_, header)) if active.follows(&header, next_offset) => next_offset = header.next_offset(),
                Err(ScanError::Io(error)) => return Err(error).at("read", active.path()),
                Ok((position, _)) | Err(ScanError::Batch(position, _)) => {
                    tracing::warn!(
                        file = %active.path().display(), position,
                        "a log that was closed has no good batch here; it is recovered"
                    );
                    self.segments.remove(&base);
                    return self.recover(base, &[base]);
                }
            }
        }
        if let Some(wrong) = contradiction(&self.segments, next_offset) {
            tracing::warn!(dir = %self.open.dir.display(), "aborted transactions end behind the log; they are looked up in it");
            let bases: Vec<i64> = self.segments.split_off(&wrong).into_keys().collect();
            // Not only from the recovery point on.
            self.point = wrong;
            return self.recover(wrong, &bases);
        }
        let mut producers = producers_before(self.open.dir, &self.segments, next_offset, self.open.now_ms)?;
        if !producers.is_empty() {
            let tail = self.tail_headers()?;
            producers.fill_window(tail.iter());
        }
        self.settle(next_offset)?;
        Ok((next_offset, producers))
    }

    /// Headers of the last batches: enough to recognise what producers repeat after a restart.
    fn tail_headers(&self) -> Result<Vec<BatchHeader>, StorageError> {
        let mut headers = Vec::new();
        if let Some(active) = self.segments.values().next_back() {
            let file = active.handle()?;
            let wanted = active.size().saturating_sub(WINDOW_BYTES);
            let start = active.floor_of_position(wanted)?;
            headers.extend(
                Scan::new(&file, start, active.size())
                    .map_while(Result::ok)
                    .map(|(_, header)| header),
            );
        }
        Ok(headers)
    }

    /// Makes the last segment ready for appends, and removes snapshots that no segment starts with.
    fn settle(&mut self, log_end_offset: i64) -> Result<(), StorageError> {
        self.segments.values_mut().for_each(Segment::release);
        match self.segments.last_entry() {
            Some(_) => {}
            None => self.start_anew(log_end_offset)?,
        }
        let newest = list_snapshots(self.open.dir).last().copied();
        remove_snapshots(self.open.dir, |offset| {
            offset > log_end_offset || (Some(offset) != newest && !self.segments.contains_key(&offset))
        })
    }

    /// An empty log that starts at `offset`.
    fn start_anew(&mut self, offset: i64) -> Result<(), StorageError> {
        for mut segment in std::mem::take(&mut self.segments).into_values() {
            segment
                .retire()?
                .iter()
                .try_for_each(|path| remove_if_there(path))?;
        }
        remove_snapshots(self.open.dir, |_| true)?;
        let (dir, disk) = (self.open.dir, &self.open.options.disk);
        let segment = Segment::create(dir, offset, &self.open.config, disk, self.open.now_ms)?;
        self.segments.insert(offset, segment);
        Ok(())
    }
}

/// Producers with an open transaction, by the offsets of the snapshots behind `offset`. Compaction takes a marker away
/// when nothing else of its transaction is left: who walks through the log from an older snapshot, in which the
/// transaction was open, would never see it end.
fn open_transactions_after(
    dir: &Path,
    offset: i64,
    now_ms: i64,
) -> Result<BTreeMap<i64, HashSet<i64>>, StorageError> {
    let mut open = BTreeMap::new();
    for at in list_snapshots(dir).into_iter().filter(|at| *at > offset) {
        if let Some((_, producers)) = read_snapshot(dir, at, at, now_ms)? {
            let of_one = |(id, producer): (i64, &Producer)| producer.transaction_start.map(|_| id);
            open.insert(at, producers.iter().filter_map(of_one).collect());
        }
    }
    Ok(open)
}

/// The state of the producers before `offset`: the newest snapshot, and what the log holds after it.
pub(super) fn producers_before(
    dir: &Path,
    segments: &BTreeMap<i64, Segment>,
    offset: i64,
    now_ms: i64,
) -> Result<Producers, StorageError> {
    let first = segments.keys().next().copied().unwrap_or(offset);
    let found = read_snapshot(dir, first, offset, now_ms)?;
    let (from, mut producers) = found.unwrap_or((first, Producers::default()));
    let first_base = segments
        .range(..=from)
        .next_back()
        .map_or(from, |(base, _)| *base);
    let mut buffer = Vec::new();
    for segment in segments
        .range(first_base..offset.max(first_base))
        .map(|(_, segment)| segment)
    {
        let file = segment.handle()?;
        for item in Scan::new(&file, segment.floor_position(from)?, segment.size()) {
            let noted = item.and_then(|(position, header)| {
                if (from..offset).contains(&header.base_offset) {
                    // Only of a marker is more than the header of interest.
                    if header.is_control() {
                        let batch = read_batch(&file, position, header.size(), &mut buffer)?;
                        let _ = note(&mut producers, &batch, now_ms);
                    } else {
                        producers.update(&header, now_ms);
                    }
                }
                Ok(())
            });
            match noted {
                Ok(()) => {}
                Err(ScanError::Io(error)) => return Err(error).at("read", segment.path()),
                Err(ScanError::Batch(position, error)) => {
                    tracing::warn!(file = %segment.path().display(), position, %error, "segment is damaged");
                    break;
                }
            }
        }
    }
    Ok(producers)
}

/// How much of a closed log is looked at for producers' last batches. The five of one producer fit in it unless they
/// are large, in which case fewer are recognised.
const WINDOW_BYTES: u64 = 1 << 20;

/// Takes note of a batch that is in the log; returns the transaction that it aborts, if it is a marker that does so.
pub(super) fn note(
    producers: &mut Producers,
    batch: &BatchView<'_>,
    now_ms: i64,
) -> Option<AbortedTransaction> {
    if !batch.header().is_control() {
        producers.update(batch.header(), now_ms);
        return None;
    }
    let marker = MarkerRecord::decode(batch)?;
    let ended = producers.update_marker(batch.header(), &marker, now_ms)?;
    (!ended.commit).then_some(ended.entry)
}

fn is_known(name: &str) -> bool {
    matches!(name, "leader-epoch-checkpoint" | "partition.metadata")
        || [".log", ".snapshot"]
            .iter()
            .any(|suffix| offset_of(name, suffix).is_some())
}
