//! CreateTopics (19) creates topics.

use crate::Uuid;

messages! {
    /// The request of CreateTopics.
    CreateTopicsRequest {
        topics: Vec<CreatableTopic>,
        timeout_ms: i32 = 60000,
        validate_only: bool,
    }

    CreatableTopic {
        name: String,
        num_partitions: i32,
        replication_factor: i16,
        assignments: Vec<CreatableReplicaAssignment>,
        configs: Vec<CreatableTopicConfig>,
    }

    CreatableReplicaAssignment {
        partition_index: i32,
        broker_ids: Vec<i32>,
    }

    CreatableTopicConfig {
        name: String,
        value: Option<String>,
    }

    /// The response of CreateTopics.
    CreateTopicsResponse {
        throttle_time_ms: i32,
        topics: Vec<CreatableTopicResult>,
    }

    CreatableTopicResult {
        name: String,
        topic_id: Uuid [7..],
        error_code: i16,
        error_message: Option<String>,
        topic_config_error_code: i16 [5..; tag 0],
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        configs: Option<Vec<CreatableTopicConfigs>> [5..],
    }

    CreatableTopicConfigs {
        name: String [5..],
        value: Option<String> [5..],
        read_only: bool [5..],
        config_source: i8 [5..] = -1,
        is_sensitive: bool [5..],
    }
}
