//! Records in every form that a fetch can answer with, and what a broker checks in what is made of them.

use bytes::Bytes;

use super::*;
use crate::{
    batch::{BatchView, Batches, NO_LEADER_EPOCH, NO_TIMESTAMP, TimestampType},
    builder::{BatchBuilder, NewRecord},
    compression,
    record::HeaderView,
};

mod hostile;
mod legacy;
mod merged;
mod property;
mod rules;

const TIME: i64 = 1_700_000_000_000;

/// A record as a consumer of the source sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rec {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn rec(offset: i64) -> Rec {
    Rec {
        offset,
        timestamp: TIME - offset * 3,
        key: (offset % 3 != 0).then(|| format!("key {offset}").into_bytes()),
        value: (offset % 4 != 1).then(|| format!("value {offset}").repeat(5).into_bytes()),
        headers: (0..offset % 3)
            .map(|i| (b"h".to_vec(), (i != 1).then(|| vec![7])))
            .collect(),
    }
}

fn recs(offsets: impl IntoIterator<Item = i64>) -> Vec<Rec> {
    offsets.into_iter().map(rec).collect()
}

/// A batch of these records, from the first one's offset on.
fn batch(records: &[Rec], edit: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Vec<u8> {
    batch_from(records[0].offset, records, edit)
}

fn batch_from(base: i64, records: &[Rec], edit: impl FnOnce(BatchBuilder) -> BatchBuilder) -> Vec<u8> {
    let mut builder = edit(BatchBuilder::new().base_offset(base).leader_epoch(3));
    for record in records {
        let headers = record.headers.iter().map(|(key, value)| HeaderView {
            key,
            value: value.as_deref(),
        });
        let delta = i32::try_from(record.offset - base).unwrap();
        builder.push_at(
            delta,
            NewRecord {
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers.collect::<Vec<_>>(),
            },
        );
    }
    builder.build().unwrap()
}

/// The marker that ends a producer's transaction.
fn marker(offset: i64, producer: i64, commit: bool) -> Vec<u8> {
    let key = [0, 0, 0, u8::from(commit)];
    let mut builder = BatchBuilder::new().base_offset(offset).producer(producer, 0, -1);
    builder = builder.transactional().control();
    builder.push(NewRecord {
        timestamp: TIME,
        key: Some(&key),
        value: Some(&[0; 6]),
        headers: &[],
    });
    builder.build().unwrap()
}

fn convert(options: Options, start: i64, answer: &[u8], aborted: &[(i64, i64)]) -> (Vec<Ready>, Converted) {
    let (ready, outcome) = try_convert(options, start, answer, aborted);
    (ready, outcome.unwrap())
}

fn try_convert(
    options: Options,
    start: i64,
    answer: &[u8],
    aborted: &[(i64, i64)],
) -> (Vec<Ready>, Result<Converted, ConvertError>) {
    let mut converter = Converter::new(options);
    converter.start_at(start);
    let mut ready = Vec::new();
    let outcome = converter.convert(&Bytes::copy_from_slice(answer), aborted, &mut ready);
    (ready, outcome)
}

/// The records of batches, once a broker would have taken each of them.
fn taken(ready: &[Ready]) -> Vec<Rec> {
    ready.iter().flat_map(taken_one).collect()
}

fn taken_one(ready: &Ready) -> Vec<Rec> {
    let sealed = ready.seal(41, 5, 17);
    assert_eq!(sealed, ready.seal_pieces(41, 5, 17).concat());
    assert_eq!(sealed.len(), ready.size());
    let mut batches = Batches::new(&sealed);
    let batch = batches.next().unwrap().unwrap();
    assert!(batches.next().is_none() && !batches.is_truncated(), "one batch");
    batch.check_crc().unwrap();
    let header = *batch.header();
    assert_eq!(
        (header.base_offset, header.partition_leader_epoch),
        (0, NO_LEADER_EPOCH)
    );
    assert_eq!(
        (header.producer_id, header.producer_epoch, header.base_sequence),
        (41, 5, 17)
    );
    assert_eq!(header.attributes, header.compression().unwrap().id(), "no flags");
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert_eq!(header.last_offset_delta + 1, header.records_count);
    assert_eq!(header.records_count, ready.records);
    let plain = batch.decompress(1 << 28).unwrap();
    let records: Vec<_> = batch.records(&plain).map(Result::unwrap).collect();
    assert_eq!(records.len(), usize::try_from(ready.records).unwrap());
    assert_eq!(ready.source.count(), i64::from(ready.records));
    assert!(ready.source.last().unwrap() < ready.next);
    let mut largest = NO_TIMESTAMP;
    let mut seen = Vec::new();
    for (index, (record, offset)) in records.iter().zip(ready.source.offsets()).enumerate() {
        assert_eq!(record.offset_delta, i32::try_from(index).unwrap());
        let timestamp = header.timestamp(record.timestamp_delta);
        largest = largest.max(timestamp);
        seen.push(Rec {
            offset,
            timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        });
    }
    assert_eq!((header.max_timestamp, ready.max_timestamp), (largest, largest));
    seen
}

fn hows(ready: &[Ready]) -> Vec<How> {
    ready.iter().map(|ready| ready.how).collect()
}

/// How messages of format 0 and 1 are written.
#[derive(Debug, Clone, Copy)]
struct Old {
    magic: u8,
    codec: Compression,
    stamped: bool,
    /// The wrong checksum in the header of LZ4 frames (KAFKA-3160).
    wrong_lz4: bool,
}

impl Old {
    fn plain(magic: u8) -> Old {
        Old {
            magic,
            codec: Compression::None,
            stamped: false,
            wrong_lz4: false,
        }
    }

    /// These records, compressed together if that is asked for.
    fn write(self, records: &[Rec]) -> Vec<u8> {
        if self.codec == Compression::None {
            let write = |r: &Rec| self.message(r.offset, r.timestamp, r.key.as_deref(), r.value.as_deref());
            return records.iter().flat_map(write).collect();
        }
        let inner = Old {
            codec: Compression::None,
            stamped: false,
            ..self
        };
        let first = records[0].offset;
        let write = |r: &Rec| {
            let offset = if self.magic == 0 {
                r.offset
            } else {
                r.offset - first
            };
            inner.message(offset, r.timestamp, r.key.as_deref(), r.value.as_deref())
        };
        let inner: Vec<u8> = records.iter().flat_map(write).collect();
        let mut value = compression::compress(self.codec, None, &inner).unwrap();
        if self.wrong_lz4 && self.codec == Compression::Lz4 {
            value[6] = super::lz4::header_checksum(&value[..6]);
        }
        let largest = records.iter().map(|r| r.timestamp).max().unwrap();
        self.message(records.last().unwrap().offset, largest, None, Some(&value))
    }

    /// What consumers see of a record that is written so.
    fn seen(self, record: &Rec, largest: i64) -> Rec {
        let compressed = self.codec != Compression::None;
        Rec {
            timestamp: match self.magic {
                0 => NO_TIMESTAMP,
                _ if self.stamped && compressed => largest,
                _ => record.timestamp,
            },
            headers: Vec::new(),
            ..record.clone()
        }
    }

    fn message(self, offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> Vec<u8> {
        let stamped = if self.stamped && self.magic > 0 { 8 } else { 0 };
        let mut body = vec![self.magic, u8::try_from(self.codec.id()).unwrap() | stamped];
        if self.magic > 0 {
            body.extend(timestamp.to_be_bytes());
        }
        for part in [key, value] {
            let length = part.map_or(-1, |part| i32::try_from(part.len()).unwrap());
            body.extend(length.to_be_bytes());
            body.extend(part.unwrap_or_default());
        }
        let size = i32::try_from(body.len() + 4).unwrap();
        let crc = super::legacy::crc32(&body);
        [
            &offset.to_be_bytes()[..],
            &size.to_be_bytes(),
            &crc.to_be_bytes(),
            &body,
        ]
        .concat()
    }
}
