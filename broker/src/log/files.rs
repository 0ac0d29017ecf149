//! Files as the log needs them: named, written at a position, replaced as a whole, with one seam where writes and
//! flushes can be made to fail or to take their time.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::checkpoint::lock;
use super::error::{AtPath, StorageError};

/// The disk as logs and journals see it. Faults can be injected here; while none are, it costs one look at a flag.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// Decides what becomes of each write and each flush, on the thread that wants it: a disk that is slow waits here, one
/// that is full or broken answers with an error.
pub trait DiskFault: Send + Sync + fmt::Debug {
    /// What becomes of an operation. `Ok` lets it happen.
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal>;
}

/// What is about to be done to a file. The path tells whose it is: `TOPIC-PARTITION/…` of a log, `state` of topics and
/// configs, `groups` of consumer groups, all in the data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskOperation<'a> {
    /// So many bytes are written.
    Write {
        /// The file.
        path: &'a Path,
        /// How many bytes.
        bytes: usize,
    },
    /// What was written is forced to disk.
    Sync {
        /// The file.
        path: &'a Path,
    },
    /// A directory for a log, or a file, is made.
    Create {
        /// The directory or file.
        path: &'a Path,
    },
}

/// Why an operation does not happen.
#[derive(Debug)]
pub struct DiskRefusal {
    /// Of a write: so many bytes reach the file before it fails.
    pub written: usize,
    /// What the operating system would say.
    pub error: io::Error,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether there is anything to ask before an operation.
    armed: AtomicBool,
    room: Mutex<Option<u64>>,
    fault: Mutex<Option<Arc<dyn DiskFault>>>,
    gone: Mutex<Option<PathBuf>>,
}

impl From<io::Error> for DiskRefusal {
    fn from(error: io::Error) -> Self {
        DiskRefusal { written: 0, error }
    }
}

impl Disk {
    /// From now on only `bytes` more can be written, as on a disk that fills up; `None` lifts the limit.
    pub fn limit(&self, bytes: Option<u64>) {
        *lock(&self.shared.room) = bytes;
        self.arm();
    }

    /// From now on `fault` is asked before every operation; `None` ends that.
    pub fn inject(&self, fault: Option<Arc<dyn DiskFault>>) {
        *lock(&self.shared.fault) = fault;
        self.arm();
    }

    /// Nothing is written or forced to disk any more while the data directory is not where it was: whatever went into
    /// the files that are still open would be gone with the process.
    pub(crate) fn set_gone(&self, directory: Option<PathBuf>) {
        *lock(&self.shared.gone) = directory;
        self.arm();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.shared.armed.load(Ordering::Relaxed) && lock(&self.shared.gone).is_some()
    }

    /// Writes all of `bytes` at `position`. After an error any part of them may be there.
    pub(crate) fn write_all_at(
        &self,
        file: &File,
        path: &Path,
        bytes: &[u8],
        position: u64,
    ) -> io::Result<()> {
        let size = bytes.len();
        if let Err(refusal) = self.ask(DiskOperation::Write { path, bytes: size }) {
            file.write_all_at(&bytes[..refusal.written.min(size)], position)?;
            return Err(refusal.error);
        }
        file.write_all_at(bytes, position)
    }

    /// Forces a file's content to disk.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.allow(DiskOperation::Sync { path })?;
        file.sync_data()
    }

    /// Whether the operation may happen.
    pub(crate) fn allow(&self, operation: DiskOperation<'_>) -> io::Result<()> {
        self.ask(operation).map_err(|refusal| refusal.error)
    }

    fn ask(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        if !self.shared.armed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.ask_faults(operation)
    }

    #[cold]
    fn ask_faults(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        if let Some(directory) = &*lock(&self.shared.gone) {
            let problem = format!(
                "the data directory {} was removed or replaced; put it back, or restart the broker",
                directory.display()
            );
            return Err(io::Error::other(problem).into());
        }
        let fault = lock(&self.shared.fault).clone();
        if let Some(fault) = fault {
            fault.before(operation)?;
        }
        let DiskOperation::Write { bytes, .. } = operation else {
            return Ok(());
        };
        let mut room = lock(&self.shared.room);
        let Some(left) = *room else { return Ok(()) };
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        *room = Some(left.saturating_sub(bytes) as u64);
        if bytes <= left {
            return Ok(());
        }
        Err(DiskRefusal {
            written: left,
            error: io::Error::from(io::ErrorKind::StorageFull),
        })
    }

    fn arm(&self) {
        let shared = &self.shared;
        let armed =
            lock(&shared.room).is_some() || lock(&shared.fault).is_some() || lock(&shared.gone).is_some();
        shared.armed.store(armed, Ordering::Relaxed);
    }
}

/// Opens a file for reading and writing. It must be there.
pub(crate) fn open_existing(path: &Path) -> Result<File, StorageError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .at("open", path)
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

/// Replaces a file so that a crash leaves either the old or the new content, never a mixture. After an error the old
/// content is there, unless only the directory could not be forced to disk.
pub(crate) fn replace(disk: &Disk, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let temporary = with_suffix(path, ".tmp");
    let written = write_new(disk, &temporary, content)
        .and_then(|file| disk.sync(&file, &temporary).at("sync", &temporary));
    put_in_place(written, &temporary, path)?;
    sync_parent(path)
}

/// As [`replace`], except that it is on disk only once the caller forces it there: the end of this process cannot
/// harm it, a power cut can.
pub(crate) fn replace_unsynced(disk: &Disk, path: &Path, content: &[u8]) -> Result<(), StorageError> {
    let temporary = with_suffix(path, ".tmp");
    let written = write_new(disk, &temporary, content).map(drop);
    put_in_place(written, &temporary, path)
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

/// Opens a file for reading; `None` if it is not there.
pub(crate) fn open_if_there(path: &Path) -> Result<Option<File>, StorageError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("open", path),
    }
}

/// Removes a file; it is fine if it is not there.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).at("remove", path),
        Err(_) => Ok(()),
        Ok(()) => {
            super::clean::at_step(path);
            Ok(())
        }
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

fn write_new(disk: &Disk, path: &Path, content: &[u8]) -> Result<File, StorageError> {
    disk.allow(DiskOperation::Create { path }).at("create", path)?;
    let file = File::create(path).at("create", path)?;
    disk.write_all_at(&file, path, content, 0).at("write", path)?;
    Ok(file)
}

/// Gives the file its name, or takes it away if it could not be written: a disk that is full has no room for halves.
fn put_in_place(written: Result<(), StorageError>, from: &Path, to: &Path) -> Result<(), StorageError> {
    let placed = written.and_then(|()| fs::rename(from, to).at("rename", from));
    placed
        .inspect(|()| super::clean::at_step(to))
        .inspect_err(|_| drop(fs::remove_file(from)))
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
        disk.write_all_at(&file, &path, b"12345", 0).unwrap();
        disk.limit(Some(7));
        disk.write_all_at(&file, &path, b"67890", 5).unwrap();
        let error = disk.write_all_at(&file, &path, b"abcde", 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"1234567890ab");
        disk.limit(None);
        disk.write_all_at(&file, &path, b"abcde", 10).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1234567890abcde");
    }
}
