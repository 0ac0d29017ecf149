//! What is known of the cluster: nodes, the controller, and who leads what.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    error::Error,
    together::{Together, backoff},
};
use crate::{
    ErrorCode, Uuid,
    message::{
        MetadataResponse,
        metadata::{MetadataResponsePartition, MetadataResponseTopic},
    },
};

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    /// The node.
    pub node: i32,
    /// Since which epoch; -1 if the broker is too old to tell.
    pub epoch: i32,
    /// The topic's id, where the broker knows of ids (since Kafka 2.8).
    pub topic_id: Option<Uuid>,
}

impl Leader {
    /// Whether it leads a partition of the topic with this id, as far as that is known.
    pub(super) fn is_of(&self, topic_id: Option<Uuid>) -> bool {
        topic_id.is_none() || self.topic_id.is_none() || self.topic_id == topic_id
    }
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
}

/// What is known, and the questions about it.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    cache: Mutex<Cache>,
    /// By topic; the empty name asks for the nodes alone.
    pub(super) questions: Together<String>,
}

/// What is known of a partition's leader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is the leader, as far as can be told.
    Yes(Leader),
    /// It was the leader a while ago; to be asked again, when there is time.
    Aged(Leader),
    /// It is to be asked, not before this moment.
    No { not_before: Instant },
}

#[derive(Debug, Default)]
struct Cache {
    nodes: HashMap<i32, Endpoint>,
    /// When the last answer was asked for.
    asked: Option<Instant>,
    controller: Option<i32>,
    cluster_id: Option<String>,
    topics: HashMap<String, Topic>,
}

#[derive(Debug)]
struct Topic {
    id: Option<Uuid>,
    error: ErrorCode,
    partitions: HashMap<i32, Partition>,
    /// When the question went out that this is the answer to.
    asked: Instant,
    /// How many answers in a row did not say what was asked for.
    failures: u32,
    /// When somebody last wanted to know.
    used: Instant,
    /// When it was last asked about in the background.
    refreshed: Option<Instant>,
}

#[derive(Debug, Default)]
struct Partition {
    node: Option<i32>,
    epoch: i32,
    /// Since when what is known is known to be wrong.
    stale: Option<Instant>,
    /// How often that was said in a row.
    complaints: u32,
    /// How many answers in a row told of an older epoch after what is known was said to be wrong.
    older: u32,
}

/// As many topics as are remembered; beyond that the ones that nobody has asked for lately are forgotten.
const TOPICS_MAX: usize = 50_000;

/// Nobody asks for so long about a topic that matters.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How long a question in the background may take before another is asked.
const REFRESH_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// After this time a complaint is not one of a row any more.
const COMPLAINTS_FORGOTTEN_AFTER: Duration = Duration::from_secs(5);

/// So many answers in a row that tell of an older epoch, each to a question that was asked because what is known is wrong, are not those of a
/// node that lags behind: the topic was made again, where nodes tell no ids, or the epoch that is known never was.
const OLDER_BELIEVED: u32 = 5;

impl Metadata {
    /// What is known of a partition's leader.
    pub(super) fn leader(&self, topic: &str, partition: i32, max_age: Duration) -> Known {
        let now = Instant::now();
        let mut cache = self.cache();
        let Some(known) = cache.topics.get_mut(topic) else {
            return Known::No { not_before: now };
        };
        known.used = now;
        match known.partitions.get(&partition) {
            Some(found) => match (found.node, found.stale) {
                (Some(node), None) => {
                    let leader = known.leader(node, found.epoch);
                    if now.duration_since(known.asked) > max_age {
                        Known::Aged(leader)
                    } else {
                        Known::Yes(leader)
                    }
                }
                (Some(_), Some(_)) => Known::No {
                    not_before: known.asked + backoff(found.complaints.saturating_sub(1)),
                },
                (None, _) => known.to_ask(),
            },
            None => known.to_ask(),
        }
    }

    /// The leader, or why there is none, after the cluster was asked.
    pub(super) fn verdict(&self, topic: &str, partition: i32) -> Result<Leader, Error> {
        let cache = self.cache();
        let unknown = || Error::UnknownTopic {
            topic: topic.to_owned(),
        };
        let known = cache.topics.get(topic).ok_or_else(unknown)?;
        match known.error {
            ErrorCode::None | ErrorCode::LeaderNotAvailable => {}
            ErrorCode::UnknownTopicOrPartition => return Err(unknown()),
            code => {
                return Err(Error::Broker {
                    code,
                    what: format!("asked who leads topic {topic}"),
                });
            }
        }
        match known.partitions.get(&partition) {
            Some(Partition {
                node: Some(node),
                epoch,
                ..
            }) => Ok(known.leader(*node, *epoch)),
            None if known.error.is_none() => Err(Error::UnknownPartition {
                topic: topic.to_owned(),
                partition,
            }),
            _ => Err(Error::NoLeader {
                topic: topic.to_owned(),
                partition,
            }),
        }
    }

    /// Whether a question about a topic (or, if it is empty, any) went out since then and was answered.
    pub(super) fn asked_since(&self, topic: &str, since: Instant) -> bool {
        let cache = self.cache();
        let asked = match topic {
            "" => cache.asked,
            topic => cache.topics.get(topic).map(|topic| topic.asked),
        };
        asked.is_some_and(|asked| asked >= since)
    }

    /// Whether a topic is to be asked about again by the caller: not if somebody does so already.
    pub(super) fn begin_refresh(&self, topic: &str) -> bool {
        let mut cache = self.cache();
        let Some(topic) = cache.topics.get_mut(topic) else {
            return false;
        };
        let now = Instant::now();
        let due = topic
            .refreshed
            .is_none_or(|at| now.duration_since(at) > REFRESH_AGAIN_AFTER);
        if due {
            topic.refreshed = Some(now);
        }
        due
    }

    /// What is known of a leader is wrong, unless it is known since a newer epoch.
    pub(super) fn stale(&self, topic: &str, partition: i32, epoch: i32) {
        let now = Instant::now();
        let mut cache = self.cache();
        let Some(topic) = cache.topics.get_mut(topic) else {
            return;
        };
        let asked = topic.asked;
        let Some(found) = topic.partitions.get_mut(&partition) else {
            return;
        };
        if found.epoch > epoch || found.stale.is_some() {
            return;
        }
        if now.duration_since(asked) > COMPLAINTS_FORGOTTEN_AFTER {
            found.complaints = 0;
        }
        found.stale = Some(now);
        found.complaints = found.complaints.saturating_add(1);
    }

    /// Takes the news of a leader, if they are newer than what is known.
    pub(super) fn note_leader(&self, topic: &str, partition: i32, node: i32, epoch: i32) {
        if node < 0 || epoch < 0 {
            return;
        }
        let mut cache = self.cache();
        let found = cache
            .topics
            .get_mut(topic)
            .and_then(|topic| topic.partitions.get_mut(&partition));
        if let Some(found) = found.filter(|found| found.epoch < epoch) {
            *found = Partition {
                node: Some(node),
                epoch,
                ..Default::default()
            };
        }
    }

    /// Takes the news of where a node is. Ports that cannot be are passed over.
    pub(super) fn note_endpoint(&self, node: i32, host: &str, port: i32) {
        if let Some(endpoint) = Endpoint::new(host, port).filter(|_| node >= 0) {
            self.cache().nodes.insert(node, endpoint);
        }
    }

    /// Takes an answer to a question that went out at `asked`, about these topics.
    pub(super) fn take(&self, response: &MetadataResponse, topics: &[String], asked: Instant) {
        let mut cache = self.cache();
        cache.take_nodes(response, asked);
        let questions: HashSet<&str> = topics.iter().map(String::as_str).collect();
        for told in &response.topics {
            if let Some(name) = told.name.as_deref().filter(|name| questions.contains(name)) {
                cache.take_topic(name, told, asked);
            }
        }
        if cache.topics.len() > TOPICS_MAX {
            cache
                .topics
                .retain(|_, topic| asked.saturating_duration_since(topic.used) < FORGET_AFTER);
        }
    }

    /// Where a node is.
    pub(super) fn endpoint(&self, node: i32) -> Option<Endpoint> {
        self.cache().nodes.get(&node).cloned()
    }

    /// All nodes that are known.
    pub(super) fn endpoints(&self) -> Vec<(i32, Endpoint)> {
        let cache = self.cache();
        cache
            .nodes
            .iter()
            .map(|(node, endpoint)| (*node, endpoint.clone()))
            .collect()
    }

    /// The controller, and the cluster's id; `None` before the first answer.
    pub(super) fn cluster(&self) -> Option<(Option<i32>, Option<String>)> {
        let cache = self.cache();
        cache.asked.map(|_| (cache.controller, cache.cluster_id.clone()))
    }

    pub(super) fn forget_controller(&self) {
        self.cache().controller = None;
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn take_nodes(&mut self, response: &MetadataResponse, asked: Instant) {
        let nodes = response.brokers.iter().filter_map(|broker| {
            let endpoint = Endpoint::new(&broker.host, broker.port)?;
            (broker.node_id >= 0).then_some((broker.node_id, endpoint))
        });
        let nodes: HashMap<_, _> = nodes.collect();
        // A node that has only just started may not have heard of anybody yet.
        if !nodes.is_empty() {
            self.nodes = nodes;
        }
        self.asked = Some(asked);
        self.controller = Some(response.controller_id).filter(|node| *node >= 0);
        if response.cluster_id.is_some() {
            self.cluster_id.clone_from(&response.cluster_id);
        }
    }

    fn take_topic(&mut self, name: &str, told: &MetadataResponseTopic, asked: Instant) {
        let topic = self.topics.entry(name.to_owned()).or_insert_with(|| Topic {
            id: None,
            error: ErrorCode::None,
            partitions: HashMap::new(),
            asked,
            failures: 0,
            used: asked,
            refreshed: None,
        });
        topic.asked = topic.asked.max(asked);
        topic.error = ErrorCode::from_code(told.error_code);
        if !topic.error.is_none() {
            topic.failures = topic.failures.saturating_add(1);
            topic.partitions.clear();
            return;
        }
        let id = Some(told.topic_id).filter(|id| !id.is_zero());
        if topic.id != id {
            // Another topic of the same name: its epochs have nothing to do with those before.
            topic.partitions.clear();
            topic.id = id;
        }
        let mut before = std::mem::take(&mut topic.partitions);
        let partitions = told.partitions.iter().map(|told| {
            let before = before.remove(&told.partition_index);
            (told.partition_index, Partition::after(before, told, asked))
        });
        topic.partitions = partitions.collect();
        let leaderless = topic
            .partitions
            .values()
            .any(|partition| partition.node.is_none());
        topic.failures = if leaderless {
            topic.failures.saturating_add(1)
        } else {
            0
        };
    }
}

impl Topic {
    fn leader(&self, node: i32, epoch: i32) -> Leader {
        Leader {
            node,
            epoch,
            topic_id: self.id,
        }
    }

    fn to_ask(&self) -> Known {
        Known::No {
            not_before: self.asked + backoff(self.failures),
        }
    }
}

impl Partition {
    /// What is known after an answer: a node that lags behind may tell of an older epoch than is known already.
    fn after(before: Option<Partition>, told: &MetadataResponsePartition, asked: Instant) -> Partition {
        let node = Some(told.leader_id).filter(|node| *node >= 0);
        let epoch = told.leader_epoch;
        let new = Partition {
            node,
            epoch,
            ..Default::default()
        };
        let Some(mut before) = before else { return new };
        let is_older = before.node.is_some() && epoch >= 0 && epoch < before.epoch;
        if is_older {
            let is_after_complaint = before.stale.is_some_and(|stale| stale <= asked);
            before.older += u32::from(is_after_complaint);
            if before.older >= OLDER_BELIEVED {
                return new;
            }
        } else if before.node == node && before.epoch == epoch {
            before.older = 0;
        } else {
            return new;
        }
        before.stale = before.stale.filter(|stale| *stale > asked);
        before
    }
}

impl Endpoint {
    fn new(host: &str, port: i32) -> Option<Endpoint> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| Endpoint {
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::metadata::MetadataResponseBroker;

    const AGE: Duration = Duration::from_secs(60);

    fn answer(id: u8, leader_id: i32, leader_epoch: i32) -> MetadataResponse {
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "h".to_owned(),
                port: 9,
                rack: None,
            }],
            topics: vec![MetadataResponseTopic {
                name: Some("t".to_owned()),
                topic_id: Uuid::from_bytes([id; 16]),
                partitions: vec![MetadataResponsePartition {
                    leader_id,
                    leader_epoch,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn leader_of(metadata: &Metadata) -> Option<(i32, i32)> {
        match metadata.leader("t", 0, AGE) {
            Known::Yes(leader) => Some((leader.node, leader.epoch)),
            _ => None,
        }
    }

    #[tokio::test]
    async fn an_older_epoch_is_not_believed_and_a_newer_one_is() {
        let metadata = Metadata::default();
        let take =
            |id, leader, epoch| metadata.take(&answer(id, leader, epoch), &["t".to_owned()], Instant::now());
        take(1, 1, 5);
        assert_eq!(leader_of(&metadata), Some((1, 5)));
        metadata.note_leader("t", 0, 2, 7);
        take(1, 1, 6);
        assert_eq!(leader_of(&metadata), Some((2, 7)));
        metadata.note_leader("t", 0, 3, 7);
        metadata.note_leader("u", 0, 3, 7);
        metadata.note_leader("t", 0, -1, 8);
        assert_eq!(leader_of(&metadata), Some((2, 7)));
        // The topic was made anew.
        take(2, 1, 0);
        assert_eq!(leader_of(&metadata), Some((1, 0)));
        // What was complained of at an older epoch is known already.
        metadata.stale("t", 0, -1);
        assert_eq!(leader_of(&metadata), Some((1, 0)));
        metadata.stale("t", 0, 0);
        assert_eq!(leader_of(&metadata), None);
        // The answer to a question from before the complaint does not settle it.
        let before = Instant::now() - Duration::from_secs(1);
        metadata.take(&answer(2, 1, 0), &["t".to_owned()], before);
        assert_eq!(leader_of(&metadata), None);
        take(2, 1, 0);
        assert_eq!(leader_of(&metadata), Some((1, 0)));
    }

    #[tokio::test]
    async fn what_was_not_asked_for_is_not_remembered() {
        let metadata = Metadata::default();
        metadata.take(&answer(1, 1, 5), &["u".to_owned()], Instant::now());
        assert!(matches!(
            metadata.verdict("t", 0),
            Err(Error::UnknownTopic { .. })
        ));
        assert_eq!(metadata.endpoint(1).unwrap().to_string(), "h:9");
    }

    #[tokio::test]
    async fn complaints_in_a_row_are_looked_into_ever_later() {
        let metadata = Metadata::default();
        let topics = ["t".to_owned()];
        let mut waits = Vec::new();
        for _ in 0..8 {
            let asked = Instant::now();
            metadata.take(&answer(1, 1, 5), &topics, asked);
            metadata.stale("t", 0, 5);
            match metadata.leader("t", 0, AGE) {
                Known::No { not_before } => waits.push(not_before.duration_since(asked)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits[1] >= Duration::from_millis(80), "{waits:?}");
        assert!(
            waits.iter().all(|wait| *wait <= Duration::from_millis(1200)),
            "{waits:?}"
        );
        assert!(waits[7] >= Duration::from_millis(800), "{waits:?}");
    }

    #[tokio::test]
    async fn an_older_epoch_is_believed_when_what_is_known_goes_on_being_wrong() {
        let metadata = Metadata::default();
        let topics = ["t".to_owned()];
        let take = |leader, epoch| metadata.take(&answer(0, leader, epoch), &topics, Instant::now());
        // The topic was deleted and made again, and nobody tells ids.
        take(1, 5);
        for _ in 1..OLDER_BELIEVED {
            metadata.stale("t", 0, 5);
            take(2, 0);
            take(2, 0);
            assert_eq!(leader_of(&metadata), Some((1, 5)), "the node may lag behind");
        }
        metadata.stale("t", 0, 5);
        take(2, 0);
        assert_eq!(leader_of(&metadata), Some((2, 0)));
        // Who tells of what is known in between has not lagged behind.
        take(1, 5);
        for _ in 0..2 * OLDER_BELIEVED {
            metadata.stale("t", 0, 5);
            take(2, 0);
            metadata.stale("t", 0, 5);
            take(1, 5);
        }
        assert_eq!(leader_of(&metadata), Some((1, 5)));
    }
}
