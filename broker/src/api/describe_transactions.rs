//! DescribeTransactions (65), version 0: where transactions stand.

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeTransactionsRequest, DescribeTransactionsResponse,
        describe_transactions::{TopicData, TransactionState},
    },
};

use super::{Context, distinct::distinct};

pub(super) async fn handle(
    context: Context,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut transaction_states = Vec::with_capacity(request.transactional_ids.len());
    for id in distinct(request.transactional_ids, String::clone) {
        transaction_states.push(describe(&context, id).await);
    }
    DescribeTransactionsResponse {
        transaction_states,
        ..Default::default()
    }
}

async fn describe(context: &Context, id: String) -> TransactionState {
    let refused = |id: &str, error: ErrorCode| TransactionState {
        transactional_id: id.to_owned(),
        error_code: error.into(),
        ..Default::default()
    };
    let transactions = match context.transactions_for(&id) {
        Ok(transactions) => transactions,
        Err(error) => return refused(&id, error),
    };
    let Some(found) = transactions.describe(&id).await else {
        return refused(&id, ErrorCode::TransactionalIdNotFound);
    };
    let topics = found.partitions.into_iter();
    TransactionState {
        error_code: 0,
        transactional_id: found.transactional_id,
        transaction_state: found.state.name().to_owned(),
        transaction_timeout_ms: found.timeout_ms,
        transaction_start_time_ms: found.started_ms,
        producer_id: found.producer_id,
        producer_epoch: found.epoch,
        topics: topics
            .map(|(topic, partitions)| TopicData {
                topic,
                partitions: partitions.into_iter().collect(),
            })
            .collect(),
    }
}
