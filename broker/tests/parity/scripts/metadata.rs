//! Metadata, DescribeCluster and DescribeTopicPartitions.

use heliostat_wire::{
    Uuid,
    message::{
        DescribeClusterRequest, DescribeTopicPartitionsRequest, MetadataRequest,
        describe_topic_partitions::{Cursor, TopicRequest},
        metadata::MetadataRequestTopic,
    },
};

use crate::{harness::Parity, side::Side};

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

fn asking(topics: Vec<MetadataRequestTopic>) -> MetadataRequest {
    MetadataRequest {
        topics: Some(topics),
        allow_auto_topic_creation: false,
        ..Default::default()
    }
}

pub async fn topics(p: &mut Parity) {
    p.create("metadata-a", 3, &[]).await;
    p.create("metadata-b", 1, &[("cleanup.policy", "compact")]).await;
    let two = || vec![named("metadata-b"), named("metadata-a")];
    // Before version 4 nobody can say that nothing is to be created.
    p.all("two topics", |_, _| asking(two())).await;
    p.all("with operations", |_, _| MetadataRequest {
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        ..asking(two())
    })
    .await;
    p.all("none", |_, version| {
        asking(if version == 0 { two() } else { vec![] })
    })
    .await;
    p.all("a topic twice", |_, _| asking([two(), two()].concat()))
        .await;
    for version in 4..=13 {
        let unknown = vec![
            named("metadata-none"),
            named("metadata-a"),
            named("metadata-none-either"),
        ];
        p.at("unknown topics", version, |_| asking(unknown.clone())).await;
    }
    let long = "x".repeat(250);
    for name in ["", ".", "a b", "é", &long] {
        p.all(&format!("named {}", &name[..name.len().min(20)]), |_, _| {
            asking(vec![named(name)])
        })
        .await;
    }
    let by_id = |topic_id: Uuid| MetadataRequestTopic { topic_id, name: None };
    for version in 12..=13 {
        p.at("by id", version, |side: &Side| {
            asking(vec![by_id(side.topic_id("metadata-a"))])
        })
        .await;
        p.at("an unknown id", version, |side: &Side| {
            asking(vec![
                by_id(Uuid::from_bytes([3; 16])),
                by_id(side.topic_id("metadata-b")),
            ])
        })
        .await;
        p.at("neither name nor id", version, |_| {
            asking(vec![by_id(Uuid::ZERO)])
        })
        .await;
        p.at("a name and another's id", version, |side: &Side| {
            let topic_id = side.topic_id("metadata-a");
            asking(vec![MetadataRequestTopic {
                topic_id,
                ..named("metadata-b")
            }])
        })
        .await;
        p.at("ids and names", version, |side: &Side| {
            asking(vec![by_id(side.topic_id("metadata-a")), named("metadata-b")])
        })
        .await;
    }
    for version in 10..=11 {
        p.at("no name", version, |_| asking(vec![by_id(Uuid::ZERO)]))
            .await;
        p.at("an id", version, |side: &Side| {
            asking(vec![by_id(side.topic_id("metadata-a"))])
        })
        .await;
    }
}

pub async fn auto_create(p: &mut Parity) {
    let creating = |names: &[&str]| MetadataRequest {
        allow_auto_topic_creation: true,
        ..asking(names.iter().map(|name| named(name)).collect())
    };
    for version in [1, 4, 13] {
        let name = format!("auto-{version}");
        p.at("created", version, |_| creating(&[&name, "auto bad"])).await;
        p.ready(&name, 1).await;
        p.at("is there", version, |_| creating(&[&name])).await;
    }
}

pub async fn cluster(p: &mut Parity) {
    for endpoint_type in [1, 2, 0, 3, -1] {
        p.all(&format!("endpoints {endpoint_type}"), |_, _| {
            DescribeClusterRequest {
                endpoint_type,
                include_cluster_authorized_operations: true,
                include_fenced_brokers: true,
            }
        })
        .await;
    }
    p.all("plain", |_, _| DescribeClusterRequest::default()).await;
}

pub async fn pages(p: &mut Parity) {
    p.create("pages-a", 5, &[]).await;
    p.create("pages-b", 2, &[]).await;
    let ask = |names: &[&str], limit: i32, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
        topics: names
            .iter()
            .map(|name| TopicRequest {
                name: (*name).to_owned(),
            })
            .collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, partition_index)| Cursor {
            topic_name: name.to_owned(),
            partition_index,
        }),
    };
    let both = ["pages-b", "pages-a"];
    for limit in [2000, 7, 6, 5, 3, 1, 0, -1, i32::MAX] {
        p.newest(&format!("limit {limit}"), |_| ask(&both, limit, None))
            .await;
    }
    for cursor in [
        ("pages-a", 0),
        ("pages-a", 3),
        ("pages-a", 5),
        ("pages-a", 9),
        ("pages-a", -1),
        ("pages-b", 1),
        ("pages-aa", 1),
        ("z", 0),
        ("", 0),
    ] {
        p.newest(&format!("from {cursor:?}"), |_| ask(&both, 4, Some(cursor)))
            .await;
        p.newest(&format!("from {cursor:?}, no limit"), |_| {
            ask(&both, 2000, Some(cursor))
        })
        .await;
    }
    p.newest("unknown and bad names", |_| {
        ask(&["pages-none", "pages-a", "pages-0"], 100, None)
    })
    .await;
    p.newest("unknown names and a limit", |_| {
        ask(&["pages-0", "pages-a", "pages-none"], 5, None)
    })
    .await;
    for name in ["", ".", "a b"] {
        p.newest(&format!("named {name:?}"), |_| ask(&[name], 100, None))
            .await;
    }
    p.newest("twice", |_| ask(&["pages-a", "pages-a"], 100, None))
        .await;
}
