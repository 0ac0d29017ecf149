//! OffsetFetch (9) reads a group's offsets; several groups at once since version 8 (KIP-709).

messages! {
    /// The request of OffsetFetch.
    OffsetFetchRequest {
        group_id: String [..=7],
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7; null 2..=7],
        groups: Vec<OffsetFetchRequestGroup> [8..],
        require_stable: bool [7..],
    }

    OffsetFetchRequestTopic {
        name: String [..=7],
        partition_indexes: Vec<i32> [..=7],
    }

    OffsetFetchRequestGroup {
        group_id: String [8..],
        member_id: Option<String> [9..],
        member_epoch: i32 [9..] = -1,
        topics: Option<Vec<OffsetFetchRequestTopics>> [8..],
    }

    OffsetFetchRequestTopics {
        name: String [8..],
        partition_indexes: Vec<i32> [8..],
    }

    /// The response of OffsetFetch.
    OffsetFetchResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetFetchResponseTopic> [..=7],
        error_code: i16 [2..=7],
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    OffsetFetchResponseTopic {
        name: String [..=7],
        partitions: Vec<OffsetFetchResponsePartition> [..=7],
    }

    OffsetFetchResponsePartition {
        partition_index: i32 [..=7],
        committed_offset: i64 [..=7],
        committed_leader_epoch: i32 [5..=7] = -1,
        metadata: Option<String> [..=7],
        error_code: i16 [..=7],
    }

    OffsetFetchResponseGroup {
        group_id: String [8..],
        topics: Vec<OffsetFetchResponseTopics> [8..],
        error_code: i16 [8..],
    }

    OffsetFetchResponseTopics {
        name: String [8..],
        partitions: Vec<OffsetFetchResponsePartitions> [8..],
    }

    OffsetFetchResponsePartitions {
        partition_index: i32 [8..],
        committed_offset: i64 [8..],
        committed_leader_epoch: i32 [8..] = -1,
        metadata: Option<String> [8..],
        error_code: i16 [8..],
    }
}
