//! What a log knows of the producers that write to it: epochs, sequence numbers, open transactions.
//!
//! The state follows the log: it is changed by appended batches only, and rebuilt from the newest snapshot before the
//! place where a replay starts.

use std::collections::{BTreeMap, HashMap, VecDeque};

use heliostat_wire::batch::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE, add_sequence, subtract_sequence};

use super::error::AppendError;

/// How many of a producer's last batches are remembered, so that their repetition is recognised: the largest number
/// of requests in flight that an idempotent producer may have.
pub(crate) const BATCHES_KEPT: usize = 5;

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
    /// First offset of each open transaction, with its producer.
    open_transactions: BTreeMap<i64, i64>,
}

impl Producers {
    /// Whether the batch may be appended. `Some` is the earlier batch that it repeats.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<Option<AppendedBatch>, AppendError> {
        let Some(producer) = self
            .producers
            .get(&header.producer_id)
            .filter(|_| header.has_producer_id())
        else {
            // A producer that is not known may start anywhere: its records may have been deleted.
            return Ok(None);
        };
        if let Some(earlier) = producer.repeated(header) {
            return Ok(Some(earlier));
        }
        if header.producer_epoch < producer.epoch {
            return Err(AppendError::ProducerEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: producer.epoch,
            });
        }
        let expected = if header.producer_epoch != producer.epoch {
            0
        } else {
            producer
                .batches
                .back()
                .map_or(0, |last| add_sequence(last.last_sequence, 1))
        };
        if header.base_sequence != expected && producer.epoch != NO_PRODUCER_EPOCH {
            return Err(AppendError::OutOfOrder {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                expected,
                sequence: header.base_sequence,
            });
        }
        if producer.transaction_start.is_some() && !header.is_transactional() {
            return Err(AppendError::TransactionState(format!(
                "producer {} has a transaction open, and the batch is not part of it",
                header.producer_id
            )));
        }
        Ok(None)
    }

    /// Takes note of a batch that is in the log now. `now_ms` is when.
    pub(crate) fn update(&mut self, header: &BatchHeader, now_ms: i64) {
        if !header.has_producer_id() {
            return;
        }
        let id = header.producer_id;
        let producer = self
            .producers
            .entry(id)
            .or_insert_with(|| Producer::new(header.producer_epoch));
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = header.max_timestamp;
        producer.last_seen_ms = now_ms;
        if header.is_control() {
            if let Some(start) = producer.transaction_start.take() {
                self.open_transactions.remove(&start);
            }
            return;
        }
        producer.batches.push_back(AppendedBatch::of(header));
        if producer.batches.len() > BATCHES_KEPT {
            producer.batches.pop_front();
        }
        if header.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset);
            self.open_transactions.insert(header.base_offset, id);
        }
    }

    /// Which coordinator wrote the marker that [`Producers::update`] has just seen.
    pub(crate) fn set_coordinator_epoch(&mut self, producer_id: i64, epoch: i32) {
        if let Some(producer) = self.producers.get_mut(&producer_id) {
            producer.coordinator_epoch = epoch;
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

    /// The first offset of the oldest open transaction.
    pub(crate) fn first_undecided_offset(&self) -> Option<i64> {
        self.open_transactions.keys().next().copied()
    }

    /// Forgets producers that have not been heard of for so long and have no transaction open.
    pub(crate) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| {
            producer.transaction_start.is_some()
                || now_ms.saturating_sub(producer.last_seen_ms) < expiration_ms
        });
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
            last_seen_ms: 0,
        }
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
            code(producers.check(&header(0, 0, 100, 2))),
            Ok(None),
            "unknown producers start anywhere"
        );
        for i in 0..7 {
            let next = header(i64::from(i) * 2, 0, i * 2, 2);
            assert_eq!(code(producers.check(&next)), Ok(None));
            producers.update(&next, 0);
        }
        for i in 0..7i32 {
            let expected = if i < 2 {
                Err(45)
            } else {
                Ok(Some(i64::from(i) * 2))
            };
            assert_eq!(
                code(producers.check(&header(99, 0, i * 2, 2))),
                expected,
                "batch {i}"
            );
        }
        assert_eq!(
            code(producers.check(&header(99, 0, 12, 3))),
            Err(45),
            "same start, other end"
        );
        assert_eq!(code(producers.check(&header(99, 0, 15, 1))), Err(45), "a gap");
        assert_eq!(code(producers.check(&header(99, 0, 14, 1))), Ok(None));
        assert_eq!(
            code(producers.check(&header(99, 1, 14, 1))),
            Err(45),
            "a new epoch starts at 0"
        );
        assert_eq!(code(producers.check(&header(99, 1, 0, 1))), Ok(None));
        producers.update(&header(14, 1, 0, 1), 0);
        assert_eq!(
            code(producers.check(&header(99, 0, 14, 1))),
            Err(47),
            "an older epoch"
        );
    }

    #[test]
    fn sequences_wrap_from_the_largest_number_to_0() {
        let mut producers = Producers::default();
        producers.update(&header(0, 0, i32::MAX - 1, 3), 0);
        assert_eq!(producers.list()[0].last_sequence, 0);
        assert_eq!(code(producers.check(&header(9, 0, i32::MAX - 1, 3))), Ok(Some(0)));
        assert_eq!(code(producers.check(&header(9, 0, 1, 3))), Ok(None));
        let mut producers = Producers::default();
        producers.update(&header(0, 0, i32::MAX, 1), 0);
        assert_eq!(code(producers.check(&header(9, 0, 0, 3))), Ok(None));
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
