//! Taking nodes down and up while the cluster runs, and moving leaders: what tests and rehearsals do to a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use thiserror::Error;
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::{
    api_error::ApiError,
    broker::{Broker, Node},
    fault::{Fault, FaultError, FaultStatus},
    net::Server,
    nodes::Election,
    state::{Partition, partition::NO_LEADER},
};

/// What can be done to a running cluster. A clone does the same to the same cluster.
#[derive(Debug, Clone)]
pub struct Control {
    broker: Arc<Broker>,
    server: Arc<Server>,
    nodes: Arc<Mutex<BTreeMap<i32, NodeState>>>,
    /// Tells one isolation of a node from the next.
    isolations: Arc<AtomicU64>,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It serves.
    Up,
    /// It was stopped: its port is closed, and the cluster knows.
    Stopped,
    /// Clients cannot reach it.
    Isolated {
        /// What becomes of connections.
        isolation: Isolation,
        /// Which isolation it is.
        number: u64,
    },
}

/// How a node is cut off from its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Connections stay, and new ones are accepted, but nothing is answered until the node is back: as on a network that
    /// drops every packet.
    Silent,
    /// Connections are cut, and new ones are refused.
    Refuses,
}

/// A node as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its id.
    pub id: i32,
    /// Where it listens, or would.
    pub address: SocketAddr,
    /// What it does.
    pub state: NodeState,
    /// Whether the cluster counts on it: clients are told of it, and it leads and is in sync where it can be.
    pub live: bool,
    /// Whether it is said to be the controller.
    pub controller: bool,
    /// How many partitions it leads.
    pub leads: usize,
    /// How many partitions have a replica on it.
    pub replicas: usize,
    /// Of those, how many are in sync.
    pub in_sync: usize,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is no such node.
    #[error("there is no broker {id}; this cluster has {known}")]
    UnknownNode {
        /// The node that was named.
        id: i32,
        /// The nodes that there are.
        known: String,
    },
    /// There is no such partition.
    #[error("there is no partition {partition} of a topic {topic:?}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// It cannot be done as things are.
    #[error("{0}")]
    NotPossible(String),
    /// The port cannot be opened again.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The node's address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The change could not be written down.
    #[error("the change was not written, and nothing has changed: {0}")]
    NotWritten(String),
}

impl Control {
    pub(crate) fn new(broker: Arc<Broker>, server: Arc<Server>) -> Self {
        let up = broker.nodes().iter().map(|node| (node.id, NodeState::Up));
        Control {
            nodes: Arc::new(Mutex::new(up.collect())),
            isolations: Arc::default(),
            broker,
            server,
        }
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// All nodes, by id.
    pub async fn nodes(&self) -> Vec<NodeStatus> {
        let states = self.nodes.lock().await.clone();
        let image = self.broker.image();
        let count = |counts: fn(&Partition, i32) -> bool, id: i32| {
            let partitions = image.topics().flat_map(|topic| &topic.partitions);
            partitions.filter(|partition| counts(partition, id)).count()
        };
        let nodes = self.broker.nodes().iter();
        nodes
            .map(|node| NodeStatus {
                id: node.id,
                address: node.socket_address(),
                state: states.get(&node.id).copied().unwrap_or(NodeState::Up),
                live: image.live().contains(&node.id),
                controller: image.controller() == node.id,
                leads: count(|partition, id| partition.leader == id, node.id),
                replicas: count(|partition, id| partition.replicas.contains(&id), node.id),
                in_sync: count(|partition, id| partition.isr.contains(&id), node.id),
            })
            .collect()
    }

    /// Stops a node: others lead what it led, as far as they may; its port is closed and its connections are cut.
    pub async fn stop_node(&self, id: i32) -> Result<(), ControlError> {
        let mut states = self.nodes.lock().await;
        let node = self.node(id)?;
        if states.get(&id) == Some(&NodeState::Stopped) {
            return Err(ControlError::NotPossible(format!(
                "broker {id} is stopped already"
            )));
        }
        self.set_live(id, false).await?;
        self.server.close(id).await;
        self.broker.faults().silence(id, false);
        states.insert(id, NodeState::Stopped);
        info!(node = node.id, "a node was stopped");
        Ok(())
    }

    /// Starts a node that was stopped, or reconnects one that was isolated. It is in sync again at once, but leads only
    /// what nobody leads.
    pub async fn start_node(&self, id: i32) -> Result<(), ControlError> {
        let mut states = self.nodes.lock().await;
        let node = self.node(id)?;
        if states.get(&id) == Some(&NodeState::Up) {
            return Err(ControlError::NotPossible(format!("broker {id} is up already")));
        }
        let opened = self.server.open(id, self.broker.clone()).await;
        opened.map_err(|source| ControlError::Listen {
            address: node.socket_address(),
            source,
        })?;
        if let Err(error) = self.set_live(id, true).await {
            if !matches!(
                states.get(&id),
                Some(NodeState::Isolated {
                    isolation: Isolation::Silent,
                    ..
                })
            ) {
                self.server.close(id).await;
            }
            return Err(error);
        }
        self.broker.faults().silence(id, false);
        states.insert(id, NodeState::Up);
        info!(node = id, "a node was started");
        Ok(())
    }

    /// Cuts a node off from its clients. It goes on believing that it lives; the rest of the cluster notices, and elects
    /// other leaders, after `noticed_after`, or never.
    pub async fn isolate_node(
        &self,
        id: i32,
        isolation: Isolation,
        noticed_after: Option<Duration>,
    ) -> Result<(), ControlError> {
        let mut states = self.nodes.lock().await;
        self.node(id)?;
        if states.get(&id) != Some(&NodeState::Up) {
            let message = format!("broker {id} is not up: start it first");
            return Err(ControlError::NotPossible(message));
        }
        match isolation {
            Isolation::Silent => self.broker.faults().silence(id, true),
            Isolation::Refuses => self.server.close(id).await,
        }
        let number = self.isolations.fetch_add(1, Ordering::Relaxed);
        let state = NodeState::Isolated { isolation, number };
        states.insert(id, state);
        info!(node = id, ?isolation, "a node was isolated");
        if let Some(delay) = noticed_after {
            self.server.runtime().spawn(self.clone().lose(id, state, delay));
        }
        Ok(())
    }

    /// Makes a node the leader of a partition. It must be up and in sync.
    pub async fn move_leader(&self, topic: &str, partition: i32, to: i32) -> Result<(), ControlError> {
        self.node(to)?;
        let partitions = [(topic.to_owned(), partition)];
        let mut results = self
            .broker
            .elect(&partitions, Election::Node(to))
            .await
            .map_err(not_written)?;
        match results.pop() {
            Some(Err(error)) if error.code == heliostat_wire::ErrorCode::UnknownTopicOrPartition => {
                Err(unknown(topic, partition))
            }
            Some(Err(error)) if error.code == heliostat_wire::ErrorCode::ElectionNotNeeded => Ok(()),
            Some(Err(error)) => Err(ControlError::NotPossible(
                self.why_not_leader(topic, partition, to).unwrap_or(error.message),
            )),
            _ => Ok(()),
        }
    }

    /// What keeps a node from leading a partition, as far as it is so still.
    fn why_not_leader(&self, topic: &str, partition: i32, node: i32) -> Option<String> {
        let image = self.broker.image();
        let found = image.topic(topic)?.partition(partition)?;
        let list = |nodes: &[i32]| {
            let nodes: Vec<String> = nodes.iter().map(i32::to_string).collect();
            nodes.join(", ")
        };
        if !found.replicas.contains(&node) {
            let replicas = list(&found.replicas);
            return Some(format!(
                "broker {node} has no replica of {topic}-{partition}; those that have are {replicas}"
            ));
        }
        if !image.live().contains(&node) {
            return Some(format!("broker {node} is not up: start it first"));
        }
        if !found.isr.contains(&node) {
            let in_sync = match found.isr.is_empty() {
                true => "nobody is".to_owned(),
                false => format!("in sync are {}", list(&found.isr)),
            };
            return Some(format!(
                "broker {node} is not in sync with {topic}-{partition}; {in_sync}"
            ));
        }
        None
    }

    /// Takes a replica out of the in-sync replicas of a partition, as if it had fallen behind. It stays out until
    /// [`Control::restore_isr`], or until it is elected in spite of it.
    pub async fn shrink_isr(&self, topic: &str, partition: i32, node: i32) -> Result<(), ControlError> {
        self.node(node)?;
        let altered = self.broker.alter_partition(topic, partition, |partition, rules| {
            if !partition.replicas.contains(&node) {
                return Err(format!("broker {node} has no replica of the partition"));
            }
            if partition.leader == node {
                return Err(format!(
                    "broker {node} leads the partition: move the leader first"
                ));
            }
            if !partition.behind.contains(&node) {
                partition.behind.push(node);
            }
            partition.settle(rules);
            Ok(())
        });
        settled(altered.await, topic, partition)
    }

    /// Lets the replicas of a partition be in sync again, if their nodes are up.
    pub async fn restore_isr(&self, topic: &str, partition: i32) -> Result<(), ControlError> {
        let altered = self.broker.alter_partition(topic, partition, |partition, rules| {
            partition.behind.clear();
            partition.settle(rules);
            Ok(())
        });
        settled(altered.await, topic, partition)
    }

    /// The leader of a partition, and its in-sync replicas; `None` as the leader while nobody leads.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<(Option<i32>, Vec<i32>), ControlError> {
        let image = self.broker.image();
        let found = image.topic(topic).and_then(|topic| topic.partition(partition));
        let found = found.ok_or_else(|| unknown(topic, partition))?;
        Ok((
            Some(found.leader).filter(|leader| *leader != NO_LEADER),
            found.isr.clone(),
        ))
    }

    /// Adds a fault, which takes effect at once. Returns its number.
    pub fn add_fault(&self, fault: Fault) -> Result<u64, FaultError> {
        if let Some(node) = fault.node.filter(|node| self.broker.node(*node).is_none()) {
            return Err(FaultError::Wrong(format!("there is no broker {node}")));
        }
        self.broker.faults().add(fault)
    }

    /// Every fault, also those that will hit nothing more.
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.broker.faults().list()
    }

    /// Removes a fault.
    pub fn remove_fault(&self, id: u64) -> Result<(), FaultError> {
        self.broker.faults().remove(id)
    }

    /// Removes all faults; returns how many there were.
    pub fn clear_faults(&self) -> usize {
        self.broker.faults().clear()
    }

    /// The rest of the cluster notices that a node is away, unless it is back by then.
    async fn lose(self, id: i32, isolated: NodeState, delay: Duration) {
        tokio::select! {
            () = self.broker.drain().cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
        let states = self.nodes.lock().await;
        if states.get(&id) == Some(&isolated)
            && let Err(error) = self.set_live(id, false).await
        {
            warn!(%error, node = id, "an isolated node goes on leading");
        }
    }

    async fn set_live(&self, id: i32, up: bool) -> Result<(), ControlError> {
        let mut live: BTreeSet<i32> = self.broker.image().live().clone();
        let changes = if up { live.insert(id) } else { live.remove(&id) };
        if changes {
            self.broker.set_live(live).await.map_err(not_written)?;
        }
        Ok(())
    }

    fn node(&self, id: i32) -> Result<&Node, ControlError> {
        self.broker.node(id).ok_or_else(|| {
            let known: Vec<_> = self
                .broker
                .nodes()
                .iter()
                .map(|node| node.id.to_string())
                .collect();
            ControlError::UnknownNode {
                id,
                known: known.join(", "),
            }
        })
    }
}

fn settled(
    altered: Result<Result<(), String>, ApiError>,
    topic: &str,
    partition: i32,
) -> Result<(), ControlError> {
    match altered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(ControlError::NotPossible(reason)),
        Err(error) if error.code == heliostat_wire::ErrorCode::UnknownTopicOrPartition => {
            Err(unknown(topic, partition))
        }
        Err(error) => Err(not_written(error)),
    }
}

fn unknown(topic: &str, partition: i32) -> ControlError {
    ControlError::UnknownPartition {
        topic: topic.to_owned(),
        partition,
    }
}

fn not_written(error: ApiError) -> ControlError {
    ControlError::NotWritten(error.message)
}
