//! DescribeTopicPartitions (75), version 0: what Metadata tells, sorted and in pages.

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
        describe_topic_partitions::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};

use super::{Context, distinct::distinct, operations};
use crate::state::{Image, Topic, names};

/// Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;

pub(super) async fn handle(
    context: Context,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = context.broker.image();
    if !cursor_fits(&request) {
        let names = distinct(request.topics, |topic| topic.name.clone()).into_iter();
        let topics = names.map(|topic| failed(topic.name, ErrorCode::InvalidRequest));
        return DescribeTopicPartitionsResponse {
            topics: topics.collect(),
            ..Default::default()
        };
    }
    let mut asked: Vec<String> = if request.topics.is_empty() {
        image.topics().map(|topic| topic.name.clone()).collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    asked.sort();
    asked.dedup();
    let (from_topic, from_partition) = match request.cursor {
        Some(cursor) => (
            cursor.topic_name,
            usize::try_from(cursor.partition_index).unwrap_or(0),
        ),
        None => (String::new(), 0),
    };
    let mut left = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in asked.into_iter().filter(|name| *name >= from_topic) {
        let first = if name == from_topic { from_partition } else { 0 };
        if left == 0 {
            response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index: first as i32,
            });
            break;
        }
        let Some(topic) = image.topic(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let last = topic.partitions.len().min(first.saturating_add(left));
        response.topics.push(page(&image, topic, first, last));
        left -= last.saturating_sub(first);
        if last < topic.partitions.len() {
            response.next_cursor = Some(Cursor {
                topic_name: name,
                partition_index: last as i32,
            });
            break;
        }
    }
    response
}

/// Whether the page can begin where the client says: at a topic that it asks for.
fn cursor_fits(request: &DescribeTopicPartitionsRequest) -> bool {
    let Some(cursor) = &request.cursor else {
        return true;
    };
    let is_asked_for = request.topics.iter().any(|topic| topic.name == cursor.topic_name);
    cursor.partition_index >= 0 && (request.topics.is_empty() || is_asked_for)
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match names::problem(&name) {
        Some(_) => ErrorCode::InvalidTopicException,
        None => ErrorCode::UnknownTopicOrPartition,
    };
    DescribeTopicPartitionsResponseTopic {
        topic_authorized_operations: operations::TOPIC,
        ..failed(name, error)
    }
}

fn failed(name: String, error: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.into(),
        name: Some(name),
        ..Default::default()
    }
}

fn page(image: &Image, topic: &Topic, first: usize, last: usize) -> DescribeTopicPartitionsResponseTopic {
    let indexes = 0..topic.partitions.len() as i32;
    let partitions = indexes.zip(&topic.partitions).take(last).skip(first);
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        topic_authorized_operations: operations::TOPIC,
        partitions: partitions
            .map(|(index, partition)| DescribeTopicPartitionsResponsePartition {
                // As in Kafka, one without a leader is no error here.
                error_code: ErrorCode::None.into(),
                partition_index: index,
                leader_id: partition.leader,
                leader_epoch: image.leader_epoch(topic, index),
                replica_nodes: partition.replicas.clone(),
                isr_nodes: partition.isr.clone(),
                eligible_leader_replicas: Some(partition.eligible.clone()),
                last_known_elr: Some(partition.last_known.clone()),
                offline_replicas: partition.offline_replicas(image.live()),
            })
            .collect(),
        ..Default::default()
    }
}
