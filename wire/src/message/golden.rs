//! Bytes that Apache Kafka 4.2 wrote, held against ours.

use bytes::Bytes;

use super::{
    create_topics::CreatableTopicResult, describe_topic_partitions as pages, fetch, join_group::*,
    metadata::*, offset_commit as commit, offset_fetch as offsets, produce, *,
};
use crate::{Payload, Uuid, buf::Writer};

const ID: Uuid = Uuid::from_bytes([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);

#[track_caller]
fn check<M: Message + PartialEq>(message: M, version: i16, kafkas: &str) {
    let mut w = Writer::new(version, M::KEY.is_flexible(version));
    message.encode(&mut w);
    let ours = Payload::join(w.finish().unwrap()).unwrap();
    let ours_hex: String = ours.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(ours_hex, kafkas);
    assert_eq!(decode_message::<M>(ours, version).unwrap(), message);
}

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn api_versions_with_tagged_fields() {
    use api_versions::{ApiVersion, SupportedFeatureKey};
    check(
        ApiVersionsResponse {
            api_keys: vec![ApiVersion {
                api_key: 18,
                min_version: 0,
                max_version: 4,
            }],
            finalized_features_epoch: 7,
            supported_features: vec![SupportedFeatureKey {
                name: text("f"),
                min_version: 1,
                max_version: 2,
            }],
            ..Default::default()
        },
        3,
        "0000020012000000040000000000020008020266000100020001080000000000000007",
    );
}

#[test]
fn metadata_of_all_topics_and_by_id() {
    check(
        MetadataRequest {
            topics: None,
            ..Default::default()
        },
        1,
        "ffffffff",
    );
    let by_id = MetadataRequestTopic {
        topic_id: ID,
        name: None,
    };
    let by_name = MetadataRequestTopic {
        name: Some(text("t")),
        ..Default::default()
    };
    check(
        MetadataRequest {
            topics: Some(vec![by_id, by_name]),
            allow_auto_topic_creation: false,
            ..Default::default()
        },
        12,
        "030102030405060708090a0b0c0d0e0f10000000000000000000000000000000000000027400000000",
    );
}

#[test]
fn fetches_by_name_and_by_id() {
    use fetch::{FetchPartition, FetchTopic, ReplicaState};
    let partition = FetchPartition {
        partition: 3,
        current_leader_epoch: 2,
        fetch_offset: 9,
        last_fetched_epoch: 1,
        partition_max_bytes: 50,
        ..Default::default()
    };
    check(
        FetchRequest {
            cluster_id: Some(text("c")),
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 100,
            isolation_level: 1,
            topics: vec![FetchTopic {
                topic: text("t"),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        },
        12,
        "ffffffff000001f400000001000000640100000000ffffffff020274020000000300000002000000000000000900000001\
         ffffffffffffffff00000032000001010100020263",
    );
    let partition = FetchPartition {
        partition: 3,
        fetch_offset: 9,
        replica_directory_id: ID,
        ..Default::default()
    };
    check(
        FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            replica_state: ReplicaState {
                replica_id: 4,
                replica_epoch: 5,
            },
            topics: vec![FetchTopic {
                topic_id: ID,
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        },
        17,
        "000001f4000000017fffffff0000000000ffffffff020102030405060708090a0b0c0d0e0f100200000003ffffffff\
         0000000000000009ffffffffffffffffffffffff000000000100100102030405060708090a0b0c0d0e0f10000101010\
         10d00000004000000000000000500",
    );
}

#[test]
fn a_fetch_without_records() {
    use fetch::{AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData};
    let partition = PartitionData {
        partition_index: 3,
        high_watermark: 20,
        last_stable_offset: 19,
        log_start_offset: 1,
        diverging_epoch: EpochEndOffset {
            epoch: 2,
            end_offset: 6,
        },
        aborted_transactions: Some(vec![AbortedTransaction {
            producer_id: 5,
            first_offset: 6,
        }]),
        ..Default::default()
    };
    check(
        FetchResponse {
            session_id: 8,
            responses: vec![FetchableTopicResponse {
                topic: text("t"),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        },
        12,
        "00000000000000000008020274020000000300000000000000000014000000000000001300000000000000010200000000\
         00000005000000000000000600ffffffff0101000d000000020000000000000006000000",
    );
}

#[test]
fn produces_and_their_answers() {
    use produce::{
        LeaderIdAndEpoch, NodeEndpoint, PartitionProduceData, PartitionProduceResponse, TopicProduceData,
        TopicProduceResponse,
    };
    let partition = PartitionProduceData {
        index: 1,
        records: Bytes::from_static(&[1, 2, 3]),
    };
    check(
        ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![TopicProduceData {
                name: text("t"),
                partition_data: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        },
        3,
        "ffffffff000003e800000001000174000000010000000100000003010203",
    );
    let partition = PartitionProduceResponse {
        index: 1,
        error_code: 6,
        base_offset: -1,
        current_leader: LeaderIdAndEpoch {
            leader_id: 2,
            leader_epoch: 3,
        },
        ..Default::default()
    };
    check(
        ProduceResponse {
            responses: vec![TopicProduceResponse {
                name: text("t"),
                partition_responses: vec![partition],
                ..Default::default()
            }],
            node_endpoints: vec![NodeEndpoint {
                node_id: 2,
                host: text("h"),
                port: 9092,
                rack: None,
            }],
            ..Default::default()
        },
        10,
        "02027402000000010006ffffffffffffffffffffffffffffffffffffffffffffffff010001000900000002000000030000\
         0000000001000d02000000020268000023840000",
    );
}

#[test]
fn offsets_committed_and_fetched() {
    use commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offsets::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
    let partition = OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: 5,
        committed_metadata: None,
        ..Default::default()
    };
    check(
        OffsetCommitRequest {
            group_id: text("g"),
            member_id: text("m"),
            generation_id_or_member_epoch: 3,
            topics: vec![OffsetCommitRequestTopic {
                name: text("t"),
                partitions: vec![partition],
            }],
            ..Default::default()
        },
        2,
        "0001670000000300016dffffffffffffffff0000000100017400000001000000010000000000000005ffff",
    );
    check(
        OffsetFetchRequest {
            group_id: text("g"),
            topics: None,
            require_stable: true,
            ..Default::default()
        },
        7,
        "0267000100",
    );
    let partition = OffsetFetchResponsePartitions {
        partition_index: 1,
        committed_offset: 5,
        metadata: Some(text("m")),
        ..Default::default()
    };
    let topic = OffsetFetchResponseTopics {
        name: text("t"),
        partitions: vec![partition],
    };
    check(
        OffsetFetchResponse {
            groups: vec![OffsetFetchResponseGroup {
                group_id: text("g"),
                topics: vec![topic],
                ..Default::default()
            }],
            ..Default::default()
        },
        8,
        "0000000002026702027402000000010000000000000005ffffffff026d0000000000000000",
    );
}

#[test]
fn groups_joined() {
    let protocol = JoinGroupRequestProtocol {
        name: text("range"),
        metadata: Bytes::from_static(&[9]),
    };
    check(
        JoinGroupRequest {
            group_id: text("g"),
            session_timeout_ms: 10,
            rebalance_timeout_ms: 20,
            protocol_type: text("consumer"),
            protocols: vec![protocol],
            reason: Some(text("r")),
            ..Default::default()
        },
        9,
        "02670000000a00000014010009636f6e73756d6572020672616e6765020900027200",
    );
    check(
        JoinGroupResponse {
            generation_id: 4,
            protocol_name: Some(text("p")),
            leader: text("l"),
            member_id: text("m"),
            ..Default::default()
        },
        6,
        "000000000000000000040270026c026d0100",
    );
}

#[test]
fn structs_that_may_be_null() {
    use pages::{Cursor, TopicRequest};
    check(
        DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: text("t") }],
            cursor: Some(Cursor {
                topic_name: text("t"),
                partition_index: 2,
            }),
            ..Default::default()
        },
        0,
        "02027400000007d0010274000000020000",
    );
    check(DescribeTopicPartitionsResponse::default(), 0, "0000000001ff00");
}

#[test]
fn lists_that_may_be_null() {
    check(
        CreateTopicsResponse {
            topics: vec![CreatableTopicResult {
                name: text("t"),
                num_partitions: 2,
                replication_factor: 1,
                error_message: Some(String::new()),
                topic_config_error_code: 29,
                configs: None,
                ..Default::default()
            }],
            ..Default::default()
        },
        5,
        "0000000002027400000100000002000100010002001d00",
    );
}

#[test]
fn headers() {
    let metadata = |version, client_id: Option<&str>| {
        let frame = encode_request(&MetadataRequest::default(), version, 5, client_id)
            .unwrap()
            .concat();
        frame[4..]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert!(metadata(12, Some("me")).starts_with("0003000c0000000500026d6500"));
    assert!(metadata(1, None).starts_with("0003000100000005ffff"));
}

#[test]
fn transactions_listed_and_described() {
    check(
        ListTransactionsRequest {
            state_filters: vec![text("Ongoing")],
            producer_id_filters: vec![7],
            duration_filter: 5,
            transactional_id_pattern: Some(text("a.*")),
        },
        2,
        "02084f6e676f696e67020000000000000007000000000000000504612e2a00",
    );
    check(ListTransactionsRequest::default(), 1, "0101ffffffffffffffff00");
    check(
        ListTransactionsResponse {
            unknown_state_filters: vec![text("X")],
            transaction_states: vec![list_transactions::TransactionState {
                transactional_id: text("t"),
                producer_id: 7,
                transaction_state: text("Ongoing"),
            }],
            ..Default::default()
        },
        0,
        "0000000000000202580202740000000000000007084f6e676f696e670000",
    );
    check(
        DescribeTransactionsRequest {
            transactional_ids: vec![text("t")],
        },
        0,
        "02027400",
    );
    check(
        DescribeTransactionsResponse {
            transaction_states: vec![describe_transactions::TransactionState {
                transactional_id: text("t"),
                transaction_state: text("Ongoing"),
                transaction_timeout_ms: 60_000,
                transaction_start_time_ms: 1_000,
                producer_id: 7,
                producer_epoch: 3,
                topics: vec![describe_transactions::TopicData {
                    topic: text("p"),
                    partitions: vec![0, 2],
                }],
                ..Default::default()
            }],
            ..Default::default()
        },
        0,
        "000000000200000274084f6e676f696e670000ea6000000000000003e800000000000000070003020270030000000000000002000000",
    );
}
