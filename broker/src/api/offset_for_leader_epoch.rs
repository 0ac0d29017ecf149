//! OffsetForLeaderEpoch (23), versions 2-4: where the records of a leader epoch end.

use heliostat_wire::{
    ErrorCode,
    message::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderPartition, OffsetForLeaderTopicResult},
    },
};

use super::{Context, blocking};
use crate::{
    partitions::{NotServed, TopicKey},
    state::{Image, Topic},
};

pub(super) async fn handle(
    context: Context,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    // Whoever appends to a log holds its end for as long as the disk takes.
    blocking(move || answer(&context, request)).await
}

fn answer(context: &Context, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let image = context.broker.image();
    let topics = request.topics.into_iter().map(|topic| {
        let found = TopicKey::Name(&topic.topic).find(&image).cloned();
        let partitions = topic.partitions.iter().map(|asked| {
            let end = found.as_ref().map_err(|refused| *refused);
            let end = end.and_then(|found| end_of(context, &image, found, asked));
            let answer = EpochEndOffset {
                partition: asked.partition,
                ..Default::default()
            };
            match end {
                Ok(Some((leader_epoch, end_offset))) => EpochEndOffset {
                    leader_epoch,
                    end_offset,
                    ..answer
                },
                Ok(None) => answer,
                Err(refused) => EpochEndOffset {
                    error_code: refused.error.into(),
                    ..answer
                },
            }
        });
        OffsetForLeaderTopicResult {
            partitions: partitions.collect(),
            topic: topic.topic.clone(),
        }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

/// The largest epoch that is not beyond the asked one, and the offset after its last record. `None` if the epoch is
/// not known.
fn end_of(
    context: &Context,
    image: &Image,
    topic: &Topic,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(i32, i64)>, NotServed> {
    if asked.partition < 0 {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let (node, epoch) = (context.node_id(), asked.current_leader_epoch);
    let led = context
        .broker
        .led_by(node, image, topic, asked.partition, epoch)?;
    if asked.leader_epoch == led.leader_epoch {
        return Ok(Some((led.leader_epoch, led.log.log_end_offset())));
    }
    Ok(led.log.end_offset_for_epoch(asked.leader_epoch))
}
