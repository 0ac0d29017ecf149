//! FindCoordinator (10), versions 0-6: which node speaks for a group or a transactional id. Several at once since version 4.

use heliostat_wire::{
    ErrorCode,
    message::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator::Coordinator},
};

use super::Context;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) async fn handle(context: Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    if context.api_version >= 4 {
        let keys = request.coordinator_keys.into_iter();
        let coordinators = keys.map(|key| find(&context, request.key_type, key)).collect();
        return FindCoordinatorResponse {
            coordinators,
            ..Default::default()
        };
    }
    let found = find(&context, request.key_type, request.key);
    let fine = found.error_code == ErrorCode::None.code();
    FindCoordinatorResponse {
        error_code: found.error_code,
        // Kafka says "NONE" in these versions, and nothing in later ones.
        error_message: if fine {
            Some(ErrorCode::None.name().to_owned())
        } else {
            found.error_message
        },
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn find(context: &Context, key_type: i8, key: String) -> Coordinator {
    let nowhere = |key, error: ErrorCode, message: Option<String>| Coordinator {
        key,
        node_id: -1,
        port: -1,
        error_code: error.code(),
        error_message: message,
        ..Default::default()
    };
    if !matches!(key_type, GROUP | TRANSACTION) {
        let message = format!("there are no coordinators of type {key_type}");
        return nowhere(key, ErrorCode::InvalidRequest, Some(message));
    }
    match context.broker.coordinator(&key) {
        Some(node) => Coordinator {
            key,
            node_id: node.id,
            host: node.host_for(&context.peer),
            port: node.port.into(),
            error_code: ErrorCode::None.code(),
            error_message: Some(String::new()),
        },
        None => nowhere(key, ErrorCode::CoordinatorNotAvailable, None),
    }
}
