//! From what a fetch has answered to batches that a broker takes from a producer.
//!
//! Most batches pass as they are: whole, in the target's terms, without being decompressed. A broker refuses some that
//! it has handed out itself: those with holes that compaction has left, markers of transactions, formats 0 and 1; and
//! some say something else when they are appended elsewhere: those that a broker has stamped with its time. These are put
//! together again, record by record, with the same keys, values, headers and timestamps. Batches of aborted transactions
//! are left out, as for a consumer that reads committed records only.
//!
//! Nothing here knows of sockets, of time, or of what the batches are for.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::compression::Compression;

mod aborted;
mod answer;
mod checksum;
mod error;
mod legacy;
mod lz4;
mod merge;
mod ready;
mod rebuild;
mod runs;
mod source;

#[cfg(test)]
mod tests;

pub use error::{ConvertError, ConvertReason, MessageError};
pub use merge::merge;
pub use ready::{Body, How, Ready};
pub use runs::RunList;

/// What the batches are to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How records are compressed; `None` as their producer has compressed them.
    pub compression: Option<Compression>,
    /// The level of the codec where something is compressed; `None` is the codec's default.
    pub level: Option<i32>,
    /// The largest batch that the target takes, in bytes: its `max.message.bytes`.
    pub max_batch_bytes: usize,
    /// The most that the records of one batch may grow to when they are decompressed, in bytes.
    pub max_record_section: usize,
    /// Whether the checksums of what was fetched are checked. If not, what is corrupt is passed on with a checksum that
    /// does not hold either.
    pub verify: bool,
}

/// Converts what is fetched from one partition, answer by answer.
#[derive(Debug)]
pub struct Converter {
    options: Options,
    /// The source offset that is wanted next.
    position: i64,
    left_out: BTreeSet<i64>,
    /// The record at this offset shares its batch with no other.
    alone: Option<i64>,
    /// Leader epochs that were met since they were last taken, and the last one.
    epochs: Vec<(i32, i64)>,
    epoch: Option<i32>,
}

/// What came of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converted {
    /// The source offset to fetch next.
    pub next: i64,
    /// What was done.
    pub counts: Counts,
}

/// What was done with an answer. A batch is one of the source where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Batches whose records passed as they are.
    pub passed: u64,
    /// Batches made, each of all the records of one of the source, or of several messages of format 0 or 1.
    pub rebuilt: u64,
    /// Batches made of one that would be too large.
    pub split: u64,
    /// Batches whose records were compressed by another codec, and not looked at.
    pub recompressed: u64,
    /// Markers left out.
    pub control: u64,
    /// Batches left out because compaction has left none of their records.
    pub empty: u64,
    /// Batches of aborted transactions left out.
    pub aborted: u64,
    /// Records of aborted transactions left out.
    pub aborted_records: u64,
    /// Records in the batches that were made or passed.
    pub records: u64,
}

impl Default for Options {
    /// Compressed as by the producer, with the limits of a broker that nobody has configured.
    fn default() -> Self {
        Options {
            compression: None,
            level: None,
            max_batch_bytes: 1_048_588,
            max_record_section: 256 << 20,
            verify: true,
        }
    }
}

impl Converter {
    /// Begins at offset 0, which is the first that there can be.
    pub fn new(options: Options) -> Converter {
        Converter {
            options,
            position: 0,
            left_out: BTreeSet::new(),
            alone: None,
            epochs: Vec::new(),
            epoch: None,
        }
    }

    /// Goes on at this source offset: what comes before it is left out, as a fetch answers with the whole batch.
    pub fn start_at(&mut self, offset: i64) {
        self.position = offset;
    }

    /// The source offset that is wanted next. After an error it lies behind what was converted before.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Leader epochs of the source's batches that are new since this was last asked, each with the first offset that was
    /// met of it. What the source has left out of the mirror counts as well: markers, aborted records.
    pub fn take_epochs(&mut self) -> Vec<(i32, i64)> {
        std::mem::take(&mut self.epochs)
    }

    /// Puts one record into a batch of its own, when it comes: those before it and behind it do not share its fate.
    pub fn put_alone(&mut self, offset: i64) {
        self.alone = Some(offset);
    }

    /// Leaves one record out, when it comes.
    pub fn leave_out(&mut self, offset: i64) {
        self.left_out.insert(offset);
    }

    /// Appends to `into` what an answer holds, from the position on. `aborted` are producer ids and first offsets of the
    /// aborted transactions that the answer names.
    ///
    /// A batch that is cut short at the end of the answer is left for the next one.
    ///
    /// # Errors
    /// If something cannot be converted; what comes before it is in `into`. [`ConvertReason::Partial`] if the answer is too
    /// short to hold anything that is wanted.
    pub fn convert(
        &mut self,
        records: &Bytes,
        aborted: &[(i64, i64)],
        into: &mut Vec<Ready>,
    ) -> Result<Converted, ConvertError> {
        // Who does not ask for them has no use for them.
        self.epochs.clear();
        let counts = answer::convert(self, records, aborted, into)?;
        Ok(Converted {
            next: self.position,
            counts,
        })
    }
}
