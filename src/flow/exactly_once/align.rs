//! Holding records of the target against records of the source by what they contain, where counting does not do.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use heliostat_wire::batch::{BatchError, BatchView, TimestampType};

/// The most that the records of one batch may grow to when they are decompressed.
const RECORDS_BYTES_MAX: usize = 256 << 20;

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
    let header = batch.header();
    let bytes = batch.decompress(RECORDS_BYTES_MAX)?;
    let mut found = Vec::new();
    for record in batch.records(&bytes) {
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
