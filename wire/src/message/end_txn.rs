//! EndTxn (26) commits or aborts a transaction.

messages! {
    /// The request of EndTxn.
    EndTxnRequest {
        transactional_id: String,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
    }

    /// The response of EndTxn.
    EndTxnResponse {
        throttle_time_ms: i32,
        error_code: i16,
        producer_id: i64 [5..] = -1,
        producer_epoch: i16 [5..] = -1,
    }
}
