//! What is known of a partition before it is looked at.

use super::Wanted;
use crate::flow::discover::Discovery;
use crate::offsets::epochs::Epochs;
use crate::offsets::segments::Segment;

/// How far a partition was copied, and which topics that was between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The next source offset to copy.
    pub position: i64,
    /// The target offset after the last copied record.
    pub target_position: Option<i64>,
    /// The source topic's id then.
    pub source_id: Option<String>,
    /// The mirror topic's id then.
    pub target_id: Option<String>,
    /// Producer id and epoch that it was copied with.
    pub producer: Option<(i64, i16)>,
    /// Whether its owner gave it up, with nothing on its way.
    pub released: bool,
    /// The segments that were copied last.
    pub segments: Vec<Segment>,
    /// The source's leader epochs before the position.
    pub epochs: Epochs,
    /// What the mirror has from this offset on was written after its log had lost its end.
    pub lost_from: Option<i64>,
}

/// What the offset map says of a partition.
pub(super) fn from_map(discovery: &Discovery, wanted: &Wanted) -> Option<Known> {
    let facts = discovery
        .target_maps
        .facts(&wanted.mirror.target_topic, wanted.partition)?;
    let block = facts.last;
    Some(Known {
        position: block.position,
        target_position: Some(block.target_position),
        source_id: block.source_topic_id,
        target_id: block.target_topic_id,
        producer: block.producer_id.zip(block.producer_epoch),
        released: block.released,
        segments: facts.segments,
        epochs: block.source_epochs,
        lost_from: None,
    })
}

/// What is known of a partition of which nothing was copied yet since this daemon has it: with where the last records before that landed.
pub(super) fn with_segments(known: &Known, on_record: Option<Known>) -> Known {
    let mut known = known.clone();
    if let Some(on_record) = on_record.filter(|_| known.segments.is_empty()) {
        let ids = |known: &Known| (known.source_id.clone(), known.target_id.clone());
        let is_before = |segment: &Segment| {
            segment.source_end() <= known.position
                && known
                    .target_position
                    .is_some_and(|end| segment.target_end() <= end)
        };
        if ids(&on_record) == ids(&known) && on_record.segments.iter().all(is_before) {
            known.segments = on_record.segments;
        }
    }
    known
}
