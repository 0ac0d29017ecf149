//! Where to begin with a partition: what the offset map knows, held against what both clusters have now.

use std::sync::Arc;

use heliostat_wire::convert::Options;

use super::discover::{Discovery, Mirror, read_maps};
use super::engine::Side;
use super::exactly_once::{Anchor, Claim, Lease, NotTaken, Sides, take, transactional_id};
use crate::cluster::ClusterError;
use crate::cluster::admin::{as_librdkafka_writes, explain};
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::observe::status::State;
use crate::offsets::epochs::Epochs;
use crate::offsets::segments::Segment;
use crate::topology::{Delivery, Flow, OnGap, OnRecreated};

mod decide;
mod known;
mod limits;
mod permit;
mod still_there;
mod together;

use decide::{decide, other};
pub(super) use decide::{deleted, gap_reason};
pub use known::Known;
use known::{from_map, with_segments};
pub use permit::Permit;
use still_there::{Source, still_there};
pub(super) use together::{Found, prepare};

/// A partition that is to be copied.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its topic and mirror.
    pub mirror: Mirror,
    /// The partition.
    pub partition: i32,
    /// How far this daemon has copied it already. If it has not, the offset map is asked.
    pub known: Option<Known>,
    /// Whether it is still wanted.
    pub permit: Arc<Permit>,
}

/// A partition that was looked at.
#[derive(Debug)]
pub struct Prepared {
    /// Between which topics.
    pub mirror: Option<Mirror>,
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
    /// Behind which source and target position all that was copied is known, with these and what is copied from here on.
    pub from: Option<(i64, i64)>,
    /// The source's leader epochs before the position, as far as they are known.
    pub epochs: Epochs,
    /// The source offsets that were copied, and are gone from the source's log or hold something else now: first, and after the last.
    pub replaced: Option<(i64, i64)>,
    /// Another daemon has copied it since this one looked: the books that it had say nothing of that.
    pub is_by_another: bool,
    /// Nothing was copied to this mirror yet, and its leader does not give its offsets: its log is still to be made.
    pub is_awaited: bool,
    /// Nothing that was copied before counts: the mirror's log begins with it.
    pub begins_anew: bool,
    /// What is on record is of no use, or there is nothing: from where on it is copied has to be there before anything is.
    pub is_to_be_stated: bool,
    /// Nothing is copied, and it was claimed to see where it stands: the positions on both sides.
    pub held_at: Option<(i64, i64)>,
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

impl Decision {
    /// The source offset at which the books go on, if it is to be copied: a gap is entered by whoever copies.
    pub fn begins_at(&self) -> Option<i64> {
        match self {
            Decision::Copy { at, gap, .. } => Some(gap.map_or(*at, |(from, _)| from)),
            Decision::Halt { .. } => None,
        }
    }

    /// The source offsets that are passed over: first, and after the last.
    pub fn gap(&self) -> Option<(i64, i64)> {
        match self {
            Decision::Copy { gap, .. } => *gap,
            Decision::Halt { .. } => None,
        }
    }
}

impl Prepared {
    fn without_claim(decision: Decision, options: Options) -> Prepared {
        Prepared {
            mirror: None,
            decision,
            claim: None,
            lease: None,
            options,
            found: Vec::new(),
            from: None,
            epochs: Epochs::default(),
            replaced: None,
            is_by_another: false,
            is_awaited: false,
            begins_anew: false,
            is_to_be_stated: false,
            held_at: None,
        }
    }

    /// Whether it is copied without keeping others out.
    pub fn is_unfenced(&self) -> bool {
        self.lease.is_none() && matches!(self.decision, Decision::Copy { .. })
    }

    fn halted(state: State, reason: String) -> Prepared {
        let offsets = None;
        let decision = Decision::Halt {
            state,
            reason,
            offsets,
        };
        Prepared::without_claim(decision, Options::default())
    }
}

/// A partition that cannot be taken yet, for what is wrong on one of the sides.
fn halted_where(flow: &Flow, error: &NotTaken) -> Prepared {
    let (side, cluster) = match error.side {
        Side::Source => ("read from", &flow.source),
        Side::Target => ("written to", &flow.target),
    };
    Prepared::halted(State::Waiting, format!("cannot be {side} {cluster} yet: {error}"))
}

/// Whether nothing that is on record is about this mirror.
fn is_new(known: Option<&Known>, mirror: &Mirror) -> bool {
    known.is_none_or(|known| other(known.target_id.as_ref(), mirror.target_id.as_ref()))
}

/// What happens to gaps, and to logs that are not those that they were.
fn policies(discovery: &Discovery) -> (OnGap, OnRecreated) {
    (discovery.flow.on_gap, discovery.flow.on_recreated)
}

/// Decides for one partition; where it is copied by an engine that needs one, with a claim. The range is the source's; where the mirror ended
/// before the claim is known at the first attempt.
async fn one(
    discovery: &Discovery,
    wanted: &Wanted,
    known: Option<Known>,
    ((start, end), mirror_end): ((i64, i64), Option<i64>),
    options: Options,
) -> Prepared {
    let mirror = &wanted.mirror;
    let policies = policies(discovery);
    let Some((source, target)) = &discovery.wire else {
        let is_to_be_stated = is_new(known.as_ref(), mirror);
        let target_position = known.as_ref().filter(|_| !is_to_be_stated);
        let target_position = target_position.and_then(|known| known.target_position);
        let decision = decide(known, mirror, (start, end), None, policies);
        return Prepared {
            from: decision.begins_at().zip(target_position),
            begins_anew: matches!(
                decision,
                Decision::Copy {
                    target_position: None,
                    ..
                }
            ),
            is_to_be_stated,
            ..Prepared::without_claim(decision, options)
        };
    };
    let sides = Sides {
        source,
        target,
        topic: &mirror.topic,
        target_topic: &mirror.target_topic,
        partition: wanted.partition,
        mirror_was_empty: mirror_end == Some(0),
        // What is read on the source to find out how far it was copied is not sent anywhere.
        options: Options {
            compression: None,
            ..options
        },
    };
    let waiting = |error: NotTaken| halted_where(&discovery.flow, &error);
    let Source {
        known,
        replaced,
        recreated,
    } = match still_there(&sides, mirror, known).await {
        Ok(found) => found,
        Err(error) => return waiting(error),
    };
    // A leader that has only just become one may not give all of its log yet: what the epochs have proven is there.
    let proven = known.as_ref().filter(|known| !known.epochs.is_empty());
    let end = proven.map_or(end, |known| end.max(known.position));
    let decision = decide(
        known.clone(),
        mirror,
        (start, end),
        recreated.as_deref(),
        policies,
    );
    let (at, note, is_followed) = match (&decision, &known) {
        (
            Decision::Copy {
                at, note, is_new_log, ..
            },
            _,
        ) => (*at, note.clone(), *is_new_log),
        // What looks like a gap may have been copied: the mirror knows, and the map not yet. That is found out once.
        (
            Decision::Halt {
                state: State::Gap, ..
            },
            Some(known),
        ) if !known.released => (known.position, None, false),
        (Decision::Halt { .. }, _) => return Prepared::without_claim(decision, options),
    };
    let is_new = is_new(known.as_ref(), mirror);
    // A mirror that was made anew has nothing of what is on record; a source that was, only what was copied since.
    let is_other_mirror = is_new && known.is_some();
    let anchor = known.as_ref().map(|known| Anchor {
        source: if is_followed { at } else { known.position },
        target: known.target_position.unwrap_or(0),
        producer: known.producer,
        released: known.released,
        segments: if is_followed {
            Vec::new()
        } else {
            known.segments.clone()
        },
        is_cut_back: replaced.is_some(),
        lost_from: known.lost_from,
        is_other_mirror,
    });
    let id = transactional_id(&discovery.flow.source, &mirror.target_topic, wanted.partition);
    let id = (discovery.flow.delivery == Delivery::ExactlyOnce).then_some(id);
    let lease = id.as_ref().map(|_| Lease::begin(discovery.claim_period));
    if !wanted.permit.claims() {
        return Prepared::halted(State::Waiting, "it was given up".to_owned());
    }
    let taken = match take(&sides, id.as_deref(), anchor).await {
        Ok(taken) => taken,
        Err(error) => return waiting(error),
    };
    // Then what lies behind the last fact is not counted: whoever has gone on behind it has said so before. So has whoever has passed a gap since.
    let is_lost = known.as_ref().is_some_and(|known| known.lost_from.is_some());
    let is_uncounted = is_other_mirror || replaced.is_some() || is_lost;
    let before = Some((taken.claim.producer_id, taken.claim.epoch.saturating_sub(1)));
    let is_overtaken = known.as_ref().is_some_and(|known| known.producer != before);
    if let (Some(then), true) = (&known, (is_uncounted || is_overtaken) && id.is_some()) {
        match stated_meanwhile(discovery, wanted, then).await {
            Ok(Some((known, range))) => {
                let prepared = Box::pin(one(discovery, wanted, Some(known), (range, None), options)).await;
                return Prepared {
                    is_by_another: true,
                    ..prepared
                };
            }
            Ok(None) => {}
            Err(reason) => {
                let side = Side::Target;
                return waiting(NotTaken { side, reason });
            }
        }
    }
    let mut epochs = match known {
        Some(known) if !is_followed && !is_other_mirror => known.epochs,
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
    let begins_anew = position.is_none();
    let notes: Vec<String> = note.into_iter().chain(taken.note).collect();
    // Whoever copied until now has gone on while this one prepared: what was found on the source is there.
    let end = taken.position.map_or(end, |found| found.max(end));
    let mut decision = decide(position, mirror, (start, end), None, policies);
    let held_at = taken.position.zip(taken.target_position);
    let held_at = held_at.filter(|_| matches!(decision, Decision::Halt { .. }));
    // What is copied behind a gap is looked for behind it.
    let has_gap = id.is_some() && decision.gap().is_some();
    if let Decision::Copy {
        note,
        target_position,
        is_new_log,
        ..
    } = &mut decision
    {
        // Where it begins anew, it does so behind all that was seen there.
        *target_position = target_position.or(taken.target_position);
        *is_new_log = is_followed;
        if !notes.is_empty() {
            *note = Some(notes.join("; "));
        }
    }
    Prepared {
        mirror: None,
        decision,
        claim: Some(taken.claim),
        lease,
        options,
        found: taken.segments,
        from: taken.from,
        epochs,
        is_awaited: false,
        begins_anew,
        is_to_be_stated: is_new || replaced.is_some() || taken.is_loss || held_at.is_some() || has_gap,
        held_at,
        replaced,
        is_by_another: false,
    }
}

/// Behind the fence: what the map says of this mirror now, which nobody adds to any more, if that is of an owner after the one of whom was known
/// when the partition was looked at; and the source's range. Fails if this mirror is not the one that is there.
async fn stated_meanwhile(
    discovery: &Discovery,
    wanted: &Wanted,
    then: &Known,
) -> Result<Option<(Known, (i64, i64))>, String> {
    let mirror = &wanted.mirror;
    let Some((_, target)) = &discovery.wire else {
        return Ok(None);
    };
    let asked = target.metadata(std::slice::from_ref(&mirror.target_topic)).await;
    let topics = asked.map_err(|error| error.to_string())?.topics;
    let id = topics
        .first()
        .map(|topic| topic.topic_id)
        .filter(|id| !id.is_zero());
    let id = id.map(as_librdkafka_writes);
    if let Some(id) = id.filter(|id| mirror.target_id.as_ref() != Some(id)) {
        return Err(format!(
            "{} was made anew, and has the id {id}: the next discovery sees it",
            mirror.target_topic
        ));
    }
    read_map(discovery).await.map_err(|error| error.to_string())?;
    let is_later = |now: &Known| is_new(Some(then), mirror) || is_of_a_later_owner(now, then);
    let known = from_map(discovery, wanted).filter(|now| !is_new(Some(now), mirror) && is_later(now));
    let Some(known) = known else { return Ok(None) };
    let partition = || vec![(mirror.topic.clone(), wanted.partition)];
    let (starts, ends) = tokio::try_join!(
        discovery.source.offsets(partition(), OffsetSpec::Earliest),
        discovery.source.offsets(partition(), OffsetSpec::LatestCommitted)
    )
    .map_err(|error| error.to_string())?;
    let start = find(&starts, &mirror.topic, wanted.partition)?;
    let end = find(&ends, &mirror.topic, wanted.partition)?;
    Ok(Some((known, (start, end))))
}

/// Epochs of one producer id ascend. Of another id nobody knows which came first: what the map says counts then.
fn is_of_a_later_owner(now: &Known, then: &Known) -> bool {
    match (now.producer, then.producer) {
        (Some((id, epoch)), Some((id_then, epoch_then))) if id == id_then => epoch > epoch_then,
        (now, _) => now.is_some(),
    }
}

async fn read_map(discovery: &Discovery) -> Result<(), ClusterError> {
    let map = std::iter::once(discovery.map_topic.as_str());
    read_maps(&discovery.target, &discovery.target_maps, map).await
}

fn find(offsets: &[PartitionOffset], topic: &str, partition: i32) -> Result<i64, String> {
    let found = offsets
        .iter()
        .find(|offset| offset.partition == partition && offset.topic == topic)
        .ok_or_else(|| "no answer for this partition".to_string())?;
    found.offset.map_err(explain)
}

#[cfg(test)]
mod tests;
