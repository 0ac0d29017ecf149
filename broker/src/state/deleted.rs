//! Topics that were deleted, and whose offsets the groups may still hold.
//!
//! The groups keep their own journal, so a process may die between a topic's deletion and that of what was committed in
//! it, or the disk may refuse the second. The name is remembered until it is done, so that a topic that is made again
//! under it does not begin with the offsets of another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use heliostat_wire::Uuid;

/// Deleted topics by id.
#[derive(Debug, Default)]
pub(super) struct UnforgottenOffsets(Mutex<Topics>);

#[derive(Debug, Default)]
struct Topics {
    /// Whose offsets may still be there.
    unforgotten: BTreeMap<Uuid, String>,
    /// Whose offsets are gone, which the state does not say yet.
    forgotten: BTreeSet<Uuid>,
}

impl UnforgottenOffsets {
    /// As the state has them: an empty name stands for a topic whose offsets are gone.
    pub(super) fn new(found: BTreeMap<Uuid, String>) -> Self {
        let unforgotten = found.into_iter().filter(|(_, name)| !name.is_empty());
        UnforgottenOffsets(Mutex::new(Topics {
            unforgotten: unforgotten.collect(),
            forgotten: BTreeSet::new(),
        }))
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.topics().unforgotten.values().cloned().collect()
    }

    pub(super) fn is_of(&self, id: Uuid) -> bool {
        self.topics().unforgotten.contains_key(&id)
    }

    pub(super) fn forgotten(&self, name: &str) {
        let topics = &mut *self.topics();
        let forgotten = &mut topics.forgotten;
        topics.unforgotten.retain(|id, of| {
            let stays = of != name;
            if !stays {
                forgotten.insert(*id);
            }
            stays
        });
    }

    /// What the next write must say to be forgotten.
    pub(super) fn to_write_down(&self) -> Vec<Uuid> {
        self.topics().forgotten.iter().copied().collect()
    }

    /// It was written that those are forgotten, and these deleted.
    pub(super) fn written_down(&self, forgotten: &[Uuid], deleted: Vec<(Uuid, String)>) {
        let topics = &mut *self.topics();
        topics.forgotten.retain(|id| !forgotten.contains(id));
        topics.unforgotten.extend(deleted);
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
