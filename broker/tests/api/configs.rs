//! Configuration of topics and brokers.

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, MetadataRequest,
        alter_configs,
        describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult},
        incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
    },
};

use crate::client::{Client, start, start_nodes};

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;
pub const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A key, what is done to it, and with which value.
pub type Change<'a> = (&'a str, i8, Option<&'a str>);

/// A connection to a node.
async fn at(cluster: &heliostat_broker::Cluster, node: &str) -> Client {
    let index = node.parse::<usize>().unwrap() - 1;
    Client::connect(cluster.addresses()[index]).await
}

async fn describe(client: &mut Client, resource_type: i8, name: &str) -> DescribeConfigsResult {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: None,
        }],
        include_synonyms: true,
        include_documentation: true,
    };
    client.send(&request).await.results.remove(0)
}

async fn configs(
    client: &mut Client,
    resource_type: i8,
    name: &str,
) -> BTreeMap<String, DescribeConfigsResourceResult> {
    let result = describe(client, resource_type, name).await;
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result
        .configs
        .into_iter()
        .map(|config| (config.name.clone(), config))
        .collect()
}

pub async fn alter(client: &mut Client, resource_type: i8, name: &str, changes: &[Change<'_>]) -> i16 {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configs: changes
                .iter()
                .map(|(name, operation, value)| AlterableConfig {
                    name: name.to_string(),
                    config_operation: *operation,
                    value: value.map(str::to_owned),
                })
                .collect(),
        }],
        validate_only: false,
    };
    client.send(&request).await.responses[0].error_code
}

#[tokio::test]
async fn every_key_has_kafkas_default() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let topic = configs(&mut client, TOPIC, "t").await;
    for (name, value) in [
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "1048588"),
        ("retention.ms", "604800000"),
        ("segment.bytes", "1073741824"),
        ("min.insync.replicas", "1"),
    ] {
        assert_eq!(topic[name].value.as_deref(), Some(value), "{name}");
        // A new cluster of Kafka's has this one set for all brokers.
        let source = if name == "min.insync.replicas" { 3 } else { 5 };
        assert_eq!(topic[name].config_source, source, "{name}");
        assert!(topic[name].documentation.is_some(), "{name}");
    }
    let broker = configs(&mut client, BROKER, "1").await;
    for (name, value) in [
        ("log.retention.hours", Some("168")),
        ("log.retention.ms", None),
        ("log.flush.interval.ms", None),
        ("broker.rack", None),
        ("message.max.bytes", Some("1048588")),
        ("num.partitions", Some("1")),
        ("node.id", Some("1")),
    ] {
        assert_eq!(broker[name].value.as_deref(), value, "{name}");
    }
    assert!(broker["num.partitions"].read_only);
    assert!(!broker["message.max.bytes"].read_only);
}

#[tokio::test]
async fn keys_change_one_by_one() {
    let cluster = start(&[("log.retention.ms", "5")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let changes = [
        ("retention.ms", SET, Some("7")),
        ("cleanup.policy", APPEND, Some("compact")),
    ];
    assert_eq!(alter(&mut client, TOPIC, "t", &changes).await, 0);
    let after = configs(&mut client, TOPIC, "t").await;
    assert_eq!(after["retention.ms"].value.as_deref(), Some("7"));
    let sources: Vec<_> = after["retention.ms"]
        .synonyms
        .iter()
        .map(|s| (s.name.as_str(), s.source))
        .collect();
    let default = ("log.retention.hours", 5);
    assert_eq!(sources, [("retention.ms", 1), ("log.retention.ms", 4), default]);
    assert_eq!(after["cleanup.policy"].value.as_deref(), Some("delete,compact"));

    let changes = [
        ("retention.ms", DELETE, None),
        ("cleanup.policy", SUBTRACT, Some("delete")),
    ];
    assert_eq!(alter(&mut client, TOPIC, "t", &changes).await, 0);
    let after = configs(&mut client, TOPIC, "t").await;
    assert_eq!(after["retention.ms"].value.as_deref(), Some("5"));
    assert_eq!(after["retention.ms"].config_source, 4);
    assert_eq!(after["cleanup.policy"].value.as_deref(), Some("compact"));
}

#[tokio::test]
async fn bad_changes_change_nothing() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    let before = configs(&mut client, TOPIC, "t").await;
    let cases: [(i8, &str, &[Change<'_>], ErrorCode); 10] = [
        (
            TOPIC,
            "t",
            &[("retention.ms", SET, Some("soon"))],
            ErrorCode::InvalidConfig,
        ),
        (
            TOPIC,
            "t",
            &[("segment.bytes", SET, Some("1"))],
            ErrorCode::InvalidConfig,
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", SET, Some("1")), ("no.such", SET, Some("1"))],
            ErrorCode::InvalidConfig,
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", APPEND, Some("1"))],
            ErrorCode::InvalidConfig,
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", SET, None)],
            ErrorCode::InvalidRequest,
        ),
        (
            TOPIC,
            "t",
            &[("retention.ms", 9, Some("1"))],
            ErrorCode::InvalidRequest,
        ),
        (
            TOPIC,
            "u",
            &[("retention.ms", SET, Some("1"))],
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            BROKER,
            "1",
            &[("num.partitions", SET, Some("1"))],
            ErrorCode::InvalidRequest,
        ),
        (
            BROKER,
            "9",
            &[("log.retention.ms", SET, Some("1"))],
            ErrorCode::InvalidRequest,
        ),
        (99, "t", &[], ErrorCode::InvalidRequest),
    ];
    for (resource_type, name, changes, error) in cases {
        assert_eq!(
            alter(&mut client, resource_type, name, changes).await,
            error.code(),
            "{changes:?}"
        );
    }
    assert_eq!(configs(&mut client, TOPIC, "t").await, before);
    assert_eq!(
        describe(&mut client, TOPIC, "u").await.error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    assert_eq!(
        describe(&mut client, 99, "t").await.error_code,
        ErrorCode::InvalidRequest.code()
    );
}

#[tokio::test]
async fn what_is_set_for_brokers_is_the_default_of_topics() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    for (node, value, source) in [("", "11", 3), ("1", "12", 2)] {
        let changes = [("log.retention.ms", SET, Some(value))];
        assert_eq!(alter(&mut client, BROKER, node, &changes).await, 0);
        let topic = configs(&mut client, TOPIC, "t").await;
        assert_eq!(topic["retention.ms"].value.as_deref(), Some(value));
        assert_eq!(topic["retention.ms"].config_source, source);
    }
    let for_all = configs(&mut client, BROKER, "").await;
    let names: Vec<_> = for_all.keys().map(String::as_str).collect();
    assert_eq!(names, ["log.retention.ms", "min.insync.replicas"]);
    assert_eq!(for_all["log.retention.ms"].value.as_deref(), Some("11"));
}

#[tokio::test]
async fn what_is_set_for_a_node_counts_for_the_partitions_that_it_leads() {
    let cluster = start_nodes(3, &[]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 3, &[]).await;
    let for_all = [("message.max.bytes", SET, Some("2000"))];
    assert_eq!(alter(&mut client, BROKER, "", &for_all).await, 0);
    let for_second = [("message.max.bytes", SET, Some("100"))];
    assert_eq!(
        alter(&mut at(&cluster, "2").await, BROKER, "2", &for_second).await,
        0
    );

    for (node, value, source) in [("1", "2000", 3), ("2", "100", 2), ("3", "2000", 3)] {
        let shown = configs(&mut at(&cluster, node).await, BROKER, node).await;
        assert_eq!(shown["message.max.bytes"].value.as_deref(), Some(value), "{node}");
        assert_eq!(shown["message.max.bytes"].config_source, source, "{node}");
        // Of a topic each node shows what it goes by itself.
        let topic = configs(&mut at(&cluster, node).await, TOPIC, "t").await;
        assert_eq!(topic["max.message.bytes"].value.as_deref(), Some(value), "{node}");
    }

    // Each leader goes by its own, from the first moment on, and whoever takes over by what it has.
    client.create_topic("u", 3, &[]).await;
    let large = || crate::records::batch(&[&"x".repeat(500)]);
    for topic in ["t", "u"] {
        let partitions = client.metadata(&[topic]).await.topics.remove(0).partitions;
        for partition in partitions {
            let (index, leader) = (partition.partition_index, partition.leader_id);
            let at = cluster.addresses()[usize::try_from(leader).unwrap() - 1];
            let expected = if leader == 2 {
                ErrorCode::MessageTooLarge.code()
            } else {
                0
            };
            let mut leader = Client::connect(at).await;
            let said = crate::records::produce(&mut leader, topic, index, large()).await;
            assert_eq!(said.error_code, expected, "{topic}-{index}");
        }
    }
    assert_eq!(
        alter(
            &mut at(&cluster, "2").await,
            BROKER,
            "2",
            &[("message.max.bytes", DELETE, None)]
        )
        .await,
        0
    );
    let shown = configs(&mut at(&cluster, "2").await, BROKER, "2").await;
    assert_eq!(shown["message.max.bytes"].value.as_deref(), Some("2000"));
}

#[tokio::test]
async fn partitions_go_by_what_was_set_for_their_new_leader() {
    let cluster = start_nodes(2, &[("default.replication.factor", "2")]).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    let for_second = [("message.max.bytes", SET, Some("100"))];
    assert_eq!(
        alter(&mut at(&cluster, "2").await, BROKER, "2", &for_second).await,
        0
    );
    cluster.control().stop_node(1).await.unwrap();
    let mut second = Client::connect(cluster.addresses()[1]).await;
    let large = crate::records::batch(&[&"x".repeat(500)]);
    let deadline = tokio::time::Instant::now() + crate::client::PATIENCE;
    for index in 0..2 {
        loop {
            let said = crate::records::produce(&mut second, "t", index, large.clone()).await;
            if said.error_code == ErrorCode::MessageTooLarge.code() {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{index}: {}",
                said.error_code
            );
        }
    }
}

#[tokio::test]
async fn limits_of_connections_are_those_of_each_node_and_take_effect_at_once() {
    let cluster = start_nodes(2, &[]).await;
    let mut client = Client::of(&cluster).await;
    let limit = [("max.connections.per.ip", SET, Some("1"))];
    assert_eq!(alter(&mut at(&cluster, "2").await, BROKER, "2", &limit).await, 0);
    let is_served = async |node: usize| {
        let mut client = Client::connect(cluster.addresses()[node - 1]).await;
        client.try_write(&MetadataRequest::default(), 12).await.is_ok() && client.read_frame().await.is_some()
    };
    let mut held = Client::connect(cluster.addresses()[1]).await;
    held.metadata(&[]).await;
    assert!(!is_served(2).await);
    assert!(is_served(1).await);
    let overrides = [("max.connections.per.ip.overrides", SET, Some("127.0.0.1:3"))];
    assert_eq!(alter(&mut client, BROKER, "", &overrides).await, 0);
    assert!(is_served(2).await);
    let none = [("max.connections", SET, Some("1"))];
    assert_eq!(alter(&mut at(&cluster, "2").await, BROKER, "2", &none).await, 0);
    assert!(!is_served(2).await);
}

#[tokio::test]
async fn what_nodes_share_cannot_be_set_for_one() {
    let cluster = start_nodes(2, &[]).await;
    let mut client = Client::of(&cluster).await;
    let refused = ErrorCode::InvalidRequest.code();
    let threads = [("log.cleaner.threads", SET, Some("2"))];
    assert_eq!(
        alter(&mut at(&cluster, "2").await, BROKER, "2", &threads).await,
        refused
    );
    assert_eq!(alter(&mut client, BROKER, "", &threads).await, 0);
    let retention = [("log.retention.ms", SET, Some("5"))];
    for other in ["1", "3"] {
        let mut second = at(&cluster, "2").await;
        assert_eq!(alter(&mut second, BROKER, other, &retention).await, refused);
        assert_eq!(describe(&mut second, BROKER, other).await.error_code, refused);
    }
    assert_eq!(
        alter(&mut at(&cluster, "2").await, BROKER, "2", &retention).await,
        0
    );
}

#[tokio::test]
async fn the_old_request_replaces_everything() {
    let cluster = start(&[]).await;
    let mut client = Client::of(&cluster).await;
    client
        .create_topic("t", 1, &[("retention.ms", "7"), ("segment.ms", "9")])
        .await;
    let request = AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".to_owned(),
            configs: vec![alter_configs::AlterableConfig {
                name: "segment.ms".to_owned(),
                value: Some("10".to_owned()),
            }],
        }],
        validate_only: false,
    };
    assert_eq!(client.send(&request).await.responses[0].error_code, 0);
    let after = configs(&mut client, TOPIC, "t").await;
    assert_eq!(after["segment.ms"].value.as_deref(), Some("10"));
    assert_eq!(after["retention.ms"].config_source, 5);
}
