//! What can be configured, with Kafka's numbers.

use super::Context;
use crate::api_error::ApiError;

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// Whether this node speaks for the broker of that name: as in Kafka, each only for itself, and all for the default.
pub(super) fn check_node(context: &Context, name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.parse() == Ok(context.node_id()) {
        return Ok(());
    }
    Err(ApiError::invalid_request(format!(
        "this is broker {}: ask broker {name:?} itself for its configuration",
        context.node_id()
    )))
}

/// The refusal of every other kind of resource.
pub(super) fn unsupported(resource_type: i8) -> ApiError {
    ApiError::invalid_request(format!(
        "resources of type {resource_type} have no configuration here: only topics (2), brokers (4) and groups (32) have"
    ))
}
