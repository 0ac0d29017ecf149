//! Topics, partitions and dynamic configuration at one moment.

use std::{collections::BTreeMap, sync::Arc};

use heliostat_wire::Uuid;
use serde::{Deserialize, Serialize};

use crate::quota::{QuotaEntity, QuotaMap, QuotaValues};

/// Names and values of the configuration that was set for a node, or for all of them.
pub type BrokerConfigs = BTreeMap<String, String>;

/// The topics and the dynamic configuration at one moment.
#[derive(Debug, Clone, Default)]
pub struct Image {
    incarnation: i32,
    topics: BTreeMap<String, Arc<Topic>>,
    names: BTreeMap<Uuid, String>,
    /// Names by their form without dots.
    plain_names: BTreeMap<String, String>,
    partitions: usize,
    brokers: BTreeMap<String, BrokerConfigs>,
    quotas: Arc<QuotaMap>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its identity: a topic that is deleted and created again has another one.
    pub id: Uuid,
    /// The incarnation of the cluster in which it was created.
    pub created_in: i32,
    /// Its partitions, by index.
    pub partitions: Vec<Partition>,
    /// The configuration that was set for it.
    pub configs: BTreeMap<String, String>,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// The node that serves it.
    pub leader: i32,
    /// The nodes that are said to hold it, the preferred leader first.
    pub replicas: Vec<i32>,
}

/// A topic as it is written to the journal, under its name.
#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: String,
    created_in: i32,
    partitions: Vec<Partition>,
    configs: BTreeMap<String, String>,
}

impl Image {
    pub(super) fn new(incarnation: i32) -> Self {
        Image {
            incarnation,
            ..Default::default()
        }
    }

    /// How many times the cluster was started before.
    pub fn incarnation(&self) -> i32 {
        self.incarnation
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// The topic with this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// The topic whose name differs from this one at most by dots in place of underscores.
    pub(crate) fn name_without_dots(&self, name: &str) -> Option<&str> {
        self.plain_names.get(&without_dots(name)).map(String::as_str)
    }

    /// Partitions of all topics.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// The epoch of a topic's leaders: 0 at first, and one more with each start of the cluster.
    pub fn leader_epoch(&self, topic: &Topic) -> i32 {
        self.incarnation.saturating_sub(topic.created_in).max(0)
    }

    /// What was set for a node, or for all nodes if `node` is empty.
    pub fn broker_configs(&self, node: &str) -> &BrokerConfigs {
        static NONE: BrokerConfigs = BrokerConfigs::new();
        self.brokers.get(node).unwrap_or(&NONE)
    }

    /// All quotas.
    pub(crate) fn quotas(&self) -> &QuotaMap {
        &self.quotas
    }

    pub(super) fn set_quotas(&mut self, quotas: QuotaMap) {
        self.quotas = Arc::new(quotas);
    }

    pub(super) fn put_quotas(&mut self, entity: QuotaEntity, values: QuotaValues) {
        let quotas = Arc::make_mut(&mut self.quotas);
        if values.is_empty() {
            quotas.remove(&entity);
        } else {
            quotas.insert(entity, values);
        }
    }

    pub(super) fn insert(&mut self, topic: Topic) {
        self.remove(&topic.name);
        self.partitions += topic.partitions.len();
        self.names.insert(topic.id, topic.name.clone());
        self.plain_names
            .insert(without_dots(&topic.name), topic.name.clone());
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.topics.remove(name)?;
        self.partitions -= topic.partitions.len();
        self.names.remove(&topic.id);
        self.plain_names.remove(&without_dots(name));
        Some(topic)
    }

    pub(crate) fn put_broker_configs(&mut self, node: &str, configs: BrokerConfigs) {
        self.brokers.insert(node.to_owned(), configs);
    }
}

impl Topic {
    /// The partition with this index.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The topic as it is on nodes 1 to `nodes`: what a node led that is there no more is led by another replica,
    /// or by any node if there is none. All nodes share their storage, so none of them lacks the data.
    pub(super) fn on_nodes(mut self, nodes: i32) -> Topic {
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            partition.replicas.retain(|node| (1..=nodes).contains(node));
            if partition.replicas.is_empty() {
                partition.replicas.push(index as i32 % nodes + 1);
            }
            if !partition.replicas.contains(&partition.leader) {
                partition.leader = partition.replicas[0];
            }
        }
        self
    }
}

impl Partition {
    /// A partition that its first replica leads. `replicas` must not be empty.
    pub fn new(replicas: Vec<i32>) -> Self {
        Partition {
            leader: replicas[0],
            replicas,
        }
    }
}

fn without_dots(name: &str) -> String {
    name.replace('.', "_")
}

pub(super) fn encode_topic(topic: &Topic) -> Vec<u8> {
    let stored = StoredTopic {
        id: topic.id.to_string(),
        created_in: topic.created_in,
        partitions: topic.partitions.clone(),
        configs: topic.configs.clone(),
    };
    serde_json::to_vec(&stored).expect("numbers and texts have a JSON form")
}

pub(super) fn decode_topic(name: &str, value: &[u8]) -> Result<Topic, Box<dyn std::error::Error>> {
    let stored: StoredTopic = serde_json::from_slice(value)?;
    Ok(Topic {
        name: name.to_owned(),
        id: stored.id.parse()?,
        created_in: stored.created_in,
        partitions: stored.partitions,
        configs: stored.configs,
    })
}

pub(super) fn encode_configs(configs: &BrokerConfigs) -> Vec<u8> {
    serde_json::to_vec(configs).expect("texts have a JSON form")
}

pub(super) fn decode_configs(value: &[u8]) -> Result<BrokerConfigs, serde_json::Error> {
    serde_json::from_slice(value)
}
