//! Compaction: of each key only the last record stays, as Kafka's log cleaner does it.
//!
//! A log has a clean part, in which no key occurs twice, and a dirty part behind it. A round (`round`) notes the last
//! offset of each key of the dirty part in a map of bounded size (`offset_map`), and writes all closed segments up to
//! the end of what the map covers anew, without what is superseded (`filter`), into segments that take their places
//! (`swap`). Offsets, timestamps and sequence numbers stay. Where the clean part ends is kept in Kafka's
//! `cleaner-offset-checkpoint`. [`Cleaner`] knows which log is the dirtiest (`pick`).

mod filter;
mod offset_map;
mod parts;
mod pick;
mod round;
mod swap;
mod throttle;
mod transactions;

use std::path::PathBuf;

use heliostat_wire::batch::BatchError;
use thiserror::Error;

use super::error::StorageError;

pub use pick::{Cleaner, CleanerFacts, ToClean};
pub(super) use swap::finish_swaps;

/// How to clean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerOptions {
    /// The most bytes that the map of offsets may take: log.cleaner.dedupe.buffer.size, divided by log.cleaner.threads.
    pub map_bytes: u64,
    /// log.cleaner.io.buffer.load.factor: how full the map may become.
    pub map_load_factor: f64,
    /// log.cleaner.io.max.bytes.per.second, over all threads.
    pub max_bytes_per_second: f64,
}

impl Default for CleanerOptions {
    fn default() -> Self {
        CleanerOptions {
            map_bytes: 128 << 20,
            map_load_factor: 0.9,
            max_bytes_per_second: f64::MAX,
        }
    }
}

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// From this offset on the log is dirty.
    pub end_offset: i64,
    /// Different keys in the dirty part, as far as the map had room.
    pub distinct_keys: u64,
    /// Records that were looked at.
    pub records_read: u64,
    /// Records that are there no more.
    pub records_dropped: u64,
    /// Bytes of batches that were read, those of the dirty part twice.
    pub bytes_read: u64,
    /// Bytes of batches that were written.
    pub bytes_written: u64,
    /// Segments that were replaced.
    pub segments_replaced: usize,
}

/// Why a round ended early. Nothing is lost then, and nothing half done is visible.
#[derive(Debug, Error)]
pub enum CleanError {
    /// Segments were deleted or cut, or the log was closed, while they were cleaned. The next round sees to it.
    #[error("the log was closed, or its segments changed, while it was cleaned")]
    Overtaken,
    /// The broker stops.
    #[error("cleaning was stopped")]
    Stopped,
    /// A batch that was good when it was appended is so no more.
    #[error("{} is damaged at position {position}: {source}", file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the batch starts.
        position: u64,
        /// What is wrong with it.
        source: BatchError,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Where a process may die; tests look at what it would leave behind. `path` is a file of the log, or its directory.
pub(super) fn at_step(path: &std::path::Path) {
    #[cfg(test)]
    super::tests::compact::at_step(path);
    let _ = path;
}

/// Where a file or directory can be refused; tests let it happen.
pub(super) fn before_step(path: &std::path::Path) -> std::io::Result<()> {
    #[cfg(test)]
    super::tests::compact::before_step(path)?;
    let _ = path;
    Ok(())
}
