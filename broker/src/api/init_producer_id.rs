//! InitProducerId (22), versions 0-5: an id and an epoch for an idempotent producer.
//!
//! There are no transactions yet: a transactional id is refused as an unsupported version of the protocol, which
//! clients take for final.

use heliostat_wire::{
    ErrorCode,
    message::{InitProducerIdRequest, InitProducerIdResponse},
};
use tracing::error;

use super::Context;

/// Stands for "no id" and for "no epoch": a client has both, or neither.
const NONE: i64 = -1;

pub(super) async fn handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refused = |error: ErrorCode| InitProducerIdResponse {
        error_code: error.into(),
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        Some("") => return refused(ErrorCode::InvalidRequest),
        Some(_) => return refused(ErrorCode::UnsupportedVersion),
        None => {}
    }
    if (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return refused(ErrorCode::InvalidRequest);
    }
    // Without transactions an id is not kept for anybody: whoever asks to bump an epoch gets a new id, as in Kafka.
    match context.broker.next_producer_id().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            error!(%error, "a producer id cannot be given out");
            refused(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
