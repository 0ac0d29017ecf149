//! What producers ask of the coordinator.

use std::sync::Arc;

use heliostat_wire::ErrorCode;
use tracing::error;

use super::Partitions;
use super::coordinator::{Coordinator, Slot};
use super::metadata::{End, EndRequest, Init, Metadata, NO_EPOCH};
use crate::broker::Broker;

/// Who speaks for a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) transactional_id: String,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

/// How a transaction is to end, in which generation of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndKind {
    pub(crate) commit: bool,
    pub(crate) client_version: i16,
}

impl Coordinator {
    /// Whether a client may ask for this timeout.
    pub(crate) fn allows_timeout(&self, timeout_ms: i32) -> bool {
        let asked = u128::try_from(timeout_ms).unwrap_or(0);
        (1..=self.config.max_timeout.as_millis()).contains(&asked)
    }

    /// InitProducerId: the producer id and epoch for whoever uses the id from now on. `expected` is what a producer
    /// that goes on has had. CONCURRENT_TRANSACTIONS: the transaction of the one before is being aborted.
    pub(crate) async fn init(
        broker: &Arc<Broker>,
        id: String,
        timeout_ms: i32,
        expected: Option<(i64, i16)>,
    ) -> Result<(i64, i16), ErrorCode> {
        let task_broker = Arc::clone(broker);
        detached(broker, async move {
            let this = task_broker.transactions();
            let slot = this.find_or_create(&id);
            let mut place = slot.metadata.lock().await;
            let current = match place.as_ref() {
                Some(known) => known.clone(),
                None => Metadata::new(fresh_id(&task_broker).await?, timeout_ms, this.now_ms()),
            };
            let mut init = current.init(expected, timeout_ms, None, this.now_ms())?;
            if init == Init::NeedsProducerId {
                let fresh = fresh_id(&task_broker).await?;
                init = current.init(expected, timeout_ms, Some(fresh), this.now_ms())?;
            }
            match init {
                Init::Ready(next) => {
                    this.store(&id, Some(&next)).await?;
                    let given = (next.producer_id, next.epoch);
                    *place = Some(next);
                    Ok(given)
                }
                Init::Abort(decision) => {
                    this.decide(&task_broker, &id, &mut place, decision).await?;
                    Err(ErrorCode::ConcurrentTransactions)
                }
                Init::NeedsProducerId => Err(ErrorCode::CoordinatorNotAvailable),
            }
        })
        .await
    }

    /// AddPartitionsToTxn and AddOffsetsToTxn: the transaction reaches these too. It is durable when this returns.
    pub(crate) async fn add(
        broker: &Arc<Broker>,
        producer: Producer,
        partitions: Partitions,
        group: Option<String>,
        client_version: i16,
    ) -> Result<(), ErrorCode> {
        let task_broker = Arc::clone(broker);
        detached(broker, async move {
            let this = task_broker.transactions();
            let slot = this.known(&producer)?;
            let mut place = slot.metadata.lock().await;
            this.add_locked(
                &producer,
                &mut place,
                &partitions,
                group.as_deref(),
                client_version,
            )
            .await
        })
        .await
    }

    /// Whether the producer's transaction reaches all these partitions. TRANSACTION_ABORTABLE says that it does not.
    pub(crate) async fn verify(&self, producer: &Producer, partitions: &Partitions) -> Result<(), ErrorCode> {
        let slot = self.known(producer)?;
        let place = slot.metadata.lock().await;
        let metadata = place.as_ref().ok_or(ErrorCode::InvalidProducerIdMapping)?;
        metadata.check_producer(producer.producer_id, producer.epoch)?;
        if metadata.holds(partitions) {
            Ok(())
        } else {
            Err(ErrorCode::TransactionAbortable)
        }
    }

    /// TxnOffsetCommit: `commit` is done while the transaction cannot end. With `add` the group becomes part of it first;
    /// otherwise it must be part of it already.
    pub(crate) async fn with_group<T: Send + 'static>(
        broker: &Arc<Broker>,
        producer: Producer,
        group: String,
        add: Option<i16>,
        commit: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let task_broker = Arc::clone(broker);
        detached(broker, async move {
            let this = task_broker.transactions();
            let slot = this.known(&producer)?;
            let mut place = slot.metadata.lock().await;
            if let Some(client_version) = add {
                this.add_locked(
                    &producer,
                    &mut place,
                    &Partitions::new(),
                    Some(&group),
                    client_version,
                )
                .await?;
            } else {
                let metadata = place.as_ref().ok_or(ErrorCode::InvalidProducerIdMapping)?;
                metadata.check_producer(producer.producer_id, producer.epoch)?;
                if !metadata.groups.contains(&group) {
                    return Err(ErrorCode::TransactionAbortable);
                }
            }
            Ok(commit.await)
        })
        .await
    }

    /// EndTxn: the decision is durable when this returns, and the markers are written unless the disk refuses them, in
    /// which case they follow. Returns the producer id and epoch of the next transaction.
    pub(crate) async fn end(
        broker: &Arc<Broker>,
        producer: Producer,
        kind: EndKind,
    ) -> Result<(i64, i16), ErrorCode> {
        let task_broker = Arc::clone(broker);
        detached(broker, async move {
            let this = task_broker.transactions();
            let slot = this.known(&producer)?;
            let mut place = slot.metadata.lock().await;
            let current = place.clone().ok_or(ErrorCode::InvalidProducerIdMapping)?;
            let request = EndRequest {
                producer_id: producer.producer_id,
                epoch: producer.epoch,
                commit: kind.commit,
                client_version: kind.client_version,
            };
            let mut end = current.end(request, None, this.now_ms())?;
            if end == End::NeedsProducerId {
                let fresh = fresh_id(&task_broker).await?;
                end = current.end(request, Some(fresh), this.now_ms())?;
            }
            let id = &producer.transactional_id;
            match end {
                End::Over => Ok((current.producer_id, current.epoch)),
                End::Prepared(next) => {
                    let after = next.completed(this.now_ms());
                    this.decide(&task_broker, id, &mut place, next).await?;
                    Ok((after.producer_id, after.epoch))
                }
                End::NeedsProducerId => Err(ErrorCode::CoordinatorNotAvailable),
            }
        })
        .await
    }

    /// Stores a decision and carries it out.
    pub(super) async fn decide(
        &self,
        broker: &Arc<Broker>,
        id: &str,
        place: &mut Option<Metadata>,
        decision: Metadata,
    ) -> Result<(), ErrorCode> {
        self.store(id, Some(&decision)).await?;
        *place = Some(decision);
        self.carry_out(broker, id, place).await;
        Ok(())
    }

    async fn add_locked(
        &self,
        producer: &Producer,
        place: &mut Option<Metadata>,
        partitions: &Partitions,
        group: Option<&str>,
        client_version: i16,
    ) -> Result<(), ErrorCode> {
        let metadata = place.as_ref().ok_or(ErrorCode::InvalidProducerIdMapping)?;
        metadata.check_producer(producer.producer_id, producer.epoch)?;
        if let Some(next) = metadata.add(partitions, group, client_version, self.now_ms()) {
            self.store(&producer.transactional_id, Some(&next)).await?;
            *place = Some(next);
        }
        Ok(())
    }

    fn known(&self, producer: &Producer) -> Result<Arc<Slot>, ErrorCode> {
        if producer.transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.find(&producer.transactional_id)
            .ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

/// Lets the work go on to its end even if the client hangs up: half of it would be neither the old state nor the new one.
pub(super) async fn detached<T: Send + 'static>(
    broker: &Broker,
    work: impl Future<Output = Result<T, ErrorCode>> + Send + 'static,
) -> Result<T, ErrorCode> {
    let transactions = broker.transactions();
    if transactions.stopping.is_cancelled() {
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    let outcome = transactions.tasks.spawn(work).await;
    outcome.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
}

async fn fresh_id(broker: &Broker) -> Result<i64, ErrorCode> {
    broker.next_producer_id().await.map_err(|error| {
        error!(%error, "a producer id cannot be given out");
        ErrorCode::CoordinatorNotAvailable
    })
}

/// The producer id and epoch in a request; -1 and -1 stand for none.
pub(crate) fn expected_producer(producer_id: i64, epoch: i16) -> Result<Option<(i64, i16)>, ErrorCode> {
    match (producer_id, epoch) {
        (super::metadata::NO_PRODUCER_ID, NO_EPOCH) => Ok(None),
        (super::metadata::NO_PRODUCER_ID, _) | (_, NO_EPOCH) => Err(ErrorCode::InvalidRequest),
        expected => Ok(Some(expected)),
    }
}
