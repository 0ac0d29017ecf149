//! Holding records of the target against records of the source by what they contain, where counting does not do.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Mutex, PoisonError};

use heliostat_wire::batch::{BatchError, BatchView, TimestampType};
use heliostat_wire::compression::Decompressed;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The most that the records of one batch may grow to when they are decompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

/// Records that grow to more than this are decompressed by one at a time, whichever partition they are of: many partitions are prepared
/// at once, and with batches that grow without measure they would take the memory of all others.
const RECORDS_BYTES_FREE: usize = 4 << 20;

/// Of a tail without end no more than so many records are held against the source by content; it takes some 100 MB of memory. All partitions
/// together have no more in memory: who comes later waits for [`room`].
pub(super) const ALIGNED_RECORDS_MAX: u32 = 1_000_000;

/// Places for records of tails, of all flows of this process.
static ROOM: Semaphore = Semaphore::const_new(ALIGNED_RECORDS_MAX as usize);

/// Held by whoever decompresses something large.
static LARGE: Mutex<()> = Mutex::new(());

/// Waits until the records of a tail have room in memory, and keeps it until it is dropped.
pub(super) async fn room(records: i64) -> Room {
    let wanted =
        u32::try_from(records).map_or(ALIGNED_RECORDS_MAX, |records| records.min(ALIGNED_RECORDS_MAX));
    Room {
        // It is never closed.
        _places: ROOM.acquire_many(wanted).await.ok(),
    }
}

/// Room for the records of a tail.
pub(super) struct Room {
    _places: Option<SemaphorePermit<'static>>,
}

/// Whether timestamps can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamps {
    /// They are the producer's on both sides.
    Kept,
    /// The target gives records its own.
    Replaced,
}

impl Stamps {
    pub(super) fn of(batch: &BatchView<'_>) -> Stamps {
        match batch.header().timestamp_type() {
            TimestampType::CreateTime => Stamps::Kept,
            TimestampType::LogAppendTime => Stamps::Replaced,
        }
    }
}

/// Offset and digest of each record of a batch.
pub(super) fn digests(batch: &BatchView<'_>, stamps: Stamps) -> Result<Vec<(i64, u128)>, BatchError> {
    match batch.decompress_up_to(RECORDS_BYTES_FREE)? {
        Decompressed::All(bytes) => digests_of(batch, &bytes, stamps),
        Decompressed::Beginning(_) => {
            let _alone = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
            digests_of(batch, &batch.decompress(RECORDS_BYTES_MAX)?, stamps)
        }
    }
}

fn digests_of(batch: &BatchView<'_>, bytes: &[u8], stamps: Stamps) -> Result<Vec<(i64, u128)>, BatchError> {
    let header = batch.header();
    let mut found = Vec::new();
    for record in batch.records(bytes) {
        let record = record?;
        let mut halves = [DefaultHasher::new(), DefaultHasher::new()];
        halves[1].write_u8(1);
        for hasher in &mut halves {
            if stamps == Stamps::Kept {
                hasher.write_i64(header.timestamp(record.timestamp_delta));
            }
            write(hasher, record.key);
            write(hasher, record.value);
            for field in record.headers {
                write(hasher, Some(field.key));
                write(hasher, field.value);
            }
        }
        let [high, low] = halves.map(|hasher| u128::from(hasher.finish()));
        found.push((header.offset(record.offset_delta), high << 64 | low));
    }
    Ok(found)
}

fn write(hasher: &mut DefaultHasher, bytes: Option<&[u8]>) {
    // Null and empty are told apart, and so are two fields and one.
    hasher.write_u64(bytes.map_or(u64::MAX, |bytes| bytes.len() as u64));
    hasher.write(bytes.unwrap_or_default());
}

/// Records of a target's tail in their order, to be found again among those of the source, which come in the same order; on either side
/// some may be missing.
#[derive(Debug, Default)]
pub(super) struct InOrder {
    /// Where each record stands that is still to be found.
    places: HashMap<u128, VecDeque<(u64, i64)>>,
    count: u64,
    /// The place after the record that was found last.
    next: u64,
}

impl InOrder {
    /// The next record of the tail.
    pub(super) fn push(&mut self, target: i64, digest: u128) {
        let places = self.places.entry(digest).or_default();
        places.push_back((self.count, target));
        self.count += 1;
    }

    /// How many records there are.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// The target offset of the next record of the source; none if it is not there, or not behind the one before it.
    pub(super) fn find(&mut self, digest: u128) -> Option<i64> {
        let places = self.places.get_mut(&digest)?;
        while let Some((place, target)) = places.pop_front() {
            if place >= self.next {
                self.next = place + 1;
                return Some(target);
            }
        }
        None
    }
}

/// The last records of a tail, to be found among those of the source as they follow each other.
#[derive(Debug)]
pub(super) struct LastOnes {
    wanted: VecDeque<u128>,
    seen: VecDeque<u128>,
}

impl LastOnes {
    /// How many records must follow each other as on the target.
    const COUNT: usize = 32;

    pub(super) fn new() -> LastOnes {
        LastOnes {
            wanted: VecDeque::new(),
            seen: VecDeque::new(),
        }
    }

    /// The next record of the tail.
    pub(super) fn push(&mut self, digest: u128) {
        roll(&mut self.wanted, digest, Self::COUNT);
    }

    /// Whether the tail has records.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Whether with this record of the source all have been seen in a row.
    pub(super) fn ends_with(&mut self, digest: u128) -> bool {
        roll(&mut self.seen, digest, self.wanted.len());
        self.seen == self.wanted
    }
}

fn roll(digests: &mut VecDeque<u128>, digest: u128, length: usize) {
    digests.push_back(digest);
    if digests.len() > length {
        digests.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use heliostat_wire::builder::{BatchBuilder, NewRecord};
    use heliostat_wire::compression::Compression;

    use super::*;

    #[test]
    fn records_that_compaction_took_from_the_source_are_passed_over() {
        let mut tail = InOrder::default();
        for (target, digest) in [(10, 1), (11, 2), (12, 3), (13, 4)] {
            tail.push(target, digest);
        }
        assert_eq!(tail.find(1), Some(10));
        assert_eq!(tail.find(3), Some(12));
        assert_eq!(tail.find(5), None, "this is the first that was not copied");
    }

    #[test]
    fn equal_records_are_counted() {
        let mut tail = InOrder::default();
        tail.push(10, 7);
        tail.push(11, 7);
        assert_eq!(
            (tail.find(7), tail.find(7), tail.find(7)),
            (Some(10), Some(11), None)
        );
    }

    #[test]
    fn what_lies_before_the_last_that_was_found_does_not_count() {
        let mut tail = InOrder::default();
        tail.push(10, 1);
        tail.push(11, 2);
        assert_eq!((tail.find(2), tail.find(1)), (Some(11), None));
    }

    #[tokio::test]
    async fn tails_wait_for_each_other_where_together_they_are_too_large() {
        let most = i64::from(ALIGNED_RECORDS_MAX);
        let (half, few) = (room(most / 2).await, room(10).await);
        let mut large = std::pin::pin!(room(i64::MAX));
        let mut has_room = || {
            large
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        };
        assert!(!has_room());
        drop(half);
        assert!(!has_room());
        drop(few);
        assert!(has_room(), "one that is larger than all room has it alone");
    }

    #[test]
    fn records_that_grow_large_are_read_to_their_end() {
        let value = vec![7; RECORDS_BYTES_FREE / 4];
        let mut builder = BatchBuilder::new().compression(Compression::Zstd, None);
        for timestamp in 0..6 {
            builder.push(NewRecord {
                timestamp,
                key: None,
                value: Some(&value),
                headers: &[],
            });
        }
        let bytes = builder.build().expect("a batch");
        assert!(bytes.len() < RECORDS_BYTES_FREE / 100);
        let batch = BatchView::parse(&bytes).expect("a batch");
        let found = digests(&batch, Stamps::Kept).expect("they can be read");
        assert_eq!(found.len(), 6);
        let replaced = digests(&batch, Stamps::Replaced).expect("they can be read");
        assert!(replaced.iter().all(|(_, digest)| *digest == replaced[0].1));
        assert!(found[0].1 != found[1].1);
    }

    #[test]
    fn the_last_records_are_found_where_they_follow_each_other() {
        let mut last = LastOnes::new();
        (0..100).for_each(|digest| last.push(digest));
        let found = (60..200u128)
            .filter(|digest| last.ends_with(*digest))
            .collect::<Vec<_>>();
        assert_eq!(found, vec![99]);
    }
}
