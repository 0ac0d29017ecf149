//! CreateTopics (19), versions 2-7.

use heliostat_wire::message::{
    CreateTopicsRequest, CreateTopicsResponse,
    create_topics::{CreatableTopic, CreatableTopicConfigs, CreatableTopicResult},
};

use super::{Context, distinct::once};
use crate::{
    api_error::ApiError,
    state::Topic,
    topics::{self, NewTopic},
};

/// The first version whose clients know that a quota may refuse a change.
const STRICT_QUOTA_SINCE: i16 = 6;

pub(super) async fn handle(context: Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let broker = &context.broker;
    let (asked, repeated) = once(request.topics, |topic| topic.name.clone());
    let names: Vec<_> = asked.iter().map(|topic| topic.name.clone()).collect();
    let new = asked.into_iter().map(new_topic).collect();
    let mut mutations = context.mutations(STRICT_QUOTA_SINCE);
    let created = broker
        .create_topics(new, request.validate_only, &mut mutations)
        .await;
    let throttle_time_ms = mutations.throttle_time_ms();
    let repeated = repeated.into_iter().map(|name| {
        let error = ApiError::twice(&name);
        (name, Err(error))
    });
    let results = names.into_iter().zip(created).chain(repeated);
    CreateTopicsResponse {
        throttle_time_ms,
        topics: results
            .map(|(name, created)| result(&context, name, created))
            .collect(),
    }
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .into_iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids))
            .collect(),
        configs: topic
            .configs
            .into_iter()
            .map(|config| (config.name, config.value))
            .collect(),
    }
}

fn result(
    context: &Context,
    name: String,
    created: Result<topics::Created, ApiError>,
) -> CreatableTopicResult {
    match created {
        Err(error) => CreatableTopicResult {
            name,
            error_code: error.code.into(),
            error_message: Some(error.message),
            configs: Some(Vec::new()),
            ..Default::default()
        },
        Ok(topic) => CreatableTopicResult {
            name,
            topic_id: topic.id,
            num_partitions: topic.partitions.len() as i32,
            replication_factor: topic
                .partitions
                .first()
                .map_or(-1, |partition| partition.replicas.len() as i16),
            configs: Some(configs(context, &topic)),
            ..Default::default()
        },
    }
}

fn configs(context: &Context, topic: &Topic) -> Vec<CreatableTopicConfigs> {
    let node = context.peer.node_id;
    let entries = context.broker.describe_topic_configs(topic, node).into_iter();
    entries
        .map(|entry| CreatableTopicConfigs {
            config_source: entry.source() as i8,
            read_only: entry.read_only,
            is_sensitive: false,
            name: entry.name,
            value: entry.value,
        })
        .collect()
}
