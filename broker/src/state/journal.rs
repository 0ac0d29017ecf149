//! An append-only file of key/value changes, in which the last value of a key wins.
//!
//! # Format
//!
//! All integers are big-endian. The file begins with the eight bytes `HLIOJNL1`; groups follow until its end. A group is
//! what one [`Journal::put`] wrote:
//!
//! | field | bytes | meaning |
//! |---|---|---|
//! | length | 4 | bytes of the body |
//! | header checksum | 4 | CRC-32C of the group's position in the file (8 bytes) and the length |
//! | body checksum | 4 | CRC-32C of the body |
//! | body | length | entries, to the end of the body |
//!
//! An entry is a kind (1 byte: 1 sets a key, 0 removes it), the key's length (4) and the key, and for kind 1 the value's
//! length (4) and the value.
//!
//! # What survives
//!
//! A put is on disk (`fdatasync`) before it returns, and the next one is written only after that. A process or machine
//! that dies can therefore leave at most one unreadable group, and only at the end of the file: [`Journal::open`] drops
//! it. A readable group *behind* an unreadable one cannot come from a torn write; it means that bytes on disk have changed,
//! and is an error. Since a group's checksum covers its own position, no bytes inside a value pass for a group.
//! Damage within the very last group looks like a torn write, and is treated as one.
//!
//! A file much larger than its live content is rewritten: a new file beside it, `fsync`, rename, `fsync` of the directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::warn;

use crate::log::{Disk, DiskOperation};

/// What a journal holds: the last value of every key that has one.
pub type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// An open journal. It keeps a copy of its live content, so that it can be rewritten at any time.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next group goes: everything before it is whole and on disk.
    end: u64,
    live: Content,
    /// Bytes that the live content would take if it were written anew.
    live_bytes: u64,
    /// The file grows to this many bytes before it is rewritten.
    rewrite_at: u64,
    disk: Disk,
    /// A write failed in a way that leaves the file's content on disk unknown: it must be written anew before the next put.
    suspect: bool,
}

/// Why a journal could not be opened or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// The file does not begin as a journal of this version does.
    #[error(
        "{} is not a journal of this version: it does not begin with \"HLIOJNL1\"; move it away or restore it from a copy",
        path.display()
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A group cannot be read although a readable one follows it, or its entries make no sense.
    #[error("{} is damaged at byte {position}: {what}; restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged group begins, in bytes from the start of the file.
        position: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The changes of one put are larger than a group can be.
    #[error("a change of {bytes} bytes to {} is too large: the limit is {MAX_BODY} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The size of the changes.
        bytes: usize,
    },
}

const MAGIC: &[u8; 8] = b"HLIOJNL1";
const GROUP_HEADER: usize = 12;
const MAX_BODY: usize = 1 << 30;
/// Below this size a journal is never rewritten: it costs nothing to read.
const SMALLEST_REWRITE: u64 = 1 << 20;
/// A rewrite starts a new group when the current one has reached this size.
const REWRITE_BODY: usize = 1 << 20;

const REMOVE: u8 = 0;
const SET: u8 = 1;

impl Journal {
    /// Opens the journal at `path`, or creates an empty one, and returns it with its content.
    ///
    /// A torn last group is dropped. Damage anywhere else is [`JournalError::Damaged`].
    pub fn open(path: &Path) -> Result<(Self, Content), JournalError> {
        Self::open_on(path, Disk::default())
    }

    /// As [`Journal::open`], on a disk where faults can be injected.
    pub fn open_on(path: &Path, disk: Disk) -> Result<(Self, Content), JournalError> {
        let temporary = temporary_path(path);
        if temporary.exists() {
            // The rest of a rewrite that did not get as far as its rename.
            fs::remove_file(&temporary).map_err(|e| io_error("remove", &temporary, e))?;
        }
        if !path.exists() {
            let (file, end) = write_anew(path, &Content::new(), &disk)?;
            sync_directory_of(path)?;
            let journal = Self::new(path, file, end, Content::new(), disk);
            return Ok((journal, Content::new()));
        }
        let content = fs::read(path).map_err(|e| io_error("read", path, e))?;
        let (live, end) = replay(path, &content)?;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|e| io_error("open", path, e))?;
        if end < content.len() as u64 {
            warn!(
                journal = %path.display(),
                position = end,
                bytes = content.len() as u64 - end,
                "dropping a write that was cut short"
            );
            file.set_len(end)
                .and_then(|()| file.sync_all())
                .map_err(|e| io_error("truncate", path, e))?;
        }
        Ok((Self::new(path, file, end, live.clone(), disk), live))
    }

    /// Makes `changes` durable, all of them or none: `Some` sets a key, `None` removes it; the last change of a key wins.
    ///
    /// After an error the journal holds what it held before, and a later put may succeed.
    pub fn put(&mut self, changes: &[(Vec<u8>, Option<Vec<u8>>)]) -> Result<(), JournalError> {
        if changes.is_empty() {
            return Ok(());
        }
        let group = encode_group(self.end, changes.iter().map(|(k, v)| (&k[..], v.as_deref())));
        if group.len() > MAX_BODY {
            return Err(JournalError::TooLarge {
                path: self.path.clone(),
                bytes: group.len(),
            });
        }
        if self.suspect {
            self.rewrite()?;
            return self.put(changes);
        }
        if let Err(source) = self.disk.write_all_at(&self.file, &self.path, &group, self.end) {
            // What reached the file is cut off again; where even that fails, the file is written anew before the next put.
            self.suspect = self.file.set_len(self.end).is_err();
            return Err(io_error("write", &self.path, source));
        }
        if let Err(source) = self.disk.sync(&self.file, &self.path) {
            // After a failed fsync nobody knows what is on disk, and a second fsync would not tell (it may succeed
            // although the data was dropped). Only a new file can be trusted.
            self.suspect = true;
            let _ = self.file.set_len(self.end);
            return Err(io_error("flush", &self.path, source));
        }
        self.end += group.len() as u64;
        for (key, value) in changes {
            self.apply(key, value.as_deref());
        }
        if self.end >= self.rewrite_at
            && let Err(error) = self.rewrite()
        {
            // The put itself is durable. The file is fine as it is, only larger than it need be: try again later.
            warn!(%error, "could not rewrite a journal; it stays as it is");
            self.rewrite_at = self.end.saturating_mul(2);
        }
        Ok(())
    }

    fn new(path: &Path, file: File, end: u64, live: Content, disk: Disk) -> Self {
        let live_bytes = live.iter().map(|(k, v)| entry_bytes(k, v)).sum();
        let rewrite_at = rewrite_at(live_bytes);
        Self {
            path: path.to_owned(),
            file,
            end,
            live,
            live_bytes,
            rewrite_at,
            disk,
            suspect: false,
        }
    }

    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        let old = match value {
            Some(value) => {
                self.live_bytes += entry_bytes(key, value);
                self.live.insert(key.to_vec(), value.to_vec())
            }
            None => self.live.remove(key),
        };
        if let Some(old) = old {
            self.live_bytes -= entry_bytes(key, &old);
        }
        // The bound follows the live content, so that a journal that grows by new keys is not rewritten for nothing.
        self.rewrite_at = self.rewrite_at.max(rewrite_at(self.live_bytes));
    }

    fn rewrite(&mut self) -> Result<(), JournalError> {
        let (file, end) = write_anew(&self.path, &self.live, &self.disk)?;
        // The old file has lost its name by now, so whatever happens next, puts belong into the new one.
        self.file = file;
        self.end = end;
        self.rewrite_at = rewrite_at(self.live_bytes);
        self.suspect = true;
        sync_directory_of(&self.path)?;
        self.suspect = false;
        Ok(())
    }
}

fn rewrite_at(live_bytes: u64) -> u64 {
    live_bytes.saturating_mul(4).max(SMALLEST_REWRITE)
}

fn entry_bytes(key: &[u8], value: &[u8]) -> u64 {
    (9 + key.len() + value.len()) as u64
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Writes `live` to a new file and puts it in the place of `path`; returns it open for writing, and its length.
/// After an error the old file is still in its place. The rename is durable only after [`sync_directory_of`].
fn write_anew(path: &Path, live: &Content, disk: &Disk) -> Result<(File, u64), JournalError> {
    let temporary = temporary_path(path);
    let written = write_file(&temporary, live, disk).and_then(|written| {
        fs::rename(&temporary, path).map_err(|e| io_error("rename", &temporary, e))?;
        Ok(written)
    });
    if written.is_err() {
        // On a full disk the half-written copy would only hold space that the next attempt needs.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn sync_directory_of(path: &Path) -> Result<(), JournalError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(|e| io_error("flush", directory, e))
}

fn write_file(path: &Path, live: &Content, disk: &Disk) -> Result<(File, u64), JournalError> {
    let failed = |e| io_error("write", path, e);
    disk.allow(DiskOperation::Create { path }).map_err(failed)?;
    let file = File::create(path).map_err(failed)?;
    disk.write_all_at(&file, path, MAGIC, 0).map_err(failed)?;
    let mut end = MAGIC.len() as u64;
    let mut entries = live.iter().peekable();
    while entries.peek().is_some() {
        let mut taken = 0;
        let mut chunk = Vec::new();
        while taken < REWRITE_BODY
            && let Some((key, value)) = entries.next()
        {
            taken += key.len() + value.len() + 9;
            chunk.push((&key[..], Some(&value[..])));
        }
        let group = encode_group(end, chunk.into_iter());
        disk.write_all_at(&file, path, &group, end).map_err(failed)?;
        end += group.len() as u64;
    }
    disk.sync(&file, path).map_err(|e| io_error("flush", path, e))?;
    Ok((file, end))
}

/// One group for `position`. A body larger than [`MAX_BODY`] is the caller's to refuse.
fn encode_group<'a>(position: u64, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Vec<u8> {
    let mut group = vec![0; GROUP_HEADER];
    for (key, value) in changes {
        group.push(if value.is_some() { SET } else { REMOVE });
        group.extend_from_slice(&(key.len() as u32).to_be_bytes());
        group.extend_from_slice(key);
        if let Some(value) = value {
            group.extend_from_slice(&(value.len() as u32).to_be_bytes());
            group.extend_from_slice(value);
        }
    }
    let length = ((group.len() - GROUP_HEADER) as u32).to_be_bytes();
    let body_checksum = crc32c::crc32c(&group[GROUP_HEADER..]);
    group[0..4].copy_from_slice(&length);
    group[4..8].copy_from_slice(&header_checksum(position, length).to_be_bytes());
    group[8..12].copy_from_slice(&body_checksum.to_be_bytes());
    group
}

fn header_checksum(position: u64, length: [u8; 4]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&position.to_be_bytes()), &length)
}

/// The body of the group at `position`, if a whole and sound one begins there.
fn group_at(content: &[u8], position: usize) -> Option<&[u8]> {
    let header = content.get(position..position.checked_add(GROUP_HEADER)?)?;
    let (length, rest) = header.split_first_chunk::<4>()?;
    let (header_sum, rest) = rest.split_first_chunk::<4>()?;
    let (body_sum, _) = rest.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*header_sum) != header_checksum(position as u64, *length) {
        return None;
    }
    let start = position + GROUP_HEADER;
    let body = content.get(start..start.checked_add(u32::from_be_bytes(*length) as usize)?)?;
    (u32::from_be_bytes(*body_sum) == crc32c::crc32c(body)).then_some(body)
}

/// The live content of a journal's bytes, and the position behind its last whole group.
fn replay(path: &Path, content: &[u8]) -> Result<(Content, u64), JournalError> {
    if !content.starts_with(MAGIC) {
        return Err(JournalError::NotAJournal {
            path: path.to_owned(),
        });
    }
    let damaged = |position: usize, what| JournalError::Damaged {
        path: path.to_owned(),
        position: position as u64,
        what,
    };
    let mut live = Content::new();
    let mut position = MAGIC.len();
    while position < content.len() {
        let Some(body) = group_at(content, position) else {
            if (position + 1..content.len()).any(|later| group_at(content, later).is_some()) {
                return Err(damaged(
                    position,
                    "a group with a wrong checksum is followed by a sound one",
                ));
            }
            break;
        };
        apply_body(&mut live, body)
            .ok_or_else(|| damaged(position, "a group with a right checksum has wrong lengths"))?;
        position += GROUP_HEADER + body.len();
    }
    Ok((live, position as u64))
}

fn apply_body(live: &mut Content, mut body: &[u8]) -> Option<()> {
    while let Some((&kind, rest)) = body.split_first() {
        let (key, rest) = take_bytes(rest)?;
        body = rest;
        match kind {
            SET => {
                let (value, rest) = take_bytes(rest)?;
                live.insert(key.to_vec(), value.to_vec());
                body = rest;
            }
            REMOVE => {
                live.remove(key);
            }
            _ => return None,
        }
    }
    Some(())
}

fn take_bytes(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Map = Content;
    type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    fn set(key: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        (key.into(), Some(value.into()))
    }

    fn apply(model: &mut Map, changes: &Changes) {
        for (key, value) in changes {
            match value {
                Some(value) => model.insert(key.clone(), value.clone()),
                None => model.remove(key),
            };
        }
    }

    fn changes() -> impl Strategy<Value = Changes> {
        let key = proptest::collection::vec(0u8..4, 0..3);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40));
        proptest::collection::vec((key, value), 1..5)
    }

    proptest! {
        /// Whatever is put, and wherever the file is then cut, what is read back is the state after some put: the last one
        /// that the cut left whole.
        #[test]
        fn a_cut_file_reads_as_the_state_after_a_put(puts in proptest::collection::vec(changes(), 0..12), cut in 0.0f64..=1.0) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("journal");
            let (mut journal, _) = Journal::open(&path).unwrap();
            let mut states = vec![(journal.end, Map::new())];
            for changes in &puts {
                journal.put(changes).unwrap();
                let mut next = states.last().unwrap().1.clone();
                apply(&mut next, changes);
                states.push((journal.end, next));
            }
            drop(journal);
            let (start, end) = (states[0].0, states.last().unwrap().0);
            let keep = start + ((end - start) as f64 * cut) as u64;
            OpenOptions::new().write(true).open(&path).unwrap().set_len(keep).unwrap();

            let (mut journal, live) = Journal::open(&path).unwrap();
            let (_, expected) = states.iter().rev().find(|(end, _)| *end <= keep).unwrap();
            prop_assert_eq!(&live, expected);

            // A journal that dropped a tail takes puts as any other.
            let mut expected = expected.clone();
            let more = vec![set("more", "x"), (vec![1], None)];
            apply(&mut expected, &more);
            journal.put(&more).unwrap();
            prop_assert_eq!(Journal::open(&path).unwrap().1, expected);
        }

        /// One changed byte is never read as other content: it is an error, or, in the last group, the state before it.
        #[test]
        fn a_changed_byte_is_found(puts in proptest::collection::vec(changes(), 1..8), at in 0.0f64..1.0, flip in 1u8..) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("journal");
            let (mut journal, _) = Journal::open(&path).unwrap();
            let (mut before_last, mut last_start) = (Map::new(), 0);
            let mut live = Map::new();
            for changes in &puts {
                (before_last, last_start) = (live.clone(), journal.end);
                journal.put(changes).unwrap();
                apply(&mut live, changes);
            }
            let mut content = fs::read(&path).unwrap();
            let position = (content.len() as f64 * at) as usize;
            content[position] ^= flip;
            fs::write(&path, &content).unwrap();
            match Journal::open(&path) {
                Ok((_, found)) => {
                    prop_assert!(position as u64 >= last_start);
                    prop_assert_eq!(found, before_last);
                }
                Err(JournalError::Damaged { position: named, .. }) => prop_assert!(named as usize <= position),
                Err(JournalError::NotAJournal { .. }) => prop_assert!(position < MAGIC.len()),
                Err(other) => prop_assert!(false, "unexpected error: {}", other),
            }
        }
    }

    #[test]
    fn damage_in_the_middle_names_the_file_and_the_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.put(&[set("a", "1")]).unwrap();
        let second = journal.end;
        journal.put(&[set("b", "2")]).unwrap();
        journal.put(&[set("c", "3")]).unwrap();
        let mut content = fs::read(&path).unwrap();
        // A length that points far beyond the end must not be taken for a torn tail either.
        content[second as usize] = 0x7f;
        fs::write(&path, content).unwrap();
        let message = Journal::open(&path).unwrap_err().to_string();
        assert!(message.contains("journal is damaged at byte 31: "), "{message}");
    }

    #[test]
    fn a_file_much_larger_than_its_content_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let large = "x".repeat(100_000);
        for i in 0..40 {
            journal
                .put(&[set("key", &large), set("count", &i.to_string())])
                .unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() <= SMALLEST_REWRITE);
        let (_, live) = Journal::open(&path).unwrap();
        assert_eq!(
            live,
            Map::from([("key".into(), large.into()), ("count".into(), "39".into())])
        );
        assert!(!temporary_path(&path).exists());
    }

    #[test]
    fn content_of_many_groups_survives_a_rewrite() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let all: Changes = (0..40)
            .map(|i| set(&format!("key-{i}"), &"x".repeat(100_000)))
            .collect();
        journal.put(&all).unwrap();
        journal.rewrite().unwrap();
        journal.put(&[set("later", "1")]).unwrap();
        let mut model = Map::new();
        apply(&mut model, &all);
        apply(&mut model, &vec![set("later", "1")]);
        assert_eq!(Journal::open(&path).unwrap().1, model);
    }

    #[test]
    fn a_put_that_fails_changes_nothing_and_the_next_one_may_succeed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.put(&[set("a", "1")]).unwrap();
        // This device answers every write as a full disk does; it cannot be truncated either.
        journal.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = journal.put(&[set("a", "2")]).unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert_eq!(journal.live, Map::from([("a".into(), "1".into())]));
        journal.put(&[set("b", "3")]).unwrap();
        let expected = Map::from([("a".into(), "1".into()), ("b".into(), "3".into())]);
        assert_eq!(Journal::open(&path).unwrap().1, expected);
    }

    #[test]
    fn what_is_no_journal_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        fs::write(&path, "topics: []").unwrap();
        assert!(matches!(
            Journal::open(&path),
            Err(JournalError::NotAJournal { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"topics: []");
    }
}
