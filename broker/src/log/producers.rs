//! What a log knows of the producers that write to it: epochs, sequence numbers, open transactions.
//!
//! The state follows the log: it is changed by appended batches only, and rebuilt from the newest snapshot before the
//! place where a replay starts.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use heliostat_wire::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, add_sequence, subtract_sequence};

use super::aborted::AbortedTransaction;
use super::census::{Census, Share};
use super::error::AppendError;
use super::marker::{Marker, MarkerRecord};
use super::verification::{Guard, Verifications};

/// How many of a producer's last batches are remembered, so that their repetition is recognised: the largest number
/// of requests in flight that an idempotent producer may have.
pub(crate) const BATCHES_KEPT: usize = 5;

/// One in so many is forgotten at a time when there are too many producers.
const FORGOTTEN_PART: usize = 16;

/// Of a producer that is new, and was not heard of.
const NEVER: i64 = i64::MIN;

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendedBatch {
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
}

/// One producer's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    /// Oldest first; empty after a marker of a new epoch.
    pub(crate) batches: VecDeque<AppendedBatch>,
    /// The newest batch's or marker's timestamp, as in Kafka's snapshots.
    pub(crate) last_timestamp: i64,
    pub(crate) coordinator_epoch: i32,
    pub(crate) transaction_start: Option<i64>,
    /// When it was last heard of, by our clock. Kafka goes by the records' timestamps, which for a mirror of old
    /// records would forget a producer at once.
    pub(crate) last_seen_ms: i64,
}

/// One producer of a partition, as DescribeProducers shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerInfo {
    /// The producer.
    pub producer_id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Sequence number of its last record, or -1.
    pub last_sequence: i32,
    /// Timestamp of its last batch, in milliseconds.
    pub last_timestamp: i64,
    /// Epoch of the coordinator that wrote its last marker, or -1.
    pub coordinator_epoch: i32,
    /// Where its open transaction starts, if one is open.
    pub transaction_start: Option<i64>,
}

/// All producers of one log.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    producers: HashMap<i64, Producer>,
    /// What they take of what all logs may remember.
    share: Share,
    /// First offset of each open transaction, with its producer.
    open_transactions: BTreeMap<i64, i64>,
    /// First and last offset of each ended transaction whose marker is not below the high watermark yet.
    ended_transactions: BTreeMap<i64, i64>,
    verifications: Verifications,
}

/// A transaction that a marker has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedTransaction {
    pub(crate) commit: bool,
    /// What the index of aborted transactions says of it, if it was aborted.
    pub(crate) entry: AbortedTransaction,
}

impl Producers {
    /// Whether the batch may be appended. `Some` is the earlier batch that it repeats. The first transactional batch
    /// of a transaction needs the guard of its verification ([`Producers::verify`]).
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        guard: Option<Guard>,
    ) -> Result<Option<AppendedBatch>, AppendError> {
        if !header.has_producer_id() {
            return Ok(None);
        }
        let producer = self.producers.get(&header.producer_id);
        if let Some(earlier) = producer.and_then(|producer| producer.repeated(header)) {
            return Ok(Some(earlier));
        }
        let id = header.producer_id;
        if header.is_transactional()
            && !self.has_open_transaction(id, header.producer_epoch)
            && !self.verifications.holds(id, guard)
        {
            return Err(AppendError::TransactionState(format!(
                "the transaction coordinator does not know that the transaction of producer {id} reaches this partition"
            )));
        }
        if let Some(producer) = producer {
            producer.check_epoch(header)?;
        }
        self.verifications
            .check_sequence(header, producer.is_none_or(|known| known.batches.is_empty()))?;
        // A producer that is not known may start anywhere: its records may have been deleted.
        let Some(producer) = producer else {
            return Ok(None);
        };
        producer.check_sequence(header)?;
        if producer.transaction_start.is_some() && !header.is_transactional() {
            return Err(AppendError::TransactionState(format!(
                "producer {id} has a transaction open, and the batch is not part of it"
            )));
        }
        Ok(None)
    }

    /// Whether a marker may be appended, in the order in which Kafka asks.
    pub(crate) fn check_marker(&self, marker: &Marker) -> Result<(), AppendError> {
        let Some(producer) = self.producers.get(&marker.producer_id) else {
            return Ok(());
        };
        // With transaction version 2 the same epoch again is a marker that was written before.
        let repeated = marker.producer_epoch == producer.epoch && producer.transaction_start.is_none();
        let stale = marker.producer_epoch < producer.epoch
            || marker.transaction_version >= 2 && marker.producer_epoch == producer.epoch && !repeated;
        if stale {
            return Err(AppendError::ProducerEpoch {
                producer_id: marker.producer_id,
                epoch: marker.producer_epoch,
                current: producer.epoch,
            });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            return Err(AppendError::CoordinatorFenced {
                producer_id: marker.producer_id,
                epoch: marker.coordinator_epoch,
                current: producer.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Begins to verify that a producer's transaction reaches this partition, before its first batch there. `None` if
    /// there is nothing to verify: the transaction is open here already.
    pub(crate) fn verify(&mut self, header: &BatchHeader, bumps_epoch: bool) -> Option<Guard> {
        if self.has_open_transaction(header.producer_id, header.producer_epoch) {
            return None;
        }
        Some(self.verifications.begin(header, bumps_epoch))
    }

    /// The transaction that a marker at `offset` would end.
    pub(crate) fn ended_by(
        &self,
        producer_id: i64,
        marker: &MarkerRecord,
        offset: i64,
    ) -> Option<EndedTransaction> {
        let first_offset = self.producers.get(&producer_id)?.transaction_start?;
        let next_open = self
            .open_transactions
            .iter()
            .find(|(_, producer)| **producer != producer_id);
        let entry = AbortedTransaction {
            producer_id,
            first_offset,
            last_offset: offset,
            last_stable_offset: next_open.map_or(offset + 1, |(first, _)| *first),
        };
        Some(EndedTransaction {
            commit: marker.commit,
            entry,
        })
    }

    /// Takes note of a marker that is in the log now. The transaction counts as undecided until
    /// [`Producers::replicated`] is told that its end is below the high watermark.
    pub(crate) fn update_marker(
        &mut self,
        header: &BatchHeader,
        marker: &MarkerRecord,
        now_ms: i64,
    ) -> Option<EndedTransaction> {
        let ended = self.ended_by(header.producer_id, marker, header.base_offset);
        let producer = self.producer(header, now_ms);
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.transaction_start = None;
        self.verifications.forget(header.producer_id);
        if let Some(EndedTransaction { entry, .. }) = &ended {
            self.open_transactions.remove(&entry.first_offset);
            self.ended_transactions
                .insert(entry.first_offset, entry.last_offset);
        }
        ended
    }

    /// The high watermark has reached `high_watermark`.
    pub(crate) fn replicated(&mut self, high_watermark: i64) {
        self.ended_transactions.retain(|_, last| *last >= high_watermark);
    }

    /// Takes note of a batch of records that is in the log now. `now_ms` is when.
    pub(crate) fn update(&mut self, header: &BatchHeader, now_ms: i64) {
        if !header.has_producer_id() {
            return;
        }
        let id = header.producer_id;
        let producer = self.producer(header, now_ms);
        producer.batches.push_back(AppendedBatch::of(header));
        if producer.batches.len() > BATCHES_KEPT {
            producer.batches.pop_front();
        }
        if header.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset);
            self.open_transactions.insert(header.base_offset, id);
        }
        if header.is_transactional() {
            self.verifications.forget(id);
        }
    }

    /// Adds batches before the last one that is known, read from the log: snapshots hold only one per producer.
    pub(crate) fn fill_window<'h>(&mut self, tail: impl Iterator<Item = &'h BatchHeader>) {
        let mut windows: HashMap<i64, VecDeque<&BatchHeader>> = HashMap::new();
        for header in tail.filter(|header| header.has_producer_id() && !header.is_control()) {
            let window = windows.entry(header.producer_id).or_default();
            window.retain(|earlier| earlier.producer_epoch == header.producer_epoch);
            window.push_back(header);
            if window.len() > BATCHES_KEPT {
                window.pop_front();
            }
        }
        for (id, window) in windows {
            let Some(producer) = self.producers.get_mut(&id) else {
                continue;
            };
            let same = |header: &&BatchHeader| {
                header.producer_epoch == producer.epoch
                    && producer
                        .batches
                        .back()
                        .is_some_and(|known| *known == AppendedBatch::of(header))
            };
            if producer.batches.len() < window.len() && window.back().is_some_and(same) {
                producer.batches = window.into_iter().map(AppendedBatch::of).collect();
            }
        }
    }

    /// The first offset of the oldest transaction that is open, or whose end is not below the high watermark.
    pub(crate) fn first_unstable_offset(&self) -> Option<i64> {
        let transactions = [&self.open_transactions, &self.ended_transactions];
        transactions
            .iter()
            .filter_map(|of| of.keys().next())
            .min()
            .copied()
    }

    /// Forgets producers that have not been heard of for so long and have no transaction open.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| {
            producer.transaction_start.is_some()
                || now_ms.saturating_sub(producer.last_seen_ms) < expiration_ms
        });
        self.share.set(self.producers.len());
    }

    /// From now on they count among those of all logs.
    pub(crate) fn count_in(&mut self, census: &Census) {
        self.share = Share::of(census);
        self.share.set(self.producers.len());
    }

    /// Forgets those that have been silent for the longest time, if there are too many. Open transactions stay: each of them
    /// is known to the coordinator.
    fn make_room(&mut self) {
        if !self.share.is_used_up(self.producers.len()) {
            return;
        }
        let closed = self
            .producers
            .iter()
            .filter(|(_, producer)| producer.transaction_start.is_none());
        let mut by_age: Vec<_> = closed.map(|(id, producer)| (producer.age(), *id)).collect();
        // Several at a time, so that looking for them is not what each new producer costs.
        let doomed = (by_age.len() / FORGOTTEN_PART).max(1).min(by_age.len());
        if doomed > 0 && doomed < by_age.len() {
            by_age.select_nth_unstable(doomed - 1);
        }
        for (_, id) in &by_age[..doomed] {
            self.producers.remove(id);
        }
        self.share.set(self.producers.len());
    }

    fn has_open_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        let producer = self.producers.get(&producer_id);
        producer.is_some_and(|producer| producer.epoch == epoch && producer.transaction_start.is_some())
    }

    /// Takes note that of all open transactions only those of `open` were so at the offset that was reached.
    pub(crate) fn close_all_but(&mut self, open: &HashSet<i64>) {
        for (id, producer) in &mut self.producers {
            if !open.contains(id)
                && let Some(first_offset) = producer.transaction_start.take()
            {
                self.open_transactions.remove(&first_offset);
            }
        }
    }

    /// The producer of a batch that is in the log now, with its epoch and its time.
    fn producer(&mut self, header: &BatchHeader, now_ms: i64) -> &mut Producer {
        if !self.producers.contains_key(&header.producer_id) {
            self.make_room();
        }
        let producer = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        self.share.add(usize::from(producer.last_seen_ms == NEVER));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = header.max_timestamp;
        producer.last_seen_ms = now_ms;
        producer
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    pub(crate) fn list(&self) -> Vec<ProducerInfo> {
        let info = |(id, producer): (&i64, &Producer)| ProducerInfo {
            producer_id: *id,
            epoch: producer.epoch,
            last_sequence: producer
                .batches
                .back()
                .map_or(NO_SEQUENCE, |last| last.last_sequence),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.transaction_start,
        };
        let mut list: Vec<_> = self.producers.iter().map(info).collect();
        list.sort_by_key(|producer| producer.producer_id);
        list
    }

    /// All producers, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        let sorted: BTreeMap<i64, &Producer> = self
            .producers
            .iter()
            .map(|(id, producer)| (*id, producer))
            .collect();
        sorted.into_iter()
    }

    pub(crate) fn insert(&mut self, id: i64, producer: Producer) {
        if let Some(start) = producer.transaction_start {
            self.open_transactions.insert(start, id);
        }
        self.producers.insert(id, producer);
    }
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Producer {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: -1,
            coordinator_epoch: -1,
            transaction_start: None,
            last_seen_ms: NEVER,
        }
    }

    /// The larger, the younger.
    fn age(&self) -> (i64, i64) {
        (
            self.last_seen_ms,
            self.batches.back().map_or(-1, |batch| batch.last_offset),
        )
    }

    fn check_epoch(&self, header: &BatchHeader) -> Result<(), AppendError> {
        if header.producer_epoch >= self.epoch {
            return Ok(());
        }
        Err(AppendError::ProducerEpoch {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            current: self.epoch,
        })
    }

    fn check_sequence(&self, header: &BatchHeader) -> Result<(), AppendError> {
        let last = self
            .batches
            .back()
            .filter(|_| header.producer_epoch == self.epoch);
        let expected = last.map_or(0, |last| add_sequence(last.last_sequence, 1));
        if header.base_sequence == expected || self.epoch == NO_PRODUCER_EPOCH {
            return Ok(());
        }
        Err(AppendError::OutOfOrder {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            expected,
            sequence: header.base_sequence,
        })
    }

    fn repeated(&self, header: &BatchHeader) -> Option<AppendedBatch> {
        let same = |batch: &&AppendedBatch| {
            batch.first_sequence() == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        self.batches
            .iter()
            .find(same)
            .copied()
            .filter(|_| header.producer_epoch == self.epoch)
    }
}

impl AppendedBatch {
    fn of(header: &BatchHeader) -> Self {
        AppendedBatch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    pub(crate) fn first_offset(&self) -> i64 {
        self.last_offset - i64::from(self.offset_delta)
    }

    fn first_sequence(&self) -> i32 {
        subtract_sequence(self.last_sequence, self.offset_delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heliostat_wire::batch::BatchView;
    use heliostat_wire::builder::{BatchBuilder, NewRecord};

    fn header(offset: i64, epoch: i16, sequence: i32, count: usize) -> BatchHeader {
        let mut builder = BatchBuilder::new()
            .base_offset(offset)
            .producer(7, epoch, sequence);
        for _ in 0..count {
            builder.push(NewRecord {
                timestamp: 5,
                ..NewRecord::default()
            });
        }
        *BatchView::parse(&builder.build().unwrap()).unwrap().header()
    }

    fn code(result: Result<Option<AppendedBatch>, AppendError>) -> Result<Option<i64>, i16> {
        result
            .map(|earlier| earlier.map(|batch| batch.first_offset()))
            .map_err(|error| error.code().code())
    }

    #[test]
    fn sequences_must_follow_and_the_last_five_batches_are_recognised() {
        let mut producers = Producers::default();
        assert_eq!(
            code(producers.check(&header(0, 0, 100, 2), None)),
            Ok(None),
            "unknown producers start anywhere"
        );
        for i in 0..7 {
            let next = header(i64::from(i) * 2, 0, i * 2, 2);
            assert_eq!(code(producers.check(&next, None)), Ok(None));
            producers.update(&next, 0);
        }
        for i in 0..7i32 {
            let expected = if i < 2 {
                Err(45)
            } else {
                Ok(Some(i64::from(i) * 2))
            };
            assert_eq!(
                code(producers.check(&header(99, 0, i * 2, 2), None)),
                expected,
                "batch {i}"
            );
        }
        assert_eq!(
            code(producers.check(&header(99, 0, 12, 3), None)),
            Err(45),
            "same start, other end"
        );
        assert_eq!(
            code(producers.check(&header(99, 0, 15, 1), None)),
            Err(45),
            "a gap"
        );
        assert_eq!(code(producers.check(&header(99, 0, 14, 1), None)), Ok(None));
        assert_eq!(
            code(producers.check(&header(99, 1, 14, 1), None)),
            Err(45),
            "a new epoch starts at 0"
        );
        assert_eq!(code(producers.check(&header(99, 1, 0, 1), None)), Ok(None));
        producers.update(&header(14, 1, 0, 1), 0);
        assert_eq!(
            code(producers.check(&header(99, 0, 14, 1), None)),
            Err(47),
            "an older epoch"
        );
    }

    #[test]
    fn sequences_wrap_from_the_largest_number_to_0() {
        let mut producers = Producers::default();
        producers.update(&header(0, 0, i32::MAX - 1, 3), 0);
        assert_eq!(producers.list()[0].last_sequence, 0);
        assert_eq!(
            code(producers.check(&header(9, 0, i32::MAX - 1, 3), None)),
            Ok(Some(0))
        );
        assert_eq!(code(producers.check(&header(9, 0, 1, 3), None)), Ok(None));
        let mut producers = Producers::default();
        producers.update(&header(0, 0, i32::MAX, 1), 0);
        assert_eq!(code(producers.check(&header(9, 0, 0, 3), None)), Ok(None));
    }

    #[test]
    fn producers_are_forgotten_by_our_clock() {
        let mut producers = Producers::default();
        producers.update(&header(0, 0, 0, 1), 1_000_000);
        producers.expire(1_000_000 + 99, 100);
        assert!(!producers.is_empty());
        producers.expire(1_000_000 + 100, 100);
        assert!(producers.is_empty());
    }
}
