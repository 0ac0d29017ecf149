//! A batch that can be produced, and what makes it some producer's.

use bytes::{Bytes, BytesMut};

use super::{RunList, checksum};
use crate::{
    batch::{BatchHeader, HEADER_SIZE, NO_LEADER_EPOCH},
    compression::Compression,
};

/// A batch that a broker takes from a producer, once [`Ready::seal`] has made it that producer's.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Source offsets of the records, in order.
    pub source: RunList,
    /// The source offset after everything that this batch accounts for: its records, and what was left out behind them.
    pub next: i64,
    /// The largest timestamp of its records, in milliseconds.
    pub max_timestamp: i64,
    /// How many records it has.
    pub records: i32,
    /// What was done to it.
    pub how: How,
    /// Bytes of keys and values, if the records were looked at.
    pub key_value_bytes: Option<u64>,
    /// The batch.
    pub bytes: Body,
}

/// What was done to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// Its records are those bytes that were fetched.
    Passed,
    /// It was put together again from records.
    Rebuilt,
    /// It is one of several that were put together from one that would be too large.
    Split,
    /// It was put together from several.
    Merged,
    /// Its records are the same bytes, compressed by another codec.
    Recompressed,
}

/// One whole batch with a checksum that holds, before it is sealed for a producer.
#[derive(Debug, Clone)]
pub struct Body {
    header: BatchHeader,
    batch: Bytes,
}

impl Ready {
    /// The batch as this producer sends it: without a place in a log, not transactional, and with a checksum that holds.
    /// The records are copied, so that the buffer that they were fetched into can be freed. For a producer that is not
    /// idempotent all three numbers are -1.
    pub fn seal(&self, producer_id: i64, epoch: i16, base_sequence: i32) -> Bytes {
        self.seal_in(BytesMut::new(), producer_id, epoch, base_sequence)
    }

    /// As [`Ready::seal`], in memory that was used before, if it is large enough.
    pub fn seal_in(&self, mut out: BytesMut, producer_id: i64, epoch: i16, base_sequence: i32) -> Bytes {
        out.clear();
        out.reserve(self.size());
        out.extend_from_slice(&self.bytes.sealed_header(producer_id, epoch, base_sequence));
        out.extend_from_slice(self.bytes.payload());
        out.freeze()
    }

    /// As [`Ready::seal`], without a copy: the header, and the records as a part of the buffer that they are in, which
    /// is kept for as long.
    pub fn seal_pieces(&self, producer_id: i64, epoch: i16, base_sequence: i32) -> [Bytes; 2] {
        let header = self.bytes.sealed_header(producer_id, epoch, base_sequence);
        [
            Bytes::copy_from_slice(&header),
            self.bytes.batch.slice(HEADER_SIZE..),
        ]
    }

    /// Bytes that it has when it is sealed.
    pub fn size(&self) -> usize {
        self.bytes.batch.len()
    }

    /// How its records are compressed.
    pub fn compression(&self) -> Compression {
        // Only batches of known codecs come so far.
        self.bytes.header.compression().unwrap_or_default()
    }
}

impl Body {
    /// Takes exactly one batch, whose header has been parsed and whose checksum holds.
    pub(super) fn new(header: BatchHeader, batch: Bytes) -> Body {
        Body { header, batch }
    }

    /// The batch as it was fetched or built: with the offsets, the producer and the flags that it has there.
    pub fn as_bytes(&self) -> &Bytes {
        &self.batch
    }

    /// The header of [`Body::as_bytes`].
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn payload(&self) -> &[u8] {
        &self.batch[HEADER_SIZE..]
    }

    fn sealed_header(&self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> [u8; HEADER_SIZE] {
        let mut header = BatchHeader {
            base_offset: 0,
            partition_leader_epoch: NO_LEADER_EPOCH,
            // Only the codec stays: what is sent is data, of no transaction, with timestamps of the producer.
            attributes: self.header.compression().unwrap_or_default().id(),
            producer_id,
            producer_epoch,
            base_sequence,
            ..self.header
        };
        let old = &self.batch[SEALED_FROM..HEADER_SIZE];
        let new = &header.encode()[SEALED_FROM..];
        header.crc = checksum::replaced(self.header.crc, old, new, self.batch.len() - HEADER_SIZE);
        header.encode()
    }
}

/// Where the part of the header begins that is under the checksum.
const SEALED_FROM: usize = 21;
