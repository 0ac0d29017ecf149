//! DescribeTopicPartitions (75) tells who leads what, in pages (KIP-966).

use crate::Uuid;

messages! {
    /// The request of DescribeTopicPartitions.
    DescribeTopicPartitionsRequest {
        topics: Vec<TopicRequest>,
        response_partition_limit: i32 = 2000,
        cursor: Option<Cursor>,
    }

    TopicRequest {
        name: String,
    }

    Cursor {
        topic_name: String,
        partition_index: i32,
    }

    /// The response of DescribeTopicPartitions.
    DescribeTopicPartitionsResponse {
        throttle_time_ms: i32,
        topics: Vec<DescribeTopicPartitionsResponseTopic>,
        next_cursor: Option<Cursor>,
    }

    DescribeTopicPartitionsResponseTopic {
        error_code: i16,
        name: Option<String>,
        topic_id: Uuid,
        is_internal: bool,
        partitions: Vec<DescribeTopicPartitionsResponsePartition>,
        topic_authorized_operations: i32 = i32::MIN,
    }

    DescribeTopicPartitionsResponsePartition {
        error_code: i16,
        partition_index: i32,
        leader_id: i32,
        leader_epoch: i32 = -1,
        replica_nodes: Vec<i32>,
        isr_nodes: Vec<i32>,
        eligible_leader_replicas: Option<Vec<i32>>,
        last_known_elr: Option<Vec<i32>>,
        offline_replicas: Vec<i32>,
    }
}
