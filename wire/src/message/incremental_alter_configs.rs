//! IncrementalAlterConfigs (44) changes single keys of a configuration (KIP-339).

messages! {
    /// The request of IncrementalAlterConfigs.
    IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource>,
        validate_only: bool,
    }

    AlterConfigsResource {
        resource_type: i8,
        resource_name: String,
        configs: Vec<AlterableConfig>,
    }

    AlterableConfig {
        name: String,
        config_operation: i8,
        value: Option<String>,
    }

    /// The response of IncrementalAlterConfigs.
    IncrementalAlterConfigsResponse {
        throttle_time_ms: i32,
        responses: Vec<AlterConfigsResourceResponse>,
    }

    AlterConfigsResourceResponse {
        error_code: i16,
        error_message: Option<String>,
        resource_type: i8,
        resource_name: String,
    }
}
