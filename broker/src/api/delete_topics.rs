//! DeleteTopics (20), versions 1-6; by id since version 6.

use heliostat_wire::{
    ErrorCode, Uuid,
    message::{
        DeleteTopicsRequest, DeleteTopicsResponse,
        delete_topics::{DeletableTopicResult, DeleteTopicState},
    },
};

use super::Context;
use crate::{api_error::ApiError, topics::TopicRef};

/// The first version whose clients know that a quota may refuse a change.
const STRICT_QUOTA_SINCE: i16 = 5;

pub(super) async fn handle(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if context.api_version >= 6 {
        request.topics
    } else {
        let names = request.topic_names.into_iter();
        names.map(|name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO }).collect()
    };
    let disabled = !context.broker.settings().delete_topic_enable;
    let mut mutations = context.mutations(STRICT_QUOTA_SINCE);
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        let outcome = match reference(&topic) {
            _ if disabled => Err(deletion_disabled(context.api_version)),
            Err(error) => Err(error),
            Ok(reference) => context.broker.delete_topic(reference, &mut mutations).await,
        };
        responses.push(match outcome {
            Ok(deleted) => DeletableTopicResult {
                name: Some(deleted.name.clone()),
                topic_id: deleted.id,
                ..Default::default()
            },
            Err(error) => DeletableTopicResult {
                name: topic.name,
                topic_id: topic.topic_id,
                error_code: error.code.into(),
                error_message: Some(error.message),
            },
        });
    }
    DeleteTopicsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        responses,
    }
}

fn reference(topic: &DeleteTopicState) -> Result<TopicRef<'_>, ApiError> {
    match &topic.name {
        Some(name) if topic.topic_id.is_zero() => Ok(TopicRef::Name(name)),
        None if !topic.topic_id.is_zero() => Ok(TopicRef::Id(topic.topic_id)),
        _ => Err(ApiError::new(ErrorCode::InvalidRequest, "a topic is deleted either by its name or by its id")),
    }
}

fn deletion_disabled(version: i16) -> ApiError {
    // Older clients do not know the code.
    let code = if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled };
    ApiError::new(code, "delete.topic.enable is false")
}
