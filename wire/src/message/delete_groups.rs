//! DeleteGroups (42) deletes empty groups.

messages! {
    /// The request of DeleteGroups.
    DeleteGroupsRequest {
        groups_names: Vec<String>,
    }

    /// The response of DeleteGroups.
    DeleteGroupsResponse {
        throttle_time_ms: i32,
        results: Vec<DeletableGroupResult>,
    }

    DeletableGroupResult {
        group_id: String,
        error_code: i16,
    }
}
