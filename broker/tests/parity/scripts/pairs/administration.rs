//! Topics that are made and changed, and what is set for them and for users.

use heliostat_wire::message::{
    AlterClientQuotasRequest, AlterConfigsRequest, AlterPartitionReassignmentsRequest,
    AlterUserScramCredentialsRequest, CreatePartitionsRequest, CreateTopicsRequest,
    IncrementalAlterConfigsRequest, alter_client_quotas,
    alter_partition_reassignments::{ReassignablePartition, ReassignableTopic},
    create_partitions::CreatePartitionsAssignment,
    create_topics::{CreatableReplicaAssignment, CreatableTopicConfig},
};

use super::{Fault, ends, pairs};
use crate::{
    harness::Parity,
    requests::{create, topic},
    scripts::{
        configs::{changing, replacing},
        security::{SHA_256, SHA_512, remove, set},
        topics::grow_to,
    },
    side::Side,
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn configured(request: &mut CreateTopicsRequest, name: &str, value: Option<&str>) {
    request.topics[0].configs.push(CreatableTopicConfig {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    });
}

fn placed(request: &mut CreateTopicsRequest, partition_index: i32, nodes: &[i32]) {
    request.topics[0].assignments.push(CreatableReplicaAssignment {
        partition_index,
        broker_ids: nodes.to_vec(),
    });
}

pub async fn create_topics(p: &mut Parity) {
    p.create("pairs-there", 1, &[]).await;
    let faults: &[Fault<CreateTopicsRequest>] = &[
        ("no name", |_, request| request.topics[0].name = String::new()),
        ("a bad name", |_, request| {
            request.topics[0].name = "a b".to_owned()
        }),
        ("a name that is there", |_, request| {
            request.topics[0].name = "pairs-there".to_owned()
        }),
        ("0 partitions", |_, request| request.topics[0].num_partitions = 0),
        ("replication factor 0", |_, request| {
            request.topics[0].replication_factor = 0
        }),
        ("replication factor 9", |_, request| {
            request.topics[0].replication_factor = 9
        }),
        ("an unknown node", |_, request| placed(request, 0, &[9])),
        ("a gap", |_, request| placed(request, 2, &[1])),
        ("a node twice", |_, request| placed(request, 0, &[1, 1])),
        ("nobody", |_, request| placed(request, 1, &[])),
        ("an unknown config", |_, request| {
            configured(request, "no.such.config", Some("1"))
        }),
        ("a bad value", |_, request| {
            configured(request, "retention.ms", Some("abc"))
        }),
        ("another bad value", |_, request| {
            configured(request, "segment.bytes", Some("1"))
        }),
        ("a null value", |_, request| {
            configured(request, "segment.ms", None)
        }),
        ("twice", |_, request| {
            request.topics.push(request.topics[0].clone())
        }),
    ];
    for validate_only in [true, false] {
        let good = |_: &Side| CreateTopicsRequest {
            validate_only,
            ..create(vec![topic("pairs-created", 1, &[])])
        };
        let counted = |_: &Side| CreateTopicsRequest {
            validate_only,
            ..create(vec![topic("pairs-created", -1, &[])])
        };
        let versions = ends::<CreateTopicsRequest>(p);
        // Version 4 was the first to let the broker decide.
        pairs(p, &[4, versions[1]], good, faults).await;
        pairs(p, &[versions[1]], counted, faults).await;
    }
}

pub async fn grow(p: &mut Parity) {
    p.create("pairs-grown", 2, &[]).await;
    let faults: &[Fault<CreatePartitionsRequest>] = &[
        ("no name", |_, request| request.topics[0].name = String::new()),
        ("a bad name", |_, request| {
            request.topics[0].name = "a b".to_owned()
        }),
        ("an unknown topic", |_, request| {
            request.topics[0].name = "pairs-none".to_owned()
        }),
        ("0", |_, request| request.topics[0].count = 0),
        ("fewer", |_, request| request.topics[0].count = 1),
        ("as many", |_, request| request.topics[0].count = 2),
        ("an unknown node", |_, request| place(request, &[9])),
        ("a node twice", |_, request| place(request, &[1, 1])),
        ("nobody", |_, request| place(request, &[])),
        ("a negative node", |_, request| place(request, &[-1])),
        ("twice", |_, request| {
            request.topics.push(request.topics[0].clone())
        }),
    ];
    let versions = ends::<CreatePartitionsRequest>(p);
    let good = |_: &Side| grow_to(&[("pairs-grown", 3, None)], true);
    pairs(p, &versions, good, faults).await;
}

fn place(request: &mut CreatePartitionsRequest, nodes: &[i32]) {
    let assignments = request.topics[0].assignments.get_or_insert_default();
    assignments.push(CreatePartitionsAssignment {
        broker_ids: nodes.to_vec(),
    });
}

/// Adds a change to those that are asked for.
fn change(request: &mut IncrementalAlterConfigsRequest, name: &str, operation: i8, value: Option<&str>) {
    let change = changing(0, "", &[(name, operation, value)])
        .resources
        .remove(0)
        .configs
        .remove(0);
    request.resources[0].configs.push(change);
}

pub async fn configs(p: &mut Parity) {
    p.create("pairs-changed", 1, &[]).await;
    let faults: &[Fault<IncrementalAlterConfigsRequest>] = &[
        ("no name", |_, request| {
            request.resources[0].resource_name = String::new()
        }),
        ("a bad name", |_, request| {
            request.resources[0].resource_name = "a b".to_owned()
        }),
        ("an unknown topic", |_, request| {
            request.resources[0].resource_name = "pairs-none".to_owned()
        }),
        ("an unknown node", |_, request| {
            (
                request.resources[0].resource_type,
                request.resources[0].resource_name,
            ) = (BROKER, "9".to_owned());
        }),
        ("type 7", |_, request| request.resources[0].resource_type = 7),
        ("an unknown key", |_, request| {
            change(request, "no.such.config", 0, Some("1"))
        }),
        ("no key", |_, request| change(request, "", 0, Some("1"))),
        ("a bad value", |_, request| {
            change(request, "retention.ms", 0, Some("abc"))
        }),
        ("another bad value", |_, request| {
            change(request, "segment.bytes", 0, Some("1"))
        }),
        ("a null value", |_, request| {
            change(request, "segment.ms", 0, None)
        }),
        ("a null that is appended", |_, request| {
            change(request, "cleanup.policy", 2, None)
        }),
        ("more of what is no list", |_, request| {
            change(request, "max.message.bytes", 2, Some("1"))
        }),
        ("less of what is no list", |_, request| {
            change(request, "flush.ms", 3, Some("1"))
        }),
        ("an unknown key removed", |_, request| {
            change(request, "no.such.either", 1, None)
        }),
        ("a key twice", |_, request| {
            change(request, "index.interval.bytes", 0, Some("5"));
            change(request, "index.interval.bytes", 0, Some("6"));
        }),
        ("twice", |_, request| {
            request.resources.push(request.resources[0].clone())
        }),
    ];
    let versions = ends::<IncrementalAlterConfigsRequest>(p);
    for validate_only in [true, false] {
        let good = |_: &Side| IncrementalAlterConfigsRequest {
            validate_only,
            ..changing(TOPIC, "pairs-changed", &[("preallocate", 0, Some("true"))])
        };
        pairs(p, &versions, good, faults).await;
    }
}

/// Adds a config to those that shall be the only ones.
fn replace(request: &mut AlterConfigsRequest, name: &str, value: Option<&str>) {
    let config = replacing(0, "", &[(name, value)])
        .resources
        .remove(0)
        .configs
        .remove(0);
    request.resources[0].configs.push(config);
}

pub async fn replaced_configs(p: &mut Parity) {
    p.create("pairs-replaced", 1, &[]).await;
    let faults: &[Fault<AlterConfigsRequest>] = &[
        ("no name", |_, request| {
            request.resources[0].resource_name = String::new()
        }),
        ("a bad name", |_, request| {
            request.resources[0].resource_name = "a b".to_owned()
        }),
        ("an unknown topic", |_, request| {
            request.resources[0].resource_name = "pairs-none".to_owned()
        }),
        ("an unknown node", |_, request| {
            (
                request.resources[0].resource_type,
                request.resources[0].resource_name,
            ) = (BROKER, "9".to_owned());
        }),
        ("type 7", |_, request| request.resources[0].resource_type = 7),
        ("an unknown key", |_, request| {
            replace(request, "no.such.config", Some("1"))
        }),
        ("a bad value", |_, request| {
            replace(request, "retention.ms", Some("abc"))
        }),
        ("another bad value", |_, request| {
            replace(request, "segment.bytes", Some("1"))
        }),
        ("a null value", |_, request| replace(request, "segment.ms", None)),
        ("a key twice", |_, request| {
            replace(request, "index.interval.bytes", Some("5"));
            replace(request, "index.interval.bytes", Some("6"));
        }),
    ];
    // No resource is named twice: Kafka does not answer at all if it is wrong otherwise.
    let versions = ends::<AlterConfigsRequest>(p);
    let good = |_: &Side| replacing(TOPIC, "pairs-replaced", &[("preallocate", Some("true"))]);
    pairs(p, &versions, good, faults).await;
}

pub async fn reassignments(p: &mut Parity) {
    p.create("pairs-moved", 1, &[]).await;
    let good = |_: &Side| AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "pairs-moved".to_owned(),
            partitions: vec![ReassignablePartition {
                partition_index: 0,
                replicas: Some(vec![1]),
            }],
        }],
        ..Default::default()
    };
    let versions = ends::<AlterPartitionReassignmentsRequest>(p);
    pairs(
        p,
        &versions,
        good,
        &[
            ("an unknown topic", |_, request| {
                request.topics[0].name = "pairs-none".to_owned()
            }),
            ("no name", |_, request| request.topics[0].name = String::new()),
            ("an unknown partition", |_, request| {
                request.topics[0].partitions[0].partition_index = 9
            }),
            ("nothing to cancel", |_, request| {
                request.topics[0].partitions[0].replicas = None
            }),
            ("nobody", |_, request| {
                request.topics[0].partitions[0].replicas = Some(vec![])
            }),
            ("an unknown node twice", |_, request| {
                request.topics[0].partitions[0].replicas = Some(vec![9, 9]);
            }),
            ("a negative node", |_, request| {
                request.topics[0].partitions[0].replicas = Some(vec![1, -1]);
            }),
            ("no other replication factor", |_, request| {
                request.allow_replication_factor_change = false
            }),
        ],
    )
    .await;
}

pub async fn quotas(p: &mut Parity) {
    fn entity(request: &mut AlterClientQuotasRequest, kind: &str, name: Option<&str>) {
        request.entries[0].entity.push(alter_client_quotas::EntityData {
            entity_type: kind.to_owned(),
            entity_name: name.map(str::to_owned),
        });
    }
    fn limit(request: &mut AlterClientQuotasRequest, key: &str, value: f64, remove: bool) {
        request.entries[0].ops.push(alter_client_quotas::OpData {
            key: key.to_owned(),
            value,
            remove,
        });
    }
    let faults: &[Fault<AlterClientQuotasRequest>] = &[
        ("an unknown type", |_, request| {
            entity(request, "group", Some("g"))
        }),
        ("no type", |_, request| entity(request, "", Some("g"))),
        ("a type twice", |_, request| entity(request, "user", Some("b"))),
        ("an empty name", |_, request| {
            entity(request, "client-id", Some(""))
        }),
        ("an address", |_, request| {
            entity(request, "ip", Some("nowhere at all"))
        }),
        ("nobody", |_, request| request.entries[0].entity.clear()),
        ("an unknown key", |_, request| {
            limit(request, "no.such.key", 1.0, false)
        }),
        ("an unknown key removed", |_, request| {
            limit(request, "no.such.either", 1.0, true)
        }),
        ("a negative rate", |_, request| {
            limit(request, "producer_byte_rate", -1.0, false)
        }),
        ("half a byte", |_, request| {
            limit(request, "consumer_byte_rate", 0.5, false)
        }),
        ("connections of a user", |_, request| {
            limit(request, "connection_creation_rate", 1.0, false)
        }),
        ("twice", |_, request| {
            request.entries.push(request.entries[0].clone())
        }),
        ("nothing", |_, request| request.entries[0].ops.clear()),
    ];
    let versions = ends::<AlterClientQuotasRequest>(p);
    for validate_only in [true, false] {
        let good = |_: &Side| {
            let entries = vec![alter_client_quotas::EntryData::default()];
            let mut request = AlterClientQuotasRequest {
                entries,
                validate_only,
            };
            entity(&mut request, "user", Some("pairs"));
            limit(&mut request, "request_percentage", 5000.0, false);
            request
        };
        pairs(p, &versions, good, faults).await;
    }
}

pub async fn passwords(p: &mut Parity) {
    let faults: &[Fault<AlterUserScramCredentialsRequest>] = &[
        ("no name", |_, request| request.upsertions[0].name = String::new()),
        ("an unknown mechanism", |_, request| {
            request.upsertions[0].mechanism = 99
        }),
        ("mechanism 0", |_, request| request.upsertions[0].mechanism = 0),
        ("few iterations", |_, request| {
            request.upsertions[0].iterations = 1
        }),
        ("many iterations", |_, request| {
            request.upsertions[0].iterations = 1 << 30
        }),
        ("no salt", |_, request| request.upsertions[0].salt.clear()),
        ("no password", |_, request| {
            request.upsertions[0].salted_password.clear()
        }),
        ("twice", |_, request| {
            request.upsertions.push(request.upsertions[0].clone())
        }),
        ("another mechanism as well", |_, request| {
            let mut other = request.upsertions[0].clone();
            other.mechanism = SHA_512;
            request.upsertions.push(other);
        }),
        ("removed as well", |_, request| {
            let name = request.upsertions[0].name.clone();
            request
                .deletions
                .push(remove(&name, request.upsertions[0].mechanism));
        }),
        ("nobody removed", |_, request| {
            request.deletions.push(remove("pairs-nobody", SHA_256))
        }),
        ("a mechanism that is unknown removed", |_, request| {
            request.deletions.push(remove("pairs", 99));
        }),
        ("no name removed", |_, request| {
            request.deletions.push(remove("", SHA_256))
        }),
    ];
    let versions = ends::<AlterUserScramCredentialsRequest>(p);
    let good = |_: &Side| AlterUserScramCredentialsRequest {
        deletions: vec![],
        upsertions: vec![set("pairs", SHA_256)],
    };
    pairs(p, &versions[1..], good, faults).await;
}
