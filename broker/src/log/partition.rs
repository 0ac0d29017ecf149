//! The log of one partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use heliostat_wire::Uuid;
use tokio::sync::watch;

use super::census::Census;
use super::checkpoint::{OffsetCheckpoint, lock};
use super::commit::GroupCommit;
use super::epoch::{EpochEntry, LeaderEpochs};
use super::error::StorageError;
use super::files::Disk;
use super::handles::Handles;
use super::producers::{ProducerInfo, Producers};
use super::retention::TAIL_AGE_MAX_MS;
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
    pub(super) flushing: Mutex<()>,
    /// Taken by whoever replaces, removes or cuts closed segments, so that the cleaner's renames are not interrupted.
    /// Counts how often the end was moved back: what the cleaner has dropped may depend on what went with it.
    pub(super) swapping: Mutex<u64>,
    visible: watch::Sender<Visible>,
    /// [`Inner::trouble`] for those who must not wait for the disk.
    shown: Mutex<LogState>,
    /// The log itself, for those who come back to it later.
    pub(super) me: Weak<Log>,
}

/// What all logs of a data directory have in common.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) flush_policy: FlushPolicy,
    /// After how long a producer that is silent is forgotten; it may change at any time.
    pub(crate) producer_expiration_ms: Arc<AtomicI64>,
    pub(crate) disk: Disk,
    pub(crate) start_offsets: Arc<OffsetCheckpoint>,
    pub(crate) commits: Arc<GroupCommit>,
    pub(crate) handles: Arc<Handles>,
    /// Logs that are to be looked at because they are read-only.
    pub(crate) troubled: Arc<Mutex<Vec<Weak<Log>>>>,
    /// Up to which offset each log is compacted.
    pub(crate) clean_offsets: Arc<OffsetCheckpoint>,
    /// How many producers all logs remember.
    pub(crate) census: Census,
}

/// When the high watermark passes an appended batch, that is when consumers may see it and acks=all is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlushPolicy {
    /// When it is in the page cache: it survives the end of this process, not a power cut. Kafka's own default.
    #[default]
    Os,
    /// When it has been forced to disk together with whatever else was appended meanwhile: see [`LogManager::start_commits`](super::LogManager::start_commits).
    GroupCommit,
    /// When it has been forced to disk, which each append does before it returns.
    Each,
}

/// Whether a log takes appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Writable,
    /// It can be read only, because the disk has failed or is full. It is looked at again now and then, and becomes writable by
    /// itself.
    ReadOnly {
        /// What has failed: the file, and what the operating system said.
        reason: String,
        /// Since when, in milliseconds since 1970.
        since_ms: i64,
    },
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
    /// What was appended could not be forced to disk; nothing more will come until it was looked at.
    pub failed: bool,
    /// How often the end was moved back. An offset from before may now stand for another record.
    pub truncations: u64,
}

/// All that changes. The files are always at least as far as this says.
#[derive(Debug)]
pub(super) struct Inner {
    /// By base offset; never empty. The last one is the active segment.
    pub(super) segments: BTreeMap<i64, Segment>,
    pub(super) log_start_offset: i64,
    pub(super) log_end_offset: i64,
    pub(super) high_watermark: i64,
    /// Batches, indexes and producers before this offset are on disk.
    pub(super) recovery_point: i64,
    /// Batches before this offset are on disk; never before the recovery point.
    pub(super) durable: i64,
    /// How often the end was moved back. A flush that was under way then proves nothing.
    pub(super) truncations: u64,
    /// The log waits for its turn to be forced to disk.
    pub(super) commit_queued: bool,
    /// The log is to be forced to disk at a time that flush.ms has named.
    pub(super) flush_timed: bool,
    /// When it was forced to disk last.
    pub(super) last_commit: Option<Instant>,
    pub(super) epochs: LeaderEpochs,
    pub(super) producers: Producers,
    pub(super) unflushed_records: i64,
    /// What recovery would have to read, more or less.
    pub(super) unflushed_bytes: u64,
    /// The snapshot of producers that belongs to the recovery point.
    pub(super) snapshot: Option<i64>,
    pub(super) last_flush_ms: i64,
    /// The files of the active segment are kept open.
    pub(super) files_held: bool,
    /// Something was appended since somebody asked for the files.
    pub(super) recently_used: bool,
    /// How much earlier than segment.ms the active segment is closed.
    pub(super) jitter_ms: i64,
    /// Renamed files, and when they may be removed.
    pub(super) retired: Vec<(PathBuf, i64)>,
    pub(super) closed: bool,
    /// The directory and its topic id were forced to disk since the log was opened.
    pub(super) directory_synced: bool,
    /// The names of the segments up to this base offset were forced to disk.
    pub(super) names_synced: i64,
    pub(super) trouble: Option<Trouble>,
    /// The log is among those that are to be mended.
    pub(super) listed: bool,
}

/// Why a log is read-only.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) since_ms: i64,
    /// A flush has failed: what lies behind the durable end is not known any more, until it was looked at. Otherwise a
    /// write has failed, of which nothing is left.
    pub(super) unproven: bool,
}

impl Log {
    pub(super) fn new(identity: Identity, options: LogOptions, config: LogConfig, inner: Inner) -> Arc<Self> {
        let visible = watch::Sender::new(inner.visible());
        let Identity {
            topic,
            partition,
            topic_id,
            dir,
        } = identity;
        Arc::new_cyclic(|me| Log {
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
            shown: Mutex::new(LogState::Writable),
            me: me.clone(),
        })
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
        let flush_ms = config.flush_ms;
        let before = {
            let mut current = self.config.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::new(config))
        };
        if flush_ms < before.flush_ms {
            // Also what was appended before, without waiting for whoever is at the log.
            self.flush_in(flush_ms);
        }
    }

    /// What consumers can see now. Whoever appends or mends holds the log for as long as the disk takes; this waits for
    /// nobody.
    pub fn visible(&self) -> Visible {
        *self.visible.borrow()
    }

    /// The first offset that may be read.
    pub fn log_start_offset(&self) -> i64 {
        self.visible().log_start_offset
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        lock(&self.inner).log_end_offset
    }

    /// The offset after the last one that read_uncommitted consumers see.
    pub fn high_watermark(&self) -> i64 {
        self.visible().high_watermark
    }

    /// The offset after the last one that read_committed consumers see.
    pub fn last_stable_offset(&self) -> i64 {
        self.visible().last_stable_offset
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

    /// Up to where batches, indexes and producers are known to be on disk: what recovery starts from.
    pub fn recovery_point(&self) -> i64 {
        lock(&self.inner).recovery_point
    }

    /// Up to where batches are known to be on disk: what no power cut takes back.
    pub fn durable_offset(&self) -> i64 {
        lock(&self.inner).durable
    }

    /// Whether the log takes appends, and why not if it does not. Waits for nobody.
    pub fn state(&self) -> LogState {
        lock(&self.shown).clone()
    }

    /// Lets everybody know of what is in [`Inner::trouble`].
    pub(super) fn show_trouble(&self, inner: &Inner) {
        *lock(&self.shown) = match &inner.trouble {
            None => LogState::Writable,
            Some(trouble) => LogState::ReadOnly {
                reason: trouble.reason.clone(),
                since_ms: trouble.since_ms,
            },
        };
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
                ensure_snapshot(
                    &self.dir,
                    inner.log_end_offset,
                    &inner.producers,
                    &self.options.disk,
                )?;
                inner.snapshot = Some(inner.log_end_offset);
            }
        }
        self.flush(now_ms)?;
        lock(&self.inner).release_files();
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
        inner.files_held = false;
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
            FlushPolicy::GroupCommit | FlushPolicy::Each => inner.durable.max(inner.log_start_offset),
        };
        inner.producers.replicated(inner.high_watermark);
        self.publish(inner);
        let due = match self.options.flush_policy {
            FlushPolicy::GroupCommit => inner.durable < inner.log_end_offset,
            FlushPolicy::Os | FlushPolicy::Each => inner.tail_is_long(),
        };
        if due && !inner.commit_queued && !inner.closed && !inner.is_unproven() {
            inner.commit_queued = self.options.commits.enqueue(&self.me, inner.last_commit);
        }
        let is_unforced = inner.durable < inner.log_end_offset && !inner.flush_timed;
        if is_unforced && !inner.closed && !inner.is_unproven() {
            inner.flush_timed = self.flush_in(self.config().flush_ms);
        }
    }

    /// Sees to it that the log is forced to disk after so much time, where nobody else does so soon. Returns whether
    /// somebody will.
    fn flush_in(&self, flush_ms: i64) -> bool {
        let wanted = self.options.flush_policy == FlushPolicy::Os && flush_ms < TAIL_AGE_MAX_MS;
        let after = Duration::from_millis(u64::try_from(flush_ms).unwrap_or(0));
        wanted && self.options.commits.enqueue_at(&self.me, Instant::now() + after)
    }

    pub(super) fn publish(&self, inner: &Inner) {
        let now = inner.visible();
        self.visible.send_if_modified(|visible| {
            let changed = *visible != now;
            *visible = now;
            changed
        });
    }
}

/// Which log it is, and where.
pub(super) struct Identity {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) topic_id: Uuid,
    pub(super) dir: PathBuf,
}

impl Inner {
    pub(super) fn active(&mut self) -> Option<&mut Segment> {
        self.segments
            .last_entry()
            .map(std::collections::btree_map::OccupiedEntry::into_mut)
    }

    /// Whether a flush has failed and nobody has looked yet at what became of it.
    pub(super) fn is_unproven(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.unproven)
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
            failed: self.is_unproven(),
            truncations: self.truncations,
        }
    }
}
