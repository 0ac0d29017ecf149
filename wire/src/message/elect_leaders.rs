//! ElectLeaders (43) makes preferred replicas leaders again, or elects any that is there (KIP-460).

messages! {
    /// The request of ElectLeaders.
    ElectLeadersRequest {
        election_type: i8 [1..],
        topic_partitions: Option<Vec<TopicPartitions>>,
        timeout_ms: i32 = 60000,
    }

    TopicPartitions {
        topic: String,
        partitions: Vec<i32>,
    }

    /// The response of ElectLeaders.
    ElectLeadersResponse {
        throttle_time_ms: i32,
        error_code: i16 [1..],
        replica_election_results: Vec<ReplicaElectionResult>,
    }

    ReplicaElectionResult {
        topic: String,
        partition_result: Vec<PartitionResult>,
    }

    PartitionResult {
        partition_id: i32,
        error_code: i16,
        error_message: Option<String>,
    }
}
