//! What the cluster must remember besides its logs: topics and their partitions, configuration, producer ids.
//!
//! Readers take the current [`Image`], which never changes. Writers are serialised: they `State::begin` a change,
//! and `Change::commit` writes it to the journal before it becomes the current image.

pub(crate) mod credentials;
mod deleted;
pub mod image;
pub mod journal;
pub(crate) mod keys;
pub(crate) mod names;
pub mod partition;
pub(crate) mod placement;
pub(crate) mod producer_ids;
mod quotas;
pub(crate) mod settings;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
};

use heliostat_wire::Uuid;
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::log::Disk;
use deleted::UnforgottenOffsets;
pub use image::{BrokerConfigs, Image, Topic};
use journal::{Content, Journal, JournalError};
pub use partition::Partition;
pub(crate) use producer_ids::ProducerIds;

/// The durable state of a cluster.
#[derive(Debug)]
pub(crate) struct State {
    image: Arc<RwLock<Arc<Image>>>,
    journal: Arc<Mutex<Journal>>,
    deleted: BTreeSet<Uuid>,
    offsets: Arc<UnforgottenOffsets>,
    leadership: Arc<watch::Sender<()>>,
}

/// Why the state could not be read or changed.
#[derive(Debug, Error)]
pub enum StateError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A key of the journal holds something else than this version writes.
    #[error("the state under the key {key:?} cannot be read: {reason}; was it written by a newer version?")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The state is not there, or has lost its last write, and there are records of topics that it does not know.
    #[error(
        "{} {lost}, and {count} directories hold records of topics that it does not know, among them {}; nothing was \
         changed: restore the file from a copy, or move these directories away to go on without their topics",
        path.display(), example.display()
    )]
    Lost {
        /// The state's file.
        path: PathBuf,
        /// What has become of it.
        lost: String,
        /// How many directories of partitions there are without a topic.
        count: usize,
        /// One of them.
        example: PathBuf,
    },
    /// The task that wrote the journal died.
    #[error("the state could not be written: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// A partition with records, as it was found on disk.
#[derive(Debug, Clone)]
pub(crate) struct FoundLog {
    pub(crate) topic_id: Uuid,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) directory: PathBuf,
}

/// Reads the image of a state wherever it is needed.
#[derive(Debug, Clone, Default)]
pub struct Images(Arc<RwLock<Arc<Image>>>);

/// A change in the making. Dropping it leaves everything as it was.
#[derive(Debug)]
pub(crate) struct Change {
    image: Image,
    entries: Vec<Entry>,
    published: Arc<RwLock<Arc<Image>>>,
    journal: OwnedMutexGuard<Journal>,
    removed: Vec<(Uuid, String)>,
    offsets: Arc<UnforgottenOffsets>,
    /// Leaders or nodes have changed, which those who wait are told through this.
    moves: Option<Arc<watch::Sender<()>>>,
    leadership: Arc<watch::Sender<()>>,
}

/// Keeps other changes waiting after a commit.
#[derive(Debug)]
pub(crate) struct Held {
    _journal: OwnedMutexGuard<Journal>,
}

type Entry = (Vec<u8>, Option<Vec<u8>>);

const INCARNATION: &str = "incarnation";
const PRODUCER_IDS: &str = "producer.ids";
const TOPIC_PREFIX: &str = "topic/";
const GROUP_CONFIG_PREFIX: &str = "group.config/";
const CONFIG_PREFIX: &str = "config/";
/// Ids of topics whose logs may still be there. The value is the topic's name while the groups may still hold offsets that
/// were committed in it; then it is empty.
const DELETED_PREFIX: &str = "deleted/";

impl State {
    /// Opens the state, or begins a new one, for nodes 1 to `nodes`. Every call starts a new incarnation, so that
    /// each partition has a leader epoch that it never had before.
    ///
    /// `logs` are all that have records. A state that has lost something, and with it a topic of one of them, is refused.
    ///
    /// Blocks on the disk.
    pub(crate) fn open(
        path: &Path,
        nodes: i32,
        disk: Disk,
        logs: &[FoundLog],
    ) -> Result<(State, ProducerIds), StateError> {
        if !path.exists() {
            check_strays(path, "is not there", logs, |_| false)?;
        }
        let (mut journal, content) = Journal::open_on(path, disk)?;
        let incarnation = number(&content, INCARNATION)?.map_or(0, |last: i32| last.saturating_add(1));
        let producer_ids = number(&content, PRODUCER_IDS)?.unwrap_or(0);
        let image = read_image(&content, incarnation, nodes)?;
        let unforgotten = read_deleted(&content)?;
        let deleted: BTreeSet<Uuid> = unforgotten.keys().copied().collect();
        if let Some((bytes, position)) = journal.torn() {
            let lost =
                format!("has lost its last write ({bytes} bytes from byte {position} on cannot be read)");
            check_strays(path, &lost, logs, |log| {
                deleted.contains(&log.topic_id) || log.owner(&image).is_some()
            })?;
        }
        journal.put(&[(INCARNATION.into(), Some(incarnation.to_string().into()))])?;
        let journal = Arc::new(Mutex::new(journal));
        let state = State {
            image: Arc::new(RwLock::new(Arc::new(image))),
            journal: journal.clone(),
            deleted,
            offsets: Arc::new(UnforgottenOffsets::new(unforgotten)),
            leadership: Arc::default(),
        };
        Ok((state, ProducerIds::new(producer_ids, journal)))
    }

    /// Everything as it is now.
    pub(crate) fn image(&self) -> Arc<Image> {
        current(&self.image)
    }

    /// Reads the image elsewhere.
    pub(crate) fn images(&self) -> Images {
        Images(self.image.clone())
    }

    /// Topics that had been deleted when the state was opened, and whose logs may still be there.
    pub(crate) fn deleted(&self) -> &BTreeSet<Uuid> {
        &self.deleted
    }

    /// Takes note that the logs of [`State::deleted`] are gone. Blocks on the disk.
    pub(crate) fn forget_deleted(&self) -> Result<(), StateError> {
        let gone = self.deleted.iter().filter(|id| !self.offsets.is_of(**id));
        let entries: Vec<_> = gone.map(|id| (deleted_key(*id), None)).collect();
        Ok(self.journal.blocking_lock().put(&entries)?)
    }

    /// Names of deleted topics in which groups may still have committed offsets.
    pub(crate) fn unforgotten_offsets(&self) -> BTreeSet<String> {
        self.offsets.names()
    }

    /// Takes note that no group has offsets in a deleted topic. The next change writes that down: before it there is no
    /// topic of that name, and forgetting once more does no harm.
    pub(crate) fn offsets_forgotten(&self, topic: &str) {
        self.offsets.forgotten(topic);
    }

    /// Begins a change, after all changes that others have begun.
    pub(crate) async fn begin(&self) -> Change {
        let journal = self.journal.clone().lock_owned().await;
        let image = Image::clone(&self.image());
        Change {
            image,
            entries: Vec::new(),
            published: self.image.clone(),
            journal,
            removed: Vec::new(),
            offsets: self.offsets.clone(),
            moves: None,
            leadership: self.leadership.clone(),
        }
    }

    /// Tells of every change of leaders or nodes from now on.
    pub(crate) fn leadership(&self) -> watch::Receiver<()> {
        self.leadership.subscribe()
    }
}

impl FoundLog {
    /// The topic that the log belongs to.
    pub(crate) fn owner<'a>(&self, image: &'a Image) -> Option<&'a Arc<Topic>> {
        // A log without an id has lost it in a power cut; it goes to the topic of its name.
        let owner = if self.topic_id.is_zero() {
            image.topic(&self.topic)
        } else {
            image.topic_by_id(self.topic_id)
        };
        owner.filter(|topic| topic.name == self.topic && topic.partition(self.partition).is_some())
    }
}

impl Images {
    /// Everything as it is now.
    pub fn current(&self) -> Arc<Image> {
        current(&self.0)
    }
}

impl Change {
    /// The image with the changes so far.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Adds a topic, or replaces the one with its name.
    pub(crate) fn put_topic(&mut self, topic: Topic) {
        self.entries
            .push((topic_key(&topic.name), Some(image::encode_topic(&topic))));
        self.image.insert(topic);
    }

    /// Replaces a topic whose leaders or replicas have changed.
    pub(crate) fn move_topic(&mut self, topic: Topic) {
        self.put_topic(topic);
        self.moves = Some(self.leadership.clone());
    }

    /// Says which nodes are up. `preferred` gives coordinators back to the nodes that they had at first.
    pub(crate) fn set_live(&mut self, live: BTreeSet<i32>, preferred: bool) {
        self.image.set_live(live, preferred);
        self.moves = Some(self.leadership.clone());
    }

    /// Removes a topic.
    pub(crate) fn remove_topic(&mut self, name: &str) {
        if let Some(topic) = self.image.remove(name) {
            self.entries.push((topic_key(name), None));
            self.entries.push((deleted_key(topic.id), Some(name.into())));
            self.removed.push((topic.id, name.to_owned()));
        }
    }

    /// Replaces the dynamic configuration of a node, or of all nodes if `node` is empty.
    pub(crate) fn put_broker_configs(&mut self, node: &str, configs: BrokerConfigs) {
        let value = (!configs.is_empty()).then(|| image::encode_configs(&configs));
        self.entries
            .push((format!("{CONFIG_PREFIX}{node}").into_bytes(), value));
        self.image.put_broker_configs(node, configs);
    }

    /// Replaces what is configured for a group.
    pub(crate) fn put_group_configs(&mut self, group_id: &str, configs: BrokerConfigs) {
        let value = (!configs.is_empty()).then(|| image::encode_configs(&configs));
        self.entries
            .push((format!("{GROUP_CONFIG_PREFIX}{group_id}").into_bytes(), value));
        self.image.put_group_configs(group_id, configs);
    }

    /// Writes the change to disk, and makes it current. It happens whole or not at all, also if the future is
    /// dropped.
    pub(crate) async fn commit(self) -> Result<Arc<Image>, StateError> {
        self.commit_and_hold().await.map(|(image, _)| image)
    }

    /// As [`Change::commit`], but the next change begins only when the guard is dropped.
    pub(crate) async fn commit_and_hold(self) -> Result<(Arc<Image>, Held), StateError> {
        let Change {
            mut image,
            mut entries,
            published,
            mut journal,
            removed,
            offsets,
            moves,
            ..
        } = self;
        image.count_written(entries.len());
        let image = Arc::new(image);
        if entries.is_empty() && moves.is_none() {
            return Ok((image, Held { _journal: journal }));
        }
        tokio::task::spawn_blocking(move || {
            if !entries.is_empty() {
                let forgotten = offsets.to_write_down();
                entries.extend(forgotten.iter().map(|id| (deleted_key(*id), Some(Vec::new()))));
                journal.put(&entries)?;
                offsets.written_down(&forgotten, removed);
            }
            *published
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = image.clone();
            if let Some(moves) = moves {
                moves.send_replace(());
            }
            Ok((image, Held { _journal: journal }))
        })
        .await?
    }
}

/// A new random identifier.
pub(crate) fn random_uuid() -> Uuid {
    loop {
        let uuid = Uuid::from_bytes(rand::random());
        // Kafka keeps texts that begin with a dash out of its own tools' way.
        if !uuid.is_zero() && !uuid.to_string().starts_with('-') {
            return uuid;
        }
    }
}

/// Refuses a state that has lost something where a log with records belongs to none of its topics.
fn check_strays(
    path: &Path,
    lost: &str,
    logs: &[FoundLog],
    known: impl Fn(&FoundLog) -> bool,
) -> Result<(), StateError> {
    let mut strays = logs.iter().filter(|log| !known(log));
    match strays.next() {
        None => Ok(()),
        Some(first) => Err(StateError::Lost {
            path: path.to_owned(),
            lost: lost.to_owned(),
            count: strays.count() + 1,
            example: first.directory.clone(),
        }),
    }
}

fn current(image: &RwLock<Arc<Image>>) -> Arc<Image> {
    image
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone()
}

fn topic_key(name: &str) -> Vec<u8> {
    format!("{TOPIC_PREFIX}{name}").into_bytes()
}

fn deleted_key(id: Uuid) -> Vec<u8> {
    format!("{DELETED_PREFIX}{id}").into_bytes()
}

fn read_deleted(content: &Content) -> Result<BTreeMap<Uuid, String>, StateError> {
    let entries = content.iter().filter_map(|(key, value)| {
        let key = std::str::from_utf8(key).ok()?;
        Some((key, key.strip_prefix(DELETED_PREFIX)?, value))
    });
    entries
        .map(|(key, id, name)| {
            let id = id.parse().map_err(|error| unreadable(key, error))?;
            Ok((id, text(key, name)?))
        })
        .collect()
}

fn text(key: &str, value: &[u8]) -> Result<String, StateError> {
    String::from_utf8(value.to_vec()).map_err(|error| unreadable(key, error))
}

fn number<T>(content: &BTreeMap<Vec<u8>, Vec<u8>>, key: &str) -> Result<Option<T>, StateError>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    let Some(value) = content.get(key.as_bytes()) else {
        return Ok(None);
    };
    text(key, value)?
        .parse()
        .map(Some)
        .map_err(|error| unreadable(key, error))
}

fn unreadable(key: &str, reason: impl std::fmt::Display) -> StateError {
    StateError::Unreadable {
        key: key.to_owned(),
        reason: reason.to_string(),
    }
}

fn read_image(
    content: &BTreeMap<Vec<u8>, Vec<u8>>,
    incarnation: i32,
    nodes: i32,
) -> Result<Image, StateError> {
    let mut image = Image::new(incarnation, nodes);
    // The start is an entry too.
    image.count_written(content.len() + 1);
    image.set_quotas(quotas::read(content)?);
    image.set_credentials(credentials::read(content)?);
    for (key, value) in content {
        let Ok(key) = std::str::from_utf8(key) else {
            continue;
        };
        if let Some(name) = key.strip_prefix(TOPIC_PREFIX) {
            let topic = image::decode_topic(name, value).map_err(|error| unreadable(key, error))?;
            image.insert(topic.on_nodes(nodes));
        } else if let Some(node) = key.strip_prefix(CONFIG_PREFIX) {
            let configs = image::decode_configs(value).map_err(|error| unreadable(key, error))?;
            image.put_broker_configs(node, configs);
        } else if let Some(group) = key.strip_prefix(GROUP_CONFIG_PREFIX) {
            let configs = image::decode_configs(value).map_err(|error| unreadable(key, error))?;
            image.put_group_configs(group, configs);
        }
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, replicas: &[&[i32]]) -> Topic {
        Topic {
            name: name.to_owned(),
            id: random_uuid(),
            created_in: 0,
            partitions: replicas
                .iter()
                .map(|replicas| Partition::new(replicas.to_vec()))
                .collect(),
            configs: BTreeMap::from([("retention.ms".to_owned(), "1".to_owned())]),
        }
    }

    #[tokio::test]
    async fn changes_survive_a_restart_and_dropped_ones_never_were() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let (state, _) = State::open(&path, 3, Disk::default(), &[]).unwrap();
        let (kept, dropped) = (topic("kept", &[&[2, 3], &[3, 1]]), topic("dropped", &[&[1]]));
        let mut change = state.begin().await;
        change.put_topic(kept.clone());
        change.put_broker_configs(
            "",
            BTreeMap::from([("log.retention.ms".to_owned(), "5".to_owned())]),
        );
        change.commit().await.unwrap();
        let mut change = state.begin().await;
        change.put_topic(dropped);
        drop(change);
        let mut change = state.begin().await;
        change.remove_topic("never was");
        change.commit().await.unwrap();
        drop(state);

        let (state, _) = State::open(&path, 3, Disk::default(), &[]).unwrap();
        let image = state.image();
        assert_eq!(
            image.topics().map(|topic| topic.as_ref()).collect::<Vec<_>>(),
            [&kept]
        );
        assert_eq!(
            image.topic_by_id(kept.id).map(|topic| topic.name.as_str()),
            Some("kept")
        );
        assert_eq!(
            image
                .broker_configs("")
                .get("log.retention.ms")
                .map(String::as_str),
            Some("5")
        );
    }

    #[tokio::test]
    async fn each_start_has_a_new_leader_epoch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut epochs = Vec::new();
        for start in 0..3 {
            let (state, _) = State::open(&path, 1, Disk::default(), &[]).unwrap();
            if start == 0 {
                let mut change = state.begin().await;
                change.put_topic(topic("t", &[&[1]]));
                change.commit().await.unwrap();
            }
            let image = state.image();
            epochs.push(image.leader_epoch(image.topic("t").unwrap(), 0));
        }
        assert_eq!(epochs, [0, 1, 2]);
    }

    #[tokio::test]
    async fn nodes_that_are_gone_lead_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let (state, _) = State::open(&path, 3, Disk::default(), &[]).unwrap();
        let mut change = state.begin().await;
        change.put_topic(topic("t", &[&[3, 1], &[2, 3], &[1, 2]]));
        change.commit().await.unwrap();
        drop(state);
        let (state, _) = State::open(&path, 1, Disk::default(), &[]).unwrap();
        let leaders: Vec<_> = state
            .image()
            .topic("t")
            .unwrap()
            .partitions
            .iter()
            .map(|p| p.leader)
            .collect();
        assert_eq!(leaders, [1, 1, 1]);
    }
}
