//! Deleting logs: their directories lose their names at once, and their space after file.delete.delay.ms, as in Kafka.
//!
//! A deletion that is interrupted between the two is finished after the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::checkpoint::{TopicPartition, lock};
use super::error::{AtPath, StorageError};
use super::files::sync_dir;
use super::manager::{LogManager, random_id};
use super::partition::Log;

/// What ends the name of a log's directory that is to be removed.
pub(crate) const DELETE_SUFFIX: &str = "-delete";

/// What ends the name of a log's directory that belongs to no topic.
pub(crate) const STRAY_SUFFIX: &str = "-stray";

/// The longest name that file systems take.
const MAX_FILE_NAME: usize = 255;

impl LogManager {
    /// Deletes a log; returns whether there was one. See [`LogManager::delete_all`].
    pub fn delete(&self, topic: &str, partition: i32, now_ms: i64) -> Result<bool, StorageError> {
        Ok(self.delete_all(topic, [partition], now_ms)? > 0)
    }

    /// Deletes logs of a topic, and returns how many there were. Readers that wait for them are woken. Their space comes back
    /// with the first [`LogManager::remove_deleted`] after their file.delete.delay.ms.
    pub fn delete_all(
        &self,
        topic: &str,
        partitions: impl IntoIterator<Item = i32>,
        now_ms: i64,
    ) -> Result<usize, StorageError> {
        let mut result = Ok(());
        let mut gone: Vec<Arc<Log>> = Vec::new();
        for partition in partitions {
            let Some(log) = self.get(topic, partition) else {
                continue;
            };
            // Whoever appends to it may wait for the disk. Other logs can be found meanwhile.
            log.abandon();
            let renamed = self.dir.join(renamed(topic, partition, DELETE_SUFFIX));
            match fs::rename(log.dir(), &renamed) {
                Ok(()) => {
                    let due = now_ms.saturating_add(log.config().file_delete_delay_ms);
                    lock(&self.doomed).push((renamed, due));
                }
                // Somebody was faster. What is left is its name, which nobody else could have.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    result = result.and(Err(error).at("rename", log.dir()));
                    continue;
                }
            }
            self.forget_log(&log);
            gone.push(log);
        }
        if gone.is_empty() {
            return result.map(|()| 0);
        }
        sync_dir(&self.dir)?;
        // What is left of them in the checkpoints would be taken for that of a topic which gets the same name.
        let partitions: BTreeSet<i32> = gone.iter().map(|log| log.partition()).collect();
        let drop_entries = |kept: &mut BTreeMap<TopicPartition, i64>| {
            kept.retain(|(of, partition), _| of != topic || !partitions.contains(partition));
        };
        for checkpoint in self.checkpoints() {
            // A full disk does not take the file. Whoever makes a log of that name tries again.
            if let Err(error) = checkpoint.update(drop_entries) {
                tracing::warn!(%error, topic, "a checkpoint still names deleted logs");
            }
        }
        result.map(|()| gone.len())
    }

    /// Takes a log out of use without deleting it: its directory is renamed. Returns its new name, if there was one.
    pub fn set_aside(&self, topic: &str, partition: i32) -> Result<Option<PathBuf>, StorageError> {
        let Some(log) = self.get(topic, partition) else {
            return Ok(None);
        };
        log.abandon();
        let renamed = self.dir.join(renamed(topic, partition, STRAY_SUFFIX));
        fs::rename(log.dir(), &renamed).at("rename", log.dir())?;
        self.forget_log(&log);
        sync_dir(&self.dir)?;
        for checkpoint in self.checkpoints() {
            checkpoint.set(topic, partition, None)?;
        }
        Ok(Some(renamed))
    }

    /// The log can be found no more. One that was made under its name meanwhile can.
    fn forget_log(&self, log: &Arc<Log>) {
        let key = (log.topic().to_owned(), log.partition());
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        if logs.get(&key).is_some_and(|found| Arc::ptr_eq(found, log)) {
            logs.remove(&key);
        }
        drop(logs);
        self.cleaner.forget(&key);
    }

    /// Removes the directories of deleted logs whose delay is over.
    pub fn remove_deleted(&self, now_ms: i64) {
        let due: Vec<PathBuf> = {
            let mut doomed = lock(&self.doomed);
            let due = doomed.extract_if(.., |(_, due)| *due <= now_ms);
            due.map(|(path, _)| path).collect()
        };
        for path in due {
            if let Err(error) = fs::remove_dir_all(&path).at("remove", &path) {
                tracing::warn!(%error, "a deleted log stays behind until the next start");
            }
        }
    }
}

/// A name that no log has had before.
fn renamed(topic: &str, partition: i32, suffix: &str) -> String {
    let suffix = format!(".{:032x}{suffix}", u128::from_be_bytes(*random_id().as_bytes()));
    let mut name = format!("{topic}-{partition}");
    name.truncate(MAX_FILE_NAME - suffix.len());
    name + &suffix
}
