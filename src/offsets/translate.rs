//! Translating offsets between a partition and its mirror: the pure part.
//!
//! An offset is meant as consumers commit it: the next one to read. So the answer is the offset on the other side from which such a
//! consumer goes on: never behind a record that it has not read, and before as few as possible that it has. What is written in blocks is
//! true whoever wrote it, with two exceptions that are dealt with here: where a log lost its end, other records have the same offsets
//! later, and a topic that was deleted and made again is not the one that older blocks speak of.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::record::{Block, Owner};
use super::segments::Segment;

/// What an offset is to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Place {
    /// The record there is known, or nothing is left to read on either side.
    #[serde(rename = "exact")]
    Exact,
    /// It lies before the first record that the mirror has, or has still.
    #[serde(rename = "before the mirror")]
    Before,
    /// It lies behind all that is on record as copied.
    #[serde(rename = "beyond what is copied")]
    Beyond,
    /// There is no record at this offset, or it was gone before it could be copied.
    #[serde(rename = "inside a gap")]
    Gap,
    /// The offset map has lost what it said of this part, or never knew it: its record may be on the other side.
    #[serde(rename = "not on record")]
    Unknown,
}

impl Place {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Place::Exact => "exact",
            Place::Before => "before the mirror",
            Place::Beyond => "beyond what is copied",
            Place::Gap => "inside a gap",
            Place::Unknown => "not on record",
        }
    }
}

/// Where an offset is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// What the offset is to the other side.
    pub place: Place,
    /// From where a consumer goes on there.
    pub next: i64,
}

/// The topics and the log as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The source topic's id, where it is known; otherwise the last block's counts.
    pub source_id: Option<String>,
    /// The mirror topic's id, where it is known; otherwise the last block's counts.
    pub target_id: Option<String>,
    /// The first offset that the mirror still has.
    pub start: i64,
    /// The offset after its last one.
    pub end: i64,
}

/// A part of the mirror of which no block speaks: what lies there on the target comes from there on the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unknown {
    source: (i64, i64),
    target: (i64, i64),
}

/// All that the offset map says of one partition, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMap {
    /// What is copied and in the mirror still; both sides ascend.
    forward: Vec<Segment>,
    /// The same with what lies before the mirror's start.
    backward: Vec<Segment>,
    /// Parts of the mirror of which no block speaks, in their order.
    unknown: Vec<Unknown>,
    /// What lies before it is not in the mirror, or not any more: source and target offset.
    begin: (i64, i64),
    /// The next source offset to copy, and the target offset after the last copied record.
    end: (i64, i64),
}

impl PartitionMap {
    /// From the blocks in the order in which they were written. `None` if none of them is about the topics as they are now.
    pub fn new(all: &[Block], now: &Now) -> Option<PartitionMap> {
        let blocks = ranked(&of_now(all, now));
        let last = blocks.last()?;
        let until = last.target_position.min(now.end);
        let backward = in_order(&blocks, (last.position, until));
        let end = match until == last.target_position {
            true => (last.position, until),
            // The mirror has lost its end, and nobody has noticed yet.
            false => {
                let kept = backward.last().map_or(first(&blocks), Segment::source_end);
                (kept, until)
            }
        };
        let kept = |run: &Segment| from_target(*run, now.start);
        let forward: Vec<Segment> = backward.iter().map(kept).filter(|run| run.length > 0).collect();
        let begin = beginning(&blocks, &forward, now.start).unwrap_or(end);
        // What was copied of a source topic that was deleted lies in the mirror as well, and is known to be of that.
        let unknown = unknown(&of_mirror(all, now), now.start, end.1);
        Some(PartitionMap {
            unknown,
            forward,
            backward,
            begin: (begin.0.min(end.0), now.start.max(begin.1)),
            end: (end.0, end.1.max(now.start)),
        })
    }

    /// Where a source offset is in the mirror.
    pub fn to_target(&self, source: i64) -> Translation {
        let at = self
            .forward
            .partition_point(|segment| segment.source_end() <= source);
        let next = self.forward.get(at);
        let place = match next {
            Some(segment) if segment.source <= source => {
                return Translation {
                    place: Place::Exact,
                    next: segment.target + (source - segment.source),
                };
            }
            _ if source == self.end.0 => Place::Exact,
            _ if source > self.end.0 => Place::Beyond,
            _ if source < self.begin.0 => Place::Before,
            _ => Place::Gap,
        };
        let next = next.map_or(self.end.1, |segment| segment.target);
        // Its record, or one behind it, may lie where nothing is known: whoever went on behind that would miss it.
        let missed = |part: &&Unknown| part.source.1 > source && part.target.0 < next;
        match self.unknown.iter().find(missed) {
            Some(part) => Translation {
                place: if part.source.0 <= source {
                    Place::Unknown
                } else {
                    place
                },
                next: part.target.0,
            },
            None => Translation { place, next },
        }
    }

    /// Where an offset of the mirror is on the source.
    pub fn to_source(&self, target: i64) -> Translation {
        let at = self
            .backward
            .partition_point(|segment| segment.target_end() <= target);
        let next = self.backward.get(at);
        if let Some(segment) = next.filter(|segment| segment.target <= target) {
            let is_before = target < self.begin.1;
            return Translation {
                place: if is_before { Place::Before } else { Place::Exact },
                next: segment.source + (target - segment.target),
            };
        }
        let next = next.map_or(self.end.0, |segment| segment.source);
        let missed = |part: &&Unknown| part.target.1 > target && part.source.0 < next;
        let missed = self.unknown.iter().find(missed);
        let place = match missed {
            Some(part) if part.target.0 <= target => Place::Unknown,
            _ if target < self.begin.1 => Place::Before,
            _ if target == self.end.1 => Place::Exact,
            _ if target > self.end.1 => Place::Beyond,
            _ => Place::Gap,
        };
        Translation {
            place,
            next: missed.map_or(next, |part| part.source.0),
        }
    }

    /// The next source offset to copy, and the target offset after the last copied record.
    pub fn end(&self) -> (i64, i64) {
        self.end
    }
}

/// The blocks that are about the mirror as it is now.
fn of_mirror<'a>(blocks: &'a [Block], now: &Now) -> Vec<&'a Block> {
    let target_id = now.target_id.as_deref();
    let target_id = target_id.or_else(|| blocks.last().and_then(|last| last.target_topic_id.as_deref()));
    blocks
        .iter()
        .filter(|block| block.is_of_mirror(target_id))
        .collect()
}

/// Those of them that are about the source topic as it is now as well.
fn of_now<'a>(blocks: &'a [Block], now: &Now) -> Vec<&'a Block> {
    let source_id = now.source_id.as_ref();
    let source_id = source_id.or_else(|| blocks.last().and_then(|last| last.source_topic_id.as_ref()));
    // A cluster that gives no ids, or did not then, leaves nothing to tell by.
    let is_of_source = |block: &&Block| match (&block.source_topic_id, source_id) {
        (Some(then), Some(now)) => then == now,
        _ => true,
    };
    let mut blocks = of_mirror(blocks, now);
    blocks.retain(is_of_source);
    blocks
}

/// In the order in which they count, the last one most. What an owner wrote who had been replaced already, and did not know it, counts
/// less than all that was written by others.
fn ranked<'a>(blocks: &[&'a Block]) -> Vec<&'a Block> {
    let mut newest: HashMap<i64, i16> = HashMap::new();
    let (mut outdated, mut rest) = (Vec::new(), Vec::new());
    for block in blocks.iter().copied() {
        let is_outdated = owner(block).is_some_and(|(id, epoch)| {
            let newest = newest.entry(id).or_insert(epoch);
            let is_outdated = epoch < *newest;
            *newest = epoch.max(*newest);
            is_outdated
        });
        if is_outdated {
            outdated.push(block);
        } else {
            rest.push(block);
        }
    }
    outdated.append(&mut rest);
    outdated
}

fn owner(block: &Block) -> Option<Owner> {
    block.producer_id.zip(block.producer_epoch)
}

/// The runs of a block, but for what no writer of blocks can mean: they come from a topic that anyone may write to.
fn runs(block: &Block) -> impl DoubleEndedIterator<Item = &Segment> {
    let can_be = |run: &&Segment| {
        let start = run.source.max(run.target);
        run.source.min(run.target) >= 0 && run.length > 0 && start.checked_add(run.length).is_some()
    };
    block.segments.iter().filter(can_be)
}

/// The first source offset that any block speaks of.
fn first(blocks: &[&Block]) -> i64 {
    let firsts = blocks
        .iter()
        .map(|block| runs(block).next().map_or(block.position, |run| run.source));
    firsts.min().unwrap_or(0)
}

/// From which source offset on nothing is missing in the mirror, and what target offset that is: the smallest of all places from which
/// on the mirror still has what was copied.
fn beginning(blocks: &[&Block], forward: &[Segment], start: i64) -> Option<(i64, i64)> {
    let ends = blocks.iter().flat_map(|block| {
        let ends = runs(block).map(|run| (run.source_end(), run.target_end()));
        ends.chain([(block.position, block.target_position)])
    });
    let source = ends
        .filter(|(_, target)| *target >= start)
        .map(|(source, _)| source)
        .chain(forward.first().map(|run| run.source))
        .min()?;
    let targets = blocks
        .iter()
        .map(|block| runs(block).next().map_or(block.target_position, |run| run.target));
    Some((source, targets.min()?))
}

/// The parts of the mirror between two target offsets of which no block speaks. Blocks that do not say where they begin go on from those
/// before them.
fn unknown(blocks: &[&Block], start: i64, end: i64) -> Vec<Unknown> {
    let begins = |block: &Block| match block.from {
        Some((source, target)) if target <= block.target_position => (target, source),
        _ => (i64::MIN, i64::MIN),
    };
    let mut stretches: Vec<_> = blocks
        .iter()
        .map(|block| {
            let until = (block.target_position, block.position);
            (begins(block), until, block.source_topic_id.as_deref())
        })
        .collect();
    // Of those that begin at the same place the one with the highest source offset is the last: more may be before it.
    stretches.sort_unstable();
    let mut parts: Vec<Unknown> = Vec::new();
    // Up to which target offset, what source position that is, and of which source.
    let mut known = (i64::MIN, 0, None);
    for ((target, source), until, of) in stretches {
        let (from, to) = (start.max(known.0), target.min(end));
        // All that is known of another source says nothing of this one.
        let is_other = known.2.zip(of).is_some_and(|(before, of)| before != of);
        let first = if is_other { 0 } else { known.1 };
        match parts.last_mut() {
            Some(part) if part.target.1 == to => part.source.1 = part.source.1.max(source),
            _ if from < to => parts.push(Unknown {
                source: (first, source),
                target: (from, to),
            }),
            _ => {}
        }
        if until.0 >= known.0 {
            known = (until.0, until.1, of);
        }
    }
    // Nothing of the source lies between them, but markers perhaps.
    parts.retain(|part| part.source.0 < part.source.1);
    parts
}

/// What is copied, up to a source and a target offset, in an order that is the same on both sides. Where blocks contradict each other, a
/// log lost its end and has other records there now, or a record is in the mirror twice, what counts more is kept: a consumer that goes on
/// after it, on either side, has missed nothing.
fn in_order(blocks: &[&Block], end: (i64, i64)) -> Vec<Segment> {
    let mut kept = Kept::default();
    for block in blocks.iter().rev() {
        for run in runs(block).rev() {
            kept.add(until(*run, end));
        }
    }
    kept.0.into_values().collect()
}

/// The part of a run before a source and a target offset.
fn until(run: Segment, (source, target): (i64, i64)) -> Segment {
    let length = (source.saturating_sub(run.source)).min(target.saturating_sub(run.target));
    Segment {
        length: run.length.min(length),
        ..run
    }
}

/// The part of a run from a target offset on.
fn from_target(run: Segment, target: i64) -> Segment {
    skip(run, target.saturating_sub(run.target))
}

/// A run without its first offsets.
fn skip(run: Segment, count: i64) -> Segment {
    let count = count.max(0);
    Segment {
        source: run.source.saturating_add(count),
        target: run.target.saturating_add(count),
        length: run.length.saturating_sub(count),
    }
}

/// Runs by source offset that ascend on both sides.
#[derive(Default)]
struct Kept(BTreeMap<i64, Segment>);

impl Kept {
    /// Adds what does not contradict what is there.
    fn add(&mut self, run: Segment) {
        for part in self.free(run) {
            let before = self.0.range(..part.source).next_back();
            let part = before.map_or(part, |(_, before)| from_target(part, before.target_end()));
            let after = self.0.range(part.source..).next();
            let part = after.map_or(part, |(_, after)| until(part, (after.source, after.target)));
            if part.length > 0 {
                self.0.insert(part.source, part);
            }
        }
    }

    /// The parts of a run of whose source offsets nothing is there yet.
    fn free(&self, run: Segment) -> Vec<Segment> {
        let mut parts = Vec::new();
        let mut rest = run;
        if let Some((_, before)) = self.0.range(..=run.source).next_back() {
            rest = skip(rest, before.source_end() - rest.source);
        }
        if rest.length > 0 {
            for (_, taken) in self.0.range(rest.source..run.source_end()) {
                let part = until(rest, (taken.source, i64::MAX));
                if part.length > 0 {
                    parts.push(part);
                }
                rest = skip(rest, taken.source_end() - rest.source);
            }
        }
        if rest.length > 0 {
            parts.push(rest);
        }
        parts
    }
}

#[cfg(test)]
mod tests;
