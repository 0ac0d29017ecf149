//! AddPartitionsToTxn (24), versions 0-5: makes partitions part of a transaction, or since version 4 verifies that they
//! are. Several transactions at once since version 4, which Kafka's brokers send each other.

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
        add_partitions_to_txn::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
            AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
        },
    },
};

use super::Context;
use crate::txn::{Coordinator, EPOCH_BUMP, Partitions, Producer};

/// Since this version a request names several transactions.
const BATCHED_SINCE: i16 = 4;
/// Since this version the client ends each transaction with a new epoch.
const EPOCH_BUMP_SINCE: i16 = 5;
/// Since this version clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// The outcome for every partition of a transaction. Kafka names topics of which no partition was named too.
type Outcome = BTreeMap<String, BTreeMap<i32, ErrorCode>>;

pub(super) async fn handle(
    context: Context,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.api_version >= BATCHED_SINCE {
        let mut results = Vec::with_capacity(request.transactions.len());
        for transaction in request.transactions {
            let transactional_id = transaction.transactional_id.clone();
            let topic_results = results_by_topic(&run(&context, transaction).await);
            results.push(AddPartitionsToTxnResult {
                transactional_id,
                topic_results,
            });
        }
        return AddPartitionsToTxnResponse {
            results_by_transaction: results,
            ..Default::default()
        };
    }
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id,
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics,
    };
    AddPartitionsToTxnResponse {
        results_by_topic_v3_and_below: results_by_topic(&run(&context, transaction).await),
        ..Default::default()
    }
}

async fn run(context: &Context, transaction: AddPartitionsToTxnTransaction) -> Outcome {
    let mut partitions = Partitions::new();
    for AddPartitionsToTxnTopic { name, partitions: of } in transaction.topics {
        partitions.entry(name).or_default().extend(of);
    }
    let exists = |(topic, index): &(String, i32)| context.has_partition(topic, *index);
    let all: Vec<(String, i32)> = partitions
        .iter()
        .flat_map(|(topic, of)| of.iter().map(|index| (topic.clone(), *index)))
        .collect();
    if !all.iter().all(exists) {
        // One that does not exist keeps the others out.
        let outcome = |partition: (String, i32)| {
            let error = if exists(&partition) {
                ErrorCode::OperationNotAttempted
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            (partition, error)
        };
        return by_topic(partitions.into_keys(), all.into_iter().map(outcome));
    }
    let producer = Producer {
        transactional_id: transaction.transactional_id,
        producer_id: transaction.producer_id,
        epoch: transaction.producer_epoch,
    };
    if transaction.verify_only {
        let verified = verify(context, &producer, all).await;
        return by_topic(partitions.into_keys(), verified);
    }
    let topics: Vec<String> = partitions.keys().cloned().collect();
    let version = if context.api_version >= EPOCH_BUMP_SINCE {
        EPOCH_BUMP
    } else {
        0
    };
    let added = match context.transactions_for(&producer.transactional_id) {
        Ok(_) => Coordinator::add(&context.broker, producer, partitions, None, version).await,
        Err(error) => Err(error),
    };
    let error = added.err().unwrap_or(ErrorCode::None);
    let error = context.known_fencing(error, FENCED_SINCE);
    by_topic(topics, all.into_iter().map(|partition| (partition, error)))
}

/// Each partition by itself.
async fn verify(
    context: &Context,
    producer: &Producer,
    all: Vec<(String, i32)>,
) -> Vec<((String, i32), ErrorCode)> {
    let mut outcome = Vec::with_capacity(all.len());
    for (topic, index) in all {
        let asked = Partitions::from([(topic.clone(), [index].into())]);
        let verified = match context.transactions_for(&producer.transactional_id) {
            Ok(transactions) => transactions.verify(producer, &asked).await,
            Err(error) => Err(error),
        };
        outcome.push(((topic, index), verified.err().unwrap_or(ErrorCode::None)));
    }
    outcome
}

fn by_topic(
    topics: impl IntoIterator<Item = String>,
    outcomes: impl IntoIterator<Item = ((String, i32), ErrorCode)>,
) -> Outcome {
    let mut all: Outcome = topics.into_iter().map(|topic| (topic, BTreeMap::new())).collect();
    for ((topic, index), error) in outcomes {
        all.entry(topic).or_default().insert(index, error);
    }
    all
}

fn results_by_topic(outcome: &Outcome) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = outcome.iter().map(|(name, partitions)| {
        let results = partitions
            .iter()
            .map(|(partition_index, error)| AddPartitionsToTxnPartitionResult {
                partition_index: *partition_index,
                partition_error_code: error.code(),
            });
        AddPartitionsToTxnTopicResult {
            name: name.clone(),
            results_by_partition: results.collect(),
        }
    });
    topics.collect()
}
