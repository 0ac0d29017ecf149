//! WriteTxnMarkers (27) writes the markers that end a transaction in a partition.

messages! {
    /// The request of WriteTxnMarkers.
    WriteTxnMarkersRequest {
        markers: Vec<WritableTxnMarker>,
    }

    WritableTxnMarker {
        producer_id: i64,
        producer_epoch: i16,
        transaction_result: bool,
        topics: Vec<WritableTxnMarkerTopic>,
        coordinator_epoch: i32,
    }

    WritableTxnMarkerTopic {
        name: String,
        partition_indexes: Vec<i32>,
    }

    /// The response of WriteTxnMarkers.
    WriteTxnMarkersResponse {
        markers: Vec<WritableTxnMarkerResult>,
    }

    WritableTxnMarkerResult {
        producer_id: i64,
        topics: Vec<WritableTxnMarkerTopicResult>,
    }

    WritableTxnMarkerTopicResult {
        name: String,
        partitions: Vec<WritableTxnMarkerPartitionResult>,
    }

    WritableTxnMarkerPartitionResult {
        partition_index: i32,
        error_code: i16,
    }
}
