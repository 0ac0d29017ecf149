//! The record batch, format 2 (magic 2): a view over raw bytes, and what may be changed in place.
//!
//! A batch is a header of 61 bytes and its records, compressed as a whole. Brokers and mirrors carry batches as they
//! are; only a few fields of the header change hands on the way. Base offset and partition leader epoch lie outside
//! the checksum (CRC-32C, from the attributes to the end), everything else is sealed by it.

use std::borrow::Cow;

use thiserror::Error;

use crate::compression::{self, Compression, CompressionError, Decompressed};
use crate::record::{RecordError, Records};

mod header;
mod retain;

use header::{
    ATTRIBUTES_AT, COMPRESSION_MASK, CONTROL_BIT, CRC_AT, DELETE_HORIZON_BIT, TIMESTAMP_TYPE_BIT,
    TRANSACTIONAL_BIT,
};
pub use header::{BatchHeader, TimestampType, add_sequence, subtract_sequence};
pub use retain::Retained;

/// Bytes of a batch's header, before its records.
pub const HEADER_SIZE: usize = 61;
/// Bytes before and including the batch length field, which does not count them.
pub const LENGTH_PREFIX: usize = 12;
/// The only record format that is in use since Kafka 4.0.
pub const MAGIC: i8 = 2;
/// The producer id of a batch whose producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// The producer epoch of a batch whose producer is not idempotent.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// The base sequence of a batch whose producer is not idempotent, and of control batches.
pub const NO_SEQUENCE: i32 = -1;
/// The timestamp of a batch or record that has none.
pub const NO_TIMESTAMP: i64 = -1;
/// The partition leader epoch of a batch that no broker has stamped yet.
pub const NO_LEADER_EPOCH: i32 = -1;

/// One whole batch in a byte slice. Its lengths are checked, its checksum only by [`BatchView::check_crc`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchView<'a> {
    bytes: &'a [u8],
    header: BatchHeader,
}

/// One whole batch that may be patched in place.
#[derive(Debug)]
pub struct BatchMut<'a> {
    bytes: &'a mut [u8],
}

/// Splits a buffer of batches, one after another, as Fetch and Produce carry them and segments hold them.
///
/// Yields an error for a batch that is malformed, and then nothing more. A last batch that is cut short is no error:
/// the iterator ends, [`Batches::is_truncated`] tells so and [`Batches::consumed`] says where it starts.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    consumed: usize,
    ended: bool,
    truncated: bool,
}

/// What is wrong with a batch.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// There are fewer bytes than the batch needs.
    #[error("record batch is cut short: it needs {needed} bytes and {available} are there")]
    Truncated {
        /// Bytes that the batch needs, as far as can be told.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// The length field is too small to hold a header, or negative.
    #[error("record batch at offset {base_offset} gives its length as {length}, less than its header takes")]
    Length {
        /// The batch's base offset.
        base_offset: i64,
        /// The length field.
        length: i32,
    },
    /// A message format before Kafka 0.11, or none at all.
    #[error("record batch at offset {base_offset} has magic {magic}; only format 2 is known")]
    Magic {
        /// The batch's base offset.
        base_offset: i64,
        /// The magic byte.
        magic: i8,
    },
    /// The bytes are not those that were sealed.
    #[error(
        "record batch at offset {base_offset} is corrupt: its checksum is {stored:#010x}, its bytes give {computed:#010x}"
    )]
    Crc {
        /// The batch's base offset.
        base_offset: i64,
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// The records cannot be decompressed or compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is malformed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The batch would not fit the length field.
    #[error("a record batch of {0} bytes is larger than the format can hold")]
    TooLarge(usize),
}

impl<'a> BatchView<'a> {
    /// Takes the first batch of `bytes`; more may follow it.
    pub fn parse(bytes: &'a [u8]) -> Result<BatchView<'a>, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size();
        let bytes = bytes.get(..needed).ok_or(BatchError::Truncated {
            needed,
            available: bytes.len(),
        })?;
        Ok(BatchView { bytes, header })
    }

    /// The header's fields.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The record section, compressed as the header says.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_SIZE..]
    }

    /// Whether the bytes are those that the checksum was made of.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]);
        let stored = self.header.crc;
        if computed == stored {
            return Ok(());
        }
        Err(BatchError::Crc {
            base_offset: self.header.base_offset,
            stored,
            computed,
        })
    }

    /// The record section, decompressed to at most `limit` bytes (an uncompressed one is lent as it is).
    pub fn decompress(&self, limit: usize) -> Result<Cow<'a, [u8]>, BatchError> {
        Ok(compression::decompress(
            self.header.compression()?,
            self.payload(),
            limit,
        )?)
    }

    /// As [`BatchView::decompress`], except that the beginning of what is too large is given back.
    pub fn decompress_up_to(&self, limit: usize) -> Result<Decompressed<'a>, BatchError> {
        Ok(compression::decompress_up_to(
            self.header.compression()?,
            self.payload(),
            limit,
        )?)
    }

    /// The records, from what [`BatchView::decompress`] gave.
    pub fn records<'b>(&self, decompressed: &'b [u8]) -> Records<'b> {
        Records::new(decompressed, self.header.records_count)
    }

    /// The same batch with its records compressed by another codec: same offsets, timestamps, producer and flags.
    /// `level` is the codec's; `limit` bounds the decompressed bytes.
    pub fn recompress(
        &self,
        codec: Compression,
        level: Option<i32>,
        limit: usize,
    ) -> Result<Vec<u8>, BatchError> {
        let payload = compression::compress(codec, level, &self.decompress(limit)?)?;
        let attributes = (self.header.attributes & !COMPRESSION_MASK) | codec.id();
        assemble(
            BatchHeader {
                attributes,
                ..self.header
            },
            &payload,
        )
    }
}

impl<'a> BatchMut<'a> {
    /// Takes a slice that is exactly one batch.
    pub fn parse(bytes: &'a mut [u8]) -> Result<BatchMut<'a>, BatchError> {
        let size = BatchView::parse(bytes)?.bytes.len();
        Ok(BatchMut {
            bytes: &mut bytes[..size],
        })
    }

    /// Sets the base offset, which is outside the checksum.
    pub fn set_base_offset(&mut self, base_offset: i64) {
        self.put(0, &base_offset.to_be_bytes());
    }

    /// Sets the partition leader epoch, which is outside the checksum.
    pub fn set_partition_leader_epoch(&mut self, epoch: i32) {
        self.put(12, &epoch.to_be_bytes());
    }

    /// Sets where timestamps come from, and the max timestamp. Breaks the checksum until [`BatchMut::seal`].
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, max_timestamp: i64) {
        let attributes = i16::from_be_bytes([self.bytes[ATTRIBUTES_AT], self.bytes[ATTRIBUTES_AT + 1]])
            & !TIMESTAMP_TYPE_BIT;
        let attributes = match timestamp_type {
            TimestampType::CreateTime => attributes,
            TimestampType::LogAppendTime => attributes | TIMESTAMP_TYPE_BIT,
        };
        self.set_attributes(attributes);
        self.put(35, &max_timestamp.to_be_bytes());
    }

    /// Takes the delete horizon's flag away. Breaks the checksum until [`BatchMut::seal`].
    pub fn clear_delete_horizon(&mut self) {
        self.set_attributes(self.attributes() & !DELETE_HORIZON_BIT);
    }

    /// Sets all attribute bits. Breaks the checksum until [`BatchMut::seal`].
    pub fn set_attributes(&mut self, attributes: i16) {
        self.put(ATTRIBUTES_AT, &attributes.to_be_bytes());
    }

    /// Sets the idempotent producer's fields. Breaks the checksum until [`BatchMut::seal`].
    pub fn set_producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        self.put(43, &id.to_be_bytes());
        self.put(51, &epoch.to_be_bytes());
        self.put(53, &base_sequence.to_be_bytes());
    }

    /// Recomputes the checksum.
    pub fn seal(&mut self) {
        let crc = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]);
        self.put(CRC_AT, &crc.to_be_bytes());
    }

    fn attributes(&self) -> i16 {
        i16::from_be_bytes([self.bytes[ATTRIBUTES_AT], self.bytes[ATTRIBUTES_AT + 1]])
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }
}

impl<'a> Batches<'a> {
    /// Splits `bytes` from its start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Batches {
            bytes,
            consumed: 0,
            ended: false,
            truncated: false,
        }
    }

    /// Bytes of the whole batches that were yielded so far.
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// Whether the iterator has ended at a batch that is cut short.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self
            .bytes
            .get(self.consumed..)
            .filter(|rest| !rest.is_empty() && !self.ended)?;
        match BatchView::parse(rest) {
            Ok(batch) => {
                self.consumed += batch.bytes.len();
                Some(Ok(batch))
            }
            Err(BatchError::Truncated { .. }) => {
                (self.ended, self.truncated) = (true, true);
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}

/// Puts a header before a record section that is compressed already; length and checksum are filled in.
pub(crate) fn assemble(mut header: BatchHeader, payload: &[u8]) -> Result<Vec<u8>, BatchError> {
    let size = HEADER_SIZE + payload.len();
    header.batch_length = i32::try_from(size - LENGTH_PREFIX).map_err(|_| BatchError::TooLarge(size))?;
    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(payload);
    BatchMut { bytes: &mut out }.seal();
    Ok(out)
}

/// The flags of [`crate::builder::BatchBuilder`], as attribute bits.
pub(crate) fn attributes(codec: Compression, kind: TimestampType, transactional: bool, control: bool) -> i16 {
    let flag = |set: bool, bit: i16| if set { bit } else { 0 };
    codec.id()
        | flag(kind == TimestampType::LogAppendTime, TIMESTAMP_TYPE_BIT)
        | flag(transactional, TRANSACTIONAL_BIT)
        | flag(control, CONTROL_BIT)
}

#[cfg(test)]
mod tests;
