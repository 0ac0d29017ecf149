//! SaslHandshake (17), versions 0-1: the listeners are PLAINTEXT, on which nobody has to say who they are.

use heliostat_wire::{
    ErrorCode,
    message::{SaslHandshakeRequest, SaslHandshakeResponse},
};

use super::Context;

pub(super) async fn handle(_: Context, _: SaslHandshakeRequest) -> SaslHandshakeResponse {
    SaslHandshakeResponse {
        error_code: ErrorCode::IllegalSaslState.into(),
        mechanisms: Vec::new(),
    }
}
