//! A data directory: all logs of a cluster, and the files that Kafka keeps beside them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use heliostat_wire::Uuid;
use rustix::fs::FlockOperation;
use thiserror::Error;

use super::census::Census;
use super::checkpoint::{
    CLEANER_OFFSETS, LOG_START_OFFSETS, META_PROPERTIES, MetaProperties, OffsetCheckpoint, RECOVERY_POINTS,
    TopicPartition, lock, mark_clean_shutdown, take_clean_shutdown, write_topic_id,
};
use super::clean::Cleaner;
use super::commit::{Committers, commit_together};
use super::deletion::{DELETE_SUFFIX, STRAY_SUFFIX};
use super::error::{AtPath, StorageError};
use super::files::{Disk, DiskOperation, open_or_create, remove_if_there};
use super::handles::Handles;
use super::load::OpenLog;
use super::partition::{FlushPolicy, Log, LogOptions, LogState};
use super::settings::LogConfig;
use super::watch::DirectoryWatch;

/// Kafka's default of producer.id.expiration.ms.
const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// How to open a data directory.
#[derive(Debug, Clone)]
pub struct LogManagerOptions {
    /// The directory; it is created if it is not there.
    pub dir: PathBuf,
    /// The cluster that the directory must belong to. `None`: whichever it belongs to; a new directory gets a new id.
    pub cluster_id: Option<String>,
    /// Written into a new directory's `meta.properties`.
    pub node_id: i32,
    /// When appended batches become visible.
    pub flush_policy: FlushPolicy,
    /// The disk under all logs, where faults can be injected.
    pub disk: Disk,
    /// So many files are kept open for appends; logs that are not written to give theirs back.
    pub open_files_max: usize,
}

/// All logs of a data directory. It belongs to one process at a time.
#[derive(Debug)]
pub struct LogManager {
    pub(super) dir: PathBuf,
    meta: MetaProperties,
    pub(super) options: LogOptions,
    pub(super) recovery_points: OffsetCheckpoint,
    pub(super) cleaner: Arc<Cleaner>,
    pub(super) logs: RwLock<BTreeMap<TopicPartition, Arc<Log>>>,
    /// Directories of deleted logs, and when they may be removed.
    pub(super) doomed: Mutex<Vec<(PathBuf, i64)>>,
    /// Taken while a log is made.
    making: Mutex<()>,
    clean_start: bool,
    /// Dropped before the lock is.
    committers: Mutex<Option<Committers>>,
    watch: DirectoryWatch,
    /// Held open: the lock ends with it.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process, or another cluster of this one, uses it.
    #[error("data directory {} is in use by another broker; stop that one, or choose another directory", .0.display())]
    Locked(PathBuf),
    /// It holds the data of another cluster.
    #[error("data directory {} belongs to cluster {found}, not to {expected}; choose another directory", dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// The id in its `meta.properties`.
        found: String,
        /// The id that was asked for.
        expected: String,
    },
    /// A file cannot be read or written, or is not in its format.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl LogManagerOptions {
    /// Kafka's defaults, for this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        LogManagerOptions {
            dir: dir.into(),
            cluster_id: None,
            node_id: 1,
            flush_policy: FlushPolicy::Os,
            disk: Disk::default(),
            open_files_max: 1024,
        }
    }
}

impl LogManager {
    /// Opens the directory and every log in it, recovers what was not closed and finishes deletions that were
    /// interrupted. `config_of` gives the settings of a topic.
    pub fn open(
        options: LogManagerOptions,
        now_ms: i64,
        config_of: &dyn Fn(&str) -> LogConfig,
    ) -> Result<LogManager, OpenError> {
        let dir = options.dir;
        fs::create_dir_all(&dir).at("create", &dir)?;
        let lock = lock_dir(&dir)?;
        let watch = DirectoryWatch::new(&dir, &dir.join(LOCK_FILE), &lock)?;
        let meta = identify(&dir, options.cluster_id, options.node_id, &options.disk)?;
        let clean = take_clean_shutdown(&dir)?;
        let start_offsets = Arc::new(OffsetCheckpoint::open(
            dir.join(LOG_START_OFFSETS),
            options.disk.clone(),
        )?);
        let mut manager = LogManager {
            recovery_points: open_forgiving(
                &dir,
                RECOVERY_POINTS,
                "logs are recovered from their start",
                &options.disk,
            )?,
            cleaner: Arc::default(),
            options: LogOptions {
                flush_policy: options.flush_policy,
                producer_expiration_ms: Arc::new(AtomicI64::new(PRODUCER_EXPIRATION_MS)),
                start_offsets,
                commits: Arc::default(),
                handles: Arc::new(Handles::new(options.open_files_max)),
                troubled: Arc::default(),
                clean_offsets: Arc::new(open_forgiving(
                    &dir,
                    CLEANER_OFFSETS,
                    "logs are compacted from their start",
                    &options.disk,
                )?),
                disk: options.disk,
                census: Census::default(),
            },
            dir,
            meta,
            logs: RwLock::default(),
            doomed: Mutex::default(),
            making: Mutex::default(),
            clean_start: clean,
            committers: Mutex::default(),
            watch,
            _lock: lock,
        };
        let logs = manager.load(clean, now_ms, config_of)?;
        for offsets in [&manager.options.start_offsets, &manager.options.clean_offsets] {
            offsets.update(|kept| kept.retain(|key, _| logs.contains_key(key)))?;
        }
        manager.make_durable(&logs)?;
        manager.logs = RwLock::new(logs);
        Ok(manager)
    }

    /// Who the directory belongs to.
    pub fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Where the directory is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the last process had closed all logs.
    pub fn started_clean(&self) -> bool {
        self.clean_start
    }

    /// After how long logs forget a producer that is silent.
    pub fn forget_producers_after(&self, ms: i64) {
        self.options.producer_expiration_ms.store(ms, Ordering::Relaxed);
    }

    /// The disk under all logs, where faults can be injected.
    pub fn disk(&self) -> &Disk {
        &self.options.disk
    }

    /// What compacts the logs, if it is asked to.
    pub fn cleaner(&self) -> &Arc<Cleaner> {
        &self.cleaner
    }

    /// One log.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Log>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.get(&(topic.to_owned(), partition)).cloned()
    }

    /// All logs, by topic and partition.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Creates a log, or returns the one that is there already under the same topic id.
    pub fn create(
        &self,
        topic: &str,
        partition: i32,
        topic_id: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Arc<Log>, StorageError> {
        let dir = self.dir.join(format!("{topic}-{partition}"));
        check_name(topic, partition).at("create", &dir)?;
        // Others can be found meanwhile.
        let _one_at_a_time = lock(&self.making);
        let key = (topic.to_owned(), partition);
        if let Some(log) = self.get(topic, partition) {
            if log.topic_id() == topic_id {
                log.set_config(config);
                return Ok(log);
            }
            if !log.topic_id().is_zero() {
                return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists)).at("create", &dir);
            }
            // A crash has come between the directory and its topic id, or has torn the file that held it.
            log.abandon();
        }
        // Not with its parents: a data directory that was removed under us must not come back empty, as if all were well.
        let disk = &self.options.disk;
        disk.allow(DiskOperation::Create { path: &dir })
            .at("create", &dir)?;
        if !dir.exists() {
            // What is left of a deleted log of this name would be taken for this one's.
            for checkpoint in self.checkpoints() {
                if checkpoint.get(topic, partition).is_some() {
                    checkpoint.set(topic, partition, None)?;
                }
            }
        }
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => created.at("create", &dir)?,
        }
        write_topic_id(&dir, topic_id, disk)?;
        let log = Log::open(OpenLog {
            topic,
            partition,
            dir: &dir,
            config,
            options: self.options.clone(),
            recovery_point: 0,
            clean: false,
            now_ms,
        })?;
        if self.options.flush_policy != FlushPolicy::Os {
            // Records that the directory held before count as seen.
            log.commit()?;
        }
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        logs.insert(key, Arc::clone(&log));
        Ok(log)
    }

    /// Retention, expiry and checkpoints for all logs; to be called every half minute or so. What fails for one log
    /// is logged and does not keep the others from it.
    pub fn maintain(&self, now_ms: i64) {
        self.remove_deleted(now_ms);
        for log in self.logs() {
            if let Err(error) = log.maintain(now_ms) {
                tracing::error!(topic = log.topic(), partition = log.partition(), %error, "log maintenance failed");
            }
        }
        if let Err(error) = self.checkpoint() {
            tracing::error!(%error, "checkpoints could not be written");
        }
    }

    /// From now on logs under [`FlushPolicy::GroupCommit`] are forced to disk at once after an append, but at most once
    /// in `interval`. Without this call only [`Log::flush`] and [`Log::commit`] do that.
    pub fn start_commits(&self, interval: Duration) -> Result<(), StorageError> {
        let started =
            self.options
                .commits
                .start(interval, &self.options.disk, &self.dir.join(META_PROPERTIES));
        *lock(&self.committers) = Some(started.at("start threads for", &self.dir)?);
        Ok(())
    }

    /// Looks whether the data directory is still there; to be called a few times a second.
    pub fn watch(&self) {
        self.watch.look(&self.options.disk);
    }

    /// Tries to make read-only logs writable again; to be called about once a second.
    pub fn mend(&self, now_ms: i64) {
        let troubled = lock(&self.options.troubled).clone();
        for listed in troubled {
            let log = listed.upgrade();
            if let Some(log) = &log
                && let Err(error) = log.mend(now_ms)
            {
                tracing::debug!(topic = log.topic(), partition = log.partition(), %error, "still read-only");
            }
            if log.is_none_or(|log| !log.stays_listed()) {
                let mut troubled = lock(&self.options.troubled);
                // Only this entry: the log may have become read-only again, and have added another.
                if let Some(place) = troubled.iter().position(|other| other.ptr_eq(&listed)) {
                    troubled.remove(place);
                }
            }
        }
    }

    /// The logs that are read-only because their disk has failed or is full.
    pub fn read_only(&self) -> Vec<Arc<Log>> {
        let troubled = lock(&self.options.troubled).clone();
        let logs = troubled.iter().filter_map(Weak::upgrade);
        logs.filter(|log| log.state() != LogState::Writable).collect()
    }

    /// Writes down where recovery must begin and where logs start.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        let key = |log: &Log| (log.topic().to_owned(), log.partition());
        // A topic may be deleted meanwhile, and another one made of its name: what is true of the one before must not be said of that.
        let is_there = |log: &Arc<Log>| {
            let there = self.get(log.topic(), log.partition());
            there.is_some_and(|there| Arc::ptr_eq(&there, log))
        };
        let points: Vec<_> = self
            .logs()
            .into_iter()
            .map(|log| (log.recovery_point(), log))
            .collect();
        self.recovery_points.update(|kept| {
            kept.clear();
            for (point, log) in points {
                if is_there(&log) {
                    kept.insert(key(&log), point);
                }
            }
        })?;
        let starts: Vec<_> = self
            .logs()
            .into_iter()
            .map(|log| (log.start_and_first_segment(), log))
            .collect();
        self.options.start_offsets.update(|kept| {
            for ((start, first_segment), log) in starts {
                if !is_there(&log) {
                    continue;
                }
                let key = key(&log);
                // DeleteRecords may have written a later start since we asked.
                let start = kept.get(&key).map_or(start, |kept| start.max(*kept));
                if start > first_segment {
                    kept.insert(key, start);
                } else {
                    kept.remove(&key);
                }
            }
        })
    }

    /// Closes all logs and marks the directory as closed, so that the next start needs no recovery. After an error it
    /// is not marked, and nothing is lost but time.
    pub fn close(&self, now_ms: i64) -> Result<(), StorageError> {
        let mut result = Ok(());
        let logs = self.logs();
        for (log, closed) in logs.iter().zip(in_parallel(&logs, |log| log.close(now_ms))) {
            if let Err(error) = closed {
                tracing::error!(topic = log.topic(), partition = log.partition(), %error, "log could not be closed");
                result = result.and(Err(error));
            }
        }
        self.checkpoint()?;
        result?;
        mark_clean_shutdown(&self.dir, &self.options.disk)
    }

    /// All files of offsets by partition.
    pub(super) fn checkpoints(&self) -> [&OffsetCheckpoint; 3] {
        [
            &self.options.start_offsets,
            &self.recovery_points,
            &self.options.clean_offsets,
        ]
    }

    /// Forces to disk what the last process has left in memory: consumers may have seen it, and no power cut after this
    /// start may take it back.
    fn make_durable(&self, logs: &BTreeMap<TopicPartition, Arc<Log>>) -> Result<(), StorageError> {
        if self.options.flush_policy == FlushPolicy::Os {
            return Ok(());
        }
        let tails: Vec<&Arc<Log>> = logs
            .values()
            .filter(|log| log.durable_offset() < log.log_end_offset())
            .collect();
        commit_together(&tails, &self.options.disk, &self.dir.join(META_PROPERTIES));
        let committed = in_parallel(&tails, |log| log.commit());
        committed.into_iter().try_for_each(|durable| durable.map(drop))
    }

    fn load(
        &self,
        clean: bool,
        now_ms: i64,
        config_of: &dyn Fn(&str) -> LogConfig,
    ) -> Result<BTreeMap<TopicPartition, Arc<Log>>, StorageError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).at("list", &self.dir)? {
            let dir = entry.at("list", &self.dir)?.path();
            let Some(name) = dir
                .file_name()
                .and_then(|name| name.to_str())
                .filter(|_| dir.is_dir())
            else {
                continue;
            };
            if name.ends_with(DELETE_SUFFIX) {
                tracing::info!(dir = %dir.display(), "a deletion will be finished");
                lock(&self.doomed).push((dir, i64::MIN));
            } else if name.ends_with(STRAY_SUFFIX) {
                tracing::debug!(dir = %dir.display(), "what was set aside stays there");
            } else if let Some((topic, partition)) = parse_name(name) {
                found.push((topic.to_owned(), partition, config_of(topic), dir));
            } else {
                tracing::warn!(dir = %dir.display(), "unknown directory is left alone");
            }
        }
        let opened = in_parallel(&found, |(topic, partition, config, dir)| {
            Log::open(OpenLog {
                topic,
                partition: *partition,
                dir,
                config: config.clone(),
                options: self.options.clone(),
                recovery_point: self.recovery_points.get(topic, *partition).unwrap_or(0),
                clean,
                now_ms,
            })
        });
        let keyed = |log: Arc<Log>| ((log.topic().to_owned(), log.partition()), log);
        opened.into_iter().map(|log| log.map(keyed)).collect()
    }
}

/// Threads that open and close logs. Most of their time they wait for the disk, which serves several at once.
const LOG_THREADS: usize = 8;
/// Held open, and not opened again: with the first handle that is closed the lock that other processes see is gone.
const LOCK_FILE: &str = ".lock";
/// Kafka's own metadata log, which is none of ours, in a directory that a Kafka broker has used.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Does the work for all items on a few threads; the results are in the items' order.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..LOG_THREADS.min(items.len()) {
            scope.spawn(|| {
                while let Some((place, item)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|place| items.get(place).map(|item| (place, item)))
                {
                    let result = work(item);
                    lock(&results).push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Takes the lock that a Kafka broker takes (which holds between processes), and one that also holds within ours.
fn lock_dir(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let file = open_or_create(&path)?;
    let locks = [
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive),
        rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive),
    ];
    for lock in locks {
        match lock {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::ACCESS) => {
                return Err(OpenError::Locked(dir.to_owned()));
            }
            Err(error) => Err(std::io::Error::from(error)).at("lock", &path)?,
        }
    }
    Ok(file)
}

fn identify(
    dir: &Path,
    cluster_id: Option<String>,
    node_id: i32,
    disk: &Disk,
) -> Result<MetaProperties, OpenError> {
    if let Some(meta) = MetaProperties::read(dir)? {
        return match cluster_id.filter(|expected| *expected != meta.cluster_id) {
            Some(expected) => Err(OpenError::OtherCluster {
                dir: dir.to_owned(),
                found: meta.cluster_id,
                expected,
            }),
            None => Ok(meta),
        };
    }
    let cluster_id = cluster_id.unwrap_or_else(|| random_id().to_string());
    let meta = MetaProperties {
        cluster_id,
        node_id,
        directory_id: random_id(),
    };
    meta.write(dir, disk)?;
    Ok(meta)
}

/// Version 4 of RFC 9562. Texts that begin with a dash are avoided, as Kafka does, because they look like options.
pub(super) fn random_id() -> Uuid {
    loop {
        let mut bytes: [u8; 16] = rand::random();
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let id = Uuid::from_bytes(bytes);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// Without the file there is more to do, and nothing is lost: a damaged one is no reason not to start.
fn open_forgiving(
    dir: &Path,
    name: &str,
    without: &str,
    disk: &Disk,
) -> Result<OffsetCheckpoint, StorageError> {
    let path = dir.join(name);
    OffsetCheckpoint::open(path.clone(), disk.clone()).or_else(|error| {
        tracing::warn!(%error, "{without}");
        remove_if_there(&path)?;
        OffsetCheckpoint::open(path, disk.clone())
    })
}

fn parse_name(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let partition: i32 = partition.parse().ok()?;
    (check_name(topic, partition).is_ok() && topic != METADATA_TOPIC).then_some((topic, partition))
}

/// Topic names become names of directories: nothing else than what Kafka allows in them may come here.
fn check_name(topic: &str, partition: i32) -> std::io::Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fine = (1..=249).contains(&topic.len()) && topic.bytes().all(legal) && topic != "." && topic != "..";
    if fine && partition >= 0 {
        return Ok(());
    }
    Err(std::io::Error::new(
        std::io::ErrorKind::InvalidInput,
        "it is not a legal name of a topic partition",
    ))
}
