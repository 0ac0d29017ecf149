//! What can be seen of a flow from outside, and the state of each partition.

mod deleted;
mod events;
mod partition;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::cluster::Cluster;
use crate::flow::account::Totals;
use crate::observe::events::{Event, EventKind, Events};
use crate::observe::status::{DeletedTopic, FlowStatus, Lag, LeftOut, PartitionStatus, PauseStatus, State};
use crate::topology::Flow;
pub use partition::PartitionView;
use partition::partition_status;

/// The reason of a flow that has no topics to mirror.
pub(super) const NOTHING_MATCHES: &str = "no topic on the source matches";

/// A flow as others see it. The supervisor writes it; status and metrics read it.
pub struct View {
    flow: Arc<Flow>,
    source: Arc<Cluster>,
    target: Arc<Cluster>,
    events: Events,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    problem: Option<Problem>,
    partitions: BTreeMap<(String, i32), PartitionView>,
    left_out: Vec<LeftOut>,
    pauses: Vec<PauseStatus>,
    deleted: Vec<DeletedTopic>,
    /// What this process has done of partitions that are not there any more.
    before: Totals,
    discovered: bool,
    /// The source is away, and the other daemons of the group do what this one would.
    is_left_to_others: bool,
    errors_total: u64,
    state: State,
    since_ms: i64,
    /// When the states were brought up to date last.
    refreshed_ms: i64,
    /// When this daemon began to ask.
    began_ms: i64,
}

/// Why something does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The state that it is in.
    pub state: State,
    /// Why, in one line.
    pub reason: String,
    /// What would clear it.
    pub clears: String,
    /// The source offsets that it is about: the first and the last.
    pub offsets: Option<(i64, i64)>,
}

/// States that were brought up to date longer ago are old.
const STALE_MS: i64 = 1_500;

/// What clears it that a cluster is away.
const AWAY_CLEARS: &str = "the cluster answers again; it is asked all the time";

/// What both clusters of a flow say of themselves: nothing, or why they are away.
struct Away {
    source: Option<String>,
    target: Option<String>,
}

impl Away {
    fn reason(&self) -> Option<&str> {
        self.source.as_deref().or(self.target.as_deref())
    }
}

impl View {
    /// A flow of which nothing is known yet.
    pub fn new(
        flow: Arc<Flow>,
        source: Arc<Cluster>,
        target: Arc<Cluster>,
        events: Events,
        now_ms: i64,
    ) -> View {
        let inner = Inner {
            since_ms: now_ms,
            began_ms: now_ms,
            ..Inner::default()
        };
        View {
            flow,
            source,
            target,
            events,
            inner: Mutex::new(inner),
        }
    }

    /// Note why the flow as a whole does not go on, or that nothing hinders it.
    pub fn set_problem(&self, problem: Option<Problem>) {
        self.lock().problem = problem;
    }

    /// Whether the other daemons of the group do the work, for as long as the source is away.
    pub fn left_to_others(&self, is_left: bool) {
        self.lock().is_left_to_others = is_left;
    }

    /// Whether the flow as a whole has a problem for this reason already.
    pub fn has_problem(&self, reason: &str) -> bool {
        let inner = self.lock();
        inner
            .problem
            .as_ref()
            .is_some_and(|problem| problem.reason == reason)
    }

    /// Count a failed attempt of the flow as a whole.
    pub fn count_error(&self) {
        self.lock().errors_total += 1;
    }

    /// The topics of the source were looked at; these are left out.
    pub fn discovered(&self, left_out: Vec<LeftOut>) {
        let mut inner = self.lock();
        inner.discovered = true;
        inner.left_out = left_out;
    }

    /// This is what is paused of the flow.
    pub fn set_pauses(&self, pauses: Vec<PauseStatus>) {
        self.lock().pauses = pauses;
    }

    /// Something has happened to the flow, or to a part of it: it is remembered, and logged.
    pub fn event(&self, event: Event) {
        events::log(&self.flow.name, &event, false);
        self.remember(event);
    }

    fn remember(&self, event: Event) {
        self.events.note(Event {
            flow: self.flow.name.clone(),
            ..event
        });
    }

    /// Change one partition; it is made if it is not there.
    pub fn partition<T>(
        &self,
        topic: &str,
        partition: i32,
        now_ms: i64,
        change: impl FnOnce(&mut PartitionView) -> T,
    ) -> T {
        let mut inner = self.lock();
        let entry = inner
            .partitions
            .entry((topic.to_string(), partition))
            .or_insert_with(|| PartitionView::new(now_ms));
        change(entry)
    }

    /// Look at all partitions, or change them, by topic and partition.
    pub fn each(&self, mut look: impl FnMut(&(String, i32), &mut PartitionView)) {
        for (place, partition) in &mut self.lock().partitions {
            look(place, partition);
        }
    }

    /// The source has told these offsets, by topic and partition.
    pub fn note_offsets(&self, now_ms: i64, found: &BTreeMap<(String, i32), i64>, is_start: bool) {
        let mut found = found.iter().peekable();
        for (place, view) in &mut self.lock().partitions {
            while found.next_if(|(other, _)| *other < place).is_some() {}
            if let Some((_, &offset)) = found.next_if(|(other, _)| *other == place) {
                match is_start {
                    true => view.ends.note_start(offset),
                    false => view.note_end(now_ms, offset),
                }
            }
        }
    }

    /// The source did not tell the log end of a partition, for this reason.
    pub fn no_end(&self, topic: &str, partition: i32, reason: String) {
        if let Some(view) = self.lock().partitions.get_mut(&(topic.to_owned(), partition)) {
            view.no_end = Some(reason);
        }
    }

    /// The partitions of which the source did not tell the log end when it was last asked.
    pub fn without_end(&self) -> HashSet<(String, i32)> {
        let inner = self.lock();
        let without = inner.partitions.iter().filter(|(_, view)| view.no_end.is_some());
        without.map(|(place, _)| place.clone()).collect()
    }

    /// All partitions that are known.
    pub fn partitions(&self) -> Vec<(String, i32)> {
        self.lock().partitions.keys().cloned().collect()
    }

    /// A cluster that was away is back: what was tried with it meanwhile and failed says nothing any more.
    pub fn absence_ended(&self) {
        for partition in self.lock().partitions.values_mut() {
            partition.absence_ended();
        }
    }

    /// The offsets of the oldest missing records that nobody knows the age of, at most so many.
    pub fn timestamps_wanted(&self, now_ms: i64, most: usize) -> Vec<(String, i32, i64)> {
        let inner = self.lock();
        let wanted = inner.partitions.iter().filter_map(|((topic, number), view)| {
            let at = view.wants_timestamp(now_ms)?;
            Some((topic.clone(), *number, at))
        });
        wanted.take(most).collect()
    }

    /// Bring the states up to date, and log what has changed.
    pub fn refresh(&self, now_ms: i64) {
        let away = self.away();
        let all_wait = away.reason().is_some();
        let mut inner = self.lock();
        inner.refreshed_ms = now_ms;
        for ((topic, number), partition) in &mut inner.partitions {
            let condition = partition.look(&away, now_ms);
            if condition.state != partition.condition.state {
                let event = Event {
                    at_ms: now_ms,
                    topic: Some(topic.clone()),
                    partition: Some(*number),
                    kind: EventKind::of_change(condition.state),
                    from: Some(partition.condition.state),
                    to: Some(condition.state),
                    offsets: condition.offsets,
                    reason: condition.reason.clone(),
                    clears: condition.clears.clone(),
                    ..Event::default()
                };
                events::log(&self.flow.name, &event, all_wait);
                self.remember(event);
                partition.since_ms = now_ms;
            }
            partition.since_ms = condition.since_ms.unwrap_or(partition.since_ms);
            partition.condition = condition;
        }
        let state = self.flow_state(&inner, &away);
        if state != inner.state {
            let reason = inner.problem.as_ref().map(|problem| problem.reason.clone());
            let event = Event {
                at_ms: now_ms,
                from: Some(inner.state),
                to: Some(state),
                reason: reason.or_else(|| away.reason().map(str::to_owned)),
                ..Event::default()
            };
            events::log(&self.flow.name, &event, all_wait);
            self.remember(event);
            inner.state = state;
            inner.since_ms = now_ms;
        }
    }

    /// Bring the states up to date, unless they have just been.
    pub fn refresh_if_stale(&self, now_ms: i64) {
        if now_ms - self.lock().refreshed_ms > STALE_MS {
            self.refresh(now_ms);
        }
    }

    /// The name of the flow, and the state that it is in.
    pub fn state(&self, now_ms: i64) -> (String, State) {
        // Who owns the flow looks at all partitions every second, unless it has just begun, or ends.
        self.refresh_if_stale(now_ms);
        let state = self.lock().state;
        (self.flow.name.clone(), state)
    }

    /// The status of the flow.
    pub fn status(&self, now_ms: i64) -> FlowStatus {
        self.refresh(now_ms);
        let away = self.away();
        let inner = self.lock();
        let partitions: Vec<PartitionStatus> = inner
            .partitions
            .iter()
            .map(|((topic, number), partition)| partition_status(topic, *number, partition, now_ms))
            .collect();
        let mut totals = inner.before;
        for partition in inner.partitions.values() {
            totals += partition.totals();
        }
        let known = inner.discovered
            && away.source.is_none()
            && partitions.iter().all(|partition| partition.lag.known);
        let longest = partitions
            .iter()
            .map(|partition| partition.lag.seconds)
            .fold(0.0, f64::max);
        // Of a source that never was seen it is known for how long that is so.
        let is_unseen = !inner.discovered && away.source.is_some();
        let unseen = is_unseen.then(|| (now_ms - inner.began_ms).max(0) as f64 / 1000.0);
        let (reason, clears) = flow_reason(&inner, &away, &partitions);
        FlowStatus {
            name: self.flow.name.clone(),
            source: self.flow.source.clone(),
            target: self.flow.target.clone(),
            engine: self.flow.engine.to_string(),
            delivery: self.flow.delivery.to_string(),
            state: inner.state,
            reason,
            clears,
            since_ms: inner.since_ms,
            lag: Lag {
                known,
                records: partitions.iter().map(|partition| partition.lag.records).sum(),
                seconds: unseen.unwrap_or(longest),
                unknown_since_ms: partitions
                    .iter()
                    .filter_map(|partition| partition.lag.unknown_since_ms)
                    .chain(is_unseen.then_some(inner.began_ms))
                    .min(),
                at_least: is_unseen || partitions.iter().any(|partition| partition.lag.at_least),
            },
            records_total: totals.records,
            bytes_total: totals.bytes,
            errors_total: inner.errors_total + totals.errors,
            batches: totals.batches,
            partitions,
            left_out: inner.left_out.clone(),
            deleted: inner.deleted.clone(),
            pauses: inner.pauses.clone(),
            events_total: self.events.counts(&self.flow.name),
        }
    }

    fn away(&self) -> Away {
        let reason = |cluster: &Cluster| {
            let reach = cluster.reach();
            reach
                .reason
                .filter(|_| !reach.reachable)
                .map(|reason| format!("{} is away: {reason}", cluster.alias))
        };
        let is_left = self.lock().is_left_to_others;
        let others = if is_left {
            "; the other daemons of the group do its work meanwhile"
        } else {
            ""
        };
        Away {
            source: reason(&self.source).map(|reason| reason + others),
            target: reason(&self.target),
        }
    }

    fn flow_state(&self, inner: &Inner, away: &Away) -> State {
        if let Some(problem) = &inner.problem {
            return problem.state;
        }
        if away.reason().is_some() {
            return State::Waiting;
        }
        if !inner.discovered {
            return State::Waiting;
        }
        // With nothing to mirror, nothing is missing.
        inner
            .partitions
            .values()
            .map(|partition| partition.condition.state)
            .max()
            .unwrap_or(State::CaughtUp)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Why a flow is in its state, and what would clear it.
fn flow_reason(
    inner: &Inner,
    away: &Away,
    partitions: &[PartitionStatus],
) -> (Option<String>, Option<String>) {
    if let Some(problem) = &inner.problem {
        return (Some(problem.reason.clone()), Some(problem.clears.clone()));
    }
    if let Some(reason) = away.reason() {
        return (Some(reason.into()), Some(AWAY_CLEARS.into()));
    }
    if !inner.discovered {
        return (
            Some("the topics are being looked for".into()),
            Some("both clusters' answers".into()),
        );
    }
    if partitions.is_empty() {
        return (Some(NOTHING_MATCHES.into()), None);
    }
    let mut worst = partitions
        .iter()
        .filter(|partition| partition.state == inner.state && partition.reason.is_some());
    let Some(first) = worst.next() else {
        return (None, None);
    };
    let reason = first.reason.as_deref().unwrap_or_default();
    let reason = match worst.count() {
        0 => format!("{}-{}: {reason}", first.topic, first.partition),
        more => format!("{}-{} and {more} more: {reason}", first.topic, first.partition),
    };
    (Some(reason), first.clears.clone())
}
