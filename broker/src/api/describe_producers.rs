//! DescribeProducers (61), version 0: the producers that a partition knows, with their open transactions.

use heliostat_wire::message::{
    DescribeProducersRequest, DescribeProducersResponse,
    describe_producers::{PartitionResponse, ProducerState, TopicResponse},
};

use super::Context;
use crate::{
    log::ProducerInfo,
    partitions::{Led, NotServed, TopicKey},
};

pub(super) async fn handle(context: Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let image = context.broker.image();
    let topics = request.topics.into_iter().map(|topic| {
        let found = TopicKey::Name(&topic.name).find(&image);
        let partitions = topic.partition_indexes.into_iter().map(|index| {
            let led =
                found.and_then(|found| context.broker.led_by(context.node_id(), &image, found, index, -1));
            describe(index, led)
        });
        TopicResponse { partitions: partitions.collect(), name: topic.name.clone() }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
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
