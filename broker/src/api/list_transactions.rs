//! ListTransactions (66), versions 0-2: the transactional ids that this node coordinates.

use heliostat_wire::{
    ErrorCode,
    message::{ListTransactionsRequest, ListTransactionsResponse, list_transactions::TransactionState},
};

use super::{Context, distinct::distinct};
use crate::txn::{Filter, State};

/// A pattern may not compile to more: anybody can send one.
const PATTERN_BYTES_MAX: usize = 1 << 20;

pub(super) async fn handle(context: Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = match request.transactional_id_pattern.as_deref().unwrap_or_default() {
        "" => Ok(None),
        pattern => regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
            .size_limit(PATTERN_BYTES_MAX)
            .build()
            .map(Some),
    };
    let Ok(pattern) = pattern else {
        return ListTransactionsResponse {
            error_code: ErrorCode::InvalidRegularExpression.into(),
            ..Default::default()
        };
    };
    let mut unknown_state_filters = Vec::new();
    let mut states = Vec::new();
    let any_state = request.state_filters.is_empty();
    for name in distinct(request.state_filters, String::clone) {
        match State::ALL.iter().find(|state| state.name() == name) {
            Some(state) => states.push(*state),
            // These two are passed through too fast here to be seen.
            None if matches!(name.as_str(), "Dead" | "PrepareEpochFence") => {}
            None => unknown_state_filters.push(name),
        }
    }
    let filter = Filter {
        states: (!any_state).then_some(states),
        producer_ids: request.producer_id_filters.into_iter().collect(),
        longer_than_ms: Some(request.duration_filter).filter(|longest| *longest >= 0),
        pattern,
    };
    let mut transaction_states = Vec::new();
    for found in context.broker.transactions().list(&filter).await {
        if context.is_coordinator(&found.transactional_id) {
            transaction_states.push(TransactionState {
                transactional_id: found.transactional_id,
                producer_id: found.producer_id,
                transaction_state: found.state.name().to_owned(),
            });
        }
    }
    ListTransactionsResponse {
        unknown_state_filters,
        transaction_states,
        ..Default::default()
    }
}
