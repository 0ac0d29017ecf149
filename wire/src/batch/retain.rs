//! What compaction leaves of a batch: some of its records, or none.
//!
//! Offsets, sequence numbers, producer and leader epoch stay as they are, so that nobody can tell from the next
//! batch that something is missing. KIP-534's delete horizon takes the place of the base timestamp; the records'
//! deltas are shifted so that their timestamps stay.

use super::header::{
    COMPRESSION_MASK, CONTROL_BIT, DELETE_HORIZON_BIT, TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT,
};
use super::{BatchError, BatchHeader, BatchView, NO_TIMESTAMP, TimestampType, assemble};
use crate::builder::{put_length, put_record};
use crate::compression;
use crate::record::RecordView;

/// How the rest of a batch is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// The codec's level; the codec stays. `None` is the codec's default.
    pub level: Option<i32>,
    /// The delete horizon that the batch gets, in milliseconds. `None` leaves it without one.
    pub delete_horizon: Option<i64>,
}

impl BatchView<'_> {
    /// The batch with those of its records that `keep` says yes to; it is asked once for each, in order.
    /// `decompressed` is what [`BatchView::decompress`] gave. As Kafka does, the max timestamp becomes that of the
    /// records that are left, unless the batch was stamped at its append.
    pub fn retain(
        &self,
        decompressed: &[u8],
        how: Retained,
        keep: &mut dyn FnMut(&RecordView<'_>) -> bool,
    ) -> Result<Vec<u8>, BatchError> {
        let header = self.header();
        let codec = header.compression()?;
        let (mut records, mut body) = (Vec::new(), Vec::new());
        let mut base_timestamp = how.delete_horizon;
        let (mut max_timestamp, mut count) = (NO_TIMESTAMP, 0i32);
        for record in self.records(decompressed) {
            let record = record?;
            if !keep(&record) {
                continue;
            }
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            let base = *base_timestamp.get_or_insert(timestamp);
            max_timestamp = max_timestamp.max(timestamp);
            count = count.saturating_add(1);
            body.clear();
            put_record(
                &mut body,
                (
                    record.attributes,
                    timestamp.wrapping_sub(base),
                    record.offset_delta,
                ),
                (record.key, record.value),
                record.headers,
            );
            put_length(&mut records, body.len());
            records.extend_from_slice(&body);
        }
        let kept_bits = COMPRESSION_MASK | TIMESTAMP_TYPE_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;
        let horizon_bit = how.delete_horizon.map_or(0, |_| DELETE_HORIZON_BIT);
        let rest = BatchHeader {
            attributes: (header.attributes & kept_bits) | horizon_bit,
            base_timestamp: base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: match header.timestamp_type() {
                TimestampType::CreateTime => max_timestamp,
                TimestampType::LogAppendTime => header.max_timestamp,
            },
            records_count: count,
            ..*header
        };
        assemble(rest, &compression::compress(codec, how.level, &records)?)
    }

    /// The batch without any record: what is left when only its offsets and its producer's sequence numbers matter.
    pub fn emptied(&self) -> Result<Vec<u8>, BatchError> {
        let header = self.header();
        let kept_bits = TIMESTAMP_TYPE_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;
        let rest = BatchHeader {
            attributes: header.attributes & kept_bits,
            base_timestamp: NO_TIMESTAMP,
            records_count: 0,
            ..*header
        };
        assemble(rest, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{BatchBuilder, NewRecord};
    use crate::compression::Compression;
    use crate::record::HeaderView;

    const LIMIT: usize = 1 << 20;

    /// Offset, timestamp, key, value and number of headers of each record.
    type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn sent(codec: Compression, stamped: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new()
            .base_offset(100)
            .leader_epoch(4)
            .producer(7, 2, i32::MAX - 1)
            .transactional()
            .compression(codec, None);
        if stamped {
            builder = builder.log_append_time(9_000);
        }
        let headers = [
            HeaderView {
                key: b"h",
                value: Some(b"1"),
            },
            HeaderView {
                key: b"h",
                value: None,
            },
        ];
        for i in 0..6u8 {
            builder.push(NewRecord {
                timestamp: 1_000 - i64::from(i),
                key: (i != 3).then_some(&[b'k', i][..]),
                value: (i != 4).then_some(&[b'v'; 30][..]),
                headers: &headers[..usize::from(i % 3)],
            });
        }
        builder.build().unwrap()
    }

    fn seen(bytes: &[u8]) -> Vec<Seen> {
        let batch = BatchView::parse(bytes).unwrap();
        batch.check_crc().unwrap();
        let plain = batch.decompress(LIMIT).unwrap();
        let records = batch.records(&plain).map(Result::unwrap);
        let header = *batch.header();
        records
            .map(|r| {
                let at = (header.offset(r.offset_delta), header.timestamp(r.timestamp_delta));
                (
                    at.0,
                    at.1,
                    r.key.map(<[u8]>::to_vec),
                    r.value.map(<[u8]>::to_vec),
                    r.headers.len(),
                )
            })
            .collect()
    }

    #[test]
    fn what_is_kept_stays_as_it_was() {
        for codec in Compression::ALL {
            for (stamped, horizon) in [
                (false, None),
                (false, Some(5_000_000)),
                (true, Some(3)),
                (true, None),
            ] {
                let bytes = sent(codec, stamped);
                let batch = BatchView::parse(&bytes).unwrap();
                let how = Retained {
                    level: None,
                    delete_horizon: horizon,
                };
                let plain = batch.decompress(LIMIT).unwrap();
                let rest = batch
                    .retain(&plain, how, &mut |r| r.offset_delta % 2 == 0)
                    .unwrap();
                let before: Vec<_> = seen(&bytes).into_iter().filter(|r| r.0 % 2 == 0).collect();
                assert_eq!(seen(&rest), before, "{codec} {stamped} {horizon:?}");
                let (old, new) = (batch.header(), *BatchView::parse(&rest).unwrap().header());
                assert_eq!(new.delete_horizon(), horizon);
                assert_eq!((new.base_offset, new.last_offset()), (100, 105));
                assert_eq!(
                    (new.last_sequence(), new.producer_id, new.producer_epoch),
                    (3, 7, 2)
                );
                assert_eq!((new.partition_leader_epoch, new.records_count), (4, 3));
                assert_eq!(new.max_timestamp, if stamped { 9_000 } else { 1_000 });
                assert_eq!(
                    (new.compression(), new.is_transactional()),
                    (old.compression(), true)
                );
            }
        }
    }

    #[test]
    fn an_emptied_batch_keeps_its_place_and_its_sequence() {
        let bytes = sent(Compression::Zstd, false);
        let batch = BatchView::parse(&bytes).unwrap();
        let empty = batch.emptied().unwrap();
        assert_eq!(seen(&empty), []);
        let (old, new) = (batch.header(), *BatchView::parse(&empty).unwrap().header());
        assert_eq!(empty.len(), super::super::HEADER_SIZE);
        assert_eq!(
            (new.base_offset, new.last_offset()),
            (old.base_offset, old.last_offset())
        );
        assert_eq!(
            (new.base_sequence, new.last_sequence()),
            (old.base_sequence, old.last_sequence())
        );
        assert_eq!((new.max_timestamp, new.base_timestamp), (1_000, NO_TIMESTAMP));
        assert_eq!((new.compression(), new.records_count), (Ok(Compression::None), 0));
    }
}
