//! A partition that is being copied: what was fetched of it and not sent, and what was sent and not acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use heliostat_wire::batch::add_sequence;
use heliostat_wire::client::{Client, Outgoing};
use heliostat_wire::convert::{ConvertError, Converter, Options, Ready, RunList, merge};

use super::nodes::NodeId;
use super::spare::Spare;
use crate::flow::account::Account;
use crate::flow::engine::Start;
use crate::flow::exactly_once::Claim;

/// With so many batches on their way, small ones wait until they are worth a request.
const SMALL_IN_FLIGHT: usize = 2;

/// A batch below this size is small: merging it costs less than sending it alone.
const SMALL_BYTES: usize = 32 * 1024;

/// Small batches are merged up to this size.
const MERGED_BYTES: usize = 512 * 1024;

/// At most so many batches are merged into one, or small ones would make it slow.
const MERGED_BATCHES: usize = 4_096;

/// A partition that is being copied.
pub(super) struct Slot {
    pub(super) id: u32,
    pub(super) topic: Arc<str>,
    target_topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) account: Arc<Account>,
    /// Who leads the mirror partition, if it is known: the sender keeps to it as long as the slot lives.
    pub(super) node: NodeId,
    claim: Claim,
    next_sequence: i32,
    pub(super) converter: Converter,
    options: Options,
    /// How large batches are made at most; smaller where a limit would have them go in leaps.
    merged_bytes: usize,
    /// So many at the front could not be merged.
    unmerged: usize,
    queue: VecDeque<Ready>,
    pub(super) queued_bytes: usize,
    in_flight: VecDeque<Sent>,
    pub(super) in_flight_bytes: usize,
    /// Asked for and not answered.
    pub(super) is_fetching: bool,
    /// Waits for room to be fetched.
    pub(super) is_waiting: bool,
    /// Waits to be fetched until its node answers.
    pub(super) is_parked: bool,
    /// Has something to send, and waits until its node has less on its way.
    pub(super) is_crowded: bool,
    /// Has something to send, and waits for the budget.
    pub(super) is_held: bool,
    /// Waits until the offset map has taken facts of it.
    pub(super) is_held_up: bool,
    pub(super) next_fetch: i64,
    /// The source's leader epoch of what lies before that, if it is known.
    pub(super) last_epoch: Option<i32>,
    /// How many bytes it had of the budget.
    pub(super) turn: u64,
    /// Nothing more is read or sent; what is on its way settles.
    pub(super) is_stopped: bool,
    /// One batch goes alone until it is acknowledged.
    pub(super) is_careful: bool,
    /// The record at this source offset was refused before, or lies in the middle of a batch that was: it goes alone, and nothing goes before
    /// it is acknowledged.
    at_fault: Option<i64>,
    /// What cannot be copied comes after all that is queued.
    pub(super) obstacle: Option<ConvertError>,
}

/// A batch that is on its way.
struct Sent {
    /// Its sequence number in the account.
    tag: u64,
    batch: Bytes,
    source: RunList,
}

impl Slot {
    pub(super) fn new(start: Start, claim: Claim, options: Options, bytes_per_second: Option<u64>) -> Slot {
        let mut converter = Converter::new(options);
        converter.start_at(start.at);
        if let Some(offset) = start.at_fault {
            converter.put_alone(offset);
        }
        let last_epoch = start.account.read_on([], start.at);
        Slot {
            id: start.id,
            topic: start.topic.into(),
            target_topic: start.target_topic.into(),
            partition: start.partition,
            account: start.account,
            node: None,
            claim,
            next_sequence: 0,
            converter,
            options,
            merged_bytes: bytes_per_second
                .map_or(MERGED_BYTES, |limit| {
                    MERGED_BYTES.min(usize::try_from(limit / 10).unwrap_or(MERGED_BYTES))
                })
                .min(options.max_batch_bytes),
            unmerged: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            is_fetching: false,
            is_waiting: false,
            is_parked: false,
            is_crowded: false,
            is_held: false,
            is_held_up: false,
            next_fetch: start.at,
            last_epoch,
            turn: 0,
            is_stopped: false,
            // A log that knows nothing of a producer takes any sequence number from it: until it has taken the first batch, nothing may
            // follow that could overtake it.
            is_careful: true,
            at_fault: start.at_fault,
            obstacle: None,
        }
    }

    /// Takes note of who leads the mirror partition, as far as it is known.
    pub(super) fn look_up_node(&mut self, target: &Client) {
        let leader = target.cached_leader(&self.target_topic, self.partition);
        self.node = leader.map(|leader| leader.node);
    }

    /// What was fetched, in order.
    pub(super) fn push(&mut self, ready: Ready) {
        self.queued_bytes += ready.size();
        self.queue.push_back(ready);
    }

    /// Whether anything waits to be sent.
    pub(super) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The size of what is to be sent next.
    pub(super) fn first_bytes(&self) -> usize {
        self.queue.front().map_or(0, Ready::size)
    }

    /// How many bytes of the budget it will have had with what is to be sent next: the fewer, the sooner is its turn.
    pub(super) fn next_turn(&self) -> u64 {
        self.turn + self.first_bytes() as u64
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Bytes that were fetched and are not acknowledged.
    pub(super) fn buffered(&self) -> usize {
        self.queued_bytes + self.in_flight_bytes
    }

    /// Forgets what was fetched and not sent.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }

    /// Forgets what was fetched and not sent, to fetch it again.
    pub(super) fn put_back(&mut self) {
        let Some(first) = self.queue.iter().find_map(|ready| ready.source.first()) else {
            return;
        };
        self.clear();
        self.unmerged = 0;
        self.obstacle = None;
        self.converter.start_at(first);
        if let Some(offset) = self.at_fault {
            self.converter.put_alone(offset);
        }
        self.next_fetch = first;
        self.last_epoch = self.account.read_on([], first);
    }

    /// The next batch that is to be sent now, with `share` bytes in flight at most.
    pub(super) fn next(&mut self, share: usize) -> Option<Ready> {
        let first = self.queue.front()?;
        let busy = !self.in_flight.is_empty();
        if busy && (self.is_careful || self.in_flight_bytes + first.size() > share) {
            return None;
        }
        if let Some(offset) = self.at_fault {
            // Up to the record that was refused nothing is merged, and that one goes alone.
            let is_it = first.source.first() >= Some(offset);
            if busy && is_it {
                return None;
            }
            if is_it {
                self.at_fault = None;
                self.is_careful = true;
            }
            return self.pop();
        }
        if self.unmerged > 0 {
            self.unmerged -= 1;
            return self.pop();
        }
        let small = self.leading_small();
        // More would not fit, or something larger follows.
        let is_complete = small < self.queue.len();
        if small > 0 && !is_complete && self.in_flight.len() >= SMALL_IN_FLIGHT {
            return None;
        }
        if small < 2 {
            return self.pop();
        }
        let together: Vec<Ready> = (0..small).filter_map(|_| self.pop()).collect();
        match merge(&together, &self.options) {
            Ok(merged) => Some(merged),
            Err(error) => {
                // Together they are larger than they were alone: these are sent as they are.
                tracing::debug!(topic = %self.topic, partition = self.partition, "cannot merge: {error}");
                self.unmerged = together.len() - 1;
                self.queued_bytes += together.iter().map(Ready::size).sum::<usize>();
                together
                    .into_iter()
                    .rev()
                    .for_each(|ready| self.queue.push_front(ready));
                self.pop()
            }
        }
    }

    /// How many batches at the front are worth merging into one.
    fn leading_small(&self) -> usize {
        let mut bytes = 0;
        let fits = |ready: &&Ready| {
            bytes += ready.size();
            ready.size() < SMALL_BYTES && bytes <= self.merged_bytes
        };
        self.queue.iter().take(MERGED_BATCHES).take_while(fits).count()
    }

    fn pop(&mut self) -> Option<Ready> {
        let ready = self.queue.pop_front()?;
        self.queued_bytes -= ready.size();
        Some(ready)
    }

    /// Enters a batch into the books and makes it this owner's. None if it must not be sent any more.
    pub(super) fn send(&mut self, ready: &Ready, spare: &mut Spare) -> Option<Outgoing> {
        let tag = self.account.sending_batch(self.id, ready)?;
        let batch = ready.seal_in(
            spare.take(ready.size()),
            self.claim.producer_id,
            self.claim.epoch,
            self.next_sequence,
        );
        self.next_sequence = add_sequence(self.next_sequence, ready.records);
        self.in_flight.push_back(Sent {
            tag,
            batch: batch.clone(),
            source: ready.source.clone(),
        });
        self.in_flight_bytes += ready.size();
        Some(Outgoing {
            slot: self.id,
            topic: self.target_topic.clone(),
            partition: self.partition,
            tag,
            batch,
        })
    }

    /// What became of a batch: the target offset of its first record, if it is there. Returns its memory, if nobody else has it.
    pub(super) fn settle(&mut self, tag: u64, target: Option<i64>) -> Option<BytesMut> {
        let place = self.in_flight.iter().position(|sent| sent.tag == tag);
        let sent = place.and_then(|place| self.in_flight.remove(place))?;
        self.in_flight_bytes -= sent.batch.len();
        self.account.settle(tag, target);
        sent.batch.try_into_mut().ok()
    }

    /// How many records a batch has that is on its way.
    pub(super) fn records_of(&self, tag: u64) -> Option<i64> {
        let sent = self.in_flight.iter().find(|sent| sent.tag == tag)?;
        Some(sent.source.count())
    }

    /// The source offset of a record of a batch that is on its way, by its place in the batch.
    pub(super) fn offset_of(&self, tag: u64, index: i32) -> Option<i64> {
        let sent = self.in_flight.iter().find(|sent| sent.tag == tag)?;
        sent.source.offset_of(i64::from(index))
    }
}
