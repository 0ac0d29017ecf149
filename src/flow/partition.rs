//! The partitions that this daemon copies, and what it does with each of them next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::Account;
use super::discover::Mirror;
use super::member::MirrorPartition;
use super::prepare::{Known, Permit};

/// The first wait before a partition that failed is tried again; it doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How often is looked whether a log is there that the target has only just begun to make, and for how long. A cluster that makes thousands at a
/// time takes seconds, and each can be written to as soon as it is there.
const AWAITED_AGAIN: Duration = Duration::from_millis(250);
const AWAITED_TIMES: u32 = 240;

/// The longest wait before a partition that failed is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A partition that is this daemon's.
pub struct Mine {
    /// Its topic and mirror, as they were when it was taken.
    pub mirror: Mirror,
    /// The partition.
    pub partition: i32,
    /// Its books, once it is known where to begin.
    pub account: Option<Arc<Account>>,
    /// The number under which the engine copies it, if it does.
    pub engine_id: Option<u32>,
    /// What comes next.
    pub phase: Phase,
    /// Attempts that failed since the last one that copied something: how many, and how many records there were before the first.
    failures: u32,
    records_then: u64,
    /// The target has only just begun to make the mirror's log: nothing else is asked before it is there.
    pub is_awaited: bool,
    /// How often it was looked for.
    awaited: u32,
    /// The number of its preparation that was begun last: what others find is of no use any more.
    pub preparation: u64,
    /// Whether that may claim it.
    pub permit: Arc<Permit>,
    /// Somebody else has taken it: until this moment the group may not have said so, and it is not claimed again.
    pub fenced_until: Option<Instant>,
    /// Somebody else has copied it since, or may have: how far is in the offset map, and not in these books.
    pub is_replaced: bool,
    /// The next attempt sends one record alone at first.
    pub careful: bool,
    /// The source offset of the record that the target refused last, as far as it said which.
    pub at_fault: Option<i64>,
    /// Where it stood when a batch was last halved to find the record at fault in it, and the middle.
    halved: Option<(i64, i64)>,
}

/// What a partition waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// To be prepared, not before this moment.
    Due(Instant),
    /// For the answer of a preparation that is under way.
    Preparing,
    /// For nothing: the engine copies it.
    Copying,
    /// For what is on its way, after a failure; then it is due at this moment.
    Draining(Instant),
    /// For what is on its way, and then for its facts to be written: somebody has paused it.
    Pausing,
    /// For somebody to resume it.
    Paused,
}

impl Phase {
    /// Whether it does not change by itself, as time goes by or as what is on its way arrives.
    pub fn waits_for_events(self) -> bool {
        matches!(self, Phase::Preparing | Phase::Copying | Phase::Paused)
    }
}

impl Mine {
    /// A partition that was just taken.
    pub fn new(mirror: Mirror, partition: i32) -> Mine {
        Mine {
            mirror,
            partition,
            account: None,
            engine_id: None,
            phase: Phase::Due(Instant::now()),
            failures: 0,
            records_then: 0,
            is_awaited: false,
            awaited: 0,
            preparation: 0,
            permit: Arc::default(),
            fenced_until: None,
            is_replaced: false,
            careful: false,
            at_fault: None,
            halved: None,
        }
    }

    /// The group has said that it is this daemon's. If somebody else had taken it before, the group was not asked then.
    pub fn is_assigned(&mut self, now: Instant) {
        if self.fenced_until.take().is_none() {
            return;
        }
        if let Phase::Due(at) | Phase::Draining(at) = &mut self.phase {
            *at = now;
        }
    }

    /// A batch was refused for one of its records, of which only the middle is known. Whether it is less than the last one that was, so
    /// that halving it comes to an end.
    pub fn narrow(&mut self, position: Option<i64>, middle: Option<i64>) -> bool {
        let (Some(position), Some(middle)) = (position, middle) else {
            return false;
        };
        let is_less = |(at, before): (i64, i64)| position > at || (position == at && middle < before);
        let is_narrower = self.halved.is_none_or(is_less);
        self.halved = Some((position, middle));
        is_narrower
    }

    /// It is given up. Whether a preparation of it has to be waited for, which has claimed it perhaps.
    pub fn is_being_claimed(&self) -> bool {
        self.phase == Phase::Preparing && !self.permit.take_back()
    }

    /// Whether it is paused, or about to be.
    pub fn is_held(&self) -> bool {
        matches!(self.phase, Phase::Pausing | Phase::Paused)
    }

    /// What these books say does not count any more.
    pub fn close_books(&mut self) {
        self.account = None;
        self.records_then = 0;
    }

    /// How far it is copied, if this daemon has copied it, and nobody else since.
    pub fn known(&self) -> Option<Known> {
        let account = self.account.as_ref().filter(|_| !self.is_replaced)?;
        let snapshot = account.snapshot();
        Some(Known {
            position: snapshot.position,
            target_position: snapshot.target_position,
            source_id: self.mirror.source_id.clone(),
            target_id: self.mirror.target_id.clone(),
            producer: account.claim().map(|claim| (claim.producer_id, claim.epoch)),
            released: account.is_clear(),
            segments: account.last_segments(),
            epochs: account.epochs(),
            lost_from: account.lost_from(),
        })
    }

    /// When to try again after another failure: soon at first, later and later while nothing gets copied.
    pub fn retry_at(&mut self) -> Instant {
        let records = self
            .account
            .as_ref()
            .map_or(0, |account| account.totals().records);
        if records > self.records_then {
            self.failures = 0;
        }
        self.records_then = records;
        let wait = backoff(self.failures, FIRST_RETRY, LONGEST_RETRY);
        self.failures += 1;
        Instant::now() + wait
    }

    /// When to try again where the next attempt can get further than this one: at once after the first failure, and otherwise as after any other.
    /// The first is returned as such, so that nobody needs to hear of it.
    pub fn retry_soon(&mut self) -> Result<Instant, Instant> {
        let later = self.retry_at();
        match self.failures {
            1 => Ok(Instant::now()),
            _ => Err(later),
        }
    }

    /// The mirror's log was not there: when to look again.
    pub fn look_again_at(&mut self) -> Instant {
        self.is_awaited = self.awaited < AWAITED_TIMES;
        if !self.is_awaited {
            return self.retry_at();
        }
        self.awaited += 1;
        Instant::now() + AWAITED_AGAIN
    }

    /// If what was on its way after a failure is settled, what comes next.
    pub fn settle(&mut self) {
        if let Phase::Draining(due) = self.phase
            && self.account.as_ref().is_none_or(|account| account.is_drained())
        {
            if let Some(account) = &self.account {
                account.rewind();
            }
            self.phase = Phase::Due(due);
        }
    }
}

/// A wait that doubles with each attempt, with a jitter of a quarter so that many do not come back at once.
pub fn backoff(attempt: u32, first: Duration, longest: Duration) -> Duration {
    let doubled = first.saturating_mul(1 << attempt.min(16)).min(longest);
    doubled.mul_f64(rand::random_range(0.75..1.25))
}

/// The partitions that are due for preparation now; and those of which is only looked whether their logs are there.
pub fn due(
    mine: &HashMap<MirrorPartition, Mine>,
    now: Instant,
) -> (Vec<MirrorPartition>, Vec<MirrorPartition>) {
    let is_due = |partition: &Mine| {
        matches!(partition.phase, Phase::Due(at) if at <= now)
            && partition.fenced_until.is_none_or(|until| until <= now)
    };
    let due = mine.iter().filter(|(_, partition)| is_due(partition));
    let (awaited, due): (Vec<_>, Vec<_>) = due.partition(|(_, partition)| partition.is_awaited);
    let keys =
        |found: Vec<(&MirrorPartition, &Mine)>| found.into_iter().map(|(key, _)| key.clone()).collect();
    (keys(due), keys(awaited))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_does_not_come_is_looked_for_often_at_first_and_not_for_ever() {
        let mirror = Mirror {
            topic: "orders".into(),
            target_topic: "a.orders".into(),
            partitions: 1,
            source_id: None,
            target_id: None,
            problem: None,
            is_unseen: false,
        };
        let mut partition = Mine::new(mirror, 0);
        for _ in 0..AWAITED_TIMES {
            let at = partition.look_again_at();
            assert!(partition.is_awaited && at <= Instant::now() + AWAITED_AGAIN);
        }
        partition.look_again_at();
        assert!(!partition.is_awaited);
    }

    #[test]
    fn halving_goes_on_at_once_only_as_long_as_it_gets_further() {
        let mirror = Mirror {
            topic: "orders".into(),
            target_topic: "primary.orders".into(),
            partitions: 1,
            source_id: None,
            target_id: None,
            problem: None,
            is_unseen: false,
        };
        let mut mine = Mine::new(mirror, 0);
        assert!(mine.narrow(Some(100), Some(150)));
        assert!(mine.narrow(Some(100), Some(125)));
        assert!(!mine.narrow(Some(100), Some(125)), "the same again");
        assert!(!mine.narrow(Some(100), Some(140)));
        assert!(mine.narrow(Some(126), Some(138)), "the first half has arrived");
        assert!(!mine.narrow(Some(90), Some(95)), "something else has happened");
        assert!(!mine.narrow(Some(90), None));
    }

    #[test]
    fn what_somebody_else_has_taken_is_left_alone_for_its_time_whatever_happens_meanwhile() {
        let mirror = Mirror {
            topic: "orders".into(),
            target_topic: "primary.orders".into(),
            partitions: 1,
            source_id: None,
            target_id: None,
            problem: None,
            is_unseen: false,
        };
        let now = Instant::now();
        let wait = Duration::from_secs(7);
        let mut fenced = Mine::new(mirror, 0);
        fenced.fenced_until = Some(now + wait);
        // As it is after it was paused and resumed.
        fenced.phase = Phase::Draining(now);
        fenced.settle();
        let mine = HashMap::from([(("primary.orders".to_owned(), 0), fenced)]);
        assert_eq!(due(&mine, now + wait / 2).0, []);
        assert_eq!(due(&mine, now + wait).0.len(), 1);
    }

    #[test]
    fn retries_come_later_and_later_up_to_a_bound() {
        for attempt in 0..100 {
            let wait = backoff(attempt, FIRST_RETRY, LONGEST_RETRY);
            assert!(wait >= FIRST_RETRY.mul_f64(0.75) && wait <= LONGEST_RETRY.mul_f64(1.25));
        }
        assert!(backoff(20, FIRST_RETRY, LONGEST_RETRY) >= LONGEST_RETRY.mul_f64(0.75));
    }
}
