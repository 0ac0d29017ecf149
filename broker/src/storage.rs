//! The logs of all topics, as the rest of the broker asks for them.
//!
//! The state says which topics there are, and the logs follow it: see [`Storage::follow`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use heliostat_wire::{ErrorCode, Uuid};
use tracing::{error, info, warn};

use crate::{
    api_error::ApiError,
    clock::Clock,
    cluster::ReadOnlyPartition,
    log::{
        Cleaner, Disk, Log, LogConfig, LogManager, LogManagerOptions, LogState, OpenError, StorageError,
        ToClean,
    },
    state::{FoundLog, Image, Topic, settings::Settings},
};

/// What a topic's configuration comes to: names and values.
pub(crate) type Values = BTreeMap<String, String>;

/// All logs. Nodes share one.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    logs: Arc<LogManager>,
    clock: Clock,
}

impl Storage {
    /// Opens the directory, which nobody else may use at the same time. Blocks on the disk.
    /// So many files are kept open.
    pub(crate) fn open(
        directory: &Path,
        settings: &Settings,
        open_files_max: usize,
    ) -> Result<Storage, OpenError> {
        let mut options = LogManagerOptions::new(directory);
        options.flush_policy = settings.flush_policy;
        options.open_files_max = open_files_max;
        // The configuration of topics is known only when the state has been read, which this directory's lock must
        // come before; until `follow` the defaults hold.
        let clock = Clock::default();
        let logs = LogManager::open(options, clock.now_ms(), &|_| LogConfig::default())?;
        logs.start_commits(settings.flush_group_interval)?;
        Ok(Storage {
            logs: Arc::new(logs),
            clock,
        })
    }

    /// The clock that records are stamped with, and that their age is counted by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What compacts logs.
    pub(crate) fn cleaner(&self) -> &Arc<Cleaner> {
        self.logs.cleaner()
    }

    /// The log that is to be cleaned next, if any is dirty enough.
    pub(crate) fn next_to_clean(&self, now_ms: i64) -> Option<ToClean> {
        self.logs.cleaner().next(&self.logs.logs(), now_ms)
    }

    /// 22 characters, which stay as long as the data does.
    pub(crate) fn cluster_id(&self) -> &str {
        &self.logs.meta().cluster_id
    }

    /// After how long logs forget a producer that is silent, in milliseconds.
    pub(crate) fn forget_producers_after(&self, ms: i64) {
        self.logs.forget_producers_after(ms);
    }

    /// The disk under the logs.
    pub(crate) fn disk(&self) -> &Disk {
        self.logs.disk()
    }

    /// The partitions that take no records.
    pub(crate) fn read_only(&self) -> Vec<ReadOnlyPartition> {
        let describe = |log: &Arc<Log>| match log.state() {
            LogState::Writable => None,
            LogState::ReadOnly { reason, since_ms } => Some(ReadOnlyPartition {
                topic: log.topic().to_owned(),
                partition: log.partition(),
                reason,
                since_ms,
            }),
        };
        self.logs.read_only().iter().filter_map(describe).collect()
    }

    /// The logs that have records, as they were found on disk.
    pub(crate) fn found(&self) -> Vec<FoundLog> {
        let logs = self.logs.logs();
        let with_records = logs.iter().filter(|log| log.log_end_offset() > 0);
        with_records.map(found).collect()
    }

    /// Brings the logs in line with the state at start: every partition has one, and those that a crash has left
    /// behind are removed. A log with records that no topic ever owned is set aside, as in Kafka: its directory gets a
    /// name that ends with `-stray`, and is never touched again. Blocks on the disk.
    pub(crate) fn follow(
        &self,
        image: &Image,
        deleted: &BTreeSet<Uuid>,
        values: impl Fn(&Topic, i32) -> Values,
    ) -> Result<(), StorageError> {
        for log in self.logs.logs() {
            if found(&log).owner(image).is_some() {
                continue;
            }
            let (topic, partition, now) = (log.topic(), log.partition(), self.clock.now_ms());
            if log.log_end_offset() == 0 || deleted.contains(&log.topic_id()) {
                info!(topic, partition, "removing a log that no topic owns");
                self.logs.delete(topic, partition, now)?;
            } else if let Some(directory) = self.logs.set_aside(topic, partition)? {
                error!(
                    topic, partition, topic_id = %log.topic_id(), directory = %directory.display(),
                    "a log with records belongs to no topic; it was set aside and stays there"
                );
            }
        }
        for topic in image.topics() {
            let configs = log_configs(topic, |leader| values(topic, leader));
            for (index, config) in (0..).zip(configs) {
                self.logs
                    .create(&topic.name, index, topic.id, config, self.clock.now_ms())?;
            }
        }
        Ok(())
    }

    /// The log of a partition.
    pub(crate) fn log(&self, topic: &Topic, index: i32) -> Option<Arc<Log>> {
        self.logs
            .get(&topic.name, index)
            .filter(|log| log.topic_id() == topic.id)
    }

    /// Whether a log can be configured so.
    pub(crate) fn check_configs(&self, values: &Values) -> Result<(), ApiError> {
        LogConfig::parse(values)
            .map(drop)
            .map_err(|error| ApiError::invalid_config(error.to_string()))
    }

    /// Makes the configuration take effect: in each partition that of its leader.
    pub(crate) fn configure(&self, topic: &Topic, values: impl Fn(i32) -> Values) {
        for (index, config) in (0..).zip(log_configs(topic, values)) {
            if let Some(log) = self.log(topic, index) {
                log.set_config(config);
            }
        }
    }

    /// Makes the logs of a topic's partitions from `first` on. If one cannot be made, none is.
    pub(crate) async fn create_partitions(
        &self,
        topic: &Topic,
        first: usize,
        values: impl Fn(i32) -> Values,
    ) -> Result<(), ApiError> {
        let configs = log_configs(topic, values);
        let (storage, topic) = (self.clone(), topic.clone());
        let created = tokio::task::spawn_blocking(move || {
            for (index, config) in configs.into_iter().enumerate().skip(first) {
                let created = storage.logs.create(
                    &topic.name,
                    index as i32,
                    topic.id,
                    config,
                    storage.clock.now_ms(),
                );
                if let Err(error) = created {
                    storage.delete_logs(&topic, first..index);
                    return Err(error);
                }
            }
            Ok(())
        });
        let problem = match created.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        error!(error = problem, "the logs of a topic cannot be made");
        Err(ApiError::new(ErrorCode::KafkaStorageError, problem))
    }

    /// Removes a topic's logs. Whoever waits for them is woken.
    pub(crate) async fn delete_topic(&self, topic: &Topic) {
        let (storage, topic) = (self.clone(), topic.clone());
        let removed =
            tokio::task::spawn_blocking(move || storage.delete_logs(&topic, 0..topic.partitions.len()));
        if let Err(error) = removed.await {
            error!(%error, "removing logs was interrupted");
        }
    }

    fn delete_logs(&self, topic: &Topic, indexes: std::ops::Range<usize>) {
        let indexes = indexes.map(|index| index as i32);
        if let Err(error) = self.logs.delete_all(&topic.name, indexes, self.clock.now_ms()) {
            error!(%error, topic = topic.name, "logs stay behind until the next start");
        }
    }

    /// Retention, expiry, flushes and checkpoints, as far as they are due.
    pub(crate) async fn maintain(&self) {
        let (logs, now) = (self.logs.clone(), self.clock.now_ms());
        if let Err(error) = tokio::task::spawn_blocking(move || logs.maintain(now)).await {
            error!(%error, "the maintenance of the logs was interrupted");
        }
    }

    /// Notices what has become of the disk since the last call.
    pub(crate) async fn watch(&self) {
        let logs = self.logs.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || logs.watch()).await {
            error!(%error, "looking after the disk was interrupted");
        }
    }

    /// Writes down where recovery must begin.
    pub(crate) async fn checkpoint(&self) {
        let logs = self.logs.clone();
        let problem = match tokio::task::spawn_blocking(move || logs.checkpoint()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        error!(error = problem, "checkpoints could not be written");
    }

    /// Tries to make read-only partitions writable again.
    pub(crate) async fn mend(&self) {
        let (logs, now) = (self.logs.clone(), self.clock.now_ms());
        if let Err(error) = tokio::task::spawn_blocking(move || logs.mend(now)).await {
            error!(%error, "mending logs was interrupted");
        }
    }

    /// Closes the logs cleanly, so that the next start needs no recovery.
    pub(crate) async fn close(&self) {
        let (logs, now) = (self.logs.clone(), self.clock.now_ms());
        let closed = tokio::task::spawn_blocking(move || logs.close(now));
        let problem = match closed.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        error!(
            error = problem,
            "the logs were not closed cleanly; the next start will check them"
        );
    }
}

fn found(log: &Arc<Log>) -> FoundLog {
    FoundLog {
        topic_id: log.topic_id(),
        topic: log.topic().to_owned(),
        partition: log.partition(),
        directory: log.dir().to_owned(),
    }
}

/// The configuration of each partition, from the values that its leader has.
fn log_configs(topic: &Topic, values: impl Fn(i32) -> Values) -> Vec<LogConfig> {
    let mut by_leader = BTreeMap::new();
    let mut of = |leader| {
        let config = by_leader.entry(leader);
        config
            .or_insert_with(|| log_config(topic, &values(leader)))
            .clone()
    };
    topic
        .partitions
        .iter()
        .map(|partition| of(partition.leader))
        .collect()
}

/// What was checked when it was set can be read, unless an older version of this broker has set it.
fn log_config(topic: &Topic, values: &Values) -> LogConfig {
    LogConfig::parse(values).unwrap_or_else(|error| {
        warn!(%error, topic = topic.name, "the topic's configuration is not possible; the defaults hold");
        LogConfig::default()
    })
}
