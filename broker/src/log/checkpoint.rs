//! Kafka's small text files: offset checkpoints of a data directory, a partition's topic id, the directory's identity,
//! and the marker of a clean shutdown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use heliostat_wire::Uuid;

use super::error::{AtPath, StorageError};
use super::files::{
    Disk, open_if_there, read_if_there, remove_if_there, replace, replace_unsynced, sync_parent,
};

/// A topic and a partition of it.
pub type TopicPartition = (String, i32);

/// Up to which offset each log is known to be on disk.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// Where each log starts, if that is later than its first segment.
pub(crate) const LOG_START_OFFSETS: &str = "log-start-offset-checkpoint";
/// Up to which offset each log is compacted.
pub(crate) const CLEANER_OFFSETS: &str = "cleaner-offset-checkpoint";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Whose a data directory is.
pub(super) const META_PROPERTIES: &str = "meta.properties";
const PARTITION_METADATA: &str = "partition.metadata";

/// A file of offsets by partition, held in memory and written as a whole.
#[derive(Debug)]
pub(crate) struct OffsetCheckpoint {
    path: PathBuf,
    disk: Disk,
    offsets: Mutex<BTreeMap<TopicPartition, i64>>,
}

impl OffsetCheckpoint {
    /// Reads the file. A damaged one is an error: to start without it would bring deleted records back.
    pub(crate) fn open(path: PathBuf, disk: Disk) -> Result<Self, StorageError> {
        let content = read_if_there(&path)?.unwrap_or_default();
        let offsets = parse_offsets(&content).ok_or_else(|| damaged(&path))?;
        Ok(OffsetCheckpoint {
            path,
            disk,
            offsets: Mutex::new(offsets),
        })
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        lock(&self.offsets).get(&(topic.to_owned(), partition)).copied()
    }

    /// Changes one entry; returns when it is on disk. `None` removes the entry.
    pub(crate) fn set(&self, topic: &str, partition: i32, offset: Option<i64>) -> Result<(), StorageError> {
        let key = (topic.to_owned(), partition);
        self.update(|offsets| {
            match offset {
                Some(offset) => offsets.insert(key, offset),
                None => offsets.remove(&key),
            };
        })
    }

    /// Changes entries, and writes the file if that changes anything.
    pub(crate) fn update(
        &self,
        change: impl FnOnce(&mut BTreeMap<TopicPartition, i64>),
    ) -> Result<(), StorageError> {
        let mut offsets = lock(&self.offsets);
        let mut new = offsets.clone();
        change(&mut new);
        if *offsets != new || !self.path.exists() {
            // Memory must not run ahead of the file, or the next try would be left out.
            replace(&self.disk, &self.path, &format_offsets(&new))?;
            *offsets = new;
        }
        Ok(())
    }
}

/// The identity of a data directory, as in `meta.properties`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster that the directory belongs to.
    pub cluster_id: String,
    /// The first broker of that cluster.
    pub node_id: i32,
    /// The directory itself.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Reads the file; `None` if the directory is new.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, StorageError> {
        let path = dir.join(META_PROPERTIES);
        let Some(content) = read_if_there(&path)? else {
            return Ok(None);
        };
        let properties = parse_properties(&content, '=').ok_or_else(|| damaged(&path))?;
        let parsed = || {
            (properties.get("version")? == "1").then_some(MetaProperties {
                cluster_id: properties.get("cluster.id")?.clone(),
                node_id: properties.get("node.id")?.parse().ok()?,
                directory_id: match properties.get("directory.id") {
                    Some(text) => text.parse().ok()?,
                    None => Uuid::ZERO,
                },
            })
        };
        parsed().map(Some).ok_or_else(|| damaged(&path))
    }

    pub(crate) fn write(&self, dir: &Path, disk: &Disk) -> Result<(), StorageError> {
        let text = format!(
            "#\nversion=1\nnode.id={}\ncluster.id={}\ndirectory.id={}\n",
            self.node_id, self.cluster_id, self.directory_id
        );
        replace(disk, &dir.join(META_PROPERTIES), text.as_bytes())
    }
}

/// Reads the topic id from a partition's directory; `None` if it holds none that can be read. The file is forced to
/// disk only together with the first records, so that a power cut may leave it empty; whoever knows which topic owns the
/// directory writes it anew.
pub(crate) fn read_topic_id(dir: &Path) -> Result<Option<Uuid>, StorageError> {
    let path = dir.join(PARTITION_METADATA);
    let Some(content) = read_if_there(&path)? else {
        return Ok(None);
    };
    let id = parse_properties(&content, ':').and_then(|found| found.get("topic_id")?.parse().ok());
    if id.is_none() {
        tracing::warn!(file = %path.display(), "topic id is damaged; the log goes to the topic of its name");
    }
    Ok(id)
}

/// Writes the topic id into a partition's directory. [`sync_topic_id`] forces it to disk.
pub(crate) fn write_topic_id(dir: &Path, id: Uuid, disk: &Disk) -> Result<(), StorageError> {
    replace_unsynced(
        disk,
        &dir.join(PARTITION_METADATA),
        format!("version: 0\ntopic_id: {id}").as_bytes(),
    )
}

/// Forces to disk that the partition's directory is there, and its topic id.
pub(crate) fn sync_topic_id(dir: &Path, disk: &Disk) -> Result<(), StorageError> {
    let path = dir.join(PARTITION_METADATA);
    if let Some(file) = open_if_there(&path)? {
        disk.sync(&file, &path).at("sync", &path)?;
    }
    sync_parent(dir)
}

/// Whether the last process closed all logs; the marker is taken away, because from now on they are open.
pub(crate) fn take_clean_shutdown(dir: &Path) -> Result<bool, StorageError> {
    let path = dir.join(CLEAN_SHUTDOWN);
    let clean = path.try_exists().at("look for", &path)?;
    if clean {
        remove_if_there(&path)?;
        sync_parent(&path)?;
    }
    Ok(clean)
}

/// Says that all logs are closed.
pub(crate) fn mark_clean_shutdown(dir: &Path, disk: &Disk) -> Result<(), StorageError> {
    let path = dir.join(CLEAN_SHUTDOWN);
    replace(disk, &path, b"{\"version\":0,\"brokerEpoch\":-1}")
}

/// A file whose content is not in its format.
pub(crate) fn damaged(path: &Path) -> StorageError {
    let source = std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        "its content is not in Kafka's format",
    );
    StorageError {
        action: "understand",
        path: path.to_owned(),
        source,
    }
}

/// A poisoned lock guards data that some panicking thread has left; none of our sections panics half way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The lines of a checkpoint file after its version (0) and its count, which must be right. An empty file has none.
pub(crate) fn checkpoint_lines(content: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(content).ok()?;
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut lines = text.lines();
    (lines.next()?.trim() == "0").then_some(())?;
    let count: usize = lines.next()?.trim().parse().ok()?;
    let entries: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    (entries.len() == count).then_some(entries)
}

fn parse_offsets(content: &[u8]) -> Option<BTreeMap<TopicPartition, i64>> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        words.next().is_none().then_some(())?;
        Some(((topic.to_owned(), partition.parse().ok()?), offset.parse().ok()?))
    };
    checkpoint_lines(content)?.into_iter().map(parse).collect()
}

fn format_offsets(offsets: &BTreeMap<TopicPartition, i64>) -> Vec<u8> {
    let mut text = format!("0\n{}\n", offsets.len());
    for ((topic, partition), offset) in offsets {
        text.push_str(&format!("{topic} {partition} {offset}\n"));
    }
    text.into_bytes()
}

fn parse_properties(content: &[u8], separator: char) -> Option<BTreeMap<String, String>> {
    let text = std::str::from_utf8(content).ok()?;
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once(separator)?;
            // Java escapes colons and the like in values; none of ours holds a backslash otherwise.
            Some((name.trim().to_owned(), value.trim().replace('\\', "")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_back_and_damage_is_not_taken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG_START_OFFSETS);
        let checkpoint = OffsetCheckpoint::open(path.clone(), Disk::default()).unwrap();
        checkpoint.set("a-b", 0, Some(7)).unwrap();
        checkpoint.set("a-b", 1, Some(8)).unwrap();
        checkpoint.set("c", 0, Some(9)).unwrap();
        checkpoint.set("a-b", 1, None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\na-b 0 7\nc 0 9\n");
        let again = OffsetCheckpoint::open(path.clone(), Disk::default()).unwrap();
        assert_eq!(
            (again.get("a-b", 0), again.get("a-b", 1), again.get("c", 0)),
            (Some(7), None, Some(9))
        );
        for text in ["0\n3\na 0 1\n", "1\n0\n", "0\n1\na 0\n", "0\n1\na 0 x\n", "x"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                OffsetCheckpoint::open(path.clone(), Disk::default()).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn files_that_kafka_wrote_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let meta = "#\n#Sat Nov 21 11:59:09 UTC 2026\nnode.id=1\ndirectory.id=4SKunGAERU2owJSyegnnZw\nversion=1\n\
                    cluster.id=kUrbBaaOT7Gcu3sbzTzsew\n";
        std::fs::write(dir.path().join(META_PROPERTIES), meta).unwrap();
        let read = MetaProperties::read(dir.path()).unwrap().unwrap();
        assert_eq!(
            (read.node_id, read.cluster_id.as_str()),
            (1, "kUrbBaaOT7Gcu3sbzTzsew")
        );
        read.write(dir.path(), &Disk::default()).unwrap();
        assert_eq!(MetaProperties::read(dir.path()).unwrap().unwrap(), read);
        let id = "7ndu_Gn1Qr6ZLI7fbS2lEA";
        std::fs::write(
            dir.path().join(PARTITION_METADATA),
            format!("version: 0\ntopic_id: {id}"),
        )
        .unwrap();
        assert_eq!(read_topic_id(dir.path()).unwrap().unwrap().to_string(), id);
        std::fs::write(
            dir.path().join(CLEAN_SHUTDOWN),
            "{\"version\":0,\"brokerEpoch\":11}",
        )
        .unwrap();
        assert!(take_clean_shutdown(dir.path()).unwrap());
        assert!(!take_clean_shutdown(dir.path()).unwrap());
    }
}
