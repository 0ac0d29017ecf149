//! Runs the log cleaner as Kafka's does: up to `log.cleaner.threads` logs at a time, the dirtiest first, and a rest of
//! `log.cleaner.backoff.ms` when none is dirty enough.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::error;

use crate::{
    broker::Broker,
    cluster::Cluster,
    log::{CleanError, CleanReport, CleanerFacts, CleanerOptions},
};

/// Why a topic was not compacted.
#[derive(Debug, Error)]
pub enum CompactError {
    /// There is no such topic.
    #[error("there is no topic {0}")]
    UnknownTopic(String),
    /// cleanup.policy does not contain `compact`.
    #[error("cleanup.policy of topic {0} does not contain compact")]
    Policy(String),
    /// A partition could not be cleaned.
    #[error("partition {partition} of topic {topic} was not compacted: {source}")]
    Partition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// What went wrong.
        source: CleanError,
    },
    /// The task that does it died.
    #[error("compaction was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Cluster {
    /// Compacts all partitions of a topic now, however little is dirty, as far as compaction may go: not the active
    /// segments, no open transactions, nothing younger than `min.compaction.lag.ms`. A partition that the cleaner is at
    /// just now is left to it. Returns what each round did.
    pub async fn compact(&self, topic: &str) -> Result<Vec<CleanReport>, CompactError> {
        let broker = self.broker().clone();
        let image = broker.image();
        let found = image.topic(topic).cloned();
        let found = found.ok_or_else(|| CompactError::UnknownTopic(topic.to_owned()))?;
        let options = Settings::of(&broker).options;
        let compacted = tokio::task::spawn_blocking(move || {
            let (storage, mut reports) = (broker.storage(), Vec::new());
            for partition in 0..found.partitions.len() as i32 {
                let Some(log) = storage.log(&found, partition) else {
                    continue;
                };
                if !log.config().compact {
                    return Err(CompactError::Policy(found.name.clone()));
                }
                // A map that is too small for all keys takes several rounds, each of which gets further.
                while let Some(turn) = storage.cleaner().turn(&log, storage.clock().now_ms()) {
                    let report = storage.cleaner().clean(&turn, &options, storage.clock().now_ms());
                    reports.push(report.map_err(|source| CompactError::Partition {
                        topic: found.name.clone(),
                        partition,
                        source,
                    })?);
                }
            }
            Ok(reports)
        });
        compacted.await?
    }

    /// What the cleaner has done so far.
    pub fn cleaner_facts(&self) -> CleanerFacts {
        self.broker().storage().cleaner().facts()
    }
}

/// The broker's configs as they are now.
struct Settings {
    threads: usize,
    backoff: Duration,
    options: CleanerOptions,
}

impl Settings {
    fn of(broker: &Broker) -> Self {
        let image = broker.image();
        let layers = broker.layers(&image);
        let number = |name| layers.broker_value(name).trim().parse::<f64>().unwrap_or(0.0);
        let whole = |name| layers.broker_value(name).trim().parse::<u64>().unwrap_or(0);
        let threads = whole("log.cleaner.threads").max(1);
        Settings {
            threads: threads as usize,
            backoff: Duration::from_millis(whole("log.cleaner.backoff.ms")),
            options: CleanerOptions {
                map_bytes: whole("log.cleaner.dedupe.buffer.size") / threads,
                map_load_factor: number("log.cleaner.io.buffer.load.factor").clamp(0.01, 1.0),
                max_bytes_per_second: number("log.cleaner.io.max.bytes.per.second"),
            },
        }
    }
}

/// Cleans until the cluster stops. When this returns, nobody cleans any more.
pub(crate) async fn keep_clean(broker: Arc<Broker>) {
    if !broker.settings().cleaner_enable {
        return;
    }
    let stopped = broker.drain().clone();
    let mut busy = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = stopped.cancelled() => break,
            next = next(&broker, &mut busy) => next,
        };
        let settings = Settings::of(&broker);
        match next {
            Some(turn) => {
                let storage = broker.storage().clone();
                let clean = move || {
                    storage
                        .cleaner()
                        .clean(&turn, &settings.options, storage.clock().now_ms())
                        .is_ok()
                };
                busy.spawn_blocking(clean);
            }
            None => tokio::select! {
                () = stopped.cancelled() => break,
                () = rest(&broker, &mut busy) => {}
            },
        }
    }
    broker.storage().cleaner().stop();
    while busy.join_next().await.is_some() {}
}

/// The log to clean next, once there is a thread for it.
async fn next(broker: &Arc<Broker>, busy: &mut JoinSet<bool>) -> Option<crate::log::ToClean> {
    while busy.len() >= Settings::of(broker).threads {
        // A round that failed may fail again at once; there is no hurry then.
        if !matches!(busy.join_next().await, Some(Ok(true))) {
            return None;
        }
    }
    let storage = broker.storage().clone();
    let next = tokio::task::spawn_blocking(move || storage.next_to_clean(storage.clock().now_ms()));
    next.await
        .inspect_err(|error| error!(%error, "looking for a log to clean was interrupted"))
        .ok()
        .flatten()
}

/// Waits for as long as the config says now, which may change meanwhile; or until a log has been cleaned, since
/// another may wait for the thread.
async fn rest(broker: &Arc<Broker>, busy: &mut JoinSet<bool>) {
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    let began = Instant::now();
    loop {
        let left = Settings::of(broker).backoff.saturating_sub(began.elapsed());
        if left.is_zero() {
            return;
        }
        tokio::select! {
            () = sleep(left.min(LOOK_AGAIN)) => {}
            Some(Ok(true)) = busy.join_next() => return,
        }
    }
}
