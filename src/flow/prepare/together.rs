//! Preparing many partitions by the same requests: each goes on when it is ready, with those that are ready at the same moment. One that takes
//! long, because its source has to be read or a node has fallen silent, holds up nobody else.

use std::collections::HashMap;
use std::sync::Arc;

use heliostat_wire::convert::Options;
use tokio::task::{Id, JoinError, JoinSet};

use super::limits::{batch_limits, codec};
use super::{
    Decision, Known, Prepared, Wanted, deleted, find, from_map, halted_where, one, read_map, with_segments,
};
use crate::cluster::ClusterError;
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::flow::discover::{Discovery, Mirror};
use crate::flow::engine::Side;
use crate::flow::exactly_once::{NotTaken, reach, transactional_id};
use crate::flow::facts::{self, Beginning};
use crate::observe::status::State;
use crate::topology::Delivery;

/// What was found of some of those that are wanted, in the order of their places.
pub type Found = (Vec<usize>, Result<Vec<Prepared>, ClusterError>);

/// What was known before the first was claimed.
struct Looked {
    known: Vec<Option<Known>>,
    starts: Vec<PartitionOffset>,
    ends: Vec<PartitionOffset>,
    on_target: Vec<PartitionOffset>,
}

/// Decide for many partitions at once. Those that are ready first are told as soon as they are; those that are last are returned.
pub async fn prepare(discovery: Arc<Discovery>, wanted: Vec<Wanted>, tell: impl Fn(Found)) -> Found {
    let looked = match look(&discovery, &wanted).await {
        Ok(looked) => looked,
        Err(error) => return ((0..wanted.len()).collect(), Err(error)),
    };
    let mut work = begin(&discovery, &wanted, &looked).await;
    loop {
        let ready = work.ready(|error| {
            tracing::error!(flow = %discovery.flow.name, "a partition's preparation has failed: {error}");
            Prepared::halted(State::Stalled, format!("an error in heliostat itself: {error}"))
        });
        let (places, prepared): (Vec<usize>, Vec<Prepared>) = ready.await.into_iter().unzip();
        // What comes to its end meanwhile goes into the next write, together.
        let settled = settle(&discovery, &wanted, &looked, &places, prepared).await;
        if work.is_over() {
            return (places, settled);
        }
        tell((places, settled));
    }
}

async fn look(discovery: &Discovery, wanted: &[Wanted]) -> Result<Looked, ClusterError> {
    if wanted.iter().any(|wanted| wanted.known.is_none()) {
        read_map(discovery).await?;
    }
    // Before the ends are asked for: whoever copies until now goes on, and what is on record must not lie beyond them.
    let known = |wanted: &Wanted| match &wanted.known {
        Some(known) => Some(with_segments(known, from_map(discovery, wanted))),
        None => from_map(discovery, wanted),
    };
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
    Ok(Looked {
        known,
        starts,
        ends,
        on_target,
    })
}

/// Begins to prepare each of them.
async fn begin(discovery: &Arc<Discovery>, wanted: &[Wanted], looked: &Looked) -> Work<Prepared> {
    let limits = batch_limits(discovery, wanted).await;
    let mut work = Work::default();
    for (wanted, known) in wanted.iter().zip(&looked.known) {
        let source = |offsets| find(offsets, &wanted.mirror.topic, wanted.partition);
        let on_target = find(&looked.on_target, &wanted.mirror.target_topic, wanted.partition);
        let mirror_end = on_target.as_ref().ok().copied();
        let range = match (source(&looked.starts), source(&looked.ends), on_target) {
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
        let (discovery, wanted, known) = (discovery.clone(), wanted.clone(), known.clone());
        work.spawn(async move {
            match range {
                Ok(range) => in_turn(&discovery, &wanted, known, (range, mirror_end), options).await,
                Err((side, reason)) => Prepared {
                    is_awaited: side == "target" && known.is_none(),
                    ..Prepared::halted(
                        State::Waiting,
                        format!("the {side} does not give its offsets: {reason}"),
                    )
                },
            }
        });
    }
    work
}

/// Prepares one of them when it has a place. Who waits for a coordinator that is away takes none.
async fn in_turn(
    discovery: &Discovery,
    wanted: &Wanted,
    known: Option<Known>,
    ends: ((i64, i64), Option<i64>),
    options: Options,
) -> Prepared {
    let flow = &discovery.flow;
    if let Some((_, target)) = &discovery.wire
        && flow.delivery == Delivery::ExactlyOnce
    {
        let id = transactional_id(&flow.source, &wanted.mirror.target_topic, wanted.partition);
        if let Err(error) = reach(target, &id).await {
            let (side, reason) = (Side::Target, error.to_string());
            return halted_where(flow, &NotTaken { side, reason });
        }
    }
    let _place = discovery.places.acquire().await;
    one(discovery, wanted, known, ends, options).await
}

/// What is still to be done for those that are ready, before anything of them is copied.
async fn settle(
    discovery: &Discovery,
    wanted: &[Wanted],
    looked: &Looked,
    places: &[usize],
    mut prepared: Vec<Prepared>,
) -> Result<Vec<Prepared>, ClusterError> {
    for (place, prepared) in places.iter().zip(&mut prepared) {
        let wanted = &wanted[*place];
        prepared.mirror = Some(wanted.mirror.clone());
        if let Decision::Copy { target_position, .. } = &mut prepared.decision {
            // Also where nothing is copied for long: what is there already is not what is copied from here on.
            let end = find(&looked.on_target, &wanted.mirror.target_topic, wanted.partition).ok();
            *target_position = target_position.or(end);
        }
    }
    if prepared.iter().any(Prepared::is_unfenced) {
        let ready = places
            .iter()
            .map(|place| (&wanted[*place], &looked.known[*place]));
        let ready = ready.zip(&mut prepared);
        see_who_has_copied_meanwhile(discovery, ready).await?;
    }
    for (place, prepared) in places.iter().zip(&prepared) {
        if let Some((from, to)) = prepared.decision.gap() {
            let Mirror { topic, .. } = &wanted[*place].mirror;
            let (flow, partition) = (&discovery.flow.name, wanted[*place].partition);
            // A daemon that ends in the middle of it has told whoever reads its log.
            tracing::info!(%flow, topic, partition, "it is copied from {to} on: {}", deleted(from, to));
        }
    }
    let beginnings = places.iter().zip(&prepared);
    let beginnings: Vec<Beginning> = beginnings
        .filter_map(|(place, prepared)| beginning(&wanted[*place], prepared))
        .collect();
    let written = facts::begin(&discovery.writer, beginnings).await;
    written.map_err(|error| discovery.not_written(&error))?;
    Ok(prepared)
}

/// Where nobody is fenced, who was assigned a partition while this daemon slept has copied it perhaps: what is prepared for it is old then.
async fn see_who_has_copied_meanwhile<'a>(
    discovery: &Discovery,
    ready: impl Iterator<Item = ((&'a Wanted, &'a Option<Known>), &'a mut Prepared)>,
) -> Result<(), ClusterError> {
    read_map(discovery).await?;
    for ((wanted, known), prepared) in ready {
        if prepared.is_unfenced() && wanted.known.is_none() && from_map(discovery, wanted) != *known {
            *prepared = Prepared::halted(
                State::Waiting,
                "another daemon has copied it meanwhile".to_owned(),
            );
        }
    }
    Ok(())
}

/// Where a partition begins of which nothing is on record, or where one of the logs has lost its end. It is on record before the first record is copied: whoever comes after a crash
/// knows from where on the mirror's records count, and which were gone before they were copied. Where nobody is fenced, it is on record a little later, and only if
/// the partition is this daemon's then: nobody could tell that what it says is old.
fn beginning(wanted: &Wanted, prepared: &Prepared) -> Option<Beginning> {
    if !prepared.is_to_be_stated || prepared.is_unfenced() {
        return None;
    }
    let (position, target_position) = match &prepared.decision {
        // Behind a gap, which nobody else needs to enter then.
        Decision::Copy {
            at, target_position, ..
        } => (*at, (*target_position)?),
        Decision::Halt { .. } => prepared.held_at?,
    };
    Some(Beginning {
        mirror: wanted.mirror.clone(),
        partition: wanted.partition,
        position,
        target_position,
        claim: prepared.claim,
        epochs: prepared.epochs.clone(),
        found: prepared.found.clone(),
        from: prepared.from,
        released: prepared.held_at.is_some(),
    })
}

/// Tasks whose results come as they end, each with its place in the order in which they were begun. One that panics has a result as well: it takes
/// nobody else with it.
struct Work<T> {
    tasks: JoinSet<T>,
    order: HashMap<Id, usize>,
}

impl<T> Default for Work<T> {
    fn default() -> Work<T> {
        Work {
            tasks: JoinSet::new(),
            order: HashMap::new(),
        }
    }
}

impl<T: Send + 'static> Work<T> {
    fn spawn(&mut self, task: impl Future<Output = T> + Send + 'static) {
        let place = self.order.len();
        self.order.insert(self.tasks.spawn(task).id(), place);
    }

    /// Whether all results were given.
    fn is_over(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits for a result, and gives all that are there then.
    async fn ready(&mut self, lost: impl Fn(JoinError) -> T) -> Vec<(usize, T)> {
        let mut results = Vec::new();
        let mut ended = self.tasks.join_next_with_id().await;
        while let Some(result) = ended {
            let (id, result) = result.unwrap_or_else(|error| (error.id(), lost(error)));
            results.extend(self.order.get(&id).map(|place| (*place, result)));
            ended = self.tasks.try_join_next_with_id();
        }
        results.sort_by_key(|(place, _)| *place);
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_who_takes_longer_and_who_panics_has_a_result() {
        let (go_on, wait) = tokio::sync::oneshot::channel();
        let mut work = Work::default();
        work.spawn(async move { wait.await.unwrap_or(0) });
        work.spawn(async { 1 });
        let index = std::hint::black_box(7);
        work.spawn(async move { [2, 3][index] });
        let mut found = Vec::new();
        while found.len() < 2 {
            found.extend(work.ready(|_| -1).await);
        }
        found.sort_unstable();
        assert_eq!(found, [(1, 1), (2, -1)]);
        assert!(!work.is_over());
        go_on.send(5).expect("it waits");
        assert_eq!(work.ready(|_| -1).await, [(0, 5)]);
        assert!(work.is_over());
        assert_eq!(work.ready(|_| -1).await, []);
    }
}
