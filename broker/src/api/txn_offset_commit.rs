//! TxnOffsetCommit (28), versions 0-5: stores a group's offsets as part of a transaction, which shows them when it
//! commits. Since version 5 the group becomes part of the transaction with it (KIP-890).

use std::sync::Arc;

use heliostat_wire::{
    ErrorCode,
    message::{
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
    },
};

use super::Context;
use crate::txn::{Coordinator, EPOCH_BUMP, Producer};

/// Since this version the request makes the group part of the transaction.
const ADDS_SINCE: i16 = 5;
/// Since this version clients know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 4;

pub(super) async fn handle(context: Context, mut request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &mut request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        // Partitions that do not exist are answered here; only the others go to the group.
        topic.partitions.retain(|partition| {
            let exists = context.has_partition(&topic.name, partition.partition_index);
            let error = if exists {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            });
            exists
        });
        topics.push(TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions,
        });
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    if !request.topics.is_empty() {
        let codes = commit(&context, request).await;
        let existing = topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
            .filter(|p| p.error_code == 0);
        for (partition, code) in existing.zip(codes) {
            partition.error_code = code;
        }
    }
    TxnOffsetCommitResponse {
        topics,
        ..Default::default()
    }
}

/// One code for each partition of the request.
async fn commit(context: &Context, request: TxnOffsetCommitRequest) -> Vec<i16> {
    let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    if request.group_id.is_empty() {
        return vec![ErrorCode::InvalidGroupId.code(); count];
    }
    if let Err(error) = context.groups_for(&request.group_id) {
        return vec![error.code(); count];
    }
    let producer = Producer {
        transactional_id: request.transactional_id.clone(),
        producer_id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let group = request.group_id.clone();
    let add = (context.api_version >= ADDS_SINCE).then_some(EPOCH_BUMP);
    let broker = Arc::clone(&context.broker);
    let committed = Coordinator::with_group(&context.broker, producer, group, add, async move {
        broker.groups().commit_transactional_offsets(request).await
    });
    match committed.await {
        Ok(response) => response
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .map(|p| p.error_code)
            .collect(),
        Err(error) => vec![told(error, context.api_version).code(); count],
    }
}

/// The error that a client of this version understands.
fn told(error: ErrorCode, version: i16) -> ErrorCode {
    match error {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        other => other,
    }
}
