//! Leaders and replicas that are chosen by hand, and what acks=all is worth meanwhile.

use std::collections::BTreeMap;

use heliostat_broker::ControlError;
use heliostat_wire::{
    ErrorCode,
    batch::Batches,
    message::{
        AlterPartitionReassignmentsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
        ProduceRequest,
        alter_partition_reassignments::{ReassignablePartition, ReassignableTopic},
        elect_leaders::TopicPartitions,
    },
};

use super::{at, create, seen, shape};
use crate::{
    client::{Client, start_nodes},
    records::{batch, fetch, id_of, produce, produce_request, values},
};

async fn elect(
    client: &mut Client,
    election_type: i8,
    topics: Option<&[(&str, &[i32])]>,
) -> Vec<(String, i32, ErrorCode)> {
    let topic = |(topic, partitions): &(&str, &[i32])| TopicPartitions {
        topic: topic.to_string(),
        partitions: partitions.to_vec(),
    };
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    };
    let response = client.send(&request).await;
    assert_eq!(response.error_code, 0);
    let mut told = Vec::new();
    for topic in response.replica_election_results {
        for result in topic.partition_result {
            told.push((
                topic.topic.clone(),
                result.partition_id,
                ErrorCode::from_code(result.error_code),
            ));
        }
    }
    told
}

#[tokio::test]
async fn preferred_leaders_are_elected() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2], &[1, 2], &[2, 1]]).await;
    let mut client = at(&cluster, 2).await;
    cluster.control().stop_node(1).await.unwrap();
    let t = |partition, error| ("t".to_owned(), partition, error);
    let asked: &[(&str, &[i32])] = &[("t", &[0, 2, 7]), ("other", &[0])];
    assert_eq!(
        elect(&mut client, 0, Some(asked)).await,
        [
            t(0, ErrorCode::PreferredLeaderNotAvailable),
            t(2, ErrorCode::ElectionNotNeeded),
            t(7, ErrorCode::UnknownTopicOrPartition),
            ("other".to_owned(), 0, ErrorCode::UnknownTopicOrPartition),
        ]
    );
    cluster.control().start_node(1).await.unwrap();
    assert_eq!(
        elect(&mut client, 0, Some(&[("t", &[0])])).await,
        [t(0, ErrorCode::None)]
    );
    assert_eq!(elect(&mut client, 0, None).await, [t(1, ErrorCode::None)]);
    assert_eq!(
        shape(&seen(&mut client, "t", 1).await),
        (1, 2, &[2, 1][..], &[][..])
    );
    let bad = ElectLeadersRequest {
        election_type: 9,
        ..Default::default()
    };
    assert_eq!(
        client.send(&bad).await.error_code,
        ErrorCode::InvalidRequest.code()
    );
}

#[tokio::test]
async fn replicas_that_fell_behind_lead_only_when_told() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2]]).await;
    let control = cluster.control();
    assert!(matches!(
        control.shrink_isr("t", 0, 1).await,
        Err(ControlError::NotPossible(_))
    ));
    assert!(matches!(
        control.shrink_isr("t", 1, 1).await,
        Err(ControlError::UnknownPartition { .. })
    ));
    control.shrink_isr("t", 0, 2).await.unwrap();
    assert_eq!(control.partition("t", 0).unwrap(), (Some(1), vec![1]));
    assert!(matches!(
        control.move_leader("t", 0, 2).await,
        Err(ControlError::NotPossible(_))
    ));
    let mut client = at(&cluster, 2).await;
    control.stop_node(1).await.unwrap();
    assert_eq!(
        shape(&seen(&mut client, "t", 0).await),
        (-1, 1, &[][..], &[1][..])
    );
    let t = |error| vec![("t".to_owned(), 0, error)];
    let asked: &[(&str, &[i32])] = &[("t", &[0])];
    assert_eq!(
        elect(&mut client, 0, Some(asked)).await,
        t(ErrorCode::PreferredLeaderNotAvailable)
    );
    assert_eq!(elect(&mut client, 1, Some(asked)).await, t(ErrorCode::None));
    assert_eq!(
        elect(&mut client, 1, Some(asked)).await,
        t(ErrorCode::ElectionNotNeeded)
    );
    assert_eq!(
        shape(&seen(&mut client, "t", 0).await),
        (2, 2, &[2][..], &[1][..])
    );
    control.start_node(1).await.unwrap();
    control.shrink_isr("t", 0, 1).await.unwrap();
    control.restore_isr("t", 0).await.unwrap();
    assert_eq!(
        shape(&seen(&mut client, "t", 0).await),
        (2, 2, &[2, 1][..], &[][..])
    );

    create(
        &cluster,
        "any",
        &[("unclean.leader.election.enable", "true")],
        &[&[1, 2]],
    )
    .await;
    control.shrink_isr("any", 0, 2).await.unwrap();
    control.stop_node(1).await.unwrap();
    assert_eq!(
        shape(&seen(&mut client, "any", 0).await),
        (2, 1, &[2][..], &[1][..])
    );
}

#[tokio::test]
async fn acks_all_takes_as_many_in_sync_replicas_as_the_topic_says() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[("min.insync.replicas", "2")], &[&[1, 2]]).await;
    // More than there are replicas is as many as there are.
    create(&cluster, "single", &[("min.insync.replicas", "2")], &[&[1]]).await;
    let mut client = at(&cluster, 1).await;
    assert_eq!(
        produce(&mut client, "single", 0, batch(&["a"])).await.error_code,
        0
    );
    assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.error_code, 0);
    cluster.control().stop_node(2).await.unwrap();
    let refused = produce(&mut client, "t", 0, batch(&["b"])).await;
    assert_eq!(refused.error_code, ErrorCode::NotEnoughReplicas.code());
    let one = ProduceRequest {
        acks: 1,
        ..produce_request(id_of(&mut client, "t").await, 0, batch(&["c"]))
    };
    let answer = client.send(&one).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    cluster.control().start_node(2).await.unwrap();
    assert_eq!(produce(&mut client, "t", 0, batch(&["d"])).await.base_offset, 2);
}

#[tokio::test]
async fn partitions_move_to_other_nodes_at_once_unless_they_are_down() {
    let cluster = start_nodes(3, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2]]).await;
    let mut client = at(&cluster, 1).await;
    let move_to = |replicas: Option<&[i32]>, allow_replication_factor_change: bool| {
        AlterPartitionReassignmentsRequest {
            allow_replication_factor_change,
            topics: vec![ReassignableTopic {
                name: "t".to_owned(),
                partitions: vec![ReassignablePartition {
                    partition_index: 0,
                    replicas: replicas.map(<[i32]>::to_vec),
                }],
            }],
            ..Default::default()
        }
    };
    for (replicas, may_change, expected) in [
        (None, true, ErrorCode::NoReassignmentInProgress),
        (Some(&[][..]), true, ErrorCode::InvalidReplicaAssignment),
        (Some(&[1, 4][..]), true, ErrorCode::InvalidReplicaAssignment),
        (Some(&[1, 1][..]), true, ErrorCode::InvalidReplicaAssignment),
        (Some(&[3][..]), false, ErrorCode::InvalidReplicationFactor),
        (Some(&[3, 2][..]), false, ErrorCode::None),
    ] {
        let response = client.send(&move_to(replicas, may_change)).await;
        let error = ErrorCode::from_code(response.responses[0].partitions[0].error_code);
        assert_eq!(error, expected, "{replicas:?}");
    }
    let partition = seen(&mut client, "t", 0).await;
    assert_eq!(shape(&partition), (3, 1, &[2, 3][..], &[][..]));
    assert_eq!(partition.replica_nodes, [3, 2]);
    let list = ListPartitionReassignmentsRequest::default();
    assert_eq!(client.send(&list).await.topics, []);

    cluster.control().stop_node(2).await.unwrap();
    create(&cluster, "u", &[], &[&[3]]).await;
    client.send(&move_to(Some(&[3]), true)).await;
    let mut request = move_to(Some(&[2]), true);
    request.topics[0].name = "u".to_owned();
    client.send(&request).await;
    let waiting = client.send(&list).await.topics;
    assert_eq!((waiting.len(), &waiting[0].name[..]), (1, "u"));
    let waiting = &waiting[0].partitions[0];
    assert_eq!(
        (&waiting.adding_replicas[..], &waiting.removing_replicas[..]),
        (&[2][..], &[3][..])
    );
    cluster.control().start_node(2).await.unwrap();
    assert_eq!(client.send(&list).await.topics, []);
    let partition = seen(&mut client, "u", 0).await;
    assert_eq!((partition.leader_id, &partition.replica_nodes[..]), (2, &[2][..]));
}

/// Producers go on writing to whom they believe to be the leader while leaders change.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_while_leaders_change_is_there_once_and_in_the_order_of_epochs() {
    let cluster = start_nodes(3, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2, 3]]).await;
    let writers: Vec<_> = (1..=3)
        .map(|node| {
            let address = cluster.addresses()[node - 1];
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let id = id_of(&mut client, "t").await;
                let (mut acknowledged, mut offsets) = (Vec::new(), BTreeMap::new());
                for number in 0..200 {
                    let value = format!("{node}-{number}");
                    let response = client.send(&produce_request(id, 0, batch(&[&value]))).await;
                    let response = &response.responses[0].partition_responses[0];
                    if response.error_code == 0 {
                        offsets.insert(response.base_offset, value.clone());
                        acknowledged.push(value);
                    } else {
                        assert_eq!(response.error_code, ErrorCode::NotLeaderOrFollower.code());
                    }
                }
                offsets
            })
        })
        .collect();
    let mut leader = 1;
    while writers.iter().any(|writer| !writer.is_finished()) {
        leader = leader % 3 + 1;
        cluster.control().move_leader("t", 0, leader).await.unwrap();
    }
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let mut client = at(&cluster, leader).await;
    let read = fetch(&mut client, "t", 0).await;
    let there = values(&read.records);
    assert_eq!(there, acknowledged.into_values().collect::<Vec<_>>());
    let epochs: Vec<_> = Batches::new(&read.records.clone().into_bytes().unwrap())
        .map(|batch| batch.unwrap().header().partition_leader_epoch)
        .collect();
    assert!(epochs.is_sorted(), "{epochs:?}");
}
