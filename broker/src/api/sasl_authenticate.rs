//! SaslAuthenticate (36), versions 0-2: the listeners are PLAINTEXT, on which nobody has to say who they are.

use heliostat_wire::{
    ErrorCode,
    message::{SaslAuthenticateRequest, SaslAuthenticateResponse},
};

use super::Context;

pub(super) async fn handle(_: Context, _: SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.into(),
        error_message: Some(
            "this listener has no authentication: there is nothing to authenticate for".to_owned(),
        ),
        ..Default::default()
    }
}
