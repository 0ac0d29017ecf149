//! AddOffsetsToTxn (25), versions 0-4: makes a group's offsets part of a transaction.

use heliostat_wire::{
    ErrorCode,
    message::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse},
};

use super::Context;
use crate::txn::{Coordinator, Partitions, Producer};

/// Since this version clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

pub(super) async fn handle(context: Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let producer = Producer {
        transactional_id: request.transactional_id,
        producer_id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let added = match context.transactions_for(&producer.transactional_id) {
        Ok(_) => {
            let group = Some(request.group_id);
            Coordinator::add(&context.broker, producer, Partitions::new(), group, 0).await
        }
        Err(error) => Err(error),
    };
    let error = added.err().unwrap_or(ErrorCode::None);
    let error = context.known_fencing(error, FENCED_SINCE);
    AddOffsetsToTxnResponse {
        error_code: error.into(),
        ..Default::default()
    }
}
