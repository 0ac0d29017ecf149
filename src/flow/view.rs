//! What can be seen of a flow from outside, and the state of each partition.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::account::{Account, Totals};
use super::lag::LogEnds;
use crate::cluster::Cluster;
use crate::observe::status::{BatchCounts, FlowStatus, Lag, LeftOut, PartitionStatus, State};
use crate::topology::Flow;

/// A partition that has records to copy and has copied none for this long is stalled.
const STALLED_AFTER_MS: i64 = 30_000;

/// A partition whose records the target has refused for this long is stalled; before that it may be a leader that moves.
const REFUSED_AFTER_MS: i64 = 3_000;

/// The reason of a flow that has no topics to mirror.
pub(super) const NOTHING_MATCHES: &str = "no topic on the source matches";

/// A flow as others see it. The supervisor writes it; status and metrics read it.
pub struct View {
    flow: Arc<Flow>,
    source: Arc<Cluster>,
    target: Arc<Cluster>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    problem: Option<Problem>,
    partitions: BTreeMap<(String, i32), PartitionView>,
    left_out: Vec<LeftOut>,
    discovered: bool,
    errors_total: u64,
    state: State,
    since_ms: i64,
}

/// Why something does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The state that it is in.
    pub state: State,
    /// Why, in one line.
    pub reason: String,
}

/// One partition.
#[derive(Default)]
pub struct PartitionView {
    /// The mirror topic.
    pub target_topic: String,
    /// Its books, if this daemon copies it.
    pub account: Option<Arc<Account>>,
    /// How far another daemon has come, as the offset map says: source position, target position.
    pub elsewhere: Option<(i64, i64)>,
    /// The source's log ends.
    pub ends: LogEnds,
    /// Why it does not go on.
    pub problem: Option<Problem>,
    /// Why it has no mirror topic as it should.
    pub mirror_problem: Option<Problem>,
    /// The source does not have it any more.
    pub gone: bool,
    /// It is tried again: the problem stands until something arrives.
    pub trying_again: bool,
    /// Why its records are refused at the moment, and sent again.
    pub refused: Option<String>,
    /// The last gap, for people to read.
    pub gap: Option<String>,
    before: Totals,
    position: Option<i64>,
    moved_at_ms: i64,
    state: State,
    reason: Option<String>,
    since_ms: i64,
}

impl PartitionView {
    /// Another account from here on, or none; the counters of the one before are kept.
    pub fn set_account(&mut self, account: Option<Arc<Account>>) {
        if let Some(before) = self.account.take() {
            self.before += before.totals();
        }
        self.account = account;
    }

    /// The source's log end was `end` at `now_ms`.
    pub fn note_end(&mut self, now_ms: i64, end: i64) {
        let position = self.position().0.unwrap_or(0);
        self.ends.note(now_ms, end, position);
    }

    fn position(&self) -> (Option<i64>, Option<i64>, Option<i64>) {
        match (&self.account, self.elsewhere) {
            (Some(account), _) => {
                let snapshot = account.snapshot();
                (
                    Some(snapshot.position),
                    snapshot.target_position,
                    snapshot.oldest_timestamp,
                )
            }
            (None, Some((position, target_position))) => (Some(position), Some(target_position), None),
            (None, None) => (None, None, None),
        }
    }

    fn lag(&self, now_ms: i64) -> Lag {
        if self.gone {
            // The source has nothing that could be copied, and that is known.
            return Lag {
                known: true,
                ..Lag::default()
            };
        }
        match (self.position(), self.ends.start()) {
            ((Some(position), _, oldest), _) => self.ends.lag(now_ms, position, oldest),
            // Nothing was copied yet: all that the source has is missing.
            ((None, ..), Some(start)) => self.ends.lag(now_ms, start, None),
            ((None, ..), None) => Lag::default(),
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = self.before;
        if let Some(account) = &self.account {
            totals += account.totals();
        }
        totals
    }
}

/// What both clusters of a flow say of themselves: nothing, or why they are away.
struct Away {
    source: Option<String>,
    target: Option<String>,
}

impl View {
    /// A flow of which nothing is known yet.
    pub fn new(flow: Arc<Flow>, source: Arc<Cluster>, target: Arc<Cluster>, now_ms: i64) -> View {
        let inner = Inner {
            since_ms: now_ms,
            ..Inner::default()
        };
        View {
            flow,
            source,
            target,
            inner: Mutex::new(inner),
        }
    }

    /// Note why the flow as a whole does not go on, or that nothing hinders it.
    pub fn set_problem(&self, problem: Option<Problem>) {
        self.lock().problem = problem;
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
            .or_insert_with(|| PartitionView {
                since_ms: now_ms,
                moved_at_ms: now_ms,
                ..PartitionView::default()
            });
        change(entry)
    }

    /// All partitions that are known.
    pub fn partitions(&self) -> Vec<(String, i32)> {
        self.lock().partitions.keys().cloned().collect()
    }

    /// Bring the states up to date, and log what has changed.
    pub fn refresh(&self, now_ms: i64) {
        let away = self.away();
        let all_wait = away.source.is_some() || away.target.is_some();
        let mut inner = self.lock();
        for ((topic, number), partition) in &mut inner.partitions {
            let (position, ..) = partition.position();
            if position != partition.position || partition.lag(now_ms).records == 0 {
                partition.position = position;
                partition.moved_at_ms = now_ms;
                if std::mem::take(&mut partition.trying_again) {
                    partition.problem = None;
                }
            }
            let (state, reason) = partition_state(partition, &away, now_ms);
            if state != partition.state {
                note_change(
                    &self.flow.name,
                    (topic, *number),
                    state,
                    reason.as_deref(),
                    all_wait,
                );
                partition.state = state;
                partition.since_ms = now_ms;
            }
            partition.reason = reason;
        }
        let state = self.flow_state(&inner, &away);
        if state != inner.state {
            inner.state = state;
            inner.since_ms = now_ms;
        }
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
        let mut batches = BatchCounts::default();
        for partition in inner.partitions.values() {
            batches += partition.totals().batches;
        }
        let known = inner.discovered
            && away.source.is_none()
            && partitions.iter().all(|partition| partition.lag.known);
        let seconds = partitions
            .iter()
            .map(|partition| partition.lag.seconds)
            .fold(0.0, f64::max);
        FlowStatus {
            name: self.flow.name.clone(),
            source: self.flow.source.clone(),
            target: self.flow.target.clone(),
            engine: self.flow.engine.to_string(),
            delivery: self.flow.delivery.to_string(),
            state: inner.state,
            reason: flow_reason(&inner, &away, &partitions),
            since_ms: inner.since_ms,
            lag: Lag {
                known,
                records: partitions.iter().map(|partition| partition.lag.records).sum(),
                seconds,
                unknown_since_ms: partitions
                    .iter()
                    .filter_map(|partition| partition.lag.unknown_since_ms)
                    .min(),
            },
            records_total: partitions.iter().map(|partition| partition.records_total).sum(),
            bytes_total: partitions.iter().map(|partition| partition.bytes_total).sum(),
            errors_total: inner.errors_total
                + partitions
                    .iter()
                    .map(|partition| partition.errors_total)
                    .sum::<u64>(),
            batches,
            partitions,
            left_out: inner.left_out.clone(),
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
        Away {
            source: reason(&self.source),
            target: reason(&self.target),
        }
    }

    fn flow_state(&self, inner: &Inner, away: &Away) -> State {
        if let Some(problem) = &inner.problem {
            return problem.state;
        }
        if away.source.is_some() || away.target.is_some() {
            return State::Waiting;
        }
        if !inner.discovered {
            return State::Waiting;
        }
        // With nothing to mirror, nothing is missing.
        inner
            .partitions
            .values()
            .map(|partition| partition.state)
            .max()
            .unwrap_or(State::CaughtUp)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn flow_reason(inner: &Inner, away: &Away, partitions: &[PartitionStatus]) -> Option<String> {
    if let Some(problem) = &inner.problem {
        return Some(problem.reason.clone());
    }
    if let Some(reason) = away.source.clone().or_else(|| away.target.clone()) {
        return Some(reason);
    }
    if !inner.discovered {
        return Some("the topics are being looked for".into());
    }
    if partitions.is_empty() {
        return Some(NOTHING_MATCHES.into());
    }
    let worst = partitions
        .iter()
        .filter(|partition| partition.state == inner.state);
    let first = worst.clone().find(|partition| partition.reason.is_some())?;
    let reason = first.reason.as_deref()?;
    Some(match worst.count() {
        1 => format!("{}-{}: {reason}", first.topic, first.partition),
        count => format!(
            "{}-{} and {} more: {reason}",
            first.topic,
            first.partition,
            count - 1
        ),
    })
}

fn partition_state(partition: &PartitionView, away: &Away, now_ms: i64) -> (State, Option<String>) {
    if let Some(problem) = partition.mirror_problem.as_ref().or(partition.problem.as_ref()) {
        return (problem.state, Some(problem.reason.clone()));
    }
    if let Some(reason) = away.source.clone().or_else(|| away.target.clone()) {
        return (State::Waiting, Some(reason));
    }
    let lag = partition.lag(now_ms);
    if !lag.known {
        return (State::Waiting, Some("the source's log end is not known".into()));
    }
    if lag.records == 0 {
        return (State::CaughtUp, partition.gap.clone());
    }
    if partition.account.is_none() && partition.elsewhere.is_none() {
        return (State::Waiting, Some("no daemon has taken it yet".into()));
    }
    let still_ms = now_ms - partition.moved_at_ms;
    if let Some(reason) = &partition.refused
        && still_ms > REFUSED_AFTER_MS
    {
        return (State::Stalled, Some(reason.clone()));
    }
    if still_ms > STALLED_AFTER_MS {
        let reason = format!(
            "nothing was copied for {} s although there are records",
            still_ms / 1000
        );
        return (State::Stalled, Some(reason));
    }
    (State::Copying, partition.gap.clone())
}

/// Logs a partition's new state. `all_wait`: the whole flow waits for a cluster that is away, which is said of the flow,
/// and need not be said of each partition again.
fn note_change(
    flow: &str,
    (topic, partition): (&str, i32),
    state: State,
    reason: Option<&str>,
    all_wait: bool,
) {
    let reason = reason.unwrap_or_default();
    match state {
        State::CaughtUp | State::Copying => {
            tracing::debug!(flow, topic, partition, %state, reason, "partition")
        }
        State::Waiting if all_wait => {
            tracing::debug!(flow, topic, partition, %state, reason, "partition")
        }
        State::Waiting => tracing::info!(flow, topic, partition, %state, reason, "partition"),
        _ => tracing::warn!(flow, topic, partition, %state, reason, "partition"),
    }
}

fn partition_status(topic: &str, number: i32, partition: &PartitionView, now_ms: i64) -> PartitionStatus {
    let (position, target_position, _) = partition.position();
    let totals = partition.totals();
    PartitionStatus {
        topic: topic.to_string(),
        target_topic: partition.target_topic.clone(),
        partition: number,
        mine: partition.account.is_some(),
        state: partition.state,
        reason: partition.reason.clone(),
        since_ms: partition.since_ms,
        position,
        source_start: partition.ends.start(),
        source_end: partition.ends.end(),
        target_position,
        lag: partition.lag(now_ms),
        records_total: totals.records,
        bytes_total: totals.bytes,
        errors_total: totals.errors,
        gap_records_total: totals.gap_records,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of a partition that begins to wait.
    fn logged(all_wait: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            note_change("a->b", ("orders", 3), State::Waiting, Some("why"), all_wait);
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_partition_that_waits_is_logged_quietly_when_its_whole_flow_waits() {
        let line = "partition flow=\"a->b\" topic=\"orders\" partition=3 state=waiting reason=\"why\"\n";
        assert_eq!(logged(false), format!(" INFO {line}"));
        assert_eq!(logged(true), format!("DEBUG {line}"));
    }
}
