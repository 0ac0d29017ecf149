//! Produce (0) appends record batches. Topics go by id since version 13.

use bytes::Bytes;

use crate::Uuid;

messages! {
    /// The request of Produce.
    ProduceRequest {
        transactional_id: Option<String>,
        acks: i16,
        timeout_ms: i32,
        topic_data: Vec<TopicProduceData>,
    }

    TopicProduceData {
        name: String [..=12],
        topic_id: Uuid [13..],
        partition_data: Vec<PartitionProduceData>,
    }

    PartitionProduceData {
        index: i32,
        records: Bytes,
    }

    /// The response of Produce.
    ProduceResponse {
        responses: Vec<TopicProduceResponse>,
        throttle_time_ms: i32,
        node_endpoints: Vec<NodeEndpoint> [10..; tag 0],
    }

    TopicProduceResponse {
        name: String [..=12],
        topic_id: Uuid [13..],
        partition_responses: Vec<PartitionProduceResponse>,
    }

    PartitionProduceResponse {
        index: i32,
        error_code: i16,
        base_offset: i64,
        log_append_time_ms: i64 = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        error_message: Option<String> [8..],
        current_leader: LeaderIdAndEpoch [10..; tag 0],
    }

    BatchIndexAndErrorMessage {
        batch_index: i32 [8..],
        batch_index_error_message: Option<String> [8..],
    }

    LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1,
        leader_epoch: i32 [10..] = -1,
    }

    NodeEndpoint {
        node_id: i32 [10..],
        host: String [10..],
        port: i32 [10..],
        rack: Option<String> [10..],
    }
}
