//! The memory that answers take from the moment in which records are read until their client has taken them.
//!
//! A client may take its time, and there may be many such clients. The less memory is left for answers, the smaller
//! they become; each still holds one batch, so that every client gets on.
//!
//! Records that are sent from their files take no memory, but a file that stays open.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What all answers together may take, in bytes, before they shrink to single batches.
const BYTES_MAX: usize = 512 << 20;

/// One answer takes at most one part in so many of what is left.
const SHARE: usize = 4;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Memory that is set aside for records before they are read. What is not used comes back when it is dropped.
#[derive(Debug)]
pub(super) struct Reserved(usize);

/// Sets aside as much of `wanted` bytes as one more answer may hold.
pub(super) fn reserve(wanted: usize) -> Reserved {
    let granted = |taken: usize| wanted.min(BYTES_MAX.saturating_sub(taken) / SHARE);
    let add = |taken: usize| Some(taken + granted(taken));
    let (Ok(before) | Err(before)) = TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    Reserved(granted(before))
}

impl Reserved {
    /// How many bytes were set aside.
    pub(super) fn bytes(&self) -> usize {
        self.0
    }

    /// Records that count as what they are until the last reference to them is dropped.
    pub(super) fn fill(self, records: Bytes) -> Bytes {
        if records.is_empty() {
            return records;
        }
        TAKEN.fetch_add(records.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted(records))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// How many files may be kept open by answers that wait for their clients. Beyond it records are read into memory.
const OPEN_FILES_MAX: usize = 512;

static OPEN_FILES: AtomicUsize = AtomicUsize::new(0);

/// A file that an answer may keep open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenFile(());

impl OpenFile {
    /// None if too many are open already.
    pub(super) fn reserve() -> Option<OpenFile> {
        let more = |open: usize| (open < OPEN_FILES_MAX).then_some(open + 1);
        let reserved = OPEN_FILES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        reserved.ok().map(|_| OpenFile(()))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        OPEN_FILES.fetch_sub(1, Ordering::Relaxed);
    }
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
    fn files_are_kept_open_up_to_a_number() {
        let held: Vec<_> = std::iter::from_fn(OpenFile::reserve).collect();
        assert!(held.len() <= OPEN_FILES_MAX && OpenFile::reserve().is_none());
        drop(held);
        assert!(OpenFile::reserve().is_some());
    }

    #[test]
    fn answers_shrink_while_many_are_on_their_way() {
        const LARGE: usize = 55 << 20;
        let all = || reserve(usize::MAX).bytes();
        let before = all();
        let reserved: Vec<_> = (0..40).map(|_| reserve(LARGE)).collect();
        assert!(reserved[0].bytes() > reserved[39].bytes());
        assert!(reserved.iter().map(Reserved::bytes).sum::<usize>() <= BYTES_MAX);
        assert!(all() < 1 << 20, "{}", all());
        let answers: Vec<_> = reserved
            .into_iter()
            .map(|one| one.fill(Bytes::from_static(&[0; 1000])))
            .collect();
        let during = all();
        assert!(
            during < before && before - during < 1 << 20,
            "{during} of {before}"
        );
        let copy = answers[0].slice(1..);
        drop(answers);
        assert!(all() < before);
        drop(copy);
        assert_eq!(all(), before);
    }
}
