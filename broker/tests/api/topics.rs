//! Topics: created, described, grown, deleted.

use heliostat_wire::{
    ErrorCode, Uuid,
    message::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
        DescribeTopicPartitionsRequest, MetadataRequest,
        create_partitions::CreatePartitionsTopic,
        create_topics::{CreatableReplicaAssignment, CreatableTopic},
        delete_topics::DeleteTopicState,
        describe_topic_partitions::TopicRequest,
        metadata::MetadataRequestTopic,
    },
};

use crate::client::{Client, start, start_nodes, topic};

async fn create(client: &mut Client, topic: CreatableTopic, validate_only: bool) -> i16 {
    let request = CreateTopicsRequest {
        topics: vec![topic],
        validate_only,
        ..Default::default()
    };
    client.send(&request).await.topics[0].error_code
}

#[tokio::test]
async fn a_topic_is_what_was_asked_for() {
    let cluster = start_nodes(3, &[("num.partitions", "2"), ("default.replication.factor", "2")]).await;
    let mut client = Client::of(&cluster).await;
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 6, &[("retention.ms", "1000")]), topic("u", -1, &[])],
        ..Default::default()
    };
    let created = client.send(&request).await.topics;
    assert_eq!(
        (
            created[0].error_code,
            created[0].num_partitions,
            created[0].replication_factor
        ),
        (0, 6, 2)
    );
    assert_eq!(
        (
            created[1].error_code,
            created[1].num_partitions,
            created[1].replication_factor
        ),
        (0, 2, 2)
    );
    let retention = created[0]
        .configs
        .iter()
        .flatten()
        .find(|config| config.name == "retention.ms")
        .unwrap();
    assert_eq!(
        (retention.value.as_deref(), retention.config_source),
        (Some("1000"), 1)
    );

    let metadata = client.metadata(&["t"]).await;
    let topic = &metadata.topics[0];
    assert_eq!(topic.topic_id, created[0].topic_id);
    assert!(!topic.topic_id.is_zero());
    let leaders: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| partition.leader_id)
        .collect();
    for node in 1..=3 {
        assert_eq!(
            leaders.iter().filter(|leader| **leader == node).count(),
            2,
            "{leaders:?}"
        );
    }
    for partition in &topic.partitions {
        assert_eq!(partition.replica_nodes.len(), 2);
        assert_eq!(partition.isr_nodes, partition.replica_nodes);
        assert_eq!(partition.replica_nodes[0], partition.leader_id);
    }
    let nodes: Vec<_> = metadata
        .brokers
        .iter()
        .map(|broker| (broker.node_id, broker.port as u16))
        .collect();
    let expected: Vec<_> = (1..)
        .zip(cluster.addresses().iter().map(|address| address.port()))
        .collect();
    assert_eq!(nodes, expected);
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_with_its_reason() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("there", 1, &[]).await;
    client.create_topic("a.b", 1, &[]).await;
    let assigned = |partition_index, broker_ids| CreatableTopic {
        assignments: vec![CreatableReplicaAssignment {
            partition_index,
            broker_ids,
        }],
        ..topic("t", -1, &[])
    };
    let cases = [
        (topic("there", 1, &[]), ErrorCode::TopicAlreadyExists),
        (topic("a/b", 1, &[]), ErrorCode::InvalidTopicException),
        (topic("", 1, &[]), ErrorCode::InvalidTopicException),
        (topic("a_b", 1, &[]), ErrorCode::InvalidTopicException),
        (topic("t", 0, &[]), ErrorCode::InvalidPartitions),
        (topic("t", -2, &[]), ErrorCode::InvalidPartitions),
        (topic("t", 10_001, &[]), ErrorCode::PolicyViolation),
        (
            CreatableTopic {
                replication_factor: 2,
                ..topic("t", 1, &[])
            },
            ErrorCode::InvalidReplicationFactor,
        ),
        (
            CreatableTopic {
                replication_factor: 0,
                ..topic("t", 1, &[])
            },
            ErrorCode::InvalidReplicationFactor,
        ),
        (topic("t", 1, &[("retention", "1")]), ErrorCode::InvalidConfig),
        (
            topic("t", 1, &[("retention.ms", "soon")]),
            ErrorCode::InvalidConfig,
        ),
        (assigned(1, vec![1]), ErrorCode::InvalidReplicaAssignment),
        (assigned(0, vec![9]), ErrorCode::InvalidReplicaAssignment),
        (assigned(0, vec![1, 1]), ErrorCode::InvalidReplicaAssignment),
        (assigned(0, vec![]), ErrorCode::InvalidReplicaAssignment),
        (
            CreatableTopic {
                num_partitions: 1,
                ..assigned(0, vec![1])
            },
            ErrorCode::InvalidRequest,
        ),
    ];
    for (topic, error) in cases {
        assert_eq!(
            create(&mut client, topic.clone(), false).await,
            error.code(),
            "{topic:?}"
        );
    }
    let twice = CreateTopicsRequest {
        topics: vec![topic("t", 1, &[]), topic("t", 1, &[])],
        ..Default::default()
    };
    for result in client.send(&twice).await.topics {
        assert_eq!(result.error_code, ErrorCode::InvalidRequest.code());
    }
    assert_eq!(create(&mut client, topic("t", 1, &[]), true).await, 0);
    let unknown = client.metadata(&["t"]).await.topics[0].error_code;
    assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn metadata_creates_topics_if_client_and_broker_want_it() {
    let name = |name: &str| MetadataRequestTopic {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    let request = |allow| MetadataRequest {
        topics: Some(vec![name("auto"), name("not/this")]),
        allow_auto_topic_creation: allow,
        ..Default::default()
    };
    for (enabled, allowed, created) in [
        ("true", true, true),
        ("true", false, false),
        ("false", true, false),
    ] {
        let cluster = start(&[("auto.create.topics.enable", enabled), ("num.partitions", "4")]).await;
        let topics = Client::of(&cluster).await.send(&request(allowed)).await.topics;
        assert_eq!(topics[1].error_code, ErrorCode::InvalidTopicException.code());
        if created {
            assert_eq!((topics[0].error_code, topics[0].partitions.len()), (0, 4));
        } else {
            assert_eq!(topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
        }
    }
}

#[tokio::test]
async fn metadata_of_all_of_none_and_by_id() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("a", 1, &[]).await;
    client.create_topic("b", 2, &[]).await;
    let ask = |topics| MetadataRequest {
        topics,
        ..Default::default()
    };
    let all = client.send(&ask(None)).await.topics;
    assert_eq!(
        all.iter()
            .map(|topic| topic.name.as_deref().unwrap())
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(client.send(&ask(Some(vec![]))).await.topics, []);
    assert_eq!(client.send_version(&ask(Some(vec![])), 0).await.topics.len(), 2);
    let by_id = |topic_id| MetadataRequestTopic { topic_id, name: None };
    let known = client.send(&ask(Some(vec![by_id(all[1].topic_id)]))).await.topics;
    assert_eq!(known[0].name.as_deref(), Some("b"));
    let unknown = client
        .send(&ask(Some(vec![by_id(Uuid::from_bytes([7; 16]))])))
        .await
        .topics;
    assert_eq!(unknown[0].error_code, ErrorCode::UnknownTopicId.code());
}

#[tokio::test]
async fn a_topic_that_is_created_again_is_another_one() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let first = client.metadata(&["t"]).await.topics[0].topic_id;
    let by_name = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("t".to_owned()),
            topic_id: Uuid::ZERO,
        }],
        ..Default::default()
    };
    let deleted = client.send(&by_name).await.responses;
    assert_eq!((deleted[0].error_code, deleted[0].topic_id), (0, first));
    let again = client.send(&by_name).await.responses;
    assert_eq!(again[0].error_code, ErrorCode::UnknownTopicOrPartition.code());

    client.create_topic("t", 1, &[]).await;
    let second = client.metadata(&["t"]).await.topics[0].topic_id;
    assert_ne!(first, second);
    let by_id = |topic_id| DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id }],
        ..Default::default()
    };
    let stale = client.send(&by_id(first)).await.responses;
    assert_eq!(stale[0].error_code, ErrorCode::UnknownTopicId.code());
    let deleted = client.send(&by_id(second)).await.responses;
    assert_eq!(
        (deleted[0].error_code, deleted[0].name.as_deref()),
        (0, Some("t"))
    );
}

#[tokio::test]
async fn deletion_can_be_switched_off() {
    let cluster = start(&[("delete.topic.enable", "false")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let request = DeleteTopicsRequest {
        topic_names: vec!["t".to_owned()],
        ..Default::default()
    };
    let refused = client.send_version(&request, 5).await.responses;
    assert_eq!(refused[0].error_code, ErrorCode::TopicDeletionDisabled.code());
    assert_eq!(client.metadata(&["t"]).await.topics[0].error_code, 0);
}

#[tokio::test]
async fn topics_grow_and_never_shrink() {
    let cluster = start_nodes(2, &[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    let grow = |name: &str, count, validate_only| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: name.to_owned(),
            count,
            assignments: None,
        }],
        validate_only,
        ..Default::default()
    };
    for (name, count, error) in [
        ("t", 2, ErrorCode::InvalidPartitions),
        ("t", 1, ErrorCode::InvalidPartitions),
        ("t", -1, ErrorCode::InvalidPartitions),
        ("u", 3, ErrorCode::UnknownTopicOrPartition),
    ] {
        assert_eq!(
            client.send(&grow(name, count, false)).await.results[0].error_code,
            error.code()
        );
    }
    assert_eq!(client.send(&grow("t", 5, true)).await.results[0].error_code, 0);
    assert_eq!(client.metadata(&["t"]).await.topics[0].partitions.len(), 2);
    assert_eq!(client.send(&grow("t", 5, false)).await.results[0].error_code, 0);
    let partitions = client.metadata(&["t"]).await.topics.remove(0).partitions;
    assert_eq!(
        partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4]
    );
    let leaders: Vec<_> = partitions.iter().map(|p| p.leader_id).collect();
    assert!(leaders.windows(2).all(|pair| pair[0] != pair[1]), "{leaders:?}");
}

#[tokio::test]
async fn pages_of_partitions_join_to_the_whole() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("a", 3, &[]).await;
    client.create_topic("b", 4, &[]).await;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let asked = ["b", "a", "c"].map(|name| TopicRequest {
            name: name.to_owned(),
        });
        let request = DescribeTopicPartitionsRequest {
            topics: asked.to_vec(),
            response_partition_limit: 2,
            cursor,
        };
        let page = client.send(&request).await;
        for topic in page.topics {
            let name = topic.name.unwrap();
            assert_eq!(topic.error_code != 0, name == "c");
            seen.extend(
                topic
                    .partitions
                    .into_iter()
                    .map(|p| format!("{name}{}", p.partition_index)),
            );
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a0", "a1", "a2", "b0", "b1", "b2", "b3"]);
}

#[tokio::test]
async fn the_cluster_is_described() {
    let cluster = start_nodes(3, &[]).await;
    let mut client = Client::of(&cluster).await;
    let described = client.send(&DescribeClusterRequest::default()).await;
    assert_eq!(described.cluster_id, cluster.cluster_id());
    assert_eq!(described.brokers.len(), 3);
    let controllers = DescribeClusterRequest {
        endpoint_type: 2,
        ..Default::default()
    };
    assert_eq!(
        client.send(&controllers).await.error_code,
        ErrorCode::MismatchedEndpointType.code()
    );
}
