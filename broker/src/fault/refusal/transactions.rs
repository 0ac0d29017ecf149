//! Refusals of what transactional producers ask.

use heliostat_wire::message::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse,
    ListTransactionsRequest, ListTransactionsResponse, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
    add_partitions_to_txn::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
        AddPartitionsToTxnTopicResult,
    },
    describe_transactions::TransactionState,
    txn_offset_commit::{TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic},
    write_txn_markers::{
        WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    },
};

use super::{Named, Refusable, Refusal};

impl Refusable for AddOffsetsToTxnRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<AddOffsetsToTxnResponse> {
        Some(AddOffsetsToTxnResponse {
            error_code: refusal.code(),
            ..Default::default()
        })
    }
}

impl Refusable for EndTxnRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<EndTxnResponse> {
        Some(EndTxnResponse {
            error_code: refusal.code(),
            ..Default::default()
        })
    }
}

impl Refusable for AddPartitionsToTxnRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let several = self
            .transactions
            .iter()
            .flat_map(|transaction| &transaction.topics);
        let topics = self.v3_and_below_topics.iter().chain(several);
        topics.map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<AddPartitionsToTxnResponse> {
        let each = |topics: Vec<AddPartitionsToTxnTopic>| {
            let topics = topics.into_iter().map(|topic| AddPartitionsToTxnTopicResult {
                results_by_partition: topic
                    .partitions
                    .iter()
                    .map(|index| AddPartitionsToTxnPartitionResult {
                        partition_index: *index,
                        partition_error_code: refusal.code(),
                    })
                    .collect(),
                name: topic.name,
            });
            topics.collect()
        };
        let transactions = self
            .transactions
            .into_iter()
            .map(|transaction| AddPartitionsToTxnResult {
                transactional_id: transaction.transactional_id,
                topic_results: each(transaction.topics),
            });
        Some(AddPartitionsToTxnResponse {
            error_code: refusal.code(),
            results_by_transaction: transactions.collect(),
            results_by_topic_v3_and_below: each(self.v3_and_below_topics),
            ..Default::default()
        })
    }
}

impl Refusable for TxnOffsetCommitRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<TxnOffsetCommitResponse> {
        let topics = self.topics.into_iter().map(|topic| TxnOffsetCommitResponseTopic {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: refusal.code(),
                })
                .collect(),
            name: topic.name,
        });
        Some(TxnOffsetCommitResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for WriteTxnMarkersRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let topics = self.markers.iter().flat_map(|marker| &marker.topics);
        topics.map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<WriteTxnMarkersResponse> {
        let markers = self.markers.into_iter().map(|marker| WritableTxnMarkerResult {
            producer_id: marker.producer_id,
            topics: marker
                .topics
                .into_iter()
                .map(|topic| WritableTxnMarkerTopicResult {
                    partitions: topic
                        .partition_indexes
                        .iter()
                        .map(|index| WritableTxnMarkerPartitionResult {
                            partition_index: *index,
                            error_code: refusal.code(),
                        })
                        .collect(),
                    name: topic.name,
                })
                .collect(),
        });
        Some(WriteTxnMarkersResponse {
            markers: markers.collect(),
        })
    }
}

impl Refusable for DescribeTransactionsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeTransactionsResponse> {
        let states = self
            .transactional_ids
            .into_iter()
            .map(|transactional_id| TransactionState {
                error_code: refusal.code(),
                transactional_id,
                ..Default::default()
            });
        Some(DescribeTransactionsResponse {
            transaction_states: states.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for ListTransactionsRequest {
    fn refuse(self, refusal: &Refusal<'_>) -> Option<ListTransactionsResponse> {
        Some(ListTransactionsResponse {
            error_code: refusal.code(),
            ..Default::default()
        })
    }
}
