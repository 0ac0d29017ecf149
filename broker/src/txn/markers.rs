//! Carrying out a decision: markers to all partitions and groups of a transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::Partitions;
use super::coordinator::Coordinator;
use super::metadata::{Metadata, State};
use crate::broker::Broker;
use crate::log::{AppendError, Log, Marker, Visible};

/// After this time markers that could not be written are tried again.
const RETRY_PERIOD: Duration = Duration::from_millis(500);

/// A log is asked to flush itself if nobody else has made a marker durable in this time.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);

/// Markers are still missing somewhere, or not durable; the reason is in the log.
#[derive(Debug)]
pub(crate) struct Unfinished;

/// A marker that was appended, and need not be durable yet.
#[derive(Debug)]
pub(crate) struct Appended {
    log: Arc<Log>,
    offset: i64,
    news: watch::Receiver<Visible>,
    /// How often the log had been truncated before: afterwards the offset may stand for another record.
    truncations: u64,
}

/// A partition that a marker goes to.
struct Target {
    topic: String,
    partition: i32,
    /// The log and its leader's epoch; `None` while there is no leader.
    led: Option<(Arc<Log>, i32)>,
}

/// What has become of a marker.
enum Outcome {
    Appended(Appended),
    /// It is not wanted any more.
    Over,
    Missing,
}

impl Coordinator {
    /// Writes the markers of the decision in `place` and takes note of the end. If that is not possible now, it goes on
    /// in the background, and the decision stands until then.
    pub(super) async fn carry_out(&self, broker: &Arc<Broker>, id: &str, place: &mut Option<Metadata>) {
        if self.finish(broker, id, place).await.is_err() {
            let (broker, id) = (Arc::clone(broker), id.to_owned());
            self.tasks.spawn(async move { keep_trying(&broker, &id).await });
        }
    }

    async fn finish(
        &self,
        broker: &Arc<Broker>,
        id: &str,
        place: &mut Option<Metadata>,
    ) -> Result<(), Unfinished> {
        let Some(decision) = place.as_ref().filter(|metadata| metadata.state.is_prepared()) else {
            return Ok(());
        };
        let commit = decision.state == State::PrepareCommit;
        let marker = Marker {
            producer_id: decision.producer_id,
            producer_epoch: decision.epoch,
            commit,
            coordinator_epoch: self.epoch,
            transaction_version: decision.client_version,
        };
        let targets = targets(broker, decision);
        let missing = write_markers(targets, marker, self.now_ms()).await;
        let Some(decision) = place.as_mut() else {
            return Ok(());
        };
        // What has its marker needs no other one, however long the rest may take.
        decision.partitions = missing;
        if !decision.partitions.is_empty() {
            return Err(Unfinished);
        }
        for group in &decision.groups {
            let ended = broker
                .groups()
                .end_transaction(group, decision.producer_id, commit);
            if let Err(error) = ended.await {
                error!(%error, transactional_id = id, group, "a transaction's offsets wait for their marker");
                return Err(Unfinished);
            }
        }
        let done = decision.completed(self.now_ms());
        debug!(
            transactional_id = id,
            state = done.state.name(),
            "transaction ended"
        );
        self.store_later(id, &done).await;
        *place = Some(done);
        Ok(())
    }
}

/// Appends a marker to a partition.
pub(crate) fn append(
    log: Arc<Log>,
    leader_epoch: i32,
    marker: &Marker,
    now_ms: i64,
) -> Result<Appended, AppendError> {
    let news = log.watch();
    let truncations = news.borrow().truncations;
    let offset = log.append_marker(marker, leader_epoch, now_ms)?.last_offset;
    Ok(Appended {
        log,
        offset,
        news,
        truncations,
    })
}

impl Appended {
    /// Waits until the marker is as durable as the log's flush policy asks for.
    pub(crate) async fn durable(mut self) -> Result<(), Unfinished> {
        let (offset, truncations) = (self.offset, self.truncations);
        let settled = |visible: &Visible| {
            visible.high_watermark > offset
                || visible.closed
                || visible.failed
                || visible.truncations != truncations
        };
        if tokio::time::timeout(FLUSH_PATIENCE, self.news.wait_for(settled))
            .await
            .is_err()
        {
            let log = Arc::clone(&self.log);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || log.commit()).await {
                error!(%error, "a transaction marker could not be forced to disk");
            }
        }
        let visible = *self.news.borrow();
        // A deleted topic's transaction is over.
        if visible.closed || (visible.high_watermark > offset && visible.truncations == truncations) {
            Ok(())
        } else {
            Err(Unfinished)
        }
    }
}

async fn keep_trying(broker: &Arc<Broker>, id: &str) {
    let this = broker.transactions();
    loop {
        tokio::select! {
            () = this.stopping.cancelled() => return,
            () = broker.drain().cancelled() => return,
            () = tokio::time::sleep(RETRY_PERIOD) => {}
        }
        let Some(slot) = this.find(id) else { return };
        let mut place = slot.metadata.lock().await;
        if this.finish(broker, id, &mut place).await.is_ok() {
            return;
        }
    }
}

/// All partitions that there still are. One without a leader has to wait for it.
fn targets(broker: &Broker, decision: &Metadata) -> Vec<Target> {
    let image = broker.image();
    let mut targets = Vec::new();
    for (name, partitions) in &decision.partitions {
        let Some(topic) = image.topic(name) else { continue };
        for index in partitions {
            let Some(partition) = topic.partition(*index) else {
                continue;
            };
            let log = broker.storage().log(topic, *index);
            if partition.leader >= 0 && log.is_none() {
                continue;
            }
            let leader_epoch = image.leader_epoch(topic, *index);
            targets.push(Target {
                topic: name.clone(),
                partition: *index,
                led: log
                    .filter(|_| partition.leader >= 0)
                    .map(|log| (log, leader_epoch)),
            });
        }
    }
    targets
}

/// Writes the marker to all targets, and waits until it is as durable as the logs' flush policy asks for. Returns the
/// partitions where that was not possible.
async fn write_markers(targets: Vec<Target>, marker: Marker, now_ms: i64) -> Partitions {
    let all = targets
        .iter()
        .map(|target| (target.topic.clone(), target.partition));
    let all: Vec<(String, i32)> = all.collect();
    let written = tokio::task::spawn_blocking(move || {
        let appended = targets.iter().map(|target| target.append(&marker, now_ms));
        appended.collect::<Vec<Outcome>>()
    });
    let Ok(written) = written.await else {
        return collect(all);
    };
    let mut missing = Vec::new();
    for (place, outcome) in all.into_iter().zip(written) {
        let done = match outcome {
            Outcome::Over => true,
            Outcome::Missing => false,
            Outcome::Appended(appended) => appended.durable().await.is_ok(),
        };
        if !done {
            missing.push(place);
        }
    }
    collect(missing)
}

fn collect(places: Vec<(String, i32)>) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, partition) in places {
        partitions.entry(topic).or_default().insert(partition);
    }
    partitions
}

impl Target {
    fn append(&self, marker: &Marker, now_ms: i64) -> Outcome {
        let Target {
            topic,
            partition,
            led,
        } = self;
        let Some((log, leader_epoch)) = led else {
            return Outcome::Missing;
        };
        let mut appended = append(Arc::clone(log), *leader_epoch, marker, now_ms);
        if let Err(AppendError::CoordinatorFenced { current, .. }) = appended {
            // A cluster has one coordinator here, and nobody can come after it: a tool has written a marker with an epoch
            // from the future, which must not keep all later transactions open.
            let marker = Marker {
                coordinator_epoch: current,
                ..*marker
            };
            appended = append(Arc::clone(log), *leader_epoch, &marker, now_ms);
        }
        match appended {
            Ok(appended) => Outcome::Appended(appended),
            // A deleted topic's transaction is over.
            Err(AppendError::Closed(_)) => Outcome::Over,
            Err(error @ AppendError::Storage(_)) => {
                error!(%error, topic, partition, "a transaction marker was not written; it will be tried again");
                Outcome::Missing
            }
            // Somebody has ended the transaction by hand, with a later epoch.
            Err(error) => {
                warn!(%error, topic, partition, "a transaction marker is out of date and left out");
                Outcome::Over
            }
        }
    }
}
