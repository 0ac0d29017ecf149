//! SaslHandshake (17), versions 0-1: which mechanism the client wants to prove with who it is. On a PLAINTEXT listener
//! nobody has to.

use heliostat_wire::{
    ErrorCode,
    message::{SaslHandshakeRequest, SaslHandshakeResponse},
};

use super::Context;

pub(super) async fn handle(context: Context, request: SaslHandshakeRequest) -> SaslHandshakeResponse {
    let (error, mechanisms) = match context.sasl() {
        Some((sasl, session)) => {
            session.handshake(sasl, &context.client_id, context.api_version, &request.mechanism)
        }
        None => (ErrorCode::IllegalSaslState, Vec::new()),
    };
    SaslHandshakeResponse {
        error_code: error.into(),
        mechanisms,
    }
}
