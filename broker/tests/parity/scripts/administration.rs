//! Access rules, elections, reassignments: what an administrator asks for.

use heliostat_wire::message::{
    AlterClientQuotasRequest, AlterPartitionReassignmentsRequest, DescribeAclsRequest,
    DescribeClientQuotasRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest,
    alter_client_quotas as alter,
    alter_partition_reassignments::{ReassignablePartition, ReassignableTopic},
    describe_client_quotas::ComponentData,
    elect_leaders::TopicPartitions,
    list_partition_reassignments::ListPartitionReassignmentsTopics,
};

use crate::harness::Parity;

pub async fn acls(p: &mut Parity) {
    // Without an authorizer: nothing is looked at but the form of the request.
    for resource_type in [1, 2, 3, 0, 99] {
        p.all(
            &format!("describing resources of type {resource_type}"),
            |_, _| DescribeAclsRequest {
                resource_type_filter: resource_type,
                operation: 1,
                permission_type: 1,
                ..Default::default()
            },
        )
        .await;
    }
}

pub async fn reassignments(p: &mut Parity) {
    p.create("reassigned", 2, &[]).await;
    let listing = |topics: Option<&[(&str, &[i32])]>| ListPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: topics.map(|topics| {
            let topic = |(name, partitions): &(&str, &[i32])| ListPartitionReassignmentsTopics {
                name: (*name).to_owned(),
                partition_indexes: partitions.to_vec(),
            };
            topics.iter().map(topic).collect()
        }),
    };
    p.all("all", |_, _| listing(None)).await;
    p.all("none", |_, _| listing(Some(&[]))).await;
    p.all("some", |_, _| {
        listing(Some(&[
            ("reassigned", &[0, 1, 2]),
            ("reassigned-none", &[0]),
            ("", &[]),
        ]))
    })
    .await;
}

type Replicas<'a> = (i32, Option<&'a [i32]>);

pub async fn moves(p: &mut Parity) {
    p.create("moved", 2, &[]).await;
    let moving = |name: &str, partitions: &[Replicas<'_>]| AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: name.to_owned(),
            partitions: partitions
                .iter()
                .map(|(partition_index, replicas)| ReassignablePartition {
                    partition_index: *partition_index,
                    replicas: replicas.map(<[i32]>::to_vec),
                })
                .collect(),
        }],
        ..Default::default()
    };
    let cases: &[(&str, &str, &[Replicas<'_>])] = &[
        ("to where it is", "moved", &[(0, Some(&[1]))]),
        ("cancelled", "moved", &[(0, None)]),
        ("to an unknown node", "moved", &[(0, Some(&[9]))]),
        ("to nobody", "moved", &[(0, Some(&[]))]),
        ("to one twice", "moved", &[(0, Some(&[1, 1]))]),
        ("to a negative node", "moved", &[(0, Some(&[-1]))]),
        (
            "unknown partitions",
            "moved",
            &[(2, Some(&[1])), (-1, Some(&[1])), (1, Some(&[1]))],
        ),
        ("an unknown topic", "moved-none", &[(0, Some(&[1])), (1, None)]),
        ("an empty name", "", &[(0, Some(&[1]))]),
        ("no partitions", "moved", &[]),
    ];
    for (case, name, partitions) in cases {
        p.all(case, |_, _| moving(name, partitions)).await;
    }
    p.all("of a fixed replication factor", |_, _| {
        AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: false,
            ..moving("moved", &[(0, Some(&[1]))])
        }
    })
    .await;
    p.all("none", |_, _| AlterPartitionReassignmentsRequest::default())
        .await;
}

pub async fn elections(p: &mut Parity) {
    p.create("elected", 2, &[]).await;
    let electing = |election_type: i8, topics: Option<&[(&str, &[i32])]>| ElectLeadersRequest {
        election_type,
        topic_partitions: topics.map(|topics| {
            let topic = |(name, partitions): &(&str, &[i32])| TopicPartitions {
                topic: (*name).to_owned(),
                partitions: partitions.to_vec(),
            };
            topics.iter().map(topic).collect()
        }),
        timeout_ms: 10_000,
    };
    for election_type in [0, 1] {
        let case = |what: &str| format!("type {election_type}, {what}");
        p.all(&case("all"), |_, _| electing(election_type, None)).await;
        p.all(&case("none"), |_, _| electing(election_type, Some(&[])))
            .await;
        p.all(&case("some"), |_, _| {
            electing(election_type, Some(&[("elected", &[0, 1])]))
        })
        .await;
        p.all(&case("unknown partitions"), |_, _| {
            electing(election_type, Some(&[("elected", &[2, -1, 0])]))
        })
        .await;
        p.all(&case("twice"), |_, _| {
            electing(election_type, Some(&[("elected", &[0, 0, 2, 2])]))
        })
        .await;
        p.all(&case("unknown topics"), |_, _| {
            electing(election_type, Some(&[("elected-none", &[0]), ("", &[0])]))
        })
        .await;
        p.all(&case("no partitions"), |_, _| {
            electing(election_type, Some(&[("elected", &[])]))
        })
        .await;
    }
    for election_type in [2, -1] {
        p.all(&format!("type {election_type}"), |_, _| {
            electing(election_type, Some(&[("elected", &[0])]))
        })
        .await;
    }
}

/// A type of entity, how its name is to match, and the name.
type Filter<'a> = (&'a str, i8, Option<&'a str>);

type Entity<'a> = &'a [(&'a str, Option<&'a str>)];

pub async fn quotas(p: &mut Parity) {
    let altering = |entity: Entity<'_>, key: &str, value: f64, remove: bool| AlterClientQuotasRequest {
        entries: vec![alter::EntryData {
            entity: entity
                .iter()
                .map(|(entity_type, name)| alter::EntityData {
                    entity_type: (*entity_type).to_owned(),
                    entity_name: name.map(str::to_owned),
                })
                .collect(),
            ops: vec![alter::OpData {
                key: key.to_owned(),
                value,
                remove,
            }],
        }],
        validate_only: false,
    };
    let user: Entity<'_> = &[("user", Some("quotas"))];
    let client: Entity<'_> = &[("client-id", Some("quotas"))];
    let both: Entity<'_> = &[("user", Some("quotas")), ("client-id", Some("quotas"))];
    for (case, entity) in [("user", user), ("client", client), ("user and client", both)] {
        for (key, value) in [
            ("producer_byte_rate", 1e9),
            ("consumer_byte_rate", 2e9),
            ("request_percentage", 50_000.0),
        ] {
            p.all(&format!("{case}, {key}"), |_, _| {
                altering(entity, key, value, false)
            })
            .await;
        }
    }
    let bad: &[(&str, Entity<'_>, &str, f64)] = &[
        ("an unknown key", user, "no.such.key", 1.0),
        ("an empty key", user, "", 1.0),
        ("a negative rate", user, "producer_byte_rate", -1.0),
        ("a rate of nothing", user, "producer_byte_rate", 0.0),
        ("half a byte", user, "producer_byte_rate", 0.5),
        ("no number", user, "producer_byte_rate", f64::NAN),
        (
            "an unknown entity",
            &[("group", Some("g"))],
            "producer_byte_rate",
            1.0,
        ),
        ("no entity", &[], "producer_byte_rate", 1.0),
        ("an empty name", &[("user", Some(""))], "producer_byte_rate", 1.0),
        (
            "a type twice",
            &[("user", Some("a")), ("user", Some("b"))],
            "producer_byte_rate",
            1.0,
        ),
        (
            "an address and a user",
            &[("ip", Some("127.0.0.1")), ("user", Some("b"))],
            "connection_creation_rate",
            1.0,
        ),
        (
            "a bad address",
            &[("ip", Some("nowhere at all"))],
            "connection_creation_rate",
            1.0,
        ),
        (
            "a byte rate of an address",
            &[("ip", Some("127.0.0.1"))],
            "producer_byte_rate",
            1.0,
        ),
        ("connections of a user", user, "connection_creation_rate", 1.0),
    ];
    for (case, entity, key, value) in bad {
        p.all(case, |_, _| altering(entity, key, *value, false)).await;
        p.newest(&format!("{case}, removed"), |_| {
            altering(entity, key, *value, true)
        })
        .await;
    }
    p.all("none", |_, _| AlterClientQuotasRequest::default()).await;
    p.caught_up().await;
    let asking = |components: &[Filter<'_>], strict: bool| DescribeClientQuotasRequest {
        components: components
            .iter()
            .map(|(entity_type, match_type, name)| ComponentData {
                entity_type: (*entity_type).to_owned(),
                match_type: *match_type,
                match_name: name.map(str::to_owned),
            })
            .collect(),
        strict,
    };
    let filters: &[(&str, &[Filter<'_>], bool)] = &[
        ("a user", &[("user", 0, Some("quotas"))], true),
        ("a client", &[("client-id", 0, Some("quotas"))], true),
        (
            "both",
            &[("user", 0, Some("quotas")), ("client-id", 0, Some("quotas"))],
            true,
        ),
        ("any user alone", &[("user", 2, None)], true),
        ("the default user", &[("user", 1, None)], true),
        ("nobody", &[("user", 0, Some("nobody"))], false),
        ("an unknown type", &[("group", 2, None)], false),
        ("a type twice", &[("user", 2, None), ("user", 2, None)], false),
        ("an unknown match", &[("user", 7, None)], false),
        ("an exact match of nothing", &[("user", 0, None)], false),
        ("the default with a name", &[("user", 1, Some("x"))], false),
        ("any with a name", &[("user", 2, Some("x"))], false),
        ("an empty type", &[("", 2, None)], false),
        (
            "an address and a user",
            &[("ip", 2, None), ("user", 2, None)],
            false,
        ),
        ("strictly nothing", &[], true),
    ];
    for (case, components, strict) in filters {
        p.all(case, |_, _| asking(components, *strict)).await;
    }
    for (entity, keys) in [
        (
            user,
            ["producer_byte_rate", "consumer_byte_rate", "request_percentage"],
        ),
        (
            client,
            ["producer_byte_rate", "consumer_byte_rate", "request_percentage"],
        ),
    ] {
        for key in keys {
            p.newest("removed", |_| altering(entity, key, 0.0, true)).await;
        }
    }
    p.newest("a user without any", |_| {
        asking(&[("user", 0, Some("quotas"))], true)
    })
    .await;
}
