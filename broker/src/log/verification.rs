//! Whether a transaction that begins in a partition is known to the coordinator (KIP-890).
//!
//! Between the coordinator's answer and the append the transaction may have ended: its marker takes the guard away, and
//! the late batch is refused instead of opening a transaction that nobody would ever end.

use std::collections::HashMap;

use heliostat_wire::batch::BatchHeader;

use super::error::AppendError;

/// Proof that a producer's transaction was being verified for this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard(u64);

/// The verifications of one log that have not been used.
#[derive(Debug, Default)]
pub(crate) struct Verifications {
    pending: HashMap<i64, Verification>,
    last_guard: u64,
}

#[derive(Debug, Clone, Copy)]
struct Verification {
    guard: Guard,
    epoch: i16,
    /// The lowest sequence number that was seen: batches behind it must not overtake the first one.
    lowest_sequence: i32,
    bumps_epoch: bool,
}

/// Verifications are used up by the append that follows at once. Only those that the coordinator did not confirm stay;
/// beyond this number the oldest is dropped, whose producer then has to ask again.
const PENDING_MAX: usize = 10_000;

impl Verifications {
    /// Begins a verification, or goes on with the one that was begun.
    pub(crate) fn begin(&mut self, header: &BatchHeader, bumps_epoch: bool) -> Guard {
        let (sequence, epoch) = (header.base_sequence, header.producer_epoch);
        if let Some(known) = self.pending.get_mut(&header.producer_id) {
            if epoch > known.epoch {
                (known.epoch, known.lowest_sequence) = (epoch, sequence);
            } else if epoch == known.epoch {
                known.lowest_sequence = known.lowest_sequence.min(sequence);
            }
            return known.guard;
        }
        if self.pending.len() >= PENDING_MAX {
            let oldest = self.pending.iter().min_by_key(|(_, pending)| pending.guard);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.pending.remove(&id);
            }
        }
        self.last_guard += 1;
        let guard = Guard(self.last_guard);
        let verification = Verification {
            guard,
            epoch,
            lowest_sequence: sequence,
            bumps_epoch,
        };
        self.pending.insert(header.producer_id, verification);
        guard
    }

    /// Whether the guard is the one of the producer's verification.
    pub(crate) fn holds(&self, producer_id: i64, guard: Option<Guard>) -> bool {
        guard.is_some() && self.pending.get(&producer_id).map(|pending| pending.guard) == guard
    }

    /// Refuses a batch that would overtake the first one of its transaction.
    pub(crate) fn check_sequence(
        &self,
        header: &BatchHeader,
        nothing_known: bool,
    ) -> Result<(), AppendError> {
        let Some(pending) = self.pending.get(&header.producer_id) else {
            return Ok(());
        };
        let sequence = header.base_sequence;
        let expected = match pending {
            // Such a producer starts every transaction with a new epoch, and so with 0.
            Verification {
                bumps_epoch: true, ..
            } if nothing_known && sequence != 0 => 0,
            Verification { lowest_sequence, .. } if sequence > *lowest_sequence => *lowest_sequence,
            _ => return Ok(()),
        };
        Err(AppendError::OutOfOrder {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            expected,
            sequence,
        })
    }

    /// The transaction has begun in the partition, or has ended.
    pub(crate) fn forget(&mut self, producer_id: i64) {
        self.pending.remove(&producer_id);
    }
}
