//! Holding records of the target against records of the source by what they contain, where counting does not do.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::num::NonZeroU32;
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

/// What a record contains, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// The whole of it.
    pub(super) record: u128,
    /// Its key, if it has one.
    pub(super) key: Option<u64>,
}

/// Offset and digest of each record of a batch.
pub(super) fn digests(batch: &BatchView<'_>, stamps: Stamps) -> Result<Vec<(i64, Digest)>, BatchError> {
    match batch.decompress_up_to(RECORDS_BYTES_FREE)? {
        Decompressed::All(bytes) => digests_of(batch, &bytes, stamps),
        Decompressed::Beginning(_) => {
            let _alone = LARGE.lock().unwrap_or_else(PoisonError::into_inner);
            digests_of(batch, &batch.decompress(RECORDS_BYTES_MAX)?, stamps)
        }
    }
}

fn digests_of(batch: &BatchView<'_>, bytes: &[u8], stamps: Stamps) -> Result<Vec<(i64, Digest)>, BatchError> {
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
        let key = record.key.map(|key| {
            let mut hasher = DefaultHasher::new();
            hasher.write(key);
            hasher.finish()
        });
        let digest = Digest {
            record: high << 64 | low,
            key,
        };
        found.push((header.offset(record.offset_delta), digest));
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
    records: Vec<Wanted>,
    /// Of equal records the first that is still to be found, and the last.
    equal: HashMap<u128, (u32, u32)>,
    /// The last record of each key.
    keys: HashMap<u64, u32>,
    /// The place after the record that was found last.
    next: u64,
}

/// A record of the tail.
#[derive(Debug)]
struct Wanted {
    target: i64,
    digest: u128,
    /// The next one that is equal.
    next_equal: Option<NonZeroU32>,
    /// Another one is equal to it.
    is_repeated: bool,
    has_key: bool,
    /// A later one has the same key.
    is_superseded: bool,
}

/// Where a record of the source is in the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many records of the tail are before it.
    pub(super) index: i64,
    /// Its target offset.
    pub(super) target: i64,
    /// No other record of the tail is equal to it.
    pub(super) is_unique: bool,
    /// It is the last of its key in the tail; where it has none, it is unique.
    pub(super) is_last_of_key: bool,
}

impl InOrder {
    /// The next record of the tail.
    pub(super) fn push(&mut self, target: i64, digest: Digest) {
        // No more than [`ALIGNED_RECORDS_MAX`] are pushed.
        let place = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let mut is_repeated = false;
        match self.equal.entry(digest.record) {
            Entry::Vacant(entry) => drop(entry.insert((place, place))),
            Entry::Occupied(mut entry) => {
                let before = &mut self.records[entry.get().1 as usize];
                before.next_equal = NonZeroU32::new(place);
                before.is_repeated = true;
                entry.get_mut().1 = place;
                is_repeated = true;
            }
        }
        if let Some(before) = digest.key.and_then(|key| self.keys.insert(key, place)) {
            self.records[before as usize].is_superseded = true;
        }
        self.records.push(Wanted {
            target,
            digest: digest.record,
            next_equal: None,
            is_repeated,
            has_key: digest.key.is_some(),
            is_superseded: false,
        });
    }

    /// How many records there are.
    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Whether any record has this digest, also one that was found before.
    pub(super) fn has(&self, digest: u128) -> bool {
        self.equal.contains_key(&digest)
    }

    /// The record at a place, if it has this digest and is not before the one that was found last.
    pub(super) fn find_at(&mut self, place: i64, digest: u128) -> Option<Place> {
        let at = u64::try_from(place).ok().filter(|at| *at >= self.next)?;
        let wanted = self.records.get(usize::try_from(at).ok()?)?;
        if wanted.digest != digest {
            return None;
        }
        self.next = at + 1;
        Some(wanted.place(place))
    }

    /// The next record of the source, which cannot have a place behind `last`; none if it is not there, or not behind the one before it.
    pub(super) fn find(&mut self, digest: u128, last: i64) -> Option<Place> {
        let (first, _) = self.equal.get_mut(&digest)?;
        while u64::from(*first) < self.next {
            *first = self.records[*first as usize].next_equal?.get();
        }
        if i64::from(*first) > last {
            return None;
        }
        self.next = u64::from(*first) + 1;
        Some(self.records[*first as usize].place(i64::from(*first)))
    }
}

impl Wanted {
    fn place(&self, index: i64) -> Place {
        Place {
            index,
            target: self.target,
            is_unique: !self.is_repeated,
            is_last_of_key: !self.is_superseded && (self.has_key || !self.is_repeated),
        }
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

    /// Records with these digests and keys, from target offset 10 on.
    fn in_order(records: &[(u128, Option<u64>)]) -> InOrder {
        let mut tail = InOrder::default();
        for (target, &(record, key)) in (10..).zip(records) {
            tail.push(target, Digest { record, key });
        }
        tail
    }

    fn targets(tail: &mut InOrder, wanted: &[u128]) -> Vec<Option<i64>> {
        let found = wanted.iter().map(|digest| tail.find(*digest, i64::MAX));
        found.map(|found| found.map(|found| found.target)).collect()
    }

    #[test]
    fn records_that_compaction_took_from_the_source_are_passed_over() {
        let mut tail = in_order(&[(1, None), (2, None), (3, None), (4, None)]);
        // The last one is the first that was not copied.
        assert_eq!(targets(&mut tail, &[1, 3, 5]), [Some(10), Some(12), None]);
    }

    #[test]
    fn equal_records_are_counted() {
        let mut tail = in_order(&[(7, None), (7, None), (8, None), (7, None)]);
        let found = targets(&mut tail, &[7, 7, 7, 7, 8]);
        assert_eq!(found, [Some(10), Some(11), Some(13), None, None]);
    }

    #[test]
    fn what_lies_before_the_last_that_was_found_does_not_count() {
        let mut tail = in_order(&[(1, None), (2, None)]);
        assert_eq!(targets(&mut tail, &[2, 1]), [Some(11), None]);
    }

    #[test]
    fn a_record_has_no_place_behind_the_last_that_it_can_have() {
        let mut tail = in_order(&[(1, None), (2, None), (3, None)]);
        assert_eq!(tail.find(3, 1), None);
        assert_eq!(tail.find(3, 2).map(|found| found.target), Some(12));
        let mut tail = in_order(&[(1, None), (2, None), (3, None)]);
        let mut at = |place, digest| tail.find_at(place, digest).map(|found| found.target);
        assert_eq!((at(1, 3), at(3, 3), at(1, 2)), (None, None, Some(11)));
        assert_eq!(at(0, 1), None, "it is before the one that was found last");
    }

    #[test]
    fn it_is_told_what_is_unique_and_what_is_the_last_of_its_key() {
        let mut tail = in_order(&[(1, Some(5)), (2, Some(5)), (3, None), (3, None), (4, None)]);
        let found = [1, 2, 3, 3, 4].map(|digest| tail.find(digest, i64::MAX));
        let found = found.map(|found| found.map(|found| (found.is_unique, found.is_last_of_key)));
        let [first, last, repeated, _, alone] = found;
        assert_eq!((first, last), (Some((true, false)), Some((true, true))));
        assert_eq!((repeated, alone), (Some((false, false)), Some((true, true))));
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
