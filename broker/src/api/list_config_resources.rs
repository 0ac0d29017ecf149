//! ListConfigResources (74), versions 0-1: what has a configuration. Version 0 asks for client metrics, which nobody has here.

use heliostat_wire::{
    ErrorCode,
    message::{
        ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources::ConfigResource,
    },
};

use super::{Context, resource};
use crate::group_configs::configured;

/// Since this version a request names types; in the one before, client metrics are meant.
const TYPES_SINCE: i16 = 1;

pub(super) async fn handle(
    context: Context,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let all = [
        resource::TOPIC,
        resource::BROKER,
        resource::BROKER_LOGGER,
        resource::CLIENT_METRICS,
        resource::GROUP,
    ];
    let types = match context.api_version {
        version if version < TYPES_SINCE => vec![resource::CLIENT_METRICS],
        _ if request.resource_types.is_empty() => all.to_vec(),
        _ => request.resource_types,
    };
    if types.iter().any(|asked| !all.contains(asked)) {
        return ListConfigResourcesResponse {
            error_code: ErrorCode::UnsupportedVersion.into(),
            ..Default::default()
        };
    }
    let image = context.broker.image();
    let mut config_resources = Vec::new();
    for resource_type in all.into_iter().filter(|known| types.contains(known)) {
        let names: Vec<String> = match resource_type {
            resource::TOPIC => image.topics().map(|topic| topic.name.clone()).collect(),
            resource::BROKER | resource::BROKER_LOGGER => context
                .broker
                .nodes()
                .iter()
                .map(|node| node.id.to_string())
                .collect(),
            resource::GROUP => configured(&image),
            _ => Vec::new(),
        };
        let resource = |resource_name| ConfigResource {
            resource_name,
            resource_type,
        };
        config_resources.extend(names.into_iter().map(resource));
    }
    ListConfigResourcesResponse {
        config_resources,
        ..Default::default()
    }
}
