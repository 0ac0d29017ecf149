//! DescribeUserScramCredentials (50) tells which users have a SCRAM password, not what it is (KIP-554).

messages! {
    /// The request of DescribeUserScramCredentials.
    DescribeUserScramCredentialsRequest {
        users: Option<Vec<UserName>>,
    }

    UserName {
        name: String,
    }

    /// The response of DescribeUserScramCredentials.
    DescribeUserScramCredentialsResponse {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<String>,
        results: Vec<DescribeUserScramCredentialsResult>,
    }

    DescribeUserScramCredentialsResult {
        user: String,
        error_code: i16,
        error_message: Option<String>,
        credential_infos: Vec<CredentialInfo>,
    }

    CredentialInfo {
        mechanism: i8,
        iterations: i32,
    }
}
