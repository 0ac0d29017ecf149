//! ListPartitionReassignments (46), version 0: the partitions that wait for a node that is down to move there.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::message::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    list_partition_reassignments::{
        ListPartitionReassignmentsTopics, OngoingPartitionReassignment, OngoingTopicReassignment,
    },
};

use super::Context;
use crate::state::Topic;

pub(super) async fn handle(
    context: Context,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let image = context.broker.image();
    let topics: Vec<_> = match request.topics {
        None => image
            .topics()
            .filter_map(|topic| ongoing(topic, |_| true))
            .collect(),
        Some(asked) => by_name(asked)
            .iter()
            .filter_map(|(name, asked)| ongoing(image.topic(name)?, |index| asked.contains(&index)))
            .collect(),
    };
    ListPartitionReassignmentsResponse {
        topics,
        ..Default::default()
    }
}

/// What is asked for, each partition once.
fn by_name(asked: Vec<ListPartitionReassignmentsTopics>) -> BTreeMap<String, BTreeSet<i32>> {
    let mut topics = BTreeMap::<_, BTreeSet<_>>::new();
    for topic in asked {
        topics
            .entry(topic.name)
            .or_default()
            .extend(topic.partition_indexes);
    }
    topics
}

fn ongoing(topic: &Topic, is_asked: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let partitions = (0..).zip(&topic.partitions);
    let moving = partitions.filter(|(index, partition)| partition.is_reassigning() && is_asked(*index));
    let partitions: Vec<_> = moving
        .map(|(partition_index, partition)| OngoingPartitionReassignment {
            partition_index,
            replicas: partition.replicas.clone(),
            adding_replicas: partition.adding.clone(),
            removing_replicas: partition.removing.clone(),
        })
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: topic.name.clone(),
        partitions,
    })
}
