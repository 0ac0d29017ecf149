//! JoinGroup (11) makes a member part of a group's next generation.

use bytes::Bytes;

messages! {
    /// The request of JoinGroup.
    JoinGroupRequest {
        group_id: String,
        session_timeout_ms: i32,
        rebalance_timeout_ms: i32 [1..] = -1,
        member_id: String,
        group_instance_id: Option<String> [5..],
        protocol_type: String,
        protocols: Vec<JoinGroupRequestProtocol>,
        reason: Option<String> [8..],
    }

    JoinGroupRequestProtocol {
        name: String,
        metadata: Bytes,
    }

    /// The response of JoinGroup.
    JoinGroupResponse {
        throttle_time_ms: i32 [2..],
        error_code: i16,
        generation_id: i32 = -1,
        protocol_type: Option<String> [7..],
        protocol_name: Option<String> [..; null 7..],
        leader: String,
        skip_assignment: bool [9..],
        member_id: String,
        members: Vec<JoinGroupResponseMember>,
    }

    JoinGroupResponseMember {
        member_id: String,
        group_instance_id: Option<String> [5..],
        metadata: Bytes,
    }
}
