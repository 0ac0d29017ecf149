//! An append-only file of key/value changes, in which the last value of a key wins.
//!
//! # Format
//!
//! All integers are big-endian. The file begins with the eight bytes `HLIOJNL2` and the mark of what it must hold: a
//! position in the file (8 bytes), and the CRC-32C of these 16 bytes. Groups follow until its end. A group is what one
//! [`Journal::put`] wrote:
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
//! that dies can therefore leave at most one unreadable group, and only at the end of the file: [`Journal::open`] reads
//! the file without it, and the next put removes it. A readable group *behind* an unreadable one cannot come from a torn
//! write; it means that bytes on disk have changed, and is an error. Since a group's checksum covers its own position, no
//! bytes inside a value pass for a group. Damage within the very last group looks like a torn write, and is treated as one.
//!
//! The mark tells where the last group began when it was written: all before that was on disk already. A file whose sound
//! groups end before its mark was cut, or was damaged to its end, and is an error too. The mark is overwritten in its
//! place; a write that stops within it leaves the beginning of the new one and the rest of the one before. Since both are
//! places where groups begin or end, that is recognised, and nothing is lost by it.
//!
//! A file of the first version, which has no mark (`HLIOJNL1`), is read, and written anew by the first put.
//!
//! A file much larger than its live content is rewritten: a new file beside it, `fsync`, rename, `fsync` of the directory.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
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
    /// The file must be written anew before the next put: a write failed in a way that leaves its content on disk
    /// unknown, its mark is torn, or it is of the first version.
    suspect: bool,
    /// The bytes of a torn write that lie behind `end` until the next put.
    torn: u64,
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
        "{} is not a journal of this version: it does not begin with \"HLIOJNL2\"; move it away or restore it from a copy",
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
    /// The file ends before what it has held, or cannot be read from there on.
    #[error(
        "{} was cut or damaged: it can be read up to byte {position}, and {mark} bytes of it were on disk; nothing was \
         changed; restore it from a copy",
        path.display()
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// Where the sound groups end, in bytes from the start of the file.
        position: u64,
        /// Where they must end at least.
        mark: u64,
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

const MAGIC: &[u8; 8] = b"HLIOJNL2";
/// The first version, without a mark.
const MAGIC_1: &[u8; 8] = b"HLIOJNL1";
/// The bytes before the first group: [`MAGIC`], the mark and its checksum.
const FILE_HEADER: usize = 20;
const GROUP_HEADER: usize = 12;
const MAX_BODY: usize = 1 << 30;
/// Below this size a journal is never rewritten: it costs nothing to read.
const SMALLEST_REWRITE: u64 = 1 << 20;
/// A rewrite starts a new group when the current one has reached this size.
const REWRITE_BODY: usize = 1 << 20;

/// The owner reads and writes.
const PRIVATE: u32 = 0o600;

const REMOVE: u8 = 0;
const SET: u8 = 1;

impl Journal {
    /// Opens the journal at `path`, or creates an empty one, and returns it with its content.
    ///
    /// A torn last group is left out; it stays in the file until the first put. Damage anywhere else is
    /// [`JournalError::Damaged`] or [`JournalError::Cut`], and changes nothing.
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
        let Replayed { live, end, torn_mark } = replay(path, &content)?;
        let file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(|e| io_error("open", path, e))?;
        // Earlier versions made it readable for everybody.
        let mode = file.metadata().map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & !PRIVATE & 0o777 != 0)
            && let Err(error) = file.set_permissions(Permissions::from_mode(PRIVATE))
        {
            warn!(journal = %path.display(), %error, "others can read this file, and it cannot be kept from them");
        }
        let mut journal = Self::new(path, file, end, live.clone(), disk);
        journal.suspect = torn_mark || content.starts_with(MAGIC_1);
        journal.torn = content.len() as u64 - end;
        if journal.torn > 0 {
            warn!(
                journal = %path.display(),
                position = end,
                bytes = journal.torn,
                "dropping a write that was cut short"
            );
        }
        Ok((journal, live))
    }

    /// How many bytes behind the last sound group could not be read when the file was opened, and where they begin. The
    /// first put removes them.
    pub fn torn(&self) -> Option<(u64, u64)> {
        (self.torn > 0).then_some((self.torn, self.end))
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
        if self.torn > 0 {
            // A shorter group in their place would leave some of them behind it.
            self.file
                .set_len(self.end)
                .and_then(|()| self.file.sync_all())
                .map_err(|e| io_error("truncate", &self.path, e))?;
            self.torn = 0;
        }
        // Everything before the end is on disk. The mark that says so gets there together with the group.
        let header = file_header(self.end);
        if let Err(source) = self.disk.write_all_at(&self.file, &self.path, &header, 0) {
            self.suspect = true;
            return Err(io_error("write", &self.path, source));
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
            torn: 0,
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
        self.torn = 0;
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
    let file = create_private(path).map_err(failed)?;
    let mut end = FILE_HEADER as u64;
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
    // The file gets its name only when all of it is on disk.
    disk.write_all_at(&file, path, &file_header(end), 0)
        .map_err(failed)?;
    disk.sync(&file, path).map_err(|e| io_error("flush", path, e))?;
    Ok((file, end))
}

/// A new file that nobody else can read: among the keys are the salted passwords of users.
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE)
        .open(path)
}

/// What a file begins with whose groups end at `mark` or behind it.
fn file_header(mark: u64) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&mark.to_be_bytes());
    let checksum = crc32c::crc32c(&header[..16]);
    header[16..].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Where the first group of a file begins, and where its groups must end at least. `None` for a mark that is not whole.
fn read_file_header(path: &Path, content: &[u8]) -> Result<(usize, Option<u64>), JournalError> {
    if content.starts_with(MAGIC_1) {
        return Ok((MAGIC_1.len(), Some(0)));
    }
    if !content.starts_with(MAGIC) {
        return Err(JournalError::NotAJournal {
            path: path.to_owned(),
        });
    }
    let mark = content
        .get(8..16)
        .and_then(|bytes| Some(u64::from_be_bytes(*bytes.first_chunk()?)))
        .filter(|mark| content.starts_with(&file_header(*mark)));
    Ok((FILE_HEADER, mark))
}

/// Whether the file begins as if the mark `new` had been written over `old`, and the write had stopped within it.
fn is_torn_mark(content: &[u8], old: u64, new: u64) -> bool {
    let (old, new) = (file_header(old), file_header(new));
    (MAGIC.len()..FILE_HEADER)
        .any(|written| content.starts_with(&[&new[..written], &old[written..]].concat()))
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

/// What a journal's bytes hold.
struct Replayed {
    live: Content,
    /// The position behind the last whole group.
    end: u64,
    /// The mark was being overwritten when the process died, or the disk refused it.
    torn_mark: bool,
}

fn replay(path: &Path, content: &[u8]) -> Result<Replayed, JournalError> {
    let (first, mark) = read_file_header(path, content)?;
    let damaged = |position: usize, what| JournalError::Damaged {
        path: path.to_owned(),
        position: position as u64,
        what,
    };
    let mut live = Content::new();
    let mut position = first;
    // Where the last two groups begin.
    let (mut before_last, mut last) = (first, first);
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
        (before_last, last) = (last, position);
        position += GROUP_HEADER + body.len();
    }
    let end = position as u64;
    let Some(mark) = mark else {
        // The group that the new mark belongs to may be there or not.
        let marks = [(last as u64, end), (before_last as u64, last as u64)];
        if marks.iter().any(|(old, new)| is_torn_mark(content, *old, *new)) {
            warn!(journal = %path.display(), "the mark of how much it holds was not written to its end; nothing is lost");
            return Ok(Replayed {
                live,
                end,
                torn_mark: true,
            });
        }
        return Err(damaged(
            MAGIC.len(),
            "the mark of how much it holds has a wrong checksum",
        ));
    };
    if end < mark {
        return Err(JournalError::Cut {
            path: path.to_owned(),
            position: end,
            mark,
        });
    }
    Ok(Replayed {
        live,
        end,
        torn_mark: false,
    })
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
mod tests;
