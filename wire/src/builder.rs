//! Builds record batches, record by record: for tools, for tests, and for batches that must be rebuilt on their way.

use crate::batch::{
    self, BatchError, BatchHeader, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
    NO_TIMESTAMP, TimestampType,
};
use crate::compression::{self, Compression};
use crate::record::{HeaderView, put_varint};

/// A batch in the making. Records get the next offset each, unless a delta is given.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Compression,
    level: Option<i32>,
    timestamp_type: TimestampType,
    transactional: bool,
    control: bool,
    records: Vec<u8>,
    body: Vec<u8>,
}

/// A record to be written. Headers are written in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The key, or null.
    pub key: Option<&'a [u8]>,
    /// The value, or null.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [HeaderView<'a>],
}

impl Default for BatchBuilder {
    fn default() -> Self {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty batch at offset 0, as a producer that is not idempotent sends it.
    pub fn new() -> Self {
        BatchBuilder {
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                partition_leader_epoch: NO_LEADER_EPOCH,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            codec: Compression::None,
            level: None,
            timestamp_type: TimestampType::CreateTime,
            transactional: false,
            control: false,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sets the base offset.
    #[must_use]
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Sets the partition leader epoch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// Sets the codec, and its level (`None`: the codec's default).
    #[must_use]
    pub fn compression(mut self, codec: Compression, level: Option<i32>) -> Self {
        self.codec = codec;
        self.level = level;
        self
    }

    /// Sets the producer's id and epoch, and the sequence number of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.transactional = true;
        self
    }

    /// Marks the batch as a control batch.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    /// Marks the batch as stamped by a broker at `time_ms`.
    #[must_use]
    pub fn log_append_time(mut self, time_ms: i64) -> Self {
        self.timestamp_type = TimestampType::LogAppendTime;
        self.header.max_timestamp = time_ms;
        self
    }

    /// Adds a record at the next offset.
    pub fn push(&mut self, record: NewRecord<'_>) -> &mut Self {
        let delta = self.header.last_offset_delta.saturating_add(1);
        self.push_at(delta, record)
    }

    /// Adds a record at `offset_delta` from the base offset. Deltas are the caller's to keep in order.
    pub fn push_at(&mut self, offset_delta: i32, record: NewRecord<'_>) -> &mut Self {
        if self.header.records_count == 0 {
            self.header.base_timestamp = record.timestamp;
        }
        if self.timestamp_type == TimestampType::CreateTime {
            self.header.max_timestamp = self.header.max_timestamp.max(record.timestamp);
        }
        self.header.last_offset_delta = self.header.last_offset_delta.max(offset_delta);
        self.header.records_count = self.header.records_count.saturating_add(1);
        let timestamp_delta = record.timestamp.wrapping_sub(self.header.base_timestamp);
        self.body.clear();
        put_record(
            &mut self.body,
            (0, timestamp_delta, offset_delta),
            (record.key, record.value),
            record.headers.iter().copied(),
        );
        put_length(&mut self.records, self.body.len());
        self.records.extend_from_slice(&self.body);
        self
    }

    /// Says that the batch covers offsets up to `last_offset_delta`, as after compaction has removed the last records.
    pub fn cover(&mut self, last_offset_delta: i32) -> &mut Self {
        self.header.last_offset_delta = last_offset_delta;
        self
    }

    /// How many records were added.
    pub fn len(&self) -> usize {
        usize::try_from(self.header.records_count).unwrap_or(0)
    }

    /// Whether no record was added.
    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// Bytes of the records so far, before compression.
    pub fn uncompressed_size(&self) -> usize {
        self.records.len()
    }

    /// The finished batch.
    pub fn build(&self) -> Result<Vec<u8>, BatchError> {
        let payload = compression::compress(self.codec, self.level, &self.records)?;
        let attributes = batch::attributes(self.codec, self.timestamp_type, self.transactional, self.control);
        let last_offset_delta = self.header.last_offset_delta.max(0);
        batch::assemble(
            BatchHeader {
                attributes,
                last_offset_delta,
                ..self.header
            },
            &payload,
        )
    }
}

/// A record without its length: attributes, timestamp and offset delta, key and value, headers.
pub(crate) fn put_record<'h>(
    out: &mut Vec<u8>,
    (attributes, timestamp_delta, offset_delta): (i8, i64, i32),
    (key, value): (Option<&[u8]>, Option<&[u8]>),
    headers: impl ExactSizeIterator<Item = HeaderView<'h>>,
) {
    out.extend_from_slice(&attributes.to_be_bytes());
    put_varint(out, timestamp_delta);
    put_varint(out, i64::from(offset_delta));
    put_nullable(out, key);
    put_nullable(out, value);
    put_length(out, headers.len());
    for header in headers {
        put_length(out, header.key.len());
        out.extend_from_slice(header.key);
        put_nullable(out, header.value);
    }
}

pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    // Slices never hold more than isize::MAX bytes, so nothing is cut.
    put_varint(out, i64::try_from(length).unwrap_or(i64::MAX));
}

pub(crate) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_length(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}
