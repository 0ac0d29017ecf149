//! AlterPartitionReassignments (45) moves partitions between nodes (KIP-455).

messages! {
    /// The request of AlterPartitionReassignments.
    AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60000,
        allow_replication_factor_change: bool [1..] = true,
        topics: Vec<ReassignableTopic>,
    }

    ReassignableTopic {
        name: String,
        partitions: Vec<ReassignablePartition>,
    }

    ReassignablePartition {
        partition_index: i32,
        replicas: Option<Vec<i32>>,
    }

    /// The response of AlterPartitionReassignments.
    AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32,
        allow_replication_factor_change: bool [1..] = true,
        error_code: i16,
        error_message: Option<String>,
        responses: Vec<ReassignableTopicResponse>,
    }

    ReassignableTopicResponse {
        name: String,
        partitions: Vec<ReassignablePartitionResponse>,
    }

    ReassignablePartitionResponse {
        partition_index: i32,
        error_code: i16,
        error_message: Option<String>,
    }
}
