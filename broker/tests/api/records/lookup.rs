//! Looked up, fenced, deleted.

use super::*;

#[tokio::test]
async fn only_the_leader_serves_a_partition() {
    let cluster = start_nodes(2, &[]).await;
    let mut nodes = [
        Client::connect(cluster.addresses()[0]).await,
        Client::connect(cluster.addresses()[1]).await,
    ];
    nodes[0].create_topic("t", 2, &[]).await;
    let metadata = nodes[0].metadata(&["t"]).await;
    let topic = &metadata.topics[0];
    for partition in &topic.partitions {
        for (index, node) in nodes.iter_mut().enumerate() {
            let leads = partition.leader_id == index as i32 + 1;
            let expected = if leads {
                0
            } else {
                ErrorCode::NotLeaderOrFollower.code()
            };
            let request = produce_request(topic.topic_id, partition.partition_index, batch(&["a"]));
            let produced = node.send(&request).await;
            let answer = &produced.responses[0].partition_responses[0];
            assert_eq!(answer.error_code, expected);
            let fetched = node
                .send(&fetch_request(
                    topic.topic_id,
                    vec![from_offset(partition.partition_index, 0)],
                ))
                .await;
            assert_eq!(fetched.responses[0].partitions[0].error_code, expected);
            if !leads {
                assert_eq!(answer.current_leader.leader_id, partition.leader_id);
                let leader = &cluster.addresses()[partition.leader_id as usize - 1];
                assert_eq!(produced.node_endpoints[0].port as u16, leader.port());
                assert_eq!(fetched.node_endpoints[0].node_id, partition.leader_id);
            }
        }
    }
}

#[tokio::test]
async fn leader_epochs_fence_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    produce(&mut client, "t", 0, batch(&["a", "b"])).await;
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    produce(&mut client, "t", 0, batch(&["c"])).await;
    let topic_id = id_of(&mut client, "t").await;
    for (current_leader_epoch, error) in [
        (0, ErrorCode::FencedLeaderEpoch),
        (1, ErrorCode::None),
        (2, ErrorCode::UnknownLeaderEpoch),
    ] {
        let partition = FetchPartition {
            current_leader_epoch,
            ..from_offset(0, 0)
        };
        let data = only(client.send(&fetch_request(topic_id, vec![partition])).await);
        assert_eq!(data.error_code, error.code());
    }
    let mut end_of = async |leader_epoch| {
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: "t".to_owned(),
                partitions: vec![OffsetForLeaderPartition {
                    leader_epoch,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let end = client.send(&request).await.topics.remove(0).partitions.remove(0);
        (end.leader_epoch, end.end_offset)
    };
    assert_eq!(end_of(0).await, (0, 2));
    assert_eq!(end_of(1).await, (1, 3));
    assert_eq!(end_of(2).await, (-1, -1));
}

#[tokio::test]
async fn offsets_are_found_by_time_and_at_the_ends() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    assert_eq!(list(&mut client, "t", 10, -1).await.offset, 0);
    assert_eq!(list(&mut client, "t", 10, NOW).await.offset, -1);
    produce(&mut client, "t", 0, batch(&["a", "b", "c"])).await;
    for (timestamp, offset, found) in [
        (-1, 3, -1),
        (-2, 0, -1),
        (-3, 2, NOW + 2),
        (-4, 0, -1),
        (-5, -1, -1),
        (0, 0, NOW),
        (NOW + 1, 1, NOW + 1),
        (NOW + 3, -1, -1),
    ] {
        let answer = list(&mut client, "t", 10, timestamp).await;
        assert_eq!(
            (answer.error_code, answer.offset, answer.timestamp),
            (0, offset, found),
            "{timestamp}"
        );
    }
    for version in 1..=10 {
        assert_eq!(list(&mut client, "t", version, -1).await.offset, 3);
    }
    for (version, timestamp) in [(6, -3), (7, -4), (8, -5), (10, -9)] {
        let code = list(&mut client, "t", version, timestamp).await.error_code;
        assert_eq!(
            code,
            ErrorCode::UnsupportedVersion.code(),
            "{version} {timestamp}"
        );
    }
    let code = list(&mut client, "u", 10, -1).await.error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn deleted_records_stay_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let config = ClusterConfig {
        data: Some(directory.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config.clone()).await.unwrap();
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    produce(&mut client, "t", 0, batch(&["a", "b", "c"])).await;
    let mut delete = async |offset| {
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: "t".to_owned(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset,
                }],
            }],
            ..Default::default()
        };
        let result = client.send(&request).await.topics.remove(0).partitions.remove(0);
        (result.error_code, result.low_watermark)
    };
    assert_eq!(delete(2).await, (0, 2));
    assert_eq!(delete(1).await, (0, 2));
    assert_eq!(delete(4).await, (ErrorCode::OffsetOutOfRange.code(), -1));
    assert_eq!(
        fetch(&mut client, "t", 1).await.error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    assert_eq!(list(&mut client, "t", 10, -2).await.offset, 2);
    cluster.shutdown(PATIENCE).await;
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    assert_eq!(list(&mut client, "t", 10, -2).await.offset, 2);
    assert_eq!(fetch(&mut client, "t", 2).await.log_start_offset, 2);
}

#[tokio::test]
async fn configuration_takes_effect_at_once() {
    use heliostat_wire::message::{
        IncrementalAlterConfigsRequest,
        incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
    };
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let large = batch(&[&"x".repeat(2000)]);
    assert_eq!(produce(&mut client, "t", 0, large.clone()).await.error_code, 0);
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".to_owned(),
            configs: vec![AlterableConfig {
                name: "max.message.bytes".to_owned(),
                config_operation: 0,
                value: Some("1000".to_owned()),
            }],
        }],
        validate_only: false,
    };
    assert_eq!(client.send(&request).await.responses[0].error_code, 0);
    let refused = produce(&mut client, "t", 0, large).await;
    assert_eq!(refused.error_code, ErrorCode::MessageTooLarge.code());
}
