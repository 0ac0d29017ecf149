//! How many logs keep their files open: those that were written to lately, and no more than a bound.
//!
//! A log opens the files of its active segment when something is appended, and keeps them. Where that makes too many,
//! another log that was not written to for a while gives its files back. Whatever reads, opens for itself.

use std::collections::VecDeque;
use std::sync::{Mutex, TryLockError, Weak};

use super::checkpoint::lock;
use super::error::StorageError;
use super::partition::{FlushPolicy, Inner, Log};

/// The logs that keep files open.
#[derive(Debug)]
pub(crate) struct Handles {
    logs: Mutex<VecDeque<Weak<Log>>>,
    max: usize,
}

/// Files that a log keeps open: its active segment's batches and two indexes, and now and then a third.
pub(crate) const FILES_PER_LOG: usize = 4;

/// So many logs are asked for their files at once. If all of them are busy there is one more log with open files for a
/// while, and the next one asks again.
const ASKED_MAX: usize = 64;

impl Handles {
    /// For at most so many open files.
    pub(crate) fn new(files_max: usize) -> Self {
        Handles {
            logs: Mutex::default(),
            max: (files_max / FILES_PER_LOG).max(1),
        }
    }

    fn enter(&self, log: &Weak<Log>) {
        let mut logs = lock(&self.logs);
        logs.push_back(log.clone());
        for _ in 0..ASKED_MAX {
            if logs.len() <= self.max {
                break;
            }
            let Some(oldest) = logs.pop_front() else { break };
            if oldest.upgrade().is_some_and(|log| !log.gives_files_back()) {
                logs.push_back(oldest);
            }
        }
    }
}

impl Log {
    /// Opens the files of the active segment, unless they are.
    pub(super) fn hold_files(&self, inner: &mut Inner) -> Result<(), StorageError> {
        inner.recently_used = true;
        if inner.files_held {
            return Ok(());
        }
        inner.active().map_or(Ok(()), |active| active.hold())?;
        inner.files_held = true;
        self.options.handles.enter(&self.me);
        Ok(())
    }

    /// Closes the files, unless somebody needs them. Since this is asked by a log that is at work itself, it waits for
    /// nobody.
    fn gives_files_back(&self) -> bool {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        if std::mem::take(&mut inner.recently_used) {
            return false;
        }
        // A flush that fails is told to those who had the file open when the disk failed; whoever opens it later may
        // not hear of it. Where nothing was promised that does not matter.
        let dirty = inner.durable < inner.log_end_offset;
        if dirty && self.options.flush_policy != FlushPolicy::Os {
            return false;
        }
        inner.release_files();
        true
    }
}

impl Inner {
    /// Closes the files of the active segment; they are opened again when they are needed.
    pub(super) fn release_files(&mut self) {
        self.files_held = false;
        if let Some(active) = self.active() {
            active.release();
        }
    }
}
