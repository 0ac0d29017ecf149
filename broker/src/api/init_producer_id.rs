//! InitProducerId (22), versions 0-5: an id and an epoch for a producer. With a transactional id it takes over from the
//! producer that had it before.

use heliostat_wire::{
    ErrorCode,
    message::{InitProducerIdRequest, InitProducerIdResponse},
};
use tracing::error;

use super::Context;
use crate::txn::{Coordinator, expected_producer};

/// Since this version clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

pub(super) async fn handle(context: Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(&context, request).await {
        Ok((producer_id, producer_epoch)) => InitProducerIdResponse {
            producer_id,
            producer_epoch,
            ..Default::default()
        },
        Err(error) => {
            let error = context.known_fencing(error, FENCED_SINCE);
            InitProducerIdResponse {
                error_code: error.into(),
                producer_epoch: -1,
                ..Default::default()
            }
        }
    }
}

async fn init(context: &Context, request: InitProducerIdRequest) -> Result<(i64, i16), ErrorCode> {
    let expected = expected_producer(request.producer_id, request.producer_epoch)?;
    let Some(id) = request.transactional_id else {
        // Such an id is not kept for anybody: whoever asks to bump an epoch gets a new id, as in Kafka.
        return match context.broker.next_producer_id().await {
            Ok(producer_id) => Ok((producer_id, 0)),
            Err(error) => {
                error!(%error, "a producer id cannot be given out");
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        };
    };
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let timeout_ms = request.transaction_timeout_ms;
    if !context.broker.transactions().allows_timeout(timeout_ms) {
        return Err(ErrorCode::InvalidTransactionTimeout);
    }
    context.transactions_for(&id)?;
    Coordinator::init(&context.broker, id, timeout_ms, expected).await
}
