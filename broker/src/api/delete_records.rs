//! DeleteRecords (21), versions 0-2: moves the log start offset forward. It is on disk before it is answered.

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::{Context, blocking, distinct::last};
use crate::{
    log::DeleteRecordsError,
    partitions::{Led, NotServed, TopicKey},
};

/// Stands for "everything".
const HIGH_WATERMARK: i64 = -1;

/// The low watermark of a partition that was not touched.
const INVALID_LOW_WATERMARK: i64 = -1;

type Planned = (String, Vec<(i32, i64, Result<Led, NotServed>)>);

pub(super) async fn handle(context: Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = plan(&context, request);
    let topics = blocking(move || topics.into_iter().map(delete_all).collect()).await;
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}

fn delete_all((name, partitions): Planned) -> DeleteRecordsTopicResult {
    let partitions = partitions
        .into_iter()
        .map(|(index, offset, led)| delete(index, offset, led));
    DeleteRecordsTopicResult {
        name,
        partitions: partitions.collect(),
    }
}

fn plan(context: &Context, request: DeleteRecordsRequest) -> Vec<Planned> {
    let image = context.broker.image();
    // Kafka goes by partitions: a topic without any leaves no trace, and one that is named twice is one.
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for topic in request.topics {
        if !topic.partitions.is_empty() {
            topics.entry(topic.name).or_default().extend(topic.partitions);
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        let found = TopicKey::Name(&name).find(&image);
        // The last of several offsets for one partition counts.
        let partitions = last(partitions, |asked| asked.partition_index);
        let partitions = partitions.into_iter().map(|asked| {
            let led = found.and_then(|found| {
                context
                    .broker
                    .led_by(context.node_id(), &image, found, asked.partition_index, -1)
            });
            (asked.partition_index, asked.offset, led)
        });
        let partitions = partitions.collect();
        (name, partitions)
    });
    topics.collect()
}

fn delete(partition_index: i32, offset: i64, led: Result<Led, NotServed>) -> DeleteRecordsPartitionResult {
    let deleted = led.map_err(|refused| refused.error).and_then(|led| {
        let before = if offset == HIGH_WATERMARK {
            led.log.high_watermark()
        } else {
            offset
        };
        led.log
            .delete_records(before)
            .map_err(|error| failed(&led, &error))
    });
    let (low_watermark, error) = match deleted {
        Ok(start) => (start, ErrorCode::None),
        Err(error) => (INVALID_LOW_WATERMARK, error),
    };
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark,
        error_code: error.into(),
    }
}

fn failed(led: &Led, error: &DeleteRecordsError) -> ErrorCode {
    if let DeleteRecordsError::Storage(error) = error {
        tracing::error!(%error, topic = led.log.topic(), partition = led.log.partition(), "records were not deleted");
    }
    error.code()
}
