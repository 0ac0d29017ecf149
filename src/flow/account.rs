//! The accountant of one partition: what is on its way, what has arrived, and which facts the offset map does not hold yet.
//!
//! The position only moves when everything before it is on the target, so resuming there never loses a record. Which engine copies
//! makes no difference here.

mod held_up;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use heliostat_wire::convert::{How, Ready, RunList};

use crate::flow::exactly_once::{Claim, Lease};
use crate::flow::ledger::{Draft, Ledger};
use crate::observe::status::BatchCounts;
use crate::offsets::epochs::Epochs;
use crate::offsets::record::Block;
use crate::offsets::segments::Segment;

/// The books of one partition, from when this daemon starts to copy it until it gives it up.
pub struct Account {
    inner: Mutex<Inner>,
    in_flight_bytes: AtomicU64,
    records_total: AtomicU64,
    bytes_total: AtomicU64,
    errors_total: AtomicU64,
    gap_records_total: AtomicU64,
}

struct Inner {
    position: i64,
    target_position: Option<i64>,
    /// What was sent and is not settled, oldest first. The first entry has the sequence number `first`.
    in_flight: VecDeque<InFlight>,
    first: u64,
    failed: bool,
    /// The number under which the engine copies it now; of any other number nothing is taken any more.
    copying: Option<u32>,
    claim: Option<Claim>,
    lease: Option<Lease>,
    /// All that was sent under this claim has arrived, was refused, or is on its way.
    is_clear: bool,
    /// The source's leader epochs, as far as it was read.
    epochs: Epochs,
    /// What lies on the target from this offset on was written after its log had lost its end.
    lost_from: Option<i64>,
    batches: BatchCounts,
    ledger: Ledger,
    /// Holes on the source in and before what is on its way: each will make a segment.
    holes: usize,
    /// Why the offset map could not be written, until it could be again.
    unwritten: Option<String>,
    /// Facts that may have been written, and have to be written again.
    repeated: Option<Facts>,
}

struct InFlight {
    /// The source offsets of its records; on the target they follow each other.
    runs: RunList,
    /// The source offset after everything that it stands for.
    next: i64,
    timestamp: i64,
    bytes: u32,
    /// Holes on the source, in it and before it.
    holes: u32,
    /// What was done to it, if it is a batch.
    how: Option<How>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Pending,
    /// The target offset of the first record.
    Arrived(i64),
    Failed,
    /// No record: the reader has seen that there is nothing up to this offset.
    Nothing,
}

/// What an account says at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Snapshot {
    /// The next source offset to copy: all before it is on the target.
    pub position: i64,
    /// The target offset after the last copied record.
    pub target_position: Option<i64>,
    /// The timestamp of the oldest record on its way.
    pub oldest_timestamp: Option<i64>,
    /// Whether anything is on its way.
    pub in_flight: bool,
}

/// Counters of an account, since this process started on the partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records on the target.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Failed attempts.
    pub errors: u64,
    /// Source offsets that were gone before they could be copied.
    pub gap_records: u64,
    /// Batches on the target, by what was done to them.
    pub batches: BatchCounts,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Totals) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.gap_records += other.gap_records;
        self.batches += other.batches;
    }
}

/// Facts for the offset map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The next source offset to copy.
    pub position: i64,
    /// The target offset after the last copied record.
    pub target_position: i64,
    /// Blocks that are new or have grown, by their first target offset.
    pub blocks: Vec<Draft>,
    /// What it was copied with.
    pub claim: Option<Claim>,
    /// The source's leader epochs, as far as it was read.
    pub epochs: Epochs,
}

impl Account {
    /// Books that begin at a source offset, with the target offset after the last copied record where it is known. `from`: behind which source and
    /// target position all that was copied will be known, with what was on record before and what comes into these books.
    pub fn new(position: i64, target_position: Option<i64>, from: Option<(i64, i64)>) -> Account {
        Account {
            inner: Mutex::new(Inner {
                position,
                target_position,
                in_flight: VecDeque::new(),
                first: 0,
                failed: false,
                copying: None,
                claim: None,
                lease: None,
                is_clear: false,
                epochs: Epochs::default(),
                lost_from: None,
                batches: BatchCounts::default(),
                ledger: Ledger::begun(from),
                holes: 0,
                unwritten: None,
                repeated: None,
            }),
            in_flight_bytes: AtomicU64::new(0),
            records_total: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            errors_total: AtomicU64::new(0),
            gap_records_total: AtomicU64::new(0),
        }
    }

    /// From here on the engine copies under this number.
    pub fn open(&self, id: u32) {
        self.lock().copying = Some(id);
    }

    /// From here on it is copied with this, as long as the lease lasts.
    pub fn claimed(&self, claim: Option<Claim>, lease: Option<Lease>) {
        let mut inner = self.lock();
        inner.claim = claim;
        inner.lease = lease;
        inner.is_clear = true;
    }

    /// Of something that did not arrive it is not known whether it will.
    pub fn unclear(&self) {
        self.lock().is_clear = false;
    }

    /// Whether nothing that was sent under the claim can arrive any more.
    pub fn is_clear(&self) -> bool {
        let inner = self.lock();
        inner.is_clear
            && inner
                .in_flight
                .iter()
                .all(|entry| entry.outcome != Outcome::Pending)
    }

    /// Whether it is time to claim it anew.
    pub fn claim_is_old(&self) -> bool {
        self.lock().lease.is_some_and(|lease| lease.is_old())
    }

    /// Whether its claim may have been forgotten, and somebody else have taken it.
    pub fn lease_is_over(&self) -> bool {
        self.lock().lease.is_some_and(|lease| lease.is_over())
    }

    /// What it is copied with.
    pub fn claim(&self) -> Option<Claim> {
        self.lock().claim
    }

    /// The source's leader epochs before the position.
    pub fn epochs(&self) -> Epochs {
        let inner = self.lock();
        inner.epochs.before(inner.position)
    }

    /// These leader epochs of the source were read before.
    pub fn set_epochs(&self, epochs: Epochs) {
        self.lock().epochs = epochs;
    }

    /// The source's log was read on: new leader epochs in it, and up to where. Returns the epoch of what lies before that.
    pub fn read_on(&self, new: impl IntoIterator<Item = (i32, i64)>, to: i64) -> Option<i32> {
        let mut inner = self.lock();
        for (epoch, offset) in new {
            inner.epochs.note(epoch, offset);
        }
        inner.epochs.last_before(to)
    }

    /// Whether a batch can have landed at this target offset: not before what was copied earlier, unless the log there has lost its end and knows
    /// its producer no more. Where that would not be mended it is not looked at: without a lease nobody holds the log against the map.
    pub fn may_land(&self, target: i64) -> bool {
        let mut inner = self.lock();
        let may = inner.lease.is_none() || inner.target_position.is_none_or(|end| target >= end);
        if !may {
            inner.lost_from = Some(inner.lost_from.map_or(target, |from| from.min(target)));
        }
        may
    }

    /// From which target offset on the mirror has what was written after its log had lost its end, as [`Account::may_land`] has found.
    pub fn lost_from(&self) -> Option<i64> {
        self.lock().lost_from
    }

    /// The segments that were copied last.
    pub fn last_segments(&self) -> Vec<Segment> {
        let inner = self.lock();
        let repeated = inner.repeated.as_ref().and_then(|facts| facts.blocks.last());
        let repeated = repeated.map(|block| block.segments.as_slice());
        [repeated.unwrap_or_default(), &inner.ledger.open].concat()
    }

    /// Facts that may have been written and have to be written again, before others are taken.
    pub fn take_repeated(&self) -> Option<Facts> {
        self.lock().repeated.take()
    }

    /// The next facts state the position, if it moved or not, for an owner who copies exactly once.
    pub fn state_position(&self) {
        let mut inner = self.lock();
        inner.ledger.moved |= inner.claim.is_some();
    }

    /// The next facts state the position, whoever copies: nothing is on record of it.
    pub fn state_beginning(&self) {
        self.lock().ledger.moved = true;
    }

    /// What was on record is lost: the next facts state the position, and the last segments before it, which are those of this block if nothing
    /// was copied in these books.
    pub fn state_again(&self, on_record: Option<&Block>) {
        let mut inner = self.lock();
        if let Some(block) = on_record.filter(|_| inner.ledger.open.is_empty()) {
            inner.ledger.begin(block.from);
            for segment in &block.segments {
                inner.ledger.push_run(*segment);
            }
        }
        inner.ledger.moved = true;
    }

    /// From here on nothing more is sent, even if the engine has not heard yet that it is to stop: once what is on its way has settled,
    /// the position is final.
    pub fn close(&self) {
        self.lock().copying = None;
    }

    /// The engine that copies under `id` is about to send a record. Returns its sequence number, for [`Account::settle`]; none if it must
    /// not be sent any more.
    pub fn sending(&self, id: u32, source: i64, timestamp: i64, bytes: usize) -> Option<u64> {
        let record = InFlight {
            runs: RunList::one(source, 1),
            next: source + 1,
            timestamp,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            holes: 0,
            how: None,
            outcome: Outcome::Pending,
        };
        self.enter(id, record)
    }

    /// As [`Account::sending`], for records that go as one batch.
    pub fn sending_batch(&self, id: u32, ready: &Ready) -> Option<u64> {
        let batch = InFlight {
            runs: ready.source.clone(),
            next: ready.next,
            timestamp: ready.max_timestamp,
            bytes: u32::try_from(ready.size()).unwrap_or(u32::MAX),
            holes: 0,
            how: Some(ready.how),
            outcome: Outcome::Pending,
        };
        self.enter(id, batch)
    }

    fn enter(&self, id: u32, mut entry: InFlight) -> Option<u64> {
        let mut inner = self.lock();
        // Who wakes up after a long sleep may have been replaced and forgotten: it claims anew first.
        if inner.copying != Some(id) || inner.lease.is_some_and(|lease| lease.is_over()) {
            return None;
        }
        self.in_flight_bytes
            .fetch_add(u64::from(entry.bytes), Ordering::Relaxed);
        entry.holes = inner.holes_of(&entry.runs);
        inner.holes += entry.holes as usize;
        inner.in_flight.push_back(entry);
        Some(inner.first + inner.in_flight.len() as u64 - 1)
    }

    /// What became of a record or a batch: the target offset of its first record, or `None` if it is not there. Returns the bytes that are no longer in flight.
    pub fn settle(&self, sequence: u64, target: Option<i64>) -> u64 {
        let mut inner = self.lock();
        let index = sequence.wrapping_sub(inner.first);
        let Some(entry) = usize::try_from(index)
            .ok()
            .and_then(|index| inner.in_flight.get_mut(index))
        else {
            return 0;
        };
        if entry.outcome != Outcome::Pending {
            return 0;
        }
        let bytes = u64::from(entry.bytes);
        entry.outcome = target.map_or(Outcome::Failed, Outcome::Arrived);
        inner.failed |= target.is_none();
        let arrived = inner.advance();
        self.in_flight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.records_total.fetch_add(arrived.0, Ordering::Relaxed);
        self.bytes_total.fetch_add(arrived.1, Ordering::Relaxed);
        bytes
    }

    /// The reader that copies under `id` has seen that there is no record up to this source offset besides those it has given out.
    pub fn reached(&self, id: u32, source: i64) {
        let mut inner = self.lock();
        if inner.copying == Some(id) {
            inner.skip(source);
        }
    }

    /// Source offsets up to `to` are gone for good: the position moves there. Returns how many there were.
    pub fn gap(&self, to: i64) -> u64 {
        let mut inner = self.lock();
        let gone = u64::try_from(to - inner.read_to()).unwrap_or(0);
        // Nobody has seen in which they were written.
        inner.epochs = Epochs::default();
        self.gap_records_total.fetch_add(gone, Ordering::Relaxed);
        inner.skip(to);
        gone
    }

    /// The records of these segments are on the target already: an owner before this one has copied them, and the offset map does not know
    /// it yet. What lies on the mirror behind them, up to the target position, is of no use. Only while nothing is on its way.
    pub fn recovered(&self, found: &[Segment], position: i64) {
        let mut inner = self.lock();
        for segment in found {
            let end = inner.ledger.push_run(*segment);
            inner.target_position = inner.target_position.max(Some(end));
        }
        inner.ledger.moved |= position > inner.position;
        inner.position = inner.position.max(position);
    }

    /// Whether nothing is on its way any more.
    pub fn is_drained(&self) -> bool {
        self.lock()
            .in_flight
            .iter()
            .all(|entry| entry.outcome != Outcome::Pending)
    }

    /// Forget what did not arrive, and what arrived after it: copying goes on at the position, where it was told to stop.
    pub fn rewind(&self) {
        let mut inner = self.lock();
        let dropped: u64 = inner
            .in_flight
            .iter()
            .filter(|entry| entry.outcome == Outcome::Pending)
            .map(|entry| u64::from(entry.bytes))
            .sum();
        inner.first += inner.in_flight.len() as u64;
        inner.is_clear &= inner
            .in_flight
            .iter()
            .all(|entry| entry.outcome != Outcome::Pending);
        inner.in_flight.clear();
        inner.holes = 0;
        inner.failed = false;
        self.in_flight_bytes.fetch_sub(dropped, Ordering::Relaxed);
    }

    /// Begin anew at another source offset: the log there is not the one that was copied before. `from` as with new books.
    pub fn restart(&self, position: i64, target_position: Option<i64>, from: Option<(i64, i64)>) {
        self.rewind();
        let mut inner = self.lock();
        inner.position = position;
        inner.target_position = target_position;
        inner.lost_from = None;
        inner.ledger.begin(from);
        inner.ledger.moved = true;
    }

    /// Bytes on their way.
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes.load(Ordering::Relaxed)
    }

    /// Count a failed attempt.
    pub fn count_error(&self) {
        self.errors_total.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters.
    pub fn totals(&self) -> Totals {
        Totals {
            records: self.records_total.load(Ordering::Relaxed),
            bytes: self.bytes_total.load(Ordering::Relaxed),
            errors: self.errors_total.load(Ordering::Relaxed),
            gap_records: self.gap_records_total.load(Ordering::Relaxed),
            batches: self.lock().batches,
        }
    }

    /// Where it stands.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        let oldest = inner
            .in_flight
            .iter()
            .find(|entry| entry.outcome != Outcome::Nothing);
        Snapshot {
            position: inner.position,
            target_position: inner.target_position,
            oldest_timestamp: oldest
                .map(|entry| entry.timestamp)
                .filter(|&timestamp| timestamp >= 0),
            in_flight: !inner.in_flight.is_empty(),
        }
    }

    /// Facts that the offset map does not hold yet; `None` if there are none. What becomes of them has to be told: [`Account::written`], or
    /// [`Account::unwritten`].
    pub fn take_facts(&self) -> Option<Facts> {
        let mut inner = self.lock();
        if let Some(facts) = inner.repeated.take() {
            return Some(facts);
        }
        // Where the mirror's records begin that count has to be known before anything is said of them.
        let target_position = inner.target_position?;
        let blocks = inner.ledger.take(target_position)?;
        Some(Facts {
            position: inner.position,
            target_position,
            blocks,
            claim: inner.claim,
            epochs: inner.epochs.clone(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Inner {
    /// The source offset after what was sent last.
    fn read_to(&self) -> i64 {
        self.in_flight.back().map_or(self.position, |entry| entry.next)
    }

    /// How many segments records make that are sent next, besides the one that they may go on.
    fn holes_of(&self, runs: &RunList) -> u32 {
        let is_behind_a_hole = runs.first() != Some(self.read_to());
        let inside = runs.runs().len().saturating_sub(1);
        u32::try_from(inside + usize::from(is_behind_a_hole)).unwrap_or(u32::MAX)
    }

    /// There is nothing between what was sent last and this source offset.
    fn skip(&mut self, to: i64) {
        if to <= self.read_to() {
            return;
        }
        self.in_flight.push_back(InFlight {
            runs: RunList::default(),
            next: to,
            timestamp: -1,
            bytes: 0,
            holes: 0,
            how: None,
            outcome: Outcome::Nothing,
        });
        self.advance();
    }

    /// Move the position over everything at the front that is settled. Returns how many records and bytes that were.
    fn advance(&mut self) -> (u64, u64) {
        let (mut records, mut bytes) = (0, 0);
        while let Some(entry) = self.in_flight.front() {
            match entry.outcome {
                Outcome::Pending | Outcome::Failed => break,
                Outcome::Nothing => self.ledger.moved = true,
                Outcome::Arrived(target) => {
                    bytes += u64::from(entry.bytes);
                    let end = self.ledger.push(&entry.runs, target);
                    records += u64::try_from(end - target).unwrap_or(0);
                    match entry.how {
                        Some(How::Passed) => self.batches.passed += 1,
                        Some(How::Rebuilt) => self.batches.rebuilt += 1,
                        Some(How::Split) => self.batches.split += 1,
                        Some(How::Merged) => self.batches.merged += 1,
                        Some(How::Recompressed) => self.batches.recompressed += 1,
                        None => {}
                    }
                    self.target_position = Some(end);
                }
            }
            self.position = entry.next;
            self.holes = self.holes.saturating_sub(entry.holes as usize);
            self.in_flight.pop_front();
            self.first += 1;
        }
        (records, bytes)
    }
}

#[cfg(test)]
mod tests;
