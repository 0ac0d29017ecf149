//! The thread that writes the journal. Changes that come in while it waits for the disk are written together.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::state::journal::{Journal, JournalError};

/// A change of a journal: `None` removes the key.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// Why a coordinator cannot start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal holds something that this version does not write.
    #[error("{} holds an entry that this version cannot read; use the version that wrote it", path.display())]
    UnknownEntry {
        /// The journal's file.
        path: PathBuf,
    },
    /// No thread for the journal.
    #[error("cannot start the thread that writes {}: {source}", path.display())]
    Thread {
        /// The journal's file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

/// The changes could not be made durable, and have not been made. The reason is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotStored;

/// Sends changes to the writing thread; the thread ends when the last of its stores is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), NotStored>>,
}

/// Requests that wait while the disk is busy; more wait in their senders.
const QUEUE: usize = 1024;

impl Store {
    /// Starts the thread, with this name, that writes the journal at `path`.
    pub fn start(name: &str, path: &Path, journal: Journal) -> Result<(Self, JoinHandle<()>), OpenError> {
        let (requests, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write(journal, queue))
            .map_err(|source| OpenError::Thread {
                path: path.to_owned(),
                source,
            })?;
        Ok((Self { requests }, thread))
    }

    /// Makes the changes durable, all of them or none.
    pub async fn put(&self, changes: Vec<Change>) -> Result<(), NotStored> {
        if changes.is_empty() {
            return Ok(());
        }
        let (done, outcome) = oneshot::channel();
        self.requests
            .send(Request { changes, done })
            .await
            .map_err(|_| NotStored)?;
        outcome.await.unwrap_or(Err(NotStored))
    }

    /// As [`Store::put`], without waiting for the disk. Changes that follow are written after these.
    pub async fn put_later(&self, changes: Vec<Change>) {
        let (done, _) = oneshot::channel();
        // Whoever does not wait goes on without them, also at the end of the thread.
        let _ = self.requests.send(Request { changes, done }).await;
    }
}

fn write(mut journal: Journal, mut queue: mpsc::Receiver<Request>) {
    let mut waiting = Vec::new();
    while queue.blocking_recv_many(&mut waiting, QUEUE) > 0 {
        let mut changes = Vec::new();
        for request in &mut waiting {
            changes.append(&mut request.changes);
        }
        let outcome = journal.put(&changes).map_err(|error| {
            error!(%error, "changes are not stored; their senders are told to try again");
            NotStored
        });
        for request in waiting.drain(..) {
            // A sender that no longer waits has lost nothing: the change is made, or not, as a whole.
            let _ = request.done.send(outcome);
        }
    }
}
