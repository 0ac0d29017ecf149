//! The end of a mirror partition's log, behind the last fact of the offset map: what of it this flow has written.

use heliostat_wire::batch::{BatchError, BatchView, Batches};

use super::align::{Stamps, digests};
use super::claim::Claim;

/// What was found, batch by batch.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Target offsets of the flow's records in order: first, and how many.
    pub(super) runs: Vec<(i64, i64)>,
    /// How many records that are.
    pub(super) records: i64,
    /// Records that somebody else has written.
    pub(super) foreign: i64,
    /// Compaction has been there: how many records there were cannot be told any more.
    pub(super) has_holes: bool,
    /// The marker of this claim was seen.
    pub(super) is_fenced: bool,
    /// The offset after all that was seen.
    pub(super) end: i64,
    /// The flow's last record: its digest, and what that was made of.
    pub(super) last: Option<(u128, Stamps)>,
}

/// Whose batches count as the flow's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// This claim, whatever the epoch.
    pub(super) claim: Claim,
    /// The producer id of the owner before, if it was another one.
    pub(super) before: Option<i64>,
}

impl Own {
    pub(super) fn wrote(&self, batch: &BatchView<'_>) -> bool {
        let header = batch.header();
        let id = header.producer_id;
        header.has_producer_id()
            && !header.is_transactional()
            && (id == self.claim.producer_id || Some(id) == self.before)
    }
}

impl Tail {
    /// A tail that begins at a target offset.
    pub(super) fn at(offset: i64) -> Tail {
        Tail {
            end: offset,
            ..Tail::default()
        }
    }

    /// Takes in what was fetched at [`Tail::end`].
    pub(super) fn take_in(&mut self, records: &[u8], own: Own) -> Result<(), BatchError> {
        let mut batches = Batches::new(records);
        let mut last = None;
        for batch in &mut batches {
            let batch = batch?;
            let header = batch.header();
            if header.last_offset() < self.end {
                continue;
            }
            if header.is_control() {
                self.is_fenced |=
                    (header.producer_id, header.producer_epoch) == (own.claim.producer_id, own.claim.epoch);
            } else if header.records_count == 0 {
                // Compaction has left nothing of it but what its producer's number is.
                self.has_holes = true;
            } else if own.wrote(&batch) {
                self.note(header.base_offset, header.last_offset_delta, header.records_count);
                last = Some(batch);
            } else {
                self.foreign += i64::from(header.records_count);
            }
            self.end = header.next_offset();
        }
        if let Some(batch) = last {
            let stamps = Stamps::of(&batch);
            let digest = digests(&batch, stamps)?.last().map(|(_, digest)| digest.record);
            self.last = digest.map(|digest| (digest, stamps));
        }
        Ok(())
    }

    fn note(&mut self, base_offset: i64, last_offset_delta: i32, records: i32) {
        let span = i64::from(last_offset_delta) + 1;
        self.has_holes |= span != i64::from(records);
        // Offsets that compaction has left out, before this batch or in it.
        let first = base_offset.max(self.end);
        self.has_holes |= first != base_offset;
        let span = base_offset + span - first;
        match self.runs.last_mut() {
            Some(last) if last.0 + last.1 == first => last.1 += span,
            _ => self.runs.push((first, span)),
        }
        self.records += span;
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::batch::{BatchMut, HEADER_SIZE};
    use heliostat_wire::builder::{BatchBuilder, NewRecord};

    use super::*;

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut batch = BatchBuilder::new().producer(7, 0, 0);
        for _ in 0..3 {
            batch.push(NewRecord {
                timestamp: 1,
                key: Some(b"key"),
                value: Some(b"value"),
                headers: &[],
            });
        }
        let mut bytes = batch.build().expect("a batch").to_vec();
        let mut view = BatchMut::parse(&mut bytes).expect("a batch");
        view.set_base_offset(base_offset);
        bytes
    }

    #[test]
    fn a_batch_that_compaction_has_emptied_hides_nothing_of_those_before_it() {
        // As Kafka keeps the last batch of a producer: the header alone, with the same span.
        let mut empty = batch(3);
        empty.truncate(HEADER_SIZE);
        let length = i32::try_from(HEADER_SIZE - 12).expect("a length");
        empty[8..12].copy_from_slice(&length.to_be_bytes());
        empty[57..61].copy_from_slice(&0i32.to_be_bytes());
        let own = Own {
            claim: Claim {
                producer_id: 7,
                epoch: 1,
            },
            before: None,
        };
        let mut tail = Tail::at(0);
        tail.take_in(&[batch(0), empty].concat(), own)
            .expect("it can be read");
        assert!(tail.last.is_some() && tail.has_holes, "{tail:?}");
        assert_eq!((tail.records, tail.end), (3, 6));
    }
}
