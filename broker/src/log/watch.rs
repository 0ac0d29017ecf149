//! Whether the data directory is still the one that was opened.
//!
//! Files stay writable after somebody has removed or moved them, and what goes into them is lost. So the directory is looked
//! at every now and then, and while it is not in its place nothing is written or acknowledged.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{AtPath, StorageError};
use super::files::Disk;

/// The directory and its lock file, as they were when they were opened.
#[derive(Debug)]
pub(crate) struct DirectoryWatch {
    directory: (PathBuf, FileId),
    lock: (PathBuf, FileId),
}

/// Device and inode.
type FileId = (u64, u64);

impl DirectoryWatch {
    pub(crate) fn new(directory: &Path, lock_path: &Path, lock: &File) -> Result<Self, StorageError> {
        let found = identify(std::fs::metadata(directory)).at("examine", directory)?;
        let locked = identify(lock.metadata()).at("examine", lock_path)?;
        Ok(DirectoryWatch {
            directory: (directory.to_owned(), found),
            lock: (lock_path.to_owned(), locked),
        })
    }

    /// Looks, and stops or allows writing.
    pub(crate) fn look(&self, disk: &Disk) {
        let in_place = |(path, id): &(PathBuf, FileId)| {
            identify(std::fs::metadata(path)).is_ok_and(|found| found == *id)
        };
        let there = in_place(&self.directory) && in_place(&self.lock);
        let directory = &self.directory.0;
        match (there, disk.is_gone()) {
            (false, false) => {
                tracing::error!(
                    directory = %directory.display(),
                    "the data directory was removed or replaced; nothing is acknowledged until it is back"
                );
                disk.set_gone(Some(directory.clone()));
            }
            (true, true) => {
                tracing::warn!(directory = %directory.display(), "the data directory is back");
                disk.set_gone(None);
            }
            _ => {}
        }
    }
}

fn identify(metadata: io::Result<std::fs::Metadata>) -> io::Result<FileId> {
    metadata.map(|metadata| (metadata.dev(), metadata.ino()))
}
