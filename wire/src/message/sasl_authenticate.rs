//! SaslAuthenticate (36) carries one step of a SASL exchange (KIP-152).

use bytes::Bytes;

messages! {
    /// The request of SaslAuthenticate.
    SaslAuthenticateRequest {
        auth_bytes: Bytes,
    }

    /// The response of SaslAuthenticate.
    SaslAuthenticateResponse {
        error_code: i16,
        error_message: Option<String>,
        auth_bytes: Bytes,
        session_lifetime_ms: i64 [1..],
    }
}
