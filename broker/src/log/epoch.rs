//! Which leader epoch each stretch of a log was written in: Kafka's `leader-epoch-checkpoint`.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::checkpoint::checkpoint_lines;
use super::error::StorageError;
use super::files::{Disk, open_if_there, read_if_there, replace_unsynced};

/// An epoch, and the first offset that was written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch.
    pub epoch: i32,
    /// Where it starts.
    pub start_offset: i64,
}

/// The epochs of one log, in ascending order of both epoch and start offset. Changes are written to its file at once,
/// except those that recovery makes, which it saves when it is through.
#[derive(Debug)]
pub(crate) struct LeaderEpochs {
    path: PathBuf,
    disk: Disk,
    entries: Vec<EpochEntry>,
    stored: Vec<EpochEntry>,
    synced: bool,
    lost: bool,
}

impl LeaderEpochs {
    pub(crate) fn open(dir: &Path, disk: &Disk) -> Result<Self, StorageError> {
        let path = dir.join("leader-epoch-checkpoint");
        let content = read_if_there(&path)?;
        let found = parse(&content.unwrap_or_default());
        if found.is_none() {
            tracing::warn!(file = %path.display(), "leader epochs are damaged; they are read from the log");
        }
        let entries = found.unwrap_or_default();
        Ok(LeaderEpochs {
            path,
            disk: disk.clone(),
            stored: entries.clone(),
            lost: entries.is_empty(),
            entries,
            synced: false,
        })
    }

    /// Whether no file told of any epoch. The batches of the log name the epochs too, so that a file
    /// which a power cut has torn costs a walk through the log, and nothing else.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    pub(crate) fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    pub(crate) fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The epoch that was leader when `offset` was written.
    pub(crate) fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        self.entries
            .iter()
            .rev()
            .find(|entry| entry.start_offset <= offset)
            .map(|entry| entry.epoch)
    }

    /// Takes note that `epoch` starts at `start_offset`. Entries that contradict it give way, as in Kafka.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) -> Result<(), StorageError> {
        match self.assigned(epoch, start_offset) {
            Some(entries) => self.store(entries),
            None => Ok(()),
        }
    }

    /// Forgets, until [`LeaderEpochs::save`] in memory only, what starts at or after `offset`.
    pub(crate) fn rewind(&mut self, offset: i64) {
        self.entries.retain(|entry| entry.start_offset < offset);
    }

    /// Takes note, until [`LeaderEpochs::save`] in memory only, of a batch that lies at `start_offset`.
    pub(crate) fn replay(&mut self, epoch: i32, start_offset: i64) {
        let newer = self.latest().is_none_or(|latest| epoch > latest.epoch);
        if let Some(entries) = self.assigned(epoch, start_offset).filter(|_| newer) {
            self.entries = entries;
        }
    }

    /// Writes the file, if it says something else.
    pub(crate) fn save(&mut self) -> Result<(), StorageError> {
        if self.entries == self.stored {
            return Ok(());
        }
        self.store(self.entries.clone())
    }

    /// The file, if it must be forced to disk together with the batches of these epochs: what is written after the
    /// last flush is found again in the batches, whatever happens.
    pub(crate) fn file_to_sync(&mut self) -> Result<Option<(PathBuf, File)>, StorageError> {
        if std::mem::replace(&mut self.synced, true) {
            return Ok(None);
        }
        Ok(open_if_there(&self.path)?.map(|file| (self.path.clone(), file)))
    }

    /// The largest epoch not beyond `epoch`, and where it ends; `None` if the log knows no epoch from `epoch` on.
    pub(crate) fn end_offset(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        let latest = self.latest()?;
        if latest.epoch == epoch {
            return Some((epoch, log_end_offset));
        }
        let higher = self.entries.iter().find(|entry| entry.epoch > epoch)?;
        let floor = self.entries.iter().rev().find(|entry| entry.epoch <= epoch);
        Some((floor.map_or(epoch, |entry| entry.epoch), higher.start_offset))
    }

    /// Forgets what starts at or after `end_offset`.
    pub(crate) fn truncate_from_end(&mut self, end_offset: i64) -> Result<(), StorageError> {
        if self.latest().is_none_or(|last| last.start_offset < end_offset) {
            return Ok(());
        }
        let kept = self
            .entries
            .iter()
            .filter(|entry| entry.start_offset < end_offset)
            .copied()
            .collect();
        self.store(kept)
    }

    /// Forgets what ends before `start_offset`; the epoch that covers it starts there now.
    pub(crate) fn truncate_from_start(&mut self, start_offset: i64) -> Result<(), StorageError> {
        let before = self
            .entries
            .iter()
            .filter(|entry| entry.start_offset <= start_offset)
            .count();
        if before == 0 || (before == 1 && self.entries[0].start_offset == start_offset) {
            return Ok(());
        }
        let mut entries = self.entries[before - 1..].to_vec();
        entries[0].start_offset = start_offset;
        self.store(entries)
    }

    /// The entries with one more; `None` if it would say nothing new.
    fn assigned(&self, epoch: i32, start_offset: i64) -> Option<Vec<EpochEntry>> {
        let known = self
            .latest()
            .is_some_and(|last| last.epoch == epoch && last.start_offset <= start_offset);
        if epoch < 0 || start_offset < 0 || known {
            return None;
        }
        let mut entries = self.entries.clone();
        entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        entries.push(EpochEntry { epoch, start_offset });
        Some(entries)
    }

    fn store(&mut self, entries: Vec<EpochEntry>) -> Result<(), StorageError> {
        let mut text = format!("0\n{}\n", entries.len());
        for EpochEntry { epoch, start_offset } in &entries {
            text.push_str(&format!("{epoch} {start_offset}\n"));
        }
        // Memory follows the file: a change that could not be written is tried again by whoever needs it.
        replace_unsynced(&self.disk, &self.path, text.as_bytes())?;
        self.synced = false;
        self.stored = entries.clone();
        self.entries = entries;
        Ok(())
    }
}

fn parse(content: &[u8]) -> Option<Vec<EpochEntry>> {
    let parse = |line: &str| {
        let (epoch, start_offset) = line.split_once(' ')?;
        Some(EpochEntry {
            epoch: epoch.parse().ok()?,
            start_offset: start_offset.trim().parse().ok()?,
        })
    };
    let entries: Vec<EpochEntry> = checkpoint_lines(content)?
        .into_iter()
        .map(parse)
        .collect::<Option<_>>()?;
    let ordered = |a: &EpochEntry, b: &EpochEntry| a.epoch < b.epoch && a.start_offset <= b.start_offset;
    entries.is_sorted_by(ordered).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect()
    }

    fn open() -> (tempfile::TempDir, LeaderEpochs) {
        let dir = tempfile::tempdir().unwrap();
        let mut epochs = LeaderEpochs::open(dir.path(), &Disk::default()).unwrap();
        for (epoch, start) in [(1, 0), (3, 10), (4, 10), (6, 25)] {
            epochs.assign(epoch, start).unwrap();
        }
        (dir, epochs)
    }

    #[test]
    fn an_epoch_without_records_gives_way_to_the_next() {
        let (dir, epochs) = open();
        assert_eq!(pairs(&epochs), [(1, 0), (4, 10), (6, 25)]);
        assert_eq!(
            pairs(&LeaderEpochs::open(dir.path(), &Disk::default()).unwrap()),
            pairs(&epochs)
        );
    }

    #[test]
    fn the_end_of_an_epoch_is_where_the_next_one_starts() {
        let (_dir, epochs) = open();
        assert_eq!(epochs.end_offset(6, 30), Some((6, 30)));
        assert_eq!(epochs.end_offset(7, 30), None);
        assert_eq!(epochs.end_offset(-1, 30), None);
        assert_eq!(epochs.end_offset(5, 30), Some((4, 25)));
        assert_eq!(epochs.end_offset(3, 30), Some((1, 10)));
        assert_eq!(epochs.end_offset(0, 30), Some((0, 0)));
        assert_eq!(epochs.epoch_for_offset(9), Some(1));
        assert_eq!(epochs.epoch_for_offset(10), Some(4));
    }

    #[test]
    fn truncation_follows_the_log() {
        let (_dir, mut epochs) = open();
        epochs.truncate_from_start(12).unwrap();
        assert_eq!(pairs(&epochs), [(4, 12), (6, 25)]);
        epochs.truncate_from_end(25).unwrap();
        assert_eq!(pairs(&epochs), [(4, 12)]);
        epochs.truncate_from_start(5).unwrap();
        assert_eq!(pairs(&epochs), [(4, 12)]);
        epochs.truncate_from_end(12).unwrap();
        assert_eq!(pairs(&epochs), []);
        epochs.assign(9, 12).unwrap();
        assert_eq!(pairs(&epochs), [(9, 12)]);
    }
}
