//! Which blocks the map holds of a partition, as far as a daemon has to know to take back those of which the mirror has nothing any more.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use super::record::{Block, BlockId};

/// As many blocks of a partition are known at once, the oldest: a quarter of a megabyte. When they are used up, the map topic is
/// gone through again for those that follow.
pub const BLOCKS_MAX: usize = 4096;

/// The blocks of one partition, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockIndex {
    blocks: BTreeMap<BlockId, Entry>,
    /// There are more behind these, which are not known.
    is_cut: bool,
    /// The last one of each mirror that was taken back. They are taken back in their order.
    taken_back: Floors,
    /// Only what comes after these is looked for.
    after: Floors,
}

/// Blocks by the mirror that they speak of.
type Floors = BTreeMap<Option<u64>, BlockId>;

/// Of so many mirrors of one name it is remembered at once what was taken back.
const MIRRORS_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// The target offset after what the block speaks of.
    end: i64,
    /// Stands for the id of the mirror topic, where there is one.
    mirror: Option<u64>,
}

/// The mirror as it is now.
#[derive(Clone, Copy, Debug)]
pub struct Mirror<'a> {
    /// Its first offset.
    pub start: i64,
    /// Its topic's id, where there is one.
    pub id: Option<&'a str>,
    /// The block that was written last: where copying goes on. It is never taken back.
    pub last: (BlockId, &'a Block),
}

impl BlockIndex {
    /// A block was written.
    pub fn note(&mut self, id: BlockId, block: &Block) {
        let entry = Entry {
            end: block.target_position,
            mirror: block.target_topic_id.as_deref().map(short),
        };
        if self.after.get(&entry.mirror).is_some_and(|after| id <= *after) {
            return;
        }
        let is_behind = || self.blocks.last_key_value().is_none_or(|(last, _)| id > *last);
        if self.is_cut && is_behind() {
            return;
        }
        self.blocks.insert(id, entry);
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks.pop_last();
            self.is_cut = true;
        }
    }

    /// A block was taken back.
    pub fn remove(&mut self, id: &BlockId) {
        if let Some(entry) = self.blocks.remove(id) {
            raise(&mut self.taken_back, entry.mirror, *id);
        }
    }

    /// An index to look for those that follow with, in a topic that may hold still what was taken back.
    pub fn following(&self) -> BlockIndex {
        BlockIndex {
            after: self.taken_back.clone(),
            ..BlockIndex::default()
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether so few are left of those that are known that it is time to look for those that follow.
    pub fn is_used_up(&self) -> bool {
        self.is_cut && self.blocks.len() < BLOCKS_MAX / 4
    }

    /// Takes in what was found when the topic was gone through again; what was written meanwhile is known already.
    pub fn refill(&mut self, found: BlockIndex) {
        let written = std::mem::replace(self, found);
        self.after.clear();
        for (mirror, id) in written.taken_back {
            raise(&mut self.taken_back, mirror, id);
        }
        for (id, entry) in written.blocks {
            if self.is_cut && self.blocks.last_key_value().is_none_or(|(last, _)| id > *last) {
                break;
            }
            self.blocks.insert(id, entry);
        }
    }

    /// Blocks that may be taken back, at most so many: all that they speak of lies before the mirror's start, or they speak of a mirror
    /// that was deleted since.
    pub fn expired(&self, mirror: Mirror<'_>, at_most: usize) -> Vec<BlockId> {
        let (last_id, last) = mirror.last;
        let now = mirror.id.map(short);
        // What was said of another mirror is of no use once something is said of this one.
        let is_begun = now.is_some() && last.target_topic_id.as_deref().map(short) == now;
        let is_expired = |(id, entry): &(&BlockId, &Entry)| {
            let is_of_other = is_begun && entry.mirror.is_some() && entry.mirror != now;
            let is_below = entry.end <= mirror.start && self.is_final(**id, last_id, mirror.start);
            **id != last_id && (is_of_other || is_below)
        };
        let expired = self.blocks.iter().filter(is_expired).map(|(id, _)| *id);
        expired.take(at_most).collect()
    }

    /// Whether a block will never speak of anything from `start` on, whatever is on its way to the map: its owner has begun another one
    /// before that, or somebody else has taken over, who says of what follows the anchor where it is.
    fn is_final(&self, id: BlockId, last: BlockId, start: i64) -> bool {
        if id.1 != last.1 {
            return true;
        }
        let after = (Bound::Excluded(id), Bound::Unbounded);
        let next = self.blocks.range(after).find(|(other, _)| other.1 == id.1);
        let next = next.map_or(last, |(next, _)| *next);
        next > id && next.0 <= start
    }
}

fn raise(floors: &mut Floors, mirror: Option<u64>, id: BlockId) {
    let floor = floors.entry(mirror).or_insert(id);
    *floor = id.max(*floor);
    if floors.len() > MIRRORS_MAX {
        floors.pop_first();
    }
}

/// An id in few bytes.
fn short(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::record::{Owner, VERSION};

    fn block(end: i64, mirror: &str) -> Block {
        Block {
            v: VERSION,
            source_topic: "orders".into(),
            source_topic_id: None,
            target_topic_id: Some(mirror.into()),
            position: end,
            target_position: end,
            segments: Vec::new(),
            at_ms: 0,
            producer_id: None,
            producer_epoch: None,
            from: None,
            source_epochs: Default::default(),
            released: false,
        }
    }

    const ONE: Option<Owner> = Some((7, 1));
    const TWO: Option<Owner> = Some((7, 2));

    /// An index of these blocks, and what of it is expired at a mirror's start, where the last one is the anchor.
    fn expired(blocks: &[(BlockId, i64, &str)], start: i64) -> Vec<i64> {
        let mut index = BlockIndex::default();
        for (id, end, mirror) in blocks {
            index.note(*id, &block(*end, mirror));
        }
        let (id, end, name) = blocks[blocks.len() - 1];
        let last = block(end, name);
        let mirror = Mirror {
            start,
            id: Some("now"),
            last: (id, &last),
        };
        index
            .expired(mirror, 100)
            .into_iter()
            .map(|(first, _)| first)
            .collect()
    }

    #[test]
    fn what_speaks_only_of_what_the_mirror_has_lost_is_expired_but_never_the_last() {
        let blocks = [
            ((0, ONE), 10, "now"),
            ((10, ONE), 20, "now"),
            ((20, ONE), 30, "now"),
        ];
        assert_eq!(expired(&blocks, 9), [0; 0]);
        assert_eq!(expired(&blocks, 10), [0]);
        assert_eq!(expired(&blocks, 19), [0]);
        assert_eq!(expired(&blocks, 99), [0, 10]);
    }

    #[test]
    fn a_block_that_its_owner_may_still_extend_stays() {
        // The last write of it has not been read back yet; the next block begins where it will end.
        let blocks = [((0, ONE), 10, "now"), ((15, ONE), 30, "now")];
        assert_eq!(expired(&blocks, 12), [0; 0]);
        assert_eq!(expired(&blocks, 15), [0]);
        // Another owner says itself where what it found has landed.
        let blocks = [((0, ONE), 10, "now"), ((10, TWO), 30, "now")];
        assert_eq!(expired(&blocks, 10), [0]);
    }

    #[test]
    fn blocks_of_a_mirror_that_was_deleted_are_expired_once_something_is_said_of_the_new_one() {
        let old = [((0, ONE), 10, "before"), ((10, ONE), 20, "before")];
        assert_eq!(expired(&old, 0), [0; 0]);
        let new = [old[0], old[1], ((0, TWO), 5, "now")];
        assert_eq!(expired(&new, 0), [0, 10]);
    }

    #[test]
    fn the_oldest_blocks_are_known_and_the_others_found_again() {
        let mut index = BlockIndex::default();
        let all = BLOCKS_MAX as i64 + 10;
        let fill = |index: &mut BlockIndex, from: i64| {
            (from..all).for_each(|first| index.note((first, ONE), &block(first + 1, "now")));
        };
        fill(&mut index, 0);
        assert_eq!((index.len(), index.is_used_up()), (BLOCKS_MAX, false));
        (0..BLOCKS_MAX as i64).for_each(|first| index.remove(&(first, ONE)));
        assert!(index.is_used_up());
        index.note((all, ONE), &block(all + 1, "now"));
        assert_eq!(index.len(), 0, "it would hide those before it");
        // The topic holds still what was taken back.
        let mut found = index.following();
        fill(&mut found, 0);
        index.refill(found);
        assert_eq!((index.len(), index.is_used_up()), (10, false));
        index.note((all, ONE), &block(all + 1, "now"));
        assert_eq!(index.len(), 11);
    }
}
