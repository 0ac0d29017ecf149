//! InitProducerId (22) gives a producer its id and epoch (KIP-98, KIP-360).

messages! {
    /// The request of InitProducerId.
    InitProducerIdRequest {
        transactional_id: Option<String>,
        transaction_timeout_ms: i32,
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    /// The response of InitProducerId.
    InitProducerIdResponse {
        throttle_time_ms: i32,
        error_code: i16,
        producer_id: i64 = -1,
        producer_epoch: i16,
    }
}
