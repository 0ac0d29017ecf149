//! OffsetCommit (8) stores a group's offsets.

messages! {
    /// The request of OffsetCommit.
    OffsetCommitRequest {
        group_id: String,
        generation_id_or_member_epoch: i32 = -1,
        member_id: String,
        group_instance_id: Option<String> [7..],
        retention_time_ms: i64 [..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic>,
    }

    OffsetCommitRequestTopic {
        name: String,
        partitions: Vec<OffsetCommitRequestPartition>,
    }

    OffsetCommitRequestPartition {
        partition_index: i32,
        committed_offset: i64,
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<String>,
    }

    /// The response of OffsetCommit.
    OffsetCommitResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic>,
    }

    OffsetCommitResponseTopic {
        name: String,
        partitions: Vec<OffsetCommitResponsePartition>,
    }

    OffsetCommitResponsePartition {
        partition_index: i32,
        error_code: i16,
    }
}
