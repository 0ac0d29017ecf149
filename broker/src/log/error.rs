//! What can go wrong in a log, with the error that a Kafka client must see.

use std::io;
use std::path::{Path, PathBuf};

use heliostat_wire::ErrorCode;
use heliostat_wire::batch::BatchError;
use thiserror::Error;

/// A file that could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct StorageError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

/// Why a batch was not appended. Nothing of it is in the log then.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The bytes are not one batch.
    #[error("{0}")]
    NotOneBatch(String),
    /// The batch is not one that a producer may send.
    #[error("{0}")]
    InvalidRecord(String),
    /// The bytes are not those that the producer sealed.
    #[error("{0}")]
    Corrupt(BatchError),
    /// The batch is larger than max.message.bytes, or grows beyond what is checked when it is decompressed.
    #[error("{0}")]
    TooLarge(String),
    /// The batch is larger than a segment may be.
    #[error("record batch of {size} bytes is larger than segment.bytes, {limit}")]
    LargerThanSegment {
        /// Bytes of the batch.
        size: u64,
        /// The topic's segment.bytes.
        limit: u64,
    },
    /// Some records are not valid, each for its own reason.
    #[error("{} of the batch's records are invalid, first: {}", errors.len(), errors.first().map_or("", |e| e.message.as_str()))]
    InvalidRecords {
        /// Whether a timestamp out of range is among the reasons, which then decides the error code.
        timestamp: bool,
        /// Record by record; Produce version 8 and later passes them on.
        errors: Vec<RecordProblem>,
    },
    /// A producer with a newer epoch has taken over.
    #[error("producer {producer_id} has epoch {current}, and the batch has epoch {epoch}")]
    ProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the batch.
        epoch: i16,
        /// Its epoch in the log.
        current: i16,
    },
    /// The batch does not follow the producer's last one.
    #[error(
        "producer {producer_id} with epoch {epoch} was expected at sequence {expected}, and the batch starts at {sequence}"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: i64,
        /// Its epoch in the batch.
        epoch: i16,
        /// The sequence number that would have followed.
        expected: i32,
        /// The sequence number of the batch.
        sequence: i32,
    },
    /// A newer coordinator has written a marker for the producer.
    #[error(
        "the last marker of producer {producer_id} is of coordinator epoch {current}, and this one is of {epoch}"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: i64,
        /// The coordinator's epoch in the marker.
        epoch: i32,
        /// The coordinator's epoch in the log.
        current: i32,
    },
    /// The coordinator knows nothing of the batch's transaction here, or the batch does not fit the open one.
    #[error("{0}")]
    TransactionState(String),
    /// The log could not be written. What was there is still there and readable; the next append tries again.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log has been closed or deleted.
    #[error("the log of {0} is closed")]
    Closed(String),
    /// The leader that appends has been replaced.
    #[error("the leader of epoch {epoch} writes no more: epoch {newer} has begun")]
    Fenced {
        /// The epoch of the leader that appends.
        epoch: i32,
        /// The epoch of its successor.
        newer: i32,
    },
}

/// One record of a batch that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProblem {
    /// The record's place in the batch, from 0.
    pub batch_index: i32,
    /// What is wrong with it.
    pub message: String,
}

/// Why records were not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset is before the log's start or after its end.
    #[error("offset {offset} is outside of the log of {log}, which holds {start} to {end}")]
    OffsetOutOfRange {
        /// Topic and partition.
        log: String,
        /// The offset asked for.
        offset: i64,
        /// The log start offset.
        start: i64,
        /// The offset after the last one that may be read.
        end: i64,
    },
    /// The log could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log holds bytes that are no record batch. They were good when they were appended.
    #[error("the log of {log} is damaged at offset {offset}: {source}")]
    Damaged {
        /// Topic and partition.
        log: String,
        /// Where the damage is, or begins.
        offset: i64,
        /// What was found.
        source: BatchError,
    },
    /// The log has been closed or deleted.
    #[error("the log of {0} is closed")]
    Closed(String),
}

/// Why records were not deleted.
#[derive(Debug, Error)]
pub enum DeleteRecordsError {
    /// The offset lies beyond the high watermark, or is negative.
    #[error("offset {offset} is beyond the high watermark of {log}, {high_watermark}")]
    OffsetOutOfRange {
        /// Topic and partition.
        log: String,
        /// The offset asked for.
        offset: i64,
        /// The high watermark.
        high_watermark: i64,
    },
    /// cleanup.policy does not contain `delete`.
    #[error("records of {0} cannot be deleted, because its cleanup.policy does not contain delete")]
    Policy(String),
    /// The new start could not be written down.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log has been closed or deleted.
    #[error("the log of {0} is closed")]
    Closed(String),
}

impl StorageError {
    /// Whether the disk is full, or a quota or a limit on file sizes is reached.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        matches!(self.source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
    }
}

impl AppendError {
    /// The error that a producer gets.
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::NotOneBatch(_) | AppendError::InvalidRecord(_) => ErrorCode::InvalidRecord,
            AppendError::InvalidRecords { timestamp: true, .. } => ErrorCode::InvalidTimestamp,
            AppendError::InvalidRecords { timestamp: false, .. } => ErrorCode::InvalidRecord,
            AppendError::Corrupt(_) => ErrorCode::CorruptMessage,
            AppendError::TooLarge(_) => ErrorCode::MessageTooLarge,
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::ProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            AppendError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            AppendError::TransactionState(_) => ErrorCode::InvalidTxnState,
            AppendError::Storage(_) => ErrorCode::KafkaStorageError,
            AppendError::Closed(_) | AppendError::Fenced { .. } => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl AppendError {
    /// Whether the batch was looked into before it was refused: then Kafka tells the producer where the log starts.
    pub fn was_examined(&self) -> bool {
        match self {
            AppendError::InvalidRecord(_)
            | AppendError::InvalidRecords { .. }
            | AppendError::ProducerEpoch { .. }
            | AppendError::OutOfOrder { .. }
            | AppendError::TransactionState(_) => true,
            AppendError::NotOneBatch(_)
            | AppendError::Corrupt(_)
            | AppendError::TooLarge(_)
            | AppendError::LargerThanSegment { .. }
            | AppendError::CoordinatorFenced { .. }
            | AppendError::Fenced { .. }
            | AppendError::Storage(_)
            | AppendError::Closed(_) => false,
        }
    }
}

impl ReadError {
    /// The error that a consumer gets.
    pub fn code(&self) -> ErrorCode {
        match self {
            ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Storage(_) => ErrorCode::KafkaStorageError,
            ReadError::Damaged { .. } => ErrorCode::CorruptMessage,
            ReadError::Closed(_) => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl DeleteRecordsError {
    /// The error that an admin client gets.
    pub fn code(&self) -> ErrorCode {
        match self {
            DeleteRecordsError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            DeleteRecordsError::Policy(_) => ErrorCode::PolicyViolation,
            DeleteRecordsError::Storage(_) => ErrorCode::KafkaStorageError,
            DeleteRecordsError::Closed(_) => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Names the file in an error of the operating system.
pub(crate) trait AtPath<T> {
    /// `action` is a verb: "write", "open", "rename".
    fn at(self, action: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError {
            action,
            path: path.to_owned(),
            source,
        })
    }
}
