//! What all nodes of a cluster share.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    api::Peer,
    configs::{ConfigEntry, Layers, Setting, Source},
    fault::Faults,
    fetch_session::FetchSessions,
    group::Coordinator,
    quota::Quotas,
    sasl::Sasl,
    state::{Image, ProducerIds, State, StateError, Topic, settings::Settings},
    storage::Storage,
    txn,
};

/// One node of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node {
    /// 1 for the first node.
    pub(crate) id: i32,
    /// Where it listens. The address may be unspecified.
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
}

/// The shared part of a running cluster.
#[derive(Debug)]
pub(crate) struct Broker {
    /// What the cluster is called in logs.
    pub(crate) name: Option<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) directory: PathBuf,
    /// What the cluster was started with.
    pub(crate) properties: BTreeMap<String, String>,
    /// The same, for the keys that are not for topics.
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) storage: Storage,
    pub(crate) groups: Coordinator,
    pub(crate) transactions: txn::Coordinator,
    pub(crate) quotas: Quotas,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) drain: CancellationToken,
    pub(crate) faults: Faults,
    /// `None` on PLAINTEXT listeners, where nobody has to say who they are.
    pub(crate) sasl: Option<Sasl>,
}

impl Node {
    /// The address under which a client reaches the node: the one that this client used, if the node listens on all.
    pub(crate) fn host_for(&self, peer: &Peer) -> String {
        let address = if self.address.is_unspecified() {
            peer.local_address
        } else {
            self.address
        };
        address.to_string()
    }

    pub(crate) fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

impl Broker {
    /// The nodes, by ascending id.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes that are up in this image, by ascending id.
    pub(crate) fn live_nodes<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = &'a Node> {
        let nodes = self.nodes.iter();
        nodes.filter(|node| image.live().contains(&node.id))
    }

    /// What the cluster is called in logs, if it has a name.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// 22 characters, which stay as long as the data does.
    pub(crate) fn cluster_id(&self) -> &str {
        self.storage.cluster_id()
    }

    /// What the broker was told to go by.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Topics and configuration as they are now.
    pub(crate) fn image(&self) -> Arc<Image> {
        self.state.image()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// What clients may use, and have used.
    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// What clients fetch, as far as they need not say it again.
    pub(crate) fn fetch_sessions(&self) -> &FetchSessions {
        &self.fetch_sessions
    }

    /// The groups of all nodes. Whether a node may speak for a group is to be asked first: see
    /// [`Broker::coordinator`].
    pub(crate) fn groups(&self) -> &Coordinator {
        &self.groups
    }

    /// The transactions of all nodes. Whether a node may speak for a transactional id is to be asked first, as for groups.
    pub(crate) fn transactions(&self) -> &txn::Coordinator {
        &self.transactions
    }

    /// The node that coordinates the group, or whatever else has this name; `None` if none is up.
    pub(crate) fn coordinator(&self, key: &str) -> Option<&Node> {
        self.node(self.image().coordinator(key))
    }

    /// Is cancelled when the cluster shuts down: whatever waits then answers with what it has.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// What is to go wrong.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Who may connect; `None` where everybody may.
    pub(crate) fn sasl(&self) -> Option<&Sasl> {
        self.sasl.as_ref()
    }

    /// A producer id that was never given out before.
    pub(crate) async fn next_producer_id(&self) -> Result<i64, StateError> {
        self.producer_ids.next().await
    }

    /// Drops what groups committed in a topic that is gone. Returns whether that is done; if not, it is tried again before a
    /// topic of that name is made, and at the next start.
    pub(crate) async fn forget_offsets(&self, topic: &str) -> bool {
        match self.groups.topic_deleted(topic).await {
            Ok(()) => {
                self.state.offsets_forgotten(topic);
                true
            }
            Err(error) => {
                warn!(%error, topic, "offsets of a deleted topic could not be removed; it is tried again later");
                false
            }
        }
    }

    /// Finishes what an end of the process or a bad disk has kept [`Broker::forget_offsets`] from.
    pub(crate) async fn forget_left_offsets(&self) {
        for topic in self.state.unforgotten_offsets() {
            self.forget_offsets(&topic).await;
        }
    }

    /// The configuration below the topics. With one node, what was set for it counts before what was set for all; see
    /// also [`Broker::layers_of`].
    pub(crate) fn layers<'a>(&'a self, image: &'a Image) -> Layers<'a> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let broker = match self.nodes.as_slice() {
            [only] => image.broker_configs(&only.id.to_string()),
            _ => &NONE,
        };
        Layers {
            broker,
            all_brokers: image.broker_configs(""),
            properties: &self.properties,
        }
    }

    /// Every key of a topic with its value, as a node sees it.
    pub(crate) fn describe_topic_configs(&self, topic: &Topic, node: i32) -> Vec<ConfigEntry> {
        self.layers_of(&self.image(), node).describe_topic(&topic.configs)
    }

    /// Every key of a node with its value.
    pub(crate) fn describe_broker_configs(&self, node: &Node) -> Vec<ConfigEntry> {
        let protocol = match self.sasl {
            Some(_) => "SASL_PLAINTEXT",
            None => "PLAINTEXT",
        };
        let listener = format!("{protocol}://{}", node.socket_address());
        let mechanisms = self.sasl.as_ref().map(|sasl| sasl.mechanism_names().join(","));
        let facts = [
            ("advertised.listeners", listener.clone()),
            ("broker.id", node.id.to_string()),
            ("listeners", listener),
            ("log.dirs", self.directory.display().to_string()),
            ("node.id", node.id.to_string()),
            ("process.roles", "broker,controller".to_owned()),
        ];
        let facts = facts.into_iter().map(|(name, value)| match name {
            "broker.id" | "node.id" => fact(name, value, INT),
            _ => fact(name, value, LIST),
        });
        let mechanisms = mechanisms.map(|names| fact("sasl.enabled.mechanisms", names, LIST));
        facts
            .chain(mechanisms)
            .chain(self.layers_of(&self.image(), node.id).describe_broker())
            .collect()
    }
}

/// Kafka's numbers for the types of the facts.
const INT: i8 = 3;
const LIST: i8 = 7;

/// A value that follows from how the cluster was started.
fn fact(name: &'static str, value: String, type_code: i8) -> ConfigEntry {
    let setting = Setting {
        name: name.to_owned(),
        value: Some(value.clone()),
        source: Source::Properties,
    };
    ConfigEntry {
        name: name.to_owned(),
        value: Some(value),
        read_only: true,
        type_code,
        documentation: "Follows from how the cluster was started",
        settings: vec![setting],
    }
}
