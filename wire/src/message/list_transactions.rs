//! ListTransactions (66) lists transactional ids (KIP-664), filtered by age since version 1 and by pattern since version 2.

messages! {
    /// The request of ListTransactions.
    ListTransactionsRequest {
        state_filters: Vec<String>,
        producer_id_filters: Vec<i64>,
        duration_filter: i64 [1..] = -1,
        transactional_id_pattern: Option<String> [2..],
    }

    /// The response of ListTransactions.
    ListTransactionsResponse {
        throttle_time_ms: i32,
        error_code: i16,
        unknown_state_filters: Vec<String>,
        transaction_states: Vec<TransactionState>,
    }

    TransactionState {
        transactional_id: String,
        producer_id: i64,
        transaction_state: String,
    }
}
