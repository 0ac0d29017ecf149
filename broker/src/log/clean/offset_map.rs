//! The last offset of each key in the dirty part of a log, in bounded memory.
//!
//! Keys are not held, only 128 bits of hash for each, made with numbers that are drawn for every map: nobody can
//! choose keys that collide, and two of a billion keys do so with a chance of one in 10^20.

use std::hash::{BuildHasher, RandomState};

/// Bytes that an entry takes.
pub(super) const ENTRY_BYTES: u64 = 24;

/// Hashes of keys, and the last offset of each key.
#[derive(Debug)]
pub(super) struct OffsetMap {
    /// Open addressing with linear probing; its length is the number of slots and never changes.
    slots: Vec<Slot>,
    used: usize,
    most: usize,
    latest_offset: i64,
    hashers: [RandomState; 2],
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    offset: i64,
}

/// An offset that no record has marks a slot that is free.
const FREE: Slot = Slot {
    hash: [0; 2],
    offset: -1,
};

impl OffsetMap {
    /// Room for `keys` different keys if that many entries fit in `max_bytes`; otherwise as many as fit. Only the part
    /// `load_factor` of the slots is ever used, and at least one slot.
    pub(super) fn new(keys: u64, max_bytes: u64, load_factor: f64) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "numbers of slots are far below 2^53"
        )]
        let (wanted, part) = {
            let wanted = (keys as f64 / load_factor).ceil() as u64 + 1;
            (wanted, |slots: usize| (slots as f64 * load_factor) as usize)
        };
        let fits = max_bytes / ENTRY_BYTES;
        let slots = usize::try_from(wanted.min(fits)).unwrap_or(usize::MAX).max(2);
        OffsetMap {
            slots: vec![FREE; slots],
            used: 0,
            // A probe ends at a free slot, so one must be left.
            most: part(slots).clamp(1, slots - 1),
            latest_offset: -1,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Takes note of a record. `false` if the map is full: then neither this record nor a later one may be added.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        if self.used >= self.most {
            return false;
        }
        let hash = self.hash(key);
        let place = self.find(hash);
        if self.slots[place].offset < 0 {
            self.used += 1;
        }
        self.slots[place] = Slot { hash, offset };
        self.latest_offset = self.latest_offset.max(offset);
        true
    }

    /// The last offset of the key, if any record in the map's range has it.
    pub(super) fn get(&self, key: &[u8]) -> Option<i64> {
        Some(self.slots[self.find(self.hash(key))].offset).filter(|offset| *offset >= 0)
    }

    /// The last offset that the map speaks of: what lies behind it must be left alone.
    pub(super) fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Says that everything up to `offset` was looked at.
    pub(super) fn covers(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// Different keys so far.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// The slot of this hash, or the free one where it would be put.
    fn find(&self, hash: [u64; 2]) -> usize {
        let slots = self.slots.len();
        let start = usize::try_from(hash[0] % u64::try_from(slots).unwrap_or(1)).unwrap_or(0);
        let mut places = (start..slots).chain(0..start);
        let fits = |place: &usize| {
            let slot = self.slots[*place];
            slot.offset < 0 || slot.hash == hash
        };
        // There is always a free one.
        places.find(fits).unwrap_or(start)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_kept_until_the_map_is_full() {
        for bytes in [0, 100, 2_400, 24_000] {
            let mut map = OffsetMap::new(1_000, bytes, 0.9);
            let mut put = 0u64;
            while map.put(&(put % 500).to_be_bytes(), i64::try_from(put).unwrap()) {
                put += 1;
                if put == 1_000 {
                    break;
                }
            }
            let slots = (bytes / ENTRY_BYTES).clamp(2, 1_113);
            assert_eq!(put == 1_000, slots > 500, "{bytes} bytes hold {put}");
            assert_eq!(map.latest_offset(), i64::try_from(put).unwrap() - 1);
            for key in 0..500u64 {
                let last = (0..put).rev().find(|offset| offset % 500 == key);
                assert_eq!(
                    map.get(&key.to_be_bytes()),
                    last.map(|offset| i64::try_from(offset).unwrap())
                );
            }
            assert_eq!(map.len(), usize::try_from(put.min(500)).unwrap());
        }
    }

    #[test]
    fn a_map_takes_no_more_memory_than_its_keys_need() {
        let map = OffsetMap::new(9, 128 << 20, 0.9);
        assert_eq!(map.slots.len(), 11);
        let mut map = OffsetMap::new(0, 128 << 20, 0.9);
        assert!(map.put(b"a", 5));
        map.covers(9);
        map.covers(7);
        assert_eq!((map.latest_offset(), map.get(b"b")), (9, None));
    }
}
