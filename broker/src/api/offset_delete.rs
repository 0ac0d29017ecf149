//! OffsetDelete (47), version 0: removes a group's offsets in topics that it does not read.

use heliostat_wire::{
    ErrorCode,
    message::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::Context;

pub(super) async fn handle(context: Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut existing = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let exists = context.has_partition(&topic.name, partition.partition_index);
            if exists {
                existing.push((topic.name.clone(), partition.partition_index));
            }
            let error = if exists {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            partitions.push(OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: error.code(),
            });
        }
        topics.push(OffsetDeleteResponseTopic {
            name: topic.name,
            partitions,
        });
    }
    let outcome = match context.groups_for(&request.group_id) {
        Ok(groups) => groups.delete_offsets(&request.group_id, existing).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(codes) => {
            let answered = topics
                .iter_mut()
                .flat_map(|t| &mut t.partitions)
                .filter(|p| p.error_code == 0);
            for (partition, code) in answered.zip(codes) {
                partition.error_code = code.code();
            }
            OffsetDeleteResponse {
                topics,
                ..Default::default()
            }
        }
        Err(error) => OffsetDeleteResponse {
            error_code: error.code(),
            ..Default::default()
        },
    }
}
