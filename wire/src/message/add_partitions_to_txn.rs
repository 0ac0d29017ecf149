//! AddPartitionsToTxn (24) makes partitions part of a transaction; several transactions at once since version 4.

messages! {
    /// The request of AddPartitionsToTxn.
    AddPartitionsToTxnRequest {
        transactions: Vec<AddPartitionsToTxnTransaction> [4..],
        v3_and_below_transactional_id: String [..=3],
        v3_and_below_producer_id: i64 [..=3],
        v3_and_below_producer_epoch: i16 [..=3],
        v3_and_below_topics: Vec<AddPartitionsToTxnTopic> [..=3],
    }

    AddPartitionsToTxnTransaction {
        transactional_id: String [4..],
        producer_id: i64 [4..],
        producer_epoch: i16 [4..],
        verify_only: bool [4..],
        topics: Vec<AddPartitionsToTxnTopic> [4..],
    }

    AddPartitionsToTxnTopic {
        name: String,
        partitions: Vec<i32>,
    }

    /// The response of AddPartitionsToTxn.
    AddPartitionsToTxnResponse {
        throttle_time_ms: i32,
        error_code: i16 [4..],
        results_by_transaction: Vec<AddPartitionsToTxnResult> [4..],
        results_by_topic_v3_and_below: Vec<AddPartitionsToTxnTopicResult> [..=3],
    }

    AddPartitionsToTxnResult {
        transactional_id: String [4..],
        topic_results: Vec<AddPartitionsToTxnTopicResult> [4..],
    }

    AddPartitionsToTxnTopicResult {
        name: String,
        results_by_partition: Vec<AddPartitionsToTxnPartitionResult>,
    }

    AddPartitionsToTxnPartitionResult {
        partition_index: i32,
        partition_error_code: i16,
    }
}
