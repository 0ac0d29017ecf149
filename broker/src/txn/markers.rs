//! Carrying out a decision: markers to all partitions and groups of a transaction.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, warn};

use super::coordinator::Coordinator;
use super::metadata::{Metadata, State};
use crate::broker::Broker;
use crate::clock::now_ms;
use crate::log::{AppendError, Log, Marker};

/// After this time markers that could not be written are tried again.
const RETRY_PERIOD: Duration = Duration::from_millis(500);

/// A log is asked to flush itself if nobody else has made a marker durable in this time.
const FLUSH_PATIENCE: Duration = Duration::from_millis(500);

/// Markers are still missing somewhere; the reason is in the log.
#[derive(Debug)]
pub(crate) struct Unfinished;

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
        write_markers(targets, marker).await?;
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
        let done = decision.completed(now_ms());
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

/// Appends one marker to one partition; the answer to WriteTxnMarkers for it.
pub(super) fn append_marker(log: &Log, leader_epoch: i32, marker: &Marker) -> Result<i64, AppendError> {
    log.append_marker(marker, leader_epoch, now_ms())
        .map(|appended| appended.last_offset)
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
async fn write_markers(targets: Vec<Target>, marker: Marker) -> Result<(), Unfinished> {
    let written = tokio::task::spawn_blocking(move || {
        let mut written = Vec::with_capacity(targets.len());
        let mut complete = true;
        for target in targets {
            match append_marker(&target.log, target.leader_epoch, &marker) {
                Ok(offset) => written.push((target.log, offset)),
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
    for (log, offset) in written {
        durable(log, offset).await?;
    }
    if complete { Ok(()) } else { Err(Unfinished) }
}

/// Waits until the high watermark is beyond `offset`, where the marker is that was appended.
pub(crate) async fn durable(log: Arc<Log>, offset: i64) -> Result<(), Unfinished> {
    let mut visible = log.watch();
    let passed = visible.wait_for(|visible| visible.closed || visible.high_watermark > offset);
    if tokio::time::timeout(FLUSH_PATIENCE, passed).await.is_ok() {
        return Ok(());
    }
    let flushed = tokio::task::spawn_blocking(move || log.flush(now_ms()));
    match flushed.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            error!(%error, "a transaction marker could not be forced to disk");
            Err(Unfinished)
        }
        Err(_) => Err(Unfinished),
    }
}
