//! Files as the log needs them: named, written at a position, replaced as a whole, with a seam where writes can be
//! made to fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::error::{AtPath, StorageError};

/// The disk as the logs see it. Faults can be injected here: a disk that is full after so many bytes.
#[derive(Debug, Clone)]
pub struct Disk {
    room: Arc<AtomicI64>,
}

impl Default for Disk {
    fn default() -> Self {
        Disk {
            room: Arc::new(AtomicI64::new(UNLIMITED)),
        }
    }
}

const UNLIMITED: i64 = i64::MAX;

impl Disk {
    /// From now on only `bytes` more can be written to logs and their indexes, as on a disk that fills up; `None`
    /// lifts the limit. Small files such as checkpoints are not concerned.
    pub fn limit(&self, bytes: Option<u64>) {
        let room = bytes.map_or(UNLIMITED, |bytes| i64::try_from(bytes).unwrap_or(UNLIMITED));
        self.room.store(room, Ordering::SeqCst);
    }

    /// Writes all of `bytes` at `position`. After an error any part of them may be there.
    pub(crate) fn write_all_at(&self, file: &File, bytes: &[u8], position: u64) -> io::Result<()> {
        let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let take = |room: i64| (room != UNLIMITED).then(|| (room - size).max(0));
        let Ok(room) = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) else {
            return file.write_all_at(bytes, position);
        };
        if size <= room {
            return file.write_all_at(bytes, position);
        }
        let part = usize::try_from(room).unwrap_or(0).min(bytes.len());
        file.write_all_at(&bytes[..part], position)?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

/// Opens a file for reading and writing, and creates it if it is not there.
pub(crate) fn open_or_create(path: &Path) -> Result<File, StorageError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .at("open", path)
}

/// Replaces a file so that a crash leaves either the old or the new content, never a mixture.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let temporary = with_suffix(path, ".tmp");
    let mut file = File::create(&temporary).at("create", &temporary)?;
    file.write_all(content).at("write", &temporary)?;
    file.sync_all().at("sync", &temporary)?;
    fs::rename(&temporary, path).at("rename", &temporary)?;
    sync_parent(path)
}

/// Forces a directory's entries to disk.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    File::open(path).and_then(|dir| dir.sync_all()).at("sync", path)
}

/// Forces the directory of a file to disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StorageError> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Reads a small file; `None` if it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// Removes a file; it is fine if it is not there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    }
}

/// Reads as much as there is, up to the size of `buffer`.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let at = position + u64::try_from(filled).unwrap_or(u64::MAX);
        match file.read_at(&mut buffer[filled..], at) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The path with something appended to its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_takes_what_fits_and_refuses_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = open_or_create(&path).unwrap();
        let disk = Disk::default();
        disk.write_all_at(&file, b"12345", 0).unwrap();
        disk.limit(Some(7));
        disk.write_all_at(&file, b"67890", 5).unwrap();
        let error = disk.write_all_at(&file, b"abcde", 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"1234567890ab");
        disk.limit(None);
        disk.write_all_at(&file, b"abcde", 10).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1234567890abcde");
    }
}
