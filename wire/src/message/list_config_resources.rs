//! ListConfigResources (74) names what has a configuration of its own (KIP-1142); version 0 knew client metrics only.

messages! {
    /// The request of ListConfigResources.
    ListConfigResourcesRequest {
        resource_types: Vec<i8> [1..],
    }

    /// The response of ListConfigResources.
    ListConfigResourcesResponse {
        throttle_time_ms: i32,
        error_code: i16,
        config_resources: Vec<ConfigResource>,
    }

    ConfigResource {
        resource_name: String,
        resource_type: i8 [1..] = 16,
    }
}
