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

/// A block on its way into the offset map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The first target offset that it speaks of.
    pub id: i64,
    /// Source and target position before its first segment, where they are known.
    pub from: Option<(i64, i64)>,
    /// Where records landed.
    pub segments: Vec<Segment>,
}

/// Segments on their way into the offset map, in blocks.
#[derive(Default)]
pub(super) struct Ledger {
    /// Full blocks that are not written.
    full: Vec<Draft>,
    /// How many blocks are being written.
    taken: usize,
    /// The block that still grows.
    pub(super) open: Vec<Segment>,
    /// Where that begins.
    from: Option<(i64, i64)>,
    grown: bool,
    /// The position has moved, even if no record was copied.
    pub(super) moved: bool,
}

/// The blocks of segments that are known all at once. The last of them is there without any segment as well.
pub(super) fn blocks(from: Option<(i64, i64)>, segments: &[Segment], target_position: i64) -> Vec<Draft> {
    let mut ledger = Ledger::begun(from);
    ledger.moved = true;
    for segment in segments {
        ledger.push_run(*segment);
    }
    ledger.take(target_position).unwrap_or_default()
}

impl Ledger {
    /// An empty one that goes on from these positions, where they are known.
    pub(super) fn begun(from: Option<(i64, i64)>) -> Ledger {
        Ledger {
            from,
            ..Ledger::default()
        }
    }

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
            self.begin(Some((run.source, run.target)));
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

    /// End the open block. The next one goes on behind it.
    fn close(&mut self) {
        let segments = std::mem::take(&mut self.open);
        let from = self.from;
        if let Some(last) = segments.last() {
            self.from = Some((last.source_end(), last.target_end()));
        }
        if let (Some(first), true) = (segments.first(), self.grown) {
            let id = first.target;
            self.full.push(Draft { id, from, segments });
        }
        self.grown = false;
    }

    /// End the open block. The next one begins at these positions, where they are known.
    pub(super) fn begin(&mut self, from: Option<(i64, i64)>) {
        self.close();
        self.from = from;
    }

    pub(super) fn take(&mut self, target_position: i64) -> Option<Vec<Draft>> {
        if !self.grown && !self.moved && self.full.is_empty() {
            return None;
        }
        let mut blocks = std::mem::take(&mut self.full);
        // The last block carries the position, so there is one even where no record was copied.
        if self.grown || blocks.is_empty() {
            blocks.push(Draft {
                id: self.open.first().map_or(target_position, |first| first.target),
                from: self.from,
                segments: self.open.clone(),
            });
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
    pub(super) fn freeze(&mut self, sent: &[Draft]) {
        // The others were full.
        let Some(sent) = sent.last() else { return };
        if let Some(index) = self.full.iter().position(|full| full.id == sent.id) {
            let rest = besides(self.full.remove(index), sent);
            if !rest.segments.is_empty() {
                self.full.insert(index, rest);
            }
        } else if self.open.first().is_some_and(|first| first.target == sent.id) {
            let open = Draft {
                id: sent.id,
                from: self.from,
                segments: std::mem::take(&mut self.open),
            };
            let rest = besides(open, sent);
            self.grown = !rest.segments.is_empty();
            (self.open, self.from) = (rest.segments, rest.from);
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
fn besides(mut block: Draft, sent: &Draft) -> Draft {
    let Some((last, before)) = sent.segments.split_last() else {
        return block;
    };
    let mut segments = block.segments.split_off(before.len().min(block.segments.len()));
    if let Some(first) = segments.first_mut() {
        first.source = last.source_end();
        first.target = last.target_end();
        first.length -= last.length;
    }
    segments.retain(|segment| segment.length > 0);
    Draft {
        id: segments.first().map_or(block.id, |first| first.target),
        from: Some((last.source_end(), last.target_end())),
        segments,
    }
}
