//! Memory of large answers that is used again.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};

/// Memory of answers of these sizes is used again; of smaller ones it comes cheap, of larger ones too much would be held.
const SIZES: RangeInclusive<usize> = 128 * 1024..=8 * 1024 * 1024;

/// Of so much memory it is remembered that it was given out.
const BYTES_MAX: usize = 12 * 1024 * 1024;

/// Answers are seldom of the same size to the byte: what was enough for one is to be enough for the next.
const STEP: usize = 256 * 1024;

/// The large answers that a client's connections have given out: once nobody has them any more, their memory is used again. The system would have
/// to clear new memory first, which costs as much as receiving into it.
///
/// All connections share it: those that are quiet keep nothing for themselves.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<VecDeque<GivenOut>>);

#[derive(Debug)]
struct GivenOut {
    capacity: usize,
    bytes: Bytes,
}

impl Kept {
    /// Empty memory for an answer: some that was used before, if there is any that is large enough.
    pub(super) fn memory(&self, size: usize) -> BytesMut {
        if !SIZES.contains(&size) {
            return BytesMut::with_capacity(size);
        }
        match self.take(size).map(|free| free.bytes.try_into_mut()) {
            Some(Ok(mut bytes)) => {
                bytes.clear();
                bytes.reserve(size);
                bytes
            }
            _ => BytesMut::with_capacity(size.next_multiple_of(STEP)),
        }
    }

    /// The smallest that is large enough and that nobody has.
    fn take(&self, size: usize) -> Option<GivenOut> {
        let mut all = self.all();
        let free = all.iter().enumerate();
        let free = free.filter(|(_, out)| out.capacity >= size && out.bytes.is_unique());
        let (place, _) = free.min_by_key(|(_, out)| out.capacity)?;
        all.remove(place)
    }

    /// An answer that is given out, to be used again when nobody has it any more.
    pub(super) fn give_out(&self, answer: BytesMut) -> Bytes {
        let capacity = answer.capacity();
        let bytes = answer.freeze();
        if SIZES.contains(&capacity) {
            let mut all = self.all();
            all.push_front(GivenOut {
                capacity,
                bytes: bytes.clone(),
            });
            while all.iter().map(|out| out.capacity).sum::<usize>() > BYTES_MAX {
                all.pop_back();
            }
        }
        bytes
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<GivenOut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(kept: &Kept, size: usize, byte: u8) -> Bytes {
        let mut memory = kept.memory(size);
        memory.resize(size, byte);
        kept.give_out(memory)
    }

    #[test]
    fn memory_is_used_again_when_nobody_has_it() {
        let (kept, size) = (Kept::default(), *SIZES.start());
        let first = filled(&kept, size, 0);
        let second = filled(&kept, size, 1);
        assert_ne!(first.as_ptr(), second.as_ptr(), "somebody has it");
        let part = first.slice(5..);
        let place = first.as_ptr();
        drop(first);
        let third = filled(&kept, size, 2);
        assert_ne!(place, third.as_ptr(), "somebody has a part of it");
        assert_eq!((part[0], second[0], third[0]), (0, 1, 2));
        drop(part);
        // An answer that is a little larger finds room too.
        let fourth = filled(&kept, size + 1, 3);
        assert_eq!((fourth.as_ptr(), fourth[0], fourth.len()), (place, 3, size + 1));
    }

    #[test]
    fn no_more_is_held_than_is_said() {
        let kept = Kept::default();
        for size in (0..40).map(|number| SIZES.start() + number * 300_000) {
            let answers = [filled(&kept, size, 1), filled(&kept, size, 2)];
            drop(answers);
            let held = kept.all().iter().map(|out| out.capacity).sum::<usize>();
            assert!(held <= BYTES_MAX, "{held} after answers of {size}");
        }
    }
}
