//! Small requests that ask for the same thing again and again, or for very much: their answers stay small, and nobody
//! waits for them.

use std::time::Instant;

use heliostat_wire::{
    ErrorCode,
    builder::{BatchBuilder, NewRecord},
    message::{
        AlterPartitionReassignmentsRequest, DescribeConfigsRequest, DescribeGroupsRequest,
        DescribeProducersRequest, DescribeTransactionsRequest, ElectLeadersRequest, FindCoordinatorRequest,
        InitProducerIdRequest, ListPartitionReassignmentsRequest, OffsetCommitRequest, OffsetFetchRequest,
        alter_partition_reassignments::{ReassignablePartition, ReassignableTopic},
        describe_configs::DescribeConfigsResource,
        describe_producers::TopicRequest,
        elect_leaders::TopicPartitions,
        list_partition_reassignments::ListPartitionReassignmentsTopics,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
    },
};

use crate::{
    client::{Client, PATIENCE, start},
    records::{id_of, produce_request},
};

const TIMES: usize = 20_000;

#[tokio::test]
async fn what_is_asked_for_twice_is_described_once() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 100, &[]).await;

    assert_eq!(client.metadata(&["t"; TIMES]).await.topics.len(), 1);
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "t".to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource; TIMES],
        ..Default::default()
    };
    assert_eq!(client.send(&request).await.results.len(), 1);
    let request = DescribeGroupsRequest {
        groups: vec!["g".to_owned(); TIMES],
        ..Default::default()
    };
    assert_eq!(client.send(&request).await.groups.len(), 1);
    let group = OffsetFetchRequestGroup {
        group_id: "g".to_owned(),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group; TIMES],
        ..Default::default()
    };
    assert_eq!(client.send(&request).await.groups.len(), 1);
}

#[tokio::test]
async fn offsets_that_are_asked_for_twice_are_told_once() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    let partition = OffsetCommitRequestPartition {
        committed_offset: 5,
        committed_metadata: Some("m".repeat(4096)),
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let committed = client.send_version(&commit, 9).await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let topic = OffsetFetchRequestTopics {
        name: "t".to_owned(),
        partition_indexes: vec![0; TIMES],
    };
    let old = OffsetFetchRequestTopic {
        name: topic.name.clone(),
        partition_indexes: topic.partition_indexes.clone(),
    };
    let group = OffsetFetchRequestGroup {
        group_id: "g".to_owned(),
        topics: Some(vec![topic; 5]),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        group_id: "g".to_owned(),
        topics: Some(vec![old; 5]),
        groups: vec![group],
        ..Default::default()
    };
    let answer = client.send_version(&request, 9).await;
    let topics = answer.groups[0].topics.iter();
    let told: Vec<_> = topics.flat_map(|topic| &topic.partitions).collect();
    assert_eq!((told.len(), told[0].committed_offset), (1, 5));
    for version in [1, 7] {
        let answer = client.send_version(&request, version).await;
        let told: usize = answer.topics.iter().map(|topic| topic.partitions.len()).sum();
        assert_eq!(told, 1, "version {version}");
    }
}

#[tokio::test]
async fn producers_and_transactions_that_are_asked_for_twice_are_described_once() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    let given = client.send_version(&InitProducerIdRequest::default(), 4).await;
    let mut builder = BatchBuilder::new().producer(given.producer_id, given.producer_epoch, 0);
    builder.push(NewRecord::default());
    let records = builder.build().unwrap().into();
    let produce = produce_request(id_of(&mut client, "t").await, 0, records);
    let written = client.send(&produce).await;
    assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    let topic = TopicRequest {
        name: "t".to_owned(),
        partition_indexes: vec![0; TIMES],
    };
    let request = DescribeProducersRequest {
        topics: vec![topic; 5],
    };
    let answer = client.send(&request).await;
    let partitions: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    assert_eq!(partitions.len(), 1);
    assert_eq!(partitions[0].active_producers.len(), 1);

    let init = InitProducerIdRequest {
        transactional_id: Some("x".to_owned()),
        transaction_timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(client.send_version(&init, 4).await.error_code, 0);
    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["x".to_owned(); TIMES],
    };
    let answer = client.send(&request).await;
    assert_eq!(answer.transaction_states.len(), 1);
    assert_eq!(answer.transaction_states[0].error_code, 0);
}

#[tokio::test]
async fn a_name_that_cannot_be_is_not_repeated_with_every_partition() {
    const PARTITIONS: i32 = 10_000;
    // What a text for people may take on the wire.
    const TEXT_BYTES_MAX: usize = 450;
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    let name = || "x".repeat(32_000);
    let partitions: Vec<i32> = (0..PARTITIONS).collect();
    let elect = ElectLeadersRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic: name(),
            partitions: partitions.clone(),
        }]),
        ..Default::default()
    };
    let answer = client.send(&elect).await.replica_election_results;
    let told = answer[0].partition_result.iter();
    assert_eq!(told.len(), partitions.len());
    let of_election = told.map(|told| told.error_message.clone());
    let moved = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: name(),
            partitions: partitions
                .iter()
                .map(|index| ReassignablePartition {
                    partition_index: *index,
                    replicas: None,
                })
                .collect(),
        }],
        ..Default::default()
    };
    let answer = client.send(&moved).await.responses;
    let of_move = answer[0].partitions.iter().map(|told| told.error_message.clone());
    let describe = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: name(),
            partition_indexes: partitions,
        }],
    };
    let answer = client.send(&describe).await.topics;
    let of_producers = answer[0].partitions.iter().map(|told| told.error_message.clone());
    for text in of_election.chain(of_move).chain(of_producers) {
        assert!(
            text.as_ref().is_some_and(|text| text.len() < TEXT_BYTES_MAX),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn a_request_names_only_so_many_things() {
    const MOST: usize = 1 << 18;
    let cluster = start(&[]).await;
    for (count, is_answered) in [(MOST, true), (MOST + 1, false)] {
        let mut client = Client::of(&cluster).await;
        let request = FindCoordinatorRequest {
            coordinator_keys: vec!["k".to_owned(); count],
            ..Default::default()
        };
        client.write(&request, 6).await;
        assert_eq!(client.read_frame().await.is_some(), is_answered, "{count}");
    }
}

#[tokio::test]
async fn many_partitions_change_at_once_and_nobody_waits_for_it() {
    const PARTITIONS: i32 = 2000;
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", PARTITIONS, &[]).await;
    let mut attacker = Client::of(&cluster).await;
    let elect = ElectLeadersRequest {
        topic_partitions: Some(vec![TopicPartitions {
            topic: "t".to_owned(),
            partitions: (0..100 * PARTITIONS).map(|number| number % PARTITIONS).collect(),
        }]),
        ..Default::default()
    };
    attacker.write(&elect, 2).await;
    // Creating a topic needs the same lock.
    let began = Instant::now();
    client.create_topic("other", 1, &[]).await;
    let elected = attacker.read::<ElectLeadersRequest>(2).await;
    let results = &elected.replica_election_results[0].partition_result;
    // Each result is small, and as in Kafka there is one for each mention.
    assert_eq!(results.len(), 100 * PARTITIONS as usize);
    let not_needed = ErrorCode::ElectionNotNeeded.code();
    assert!(results.iter().all(|result| result.error_code == not_needed));
    let partitions = (0..50 * PARTITIONS).map(|number| ReassignablePartition {
        partition_index: number % PARTITIONS,
        replicas: Some(vec![1]),
    });
    let moves = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "t".to_owned(),
            partitions: partitions.collect(),
        }],
        ..Default::default()
    };
    let moved = attacker.send(&moves).await;
    assert!(
        moved.responses[0]
            .partitions
            .iter()
            .all(|told| told.error_code == 0)
    );
    let of_topic = ListPartitionReassignmentsTopics {
        name: "t".to_owned(),
        partition_indexes: vec![0],
    };
    let list = ListPartitionReassignmentsRequest {
        topics: Some(vec![of_topic; TIMES]),
        ..Default::default()
    };
    assert!(attacker.send(&list).await.topics.is_empty());
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}
