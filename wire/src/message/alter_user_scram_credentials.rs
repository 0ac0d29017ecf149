//! AlterUserScramCredentials (51) sets and removes SCRAM passwords, which come salted and hashed (KIP-554).

use bytes::Bytes;

messages! {
    /// The request of AlterUserScramCredentials.
    AlterUserScramCredentialsRequest {
        deletions: Vec<ScramCredentialDeletion>,
        upsertions: Vec<ScramCredentialUpsertion>,
    }

    ScramCredentialDeletion {
        name: String,
        mechanism: i8,
    }

    ScramCredentialUpsertion {
        name: String,
        mechanism: i8,
        iterations: i32,
        salt: Bytes,
        salted_password: Bytes,
    }

    /// The response of AlterUserScramCredentials.
    AlterUserScramCredentialsResponse {
        throttle_time_ms: i32,
        results: Vec<AlterUserScramCredentialsResult>,
    }

    AlterUserScramCredentialsResult {
        user: String,
        error_code: i16,
        error_message: Option<String>,
    }
}
