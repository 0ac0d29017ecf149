//! OffsetFetch (9), versions 1-9: a group's offsets. Several groups at once since version 8.

use std::collections::{HashMap, HashSet};

use heliostat_wire::message::{
    OffsetFetchRequest, OffsetFetchResponse,
    offset_fetch::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
        OffsetFetchResponsePartition, OffsetFetchResponseTopic,
    },
};

use super::{Context, distinct::distinct};

/// Since this version a request asks about several groups.
const GROUPS_SINCE: i16 = 8;
/// Since this version a response has an error for the whole group; before, each partition carries it.
const GROUP_ERROR_SINCE: i16 = 2;

pub(super) async fn handle(context: Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.api_version >= GROUPS_SINCE {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in distinct(request.groups, |group| group.group_id.clone()) {
            groups.push(fetch(&context, group, request.require_stable).await);
        }
        return OffsetFetchResponse {
            groups,
            ..Default::default()
        };
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|t| OffsetFetchRequestTopics {
                name: t.name,
                partition_indexes: t.partition_indexes,
            })
            .collect::<Vec<_>>()
    });
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    };
    let asked = group.topics.clone();
    let response = fetch(&context, group, request.require_stable).await;
    let topics = if response.error_code != 0 && context.api_version < GROUP_ERROR_SINCE {
        asked
            .unwrap_or_default()
            .into_iter()
            .map(|topic| failed(topic, response.error_code))
            .collect()
    } else {
        single(&response)
    };
    OffsetFetchResponse {
        topics,
        error_code: response.error_code,
        ..Default::default()
    }
}

async fn fetch(
    context: &Context,
    mut group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    once_each(group.topics.as_deref_mut().unwrap_or_default());
    match context.groups_for(&group.group_id) {
        Ok(groups) => groups.fetch_offsets(group, require_stable).await,
        Err(error) => OffsetFetchResponseGroup {
            group_id: group.group_id,
            error_code: error.code(),
            ..Default::default()
        },
    }
}

/// Leaves out partitions that were asked for already: each may have metadata of some kilobytes.
fn once_each(topics: &mut [OffsetFetchRequestTopics]) {
    let mut seen = HashMap::<String, HashSet<i32>>::new();
    for topic in topics {
        let seen = seen.entry(topic.name.clone()).or_default();
        topic.partition_indexes.retain(|index| seen.insert(*index));
    }
}

/// The topics of the one group that older versions ask about.
fn single(group: &OffsetFetchResponseGroup) -> Vec<OffsetFetchResponseTopic> {
    let mut topics = Vec::with_capacity(group.topics.len());
    for topic in &group.topics {
        let partitions = topic.partitions.iter().map(|p| OffsetFetchResponsePartition {
            partition_index: p.partition_index,
            committed_offset: p.committed_offset,
            committed_leader_epoch: p.committed_leader_epoch,
            metadata: p.metadata.clone(),
            error_code: p.error_code,
        });
        topics.push(OffsetFetchResponseTopic {
            name: topic.name.clone(),
            partitions: partitions.collect(),
        });
    }
    topics
}

fn failed(topic: OffsetFetchRequestTopics, error_code: i16) -> OffsetFetchResponseTopic {
    let partition = |partition_index| OffsetFetchResponsePartition {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    };
    let partitions = topic.partition_indexes.into_iter().map(partition).collect();
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions,
    }
}
