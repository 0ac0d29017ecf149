//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use heliostat_wire::message::{
    AlterConfigsRequest, ApiKey, DescribeConfigsRequest, IncrementalAlterConfigsRequest, alter_configs,
    describe_configs::DescribeConfigsResource, incremental_alter_configs as incremental,
};

use crate::harness::Parity;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describing(resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).to_owned()).collect()),
        }],
        ..Default::default()
    }
}

pub async fn describe(p: &mut Parity) {
    let set = [
        ("retention.ms", "1000"),
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "2000000"),
    ];
    p.create("described", 1, &set).await;
    for (synonyms, documentation) in [(false, false), (true, false), (false, true)] {
        p.all(
            &format!("a topic, synonyms {synonyms}, documentation {documentation}"),
            |_, _| DescribeConfigsRequest {
                include_synonyms: synonyms,
                include_documentation: documentation,
                ..describing(TOPIC, "described", None)
            },
        )
        .await;
        p.newest(
            &format!("a broker, synonyms {synonyms}, documentation {documentation}"),
            |_| DescribeConfigsRequest {
                include_synonyms: synonyms,
                include_documentation: documentation,
                ..describing(BROKER, "1", None)
            },
        )
        .await;
    }
    p.all("some keys", |_, _| {
        describing(
            TOPIC,
            "described",
            Some(&["retention.ms", "no.such.key", "segment.ms"]),
        )
    })
    .await;
    p.all("the same key twice", |_, _| {
        describing(TOPIC, "described", Some(&["segment.ms", "segment.ms"]))
    })
    .await;
    p.all("no keys", |_, _| {
        describing(TOPIC, "described", Some(&[])).clone()
    })
    .await;
    p.all("some keys of a broker", |_, _| {
        describing(
            BROKER,
            "1",
            Some(&["log.retention.ms", "num.partitions", "log.segment.bytes"]),
        )
    })
    .await;
    p.all("all brokers", |_, _| {
        describing(BROKER, "", Some(&["log.retention.ms"]))
    })
    .await;
    for name in ["described-none", "", "a b"] {
        p.all(&format!("topic {name:?}"), |_, _| describing(TOPIC, name, None))
            .await;
    }
    for name in ["9", "x", "-1", "01"] {
        p.all(&format!("broker {name:?}"), |_, _| {
            describing(BROKER, name, Some(&["log.retention.ms"]))
        })
        .await;
    }
    for kind in [0, 1, 3, 7, -1, 100] {
        p.all(&format!("resources of type {kind}"), |_, _| {
            describing(kind, "described", None)
        })
        .await;
    }
    p.all("a topic twice, and another", |_, _| DescribeConfigsRequest {
        resources: [
            ("described", "segment.ms"),
            ("described", "retention.ms"),
            ("described-none", "segment.ms"),
        ]
        .iter()
        .flat_map(|(name, key)| describing(TOPIC, name, Some(&[key])).resources)
        .collect(),
        ..Default::default()
    })
    .await;
    p.all("none", |_, _| DescribeConfigsRequest::default()).await;
}

/// A key, an operation, and a value; none is null.
pub type Change<'a> = (&'a str, i8, Option<&'a str>);

/// Changes of one resource.
pub fn changing(kind: i8, name: &str, changes: &[Change<'_>]) -> IncrementalAlterConfigsRequest {
    let change = |(name, config_operation, value): &Change<'_>| incremental::AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *config_operation,
        value: value.map(str::to_owned),
    };
    IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: changes.iter().map(change).collect(),
        }],
        validate_only: false,
    }
}

/// What was set for a topic, once everybody knows.
async fn seen(p: &mut Parity, case: &str, topic: &str, keys: &[&str]) {
    p.caught_up().await;
    p.newest(case, |_| DescribeConfigsRequest {
        include_synonyms: true,
        ..describing(TOPIC, topic, Some(keys))
    })
    .await;
}

pub async fn incremental(p: &mut Parity) {
    for version in p.versions(ApiKey::IncrementalAlterConfigs) {
        let topic = &format!("changed-{version}");
        p.create(topic, 1, &[]).await;
        let steps: &[(&str, &[Change<'_>])] = &[
            (
                "set",
                &[
                    ("retention.ms", SET, Some("5000")),
                    ("cleanup.policy", SET, Some("compact")),
                ],
            ),
            ("append", &[("cleanup.policy", APPEND, Some("delete"))]),
            (
                "append what is there",
                &[("cleanup.policy", APPEND, Some("delete"))],
            ),
            ("subtract", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
            (
                "subtract what is not there",
                &[("cleanup.policy", SUBTRACT, Some("compact"))],
            ),
            (
                "delete",
                &[("retention.ms", DELETE, None), ("segment.ms", DELETE, None)],
            ),
            ("nothing", &[]),
            ("append to a number", &[("retention.ms", APPEND, Some("1"))]),
            ("subtract from a number", &[("retention.ms", SUBTRACT, Some("1"))]),
            ("a null value", &[("retention.ms", SET, None)]),
            ("append null", &[("cleanup.policy", APPEND, None)]),
            ("delete with a value", &[("retention.ms", DELETE, Some("1"))]),
            ("an unknown operation", &[("retention.ms", 9, Some("1"))]),
            ("an unknown key", &[("no.such.key", SET, Some("1"))]),
            ("deleting an unknown key", &[("no.such.key", DELETE, None)]),
            ("a bad value", &[("retention.ms", SET, Some("long"))]),
            ("a value out of range", &[("segment.bytes", SET, Some("1"))]),
            (
                "a key twice",
                &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))],
            ),
            (
                "good and bad",
                &[("retention.ms", SET, Some("9")), ("segment.ms", SET, Some("-7"))],
            ),
            ("an empty key", &[("", SET, Some("1"))]),
            ("spaces", &[("retention.ms", SET, Some(" 77 "))]),
            ("an empty list", &[("cleanup.policy", SET, Some(""))]),
        ];
        for (case, changes) in steps {
            p.at(&format!("{case}, only validated"), version, |_| {
                IncrementalAlterConfigsRequest {
                    validate_only: true,
                    ..changing(TOPIC, topic, changes)
                }
            })
            .await;
            p.at(case, version, |_| changing(TOPIC, topic, changes)).await;
        }
        p.at("reset", version, |_| {
            changing(
                TOPIC,
                topic,
                &[
                    ("cleanup.policy", SET, Some("compact")),
                    ("retention.ms", SET, Some("8")),
                ],
            )
        })
        .await;
    }
    for topic in ["changed-none", "", "a b"] {
        p.all(&format!("topic {topic:?}"), |_, _| {
            changing(TOPIC, topic, &[("retention.ms", SET, Some("1"))])
        })
        .await;
    }
    for broker in ["9", "x"] {
        p.all(&format!("broker {broker:?}"), |_, _| {
            changing(BROKER, broker, &[("log.cleaner.threads", SET, Some("1"))])
        })
        .await;
    }
    for kind in [0, 1, 3, 7, -1, 100] {
        p.all(&format!("resources of type {kind}"), |_, _| {
            changing(kind, "changed-1", &[("retention.ms", SET, Some("1"))])
        })
        .await;
    }
    p.all("a topic twice, and another", |_, _| {
        IncrementalAlterConfigsRequest {
            resources: ["changed-1", "changed-1", "changed-0"]
                .iter()
                .flat_map(|name| changing(TOPIC, name, &[("segment.ms", SET, Some("100000"))]).resources)
                .collect(),
            validate_only: false,
        }
    })
    .await;
    p.all("none", |_, _| IncrementalAlterConfigsRequest::default())
        .await;
    let brokers: &[(&str, &[Change<'_>])] = &[
        (
            "log.retention.ms",
            &[("log.retention.ms", SET, Some("100000000"))],
        ),
        ("a key that is read only", &[("num.partitions", SET, Some("7"))]),
        ("an unknown key", &[("no.such.key", SET, Some("7"))]),
        ("a bad value", &[("log.retention.ms", SET, Some("x"))]),
        ("delete", &[("log.retention.ms", DELETE, None)]),
    ];
    for (case, changes) in brokers {
        p.all(&format!("all brokers, {case}"), |_, _| {
            changing(BROKER, "", changes)
        })
        .await;
        p.all(&format!("broker 1, {case}"), |_, _| {
            changing(BROKER, "1", changes)
        })
        .await;
    }
    p.learn(&["changed-0"]).await;
    seen(
        p,
        "what came of it",
        "changed-0",
        &["retention.ms", "cleanup.policy"],
    )
    .await;
}

/// A key and its value.
pub type Config<'a> = (&'a str, Option<&'a str>);

pub fn replacing(kind: i8, name: &str, configs: &[Config<'_>]) -> AlterConfigsRequest {
    let config = |(name, value): &Config<'_>| alter_configs::AlterableConfig {
        name: (*name).to_owned(),
        value: value.map(str::to_owned),
    };
    AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: configs.iter().map(config).collect(),
        }],
        validate_only: false,
    }
}

pub async fn replace(p: &mut Parity) {
    for version in p.versions(ApiKey::AlterConfigs) {
        let topic = &format!("replaced-{version}");
        p.create(topic, 1, &[("segment.ms", "100000")]).await;
        let steps: &[(&str, &[Config<'_>])] = &[
            ("a value", &[("retention.ms", Some("5000"))]),
            ("a null value", &[("retention.ms", None)]),
            ("an unknown key", &[("no.such.key", Some("1"))]),
            ("a bad value", &[("retention.ms", Some("long"))]),
            (
                "a key twice",
                &[("retention.ms", Some("1")), ("retention.ms", Some("2"))],
            ),
            ("an empty key", &[("", Some("1"))]),
            ("nothing", &[]),
        ];
        for (case, configs) in steps {
            p.at(&format!("{case}, only validated"), version, |_| {
                AlterConfigsRequest {
                    validate_only: true,
                    ..replacing(TOPIC, topic, configs)
                }
            })
            .await;
            p.at(case, version, |_| replacing(TOPIC, topic, configs)).await;
        }
    }
    for topic in ["replaced-none", "", "a b"] {
        p.all(&format!("topic {topic:?}"), |_, _| {
            replacing(TOPIC, topic, &[("retention.ms", Some("1"))])
        })
        .await;
    }
    for kind in [0, 1, 7, -1, 100] {
        p.all(&format!("resources of type {kind}"), |_, _| {
            replacing(kind, "replaced-1", &[("retention.ms", Some("1"))])
        })
        .await;
    }
    p.all("none", |_, _| AlterConfigsRequest::default()).await;
}
