//! Segments of a partition on their way into the offset map.

use heliostat_wire::convert::RunList;

use crate::offsets::record::SEGMENTS_PER_BLOCK;
use crate::offsets::segments::{self, Segment};

/// Of no partition more blocks wait to be written than this, some 400 kB: with more, nothing of it is sent until the map has taken some.
/// Facts are never forgotten, so copying has to wait where the map cannot be written. Only what comes with many holes makes so many
/// between two writes; what is in step makes one.
pub(super) const BLOCKS_WAITING_MAX: usize = 64;

/// With so many it is time to write them, without waiting for the next beat.
const BLOCKS_PRESSING: usize = BLOCKS_WAITING_MAX / 2;

/// Segments on their way into the offset map, in blocks.
#[derive(Default)]
pub(super) struct Ledger {
    /// Full blocks that are not written.
    full: Vec<(i64, Vec<Segment>)>,
    /// How many blocks are being written.
    taken: usize,
    /// The block that still grows.
    pub(super) open: Vec<Segment>,
    grown: bool,
    /// The position has moved, even if no record was copied.
    pub(super) moved: bool,
}

/// The blocks of segments that are known all at once, by their first target offset. The last of them is there without any segment as well.
pub(super) fn blocks(segments: &[Segment], target_position: i64) -> Vec<(i64, Vec<Segment>)> {
    let mut ledger = Ledger {
        moved: true,
        ..Ledger::default()
    };
    for segment in segments {
        ledger.push_run(*segment);
    }
    ledger.take(target_position).unwrap_or_default()
}

impl Ledger {
    /// Note where records have arrived. Returns the target offset after them.
    pub(super) fn push(&mut self, runs: &RunList, mut target: i64) -> i64 {
        for &(source, length) in runs.runs() {
            let run = Segment {
                source,
                target,
                length: i64::from(length),
            };
            target = self.push_run(run);
        }
        target
    }

    pub(super) fn push_run(&mut self, run: Segment) -> i64 {
        // A mirror's log that has lost its end begins again before: within a block both sides ascend.
        if self.open.last().is_some_and(|last| !run.is_behind(last)) {
            self.close();
        }
        segments::push(&mut self.open, run);
        self.grown = true;
        if self.open.len() > SEGMENTS_PER_BLOCK {
            let next = self.open.split_off(SEGMENTS_PER_BLOCK);
            self.close();
            self.open = next;
            self.grown = true;
        }
        run.target_end()
    }

    /// End the open block.
    pub(super) fn close(&mut self) {
        let block = std::mem::take(&mut self.open);
        if let (Some(first), true) = (block.first(), self.grown) {
            self.full.push((first.target, block));
        }
        self.grown = false;
    }

    pub(super) fn take(&mut self, target_position: i64) -> Option<Vec<(i64, Vec<Segment>)>> {
        if !self.grown && !self.moved && self.full.is_empty() {
            return None;
        }
        let mut blocks = std::mem::take(&mut self.full);
        // The last block carries the position, so there is one even where no record was copied.
        if self.grown || blocks.is_empty() {
            let id = self.open.first().map_or(target_position, |first| first.target);
            blocks.push((id, self.open.clone()));
        }
        self.grown = false;
        self.moved = false;
        self.taken += blocks.len();
        Some(blocks)
    }

    /// Whether blocks were taken that are not known to be written.
    pub(super) fn is_taken(&self) -> bool {
        self.taken > 0
    }

    /// So many of the blocks that were taken are written.
    pub(super) fn written(&mut self, blocks: usize) {
        self.taken = self.taken.saturating_sub(blocks);
    }

    /// Blocks that were taken may have been written, now or later: what a broker has in its queue it writes when it likes. They stay as they were
    /// sent, so that it does not matter when; what they have grown by since begins a block of its own.
    pub(super) fn freeze(&mut self, sent: &[(i64, Vec<Segment>)]) {
        // The others were full.
        let Some((id, sent)) = sent.last() else { return };
        if let Some(index) = self.full.iter().position(|(full, _)| full == id) {
            let (_, block) = self.full.remove(index);
            let rest = besides(block, sent);
            if let Some(first) = rest.first() {
                self.full.insert(index, (first.target, rest));
            }
        } else if self.open.first().is_some_and(|first| first.target == *id) {
            self.open = besides(std::mem::take(&mut self.open), sent);
            self.grown = !self.open.is_empty();
        }
    }

    /// Whether nothing more may come until some of it is written. `coming` segments are on their way already.
    pub(super) fn is_full(&self, coming: usize) -> bool {
        self.full.len() + self.taken + coming / SEGMENTS_PER_BLOCK >= BLOCKS_WAITING_MAX
    }

    /// Whether so much waits that it should be written soon.
    pub(super) fn is_pressing(&self) -> bool {
        self.full.len() >= BLOCKS_PRESSING
    }
}

/// What a block has besides what was sent of it, the last segment of which may have grown.
fn besides(mut block: Vec<Segment>, sent: &[Segment]) -> Vec<Segment> {
    let Some((last, before)) = sent.split_last() else {
        return block;
    };
    let mut rest = block.split_off(before.len().min(block.len()));
    if let Some(first) = rest.first_mut() {
        first.source = last.source_end();
        first.target = last.target_end();
        first.length -= last.length;
    }
    rest.retain(|segment| segment.length > 0);
    rest
}
