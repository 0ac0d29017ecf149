//! What the directories of a node hold, and what has a configuration of its own.

use heliostat_wire::message::{
    DescribeLogDirsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    describe_log_dirs::DescribableLogDirTopic,
    incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
};

use crate::{harness::Parity, requests::batch};

/// Topics with their partitions.
type Asked<'a> = &'a [(&'a str, &'a [i32])];

pub async fn log_dirs(p: &mut Parity) {
    p.create("sized", 3, &[]).await;
    p.create("sized-too", 1, &[]).await;
    p.append("sized", &batch(&["a", "b"])).await;
    p.append("sized", &batch(&["c"])).await;
    let ask = |topics: Option<Asked<'_>>| DescribeLogDirsRequest {
        topics: topics.map(|topics| {
            let topic = |(topic, partitions): &(&str, &[i32])| DescribableLogDirTopic {
                topic: (*topic).to_owned(),
                partitions: partitions.to_vec(),
            };
            topics.iter().map(topic).collect()
        }),
    };
    let cases: &[(&str, Asked<'_>)] = &[
        ("none", &[]),
        ("a topic", &[("sized", &[0, 1, 2])]),
        ("two topics", &[("sized", &[0]), ("sized-too", &[0])]),
        ("no partitions", &[("sized", &[])]),
        ("partitions that are not there", &[("sized", &[-1, 1, 3])]),
        ("a partition twice", &[("sized", &[0, 0])]),
        ("a topic in two parts", &[("sized", &[0]), ("sized", &[2, 0])]),
        ("an unknown topic", &[("sized-none", &[0])]),
        (
            "an unknown topic and a known one",
            &[("sized-none", &[0]), ("sized", &[1])],
        ),
        ("no name", &[("", &[0])]),
    ];
    p.all("everything", |_, _| ask(None)).await;
    for (case, topics) in cases {
        p.all(case, |_, _| ask(Some(topics))).await;
    }
}

pub async fn configured(p: &mut Parity) {
    p.create("with-configs", 1, &[("retention.ms", "1000000")]).await;
    let set = |resource_type: i8, name: &str, key: &str, value: &str| IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configs: vec![AlterableConfig {
                name: key.to_owned(),
                value: Some(value.to_owned()),
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    p.newest("a group's config", |_| {
        set(32, "configured-group", "consumer.session.timeout.ms", "50000")
    })
    .await;
    p.caught_up().await;
    let cases: &[&[i8]] = &[
        &[],
        &[2],
        &[4],
        &[8],
        &[16],
        &[32],
        &[32, 4],
        &[4, 4],
        &[2, 4, 8, 16, 32],
        &[0],
        &[99],
        &[-1],
        &[2, 99],
    ];
    for types in cases {
        let resource_types = types.to_vec();
        // Version 0 cannot name types.
        let request = |version| ListConfigResourcesRequest {
            resource_types: if version == 0 {
                vec![]
            } else {
                resource_types.clone()
            },
        };
        p.all(&format!("types {types:?}"), |_, version| request(version))
            .await;
    }
}
