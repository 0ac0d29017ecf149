//! Group commit: one flush for all that was appended to a partition while the last one ran, and at most one in so many
//! milliseconds.
//!
//! A log that has something for the disk puts itself into a queue; a few threads take logs from it. Flushes of
//! several partitions run beside each other, which file systems turn into few writes of their journals; where very many
//! partitions wait, one flush of the whole file system serves them all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::checkpoint::lock;
use super::files::{Disk, DiskOperation};
use super::flush::{Commit, Extent};
use super::partition::Log;

/// The logs that wait to be forced to disk.
#[derive(Debug, Default)]
pub(crate) struct GroupCommit {
    queue: Mutex<Queue>,
    news: Condvar,
}

/// The threads that work on the queue. They end with this.
#[derive(Debug)]
pub(crate) struct Committers {
    commits: Arc<GroupCommit>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// By the time at which they are due. The number keeps logs apart that are due at the same time.
    waiting: BTreeMap<(Instant, u64), Weak<Log>>,
    entered: u64,
    interval: Duration,
    running: bool,
}

/// Threads that wait for the disk. File systems join flushes that run at the same time; more than a few bring nothing.
const THREADS: usize = 8;
/// When so many logs are due at once, the whole file system is flushed: one flush takes a device about as long as
/// another, however much it writes.
const MANY: usize = 64;

impl GroupCommit {
    /// Starts the threads. `within` is a file of the data directory: if it cannot be opened, the directory is gone. It must not
    /// be the one that is locked: a process that closes such a file loses its lock. A log is forced to disk at most once in `interval`, and at once after a longer pause.
    pub(crate) fn start(
        self: &Arc<Self>,
        interval: Duration,
        disk: &Disk,
        within: &Path,
    ) -> io::Result<Committers> {
        let mut committers = Committers {
            commits: Arc::clone(self),
            threads: Vec::new(),
        };
        let mut queue = lock(&self.queue);
        queue.interval = interval;
        queue.running = true;
        drop(queue);
        for _ in 0..THREADS {
            let (commits, disk, within) = (Arc::clone(self), disk.clone(), within.to_owned());
            let thread = std::thread::Builder::new()
                .name("group-commit".to_owned())
                .spawn(move || {
                    while let Some(logs) = commits.next() {
                        commit_together(&logs.iter().collect::<Vec<_>>(), &disk, &within);
                    }
                })?;
            committers.threads.push(thread);
        }
        Ok(committers)
    }

    /// Lets a log wait for its turn. Returns whether it does: nobody would come before the start.
    pub(crate) fn enqueue(&self, log: &Weak<Log>, last: Option<Instant>) -> bool {
        let queue = lock(&self.queue);
        let now = Instant::now();
        let due = last.map_or(now, |last| now.max(last + queue.interval));
        self.insert(queue, log, due)
    }

    /// As [`GroupCommit::enqueue`], for a turn at this time.
    pub(crate) fn enqueue_at(&self, log: &Weak<Log>, due: Instant) -> bool {
        self.insert(lock(&self.queue), log, due)
    }

    /// How many turns are waited for.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.queue).waiting.len()
    }

    fn insert(&self, mut queue: MutexGuard<'_, Queue>, log: &Weak<Log>, due: Instant) -> bool {
        if !queue.running {
            return false;
        }
        queue.entered += 1;
        let number = queue.entered;
        queue.waiting.insert((due, number), log.clone());
        self.news.notify_one();
        true
    }

    /// Waits for a log that is due; if very many are, takes them all. `None` at the end.
    fn next(&self) -> Option<Vec<Arc<Log>>> {
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            let due = queue.waiting.range(..(now, u64::MAX)).take(MANY).count();
            match due {
                0 if !queue.running => return None,
                0 => queue = self.wait(queue, now),
                _ => {
                    let mut taken = Vec::new();
                    let wanted = if due < MANY { 1 } else { usize::MAX };
                    while let Some(entry) = queue.waiting.first_entry() {
                        if entry.key().0 > now || taken.len() == wanted {
                            break;
                        }
                        taken.extend(entry.remove().upgrade());
                    }
                    return Some(taken);
                }
            }
        }
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, now: Instant) -> MutexGuard<'a, Queue> {
        let first = queue.waiting.keys().next().map(|(due, _)| *due);
        match first {
            None => self.news.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let waited = self.news.wait_timeout(queue, due.saturating_duration_since(now));
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

impl Drop for Committers {
    fn drop(&mut self) {
        {
            let mut queue = lock(&self.commits.queue);
            queue.running = false;
            queue.waiting.clear();
        }
        self.commits.news.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Flushes the logs, very many of them with one flush of the file system. A failure is in the log's state, which tells all who
/// wait for it. If anything fails, each log is flushed by itself, and learns of its own
/// failures.
pub(crate) fn commit_together(logs: &[&Arc<Log>], disk: &Disk, within: &Path) {
    if logs.len() < MANY {
        return logs.iter().for_each(|log| drop(log.commit()));
    }
    let begun: Vec<(&Arc<Log>, Commit)> = logs
        .iter()
        .filter_map(|log| Some((*log, log.begin_commit(Extent::None).ok()??)))
        .collect();
    if begun.is_empty() {
        return;
    }
    let allowed = begun
        .iter()
        .try_for_each(|(log, _)| disk.allow(DiskOperation::Sync { path: log.dir() }));
    let synced = allowed.and_then(|()| Ok(rustix::fs::syncfs(&File::open(within)?)?));
    match synced {
        Ok(()) => begun.iter().for_each(|(log, commit)| log.prove(commit)),
        Err(error) => {
            tracing::warn!(%error, logs = begun.len(), "flushing the file system has failed; each log is flushed by itself");
            for (log, _) in begun {
                let _ = log.commit();
            }
        }
    }
}
