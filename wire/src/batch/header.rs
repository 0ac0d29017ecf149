//! The header of a batch, decoded, and the arithmetic of its offsets, sequence numbers and flags.

use super::{BatchError, HEADER_SIZE, LENGTH_PREFIX, MAGIC, NO_PRODUCER_ID, NO_SEQUENCE};
use crate::compression::{Compression, CompressionError};

/// The fields of a batch's header, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record that the batch was written with (compaction may have removed it since).
    pub base_offset: i64,
    /// Bytes that follow the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; not under the checksum.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// Codec and flags, see the methods.
    pub attributes: i16,
    /// Last offset of the batch, from its base offset; stays when compaction removes records.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from; the delete horizon, if that flag is set. Milliseconds.
    pub base_timestamp: i64,
    /// The largest timestamp of the records; the time of append, for LogAppendTime. Milliseconds.
    pub max_timestamp: i64,
    /// The idempotent producer, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The idempotent producer's epoch, or [`NO_PRODUCER_EPOCH`](super::NO_PRODUCER_EPOCH).
    pub producer_epoch: i16,
    /// The first record's sequence number, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// How many records the batch says it holds.
    pub records_count: i32,
}

/// Where the timestamps of a batch's records come from (attribute bit 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The broker: the batch's max timestamp holds for all its records.
    LogAppendTime,
}

impl BatchHeader {
    /// Decodes the header at the start of `bytes`, which need not hold the records too.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let truncated = |needed: usize| BatchError::Truncated {
            needed,
            available: bytes.len(),
        };
        let base_offset = bytes.first_chunk().map(|b| i64::from_be_bytes(*b));
        // The magic byte lies at the same place in all formats, so that an old one is named as such, short as it may be.
        let (Some(base_offset), Some(magic)) = (base_offset, bytes.get(16)) else {
            return Err(truncated(HEADER_SIZE));
        };
        let magic = i8::from_be_bytes([*magic]);
        if magic != MAGIC {
            return Err(BatchError::Magic { base_offset, magic });
        }
        let header: &[u8; HEADER_SIZE] = bytes.first_chunk().ok_or_else(|| truncated(HEADER_SIZE))?;
        let batch_length = i32::from_be_bytes(array(header, 8));
        if usize::try_from(batch_length).map_or(true, |length| length < HEADER_SIZE - LENGTH_PREFIX) {
            return Err(BatchError::Length {
                base_offset,
                length: batch_length,
            });
        }
        Ok(BatchHeader {
            base_offset,
            batch_length,
            partition_leader_epoch: i32::from_be_bytes(array(header, 12)),
            crc: u32::from_be_bytes(array(header, CRC_AT)),
            attributes: i16::from_be_bytes(array(header, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(array(header, 23)),
            base_timestamp: i64::from_be_bytes(array(header, 27)),
            max_timestamp: i64::from_be_bytes(array(header, 35)),
            producer_id: i64::from_be_bytes(array(header, 43)),
            producer_epoch: i16::from_be_bytes(array(header, 51)),
            base_sequence: i32::from_be_bytes(array(header, 53)),
            records_count: i32::from_be_bytes(array(header, 57)),
        })
    }

    /// Encodes the header with the fields as they are, checksum included: [`BatchMut::seal`](super::BatchMut::seal) makes a new one.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0u8; HEADER_SIZE];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[16..17].copy_from_slice(&MAGIC.to_be_bytes());
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch, header included.
    pub fn size(&self) -> usize {
        // A parsed header's length is not negative.
        LENGTH_PREFIX + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The last offset that the batch covers.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence number of the last record, which wraps from `i32::MAX` to 0; [`NO_SEQUENCE`] if there is none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, CompressionError> {
        Compression::from_attributes(self.attributes & COMPRESSION_MASK)
    }

    /// Where the records' timestamps come from.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & TIMESTAMP_TYPE_BIT {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the batch is part of a transaction (markers are, too).
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch is a marker that clients do not see.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// When the cleaner may drop the batch's tombstones and markers, if it has set such a time (KIP-534). Milliseconds.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// Whether the batch carries an idempotent producer's id.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// The timestamp of a record of this batch, from its delta. Milliseconds.
    pub fn timestamp(&self, timestamp_delta: i64) -> i64 {
        match self.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// The offset of a record of this batch, from its delta.
    pub fn offset(&self, offset_delta: i32) -> i64 {
        self.base_offset.saturating_add(i64::from(offset_delta))
    }
}

/// A sequence number `increment` further on; numbers wrap from `i32::MAX` to 0.
pub fn add_sequence(sequence: i32, increment: i32) -> i32 {
    wrap_sequence(i64::from(sequence) + i64::from(increment))
}

/// A sequence number `decrement` back; numbers wrap from 0 to `i32::MAX`.
pub fn subtract_sequence(sequence: i32, decrement: i32) -> i32 {
    wrap_sequence(i64::from(sequence) - i64::from(decrement))
}

fn wrap_sequence(number: i64) -> i32 {
    // The remainder by 2^31 always fits.
    i32::try_from(number.rem_euclid(1 << 31)).unwrap_or(NO_SEQUENCE)
}

pub(super) const COMPRESSION_MASK: i16 = 0x07;
pub(super) const TIMESTAMP_TYPE_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;

/// The caller has made sure that the array lies within the header.
fn array<const N: usize>(header: &[u8; HEADER_SIZE], at: usize) -> [u8; N] {
    let mut out = [0u8; N];
    out.copy_from_slice(&header[at..at + N]);
    out
}
