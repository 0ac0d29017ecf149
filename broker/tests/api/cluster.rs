//! Starting and stopping clusters.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use heliostat_broker::{Cluster, ClusterConfig, StartError};
use heliostat_wire::message::{
    DescribeGroupsRequest, JoinGroupRequest, join_group::JoinGroupRequestProtocol,
};

use crate::client::{Client, PATIENCE, start, start_nodes};

fn with_property(name: &str, value: &str) -> ClusterConfig {
    ClusterConfig {
        properties: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..Default::default()
    }
}

#[tokio::test]
async fn properties_that_do_nothing_are_refused_by_name() {
    let error = Cluster::start(with_property("num.partitons", "1"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the built-in cluster has no broker config num.partitons"
    );
    let error = Cluster::start(with_property("num.partitions", "none"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "num.partitions=none is not possible: expected a number from 1 to 2147483647"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let cluster = start(&[]).await;
    let port = cluster.addresses()[0].port();
    let error = Cluster::start(ClusterConfig {
        port,
        ..Default::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    let error = Cluster::start(ClusterConfig {
        port: 65535,
        brokers: 2,
        ..Default::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, StartError::PortsExceeded { .. }));
}

#[tokio::test]
async fn data_and_identity_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().join("data")),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("kept", 3, &[]).await;
    let before = client.metadata(&["kept"]).await;
    let locked = Cluster::start(config.clone()).await.unwrap_err();
    assert!(locked.to_string().contains("data"), "{locked}");
    cluster.shutdown(PATIENCE).await;

    let cluster = Cluster::start(config).await.unwrap();
    let after = Client::of(&cluster).await.metadata(&["kept"]).await;
    assert_eq!(after.cluster_id, before.cluster_id);
    assert_eq!(after.topics[0].topic_id, before.topics[0].topic_id);
    assert_eq!(after.topics[0].partitions.len(), 3);
    assert_eq!(before.topics[0].partitions[0].leader_epoch, 0);
    assert_eq!(after.topics[0].partitions[0].leader_epoch, 1);
}

#[tokio::test]
async fn an_empty_cluster_starts_in_no_time() {
    // The first start also pays for what the process does only once.
    start(&[]).await.shutdown(PATIENCE).await;
    let began = Instant::now();
    let cluster = start(&[]).await;
    let took = began.elapsed();
    assert_eq!(Client::of(&cluster).await.metadata(&[]).await.brokers.len(), 1);
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test]
async fn clusters_in_one_process_know_nothing_of_each_other() {
    let (one, other) = (start(&[]).await, start_nodes(3, &[]).await);
    Client::of(&one).await.create_topic("mine", 1, &[]).await;
    let error = Client::of(&other).await.metadata(&["mine"]).await.topics[0].error_code;
    assert_eq!(error, heliostat_wire::ErrorCode::UnknownTopicOrPartition.code());
    assert_ne!(one.cluster_id(), other.cluster_id());
    assert_eq!(other.bootstrap_servers().split(',').count(), 3);
}

#[tokio::test]
async fn shutdown_answers_members_that_wait() {
    let join = |member_id: &str| JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 60_000,
        member_id: member_id.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let cluster = start(&[]).await;
    let (mut first, mut second) = (Client::of(&cluster).await, Client::of(&cluster).await);
    assert_eq!(first.send_version(&join(""), 3).await.error_code, 0);
    // The second waits for the first to join again, which it never does.
    second.write(&join(""), 3).await;
    let ready = async {
        let describe = DescribeGroupsRequest {
            groups: vec!["g".to_owned()],
            ..Default::default()
        };
        while first.send(&describe).await.groups[0].group_state != "PreparingRebalance" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.unwrap();
    let began = Instant::now();
    cluster.shutdown(PATIENCE).await;
    assert!(began.elapsed() < PATIENCE / 2);
    assert_ne!(second.read::<JoinGroupRequest>(3).await.error_code, 0);
}

#[tokio::test]
async fn shutdown_ends_connections() {
    let cluster = start_nodes(2, &[]).await;
    let mut idle = Client::connect(cluster.addresses()[1]).await;
    idle.metadata(&[]).await;
    let began = Instant::now();
    cluster.shutdown(PATIENCE).await;
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(idle.read_frame().await, None);
}
