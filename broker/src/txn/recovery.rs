//! What a start has to finish: decisions without all their markers, and transactions that nobody would ever end.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::{info, warn};

use super::coordinator::Coordinator;
use super::markers::{Appended, append};
use super::metadata::{EPOCH_BUMP, Metadata, State};
use crate::broker::Broker;
use crate::log::{Log, Marker, ProducerInfo};

impl Coordinator {
    /// Carries out what was decided before the last end of this process, and ends what a power cut has left open in
    /// partitions without the coordinator knowing of it. To be called before clients are let in.
    pub(crate) async fn recover(broker: &Arc<Broker>) {
        let this = broker.transactions();
        let mut by_producer = HashMap::new();
        for (id, slot) in this.all() {
            let mut place = slot.metadata.lock().await;
            this.carry_out(broker, &id, &mut place).await;
            if let Some(metadata) = place.as_ref() {
                by_producer.insert(metadata.producer_id, metadata.clone());
                by_producer.insert(metadata.previous_producer_id, metadata.clone());
            }
        }
        let (broker, epoch) = (Arc::clone(broker), this.epoch);
        let ended = tokio::task::spawn_blocking(move || end_unknown(&broker, &by_producer, epoch));
        match ended.await {
            Ok(ended) => {
                for appended in ended {
                    // What went wrong is in the program's log; the partition is read-only then.
                    let _ = appended.durable().await;
                }
            }
            Err(error) => {
                warn!(%error, "open transactions were not compared with what the coordinator knows")
            }
        }
    }
}

/// Ends every transaction that is open in a log and not known to reach it.
fn end_unknown(broker: &Broker, known: &HashMap<i64, Metadata>, coordinator_epoch: i32) -> Vec<Appended> {
    let (image, now_ms) = (broker.image(), broker.storage().clock().now_ms());
    let mut ended = Vec::new();
    for topic in image.topics() {
        for (index, _) in topic.partitions.iter().enumerate() {
            let Ok(index) = i32::try_from(index) else { continue };
            let Some(log) = broker.storage().log(topic, index) else {
                continue;
            };
            for producer in log.producers() {
                let metadata = known.get(&producer.producer_id);
                if producer.transaction_start.is_some() && !is_known(metadata, &log, &producer) {
                    let epoch = image.leader_epoch(topic, index);
                    ended.extend(end(&log, epoch, metadata, &producer, coordinator_epoch, now_ms));
                }
            }
        }
    }
    ended
}

fn is_known(metadata: Option<&Metadata>, log: &Log, producer: &ProducerInfo) -> bool {
    metadata.is_some_and(|metadata| {
        let here = metadata
            .partitions
            .get(log.topic())
            .is_some_and(|partitions| partitions.contains(&log.partition()));
        let open = metadata.state == State::Ongoing && metadata.epoch == producer.epoch;
        here && (open || metadata.state.is_prepared())
    })
}

/// The coordinator's last decision holds if it was made for this epoch; otherwise the transaction is aborted.
fn end(
    log: &Arc<Log>,
    leader_epoch: i32,
    metadata: Option<&Metadata>,
    producer: &ProducerInfo,
    coordinator_epoch: i32,
    now_ms: i64,
) -> Option<Appended> {
    let decided = metadata.filter(|metadata| {
        let epoch = if metadata.client_version >= EPOCH_BUMP {
            metadata.last_epoch
        } else {
            metadata.epoch
        };
        epoch == producer.epoch
    });
    let commit = decided.is_some_and(|metadata| metadata.state == State::CompleteCommit);
    let marker = Marker {
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch,
        commit,
        coordinator_epoch: coordinator_epoch.max(producer.coordinator_epoch),
        transaction_version: 0,
    };
    let (topic, partition, producer_id) = (log.topic(), log.partition(), producer.producer_id);
    match append(Arc::clone(log), leader_epoch, &marker, now_ms) {
        Ok(appended) => {
            info!(
                topic,
                partition, producer_id, commit, "a transaction that nobody would have ended was ended"
            );
            Some(appended)
        }
        Err(error) => {
            warn!(%error, topic, partition, producer_id, "a transaction stays open that nobody will end");
            None
        }
    }
}
