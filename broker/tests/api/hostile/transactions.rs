//! One good request of each API of transactions.

use heliostat_wire::message::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest, DescribeTransactionsRequest,
    EndTxnRequest, ListTransactionsRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
    add_partitions_to_txn, describe_producers, txn_offset_commit, write_txn_markers,
};

use super::frames::Frames;

/// The frames that ask for something in the topic `t`, the group `g` and the transactional id `x`.
pub(super) fn add(frames: &mut Frames) {
    let name = || "t".to_owned();
    let id = || "x".to_owned();
    let topics = vec![add_partitions_to_txn::AddPartitionsToTxnTopic {
        name: name(),
        partitions: vec![0, 1],
    }];
    frames.add(AddPartitionsToTxnRequest {
        transactions: vec![add_partitions_to_txn::AddPartitionsToTxnTransaction {
            transactional_id: id(),
            topics: topics.clone(),
            ..Default::default()
        }],
        v3_and_below_transactional_id: id(),
        v3_and_below_topics: topics,
        ..Default::default()
    });
    frames.add(AddOffsetsToTxnRequest {
        transactional_id: id(),
        group_id: "g".to_owned(),
        ..Default::default()
    });
    frames.add(EndTxnRequest {
        transactional_id: id(),
        committed: true,
        ..Default::default()
    });
    frames.add(TxnOffsetCommitRequest {
        transactional_id: id(),
        group_id: "g".to_owned(),
        topics: vec![txn_offset_commit::TxnOffsetCommitRequestTopic {
            name: name(),
            partitions: vec![txn_offset_commit::TxnOffsetCommitRequestPartition {
                committed_metadata: Some("here".to_owned()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    });
    frames.add(WriteTxnMarkersRequest {
        markers: vec![write_txn_markers::WritableTxnMarker {
            producer_id: 1 << 40,
            topics: vec![write_txn_markers::WritableTxnMarkerTopic {
                name: name(),
                partition_indexes: vec![0],
            }],
            ..Default::default()
        }],
    });
    frames.add(DescribeProducersRequest {
        topics: vec![describe_producers::TopicRequest {
            name: name(),
            partition_indexes: vec![0, 1],
        }],
    });
    frames.add(DescribeTransactionsRequest {
        transactional_ids: vec![id()],
    });
    frames.add(ListTransactionsRequest {
        state_filters: vec!["Ongoing".to_owned()],
        producer_id_filters: vec![1],
        transactional_id_pattern: Some("x.*".to_owned()),
        ..Default::default()
    });
}
