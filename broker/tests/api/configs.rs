//! Configuration of topics and brokers.

use std::collections::BTreeMap;

use heliostat_wire::{
    ErrorCode,
    message::{
        AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs,
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
    assert_eq!(sources, [("retention.ms", 1), ("log.retention.ms", 4)]);
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
async fn nodes_that_share_their_storage_are_configured_together() {
    let cluster = start_nodes(2, &[]).await;
    let mut client = Client::of(&cluster).await;
    let changes = [("log.retention.ms", SET, Some("1"))];
    assert_eq!(
        alter(&mut client, BROKER, "2", &changes).await,
        ErrorCode::InvalidRequest.code()
    );
    assert_eq!(alter(&mut client, BROKER, "", &changes).await, 0);
    let second = configs(&mut client, BROKER, "2").await;
    assert_eq!(second["log.retention.ms"].value.as_deref(), Some("1"));
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
