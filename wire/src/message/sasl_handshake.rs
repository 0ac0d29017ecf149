//! SaslHandshake (17) picks a SASL mechanism.

messages! {
    /// The request of SaslHandshake.
    SaslHandshakeRequest {
        mechanism: String,
    }

    /// The response of SaslHandshake.
    SaslHandshakeResponse {
        error_code: i16,
        mechanisms: Vec<String>,
    }
}
