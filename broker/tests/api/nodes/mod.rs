//! Nodes that are stopped, started and isolated while the cluster runs.

use std::time::Duration;

use heliostat_broker::{Cluster, ClusterConfig, ControlError, Isolation, NodeState};
use heliostat_wire::{
    ErrorCode,
    message::{
        CreateTopicsRequest, DescribeClusterRequest, DescribeTopicPartitionsRequest, FetchRequest,
        FindCoordinatorRequest, HeartbeatRequest, MetadataRequest,
        create_topics::CreatableTopic,
        describe_topic_partitions::{DescribeTopicPartitionsResponsePartition, TopicRequest},
        fetch::LeaderIdAndEpoch as FetchedLeader,
        metadata::MetadataResponsePartition,
        produce::LeaderIdAndEpoch as ProducedLeader,
    },
};
use tokio::{net::TcpStream, time::timeout};

mod elections;

use crate::{
    client::{Client, PATIENCE, start_nodes, topic},
    records::{batch, fetch_request, from_offset, id_of, only, produce, produce_request},
};

/// A client of this node.
pub async fn at(cluster: &Cluster, node: i32) -> Client {
    Client::connect(cluster.addresses()[node as usize - 1]).await
}

/// Creates a topic whose partitions have these replicas.
pub async fn create(cluster: &Cluster, name: &str, configs: &[(&str, &str)], replicas: &[&[i32]]) {
    use heliostat_wire::message::create_topics::CreatableReplicaAssignment;
    let assignments = (0..)
        .zip(replicas)
        .map(|(partition_index, nodes)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: nodes.to_vec(),
        });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            num_partitions: -1,
            assignments: assignments.collect(),
            ..topic(name, -1, configs)
        }],
        ..Default::default()
    };
    let live = cluster
        .control()
        .nodes()
        .await
        .into_iter()
        .find(|node| node.live)
        .unwrap();
    let response = at(cluster, live.id).await.send(&request).await;
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0]);
}

/// A partition as this node's metadata shows it.
pub async fn seen(client: &mut Client, topic: &str, partition: usize) -> MetadataResponsePartition {
    client.metadata(&[topic]).await.topics[0].partitions[partition].clone()
}

/// Leader, epoch, in-sync and offline replicas.
pub fn shape(partition: &MetadataResponsePartition) -> (i32, i32, &[i32], &[i32]) {
    (
        partition.leader_id,
        partition.leader_epoch,
        &partition.isr_nodes,
        &partition.offline_replicas,
    )
}

async fn described(client: &mut Client, topic: &str) -> DescribeTopicPartitionsResponsePartition {
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest {
            name: topic.to_owned(),
        }],
        ..Default::default()
    };
    client.send(&request).await.topics[0].partitions[0].clone()
}

#[tokio::test]
async fn leaders_of_a_stopped_node_move_and_come_back_only_by_election() {
    let cluster = start_nodes(3, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]]).await;
    let mut bystander = at(&cluster, 2).await;
    let mut cut = at(&cluster, 1).await;
    assert_eq!(produce(&mut cut, "t", 0, batch(&["a"])).await.error_code, 0);
    cluster.control().stop_node(1).await.unwrap();

    assert_eq!(cut.read_frame().await, None);
    assert!(TcpStream::connect(cluster.addresses()[0]).await.is_err());
    let metadata = bystander.metadata(&["t"]).await;
    let nodes: Vec<_> = metadata.brokers.iter().map(|broker| broker.node_id).collect();
    assert_eq!((nodes, metadata.controller_id), (vec![2, 3], 2));
    let partitions = &metadata.topics[0].partitions;
    assert_eq!(shape(&partitions[0]), (2, 1, &[2, 3][..], &[1][..]));
    assert_eq!(shape(&partitions[1]), (2, 0, &[2, 3][..], &[1][..]));
    assert_eq!(shape(&partitions[2]), (3, 0, &[3, 2][..], &[1][..]));
    assert_eq!(partitions[0].error_code, 0);
    let mut other = at(&cluster, 3).await;
    let refused = produce(&mut other, "t", 0, batch(&["b"])).await;
    assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!(
        (
            refused.current_leader.leader_id,
            refused.current_leader.leader_epoch
        ),
        (2, 1)
    );
    assert_eq!(
        produce(&mut bystander, "t", 0, batch(&["b"])).await.base_offset,
        1
    );

    cluster.control().start_node(1).await.unwrap();
    let partition = seen(&mut at(&cluster, 1).await, "t", 0).await;
    assert_eq!(shape(&partition), (2, 1, &[2, 3, 1][..], &[][..]));
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_partition_without_another_replica_goes_offline() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1]]).await;
    assert_eq!(
        produce(&mut at(&cluster, 1).await, "t", 0, batch(&["a"]))
            .await
            .error_code,
        0
    );
    cluster.control().stop_node(1).await.unwrap();
    let mut client = at(&cluster, 2).await;
    let partition = seen(&mut client, "t", 0).await;
    assert_eq!(partition.error_code, ErrorCode::LeaderNotAvailable.code());
    assert_eq!(shape(&partition), (-1, 1, &[][..], &[1][..]));
    assert_eq!(partition.replica_nodes, [1]);
    let detail = described(&mut client, "t").await;
    assert_eq!((detail.leader_id, detail.error_code), (-1, 0));
    assert_eq!(detail.eligible_leader_replicas, Some(vec![1]));
    assert_eq!(detail.last_known_elr, Some(vec![1]));
    let version_0 = client
        .send_version(
            &MetadataRequest {
                topics: Some(vec![]),
                ..Default::default()
            },
            0,
        )
        .await;
    assert!(version_0.topics[0].partitions[0].replica_nodes.is_empty());
    // Clients do not survive an answer that names nobody as the leader beside another partition's leader.
    let refused = produce(&mut client, "t", 0, batch(&["b"])).await;
    assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!(refused.current_leader, ProducedLeader::default());
    let id = id_of(&mut client, "t").await;
    let fetched = client.send(&fetch_request(id, vec![from_offset(0, 0)])).await;
    let refused = &fetched.responses[0].partitions[0];
    assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!(refused.current_leader, FetchedLeader::default());

    cluster.control().start_node(1).await.unwrap();
    let partition = seen(&mut client, "t", 0).await;
    assert_eq!(
        (partition.error_code, shape(&partition)),
        (0, (1, 2, &[1][..], &[][..]))
    );
    assert_eq!(
        produce(&mut at(&cluster, 1).await, "t", 0, batch(&["b"]))
            .await
            .base_offset,
        1
    );
}

#[tokio::test]
async fn the_last_node_can_be_stopped_and_started_too() {
    let cluster = start_nodes(1, &[]).await;
    Client::of(&cluster).await.create_topic("t", 2, &[]).await;
    let control = cluster.control();
    control.stop_node(1).await.unwrap();
    assert!(matches!(
        control.stop_node(1).await,
        Err(ControlError::NotPossible(_))
    ));
    assert!(TcpStream::connect(cluster.addresses()[0]).await.is_err());
    control.start_node(1).await.unwrap();
    assert!(matches!(
        control.start_node(1).await,
        Err(ControlError::NotPossible(_))
    ));
    assert!(matches!(
        control.stop_node(2).await,
        Err(ControlError::UnknownNode { id: 2, .. })
    ));
    let mut client = Client::of(&cluster).await;
    assert_eq!(shape(&seen(&mut client, "t", 1).await), (1, 2, &[1][..], &[][..]));
}

#[tokio::test]
async fn coordinators_of_a_stopped_node_are_taken_over() {
    let cluster = start_nodes(3, &[]).await;
    let find = |key: String| FindCoordinatorRequest {
        coordinator_keys: vec![key],
        ..Default::default()
    };
    let mut client = at(&cluster, 3).await;
    let mut group = String::new();
    for number in 0..100 {
        group = format!("g{number}");
        if client.send(&find(group.clone())).await.coordinators[0].node_id == 1 {
            break;
        }
    }
    let beat = HeartbeatRequest {
        group_id: group.clone(),
        member_id: "nobody".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        client.send(&beat).await.error_code,
        ErrorCode::NotCoordinator.code()
    );
    cluster.control().stop_node(1).await.unwrap();
    let found = client.send(&find(group.clone())).await.coordinators.remove(0);
    assert!(found.node_id > 1, "{found:?}");
    let answer = at(&cluster, found.node_id).await.send(&beat).await;
    assert_eq!(answer.error_code, ErrorCode::UnknownMemberId.code());
    // As leaders do, coordinators stay where they are when the node is back.
    cluster.control().start_node(1).await.unwrap();
    assert_eq!(
        client.send(&find(group)).await.coordinators[0].node_id,
        found.node_id
    );
}

#[tokio::test]
async fn a_stopped_node_is_shown_as_fenced_to_those_who_ask() {
    let cluster = start_nodes(2, &[]).await;
    cluster.control().stop_node(1).await.unwrap();
    let mut client = at(&cluster, 2).await;
    for (include_fenced_brokers, expected) in [(false, vec![(2, false)]), (true, vec![(1, true), (2, false)])]
    {
        let request = DescribeClusterRequest {
            include_fenced_brokers,
            ..Default::default()
        };
        let brokers = client.send(&request).await.brokers;
        let seen: Vec<_> = brokers
            .iter()
            .map(|broker| (broker.broker_id, broker.is_fenced))
            .collect();
        assert_eq!(seen, expected);
    }
    // New topics are put on the nodes that are up, as long as there are enough.
    client.create_topic("t", 4, &[]).await;
    for partition in &client.metadata(&["t"]).await.topics[0].partitions {
        assert_eq!((partition.leader_id, &partition.replica_nodes[..]), (2, &[2][..]));
    }
}

#[tokio::test]
async fn a_silent_node_answers_when_it_is_back() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2]]).await;
    let mut client = at(&cluster, 1).await;
    client.metadata(&[]).await;
    let control = cluster.control();
    control.isolate_node(1, Isolation::Silent, None).await.unwrap();
    let request = MetadataRequest::default();
    client.write(&request, 12).await;
    // A node that does not know that it is isolated still takes connections.
    let mut late = at(&cluster, 1).await;
    late.write(&request, 12).await;
    assert!(
        timeout(Duration::from_millis(50), late.read_frame())
            .await
            .is_err()
    );
    assert!(
        timeout(Duration::from_millis(50), client.read_frame())
            .await
            .is_err()
    );
    // Nobody has noticed.
    let partition = seen(&mut at(&cluster, 2).await, "t", 0).await;
    assert_eq!(shape(&partition), (1, 0, &[1, 2][..], &[][..]));
    control.start_node(1).await.unwrap();
    client.read::<MetadataRequest>(12).await;
    late.read::<MetadataRequest>(12).await;
}

#[tokio::test]
async fn an_isolated_node_loses_its_leaders_when_the_others_notice() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2]]).await;
    let id = id_of(&mut at(&cluster, 1).await, "t").await;
    let control = cluster.control();
    let (mut believer, mut client) = (at(&cluster, 1).await, at(&cluster, 2).await);
    let notice = Some(Duration::from_millis(20));
    control.isolate_node(1, Isolation::Silent, notice).await.unwrap();
    believer
        .write(&produce_request(id, 0, batch(&["late"])), 13)
        .await;
    let moved = async {
        while seen(&mut client, "t", 0).await.leader_id != 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, moved).await.unwrap();
    let state = control.nodes().await[0].clone();
    assert!(
        matches!(state.state, NodeState::Isolated { .. }) && !state.live,
        "{state:?}"
    );
    assert_eq!(produce(&mut client, "t", 0, batch(&["a"])).await.base_offset, 0);
    control.start_node(1).await.unwrap();
    // What it was sent meanwhile is refused: it leads no more.
    let answer = believer.read::<heliostat_wire::message::ProduceRequest>(13).await;
    let answer = &answer.responses[0].partition_responses[0];
    assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower.code());

    control.isolate_node(2, Isolation::Refuses, None).await.unwrap();
    assert_eq!(client.read_frame().await, None);
    assert!(TcpStream::connect(cluster.addresses()[1]).await.is_err());
    assert!(matches!(
        control.isolate_node(2, Isolation::Silent, None).await,
        Err(ControlError::NotPossible(_))
    ));
    control.start_node(2).await.unwrap();
    at(&cluster, 2).await.metadata(&[]).await;
}

#[tokio::test]
async fn a_fetch_that_waits_is_told_of_the_new_leader() {
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1, 2]]).await;
    let mut client = at(&cluster, 1).await;
    let id = id_of(&mut client, "t").await;
    let request = FetchRequest {
        max_wait_ms: 60_000,
        ..fetch_request(id, vec![from_offset(0, 0)])
    };
    client.write(&request, 18).await;
    cluster.control().move_leader("t", 0, 2).await.unwrap();
    let response = client.read::<FetchRequest>(18).await;
    let endpoint = &response.node_endpoints[0];
    assert_eq!(
        (endpoint.node_id, endpoint.port as u16),
        (2, cluster.addresses()[1].port())
    );
    let partition = only(response);
    assert_eq!(partition.error_code, ErrorCode::NotLeaderOrFollower.code());
    assert_eq!(
        (
            partition.current_leader.leader_id,
            partition.current_leader.leader_epoch
        ),
        (2, 1)
    );
}

#[tokio::test]
async fn epochs_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        brokers: 2,
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    create(&cluster, "t", &[], &[&[1, 2]]).await;
    for leader in [2, 1, 2] {
        cluster.control().move_leader("t", 0, leader).await.unwrap();
        assert_eq!(
            produce(&mut at(&cluster, leader).await, "t", 0, batch(&["x"]))
                .await
                .error_code,
            0
        );
    }
    let before = seen(&mut at(&cluster, 1).await, "t", 0).await;
    assert_eq!((before.leader_id, before.leader_epoch), (2, 3));
    cluster.control().stop_node(2).await.unwrap();
    cluster.shutdown(PATIENCE).await;

    let text = std::fs::read_to_string(directory.path().join("t-0/leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n4\n1 0\n2 1\n3 2\n4 3\n");
    let cluster = Cluster::start(config).await.unwrap();
    let after = seen(&mut at(&cluster, 1).await, "t", 0).await;
    assert_eq!(shape(&after), (1, 5, &[1, 2][..], &[][..]));
}

/// The state forgets a topic before its logs are removed; what is cut in between must not leave them in the way.
#[tokio::test]
async fn a_topic_that_is_deleted_while_its_node_is_cut_off_can_be_made_anew() {
    use heliostat_broker::{Fault, FaultKind};
    use heliostat_wire::message::{DeleteTopicsRequest, delete_topics::DeleteTopicState};
    let cluster = start_nodes(2, &[]).await;
    create(&cluster, "t", &[], &[&[1]]).await;
    let (control, mut other) = (cluster.control(), at(&cluster, 2).await);
    let slow = control.add_fault(Fault {
        delay_ms: Some(300),
        ..Fault::new(FaultKind::SlowDisk)
    });
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("t".to_owned()),
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    at(&cluster, 1).await.write(&request, 6).await;
    let begun = async {
        while control.faults()[0].seen == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, begun).await.expect("the deletion begins");
    control.isolate_node(1, Isolation::Refuses, None).await.unwrap();
    let forgotten = async {
        while other.metadata(&["t"]).await.topics[0].error_code == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, forgotten)
        .await
        .expect("the topic is forgotten");
    control.remove_fault(slow.unwrap()).unwrap();
    other.create_topic("t", 1, &[]).await;
}
