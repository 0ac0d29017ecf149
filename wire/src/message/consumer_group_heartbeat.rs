//! ConsumerGroupHeartbeat (68) is how a member of the consumer protocol joins, stays, acknowledges and leaves (KIP-848).

use crate::Uuid;

messages! {
    /// The request of ConsumerGroupHeartbeat. What is null has not changed since the last one.
    ConsumerGroupHeartbeatRequest {
        group_id: String,
        member_id: String,
        member_epoch: i32,
        instance_id: Option<String>,
        rack_id: Option<String>,
        rebalance_timeout_ms: i32 = -1,
        subscribed_topic_names: Option<Vec<String>>,
        subscribed_topic_regex: Option<String> [1..],
        server_assignor: Option<String>,
        topic_partitions: Option<Vec<TopicPartitions>>,
    }

    TopicPartitions {
        topic_id: Uuid,
        partitions: Vec<i32>,
    }

    /// The response of ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<String>,
        member_id: Option<String>,
        member_epoch: i32,
        heartbeat_interval_ms: i32,
        assignment: Option<Assignment>,
    }

    Assignment {
        topic_partitions: Vec<TopicPartitions>,
    }
}
