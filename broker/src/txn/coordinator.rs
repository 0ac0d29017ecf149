//! The transactional ids and where they are kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use heliostat_wire::ErrorCode;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::metadata::Metadata;
use super::record::{self, Change, Entry, decode};
use crate::clock::Clock;
use crate::group::{OpenError, Store};
use crate::log::Disk;
use crate::state::journal::Journal;

/// Bounds and periods, from the broker's properties.
#[derive(Debug, Clone)]
pub(crate) struct TransactionConfig {
    /// transaction.max.timeout.ms.
    pub(crate) max_timeout: Duration,
    /// transactional.id.expiration.ms.
    pub(crate) id_expiration: Duration,
    /// transaction.abort.timed.out.transaction.cleanup.interval.ms.
    pub(crate) timeout_check_interval: Duration,
    /// transaction.remove.expired.transaction.cleanup.interval.ms.
    pub(crate) expiration_check_interval: Duration,
}

/// The coordinator of all transactions of a cluster. Nodes share one; which node may speak for an id is the caller's to
/// check.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) config: TransactionConfig,
    /// The cluster's wall clock: timeouts go on while no process runs.
    clock: Clock,
    /// One more than at the last start: markers of a process that is gone are not taken any more.
    pub(super) epoch: i32,
    ids: Mutex<BTreeMap<String, Arc<Slot>>>,
    /// Given up at shutdown, so that the writing thread ends.
    storage: Mutex<Option<(Store, JoinHandle<()>)>>,
    /// What must not be cut off in the middle because a client hangs up.
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
}

/// The place of one transactional id. The lock is held for the whole of a request.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// `None` while there is nothing: not yet, or no more.
    pub(super) metadata: tokio::sync::Mutex<Option<Metadata>>,
}

impl Coordinator {
    /// Opens the coordinator whose state is in the journal at `path`, which is created if there is none.
    pub(crate) fn open(
        path: &Path,
        config: TransactionConfig,
        disk: Disk,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        let (mut journal, content) = Journal::open_on(path, disk)?;
        let mut epoch = -1;
        let mut ids = BTreeMap::new();
        for (key, value) in &content {
            let unknown = || OpenError::UnknownEntry {
                path: path.to_owned(),
            };
            match decode(key, value).ok_or_else(unknown)? {
                Entry::Epoch(last) => epoch = last,
                Entry::Id(id, metadata) => {
                    let metadata = tokio::sync::Mutex::new(Some(*metadata));
                    ids.insert(id, Arc::new(Slot { metadata }));
                }
            }
        }
        epoch = epoch.saturating_add(1);
        journal.put(&[record::epoch_change(epoch)])?;
        let storage = Store::start("transaction-journal", path, journal)?;
        Ok(Coordinator {
            config,
            clock,
            epoch,
            ids: Mutex::new(ids),
            storage: Mutex::new(Some(storage)),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Waits for what is being done, and closes the journal. Open transactions stay open.
    pub(crate) async fn shutdown(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((store, thread)) = storage {
            drop(store);
            // The thread ends as soon as its queue is empty; a panic in it has been reported by then.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Milliseconds since 1970, by the cluster's clock.
    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The place of a transactional id, if it has been used.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Slot>> {
        self.ids().get(id).cloned()
    }

    /// The place of a transactional id.
    pub(super) fn find_or_create(&self, id: &str) -> Arc<Slot> {
        Arc::clone(self.ids().entry(id.to_owned()).or_default())
    }

    /// All places, in the order of the ids.
    pub(super) fn all(&self) -> Vec<(String, Arc<Slot>)> {
        let ids = self.ids();
        ids.iter()
            .map(|(id, slot)| (id.clone(), Arc::clone(slot)))
            .collect()
    }

    /// Gives up the place of an id that was removed, unless a request waits for it. `slot` is the caller's only hold.
    pub(super) fn release(&self, id: &str, slot: &Arc<Slot>) {
        const MAP_AND_CALLER: usize = 2;
        let mut ids = self.ids();
        if Arc::strong_count(slot) <= MAP_AND_CALLER {
            ids.remove(id);
        }
    }

    /// Makes the state of an id durable; `None` removes it.
    pub(super) async fn store(&self, id: &str, metadata: Option<&Metadata>) -> Result<(), ErrorCode> {
        let change = record::id_change(id, metadata);
        match self.journal() {
            Some(store) => store
                .put(vec![change])
                .await
                .map_err(|_| ErrorCode::CoordinatorNotAvailable),
            None => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// As [`Coordinator::store`], without waiting: if it is lost, the same is found out again at the next start.
    pub(super) async fn store_later(&self, id: &str, metadata: &Metadata) {
        let change: Change = record::id_change(id, Some(metadata));
        if let Some(store) = self.journal() {
            store.put_later(vec![change]).await;
        }
    }

    fn journal(&self) -> Option<Store> {
        let storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner);
        storage.as_ref().map(|(store, _)| store.clone())
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
