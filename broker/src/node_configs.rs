//! Configuration of single nodes.
//!
//! In Kafka each broker applies its own configuration to its copies of logs. Here a partition has one log, and what was
//! set for the node that leads it counts. Limits of connections are those of the node that is connected to. What belongs
//! to what all nodes share, the log cleaner and what logs know of producers, can be set for all of them only.

use tracing::warn;

use crate::{
    api_error::ApiError,
    broker::Broker,
    configs::Layers,
    state::{Image, Topic},
    storage::Values,
};

/// What the names of configs begin with that cannot differ between nodes.
const SHARED: [&str; 2] = ["log.cleaner.", PRODUCER_EXPIRATION];
const PRODUCER_EXPIRATION: &str = "producer.id.expiration.ms";

/// Those of the defaults of topics that are named like the cleaner's configs.
const OF_TOPICS: [&str; 4] = [
    "log.cleaner.delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleaner.min.compaction.lag.ms",
];

impl Broker {
    /// The configuration below the topics as one node has it.
    pub(crate) fn layers_of<'a>(&'a self, image: &'a Image, node: i32) -> Layers<'a> {
        Layers {
            broker: image.broker_configs(&node.to_string()),
            ..self.layers(image)
        }
    }

    /// What a topic's configuration comes to in partitions that this node leads, or that nobody leads.
    pub(crate) fn leader_values(&self, image: &Image, topic: &Topic, leader: i32) -> Values {
        let layers = match leader {
            0.. => self.layers_of(image, leader),
            _ => self.layers(image),
        };
        layers.topic_values(&topic.configs)
    }

    /// Makes the configuration of a topic take effect in all of its partitions.
    pub(crate) fn apply_configs(&self, image: &Image, topic: &Topic) {
        self.storage()
            .configure(topic, |leader| self.leader_values(image, topic, leader));
    }

    /// Makes what all logs share take effect, but for the log cleaner, which looks for itself.
    pub(crate) fn apply_shared_configs(&self, image: &Image) {
        let expiration = self.layers(image).broker_value(PRODUCER_EXPIRATION);
        if let Ok(ms) = expiration.trim().parse() {
            self.storage().forget_producers_after(ms);
        }
    }

    /// Lets partitions whose leaders have changed go by what was set for the new ones.
    pub(crate) async fn follow_leaders(&self) {
        let mut moves = self.state().leadership();
        while moves.changed().await.is_ok() {
            let image = self.image();
            if image.has_node_configs() {
                image.topics().for_each(|topic| self.apply_configs(&image, topic));
            }
        }
        warn!("leaders are followed no longer");
    }

    /// Whether these configs can be set for this node.
    pub(crate) fn check_config_node<'a>(
        &self,
        node: &str,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<(), ApiError> {
        if node.is_empty() {
            return Ok(());
        }
        if !self.nodes().iter().any(|known| known.id.to_string() == node) {
            return Err(ApiError::invalid_request(format!("there is no broker {node:?}")));
        }
        let begins = |name: &str| SHARED.iter().any(|shared| name.starts_with(shared));
        let shared = |name: &&str| begins(name) && !OF_TOPICS.contains(name);
        match names.find(shared).filter(|_| self.nodes().len() > 1) {
            None => Ok(()),
            Some(name) => Err(ApiError::invalid_request(format!(
                "the brokers of this cluster share their logs: set {name} for all of them (the default entity)"
            ))),
        }
    }
}
