//! DescribeProducers (61), version 0: the producers that a partition knows, with their open transactions.

use std::collections::{HashMap, HashSet};

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeProducersRequest, DescribeProducersResponse,
        describe_producers::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use super::{Context, blocking};
use crate::{
    api_error::ApiError,
    log::ProducerInfo,
    partitions::{Led, NotServed, TopicKey},
    state::names,
};

pub(super) async fn handle(context: Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    // Whoever appends to a log holds its producers for as long as the disk takes.
    blocking(move || answer(&context, request)).await
}

fn answer(context: &Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let image = context.broker.image();
    let mut described = HashMap::<String, HashSet<i32>>::new();
    let topics = request.topics.into_iter().map(|mut topic| {
        let described = described.entry(topic.name.clone()).or_default();
        topic.partition_indexes.retain(|index| described.insert(*index));
        let found = TopicKey::Name(&topic.name).find(&image);
        let partitions = topic.partition_indexes.into_iter().map(|index| match found {
            Ok(found) => describe(
                index,
                context.broker.led_by(context.node_id(), &image, found, index, -1),
            ),
            Err(_) => no_topic(index, &topic.name),
        });
        TopicResponse {
            partitions: partitions.collect(),
            name: topic.name.clone(),
        }
    });
    DescribeProducersResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

/// The answer for a partition of a topic that is not there, or never can be.
fn no_topic(partition_index: i32, name: &str) -> PartitionResponse {
    let error = match names::problem(name) {
        Some(problem) => ApiError::new(ErrorCode::InvalidTopicException, problem),
        None => ApiError::unknown_topic(name),
    };
    PartitionResponse {
        partition_index,
        error_code: error.code.into(),
        error_message: Some(error.message),
        ..Default::default()
    }
}

fn describe(partition_index: i32, led: Result<Led, NotServed>) -> PartitionResponse {
    match led {
        Ok(led) => PartitionResponse {
            partition_index,
            active_producers: led.log.producers().iter().map(state).collect(),
            ..Default::default()
        },
        Err(NotServed { error, .. }) => PartitionResponse {
            partition_index,
            error_code: error.into(),
            ..Default::default()
        },
    }
}

fn state(producer: &ProducerInfo) -> ProducerState {
    ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch.into(),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start.unwrap_or(-1),
    }
}
