//! Heartbeat (12) keeps a member's session alive.

messages! {
    /// The request of Heartbeat.
    HeartbeatRequest {
        group_id: String,
        generation_id: i32,
        member_id: String,
        group_instance_id: Option<String> [3..],
    }

    /// The response of Heartbeat.
    HeartbeatResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16,
    }
}
