//! CreatePartitions (37), versions 0-3: adds partitions to topics.

use heliostat_wire::message::{
    CreatePartitionsRequest, CreatePartitionsResponse, create_partitions::CreatePartitionsTopicResult,
};

use super::{Context, distinct::once};
use crate::{api_error::ApiError, topics::Growth};

/// The first version whose clients know that a quota may refuse a change.
const STRICT_QUOTA_SINCE: i16 = 3;

pub(super) async fn handle(context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let (asked, repeated) = once(request.topics, |topic| topic.name.clone());
    let mut mutations = context.mutations(STRICT_QUOTA_SINCE);
    let mut results: Vec<_> = repeated
        .into_iter()
        .map(|name| result(Err(ApiError::twice(&name)), name))
        .collect();
    for topic in asked {
        let growth = Growth {
            count: topic.count,
            assignments: topic
                .assignments
                .map(|all| all.into_iter().map(|assignment| assignment.broker_ids).collect()),
        };
        let outcome = context
            .broker
            .create_partitions(&topic.name, growth, request.validate_only, &mut mutations)
            .await;
        results.push(result(outcome, topic.name));
    }
    CreatePartitionsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        results,
    }
}

fn result(outcome: Result<(), ApiError>, name: String) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = match outcome {
        Ok(()) => (0, None),
        Err(error) => (error.code.into(), Some(error.message)),
    };
    CreatePartitionsTopicResult {
        name,
        error_code,
        error_message,
    }
}
