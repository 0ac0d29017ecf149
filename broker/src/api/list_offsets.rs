//! ListOffsets (2), versions 1-10: offsets by time, and the ends of logs.
//!
//! Nothing is kept in remote storage: the earliest local offset (-4) is the earliest one, and the latest tiered one
//! (-5) does not exist.

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets::{
            ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic, ListOffsetsTopicResponse,
        },
    },
};

use super::{Context, blocking, distinct::once};
use crate::{
    log::{FoundOffset, ReadError},
    partitions::{Led, NotServed, TopicKey},
};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

const READ_COMMITTED: i8 = 1;

/// A topic of the request, with the logs to ask.
struct Topic {
    name: String,
    partitions: Vec<(ListOffsetsPartition, Result<Led, NotServed>)>,
}

/// What the client may see.
#[derive(Clone, Copy)]
struct View {
    version: i16,
    read_committed: bool,
}

pub(super) async fn handle(context: Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let view = View {
        version: context.api_version,
        read_committed: request.isolation_level == READ_COMMITTED,
    };
    let topics = plan(&context, request);
    // Looking for a timestamp reads from the disk.
    let topics = blocking(move || topics.into_iter().map(|topic| answer(topic, view)).collect()).await;
    ListOffsetsResponse {
        topics,
        ..Default::default()
    }
}

fn answer(topic: Topic, view: View) -> ListOffsetsTopicResponse {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|(asked, led)| look_up(&asked, led, view));
    ListOffsetsTopicResponse {
        partitions: partitions.collect(),
        name: topic.name,
    }
}

fn plan(context: &Context, request: ListOffsetsRequest) -> Vec<Topic> {
    let image = context.broker.image();
    let topics = by_name(request.topics).into_iter().map(|(name, partitions)| {
        let found = TopicKey::Name(&name).find(&image);
        let (asked_once, repeated) = once(partitions, |asked| asked.partition_index);
        let repeated = repeated.into_iter().map(|partition_index| {
            let asked = ListOffsetsPartition {
                partition_index,
                ..Default::default()
            };
            (asked, Err(ErrorCode::InvalidRequest.into()))
        });
        let partitions = asked_once.into_iter().map(|asked| {
            let led = found.and_then(|found| {
                let (index, epoch) = (asked.partition_index, asked.current_leader_epoch);
                context
                    .broker
                    .led_by(context.node_id(), &image, found, index, epoch)
            });
            (asked, led)
        });
        Topic {
            partitions: partitions.chain(repeated).collect(),
            name,
        }
    });
    topics.collect()
}

/// The partitions of each topic. Kafka goes by partitions: a topic without any leaves no trace.
fn by_name(asked: Vec<ListOffsetsTopic>) -> BTreeMap<String, Vec<ListOffsetsPartition>> {
    let mut topics = BTreeMap::<_, Vec<_>>::new();
    for topic in asked.into_iter().filter(|topic| !topic.partitions.is_empty()) {
        topics.entry(topic.name).or_default().extend(topic.partitions);
    }
    topics
}

fn look_up(
    asked: &ListOffsetsPartition,
    led: Result<Led, NotServed>,
    view: View,
) -> ListOffsetsPartitionResponse {
    // Kafka looks at this before it looks for the partition.
    let found = if is_known(asked.timestamp, view.version) {
        led.map_err(|refused| refused.error)
            .and_then(|led| find(&led, asked.timestamp, view))
    } else {
        Err(ErrorCode::UnsupportedVersion)
    };
    let response = ListOffsetsPartitionResponse {
        partition_index: asked.partition_index,
        ..Default::default()
    };
    match found {
        Ok(Some(found)) => ListOffsetsPartitionResponse {
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
            ..response
        },
        Ok(None) => response,
        Err(error) => ListOffsetsPartitionResponse {
            error_code: error.into(),
            ..response
        },
    }
}

/// Whether requests of this version can ask for this.
fn is_known(timestamp: i64, version: i16) -> bool {
    match timestamp {
        LATEST | EARLIEST | 0.. => true,
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        _ => false,
    }
}

fn find(led: &Led, timestamp: i64, view: View) -> Result<Option<FoundOffset>, ErrorCode> {
    let log = &led.log;
    let end = if view.read_committed {
        log.last_stable_offset()
    } else {
        log.high_watermark()
    };
    // The ends of a log are no records, and have no timestamp.
    let edge = |offset, leader_epoch| {
        Ok(Some(FoundOffset {
            offset,
            timestamp: -1,
            leader_epoch,
        }))
    };
    let start = || {
        let offset = log.log_start_offset();
        edge(offset, log.epoch_for_offset(offset).unwrap_or(led.leader_epoch))
    };
    match timestamp {
        LATEST => edge(end, led.leader_epoch),
        EARLIEST | EARLIEST_LOCAL => start(),
        LATEST_TIERED => Ok(None),
        MAX_TIMESTAMP => log
            .max_timestamp_offset()
            .map_err(|error| failed(led, &error))
            .map(|found| within(found, end)),
        0.. => log
            .offset_for_timestamp(timestamp)
            .map_err(|error| failed(led, &error))
            .map(|found| within(found, end)),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn within(found: Option<FoundOffset>, end: i64) -> Option<FoundOffset> {
    found.filter(|found| found.offset < end)
}

fn failed(led: &Led, error: &ReadError) -> ErrorCode {
    tracing::error!(%error, topic = led.log.topic(), partition = led.log.partition(), "offsets cannot be looked up");
    error.code()
}
