//! AlterConfigs (33), versions 0-2: what is set becomes exactly what the request names.

use std::collections::BTreeMap;

use heliostat_wire::message::{
    AlterConfigsRequest, AlterConfigsResponse,
    alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse},
};

use super::{Context, resource};
use crate::{
    api_error::ApiError,
    configs::{Alteration, Operation},
};

pub(super) async fn handle(context: Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for asked in request.resources {
        let outcome = alter(&context, &asked, request.validate_only).await;
        let (error_code, error_message) = match outcome {
            Ok(()) => (0, None),
            Err(error) => (error.code.into(), Some(error.message)),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: asked.resource_type,
            resource_name: asked.resource_name,
        });
    }
    AlterConfigsResponse {
        responses,
        ..Default::default()
    }
}

async fn alter(context: &Context, asked: &AlterConfigsResource, validate_only: bool) -> Result<(), ApiError> {
    let broker = &context.broker;
    let mut wanted = Vec::with_capacity(asked.configs.len());
    for config in &asked.configs {
        match &config.value {
            Some(value) => {
                wanted.push(Alteration {
                    name: config.name.clone(),
                    operation: Operation::Set(value.clone()),
                });
            }
            None => return Err(ApiError::invalid_request(format!("{} has no value", config.name))),
        }
    }
    let replace = |current: &BTreeMap<String, String>| {
        let gone = current
            .keys()
            .filter(|name| !wanted.iter().any(|alteration| alteration.name == **name));
        let gone = gone.map(|name| Alteration {
            name: name.clone(),
            operation: Operation::Delete,
        });
        gone.chain(wanted.iter().cloned()).collect()
    };
    match asked.resource_type {
        resource::TOPIC => {
            broker
                .alter_topic_configs(&asked.resource_name, replace, validate_only)
                .await
        }
        resource::BROKER => {
            resource::check_node(context, &asked.resource_name)?;
            broker
                .alter_broker_configs(&asked.resource_name, replace, validate_only)
                .await
        }
        resource::GROUP => {
            broker
                .alter_group_configs(&asked.resource_name, replace, validate_only)
                .await
        }
        other => Err(resource::unsupported(other)),
    }
}
