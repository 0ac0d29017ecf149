//! `.txnindex`: the aborted transactions whose markers lie in a segment, in Kafka's format.
//!
//! Most segments have none, and then no file. Entries are in the order of their markers, so that those which concern a
//! range of offsets are found by binary search in the file itself.
//!
//! The format has no checksum. When a file is opened its entries are held against each other and against the bounds of
//! their segment; each is held against the log before the first answer that rests on it (`aborted_check`).

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{AtPath, StorageError};
use super::files::{Disk, open_if_there, open_or_create, read_if_there, remove_if_there, replace_unsynced};

/// A transaction that was aborted, as a partition's log knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// The offset of its first record in the partition.
    pub first_offset: i64,
    /// The offset of its marker.
    pub last_offset: i64,
    /// The last stable offset when the marker was written: no later entry concerns an offset before it.
    pub last_stable_offset: i64,
}

/// The aborted transactions of one segment.
#[derive(Debug)]
pub(crate) struct AbortedIndex {
    path: PathBuf,
    entries: u64,
    open: Option<Arc<File>>,
    /// The entries that were in the file when it was opened, and whether the log was found to agree with them.
    proven: Vec<AtomicBool>,
    span: Option<Span>,
}

/// Offsets that the entries of a file name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// The smallest first offset of a transaction.
    pub(crate) least_first: i64,
    /// The largest last stable offset.
    pub(crate) greatest_stable: i64,
    /// The offset of the last marker.
    pub(crate) last: i64,
}

/// The entries that a question rests on.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Those that were in the file when it was opened, and that nobody has held against the log yet, with their places.
    pub(crate) unproven: Vec<(usize, AbortedTransaction)>,
    /// No later segment can hold another one.
    pub(crate) complete: bool,
}

const VERSION: i16 = 0;
const ENTRY_SIZE: usize = 34;
const ENTRY_BYTES: u64 = 34;

impl AbortedIndex {
    /// Opens the file, if there is one. `None` if its content cannot be an index of the segment from `base_offset` to before
    /// `end`: it must be rebuilt.
    pub(crate) fn open(path: &Path, base_offset: i64, end: i64) -> Result<Option<Self>, StorageError> {
        let content = read_if_there(path)?.unwrap_or_default();
        let entries: Option<Vec<AbortedTransaction>> = content
            .chunks(ENTRY_SIZE)
            .map(|bytes| bytes.first_chunk().and_then(decode))
            .collect();
        let Some(entries) = entries.filter(|entries| are_plausible(entries, base_offset, end)) else {
            return Ok(None);
        };
        Ok(Some(AbortedIndex {
            path: path.to_owned(),
            entries: entries.len() as u64,
            open: None,
            proven: entries.iter().map(|_| AtomicBool::new(false)).collect(),
            span: span(&entries),
        }))
    }

    /// What the entries name that were in the file when it was opened; `None` if there were none.
    pub(crate) fn span(&self) -> Option<Span> {
        self.span
    }

    /// Takes note that the log agrees with the entry at this place.
    pub(crate) fn prove(&self, place: usize) {
        if let Some(proven) = self.proven.get(place) {
            proven.store(true, Ordering::Relaxed);
        }
    }

    /// An index without entries, whatever the file holds: the caller replaces that ([`AbortedIndex::rebuild`]).
    pub(crate) fn empty(path: &Path) -> Self {
        AbortedIndex {
            path: path.to_owned(),
            entries: 0,
            open: None,
            proven: Vec::new(),
            span: None,
        }
    }

    /// Adds a transaction. Its marker lies behind those of all others.
    pub(crate) fn append(&mut self, disk: &Disk, entry: &AbortedTransaction) -> Result<(), StorageError> {
        if self.open.is_none() {
            self.open = Some(Arc::new(open_or_create(&self.path)?));
        }
        let Some(file) = &self.open else { return Ok(()) };
        // A failed write may leave part of an entry behind; the next one starts at the same place, over it.
        disk.write_all_at(file, &self.path, &encode(entry), self.entries * ENTRY_BYTES)
            .at("write", &self.path)?;
        self.entries += 1;
        Ok(())
    }

    /// Takes the last entry back: its marker could not be written.
    pub(crate) fn take_back(&mut self) {
        self.entries = self.entries.saturating_sub(1);
    }

    /// The entries that concern offsets from `from` to before `to`, added to `found`.
    pub(crate) fn collect(
        &self,
        from: i64,
        to: i64,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<Walk, StorageError> {
        let mut walk = Walk::default();
        if self.entries == 0 {
            return Ok(walk);
        }
        // A file that was renamed meanwhile belongs to a segment that is no more: so do its entries.
        let file = match &self.open {
            Some(file) => Arc::clone(file),
            None => match open_if_there(&self.path)? {
                Some(file) => Arc::new(file),
                None => return Ok(walk),
            },
        };
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let behind = self
                .entry(&file, middle)?
                .is_some_and(|entry| entry.last_offset < from);
            if behind { low = middle + 1 } else { high = middle }
        }
        // That the search was led right rests on the entry before the first one, too.
        for place in low.saturating_sub(1)..self.entries {
            let Some(entry) = self.entry(&file, place)? else {
                continue;
            };
            let index = usize::try_from(place).unwrap_or(usize::MAX);
            if self
                .proven
                .get(index)
                .is_some_and(|proven| !proven.load(Ordering::Relaxed))
            {
                walk.unproven.push((index, entry));
            }
            if place < low {
                continue;
            }
            if entry.first_offset < to {
                found.push(entry);
            }
            walk.complete = entry.last_stable_offset >= to;
            if walk.complete {
                break;
            }
        }
        Ok(walk)
    }

    /// Replaces all entries, as after a walk through the segment. Whoever dies meanwhile leaves the old ones.
    pub(crate) fn rebuild(
        &mut self,
        disk: &Disk,
        entries: &[AbortedTransaction],
    ) -> Result<(), StorageError> {
        let content: Vec<u8> = entries.iter().flat_map(encode).collect();
        if content.is_empty() {
            remove_if_there(&self.path)?;
        } else {
            replace_unsynced(disk, &self.path, &content)?;
        }
        self.entries = entries.len() as u64;
        self.open = None;
        self.proven = Vec::new();
        self.span = None;
        Ok(())
    }

    /// Removes the entries whose markers are at `end` or behind it.
    pub(crate) fn truncate_to(&mut self, disk: &Disk, end: i64) -> Result<(), StorageError> {
        let mut kept = Vec::new();
        self.collect(i64::MIN, i64::MAX, &mut kept)?;
        kept.retain(|entry| entry.last_offset < end);
        let mut proven = std::mem::take(&mut self.proven);
        proven.truncate(kept.len());
        self.rebuild(disk, &kept)?;
        self.proven = proven;
        Ok(())
    }

    /// Says that the first entries, so many, come from a file and not from the log.
    pub(crate) fn doubt(&mut self, count: usize) {
        self.proven = (0..count).map(|_| AtomicBool::new(false)).collect();
    }

    /// Cuts off what a failed write may have left behind.
    pub(crate) fn trim(&self) -> Result<(), StorageError> {
        match &self.open {
            Some(file) => file
                .set_len(self.entries * ENTRY_BYTES)
                .at("truncate", &self.path),
            None => Ok(()),
        }
    }

    /// Says that the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Gives the file handle back.
    pub(crate) fn release(&mut self) {
        self.open = None;
    }

    /// The file, if there are entries that must be forced to disk.
    pub(crate) fn file(&self) -> Result<Option<Arc<File>>, StorageError> {
        if self.entries == 0 {
            return Ok(None);
        }
        match &self.open {
            Some(file) => Ok(Some(Arc::clone(file))),
            None => Ok(open_if_there(&self.path)?.map(Arc::new)),
        }
    }

    fn entry(&self, file: &File, place: u64) -> Result<Option<AbortedTransaction>, StorageError> {
        let mut bytes = [0; ENTRY_SIZE];
        file.read_exact_at(&mut bytes, place * ENTRY_BYTES)
            .at("read", &self.path)?;
        Ok(decode(&bytes))
    }
}

/// Whether these can be the entries of a segment from `base_offset` to before `end`, in their order.
fn are_plausible(entries: &[AbortedTransaction], base_offset: i64, end: i64) -> bool {
    let mut previous = base_offset.saturating_sub(1);
    let mut last_of = HashMap::new();
    let in_order = entries.iter().all(|entry| {
        // A producer has one transaction at a time.
        let after_its_last = last_of.insert(entry.producer_id, entry.last_offset);
        let fine = entry.producer_id >= 0
            && entry.first_offset > after_its_last.unwrap_or(-1)
            && entry.first_offset < entry.last_offset
            && (previous + 1..end).contains(&entry.last_offset)
            && (0..=entry.last_offset + 1).contains(&entry.last_stable_offset);
        previous = entry.last_offset;
        fine
    });
    // What ends later begins where nothing was decided yet.
    let mut least_first = i64::MAX;
    let decided = entries.iter().rev().all(|entry| {
        let fine = entry.last_stable_offset <= least_first;
        least_first = least_first.min(entry.first_offset);
        fine
    });
    in_order && decided
}

fn span(entries: &[AbortedTransaction]) -> Option<Span> {
    Some(Span {
        least_first: entries.iter().map(|entry| entry.first_offset).min()?,
        greatest_stable: entries.iter().map(|entry| entry.last_stable_offset).max()?,
        last: entries.last()?.last_offset,
    })
}

fn encode(entry: &AbortedTransaction) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_SIZE);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    for field in [
        entry.producer_id,
        entry.first_offset,
        entry.last_offset,
        entry.last_stable_offset,
    ] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; ENTRY_SIZE]) -> Option<AbortedTransaction> {
    let (version, rest) = bytes.split_first_chunk()?;
    let (producer_id, rest) = rest.split_first_chunk()?;
    let (first_offset, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (last_stable_offset, _) = rest.split_first_chunk()?;
    (i16::from_be_bytes(*version) == VERSION).then(|| AbortedTransaction {
        producer_id: i64::from_be_bytes(*producer_id),
        first_offset: i64::from_be_bytes(*first_offset),
        last_offset: i64::from_be_bytes(*last_offset),
        last_stable_offset: i64::from_be_bytes(*last_stable_offset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: 1_000 + first_offset,
            first_offset,
            last_offset,
            last_stable_offset,
        }
    }

    #[test]
    fn what_concerns_a_range_is_found_whatever_the_range() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000100.txnindex");
        let disk = Disk::default();
        let mut index = AbortedIndex::open(&path, 100, 200).unwrap().unwrap();
        assert!(
            !path.exists(),
            "a segment without aborted transactions has no file"
        );
        // The transaction from 105 on stays open until 140.
        let all = [
            entry(102, 110, 105),
            entry(111, 120, 105),
            entry(105, 140, 141),
            entry(150, 160, 161),
        ];
        for aborted in &all {
            index.append(&disk, aborted).unwrap();
        }
        let again = AbortedIndex::open(&path, 100, 200).unwrap().unwrap();
        for from in 95..170 {
            for to in from..175 {
                let expected: Vec<_> = all
                    .iter()
                    .filter(|entry| entry.last_offset >= from && entry.first_offset < to)
                    .copied()
                    .collect();
                let mut found = Vec::new();
                again.collect(from, to, &mut found).unwrap();
                assert_eq!(found, expected, "{from}..{to}");
            }
        }
        index.truncate_to(&disk, 140).unwrap();
        let mut left = Vec::new();
        index.collect(0, 1_000, &mut left).unwrap();
        assert_eq!(left, all[..2]);
    }

    #[test]
    fn a_damaged_index_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000100.txnindex");
        let good = [encode(&entry(101, 110, 111)), encode(&entry(112, 120, 121))].concat();
        for (what, bytes) in [
            ("half an entry", good[..50].to_vec()),
            ("another version", [&[0, 1], &good[2..]].concat()),
            ("markers out of order", [&good[34..], &good[..34]].concat()),
            ("a marker before the segment", encode(&entry(1, 99, 100))),
            ("a marker behind the segment", encode(&entry(1, 200, 100))),
            ("an end before its begin", encode(&entry(120, 110, 100))),
            ("a begin before all", encode(&entry(-1, 110, 100))),
            ("stable beyond its marker", encode(&entry(105, 110, 112))),
            (
                "stable beyond what is decided later",
                [encode(&entry(105, 110, 111)), encode(&entry(106, 120, 121))].concat(),
            ),
            (
                "two transactions of a producer at once",
                [encode(&entry(105, 110, 100)), encode(&entry(105, 120, 121))].concat(),
            ),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert!(AbortedIndex::open(&path, 100, 200).unwrap().is_none(), "{what}");
        }
        std::fs::write(&path, &good).unwrap();
        assert!(AbortedIndex::open(&path, 100, 200).unwrap().is_some());
    }
}
