//! AddOffsetsToTxn (25) makes a group's offsets part of a transaction.

messages! {
    /// The request of AddOffsetsToTxn.
    AddOffsetsToTxnRequest {
        transactional_id: String,
        producer_id: i64,
        producer_epoch: i16,
        group_id: String,
    }

    /// The response of AddOffsetsToTxn.
    AddOffsetsToTxnResponse {
        throttle_time_ms: i32,
        error_code: i16,
    }
}
