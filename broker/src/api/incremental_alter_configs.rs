//! IncrementalAlterConfigs (44), versions 0-1: changes single keys. What is changed takes effect at once.

use std::collections::HashMap;

use heliostat_wire::message::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs::{AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig},
};

use super::{Context, resource};
use crate::{
    api_error::ApiError,
    configs::{Alteration, Operation},
};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    context: Context,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    let key = |asked: &AlterConfigsResource| (asked.resource_type, asked.resource_name.clone());
    let mut counts = HashMap::new();
    for asked in &request.resources {
        *counts.entry(key(asked)).or_insert(0) += 1;
    }
    for asked in request.resources {
        // Each mention of a resource that is named twice is refused: nobody can tell which is meant to come first.
        let outcome = match counts.get(&key(&asked)) {
            Some(2..) => Err(ApiError::twice(&asked.resource_name)),
            _ => alter(&context, &asked, request.validate_only).await,
        };
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
    IncrementalAlterConfigsResponse {
        responses,
        ..Default::default()
    }
}

async fn alter(context: &Context, asked: &AlterConfigsResource, validate_only: bool) -> Result<(), ApiError> {
    let broker = &context.broker;
    let alterations = asked
        .configs
        .iter()
        .map(alteration)
        .collect::<Result<Vec<_>, _>>()?;
    match asked.resource_type {
        resource::TOPIC => {
            broker
                .alter_topic_configs(&asked.resource_name, |_| alterations, validate_only)
                .await
        }
        resource::BROKER => {
            resource::check_node(context, &asked.resource_name)?;
            broker
                .alter_broker_configs(&asked.resource_name, |_| alterations, validate_only)
                .await
        }
        resource::GROUP => {
            broker
                .alter_group_configs(&asked.resource_name, |_| alterations, validate_only)
                .await
        }
        other => Err(resource::unsupported(other)),
    }
}

fn alteration(config: &AlterableConfig) -> Result<Alteration, ApiError> {
    let value = || match &config.value {
        Some(value) => Ok(value.clone()),
        None => Err(ApiError::invalid_request(format!(
            "{} has no value; to remove it, delete it",
            config.name
        ))),
    };
    let operation = match config.config_operation {
        SET => Operation::Set(value()?),
        DELETE => Operation::Delete,
        APPEND => Operation::Append(value()?),
        SUBTRACT => Operation::Subtract(value()?),
        other => {
            return Err(ApiError::invalid_request(format!(
                "{other} is no operation: there are set (0), delete (1), append (2) and subtract (3)"
            )));
        }
    };
    Ok(Alteration {
        name: config.name.clone(),
        operation,
    })
}
