//! Carrying out a decision: markers to all partitions and groups of a transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, error, warn};

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

/// A log that a marker goes to.
struct Target {
    log: Arc<Log>,
    leader_epoch: i32,
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
        let (targets, complete) = targets(broker, decision);
        write_markers(targets, marker, self.now_ms()).await?;
        complete?;
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

/// The logs of all partitions that there still are. One without a leader has to wait for it.
fn targets(broker: &Broker, decision: &Metadata) -> (Vec<Target>, Result<(), Unfinished>) {
    let image = broker.image();
    let (mut targets, mut complete) = (Vec::new(), Ok(()));
    for (name, partitions) in &decision.partitions {
        let Some(topic) = image.topic(name) else { continue };
        for index in partitions {
            let Some(partition) = topic.partition(*index) else {
                continue;
            };
            if partition.leader < 0 {
                complete = Err(Unfinished);
            } else if let Some(log) = broker.storage().log(topic, *index) {
                let leader_epoch = image.leader_epoch(topic, *index);
                targets.push(Target { log, leader_epoch });
            }
        }
    }
    (targets, complete)
}

/// Writes the marker to all targets, and waits until it is as durable as the logs' flush policy asks for.
async fn write_markers(targets: Vec<Target>, marker: Marker, now_ms: i64) -> Result<(), Unfinished> {
    let written = tokio::task::spawn_blocking(move || {
        let mut written = Vec::with_capacity(targets.len());
        let mut complete = true;
        for target in targets {
            let log = Arc::clone(&target.log);
            match append(log, target.leader_epoch, &marker, now_ms) {
                Ok(appended) => written.push(appended),
                // A deleted topic's transaction is over.
                Err(AppendError::Closed(_)) => {}
                Err(error @ AppendError::Storage(_)) => {
                    error!(%error, topic = target.log.topic(), partition = target.log.partition(),
                        "a transaction marker was not written; it will be tried again");
                    complete = false;
                }
                // Somebody has ended the transaction by hand, with a later epoch.
                Err(error) => {
                    warn!(%error, topic = target.log.topic(), partition = target.log.partition(),
                        "a transaction marker is out of date and left out");
                }
            }
        }
        (written, complete)
    });
    let Ok((written, complete)) = written.await else {
        return Err(Unfinished);
    };
    for appended in written {
        appended.durable().await?;
    }
    if complete { Ok(()) } else { Err(Unfinished) }
}
