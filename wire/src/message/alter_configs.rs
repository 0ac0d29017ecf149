//! AlterConfigs (33) replaces the whole dynamic configuration of a resource.

messages! {
    /// The request of AlterConfigs.
    AlterConfigsRequest {
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
        value: Option<String>,
    }

    /// The response of AlterConfigs.
    AlterConfigsResponse {
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
