//! Reading partitions, each from where its reader wants to go on.
//!
//! To each node goes one long poll at a time, in a fetch session (KIP-227): only what has changed travels. What becomes
//! wanted while the poll is out is asked for aside, with next to no wait, so that it need not wait for others; it joins
//! the session with the next poll.

mod answer;
mod compare;
mod node;
mod session;
mod size;
mod wants;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Client, Error, Lane};
use crate::Uuid;
use wants::{Step, Wants, Wish};

/// How partitions are read.
#[derive(Debug, Clone)]
pub struct FetcherConfig {
    /// For how long a broker waits for records.
    pub max_wait: Duration,
    /// For how many bytes a broker waits.
    pub min_bytes: i32,
    /// How many bytes an answer has at most, about: less from a node that is near. Each node has up to two answers under way.
    pub max_bytes: i32,
    /// How many bytes an answer has of one partition at most, about: less from a node that is near, and a batch is never cut.
    pub partition_max_bytes: i32,
    /// Whether records of open transactions are held back, and aborted ones are told.
    pub read_committed: bool,
    /// Which connections are used: for the long polls, and for what is asked aside.
    pub lanes: (Lane, Lane),
}

/// What there is at the place that was asked for.
#[derive(Debug)]
pub struct Fetched {
    /// As it was given.
    pub slot: u32,
    /// The offset that was asked for.
    pub at: i64,
    /// The epoch of the leader that answered; -1 if it is not known.
    pub leader_epoch: i32,
    /// Records, news of the log without records, or why there are none.
    pub result: Result<Data, FetchFailure>,
}

/// What a broker told of a partition.
#[derive(Debug, Clone)]
pub struct Data {
    /// Whole batches, the first of which contains the offset or one behind it; the last may be cut short. A slice of the
    /// answer. If it is empty the rest is news, and the question is still open.
    pub records: Bytes,
    /// The first offset that is not on all in-sync replicas.
    pub high_watermark: i64,
    /// The first offset of a transaction that is open; -1 if it is not told.
    pub last_stable_offset: i64,
    /// The first offset that the log has; -1 if it is not told.
    pub log_start_offset: i64,
    /// Producer ids and first offsets of transactions that were aborted, of those that the records are of.
    pub aborted: Vec<(i64, i64)>,
}

/// Why there are no records.
#[derive(Debug, Clone)]
pub struct FetchFailure {
    /// What is wrong.
    pub error: Error,
    /// The last epoch that the log has in common with what was read of it, and where that ends, if the log was cut back
    /// (KIP-595).
    pub diverging: Option<(i32, i64)>,
}

/// Where a log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    /// The first offset that is not on all in-sync replicas.
    pub high_watermark: i64,
    /// The first offset of a transaction that is open; -1 if it is not told.
    pub last_stable_offset: i64,
    /// The first offset that the log has; -1 if it is not told.
    pub log_start_offset: i64,
}

/// Reads partitions. It ends when it is dropped.
#[derive(Debug)]
pub struct Fetcher {
    inner: Arc<Inner>,
    _alive: DropGuard,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    config: FetcherConfig,
    wants: Mutex<Wants>,
    out: mpsc::Sender<Vec<Fetched>>,
    ended: CancellationToken,
}

impl Default for FetcherConfig {
    fn default() -> Self {
        FetcherConfig {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 8 << 20,
            partition_max_bytes: 2 << 20,
            read_committed: false,
            lanes: (Lane(1), Lane(2)),
        }
    }
}

impl Fetcher {
    /// A reader over the client's connections. While nobody takes what was read, nothing more is asked for: what can be
    /// waiting is what `out` holds, and two answers for each node.
    pub fn new(client: Client, config: FetcherConfig, out: mpsc::Sender<Vec<Fetched>>) -> Fetcher {
        let ended = CancellationToken::new();
        let inner = Arc::new(Inner {
            client,
            config,
            wants: Mutex::default(),
            out,
            ended: ended.clone(),
        });
        Fetcher {
            inner,
            _alive: ended.drop_guard(),
        }
    }

    /// Asks once for what is at an offset, or behind it. The answer is one [`Fetched`] with records or an error; until
    /// then the high watermark and the like are told without records when they move. `last_epoch` is the leader epoch of
    /// the last batch that was read, for the leader to check that its log is the same one.
    ///
    /// A partition belongs to one slot. Asking again replaces what was asked before.
    pub fn want(&self, slot: u32, topic: Arc<str>, partition: i32, offset: i64, last_epoch: Option<i32>) {
        let wish = Wish {
            topic,
            partition,
            offset,
            last_epoch: last_epoch.unwrap_or(-1),
        };
        let step = self.inner.wants().want(slot, wish);
        self.inner.follow(slot, step);
    }

    /// From now on what a slot wants is wanted of the topic with this id, as far as brokers tell ids: where another one has got its name, that is an
    /// error, [`Error::OtherTopic`]. To be called before anything is wanted.
    pub fn pin(&self, slot: u32, topic_id: Uuid) {
        self.inner.wants().pin(slot, topic_id);
    }

    /// Where the log of a slot's partition begins and ends, as its leader has told it last, if that has answered within this time and would have said
    /// that it is otherwise by now.
    pub fn log_ends(&self, slot: u32, within: Duration) -> Option<LogEnds> {
        self.inner.wants().log_ends(slot, within)
    }

    /// Forgets a slot. What comes of it from now on is dropped, except what has been handed over already.
    pub fn stop(&self, slot: u32) {
        self.inner.wants().forget(slot);
    }
}

impl Inner {
    fn wants(&self) -> MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a slot needs next.
    fn follow(self: &Arc<Self>, slot: u32, step: Step) {
        match step {
            Step::None => {}
            Step::Start(node) => node::start(self, node),
            Step::Find(topic, partition, generation) => {
                let known = self.client.cached_leader(&topic, partition);
                match known.filter(|leader| leader.is_of(self.wants().pinned(slot))) {
                    Some(leader) => {
                        let step = self.wants().found(slot, generation, leader);
                        if let Step::Start(node) = step {
                            node::start(self, node);
                        }
                    }
                    None => {
                        tokio::spawn(find(self.clone(), slot, topic, partition, generation));
                    }
                }
            }
        }
    }

    /// Hands over what was read; `false` if nobody wants it any more.
    async fn hand_over(&self, fetched: Vec<Fetched>) -> bool {
        if fetched.is_empty() {
            return true;
        }
        let taken = self.out.send(fetched).await.is_ok();
        if !taken {
            self.ended.cancel();
        }
        taken
    }
}

/// Looks for a leader until there is one, or for too long. The client paces questions that bring nothing new.
async fn find(inner: Arc<Inner>, slot: u32, topic: Arc<str>, partition: i32, generation: u64) {
    let work = async {
        loop {
            let topic_id = inner.wants().pinned(slot);
            let error = match inner.client.leader_of(&topic, partition, topic_id).await {
                Ok(leader) => {
                    let step = inner.wants().found(slot, generation, leader);
                    return inner.follow(slot, step);
                }
                Err(error) => error,
            };
            let patience = inner.client.config().request_timeout;
            let Some(failed) = inner.wants().not_found(slot, generation, error, patience) else {
                continue;
            };
            inner.hand_over(failed).await;
            return;
        }
    };
    tokio::select! {
        () = inner.ended.cancelled() => {}
        () = work => {}
    }
}
