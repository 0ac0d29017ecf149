//! Puts batches together from records: as few as the target's limit allows, in order.

use super::{Body, ConvertError, ConvertReason, How, Options, Ready, RunList};
use crate::{
    batch::{
        self, BatchError, BatchHeader, HEADER_SIZE, NO_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID,
        NO_SEQUENCE, NO_TIMESTAMP,
    },
    builder::{put_length, put_nullable},
    compression::{self, Compression},
    record::{put_varint, varint_size},
};

/// A record on its way from one batch to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its offset in the source.
    pub(super) offset: i64,
    /// Milliseconds; as a consumer of the source sees it.
    pub(super) timestamp: i64,
    /// Unused by Kafka so far.
    pub(super) attributes: i8,
    /// Bytes of its key and its value.
    pub(super) key_value_bytes: usize,
    /// What does not depend on its place.
    pub(super) parts: Parts<'a>,
}

/// Key, value and headers of a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parts<'a> {
    /// As they lie in a batch, so that nothing about them can change.
    Written(&'a [u8]),
    /// Those of a message of format 0 or 1, which has no headers.
    Plain(Option<&'a [u8]>, Option<&'a [u8]>),
}

/// Which of a source's records are wanted.
pub(super) trait Wanted: Fn(i64) -> bool {}

impl<F: Fn(i64) -> bool> Wanted for F {}

/// Puts those of the records that are wanted into batches. An error of the source leaves `into` as it is; one record
/// that is too large leaves there what comes before it.
///
/// How many bytes of records a compressed batch can hold is not known beforehand. All of them are tried first; if that
/// is too large, the ratio found tells where to cut, and half of it if that was too much again.
pub(super) fn rebuild<'a>(
    source: impl Iterator<Item = Result<Item<'a>, ConvertError>> + Clone,
    codec: Compression,
    options: &Options,
    wanted: &impl Wanted,
    into: &mut Vec<Ready>,
) -> Result<(), ConvertError> {
    let limit = options.max_batch_bytes;
    let room = limit.saturating_sub(HEADER_SIZE);
    let first = into.len();
    let mut budget = if codec == Compression::None {
        room
    } else {
        usize::MAX
    };
    let mut start = source;
    let mut section = Section::default();
    loop {
        section.clear();
        let rest = section
            .fill(start.clone(), budget, wanted)
            .inspect_err(|_| into.truncate(first))?;
        let Some(offset) = section.runs.first() else { break };
        let failed = |error: BatchError| ConvertError::new(offset, error);
        let packed =
            compression::compress(codec, options.level, &section.bytes).map_err(|e| failed(e.into()))?;
        if packed.len() > room {
            if section.count == 1 {
                let size = HEADER_SIZE + packed.len();
                let error = ConvertError::new(offset, ConvertReason::RecordTooLarge { size, limit });
                return Err(error.before(offset.saturating_add(1)));
            }
            budget = smaller(section.bytes.len(), packed.len(), room, budget != usize::MAX);
            continue;
        }
        if budget != usize::MAX && codec != Compression::None {
            // What follows may be compressed better, or worse.
            let estimate = estimate(section.bytes.len(), packed.len(), room);
            budget = estimate.clamp(budget / 2, budget.saturating_mul(2));
        }
        let ready = section.ready(codec, &packed, How::Rebuilt).map_err(failed)?;
        into.push(ready);
        match rest {
            Some(rest) => start = rest,
            None => break,
        }
    }
    if into.len() > first + 1 {
        into[first..].iter_mut().for_each(|ready| ready.how = How::Split);
    }
    Ok(())
}

/// The record section of a batch in the making.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: RunList,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    key_value_bytes: u64,
}

impl Section {
    fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Section {
            bytes,
            ..Section::default()
        };
    }

    /// Adds a record behind the others.
    pub(super) fn push(&mut self, item: &Item<'_>) {
        let head = self.head(item);
        if self.count == 0 {
            self.base_timestamp = item.timestamp;
            self.max_timestamp = NO_TIMESTAMP;
        }
        self.max_timestamp = self.max_timestamp.max(item.timestamp);
        self.runs.push(item.offset, 1);
        self.key_value_bytes += item.key_value_bytes as u64;
        put_length(&mut self.bytes, head.body);
        self.bytes.extend_from_slice(&item.attributes.to_be_bytes());
        put_varint(&mut self.bytes, head.timestamp_delta);
        put_varint(&mut self.bytes, i64::from(self.count));
        match item.parts {
            Parts::Written(bytes) => self.bytes.extend_from_slice(bytes),
            Parts::Plain(key, value) => {
                put_nullable(&mut self.bytes, key);
                put_nullable(&mut self.bytes, value);
                put_length(&mut self.bytes, 0);
            }
        }
        self.count = self.count.saturating_add(1);
    }

    /// The batch of these records, from their compressed bytes.
    pub(super) fn ready(&mut self, codec: Compression, packed: &[u8], how: How) -> Result<Ready, BatchError> {
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            partition_leader_epoch: NO_LEADER_EPOCH,
            crc: 0,
            attributes: codec.id(),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            records_count: self.count,
        };
        let bytes = batch::assemble(header, packed)?;
        let source = std::mem::take(&mut self.runs);
        Ok(Ready {
            next: source.last().map_or(0, |last| last.saturating_add(1)),
            source,
            max_timestamp: self.max_timestamp,
            records: self.count,
            how,
            key_value_bytes: Some(self.key_value_bytes),
            bytes: Body::new(BatchHeader::parse(&bytes)?, bytes.into()),
        })
    }

    /// Takes records until one more would go beyond `budget`, but at least one. Gives the source from that one on, or
    /// `None` if it has no more.
    fn fill<'a, I>(
        &mut self,
        mut source: I,
        budget: usize,
        wanted: &impl Wanted,
    ) -> Result<Option<I>, ConvertError>
    where
        I: Iterator<Item = Result<Item<'a>, ConvertError>> + Clone,
    {
        loop {
            let before = source.clone();
            let Some(item) = source.next().transpose()? else {
                return Ok(None);
            };
            if !wanted(item.offset) {
                continue;
            }
            let bounded = self.bytes.len().saturating_add(self.head(&item).size());
            if self.count > 0 && (bounded > budget || self.count == i32::MAX) {
                return Ok(Some(before));
            }
            self.push(&item);
        }
    }

    fn head(&self, item: &Item<'_>) -> Head {
        let base = if self.count == 0 {
            item.timestamp
        } else {
            self.base_timestamp
        };
        let timestamp_delta = item.timestamp.wrapping_sub(base);
        let parts = match item.parts {
            Parts::Written(bytes) => bytes.len(),
            Parts::Plain(key, value) => nullable_size(key) + nullable_size(value) + 1,
        };
        Head {
            timestamp_delta,
            body: 1 + varint_size(timestamp_delta) + varint_size(i64::from(self.count)) + parts,
        }
    }
}

/// What the place of a record in its batch makes of it.
struct Head {
    timestamp_delta: i64,
    /// Bytes behind the record's length.
    body: usize,
}

impl Head {
    fn size(&self) -> usize {
        length_size(self.body) + self.body
    }
}

fn length_size(length: usize) -> usize {
    varint_size(i64::try_from(length).unwrap_or(i64::MAX))
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| length_size(bytes.len()) + bytes.len())
}

/// How many bytes of records fill `room`, if `bytes` of them take `packed`; a little less, as ratios differ.
fn estimate(bytes: usize, packed: usize, room: usize) -> usize {
    let exact = bytes as u128 * room as u128 / packed.max(1) as u128;
    usize::try_from(exact / 100 * 97).unwrap_or(usize::MAX)
}

/// A budget to try after `bytes` of records took `packed`, which is more than `room`.
fn smaller(bytes: usize, packed: usize, room: usize, again: bool) -> usize {
    let estimate = estimate(bytes, packed, room);
    if again { estimate.min(bytes / 2) } else { estimate }
}
