//! WriteTxnMarkers (27), version 1: ends transactions in partitions, past the coordinator. Tools use it for transactions
//! that hang.

use heliostat_wire::ErrorCode;
use heliostat_wire::message::{
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
    write_txn_markers::{
        WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
        WritableTxnMarkerTopicResult,
    },
};

use super::{Context, blocking};
use crate::{
    log::Marker,
    partitions::{Led, NotServed, TopicKey},
    txn::append_marker,
};

pub(super) async fn handle(context: Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        markers.push(write(&context, marker).await);
    }
    WriteTxnMarkersResponse { markers }
}

async fn write(context: &Context, request: WritableTxnMarker) -> WritableTxnMarkerResult {
    let marker = Marker {
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        commit: request.transaction_result,
        coordinator_epoch: request.coordinator_epoch,
        transaction_version: 0,
    };
    // Nobody can have these; Kafka has no better word for them.
    let impossible = marker.producer_id < 0 || marker.producer_epoch < 0;
    let image = context.broker.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = TopicKey::Name(&topic.name).find(&image);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for partition_index in topic.partition_indexes {
            let led = found.and_then(|found| {
                context
                    .broker
                    .led_by(context.node_id(), &image, found, partition_index, -1)
            });
            let led = if impossible {
                led.and(Err(ErrorCode::UnknownServerError.into()))
            } else {
                led
            };
            let error = append(led, marker, context.broker.storage().clock().now_ms()).await;
            partitions.push(WritableTxnMarkerPartitionResult {
                partition_index,
                error_code: error.code(),
            });
        }
        topics.push(WritableTxnMarkerTopicResult {
            name: topic.name,
            partitions,
        });
    }
    WritableTxnMarkerResult {
        producer_id: request.producer_id,
        topics,
    }
}

async fn append(led: Result<Led, NotServed>, marker: Marker, now_ms: i64) -> ErrorCode {
    let led = match led {
        Ok(led) => led,
        Err(refused) => return refused.error,
    };
    match blocking(move || append_marker(led.log, led.leader_epoch, &marker, now_ms)).await {
        Ok(appended) => appended
            .durable()
            .await
            .map_or(ErrorCode::KafkaStorageError, |()| ErrorCode::None),
        Err(error) => error.code(),
    }
}
