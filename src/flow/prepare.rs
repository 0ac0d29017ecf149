//! Where to begin with a partition: what the offset map knows, held against what both clusters have now.

mod limits;

use std::sync::Arc;
use std::time::Duration;

use heliostat_wire::compression;
use heliostat_wire::convert::Options;
use tokio::task::JoinSet;

use super::discover::{Discovery, Mirror};
use super::engine::Side;
use super::exactly_once::{Anchor, Claim, Lease, NotTaken, Sides, take, transactional_id};
use super::facts::{self, Beginning};
use crate::cluster::ClusterError;
use crate::cluster::admin::explain;
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::observe::status::State;
use crate::offsets::epochs::{Epochs, Survival};
use crate::offsets::segments::Segment;
use crate::topology::{Compression, Delivery, OnGap, OnRecreated};
use limits::batch_limits;

/// How long the map topic may take to be read to its end.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A partition that is to be copied.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its topic and mirror.
    pub mirror: Mirror,
    /// The partition.
    pub partition: i32,
    /// How far this daemon has copied it already. If it has not, the offset map is asked.
    pub known: Option<Known>,
}

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

/// A partition that was looked at.
#[derive(Debug)]
pub struct Prepared {
    /// How to go on.
    pub decision: Decision,
    /// What to write with, for an engine that needs it.
    pub claim: Option<Claim>,
    /// For how long.
    pub lease: Option<Lease>,
    /// What batches of the mirror may be like.
    pub options: Options,
    /// Where records landed of which the offset map does not know yet.
    pub found: Vec<Segment>,
    /// The source's leader epochs before the position, as far as they are known.
    pub epochs: Epochs,
    /// The source offsets that were copied, and are gone from the source's log or hold something else now: first, and after the last.
    pub replaced: Option<(i64, i64)>,
    /// Nothing was copied to this mirror yet, and its leader does not give its offsets: its log is still to be made.
    pub is_awaited: bool,
    /// What is on record is of no use any more: from where on it is copied has to be there before anything is.
    is_to_be_stated: bool,
}

/// How to go on with a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Copy from here.
    Copy {
        /// The source offset to begin at.
        at: i64,
        /// The target offset after the last copied record.
        target_position: Option<i64>,
        /// Source offsets before `at` that were gone before they could be copied: first, and after the last.
        gap: Option<(i64, i64)>,
        /// What happened, if it is worth a line in the log.
        note: Option<String>,
        /// The source's log is not the one that was copied before, and is followed.
        is_new_log: bool,
    },
    /// Do not copy.
    Halt {
        /// The state that the partition is in.
        state: State,
        /// Why, and what would clear it.
        reason: String,
        /// The source offsets that it is about: the first and the last.
        offsets: Option<(i64, i64)>,
    },
}

impl Prepared {
    fn without_claim(decision: Decision, options: Options) -> Prepared {
        Prepared {
            decision,
            claim: None,
            lease: None,
            options,
            found: Vec::new(),
            epochs: Epochs::default(),
            replaced: None,
            is_awaited: false,
            is_to_be_stated: false,
        }
    }
}

/// Decide for many partitions at once.
pub async fn prepare(discovery: Arc<Discovery>, wanted: Vec<Wanted>) -> Result<Vec<Prepared>, ClusterError> {
    if wanted.iter().any(|wanted| wanted.known.is_none()) {
        read_map(&discovery).await?;
    }
    // Before the ends are asked for: whoever copies until now goes on, and what is on record must not lie beyond them.
    let known = |wanted: &Wanted| wanted.known.clone().or_else(|| from_map(&discovery, wanted));
    let known: Vec<Option<Known>> = wanted.iter().map(known).collect();
    let partitions: Vec<(String, i32)> = wanted
        .iter()
        .map(|wanted| (wanted.mirror.topic.clone(), wanted.partition))
        .collect();
    let mirrors: Vec<(String, i32)> = wanted
        .iter()
        .map(|wanted| (wanted.mirror.target_topic.clone(), wanted.partition))
        .collect();
    // A leader that has only just been named may refuse the first batch of a producer and take the second, and then it never takes the
    // first. Nothing is written to a partition before its leader knows it, which it shows by giving its offsets.
    let (starts, ends, on_target) = tokio::try_join!(
        discovery.source.offsets(partitions.clone(), OffsetSpec::Earliest),
        discovery.source.offsets(partitions, OffsetSpec::LatestCommitted),
        discovery.target.offsets(mirrors, OffsetSpec::LatestCommitted)
    )?;
    let policies = (discovery.flow.on_gap, discovery.flow.on_recreated);
    let limits = batch_limits(&discovery, &wanted).await;
    let new: Vec<(Wanted, bool)> = wanted
        .iter()
        .zip(&known)
        .map(|(wanted, known)| (wanted.clone(), is_new(known.as_ref(), &wanted.mirror)))
        .collect();
    let mut work = JoinSet::new();
    for (index, (wanted, known)) in wanted.into_iter().zip(known).enumerate() {
        let source = |offsets| find(offsets, &wanted.mirror.topic, wanted.partition);
        let on_target = find(&on_target, &wanted.mirror.target_topic, wanted.partition);
        let range = match (source(&starts), source(&ends), on_target) {
            (Ok(start), Ok(end), Ok(_)) => Ok((start, end)),
            (Err(reason), _, _) | (_, Err(reason), _) => Err(("source", reason)),
            (_, _, Err(reason)) => Err(("target", reason)),
        };
        let options = Options {
            max_batch_bytes: limits
                .get(&wanted.mirror.target_topic)
                .copied()
                .unwrap_or(Options::default().max_batch_bytes),
            compression: codec(discovery.flow.compression),
            ..Options::default()
        };
        let discovery = discovery.clone();
        work.spawn(async move {
            let _place = discovery.places.acquire().await;
            let prepared = match range {
                Ok(range) => one(&discovery, &wanted, known, range, policies, options).await,
                Err((side, reason)) => Prepared {
                    is_awaited: side == "target" && known.is_none(),
                    ..without_offsets(side, &reason, options)
                },
            };
            (index, prepared)
        });
    }
    let mut prepared = work.join_all().await;
    prepared.sort_by_key(|(index, _)| *index);
    let prepared: Vec<Prepared> = prepared.into_iter().map(|(_, prepared)| prepared).collect();
    let beginnings: Vec<Beginning> = new
        .iter()
        .zip(&prepared)
        .filter(|((_, is_new), prepared)| *is_new || prepared.is_to_be_stated)
        .filter_map(|((wanted, _), prepared)| beginning(wanted, prepared, &on_target))
        .collect();
    facts::begin(&discovery.writer, &beginnings)
        .await
        .map_err(|error| ClusterError {
            cluster: discovery.flow.target.clone(),
            call: format!("write {}", discovery.map_topic),
            reason: error.to_string(),
            away: true,
        })?;
    Ok(prepared)
}

fn without_offsets(side: &str, reason: &str, options: Options) -> Prepared {
    let halt = Decision::Halt {
        state: State::Waiting,
        reason: format!("the {side} does not give its offsets: {reason}"),
        offsets: None,
    };
    Prepared::without_claim(halt, options)
}

/// Where a partition begins of which nothing is on record, or where one of the logs has lost its end. It is on record before the first record is copied: whoever comes after a crash
/// knows from where on the mirror's records count, and which were gone before they were copied.
fn beginning(wanted: &Wanted, prepared: &Prepared, on_target: &[PartitionOffset]) -> Option<Beginning> {
    let Decision::Copy {
        at,
        target_position,
        gap,
        ..
    } = prepared.decision
    else {
        return None;
    };
    let end = find(on_target, &wanted.mirror.target_topic, wanted.partition).ok();
    Some(Beginning {
        mirror: wanted.mirror.clone(),
        partition: wanted.partition,
        position: gap.map_or(at, |(from, _)| from),
        target_position: target_position.or(end)?,
        claim: prepared.claim,
        epochs: prepared.epochs.clone(),
    })
}

/// Whether nothing that is on record is about this mirror.
fn is_new(known: Option<&Known>, mirror: &Mirror) -> bool {
    known.is_none_or(|known| other(known.target_id.as_ref(), mirror.target_id.as_ref()))
}

/// Decides for one partition; where it is copied by an engine that needs one, with a claim.
async fn one(
    discovery: &Discovery,
    wanted: &Wanted,
    known: Option<Known>,
    (start, end): (i64, i64),
    policies: (OnGap, OnRecreated),
    options: Options,
) -> Prepared {
    let mirror = &wanted.mirror;
    let Some((source, target)) = &discovery.wire else {
        return Prepared::without_claim(decide(known, mirror, start, end, policies), options);
    };
    let sides = Sides {
        source,
        target,
        topic: &mirror.topic,
        target_topic: &mirror.target_topic,
        partition: wanted.partition,
        // What is read on the source to find out how far it was copied is not sent anywhere.
        options: Options {
            compression: None,
            ..options
        },
    };
    let waiting = |error: NotTaken| {
        let (side, cluster) = match error.side {
            Side::Source => ("read from", &discovery.flow.source),
            Side::Target => ("written to", &discovery.flow.target),
        };
        let reason = format!("cannot be {side} {cluster} yet: {error}");
        let state = State::Waiting;
        Prepared::without_claim(
            Decision::Halt {
                state,
                reason,
                offsets: None,
            },
            options,
        )
    };
    let (known, replaced) = match still_there(&sides, mirror, known).await {
        Ok(found) => found,
        Err(error) => return waiting(error),
    };
    // A leader that has only just become one may not give all of its log yet: what the epochs have proven is there.
    let proven = known.as_ref().filter(|known| !known.epochs.is_empty());
    let end = proven.map_or(end, |known| end.max(known.position));
    let decision = decide(known.clone(), mirror, start, end, policies);
    let (at, note) = match (&decision, &known) {
        (Decision::Copy { at, note, .. }, _) => (*at, note.clone()),
        // What looks like a gap may have been copied: the mirror knows, and the map not yet.
        (
            Decision::Halt {
                state: State::Gap, ..
            },
            Some(known),
        ) => (known.position, None),
        (Decision::Halt { .. }, _) => return Prepared::without_claim(decision, options),
    };
    // A mirror that was made anew has nothing of what is on record; a source that was, only what was copied since.
    let known = known.filter(|known| !is_new(Some(known), mirror));
    let is_other_source = known.as_ref().is_some_and(|known| {
        other(known.source_id.as_ref(), mirror.source_id.as_ref()) || known.position > end
    });
    let anchor = known.as_ref().map(|known| Anchor {
        source: if is_other_source { at } else { known.position },
        target: known.target_position.unwrap_or(0),
        producer: known.producer,
        released: known.released,
        segments: if is_other_source {
            Vec::new()
        } else {
            known.segments.clone()
        },
        is_cut_back: replaced.is_some(),
        lost_from: known.lost_from,
    });
    let id = transactional_id(&discovery.flow.source, &mirror.target_topic, wanted.partition);
    let id = (discovery.flow.delivery == Delivery::ExactlyOnce).then_some(id);
    let lease = id.as_ref().map(|_| Lease::begin(discovery.claim_period));
    let taken = match take(&sides, id.as_deref(), anchor).await {
        Ok(taken) => taken,
        Err(error) => return waiting(error),
    };
    let mut epochs = match known {
        Some(known) if !is_other_source => known.epochs,
        _ => Epochs::default(),
    };
    epochs.extend(&taken.epochs);
    let position = taken.position.map(|position| Known {
        position,
        target_position: taken.target_position,
        source_id: mirror.source_id.clone(),
        target_id: mirror.target_id.clone(),
        producer: Some((taken.claim.producer_id, taken.claim.epoch)),
        released: false,
        segments: Vec::new(),
        epochs: Epochs::default(),
        lost_from: None,
    });
    let notes: Vec<String> = note.into_iter().chain(taken.note).collect();
    // Whoever copied until now has gone on while this one prepared: what was found on the source is there.
    let end = taken.position.map_or(end, |found| found.max(end));
    let mut decision = decide(position, mirror, start, end, policies);
    if let Decision::Copy {
        note,
        target_position,
        ..
    } = &mut decision
    {
        // Where it begins anew, it does so behind all that was seen there.
        *target_position = target_position.or(taken.target_position);
        if !notes.is_empty() {
            *note = Some(notes.join("; "));
        }
    }
    Prepared {
        decision,
        claim: Some(taken.claim),
        lease,
        options,
        found: taken.segments,
        epochs,
        is_awaited: false,
        is_to_be_stated: replaced.is_some() || taken.is_loss,
        replaced,
    }
}

/// Holds what is known against the leader epochs of the source's log. If the log was cut back it is what is known of the part that is left; with
/// it come the offsets that are not what was copied.
async fn still_there(
    sides: &Sides<'_>,
    mirror: &Mirror,
    known: Option<Known>,
) -> Result<(Option<Known>, Option<(i64, i64)>), NotTaken> {
    let Some(mut known) = known else {
        return Ok((None, None));
    };
    // Without an id that says that the topic is the same one, it may be another one with the same name.
    let is_same = known.source_id.is_some() && known.source_id == mirror.source_id;
    let survival = if is_same {
        sides.survival(&known.epochs, known.position).await?
    } else {
        Survival::Unknown
    };
    let replaced = match survival {
        Survival::Whole => None,
        Survival::Unknown => {
            known.epochs = Epochs::default();
            None
        }
        Survival::Before(offset) => {
            let replaced = (offset, known.position);
            known.position = offset;
            known.epochs = known.epochs.before(offset);
            Some(replaced)
        }
    };
    Ok((Some(known), replaced))
}

/// The codec that batches are compressed with anew.
fn codec(compression: Compression) -> Option<compression::Compression> {
    match compression {
        Compression::Producer => None,
        Compression::None => Some(compression::Compression::None),
        Compression::Gzip => Some(compression::Compression::Gzip),
        Compression::Snappy => Some(compression::Compression::Snappy),
        Compression::Lz4 => Some(compression::Compression::Lz4),
        Compression::Zstd => Some(compression::Compression::Zstd),
    }
}

async fn read_map(discovery: &Discovery) -> Result<(), ClusterError> {
    let topic = &discovery.map_topic;
    let ends = discovery
        .target
        .offsets(vec![(topic.clone(), 0)], OffsetSpec::LatestCommitted)
        .await?;
    let failed = |reason: String| ClusterError {
        cluster: discovery.flow.target.clone(),
        call: format!("read {topic}"),
        reason,
        away: true,
    };
    for end in ends {
        let offset = end.offset.map_err(|code| failed(explain(code)))?;
        if !discovery.target_maps.caught_up(topic, offset, READ_TIMEOUT).await {
            return Err(failed(format!(
                "its end was not reached within {} s",
                READ_TIMEOUT.as_secs()
            )));
        }
    }
    Ok(())
}

fn from_map(discovery: &Discovery, wanted: &Wanted) -> Option<Known> {
    let block = discovery
        .target_maps
        .facts(&wanted.mirror.target_topic, wanted.partition)?
        .last;
    Some(Known {
        position: block.position,
        target_position: Some(block.target_position),
        source_id: block.source_topic_id,
        target_id: block.target_topic_id,
        producer: block.producer_id.zip(block.producer_epoch),
        released: block.released,
        segments: block.segments,
        epochs: block.source_epochs,
        lost_from: None,
    })
}

fn find(offsets: &[PartitionOffset], topic: &str, partition: i32) -> Result<i64, String> {
    let found = offsets
        .iter()
        .find(|offset| offset.partition == partition && offset.topic == topic)
        .ok_or_else(|| "no answer for this partition".to_string())?;
    found.offset.map_err(explain)
}

/// Whether two ids are known and differ.
fn other(then: Option<&String>, now: Option<&String>) -> bool {
    matches!((then, now), (Some(then), Some(now)) if then != now)
}

/// The pure part: `start` and `end` are the source's, as readers of committed records see them.
fn decide(
    known: Option<Known>,
    mirror: &Mirror,
    start: i64,
    end: i64,
    (on_gap, on_recreated): (OnGap, OnRecreated),
) -> Decision {
    let from_the_start = |note: Option<String>| Decision::Copy {
        at: start,
        target_position: None,
        gap: None,
        note,
        is_new_log: false,
    };
    let Some(known) = known else {
        return from_the_start(None);
    };
    if other(known.target_id.as_ref(), mirror.target_id.as_ref()) {
        let note = format!(
            "{} was made anew on the target: copying again from the start",
            mirror.target_topic
        );
        return from_the_start(Some(note));
    }
    let position = known.position;
    let recreated = if other(known.source_id.as_ref(), mirror.source_id.as_ref()) {
        Some("the source topic was deleted and made again".to_string())
    } else if position > end {
        Some(format!(
            "the source's log ends at {end}, before the position {position}: it was truncated, or made again"
        ))
    } else {
        None
    };
    match (recreated, on_recreated) {
        (None, _) => {}
        (Some(what), OnRecreated::Follow) => {
            let note = format!("{what}: following the new log from {start}");
            return Decision::Copy {
                at: start,
                target_position: known.target_position,
                gap: None,
                note: Some(note),
                is_new_log: true,
            };
        }
        (Some(what), OnRecreated::Halt) => {
            let reason = format!(
                "{what}. To copy the new log behind the old one, set on_recreated: follow; to begin anew, delete {} on the target",
                mirror.target_topic
            );
            return Decision::Halt {
                state: State::Recreated,
                reason,
                offsets: None,
            };
        }
    }
    if position < start && on_gap == OnGap::Halt {
        let reason = format!(
            "source offsets {position} to {} were deleted before they could be copied. To go on after them, set on_gap: record",
            start - 1
        );
        return Decision::Halt {
            state: State::Gap,
            reason,
            offsets: Some((position, start - 1)),
        };
    }
    Decision::Copy {
        at: position.max(start),
        target_position: known.target_position,
        gap: (position < start).then_some((position, start)),
        note: None,
        is_new_log: false,
    }
}

#[cfg(test)]
mod tests;
