//! The engine of a flow: a reader and a writer. Everything after the acknowledgement is the [`Account`]'s, whichever engine runs.

pub mod batches;
pub mod budget;
pub mod librdkafka;

use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_wire::Uuid;
use heliostat_wire::convert::Options;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc;

use super::account::Account;
use super::exactly_once::Claim;

/// A partition to copy.
pub struct Start {
    /// A number that was never used with this engine before.
    pub id: u32,
    /// The source topic.
    pub topic: String,
    /// The mirror topic.
    pub target_topic: String,
    /// The partition, the same on both sides.
    pub partition: i32,
    /// The ids of both topics, where the clusters tell them: topics that were made again meanwhile are others.
    pub topic_ids: (Option<Uuid>, Option<Uuid>),
    /// The source offset to begin at.
    pub at: i64,
    /// Its books.
    pub account: Arc<Account>,
    /// One record alone until it is acknowledged: the last attempt failed, and what follows it must not be written again and again.
    pub careful: bool,
    /// The source offset of a record that the target has refused: it is sent alone, and only once all before it has arrived.
    pub at_fault: Option<i64>,
    /// What makes this daemon the only writer, for an engine that copies exactly once.
    pub claim: Option<Claim>,
    /// What batches of the mirror topic may be like.
    pub options: Options,
}

/// What an engine has to say of a partition or of itself.
#[derive(Clone, Debug)]
pub enum Event {
    /// A partition cannot go on. Nothing more of it is read; what is on its way still settles.
    Failed {
        /// As in [`Start`].
        id: u32,
        /// Which side refused.
        side: Side,
        /// Why.
        code: RDKafkaErrorCode,
        /// Why, in words.
        text: String,
        /// The source offset of the record that is at fault, where that is known and is not the position.
        offset: Option<i64>,
        /// Where a batch was refused for one of its records, and nobody said for which: the source offset of the one in its middle.
        middle: Option<i64>,
    },
    /// So many facts wait for the offset map that they should be written now.
    Pressing,
    /// The engine as a whole is of no use any more: it has to be made anew.
    Broken(String),
}

/// How often is looked whether a partition may go on that was held up because the offset map has to take facts of it first.
const HELD_UP_TICK: Duration = Duration::from_millis(50);

/// Says that facts should be written, at most once in a [`HELD_UP_TICK`].
#[derive(Debug, Default)]
struct Pressing {
    said_at: Option<Instant>,
}

impl Pressing {
    fn say(&mut self, events: &mpsc::UnboundedSender<Event>) {
        let now = Instant::now();
        let is_said = |said_at| now.duration_since(said_at) < HELD_UP_TICK;
        if !self.said_at.is_some_and(is_said) {
            self.said_at = Some(now);
            // Nobody listens any more only when the flow is ending.
            let _ = events.send(Event::Pressing);
        }
    }
}

/// Source or target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The cluster that is read.
    Source,
    /// The cluster that is written.
    Target,
}

/// Copies partitions. Dropping it ends it; what is on its way then is not waited for.
pub trait Engine: Send + Sync {
    /// Start to copy a partition.
    fn start(&self, partition: Start);

    /// Read no more of a partition. What is on its way still settles in its account.
    fn stop(&self, id: u32);

    /// A mirror topic has partitions that the writer may not know yet: ask for them, without waiting for the answer.
    fn refresh(&self, target_topic: &str);

    /// What the connections to one side last complained of.
    fn last_error(&self, side: Side) -> Option<String>;

    /// Where the log of a source partition begins and ends for readers of committed records, if its leader has said so lately and would say so if it were
    /// otherwise by now: then nobody needs to ask.
    fn log_ends(&self, _id: u32) -> Option<(i64, i64)> {
        None
    }

    /// Whether it sends again by itself what was refused, so that [`Engine::refused`] may have something to say.
    fn sends_again(&self) -> bool {
        true
    }

    /// Why the target has refused the records of a mirror partition just now, if it has and they are sent again and again.
    fn refused(&self, target_topic: &str, partition: i32) -> Option<String>;
}
