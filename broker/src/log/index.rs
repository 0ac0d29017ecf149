//! The two sparse indexes of a segment, in Kafka's formats: offset to position, and timestamp to offset.
//!
//! Entries are found by binary search in the file itself, which the page cache holds; an index costs no memory of
//! ours, however long the log is. Both are caches of the log: what is missing in them costs a longer walk, no more.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use heliostat_wire::batch::NO_TIMESTAMP;

use super::error::{AtPath, StorageError};
use super::files::{Disk, open_or_create, remove_if_there};

/// So many entries or fewer are read at once: a call of the system for each costs more.
const READ_TOGETHER: u64 = 512;

/// Where a batch starts in its segment: (its last offset, its position).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: i64,
    pub(crate) position: u64,
}

/// The largest timestamp so far in the segment, and the last offset of the first batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
}

/// What an entry is in the file: `N` bytes, with offsets relative to the first one of the segment.
pub(crate) trait Entry<const N: usize>: Copy {
    fn offset(self) -> i64;

    /// `None` if it cannot be told in so few bytes.
    fn encode(self, base_offset: i64) -> Option<[u8; N]>;

    fn decode(bytes: [u8; N], base_offset: i64) -> Self;
}

/// An index of a segment, whose entries ascend.
#[derive(Debug)]
pub(crate) struct Index<E, const N: usize> {
    file: EntryFile,
    base_offset: i64,
    last: Option<E>,
}

/// `.index`: relative offset (i32) and position (i32).
pub(crate) type OffsetIndex = Index<OffsetEntry, 8>;

/// `.timeindex`: timestamp (i64) and relative offset (i32).
pub(crate) type TimeIndex = Index<TimeEntry, 12>;

impl Entry<8> for OffsetEntry {
    fn offset(self) -> i64 {
        self.offset
    }

    fn encode(self, base_offset: i64) -> Option<[u8; 8]> {
        let relative = i32::try_from(self.offset - base_offset).ok()?;
        let position = i32::try_from(self.position).ok()?;
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&relative.to_be_bytes());
        bytes[4..].copy_from_slice(&position.to_be_bytes());
        Some(bytes)
    }

    fn decode([a, b, c, d, e, f, g, h]: [u8; 8], base_offset: i64) -> Self {
        OffsetEntry {
            offset: base_offset.saturating_add(i64::from(i32::from_be_bytes([a, b, c, d]))),
            position: u64::from(u32::from_be_bytes([e, f, g, h])),
        }
    }
}

impl Entry<12> for TimeEntry {
    fn offset(self) -> i64 {
        self.offset
    }

    fn encode(self, base_offset: i64) -> Option<[u8; 12]> {
        let relative = i32::try_from(self.offset - base_offset).ok()?;
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&relative.to_be_bytes());
        Some(bytes)
    }

    fn decode([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12], base_offset: i64) -> Self {
        TimeEntry {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: base_offset.saturating_add(i64::from(i32::from_be_bytes([i, j, k, l]))),
        }
    }
}

impl<E: Entry<N>, const N: usize> Index<E, N> {
    const ENTRY_SIZE: u64 = N as u64;

    /// Opens or creates the file. `None` if its content cannot be an index of this segment: it must be rebuilt. What
    /// `is_sound` is asked about are the first and the last entry.
    fn open_if(
        path: &Path,
        base_offset: i64,
        is_sound: impl FnOnce(E, E) -> bool,
    ) -> Result<Option<Self>, StorageError> {
        let Some(file) = EntryFile::open(path, Self::ENTRY_SIZE)? else {
            return Ok(None);
        };
        let mut last = None;
        if let Some(place) = file.entries.checked_sub(1) {
            let handle = file.handle()?;
            let entry = |place| {
                file.read(&handle, place)
                    .map(|bytes| E::decode(bytes, base_offset))
            };
            let (first, found) = (entry(0)?, entry(place)?);
            if found.offset() < base_offset || !is_sound(first, found) {
                return Ok(None);
            }
            last = Some(found);
        }
        Ok(Some(Index {
            file,
            base_offset,
            last,
        }))
    }

    pub(crate) fn append(&mut self, disk: &Disk, entry: E) -> Result<(), StorageError> {
        let Some(bytes) = entry.encode(self.base_offset) else {
            return Ok(());
        };
        self.file.append(disk, &bytes)?;
        self.last = Some(entry);
        Ok(())
    }

    /// The last entry for which `wanted` holds, and its place; it must hold for a prefix of all entries.
    fn last_where(&self, wanted: impl Fn(E) -> bool) -> Result<Option<(u64, E)>, StorageError> {
        let decode = |bytes| E::decode(bytes, self.base_offset);
        let found = self.file.last_where(|bytes| wanted(decode(bytes)))?;
        Ok(found.map(|(place, bytes)| (place, decode(bytes))))
    }

    /// Removes the entries behind the last one that is not beyond this offset.
    pub(crate) fn truncate_after(&mut self, offset: i64) -> Result<(), StorageError> {
        let last = self.last_where(|entry| entry.offset() <= offset)?;
        self.last = last.map(|(_, entry)| entry);
        self.file.cut(last.map_or(0, |(place, _)| place + 1))
    }

    /// Replaces all entries, as after a walk through the segment.
    pub(crate) fn rebuild(&mut self, disk: &Disk, entries: &[E]) -> Result<(), StorageError> {
        let encode = |entry: &E| Some((*entry, entry.encode(self.base_offset)?));
        let (kept, encoded): (Vec<E>, Vec<_>) = entries.iter().filter_map(encode).unzip();
        self.last = None;
        self.file.rebuild(disk, &encoded.concat())?;
        self.last = kept.last().copied();
        Ok(())
    }

    pub(crate) fn file(&mut self) -> &mut EntryFile {
        &mut self.file
    }

    pub(crate) fn handle(&self) -> Result<Arc<File>, StorageError> {
        self.file.handle()
    }
}

impl OffsetIndex {
    /// Opens or creates the file. `None` if its content cannot be an index of this segment: it must be rebuilt.
    pub(crate) fn open(path: &Path, base_offset: i64, log_size: u64) -> Result<Option<Self>, StorageError> {
        Self::open_if(path, base_offset, |_, last| last.position < log_size)
    }

    /// The last entry at or before `offset`.
    pub(crate) fn floor(&self, offset: i64) -> Result<Option<OffsetEntry>, StorageError> {
        match self.last {
            Some(last) if last.offset > offset => Ok(self
                .last_where(|entry| entry.offset <= offset)?
                .map(|(_, entry)| entry)),
            last => Ok(last),
        }
    }

    /// The last entry whose position is not beyond `position`.
    pub(crate) fn floor_of_position(&self, position: u64) -> Result<Option<OffsetEntry>, StorageError> {
        let found = self.last_where(|entry| entry.position <= position)?;
        Ok(found.map(|(_, entry)| entry))
    }

    pub(crate) fn is_full(&self, max_bytes: u64) -> bool {
        self.file.entries >= max_bytes / Self::ENTRY_SIZE
    }
}

impl TimeIndex {
    /// Opens or creates the file. `None` if its content cannot be an index of this segment: it must be rebuilt.
    pub(crate) fn open(path: &Path, base_offset: i64) -> Result<Option<Self>, StorageError> {
        Self::open_if(path, base_offset, |first, last| last.timestamp >= first.timestamp)
    }

    pub(crate) fn last(&self) -> Option<TimeEntry> {
        self.last
    }

    /// Adds an entry if its timestamp is larger than the last one's; otherwise it would tell nothing new.
    pub(crate) fn maybe_append(&mut self, disk: &Disk, entry: TimeEntry) -> Result<(), StorageError> {
        let (timestamp, offset) = self
            .last
            .map_or((NO_TIMESTAMP, i64::MIN), |last| (last.timestamp, last.offset));
        match entry.timestamp > timestamp && entry.offset >= offset {
            true => self.append(disk, entry),
            false => Ok(()),
        }
    }

    /// The last entry whose timestamp is not beyond `timestamp`.
    pub(crate) fn floor(&self, timestamp: i64) -> Result<Option<TimeEntry>, StorageError> {
        if self.last.is_none() {
            return Ok(None);
        }
        let found = self.last_where(|entry| entry.timestamp <= timestamp)?;
        Ok(found.map(|(_, entry)| entry))
    }

    /// The last slot is kept free for the entry that is added when the segment is closed.
    pub(crate) fn is_full(&self, max_bytes: u64) -> bool {
        self.file.entries + 1 >= max_bytes / Self::ENTRY_SIZE
    }
}

/// A file of entries of one size. It is held open only while its segment is written to.
#[derive(Debug)]
pub(crate) struct EntryFile {
    path: PathBuf,
    entry_size: u64,
    entries: u64,
    open: Option<Arc<File>>,
    /// Where it was found what was looked for last.
    found_last: AtomicU64,
}

impl EntryFile {
    fn open(path: &Path, entry_size: u64) -> Result<Option<Self>, StorageError> {
        let file = open_or_create(path)?;
        let size = file.metadata().at("examine", path)?.len();
        let entries = size / entry_size;
        Ok((size % entry_size == 0).then(|| EntryFile {
            path: path.to_owned(),
            entry_size,
            entries,
            open: Some(Arc::new(file)),
            found_last: AtomicU64::default(),
        }))
    }

    /// Bytes of its entries.
    pub(crate) fn size(&self) -> u64 {
        self.entries * self.entry_size
    }

    /// Says that the file was renamed.
    pub(crate) fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    fn handle(&self) -> Result<Arc<File>, StorageError> {
        match &self.open {
            Some(file) => Ok(Arc::clone(file)),
            None => Ok(Arc::new(open_or_create(&self.path)?)),
        }
    }

    fn append(&mut self, disk: &Disk, entry: &[u8]) -> Result<(), StorageError> {
        // A failed write may leave part of an entry behind; the next one starts at the same place, over it.
        let file = self.handle()?;
        disk.write_all_at(&file, &self.path, entry, self.entries * self.entry_size)
            .at("write", &self.path)?;
        self.entries += 1;
        Ok(())
    }

    fn read<const N: usize>(&self, file: &File, place: u64) -> Result<[u8; N], StorageError> {
        let mut bytes = [0; N];
        file.read_exact_at(&mut bytes, place * self.entry_size)
            .at("read", &self.path)?;
        Ok(bytes)
    }

    /// The last entry for which `wanted` holds, and its place; it must hold for a prefix of all entries.
    fn last_where<const N: usize>(
        &self,
        wanted: impl Fn([u8; N]) -> bool,
    ) -> Result<Option<(u64, [u8; N])>, StorageError> {
        let file = self.handle()?;
        let block = |low: u64, high: u64| -> Result<Vec<[u8; N]>, StorageError> {
            let mut block = vec![[0; N]; usize::try_from(high - low).unwrap_or(0)];
            file.read_exact_at(block.as_flattened_mut(), low * self.entry_size)
                .at("read", &self.path)?;
            Ok(block)
        };
        let found_at = |low: u64, block: &[[u8; N]], count: usize| {
            let place = low + count as u64 - 1;
            self.found_last.store(place, Ordering::Relaxed);
            (place, block[count - 1])
        };
        let (mut low, mut high, mut last) = (0, self.entries, None);
        if high > READ_TOGETHER {
            // Who reads on asks for what comes next.
            let from = self.found_last.load(Ordering::Relaxed).min(high - READ_TOGETHER);
            let to = from + READ_TOGETHER;
            let near = block(from, to)?;
            match near.partition_point(|bytes| wanted(*bytes)) {
                0 => high = from,
                count if count < near.len() || to == high => return Ok(Some(found_at(from, &near, count))),
                count => (low, last) = (to, Some((to - 1, near[count - 1]))),
            }
        }
        while high - low > READ_TOGETHER {
            let middle = low + (high - low) / 2;
            let bytes = self.read(&file, middle)?;
            if wanted(bytes) {
                (low, last) = (middle + 1, Some((middle, bytes)));
            } else {
                high = middle;
            }
        }
        let rest = block(low, high)?;
        Ok(match rest.partition_point(|bytes| wanted(*bytes)) {
            0 => last,
            count => Some(found_at(low, &rest, count)),
        })
    }

    fn rebuild(&mut self, disk: &Disk, entries: &[u8]) -> Result<(), StorageError> {
        let file = self.handle()?;
        self.entries = 0;
        file.set_len(0).at("truncate", &self.path)?;
        super::clean::at_step(&self.path);
        disk.write_all_at(&file, &self.path, entries, 0)
            .at("write", &self.path)?;
        self.entries = u64::try_from(entries.len()).unwrap_or(0) / self.entry_size;
        Ok(())
    }

    /// Keeps so many entries.
    fn cut(&mut self, entries: u64) -> Result<(), StorageError> {
        self.entries = self.entries.min(entries);
        self.trim()
    }

    /// Cuts off what a failed write may have left behind.
    pub(crate) fn trim(&self) -> Result<(), StorageError> {
        self.handle()?
            .set_len(self.entries * self.entry_size)
            .at("truncate", &self.path)?;
        super::clean::at_step(&self.path);
        Ok(())
    }

    /// Gives the file handle back; later look-ups open the file for themselves.
    pub(crate) fn release(&mut self) {
        self.open = None;
    }

    /// Keeps the file open for appends.
    pub(crate) fn hold(&mut self) -> Result<(), StorageError> {
        self.open = Some(self.handle()?);
        Ok(())
    }
}

/// Opens an index file after a damaged one was removed.
pub(crate) fn remove_damaged(path: &Path) -> Result<(), StorageError> {
    tracing::warn!(file = %path.display(), "index is damaged and will be rebuilt from its segment");
    remove_if_there(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_found_at_every_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000100.index");
        let disk = Disk::default();
        let mut index = OffsetIndex::open(&path, 100, u64::MAX).unwrap().unwrap();
        assert_eq!(index.floor(1000).unwrap(), None);
        let entries: Vec<_> = (1..50 + 4 * READ_TOGETHER as i64)
            .map(|i| OffsetEntry {
                offset: 100 + 10 * i,
                position: 77 * i.unsigned_abs(),
            })
            .collect();
        for entry in &entries {
            index.append(&disk, *entry).unwrap();
        }
        index.file().release();
        let again = OffsetIndex::open(&path, 100, u64::MAX).unwrap().unwrap();
        // On and on, back again, and here and there.
        let on = 90..700 + 40 * READ_TOGETHER as i64;
        let there = on.clone().map(|number| 90 + number * 7919 % on.end);
        for offset in on.clone().chain(on.clone().rev()).chain(there) {
            let count = entries.partition_point(|entry| entry.offset <= offset);
            let expected = entries[..count].last().copied();
            assert_eq!(index.floor(offset).unwrap(), expected);
            assert_eq!(again.floor(offset).unwrap(), expected);
        }
        assert!(
            OffsetIndex::open(&path, 100, 77 * 49).unwrap().is_none(),
            "a position beyond the log"
        );
        std::fs::write(&path, (-1i64).to_be_bytes()).unwrap();
        assert!(
            OffsetIndex::open(&path, 100, u64::MAX).unwrap().is_none(),
            "an offset before the segment"
        );
        std::fs::write(&path, [0; 9]).unwrap();
        assert!(
            OffsetIndex::open(&path, 100, u64::MAX).unwrap().is_none(),
            "half an entry"
        );
    }

    #[test]
    fn time_entries_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.timeindex");
        let disk = Disk::default();
        let mut index = TimeIndex::open(&path, 0).unwrap().unwrap();
        for (timestamp, offset) in [(10, 1), (10, 2), (5, 3), (20, 4)] {
            index
                .maybe_append(&disk, TimeEntry { timestamp, offset })
                .unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 24);
        assert_eq!(index.floor(9).unwrap(), None);
        assert_eq!(
            index.floor(19).unwrap(),
            Some(TimeEntry {
                timestamp: 10,
                offset: 1
            })
        );
        assert_eq!(
            index.floor(20).unwrap(),
            Some(TimeEntry {
                timestamp: 20,
                offset: 4
            })
        );
        assert!(index.is_full(36) && !index.is_full(48));
    }

    #[test]
    fn a_failed_append_leaves_no_half_entry_for_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.index");
        let disk = Disk::default();
        let mut index = OffsetIndex::open(&path, 0, u64::MAX).unwrap().unwrap();
        disk.limit(Some(5));
        assert!(
            index
                .append(
                    &disk,
                    OffsetEntry {
                        offset: 1,
                        position: 10
                    }
                )
                .unwrap_err()
                .is_full()
        );
        index.file().trim().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        disk.limit(None);
        index
            .append(
                &disk,
                OffsetEntry {
                    offset: 2,
                    position: 20,
                },
            )
            .unwrap();
        assert_eq!(
            index.floor(5).unwrap(),
            Some(OffsetEntry {
                offset: 2,
                position: 20
            })
        );
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 8);
    }
}
