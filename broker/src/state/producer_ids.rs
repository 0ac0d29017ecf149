//! Producer ids, each of which is given out once in the life of a cluster.

use std::{ops::Range, sync::Arc};

use tokio::sync::Mutex;

use super::{PRODUCER_IDS, StateError, journal::Journal};

/// Ids that are reserved at once. A crash loses the rest of a block; ids are 63 bits wide, so that costs nothing.
const BLOCK: i64 = 1000;

/// Gives out producer ids. The end of a block is on disk before its first id is given out.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    left: Mutex<Range<i64>>,
    journal: Arc<Mutex<Journal>>,
}

impl ProducerIds {
    /// Ids from `next` on.
    pub(super) fn new(next: i64, journal: Arc<Mutex<Journal>>) -> Self {
        ProducerIds {
            left: Mutex::new(next..next),
            journal,
        }
    }

    /// An id that was never given out before.
    pub(crate) async fn next(&self) -> Result<i64, StateError> {
        let mut left = self.left.lock().await;
        if left.is_empty() {
            let end = left
                .end
                .checked_add(BLOCK)
                .ok_or_else(|| StateError::Unreadable {
                    key: PRODUCER_IDS.to_owned(),
                    reason: "all producer ids have been given out".to_owned(),
                })?;
            let mut journal = self.journal.clone().lock_owned().await;
            let entry = (PRODUCER_IDS.into(), Some(end.to_string().into_bytes()));
            tokio::task::spawn_blocking(move || journal.put(&[entry])).await??;
            *left = left.end..end;
        }
        let id = left.start;
        left.start += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;

    #[tokio::test]
    async fn no_id_is_given_out_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut last = -1;
        for _ in 0..3 {
            // Dropped without ceremony, as a crash would.
            let (_state, ids) = State::open(&path, 1, crate::log::Disk::default(), &[]).unwrap();
            for _ in 0..super::BLOCK + 2 {
                let id = ids.next().await.unwrap();
                assert!(id > last);
                last = id;
            }
        }
    }
}
