//! Why something that was fetched cannot become a batch to produce.

use thiserror::Error;

use crate::{batch::BatchError, compression::CompressionError, record::RecordError};

/// What was fetched cannot be converted. Everything before it was.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("source offset {offset}: {reason}")]
pub struct ConvertError {
    /// The first source offset that is concerned: of the record, if one is at fault, otherwise of its batch.
    pub offset: i64,
    /// Where to go on if it is left out; `None` where the bytes are not to be trusted with that.
    pub next: Option<i64>,
    /// What is wrong.
    pub reason: ConvertReason,
}

/// What is wrong, see [`ConvertError`].
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConvertReason {
    /// The answer ends within the first batch that is wanted: the same fetch with more bytes will get further.
    #[error("the answer of {available} bytes is cut short: it takes {needed} to hold one batch")]
    Partial {
        /// Bytes that the answer must hold, as far as can be told.
        needed: usize,
        /// Bytes that it holds.
        available: usize,
    },
    /// One record alone takes more than the target allows.
    #[error("the record takes a batch of {size} bytes, more than the {limit} that are allowed")]
    RecordTooLarge {
        /// Bytes of a batch that holds only this record, compressed.
        size: usize,
        /// The largest batch that is allowed, in bytes.
        limit: usize,
    },
    /// Batches that were to be merged do not fit into one.
    #[error("the merged batch takes {size} bytes, more than the {limit} that are allowed")]
    MergedTooLarge {
        /// Bytes of the merged batch.
        size: usize,
        /// The largest batch that is allowed, in bytes.
        limit: usize,
    },
    /// There was nothing to be merged.
    #[error("there are no batches to merge")]
    NothingToMerge,
    /// A format that is not known.
    #[error("message format {0} is not known; known are 0, 1 and 2")]
    UnknownFormat(i8),
    /// A size that no batch or message can have.
    #[error("a batch or message gives its size as {0} bytes")]
    Size(i32),
    /// The header's offsets or its count cannot be.
    #[error("the batch has a last offset delta of {last_offset_delta} and a record count of {records}")]
    Header {
        /// The last offset, from the base offset.
        last_offset_delta: i32,
        /// How many records the batch says it holds.
        records: i32,
    },
    /// A record's offset lies outside of its batch, or not behind the record before it.
    #[error("a record has the offset {found}, and {from} to {to} was expected")]
    Disorder {
        /// Its offset.
        found: i64,
        /// The lowest that it could have.
        from: i64,
        /// The highest that it could have.
        to: i64,
    },
    /// A marker of a transaction that says neither commit nor abort.
    #[error("a control batch cannot be read")]
    Marker,
    /// A record batch is corrupt.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A message of format 0 or 1 is corrupt.
    #[error(transparent)]
    Message(#[from] MessageError),
}

/// What is wrong with a message of format 0 or 1.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    /// The message ends before its parts do, or after them.
    #[error("the {0} of a message does not fit in it")]
    Length(&'static str),
    /// The bytes are not those that the checksum was made of.
    #[error("a message is corrupt: its checksum is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// The checksum in the message.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A compressed message holds messages of another format.
    #[error("a compressed message of format {outer} holds a message of format {inner}")]
    Mixed {
        /// The format of the outer message.
        outer: i8,
        /// The format of the inner one.
        inner: i8,
    },
    /// A compressed message holds a compressed message.
    #[error("a compressed message holds another compressed message")]
    Nested,
    /// A compressed message holds nothing.
    #[error("a compressed message holds no messages")]
    Empty,
}

impl ConvertError {
    pub(super) fn new(offset: i64, reason: impl Into<ConvertReason>) -> ConvertError {
        ConvertError {
            offset,
            next: None,
            reason: reason.into(),
        }
    }

    /// For what the checksum has proven to be as it was written.
    pub(super) fn before(mut self, next: i64) -> ConvertError {
        self.next.get_or_insert(next);
        self
    }
}

impl From<CompressionError> for ConvertReason {
    fn from(error: CompressionError) -> Self {
        ConvertReason::Batch(error.into())
    }
}

impl From<RecordError> for ConvertReason {
    fn from(error: RecordError) -> Self {
        ConvertReason::Batch(error.into())
    }
}
