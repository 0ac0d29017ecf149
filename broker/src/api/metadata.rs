//! Metadata (3), versions 0-13: nodes, topics, and who leads what. May create topics on the way.
//!
//! A topic that is created here is ready at once: LEADER_NOT_AVAILABLE is answered only where all nodes that may lead
//! a partition are down.

use std::{collections::BTreeSet, sync::Arc};

use heliostat_wire::{
    ErrorCode, Uuid,
    message::{
        MetadataRequest, MetadataResponse,
        metadata::{
            MetadataRequestTopic, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
};

use super::{Context, Peer, distinct::distinct, operations};
use crate::{
    broker::Broker,
    state::{Image, Partition, Topic, names, partition::NO_LEADER},
    topics::NewTopic,
};

/// The first version in which a topic can be named by its id alone.
const TOPIC_IDS_SINCE: i16 = 12;

pub(super) async fn handle(context: Context, request: MetadataRequest) -> MetadataResponse {
    let broker = &context.broker;
    // Version 0 has no null: an empty list stands for all topics.
    let asked = request
        .topics
        .filter(|topics| context.api_version > 0 || !topics.is_empty());
    let may_create = (context.api_version < 4 || request.allow_auto_topic_creation)
        && broker.settings().auto_create_topics;
    if let Some(asked) = &asked
        && !(TOPIC_IDS_SINCE..).contains(&context.api_version)
        && asked
            .iter()
            .any(|topic| topic.name.is_none() || !topic.topic_id.is_zero())
    {
        return nameless(asked);
    }
    let version = context.api_version;
    let mut topics = match asked {
        None => {
            let image = broker.image();
            image
                .topics()
                .map(|topic| describe(&image, topic, version))
                .collect()
        }
        Some(asked) => {
            let asked = distinct(by_id_or_name(asked), |topic| (topic.name.clone(), topic.topic_id));
            describe_asked(&context, asked, may_create).await
        }
    };
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
            topic.topic_authorized_operations = operations::TOPIC;
        }
    }
    let image = broker.image();
    MetadataResponse {
        brokers: brokers(broker, &context.peer, &image),
        cluster_id: Some(broker.cluster_id().to_owned()),
        controller_id: image.controller(),
        topics,
        cluster_authorized_operations: operations::if_asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        ..Default::default()
    }
}

/// Kafka looks up ids or names, and not both: where there is an id, names go unheard.
fn by_id_or_name(mut asked: Vec<MetadataRequestTopic>) -> Vec<MetadataRequestTopic> {
    if asked.iter().any(|topic| !topic.topic_id.is_zero()) {
        asked.retain(|topic| !topic.topic_id.is_zero());
        asked.iter_mut().for_each(|topic| topic.name = None);
    }
    asked
}

/// The answer to a request that leaves names out in a version that has no ids yet.
fn nameless(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = |topic: &MetadataRequestTopic| {
        let name = topic.name.clone().unwrap_or_default();
        failed(Some(name), topic.topic_id, ErrorCode::InvalidRequest)
    };
    MetadataResponse {
        topics: asked.iter().map(refused).collect(),
        ..Default::default()
    }
}

/// The nodes that are up, where this client reaches them.
pub(crate) fn brokers(broker: &Broker, peer: &Peer, image: &Image) -> Vec<MetadataResponseBroker> {
    let rack = broker.settings().rack.clone();
    let nodes = broker.live_nodes(image);
    nodes
        .map(|node| MetadataResponseBroker {
            node_id: node.id,
            host: node.host_for(peer),
            port: node.port.into(),
            rack: rack.clone(),
        })
        .collect()
}

async fn describe_asked(
    context: &Context,
    asked: Vec<MetadataRequestTopic>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let broker = &context.broker;
    if may_create {
        let image = broker.image();
        let missing = asked
            .iter()
            .filter_map(|topic| topic.name.as_deref())
            .filter(|name| image.topic(name).is_none() && names::problem(name).is_none())
            .map(NewTopic::with_defaults)
            .collect::<Vec<_>>();
        if !missing.is_empty() {
            // What cannot be created is described as unknown below, or as invalid by its name.
            broker
                .create_topics(missing, false, &mut context.mutations(0))
                .await;
        }
    }
    let image = broker.image();
    asked
        .into_iter()
        .map(|topic| describe_one(&image, topic, context.api_version))
        .collect()
}

fn describe_one(image: &Image, asked: MetadataRequestTopic, version: i16) -> MetadataResponseTopic {
    let Some(name) = asked.name else {
        return match image.topic_by_id(asked.topic_id) {
            Some(topic) => describe(image, topic, version),
            None => failed(None, asked.topic_id, ErrorCode::UnknownTopicId),
        };
    };
    match image.topic(&name) {
        Some(topic) => describe(image, topic, version),
        None if names::problem(&name).is_some() || names::collision(&name, image).is_some() => {
            failed(Some(name), Uuid::ZERO, ErrorCode::InvalidTopicException)
        }
        None => failed(Some(name), Uuid::ZERO, ErrorCode::UnknownTopicOrPartition),
    }
}

fn failed(name: Option<String>, topic_id: Uuid, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.into(),
        name,
        topic_id,
        ..Default::default()
    }
}

fn describe(image: &Image, topic: &Arc<Topic>, version: i16) -> MetadataResponseTopic {
    let indexes = 0..topic.partitions.len() as i32;
    let partitions = indexes.zip(&topic.partitions);
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        partitions: partitions
            .map(|(index, partition)| MetadataResponsePartition {
                partition_index: index,
                leader_epoch: image.leader_epoch(topic, index),
                ..describe_partition(partition, image.live(), version)
            })
            .collect(),
        ..Default::default()
    }
}

fn describe_partition(
    partition: &Partition,
    live: &BTreeSet<i32>,
    version: i16,
) -> MetadataResponsePartition {
    let mut replica_nodes = partition.replicas.clone();
    // The first version shows only what is up, and says that something is missing.
    if version == 0 {
        replica_nodes.retain(|node| live.contains(node));
    }
    let error = match partition.leader {
        NO_LEADER => ErrorCode::LeaderNotAvailable,
        _ if replica_nodes.len() < partition.replicas.len() => ErrorCode::ReplicaNotAvailable,
        _ => ErrorCode::None,
    };
    MetadataResponsePartition {
        error_code: error.into(),
        leader_id: partition.leader,
        replica_nodes,
        isr_nodes: partition.isr.clone(),
        offline_replicas: partition.offline_replicas(live),
        ..Default::default()
    }
}
