//! DeleteTopics (20), versions 1-6; by id since version 6.

use std::collections::{HashMap, HashSet};

use heliostat_wire::{
    ErrorCode, Uuid,
    message::{
        DeleteTopicsRequest, DeleteTopicsResponse,
        delete_topics::{DeletableTopicResult, DeleteTopicState},
    },
};

use super::{Context, distinct::once};
use crate::{api_error::ApiError, state::Image, topics::TopicRef};

/// The first version whose clients know that a quota may refuse a change.
const STRICT_QUOTA_SINCE: i16 = 5;

pub(super) async fn handle(context: Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if context.api_version >= 6 {
        request.topics
    } else {
        let names = request.topic_names.into_iter();
        names
            .map(|name| DeleteTopicState {
                name: Some(name),
                topic_id: Uuid::ZERO,
            })
            .collect()
    };
    let disabled = !context.broker.settings().delete_topic_enable;
    // What names nothing, or two things, is answered as often as it is asked, before the rest.
    let (mut responses, mut sound) = (Vec::new(), Vec::with_capacity(asked.len()));
    for topic in asked {
        match reference(&topic).map(|_| ()) {
            Err(error) if !disabled => responses.push(failed(topic, error)),
            _ => sound.push(topic),
        }
    }
    let (asked, refused) = once_each(sound, &context.broker.image());
    responses.extend(refused);
    let mut mutations = context.mutations(STRICT_QUOTA_SINCE);
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
            Err(error) => failed(topic, error),
        });
    }
    DeleteTopicsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        responses,
    }
}

/// The topics that are named once, and the refusals of the others: whoever names a topic twice may mean two of them,
/// so none is deleted.
fn once_each(
    asked: Vec<DeleteTopicState>,
    image: &Image,
) -> (Vec<DeleteTopicState>, Vec<DeletableTopicResult>) {
    let (asked, repeated) = once(asked, |topic| (topic.name.clone(), topic.topic_id));
    let twice = |name: Option<String>, topic_id| {
        let error = ApiError::twice(name.as_deref().unwrap_or_default());
        failed(DeleteTopicState { name, topic_id }, error)
    };
    let mut refused: Vec<_> = repeated.into_iter().map(|(name, id)| twice(name, id)).collect();
    let by_name: HashSet<_> = asked
        .iter()
        .filter(|topic| topic.topic_id.is_zero())
        .filter_map(|topic| topic.name.clone())
        .collect();
    let by_both: HashMap<_, _> = asked
        .iter()
        .filter(|topic| topic.name.is_none())
        .filter_map(|topic| image.topic_by_id(topic.topic_id))
        .filter(|topic| by_name.contains(&topic.name))
        .map(|topic| (topic.name.clone(), topic.id))
        .collect();
    refused.extend(by_both.iter().map(|(name, id)| twice(Some(name.clone()), *id)));
    let left = asked.into_iter().filter(|topic| match &topic.name {
        Some(name) => !topic.topic_id.is_zero() || !by_both.contains_key(name),
        None => by_both.values().all(|id| *id != topic.topic_id),
    });
    (left.collect(), refused)
}

fn failed(topic: DeleteTopicState, error: ApiError) -> DeletableTopicResult {
    DeletableTopicResult {
        name: topic.name,
        topic_id: topic.topic_id,
        error_code: error.code.into(),
        error_message: Some(error.message),
    }
}

fn reference(topic: &DeleteTopicState) -> Result<TopicRef<'_>, ApiError> {
    match &topic.name {
        Some(name) if topic.topic_id.is_zero() => Ok(TopicRef::Name(name)),
        None if !topic.topic_id.is_zero() => Ok(TopicRef::Id(topic.topic_id)),
        _ => Err(ApiError::invalid_request(
            "a topic is deleted either by its name or by its id",
        )),
    }
}

fn deletion_disabled(version: i16) -> ApiError {
    // Older clients do not know the code.
    let code = if version < 3 {
        ErrorCode::InvalidRequest
    } else {
        ErrorCode::TopicDeletionDisabled
    };
    ApiError::new(code, "delete.topic.enable is false")
}
