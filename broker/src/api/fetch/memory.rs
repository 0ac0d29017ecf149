//! The memory that answers take from the moment in which records are read until their client has taken them.
//!
//! A client may take its time, and there may be many such clients. The less memory is left for answers, the smaller
//! they become; each still holds one batch, so that every client gets on.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What all answers together may take, in bytes, before they shrink to single batches.
const BYTES_MAX: usize = 512 << 20;

/// One answer takes at most one part in so many of what is left.
const SHARE: usize = 4;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// How many bytes of records one more answer may hold.
pub(super) fn allowance() -> usize {
    BYTES_MAX.saturating_sub(TAKEN.load(Ordering::Relaxed)) / SHARE
}

/// Records that count until the last reference to them is dropped.
pub(super) fn counted(records: Bytes) -> Bytes {
    if records.is_empty() {
        return records;
    }
    TAKEN.fetch_add(records.len(), Ordering::Relaxed);
    Bytes::from_owner(Counted(records))
}

struct Counted(Bytes);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_shrink_while_many_are_on_their_way() {
        let before = allowance();
        let answers: Vec<_> = (0..8)
            .map(|_| counted(Bytes::from(vec![0; 32 << 20])))
            .collect();
        let during = allowance();
        assert!(during + (60 << 20) <= before, "{during} of {before}");
        let copy = answers[0].slice(1..);
        drop(answers);
        let after = allowance();
        assert!(during < after && after < before, "{after}");
        drop(copy);
        assert_eq!(allowance(), before);
    }
}
