//! DescribeAcls (29) lists access rules.

messages! {
    /// The request of DescribeAcls.
    DescribeAclsRequest {
        resource_type_filter: i8,
        resource_name_filter: Option<String>,
        pattern_type_filter: i8 = 3,
        principal_filter: Option<String>,
        host_filter: Option<String>,
        operation: i8,
        permission_type: i8,
    }

    /// The response of DescribeAcls.
    DescribeAclsResponse {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<String>,
        resources: Vec<DescribeAclsResource>,
    }

    DescribeAclsResource {
        resource_type: i8,
        resource_name: String,
        pattern_type: i8 = 3,
        acls: Vec<AclDescription>,
    }

    AclDescription {
        principal: String,
        host: String,
        operation: i8,
        permission_type: i8,
    }
}
