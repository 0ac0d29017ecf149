//! CreatePartitions (37) adds partitions to topics (KIP-195).

messages! {
    /// The request of CreatePartitions.
    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>,
        timeout_ms: i32,
        validate_only: bool,
    }

    CreatePartitionsTopic {
        name: String,
        count: i32,
        assignments: Option<Vec<CreatePartitionsAssignment>>,
    }

    CreatePartitionsAssignment {
        broker_ids: Vec<i32>,
    }

    /// The response of CreatePartitions.
    CreatePartitionsResponse {
        throttle_time_ms: i32,
        results: Vec<CreatePartitionsTopicResult>,
    }

    CreatePartitionsTopicResult {
        name: String,
        error_code: i16,
        error_message: Option<String>,
    }
}
