//! The memory that groups take, over all groups of a cluster: members, what they say and are assigned, committed offsets.
//!
//! Each group has a share, which is worked out anew after every call. What makes it grow asks for room first, and is
//! refused where there is none; what was there before a start, or comes of what was let in, is only counted. Texts count
//! twice, because the journal has a copy of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// The most memory that all groups take together, in bytes.
pub(super) const ROOM_BYTES: usize = 256 << 20;

/// What a group takes whatever is in it: its task, and the queue of its calls.
pub(super) const GROUP_BYTES: usize = 8 << 10;
/// What a member takes beside its texts.
pub(super) const MEMBER_BYTES: usize = 1024;
/// What an id takes that was given to a member which has not joined with it yet, beside its text.
pub(super) const PENDING_BYTES: usize = 128;
/// What a committed offset takes beside its texts.
pub(super) const OFFSET_BYTES: usize = 320;
/// What a partition takes that a member is to have, and one that it has.
pub(super) const TARGET_BYTES: usize = 32;
pub(super) const HELD_BYTES: usize = 160;
/// What the name of a topic takes beside its text.
pub(super) const NAME_BYTES: usize = 48;

/// How often the log says that there is no room.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// The room of all groups. Clones count the same.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: AtomicUsize,
    max: usize,
    said: Mutex<Option<Instant>>,
}

/// What one group has of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    room: Room,
    bytes: usize,
}

/// What texts take, here and in the journal.
pub(super) fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    2 * texts.into_iter().map(str::len).sum::<usize>()
}

impl Room {
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared {
            taken: AtomicUsize::new(0),
            max,
            said: Mutex::default(),
        }))
    }

    /// The share of a group that is there, whether there is room for it or not.
    pub fn share(&self, bytes: usize) -> Share {
        self.0.taken.fetch_add(bytes, Ordering::Relaxed);
        Share {
            room: self.clone(),
            bytes,
        }
    }

    /// The share of a new group; `None` where there is no room for it.
    pub fn try_share(&self, bytes: usize) -> Option<Share> {
        let mut share = self.share(0);
        share.try_grow(bytes).then_some(share)
    }

    /// What all groups take.
    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn say(&self) {
        let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() > SAID_EVERY) {
            *said = Some(Instant::now());
            warn!(
                bytes = self.0.max,
                "groups have all the memory that they may take: new members and offsets are refused, and told to try again"
            );
        }
    }
}

impl Share {
    /// Takes so much more, if there is room. What needs nothing more always gets it.
    pub fn try_grow(&mut self, more: usize) -> bool {
        let Shared { taken, max, .. } = &*self.room.0;
        let grown = |taken: usize| taken.checked_add(more).filter(|sum| sum <= max);
        let is_in = more == 0
            || taken
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
                .is_ok();
        if is_in {
            self.bytes += more;
        } else {
            self.room.say();
        }
        is_in
    }

    /// The group takes so much now.
    pub fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            // Others see the two halves one after the other, which is never less than there is.
            self.room.0.taken.fetch_add(bytes, Ordering::Relaxed);
            self.room.0.taken.fetch_sub(self.bytes, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_grow_is_never_refused_and_what_is_gone_gives_its_room_back() {
        let room = Room::new(100);
        let mut loaded = room.share(90);
        assert!(loaded.try_grow(10) && !loaded.try_grow(1));
        assert!(room.try_share(1).is_none());
        // More than there is room for was there at the start.
        loaded.set(150);
        assert!(loaded.try_grow(0) && !loaded.try_grow(1) && !loaded.try_grow(usize::MAX));
        loaded.set(40);
        let other = room.try_share(60);
        assert!(other.is_some() && room.try_share(1).is_none());
        drop(loaded);
        assert_eq!(room.taken(), 60);
        assert!(room.try_share(40).is_some());
        assert_eq!(room.taken(), 60);
    }
}
