//! LeaveGroup (13) takes members out of a group; several at once since version 3.

messages! {
    /// The request of LeaveGroup.
    LeaveGroupRequest {
        group_id: String,
        member_id: String [..=2],
        members: Vec<MemberIdentity> [3..],
    }

    MemberIdentity {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        reason: Option<String> [5..],
    }

    /// The response of LeaveGroup.
    LeaveGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16,
        members: Vec<MemberResponse> [3..],
    }

    MemberResponse {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        error_code: i16 [3..],
    }
}
