//! EndTxn (26), versions 0-5: commits or aborts a transaction. Since version 5 the producer gets a new epoch with it
//! (KIP-890).

use heliostat_wire::message::{EndTxnRequest, EndTxnResponse};

use super::Context;
use crate::txn::{Coordinator, EPOCH_BUMP, EndKind, Producer};

/// Since this version clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;
/// Since this version the client takes a new epoch from the response.
const EPOCH_BUMP_SINCE: i16 = 5;

pub(super) async fn handle(context: Context, request: EndTxnRequest) -> EndTxnResponse {
    let producer = Producer {
        transactional_id: request.transactional_id,
        producer_id: request.producer_id,
        epoch: request.producer_epoch,
    };
    let client_version = if context.api_version >= EPOCH_BUMP_SINCE {
        EPOCH_BUMP
    } else {
        0
    };
    let kind = EndKind {
        commit: request.committed,
        client_version,
    };
    let ended = match context.transactions_for(&producer.transactional_id) {
        Ok(_) => Coordinator::end(&context.broker, producer, kind).await,
        Err(error) => Err(error),
    };
    match ended {
        Ok((producer_id, producer_epoch)) => EndTxnResponse {
            producer_id,
            producer_epoch,
            ..Default::default()
        },
        Err(error) => {
            let error = context.known_fencing(error, FENCED_SINCE);
            EndTxnResponse {
                error_code: error.into(),
                ..Default::default()
            }
        }
    }
}
