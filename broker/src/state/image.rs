//! Topics, partitions and dynamic configuration at one moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use heliostat_wire::Uuid;
use serde::{Deserialize, Serialize};

use super::{
    credentials::{Credentials, ScramCredential, ScramMechanism},
    partition::Partition,
};
use crate::quota::{QuotaEntity, QuotaMap, QuotaValues};

/// Names and values of the configuration that was set for a node, or for all of them.
pub type BrokerConfigs = BTreeMap<String, String>;

/// The topics and the dynamic configuration at one moment.
#[derive(Debug, Clone, Default)]
pub struct Image {
    incarnation: i32,
    /// Entries that were written to get here.
    written: i64,
    topics: BTreeMap<String, Arc<Topic>>,
    names: BTreeMap<Uuid, String>,
    /// Names by their form without dots.
    plain_names: BTreeMap<String, String>,
    partitions: usize,
    brokers: BTreeMap<String, BrokerConfigs>,
    groups: BTreeMap<String, BrokerConfigs>,
    quotas: Arc<QuotaMap>,
    credentials: Arc<Credentials>,
    nodes: Arc<Nodes>,
}

/// Which nodes are up, and which of them coordinate.
#[derive(Debug, Clone, Default, PartialEq)]
struct Nodes {
    /// How many there are, up or not.
    count: usize,
    live: BTreeSet<i32>,
    /// The node that is said to be the controller; -1 if none is up.
    controller: i32,
    /// How often another node became the controller since the start.
    elections: i32,
    /// The coordinator of each slot, as the leaders of Kafka's internal topics; -1 if none is up.
    coordinators: Vec<i32>,
}

/// Groups and transactional ids are spread over as many slots, as over the partitions of Kafka's internal topics.
const COORDINATOR_SLOTS: usize = 50;

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

/// A topic as it is written to the journal, under its name.
#[derive(Serialize, Deserialize)]
struct StoredTopic {
    id: String,
    created_in: i32,
    partitions: Vec<Partition>,
    configs: BTreeMap<String, String>,
}

impl Image {
    /// An image of nodes 1 to `nodes`, all of which are up.
    pub(super) fn new(incarnation: i32, nodes: i32) -> Self {
        let coordinators = (0..COORDINATOR_SLOTS as i32).map(|slot| slot % nodes.max(1) + 1);
        Image {
            incarnation,
            nodes: Arc::new(Nodes {
                count: usize::try_from(nodes).unwrap_or(0),
                live: (1..=nodes).collect(),
                controller: 1,
                elections: 0,
                coordinators: coordinators.collect(),
            }),
            ..Default::default()
        }
    }

    /// The nodes that are up.
    pub fn live(&self) -> &BTreeSet<i32> {
        &self.nodes.live
    }

    /// How many nodes there are, up or not.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes.count
    }

    /// The node that is said to be the controller; -1 if none is up.
    pub fn controller(&self) -> i32 {
        self.nodes.controller
    }

    /// The epoch of the controller: 1 at first, and one more with each start of the cluster and with each election.
    pub fn controller_epoch(&self) -> i32 {
        (self.incarnation + 1).saturating_add(self.nodes.elections)
    }

    /// How many entries the cluster's own state has taken: the end of what Kafka calls the metadata log.
    pub fn written(&self) -> i64 {
        self.written
    }

    /// Takes note of entries that are written.
    pub(super) fn count_written(&mut self, entries: usize) {
        self.written += entries as i64;
    }

    /// The node that coordinates the group, or whatever else has this name; -1 if none is up.
    pub fn coordinator(&self, key: &str) -> i32 {
        let slot = crc32c::crc32c(key.as_bytes()) as usize % COORDINATOR_SLOTS;
        self.nodes.coordinators.get(slot).copied().unwrap_or(-1)
    }

    /// Takes note of which nodes are up. Who coordinates goes on doing so while it is up; `preferred` gives each slot back
    /// to the node that it had at first.
    pub(super) fn set_live(&mut self, live: BTreeSet<i32>, preferred: bool) {
        let nodes = self.nodes.count as i32;
        let mut coordinators = self.nodes.coordinators.clone();
        for (slot, node) in coordinators.iter_mut().enumerate() {
            let first = slot as i32 % nodes.max(1);
            if preferred || !live.contains(node) {
                // The preferred node, or else the next one that is up.
                let mut turns = (0..nodes).map(|turn| (first + turn) % nodes + 1);
                *node = turns.find(|node| live.contains(node)).unwrap_or(-1);
            }
        }
        let controller = match self.nodes.controller {
            node if live.contains(&node) => node,
            _ => live.first().copied().unwrap_or(-1),
        };
        let elections = self.nodes.elections + i32::from(controller != self.nodes.controller);
        self.nodes = Arc::new(Nodes {
            count: self.nodes.count,
            live,
            controller,
            elections,
            coordinators,
        });
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

    /// The epoch of a partition's leader: 0 at first, and one more with each start of the cluster and with each change of
    /// the leader.
    pub fn leader_epoch(&self, topic: &Topic, index: i32) -> i32 {
        let starts = self.incarnation.saturating_sub(topic.created_in).max(0);
        let elections = topic.partition(index).map_or(0, |partition| partition.elections);
        starts.saturating_add(elections)
    }

    /// What was set for a node, or for all nodes if `node` is empty.
    pub fn broker_configs(&self, node: &str) -> &BrokerConfigs {
        static NONE: BrokerConfigs = BrokerConfigs::new();
        self.brokers.get(node).unwrap_or(&NONE)
    }

    /// Whether anything was set for a single node.
    pub fn has_node_configs(&self) -> bool {
        let mut brokers = self.brokers.iter();
        brokers.any(|(node, configs)| !node.is_empty() && !configs.is_empty())
    }

    /// What was set for a group.
    pub fn group_configs(&self, group_id: &str) -> &BrokerConfigs {
        static NONE: BrokerConfigs = BrokerConfigs::new();
        self.groups.get(group_id).unwrap_or(&NONE)
    }

    /// The groups for which something was set.
    pub fn configured_groups(&self) -> impl Iterator<Item = &String> {
        self.groups.keys()
    }

    /// All quotas.
    pub(crate) fn quotas(&self) -> &QuotaMap {
        &self.quotas
    }

    /// Passwords, by user and mechanism.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn set_credentials(&mut self, credentials: Credentials) {
        self.credentials = Arc::new(credentials);
    }

    pub(super) fn put_credential(
        &mut self,
        user: &str,
        mechanism: ScramMechanism,
        credential: Option<ScramCredential>,
    ) {
        let credentials = Arc::make_mut(&mut self.credentials);
        let of_user = credentials.entry(user.to_owned()).or_default();
        match credential {
            Some(credential) => drop(of_user.insert(mechanism, credential)),
            None => drop(of_user.remove(&mechanism)),
        }
        if of_user.is_empty() {
            credentials.remove(user);
        }
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

    pub(crate) fn insert(&mut self, topic: Topic) {
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

    pub(crate) fn put_group_configs(&mut self, group_id: &str, configs: BrokerConfigs) {
        if configs.is_empty() {
            self.groups.remove(group_id);
        } else {
            self.groups.insert(group_id.to_owned(), configs);
        }
    }
}

impl Topic {
    /// The partition with this index.
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The topic as it is on nodes 1 to `nodes` after a start.
    pub(super) fn on_nodes(mut self, nodes: i32) -> Topic {
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            partition.on_nodes(index, nodes);
        }
        self
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
