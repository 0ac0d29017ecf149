//! Segments of a partition on their way into the offset map.

use heliostat_wire::convert::RunList;

use crate::offsets::record::SEGMENTS_PER_BLOCK;
use crate::offsets::segments::{self, Segment};

/// Segments on their way into the offset map, in blocks.
#[derive(Default)]
pub(super) struct Ledger {
    /// Full blocks that are not written.
    full: Vec<(i64, Vec<Segment>)>,
    /// The block that still grows.
    pub(super) open: Vec<Segment>,
    grown: bool,
    /// The position has moved, even if no record was copied.
    pub(super) moved: bool,
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
        Some(blocks)
    }

    pub(super) fn put_back(&mut self, mut blocks: Vec<(i64, Vec<Segment>)>) {
        self.moved = true;
        self.grown |= !self.open.is_empty();
        let open = self.open.first().map(|first| first.target);
        blocks.retain(|(id, segments)| !segments.is_empty() && Some(*id) != open);
        blocks.append(&mut self.full);
        self.full = blocks;
    }
}
