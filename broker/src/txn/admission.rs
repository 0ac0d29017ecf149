//! Letting transactional batches into partitions (KIP-890).

use std::sync::Arc;

use bytes::Bytes;
use heliostat_wire::ErrorCode;
use heliostat_wire::batch::BatchHeader;

use super::Partitions;
use super::coordinator::Coordinator;
use super::metadata::EPOCH_BUMP;
use super::requests::Producer;
use crate::broker::Broker;
use crate::log::{Guard, Log};

/// Since this version of Produce, a batch makes its partition part of the transaction.
const ADDS_SINCE: i16 = 12;
/// Since this version clients know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 11;

/// A batch that is to be appended.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) log: &'a Arc<Log>,
    pub(crate) records: &'a Bytes,
}

/// Asks the coordinator about the transactional batches of a produce request, where they are the first of their
/// transaction in a partition. Returns the guards with which they may be appended, in the order of `arrivals`.
pub(crate) async fn admit(
    broker: &Arc<Broker>,
    transactional_id: Option<&str>,
    version: i16,
    arrivals: &[Arrival<'_>],
) -> Result<Vec<Option<Guard>>, ErrorCode> {
    let headers = arrivals
        .iter()
        .map(|arrival| BatchHeader::parse(arrival.records).ok());
    let headers: Vec<_> = headers
        .map(|header| header.filter(|header| header.is_transactional() && header.has_producer_id()))
        .collect();
    let mut transactional = headers.iter().flatten();
    let Some(first) = transactional.next() else {
        return Ok(vec![None; arrivals.len()]);
    };
    let Some(id) = transactional_id else {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    };
    let producer = (first.producer_id, first.producer_epoch);
    if transactional.any(|other| (other.producer_id, other.producer_epoch) != producer) {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let adds = version >= ADDS_SINCE;
    let mut guards = Vec::with_capacity(arrivals.len());
    let mut asked = Partitions::new();
    for (arrival, header) in arrivals.iter().zip(&headers) {
        let guard = match header {
            Some(_) => verify(arrival, adds).await?,
            None => None,
        };
        if guard.is_some() {
            let partitions = asked.entry(arrival.log.topic().to_owned()).or_default();
            partitions.insert(arrival.log.partition());
        }
        guards.push(guard);
    }
    if asked.is_empty() {
        return Ok(guards);
    }
    let producer = Producer {
        transactional_id: id.to_owned(),
        producer_id: producer.0,
        epoch: producer.1,
    };
    let answer = if adds {
        Coordinator::add(broker, producer, asked, None, EPOCH_BUMP).await
    } else {
        broker.transactions().verify(&producer, &asked).await
    };
    answer.map(|()| guards).map_err(|error| told(error, version))
}

/// The guard of a batch whose transaction the log does not know to be open.
async fn verify(arrival: &Arrival<'_>, adds: bool) -> Result<Option<Guard>, ErrorCode> {
    if let Ok(guard) = arrival.log.try_verify_transaction(arrival.records, adds) {
        return Ok(guard);
    }
    // Somebody is at the log, and may be so for as long as the disk likes.
    let (log, records) = (Arc::clone(arrival.log), arrival.records.clone());
    tokio::task::spawn_blocking(move || log.verify_transaction(&records, adds))
        .await
        // The runtime is going away. The producer tries again.
        .map_err(|_| ErrorCode::NotEnoughReplicas)
}

/// The error that a producer of this version understands.
fn told(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        // Older clients try again only after errors that they expect here.
        ErrorCode::ConcurrentTransactions if version < ADDS_SINCE => ErrorCode::NotEnoughReplicas,
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
