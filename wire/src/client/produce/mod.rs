//! A pipeline of record batches to the leaders of their partitions, in order, each tried once.
//!
//! Batches of one slot go out in the order in which they are given, several on their way at a time. What to do after a
//! failure is up to the caller: nothing of the slot is sent any more until it is opened again, so that no batch can
//! overtake one that was refused.

mod answer;
mod node;
mod slots;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Client, Error, Lane};
use crate::{ErrorCode, Uuid};
use slots::{Slots, Step};

/// How batches are sent.
#[derive(Debug, Clone)]
pub struct SenderConfig {
    /// How many bytes of batches a request has, about: batches of many partitions share one.
    pub request_bytes: usize,
    /// How many requests are out at a time, to each node.
    pub in_flight_requests: usize,
    /// For how long a broker waits for the replicas.
    pub timeout: Duration,
    /// Which connections are used.
    pub lane: Lane,
}

/// One batch on its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Whose order it keeps; a slot belongs to one partition.
    pub slot: u32,
    /// Where it goes.
    pub topic: Arc<str>,
    /// Where it goes.
    pub partition: i32,
    /// What the report calls it.
    pub tag: u64,
    /// One sealed batch of format 2.
    pub batch: Bytes,
}

/// What became of a batch. Every batch that is given gets exactly one, and those of a slot come in order, unless the
/// slot is opened again or closed while some are on their way.
#[derive(Debug)]
pub struct Report {
    /// As it was given.
    pub slot: u32,
    /// As it was given.
    pub tag: u64,
    /// What became of it.
    pub result: Result<Acked, Failure>,
}

/// A batch that is in the log, on as many replicas as the topic asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acked {
    /// The offset of its first record; -1 if it was there before, and the broker does not remember where.
    pub base_offset: i64,
    /// When it was appended, in milliseconds since 1970, if the topic stamps records with that; -1 otherwise.
    pub log_append_time: i64,
    /// The first offset that the log has; -1 if the broker does not tell.
    pub log_start_offset: i64,
    /// The epoch of the leader that it was sent to; -1 if that is not known.
    pub leader_epoch: i32,
}

/// Why a batch is not known to be in the log.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The broker answered with an error. Some errors leave it open whether the batch is in the log: see
    /// [`Failure::may_be_there`].
    Refused {
        /// The error.
        code: ErrorCode,
        /// What the broker says of it.
        message: Option<String>,
        /// Which records are at fault, by their place in the batch, and why.
        record_errors: Vec<(i32, Option<String>)>,
    },
    /// The broker may or may not have it.
    Unclear(Error),
    /// It never left.
    NotSent(Error),
}

/// The pipeline. It ends when it is dropped; what was not reported by then is not reported.
#[derive(Debug)]
pub struct Sender {
    inner: Arc<Inner>,
    _alive: DropGuard,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    config: SenderConfig,
    slots: Mutex<Slots>,
    /// Tells that there are reports.
    reported: Notify,
    ended: CancellationToken,
}

impl Default for SenderConfig {
    fn default() -> Self {
        SenderConfig {
            request_bytes: 4 << 20,
            in_flight_requests: 32,
            timeout: Duration::from_secs(30),
            lane: Lane(0),
        }
    }
}

impl Failure {
    /// Whether the log may have the batch all the same, or may yet get it. A leader that was deposed while it waited for
    /// its replicas answers as if it had never been one.
    pub fn may_be_there(&self) -> bool {
        match self {
            Failure::Unclear(_) => true,
            Failure::NotSent(_) => false,
            Failure::Refused { code, .. } => matches!(
                code,
                ErrorCode::UnknownServerError
                    | ErrorCode::RequestTimedOut
                    | ErrorCode::NetworkException
                    | ErrorCode::NotEnoughReplicasAfterAppend
                    | ErrorCode::KafkaStorageError
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::DuplicateSequenceNumber
            ),
        }
    }
}

impl Sender {
    /// A pipeline over the client's connections. Reports of many batches come together; while nobody takes them, those of
    /// the batches that the caller has on its way are kept.
    pub fn new(client: Client, config: SenderConfig, reports: mpsc::Sender<Vec<Report>>) -> Sender {
        let ended = CancellationToken::new();
        let inner = Arc::new(Inner {
            client,
            config,
            slots: Mutex::default(),
            reported: Notify::new(),
            ended: ended.clone(),
        });
        tokio::spawn(hand_over(inner.clone(), reports));
        Sender {
            inner,
            _alive: ended.drop_guard(),
        }
    }

    /// A slot takes batches, from now on or again. What it still has from before is not sent any more.
    ///
    /// They go to the topic with this id alone, where one is given and brokers tell ids: where another one has got its name, that is an error,
    /// [`Error::OtherTopic`].
    pub fn open(&self, slot: u32, topic_id: Option<Uuid>) {
        self.inner.slots().open(slot, topic_id);
        self.inner.reported.notify_one();
    }

    /// Takes a batch. This never waits: the caller sees to it that there are not too many on their way. After the first
    /// failure of a slot everything of it that was not written yet is reported as [`Failure::NotSent`], in order, and so is
    /// all that comes later, until the slot is opened again.
    pub fn send(&self, outgoing: Outgoing) {
        let slot = outgoing.slot;
        let step = self.inner.slots().push(outgoing);
        self.inner.follow(slot, step);
    }

    /// A slot takes no more batches. What is on its way is still reported.
    pub fn close(&self, slot: u32) {
        self.inner.slots().close(slot);
        self.inner.reported.notify_one();
    }
}

impl Inner {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a slot needs next.
    fn follow(self: &Arc<Self>, slot: u32, mut step: Step) {
        loop {
            step = match step {
                Step::None => return,
                Step::Report => return self.reported.notify_one(),
                Step::Wake(wake) => return wake.notify_one(),
                Step::Start(node, wake) => {
                    tokio::spawn(node::run(self.clone(), node, wake.clone()));
                    return wake.notify_one();
                }
                Step::Find(topic, partition, generation) => {
                    let known = self.client.cached_leader(&topic, partition);
                    match known.filter(|leader| leader.is_of(self.slots().topic_id(slot))) {
                        Some(leader) => self.slots().found(slot, generation, Ok(leader)),
                        None => {
                            tokio::spawn(find(self.clone(), slot, topic, partition, generation));
                            return;
                        }
                    }
                }
            };
        }
    }
}

async fn find(inner: Arc<Inner>, slot: u32, topic: Arc<str>, partition: i32, generation: u64) {
    let topic_id = inner.slots().topic_id(slot);
    let leader = tokio::select! {
        () = inner.ended.cancelled() => return,
        leader = inner.client.leader_of(&topic, partition, topic_id) => leader,
    };
    let step = inner.slots().found(slot, generation, leader);
    inner.follow(slot, step);
}

/// Hands reports to whoever takes them, until nobody does.
async fn hand_over(inner: Arc<Inner>, reports: mpsc::Sender<Vec<Report>>) {
    loop {
        let news = inner.slots().take_reports();
        let handed = async {
            if news.is_empty() {
                inner.reported.notified().await;
                return true;
            }
            reports.send(news).await.is_ok()
        };
        let goes_on = tokio::select! {
            () = inner.ended.cancelled() => return,
            goes_on = handed => goes_on,
        };
        if !goes_on {
            return inner.ended.cancel();
        }
    }
}
