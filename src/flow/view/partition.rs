//! What can be seen of one partition from outside, and the state that follows from it.

use std::sync::Arc;

use super::{AWAY_CLEARS, Away, Problem};
use crate::flow::account::{Account, Snapshot, Totals};
use crate::flow::lag::LogEnds;
use crate::flow::pause::Paused;
use crate::flow::survey::SILENT_AFTER_MS;
use crate::observe::status::{Lag, PartitionStatus, State};

/// A partition that has records to copy and has copied none for this long is stalled.
const STALLED_AFTER_MS: i64 = 30_000;

/// A partition whose records the target has refused for this long is stalled; before that it may be a leader that moves.
const REFUSED_AFTER_MS: i64 = 3_000;

/// What clears it that another daemon records nothing.
const OTHERS_CLEARS: &str =
    "that daemon goes on, or the group gives the partition to another one, within the session time-out";

/// What clears a stall that nobody has given a reason for.
const TAKES_RECORDS_CLEARS: &str = "records arrive again: see whether the target's partition has a leader, enough replicas in sync and a disk that works";

/// What clears it that the offset map cannot be written.
const MAP_CLEARS: &str = "the offset map can be written again: see whether its partition has a leader, enough replicas in sync and a disk with room, and whether the flow's user may write to it; it is tried again every second";

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
    /// It is tried again: the problem stands until something arrives.
    pub trying_again: bool,
    /// Why its records are refused at the moment, and sent again.
    pub refused: Option<String>,
    /// Why the source did not tell its log end when it was asked last.
    pub no_end: Option<String>,
    /// The last gap, for people to read.
    pub gap: Option<String>,
    /// Why it is paused.
    pub paused: Option<Paused>,
    /// It is this daemon's to copy, also while it does not.
    pub is_mine: bool,
    /// The log end that was last noted, and how far the copy was then.
    noted: Option<(i64, i64)>,
    /// Neither was another one the time before, and nothing was missing.
    was_quiet: bool,
    before: Totals,
    position: Option<i64>,
    moved_at_ms: i64,
    /// The source has another log than the one that was copied.
    is_other_log: bool,
    pub(super) condition: Condition,
    pub(super) since_ms: i64,
}

/// How far it is copied, by this daemon or another one.
struct Position {
    source: Option<i64>,
    target: Option<i64>,
    /// The timestamp of the oldest record on its way.
    oldest_timestamp: Option<i64>,
}

/// What a partition is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) state: State,
    pub(super) reason: Option<String>,
    pub(super) clears: Option<String>,
    pub(super) offsets: Option<(i64, i64)>,
    /// Since when, where that is known better than by looking.
    pub(super) since_ms: Option<i64>,
}

impl Condition {
    fn healthy(state: State, reason: Option<String>) -> Condition {
        Condition {
            state,
            reason,
            ..Condition::default()
        }
    }

    fn of(state: State, reason: impl Into<String>, clears: impl Into<String>) -> Condition {
        Condition {
            state,
            reason: Some(reason.into()),
            clears: Some(clears.into()),
            ..Condition::default()
        }
    }
}

impl PartitionView {
    /// A partition that is first seen at `now_ms`.
    pub(super) fn new(now_ms: i64) -> PartitionView {
        PartitionView {
            since_ms: now_ms,
            moved_at_ms: now_ms,
            ..PartitionView::default()
        }
    }

    /// Another account from here on, or none; the counters of the one before are kept.
    pub fn set_account(&mut self, account: Option<Arc<Account>>) {
        if let Some(before) = self.account.take() {
            self.before += before.totals();
            // Until the offset map is looked at again.
            let Snapshot {
                position,
                target_position,
                ..
            } = before.snapshot();
            self.elsewhere = target_position
                .map(|target| (position, target))
                .or(self.elsewhere);
        }
        self.account = account;
    }

    /// A cluster that was away is back.
    pub(super) fn absence_ended(&mut self) {
        self.problem.take_if(|problem| !takes_a_decision(problem.state));
    }

    /// The source's log end was `end` at `now_ms`.
    pub fn note_end(&mut self, now_ms: i64, end: i64) {
        self.no_end = None;
        let copied = self.copied_to().unwrap_or(0);
        self.ends.note(now_ms, end, copied);
        let before = self.noted.replace((end, copied));
        self.was_quiet = before == self.noted && end <= copied;
    }

    /// Whether nothing moved when the log end was noted the last two times, and nothing was copied since.
    pub fn is_quiet(&self) -> bool {
        self.was_quiet && self.copied_to() == self.noted.map(|(_, copied)| copied)
    }

    /// The first offset that is missing on the target, where its timestamp is not known otherwise.
    pub(super) fn wants_timestamp(&self, now_ms: i64) -> Option<i64> {
        // Nothing was missing when the log end was noted last.
        if self.was_quiet {
            return None;
        }
        let position = self.position();
        let at = self.of_this_log(&position).or(self.ends.start())?;
        let on_its_way = position.oldest_timestamp.is_some();
        (!on_its_way && self.ends.wants_timestamp(now_ms, at)).then_some(at)
    }

    /// How far the log that the source has now is copied. Of one that was made again or cut back, and that nobody has decided about,
    /// nothing is.
    fn copied_to(&self) -> Option<i64> {
        self.of_this_log(&self.position())
    }

    fn of_this_log(&self, position: &Position) -> Option<i64> {
        position.source.filter(|_| !self.is_other_log)
    }

    fn position(&self) -> Position {
        match (&self.account, self.elsewhere) {
            (Some(account), _) => {
                let snapshot = account.snapshot();
                Position {
                    source: Some(snapshot.position),
                    target: snapshot.target_position,
                    oldest_timestamp: snapshot.oldest_timestamp,
                }
            }
            (None, elsewhere) => Position {
                source: elsewhere.map(|(source, _)| source),
                target: elsewhere.map(|(_, target)| target),
                oldest_timestamp: None,
            },
        }
    }

    pub(super) fn lag(&self, now_ms: i64) -> Lag {
        self.lag_at(&self.position(), now_ms)
    }

    fn lag_at(&self, position: &Position, now_ms: i64) -> Lag {
        let oldest = position.oldest_timestamp.filter(|_| !self.is_other_log);
        match (self.of_this_log(position), self.ends.start()) {
            (Some(position), _) => self.ends.lag(now_ms, position, oldest),
            // Nothing was copied yet: all that the source has is missing.
            (None, Some(start)) => self.ends.lag(now_ms, start, None),
            (None, None) => Lag::default(),
        }
    }

    /// What it is doing at `now_ms`.
    pub(super) fn look(&mut self, away: &Away, now_ms: i64) -> Condition {
        let position = self.position();
        let is_other_log = self
            .problem
            .as_ref()
            .is_some_and(|problem| problem.state == State::Recreated);
        if is_other_log && !self.is_other_log {
            self.ends.forget();
        }
        self.is_other_log = is_other_log;
        let is_paused = self.paused.is_some();
        let lag = self.lag_at(&position, now_ms);
        if position.source != self.position || is_paused || lag.records == 0 {
            self.position = position.source;
            self.moved_at_ms = now_ms;
            if !is_paused && std::mem::take(&mut self.trying_again) {
                self.problem = None;
            }
        } else if away.reason().is_some() {
            // How long a cluster was away is not held against the copying that begins when it is back.
            self.moved_at_ms = now_ms;
        }
        partition_state(self, &lag, away, now_ms)
    }

    /// What this process has done of it.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.before;
        if let Some(account) = &self.account {
            totals += account.totals();
        }
        totals
    }
}

fn partition_state(partition: &PartitionView, lag: &Lag, away: &Away, now_ms: i64) -> Condition {
    let of_problem = |problem: &Problem| Condition {
        offsets: problem.offsets,
        ..Condition::of(problem.state, &problem.reason, &problem.clears)
    };
    // Whatever else is so: as long as it is paused, nothing is tried.
    if let Some(paused) = &partition.paused {
        return Condition {
            since_ms: Some(paused.since_ms),
            ..Condition::of(State::Paused, &paused.reason, &paused.clears)
        };
    }
    let problem = partition.mirror_problem.as_ref().or(partition.problem.as_ref());
    // What a cluster that is away has failed at is no problem of its own; what somebody has to decide about remains.
    if let Some(reason) = away.reason()
        && problem.is_none_or(|problem| !takes_a_decision(problem.state))
    {
        return Condition::of(State::Waiting, reason, AWAY_CLEARS);
    }
    if let Some(problem) = problem {
        return of_problem(problem);
    }
    if !lag.known {
        let why = partition.no_end.as_ref().map(|why| format!(": {why}"));
        let reason = format!("the source's log end is not known{}", why.unwrap_or_default());
        let clears = "the source's next answer; it is asked every second";
        return Condition::of(State::Waiting, reason, clears);
    }
    if lag.records == 0 {
        return Condition::healthy(State::CaughtUp, partition.gap.clone());
    }
    if partition.account.is_none() && partition.elsewhere.is_none() {
        return Condition::of(
            State::Waiting,
            "no daemon has taken it yet",
            "the next assignment of the group, within the session time-out",
        );
    }
    if let Some(reason) = partition
        .account
        .as_ref()
        .and_then(|account| account.held_up_by())
    {
        let reason = format!("nothing more is copied until what is copied is on record: {reason}");
        return Condition::of(State::Stalled, reason, MAP_CLEARS);
    }
    let still_ms = now_ms - partition.moved_at_ms;
    if partition.account.is_none() && !partition.is_mine && still_ms > SILENT_AFTER_MS {
        let reason = format!(
            "the group has it with another daemon, or with this one from before it was cut off: nothing was recorded for {} s although there are records",
            still_ms / 1000
        );
        return Condition::of(State::Waiting, reason, OTHERS_CLEARS);
    }
    if let Some(reason) = &partition.refused
        && still_ms > REFUSED_AFTER_MS
    {
        return Condition::of(State::Stalled, reason, TAKES_RECORDS_CLEARS);
    }
    if still_ms > STALLED_AFTER_MS {
        let reason = format!(
            "nothing was copied for {} s although there are records",
            still_ms / 1000
        );
        return Condition::of(State::Stalled, reason, TAKES_RECORDS_CLEARS);
    }
    Condition::healthy(State::Copying, partition.gap.clone())
}

/// Whether such a problem is one of the records themselves, which nothing clears by itself.
fn takes_a_decision(state: State) -> bool {
    matches!(state, State::Gap | State::Recreated | State::Quarantined)
}

/// A partition as the status shows it.
pub(super) fn partition_status(
    topic: &str,
    number: i32,
    partition: &PartitionView,
    now_ms: i64,
) -> PartitionStatus {
    let position = partition.position();
    let totals = partition.totals();
    PartitionStatus {
        topic: topic.to_string(),
        target_topic: partition.target_topic.clone(),
        partition: number,
        mine: partition.is_mine || partition.account.is_some(),
        state: partition.condition.state,
        reason: partition.condition.reason.clone(),
        clears: partition.condition.clears.clone(),
        offsets: partition.condition.offsets,
        since_ms: partition.since_ms,
        position: position.source,
        source_start: partition.ends.start(),
        source_end: partition.ends.end_beside(partition.of_this_log(&position)),
        target_position: position.target,
        lag: partition.lag_at(&position, now_ms),
        records_total: totals.records,
        bytes_total: totals.bytes,
        errors_total: totals.errors,
        gap_records_total: totals.gap_records,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody_away() -> Away {
        Away {
            source: None,
            target: None,
        }
    }

    fn source_away() -> Away {
        Away {
            source: Some("primary is away: connection refused".into()),
            target: None,
        }
    }

    fn problem(state: State) -> Option<Problem> {
        Some(Problem {
            state,
            reason: "of its own".into(),
            clears: "something".into(),
            offsets: None,
        })
    }

    /// Another daemon's, copied up to 100 of a log that ends at 150.
    fn of_another() -> PartitionView {
        let mut view = PartitionView::new(0);
        view.elsewhere = Some((100, 100));
        view.ends.note_start(0);
        view.note_end(0, 150);
        view
    }

    #[test]
    fn a_cluster_that_is_away_is_the_reason_unless_somebody_has_to_decide() {
        let mut view = of_another();
        for state in State::ALL {
            view.problem = problem(state);
            let condition = view.look(&source_away(), 1_000);
            let expected = match state {
                State::Gap | State::Recreated | State::Quarantined => (state, "of its own"),
                _ => (State::Waiting, "primary is away: connection refused"),
            };
            assert_eq!(
                (condition.state, condition.reason.as_deref()),
                (expected.0, Some(expected.1))
            );
        }
        // What failed while it was away is no trouble when it is back.
        view.problem = problem(State::Stalled);
        view.absence_ended();
        view.note_end(1_500, 150);
        assert_eq!(view.look(&nobody_away(), 1_500).state, State::Copying);
        view.problem = problem(State::Gap);
        view.absence_ended();
        assert_eq!(view.look(&nobody_away(), 1_500).state, State::Gap);
    }

    #[test]
    fn a_partition_of_another_daemon_is_not_said_to_be_copied_for_long_when_nothing_is_recorded() {
        let mut view = of_another();
        assert_eq!(view.look(&nobody_away(), 0).state, State::Copying);
        view.elsewhere = Some((110, 110));
        assert_eq!(view.look(&nobody_away(), 4_000).state, State::Copying);
        view.note_end(8_000, 160);
        assert_eq!(view.look(&nobody_away(), 9_000).state, State::Copying);
        view.note_end(11_000, 160);
        let silent = view.look(&nobody_away(), 11_000);
        assert_eq!(
            (silent.state, silent.reason.as_deref()),
            (
                State::Waiting,
                Some(
                    "the group has it with another daemon, or with this one from before it was cut off: nothing was recorded for 7 s although there are records"
                )
            )
        );
        view.elsewhere = Some((120, 120));
        assert_eq!(view.look(&nobody_away(), 11_500).state, State::Copying);
    }

    #[test]
    fn nothing_of_a_log_that_was_made_again_counts_as_copied() {
        let mut view = of_another();
        view.look(&nobody_away(), 0);
        view.problem = problem(State::Recreated);
        view.look(&nobody_away(), 1_000);
        // What was seen of the log before says nothing of this one.
        assert!(!view.lag(1_000).known);
        view.ends.note_start(0);
        view.note_end(2_000, 10);
        view.note_end(3_000, 10);
        let lag = view.lag(4_000);
        assert_eq!(
            (lag.known, lag.records, lag.seconds, lag.at_least),
            (true, 10, 2.0, true)
        );
        let shown = partition_status("orders", 0, &view, 4_000);
        assert_eq!((shown.position, shown.source_end), (Some(100), Some(10)));
        assert_eq!(view.wants_timestamp(4_000), Some(0));
        view.ends.note_timestamp(0, -56_000);
        assert_eq!(view.lag(4_000).seconds, 60.0);
    }
}
