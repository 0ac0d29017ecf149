//! OffsetCommit (8), versions 2-9: stores a group's offsets, durably.

use heliostat_wire::{
    ErrorCode,
    message::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::Context;

pub(super) async fn handle(context: Context, mut request: OffsetCommitRequest) -> OffsetCommitResponse {
    // Kafka goes by partitions: a topic without any leaves no trace.
    request.topics.retain(|topic| !topic.partitions.is_empty());
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &mut request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        // Partitions that do not exist are answered here; only the others go to the group.
        topic.partitions.retain(|partition| {
            let exists = context.has_partition(&topic.name, partition.partition_index);
            let error = if exists {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            partitions.push(OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            });
            exists
        });
        topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions,
        });
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    if !request.topics.is_empty() {
        let codes = commit(&context, request).await;
        let existing = topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions)
            .filter(|p| p.error_code == 0);
        for (partition, code) in existing.zip(codes) {
            partition.error_code = code;
        }
    }
    OffsetCommitResponse {
        topics,
        ..Default::default()
    }
}

/// One code for each partition of the request.
async fn commit(context: &Context, request: OffsetCommitRequest) -> Vec<i16> {
    match context.groups_for(&request.group_id) {
        Ok(groups) => {
            let response = groups.commit_offsets(context.api_version, request).await;
            response
                .topics
                .into_iter()
                .flat_map(|topic| topic.partitions)
                .map(|p| p.error_code)
                .collect()
        }
        Err(error) => {
            let count = request.topics.iter().map(|topic| topic.partitions.len()).sum();
            vec![error.code(); count]
        }
    }
}
