//! SyncGroup (14) hands the leader's assignments out.

use bytes::Bytes;

messages! {
    /// The request of SyncGroup.
    SyncGroupRequest {
        group_id: String,
        generation_id: i32,
        member_id: String,
        group_instance_id: Option<String> [3..],
        protocol_type: Option<String> [5..],
        protocol_name: Option<String> [5..],
        assignments: Vec<SyncGroupRequestAssignment>,
    }

    SyncGroupRequestAssignment {
        member_id: String,
        assignment: Bytes,
    }

    /// The response of SyncGroup.
    SyncGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16,
        protocol_type: Option<String> [5..],
        protocol_name: Option<String> [5..],
        assignment: Bytes,
    }
}
