//! CreateAcls (30) adds access rules.

messages! {
    /// The request of CreateAcls.
    CreateAclsRequest {
        creations: Vec<AclCreation>,
    }

    AclCreation {
        resource_type: i8,
        resource_name: String,
        resource_pattern_type: i8 = 3,
        principal: String,
        host: String,
        operation: i8,
        permission_type: i8,
    }

    /// The response of CreateAcls.
    CreateAclsResponse {
        throttle_time_ms: i32,
        results: Vec<AclCreationResult>,
    }

    AclCreationResult {
        error_code: i16,
        error_message: Option<String>,
    }
}
