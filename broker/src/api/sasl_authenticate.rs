//! SaslAuthenticate (36), versions 0-2: a token with which a client proves who it is. On a PLAINTEXT listener nobody has
//! to.

use heliostat_wire::{
    ErrorCode,
    message::{SaslAuthenticateRequest, SaslAuthenticateResponse},
};

use super::Context;

pub(super) async fn handle(context: Context, request: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    let outcome = match context.sasl() {
        Some((sasl, session)) => session.authenticate(&context.broker, sasl, &request.auth_bytes),
        None => Err((
            ErrorCode::IllegalSaslState,
            "this listener has no authentication: there is nothing to authenticate for".to_owned(),
        )),
    };
    match outcome {
        Ok((token, session_lifetime_ms)) => SaslAuthenticateResponse {
            // Kafka's text is empty, not null.
            error_message: Some(String::new()),
            auth_bytes: token.into(),
            session_lifetime_ms,
            ..Default::default()
        },
        Err((error, message)) => SaslAuthenticateResponse {
            error_code: error.into(),
            error_message: Some(message),
            ..Default::default()
        },
    }
}
