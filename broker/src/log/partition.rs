//! The log of one partition.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use heliostat_wire::Uuid;
use tokio::sync::watch;

use super::checkpoint::{OffsetCheckpoint, lock, sync_topic_id};
use super::epoch::{EpochEntry, LeaderEpochs};
use super::error::{AtPath, StorageError};
use super::files::{Disk, sync_dir};
use super::producers::{LastRecord, ProducerInfo, Producers};
use super::segment::Segment;
use super::settings::LogConfig;
use super::snapshot::ensure_snapshot;

/// The log of one partition: segments in a directory, and what must be known of them to append and to read.
///
/// All methods may be called from several threads at once. They block for as long as the file system does.
#[derive(Debug)]
pub struct Log {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) topic_id: Uuid,
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
    config: RwLock<Arc<LogConfig>>,
    pub(super) inner: Mutex<Inner>,
    /// Taken for the whole of a flush, so that appends go on meanwhile but flushes do not overtake each other.
    flushing: Mutex<()>,
    /// Taken by whoever replaces, removes or cuts closed segments, so that the cleaner's renames are not interrupted.
    /// Counts how often the end was moved back: what the cleaner has dropped may depend on what went with it.
    pub(super) swapping: Mutex<u64>,
    visible: watch::Sender<Visible>,
}

/// What all logs of a data directory have in common.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) flush_policy: FlushPolicy,
    pub(crate) producer_expiration_ms: i64,
    pub(crate) disk: Disk,
    pub(crate) start_offsets: Arc<OffsetCheckpoint>,
    /// Up to which offset each log is compacted.
    pub(crate) clean_offsets: Arc<OffsetCheckpoint>,
}

/// When the high watermark passes an appended batch, that is when consumers may see it and acks=all is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushPolicy {
    /// When it is in the page cache: it survives the end of this process, not a power cut. Kafka's own default.
    #[default]
    Os,
    /// When it has been forced to disk. Whoever chooses this calls [`Log::flush`] often: one call serves all batches
    /// that were appended since the last.
    GroupCommit,
}

/// What consumers can see of a log; [`Log::watch`] tells of every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visible {
    /// The first offset.
    pub log_start_offset: i64,
    /// The offset after the last one that read_uncommitted consumers see.
    pub high_watermark: i64,
    /// The offset after the last one that read_committed consumers see.
    pub last_stable_offset: i64,
    /// The log was closed or deleted; nothing more will come.
    pub closed: bool,
}

/// All that changes. The files are always at least as far as this says.
#[derive(Debug)]
pub(super) struct Inner {
    /// By base offset; never empty. The last one is the active segment.
    pub(super) segments: BTreeMap<i64, Segment>,
    pub(super) log_start_offset: i64,
    pub(super) log_end_offset: i64,
    pub(super) high_watermark: i64,
    /// Everything before this offset is on disk.
    pub(super) recovery_point: i64,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: Producers,
    pub(super) unflushed_records: i64,
    pub(super) last_flush_ms: i64,
    /// How much earlier than segment.ms the active segment is closed.
    pub(super) jitter_ms: i64,
    /// Renamed files, and when they may be removed.
    pub(super) retired: Vec<(PathBuf, i64)>,
    pub(super) closed: bool,
    /// The directory and its topic id were forced to disk since the log was opened.
    pub(super) directory_synced: bool,
    /// A flush has failed. What is on disk is not known any more, until the log is opened anew.
    pub(super) failed: bool,
}

impl Log {
    pub(super) fn new(identity: Identity, options: LogOptions, config: LogConfig, inner: Inner) -> Self {
        let visible = watch::Sender::new(inner.visible());
        let Identity {
            topic,
            partition,
            topic_id,
            dir,
        } = identity;
        Log {
            topic,
            partition,
            topic_id,
            dir,
            options,
            config: RwLock::new(Arc::new(config)),
            inner: Mutex::new(inner),
            flushing: Mutex::new(()),
            swapping: Mutex::new(0),
            visible,
        }
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition's number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The topic's id, as in `partition.metadata`; zero if the directory was made without one.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// Where the files lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The settings in use.
    pub fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the settings; they hold from the next call on.
    pub fn set_config(&self, config: LogConfig) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        lock(&self.inner).log_start_offset
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        lock(&self.inner).log_end_offset
    }

    /// The offset after the last one that read_uncommitted consumers see.
    pub fn high_watermark(&self) -> i64 {
        lock(&self.inner).high_watermark
    }

    /// The offset after the last one that read_committed consumers see.
    pub fn last_stable_offset(&self) -> i64 {
        lock(&self.inner).last_stable_offset()
    }

    /// Tells whenever the high watermark, the last stable offset or the start moves, and when the log is closed.
    pub fn watch(&self) -> watch::Receiver<Visible> {
        self.visible.subscribe()
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        lock(&self.inner).size()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        lock(&self.inner).segments.len()
    }

    /// Producers that are known, for DescribeProducers.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        lock(&self.inner).producers.list()
    }

    /// The newest data of each producer, by its id. The batch that holds it must survive compaction, if need be without
    /// records, so that the producer's sequence is not forgotten.
    pub fn last_records(&self) -> HashMap<i64, LastRecord> {
        lock(&self.inner).producers.last_records()
    }

    /// The leader epochs of the log, oldest first.
    pub fn leader_epochs(&self) -> Vec<EpochEntry> {
        lock(&self.inner).epochs.entries().to_vec()
    }

    /// The newest leader epoch that the log knows.
    pub fn latest_epoch(&self) -> Option<i32> {
        lock(&self.inner).epochs.latest().map(|entry| entry.epoch)
    }

    /// The answer to OffsetForLeaderEpoch: the largest known epoch not beyond `epoch`, and the offset after its last
    /// record. `None` (-1 and -1 on the wire) if the log knows none from `epoch` on.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let inner = lock(&self.inner);
        inner.epochs.end_offset(epoch, inner.log_end_offset)
    }

    /// Says that `epoch` starts at the log's end: a leader calls this before it appends.
    pub fn assign_epoch(&self, epoch: i32) -> Result<(), StorageError> {
        let mut inner = lock(&self.inner);
        let end = inner.log_end_offset;
        inner.epochs.assign(epoch, end)
    }

    /// Up to where the log is known to be on disk: what recovery starts from.
    pub fn recovery_point(&self) -> i64 {
        lock(&self.inner).recovery_point
    }

    /// Forces to disk what was appended before the call; returns the offset up to which everything is there.
    /// Appends go on meanwhile. After an error the log takes no more appends until it is opened anew: the operating
    /// system may have dropped what it could not write.
    pub fn flush(&self, now_ms: i64) -> Result<i64, StorageError> {
        let _one_at_a_time = lock(&self.flushing);
        let end = lock(&self.inner).log_end_offset;
        loop {
            let flushed = self.flush_portion(now_ms)?;
            // A truncation in between may have moved the end back.
            if flushed >= end.min(lock(&self.inner).log_end_offset) {
                return Ok(flushed);
            }
        }
    }

    /// Flushes a few segments, from the recovery point on: there may be more of them than files may be open.
    fn flush_portion(&self, now_ms: i64) -> Result<i64, StorageError> {
        let (files, end, directory_synced) = {
            let mut inner = lock(&self.inner);
            if inner.failed {
                return Err(self.flush_failed());
            }
            inner.last_flush_ms = now_ms;
            if inner.recovery_point >= inner.log_end_offset {
                return Ok(inner.recovery_point);
            }
            inner.unflushed_records = 0;
            let (files, end) = inner.unflushed_files()?;
            (files, end, inner.directory_synced)
        };
        let synced = files
            .iter()
            .try_for_each(|(path, file)| file.sync_data().at("sync", path));
        let synced = synced.and_then(|()| sync_dir(&self.dir));
        let synced = synced.and_then(|()| {
            if directory_synced {
                Ok(())
            } else {
                sync_topic_id(&self.dir)
            }
        });
        let mut inner = lock(&self.inner);
        if let Err(error) = synced {
            inner.failed = true;
            return Err(error);
        }
        inner.directory_synced = true;
        // A truncation in between may have moved the end back.
        inner.recovery_point = end.min(inner.log_end_offset);
        self.advance(&mut inner);
        Ok(inner.recovery_point)
    }

    /// Completes the indexes, writes a snapshot of the producers and forces all to disk. Nothing can be appended or
    /// read afterwards; waiting readers are woken.
    pub fn close(&self, now_ms: i64) -> Result<(), StorageError> {
        let _alone = lock(&self.swapping);
        {
            let mut inner = lock(&self.inner);
            if inner.closed {
                return Ok(());
            }
            inner.closed = true;
            self.publish(&inner);
            if let Some(active) = inner.active() {
                active.seal()?;
            }
            if inner.log_end_offset > inner.log_start_offset || !inner.producers.is_empty() {
                ensure_snapshot(&self.dir, inner.log_end_offset, &inner.producers)?;
            }
        }
        self.flush(now_ms)?;
        if let Some(active) = lock(&self.inner).active() {
            active.release();
        }
        Ok(())
    }

    /// Wakes waiting readers and refuses everything from now on, without a care for the files: they will be deleted.
    pub(super) fn abandon(&self) {
        let _alone = lock(&self.swapping);
        let mut inner = lock(&self.inner);
        inner.closed = true;
        // A flush would open files by their names, in a directory that may belong to a successor by then.
        inner.recovery_point = inner.log_end_offset;
        inner.segments.values_mut().for_each(Segment::release);
        self.publish(&inner);
    }

    /// The log start offset, and where the first segment starts.
    pub(super) fn start_and_first_segment(&self) -> (i64, i64) {
        let inner = lock(&self.inner);
        let first = inner.segments.keys().next().copied();
        (inner.log_start_offset, first.unwrap_or(inner.log_start_offset))
    }

    /// `topic-partition`, as in the directory's name.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    pub(super) fn open_inner(&self) -> Option<std::sync::MutexGuard<'_, Inner>> {
        Some(lock(&self.inner)).filter(|inner| !inner.closed)
    }

    /// Moves the high watermark as far as the flush policy allows, and tells those who wait.
    pub(super) fn advance(&self, inner: &mut Inner) {
        inner.high_watermark = match self.options.flush_policy {
            FlushPolicy::Os => inner.log_end_offset,
            FlushPolicy::GroupCommit => inner.recovery_point.max(inner.log_start_offset),
        };
        inner.producers.replicated(inner.high_watermark);
        self.publish(inner);
    }

    pub(super) fn publish(&self, inner: &Inner) {
        let now = inner.visible();
        self.visible.send_if_modified(|visible| {
            let changed = *visible != now;
            *visible = now;
            changed
        });
    }

    pub(super) fn flush_failed(&self) -> StorageError {
        let source =
            std::io::Error::other("an earlier flush has failed; restart the broker to recover the log");
        StorageError {
            action: "write",
            path: self.dir.clone(),
            source,
        }
    }
}

/// Which log it is, and where.
pub(super) struct Identity {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) topic_id: Uuid,
    pub(super) dir: PathBuf,
}

/// An open file, and where it lies.
type NamedFile = (PathBuf, Arc<File>);

/// Segments whose files are open at the same time while a log is flushed.
const SEGMENTS_PER_PORTION: usize = 32;

impl Inner {
    pub(super) fn active(&mut self) -> Option<&mut Segment> {
        self.segments
            .last_entry()
            .map(std::collections::btree_map::OccupiedEntry::into_mut)
    }

    pub(super) fn size(&self) -> u64 {
        self.segments.values().map(Segment::size).sum()
    }

    pub(super) fn last_stable_offset(&self) -> i64 {
        // Of a transaction whose first records have been deleted only what is left is undecided.
        let unstable = self.producers.first_unstable_offset();
        unstable.map_or(self.high_watermark, |first| {
            first.max(self.log_start_offset).min(self.high_watermark)
        })
    }

    pub(super) fn visible(&self) -> Visible {
        Visible {
            log_start_offset: self.log_start_offset,
            high_watermark: self.high_watermark,
            last_stable_offset: self.last_stable_offset(),
            closed: self.closed,
        }
    }

    /// The files of the first segments that are not on disk, and the offset up to which they reach.
    fn unflushed_files(&mut self) -> Result<(Vec<NamedFile>, i64), StorageError> {
        let first = self
            .segments
            .range(..=self.recovery_point)
            .next_back()
            .map_or(i64::MIN, |(base, _)| *base);
        let mut files = Vec::new();
        files.extend(
            self.epochs
                .file_to_sync()?
                .map(|(path, file)| (path, Arc::new(file))),
        );
        let mut segments = self.segments.range(first..).map(|(_, segment)| segment);
        for segment in segments.by_ref().take(SEGMENTS_PER_PORTION) {
            let of_segment = segment.files()?;
            files.extend(of_segment.map(|file| (segment.path().to_owned(), file)));
        }
        let end = segments
            .next()
            .map_or(self.log_end_offset, |segment| segment.base_offset);
        Ok((files, end))
    }
}
