//! CreatePartitions (37), versions 0-3: adds partitions to topics.

use heliostat_wire::message::{
    CreatePartitionsRequest, CreatePartitionsResponse, create_partitions::CreatePartitionsTopicResult,
};

use super::Context;
use crate::topics::Growth;

/// The first version whose clients know that a quota may refuse a change.
const STRICT_QUOTA_SINCE: i16 = 3;

pub(super) async fn handle(context: Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let names: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let mut mutations = context.mutations(STRICT_QUOTA_SINCE);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let growth = Growth {
            count: topic.count,
            assignments: topic
                .assignments
                .map(|all| all.into_iter().map(|assignment| assignment.broker_ids).collect()),
        };
        let twice = names.iter().filter(|name| **name == topic.name).count() > 1;
        let outcome = if twice {
            Err(crate::api_error::ApiError::twice(&topic.name))
        } else {
            context
                .broker
                .create_partitions(&topic.name, growth, request.validate_only, &mut mutations)
                .await
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (0, None),
            Err(error) => (error.code.into(), Some(error.message)),
        };
        results.push(CreatePartitionsTopicResult { name: topic.name, error_code, error_message });
    }
    CreatePartitionsResponse {
        throttle_time_ms: mutations.throttle_time_ms(),
        results,
    }
}
