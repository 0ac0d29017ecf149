//! ListGroups (16) lists groups, filtered by state since version 4 and by type since version 5.

messages! {
    /// The request of ListGroups.
    ListGroupsRequest {
        states_filter: Vec<String> [4..],
        types_filter: Vec<String> [5..],
    }

    /// The response of ListGroups.
    ListGroupsResponse {
        throttle_time_ms: i32 [1..],
        error_code: i16,
        groups: Vec<ListedGroup>,
    }

    ListedGroup {
        group_id: String,
        protocol_type: String,
        group_state: String [4..],
        group_type: String [5..],
    }
}
