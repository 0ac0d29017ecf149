//! Configs that are changed while the cluster runs, and what is seen of it.

mod of_topics;

use std::time::{Duration, Instant};

use heliostat_broker::Cluster;
use heliostat_wire::ErrorCode;
use heliostat_wire::builder::BatchBuilder;
use heliostat_wire::message::{DescribeProducersRequest, describe_producers::TopicRequest};

use crate::client::{Client, PATIENCE, start, start_nodes};
use crate::configs::{BROKER, SET, alter};
use crate::records::{fill, produce};

const DELETE: i8 = 1;

/// Sets a config of all brokers, or of the one of this id.
async fn set_broker(cluster: &Cluster, node: &str, name: &str, value: Option<&str>) -> ErrorCode {
    let index = node.parse().unwrap_or(1) - 1;
    let mut client = Client::connect(cluster.addresses()[index]).await;
    let operation = if value.is_some() { SET } else { DELETE };
    ErrorCode::from_code(alter(&mut client, BROKER, node, &[(name, operation, value)]).await)
}

/// How long it takes to connect so often to a node, and to be answered.
async fn time_to_connect(cluster: &Cluster, node: usize, times: usize) -> Duration {
    let began = Instant::now();
    for _ in 0..times {
        let mut client = Client::connect(cluster.addresses()[node]).await;
        assert_eq!(client.metadata(&[]).await.topics.len(), 0);
    }
    began.elapsed()
}

#[tokio::test]
async fn a_node_accepts_connections_as_fast_as_it_is_told_to_while_it_runs() {
    const NAME: &str = "max.connection.creation.rate";
    const MANY: usize = 30;
    let cluster = start_nodes(2, &[("quota.window.num", "2")]).await;
    assert_eq!(set_broker(&cluster, "2", NAME, Some("1")).await, ErrorCode::None);
    // One in a burst, and then one in a second.
    let slow = time_to_connect(&cluster, 1, 4).await;
    assert!(slow >= Duration::from_millis(900), "{slow:?}");
    assert!(time_to_connect(&cluster, 0, MANY).await < Duration::from_secs(10));
    assert_eq!(
        set_broker(&cluster, "", NAME, Some("1000")).await,
        ErrorCode::None
    );
    assert!(
        time_to_connect(&cluster, 1, 2).await >= Duration::from_millis(500),
        "its own counts"
    );
    assert_eq!(set_broker(&cluster, "2", NAME, None).await, ErrorCode::None);
    assert!(time_to_connect(&cluster, 1, MANY).await < Duration::from_secs(10));
    cluster.shutdown(PATIENCE).await;
}

/// How many producers partition 0 of the topic remembers.
async fn producers(client: &mut Client, topic: &str) -> usize {
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.to_owned(),
            partition_indexes: vec![0],
        }],
    };
    let response = client.send(&request).await;
    response.topics[0].partitions[0].active_producers.len()
}

#[tokio::test]
async fn producers_are_forgotten_when_a_running_cluster_is_told_to() {
    const NAME: &str = "producer.id.expiration.ms";
    let data = tempfile::tempdir().unwrap();
    let start = || {
        let config = heliostat_broker::ClusterConfig {
            data: Some(data.path().to_owned()),
            properties: [("log.retention.check.interval.ms".to_owned(), "10".to_owned())].into(),
            ..Default::default()
        };
        async { Cluster::start(config).await.unwrap() }
    };
    let cluster = start().await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let batch = |id| fill(BatchBuilder::new().producer(id, 0, 0), &["a"]);
    assert_eq!(produce(&mut client, "t", 0, batch(1)).await.error_code, 0);
    assert_eq!(producers(&mut client, "t").await, 1);
    assert_eq!(
        set_broker(&cluster, "", NAME, Some("0")).await,
        ErrorCode::InvalidRequest
    );
    assert_eq!(set_broker(&cluster, "", NAME, Some("1")).await, ErrorCode::None);
    let began = Instant::now();
    while producers(&mut client, "t").await > 0 {
        assert!(began.elapsed() < PATIENCE, "the producer stays");
    }
    cluster.shutdown(PATIENCE).await;

    // It counts after a start as well, until it is taken back.
    let cluster = start().await;
    let mut client = Client::of(&cluster).await;
    assert_eq!(produce(&mut client, "t", 0, batch(2)).await.error_code, 0);
    let began = Instant::now();
    while producers(&mut client, "t").await > 0 {
        assert!(began.elapsed() < PATIENCE, "the producer stays");
    }
    assert_eq!(set_broker(&cluster, "", NAME, None).await, ErrorCode::None);
    assert_eq!(produce(&mut client, "t", 0, batch(3)).await.error_code, 0);
    assert_eq!(producers(&mut client, "t").await, 1);
    cluster.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn what_logs_know_of_producers_cannot_be_set_for_one_of_several_brokers() {
    let cluster = start_nodes(2, &[]).await;
    let name = "producer.id.expiration.ms";
    assert_eq!(
        set_broker(&cluster, "2", name, Some("5")).await,
        ErrorCode::InvalidRequest
    );
    assert_eq!(set_broker(&cluster, "", name, Some("5")).await, ErrorCode::None);
    cluster.shutdown(PATIENCE).await;
    let cluster = start(&[]).await;
    assert_eq!(set_broker(&cluster, "1", name, Some("5")).await, ErrorCode::None);
    cluster.shutdown(PATIENCE).await;
}
