//! Which batches belong to transactions that were aborted, told as Kafka's consumers do it for read_committed.
//!
//! An answer names every aborted transaction that reaches into it, by its producer and its first offset, also one
//! that began long before, so that nothing has to be remembered from one answer to the next. What is remembered would
//! do harm where compaction has taken the marker that ends it.

use std::collections::HashSet;

use super::{ConvertError, ConvertReason};
use crate::batch::BatchView;

/// The aborted transactions of one answer.
#[derive(Debug)]
pub(super) struct Aborted {
    /// First offset and producer, the lowest offset last.
    upcoming: Vec<(i64, i64)>,
    /// Producers whose aborted transaction has begun and not ended.
    open: HashSet<i64>,
}

impl Aborted {
    /// Takes producer ids and first offsets, in any order.
    pub(super) fn new(listed: &[(i64, i64)]) -> Aborted {
        let mut upcoming: Vec<_> = listed
            .iter()
            .map(|(producer, first)| (*first, *producer))
            .collect();
        upcoming.sort_unstable_by(|a, b| b.cmp(a));
        Aborted {
            upcoming,
            open: HashSet::new(),
        }
    }

    /// Takes note of the next batch of the answer, and says whether its records were aborted.
    pub(super) fn covers(&mut self, batch: &BatchView<'_>) -> Result<bool, ConvertError> {
        let header = batch.header();
        if !header.has_producer_id() {
            return Ok(false);
        }
        let reached = self
            .upcoming
            .iter()
            .rposition(|(first, _)| *first > header.last_offset());
        let begun = self.upcoming.drain(reached.map_or(0, |index| index + 1)..);
        self.open.extend(begun.map(|(_, producer)| producer));
        if !self.open.contains(&header.producer_id) {
            return Ok(false);
        }
        if header.is_control() && ends_transaction(batch)? {
            self.open.remove(&header.producer_id);
        }
        Ok(header.is_transactional() && !header.is_control())
    }
}

/// The most that a marker's batch may grow to: it holds one record of a few bytes.
const MARKER_LIMIT: usize = 4096;

/// Types of control records that end a transaction: abort and commit.
const ENDS: [i16; 2] = [0, 1];

/// Whether a control batch ends its producer's transaction. The type is in the key, behind a version.
fn ends_transaction(batch: &BatchView<'_>) -> Result<bool, ConvertError> {
    let failed = |reason: ConvertReason| ConvertError::new(batch.header().base_offset, reason);
    let plain = batch.decompress(MARKER_LIMIT).map_err(|e| failed(e.into()))?;
    // Compaction may leave a marker's batch without its record. Nobody can tell which end it was; an end it was.
    let Some(record) = batch.records(&plain).next() else {
        return Ok(true);
    };
    let key = record.map_err(|e| failed(e.into()))?.key.unwrap_or_default();
    let kind = key.get(2..4).and_then(|bytes| bytes.first_chunk());
    let kind = kind.ok_or_else(|| failed(ConvertReason::Marker))?;
    Ok(ENDS.contains(&i16::from_be_bytes(*kind)))
}
