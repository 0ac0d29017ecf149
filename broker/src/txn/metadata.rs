//! What is known of one transactional id, and which changes of it are allowed. Nothing here waits or writes.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::ErrorCode;
use serde::{Deserialize, Serialize};

/// Stands for "no producer id" on the wire.
pub(super) const NO_PRODUCER_ID: i64 = -1;
/// Stands for "no epoch" on the wire.
pub(super) const NO_EPOCH: i16 = -1;
/// From this epoch on a producer id is used up: the one behind it is kept for fencing.
const EPOCH_EXHAUSTED: i16 = i16::MAX - 1;

/// The transaction version whose producers get a new epoch with the end of each transaction (KIP-890).
pub(crate) const EPOCH_BUMP: i16 = 2;

/// Where a transaction stands. The names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// One transactional id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    pub(super) producer_id: i64,
    /// The producer id before this one, if the epochs of that one were used up.
    pub(super) previous_producer_id: i64,
    /// The producer id that follows when the transaction has ended, if the epochs of this one are used up.
    pub(super) next_producer_id: i64,
    pub(super) epoch: i16,
    /// The epoch that the producer had before the last bump that it asked for itself, so that its retry is recognised.
    pub(super) last_epoch: i16,
    pub(super) timeout_ms: i32,
    pub(super) state: State,
    /// Partitions of the transaction that have no marker yet.
    pub(super) partitions: BTreeMap<String, BTreeSet<i32>>,
    /// Groups whose offsets are part of the transaction.
    pub(super) groups: BTreeSet<String>,
    /// When the transaction began, in wall-clock milliseconds; -1 if none has begun.
    pub(super) started_ms: i64,
    pub(super) updated_ms: i64,
    /// The transaction version of the client that has begun or ended the transaction.
    pub(super) client_version: i16,
}

/// What InitProducerId leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// The producer gets the id and the epoch of this.
    Ready(Metadata),
    /// The epochs are used up: ask again with a new producer id.
    NeedsProducerId,
    /// A transaction is open, and must be aborted first: this has to be stored, and then the markers written.
    Abort(Metadata),
}

/// What EndTxn leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is over already: a client asks again.
    Over,
    /// The epochs are used up: ask again with a new producer id.
    NeedsProducerId,
    /// This has to be stored, and then the markers written.
    Prepared(Metadata),
}

/// How a transaction is to be ended, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndRequest {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
    pub(super) commit: bool,
    pub(super) client_version: i16,
}

impl State {
    pub(crate) const ALL: [State; 6] = [
        State::Empty,
        State::Ongoing,
        State::PrepareCommit,
        State::PrepareAbort,
        State::CompleteCommit,
        State::CompleteAbort,
    ];

    /// Kafka's name of it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::PrepareCommit => "PrepareCommit",
            State::PrepareAbort => "PrepareAbort",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether the decision is made, and markers are still to be written.
    pub(super) fn is_prepared(self) -> bool {
        matches!(self, State::PrepareCommit | State::PrepareAbort)
    }
}

impl Metadata {
    /// A transactional id that was never used.
    pub(super) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Metadata {
            producer_id,
            previous_producer_id: NO_PRODUCER_ID,
            next_producer_id: NO_PRODUCER_ID,
            epoch: NO_EPOCH,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: State::Empty,
            partitions: BTreeMap::new(),
            groups: BTreeSet::new(),
            started_ms: -1,
            updated_ms: now_ms,
            client_version: 0,
        }
    }

    /// A producer begins to use the id, or goes on with what it had: `expected` is the producer id and epoch that it
    /// knows.
    pub(super) fn init(
        &self,
        expected: Option<(i64, i16)>,
        timeout_ms: i32,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Result<Init, ErrorCode> {
        if expected.is_some_and(|expected| !self.may_be(expected)) {
            return Err(ErrorCode::ProducerFenced);
        }
        match self.state {
            State::PrepareCommit | State::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing => Ok(Init::Abort(self.abort(now_ms))),
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                let expected = expected.map(|(_, epoch)| epoch);
                let mut next = Metadata {
                    state: State::Empty,
                    partitions: BTreeMap::new(),
                    groups: BTreeSet::new(),
                    started_ms: -1,
                    updated_ms: now_ms,
                    timeout_ms,
                    ..self.clone()
                };
                let is_current = expected.is_none_or(|epoch| epoch == self.epoch);
                // The last epoch of all is for fencing only: a producer that was aborted under it gets another id too.
                let was_aborted = self.epoch > EPOCH_EXHAUSTED && expected == Some(self.last_epoch);
                if self.epoch >= EPOCH_EXHAUSTED && (is_current || was_aborted) {
                    let Some(fresh) = fresh_producer_id else {
                        return Ok(Init::NeedsProducerId);
                    };
                    next.previous_producer_id = self.producer_id;
                    next.producer_id = fresh;
                    next.last_epoch = expected.unwrap_or(NO_EPOCH);
                    next.epoch = 0;
                    return Ok(Init::Ready(next));
                }
                (next.epoch, next.last_epoch) = self.bumped(expected)?;
                Ok(Init::Ready(next))
            }
        }
    }

    /// A producer makes partitions and groups part of its transaction, which begins if there is none. `None`: they are
    /// part of it already.
    pub(super) fn add(
        &self,
        partitions: &BTreeMap<String, BTreeSet<i32>>,
        group: Option<&str>,
        client_version: i16,
        now_ms: i64,
    ) -> Option<Self> {
        let ongoing = self.state == State::Ongoing;
        if ongoing && self.holds(partitions) && group.is_none_or(|group| self.groups.contains(group)) {
            return None;
        }
        let mut next = Metadata {
            state: State::Ongoing,
            client_version,
            updated_ms: now_ms,
            started_ms: if ongoing { self.started_ms } else { now_ms },
            ..self.clone()
        };
        for (topic, added) in partitions {
            next.partitions.entry(topic.clone()).or_default().extend(added);
        }
        next.groups.extend(group.map(str::to_owned));
        Some(next)
    }

    /// Whether all these partitions are part of the transaction.
    pub(super) fn holds(&self, partitions: &BTreeMap<String, BTreeSet<i32>>) -> bool {
        let holds = |(topic, asked): (&String, &BTreeSet<i32>)| {
            self.partitions
                .get(topic)
                .is_some_and(|known| known.is_superset(asked))
        };
        partitions.iter().all(holds)
    }

    /// Whether a producer may act for the transactional id, in Kafka's order of checks.
    pub(super) fn check_producer(&self, producer_id: i64, epoch: i16) -> Result<(), ErrorCode> {
        if self.producer_id != producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if self.epoch != epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        if self.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        Ok(())
    }

    /// A client ends its transaction.
    pub(super) fn end(
        &self,
        request: EndRequest,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Result<End, ErrorCode> {
        if request.client_version >= EPOCH_BUMP {
            self.end_with_bump(request, fresh_producer_id, now_ms)
        } else {
            self.end_without_bump(request, now_ms)
        }
    }

    /// An open transaction whose time is over, or whose producer is replaced, is aborted with a new epoch, whatever the
    /// generation of its producer: the old epoch is kept out of every partition by the markers.
    pub(super) fn abort(&self, now_ms: i64) -> Self {
        self.prepared(false, EPOCH_BUMP, NO_PRODUCER_ID, now_ms)
    }

    /// All markers are written.
    pub(super) fn completed(&self, now_ms: i64) -> Self {
        let mut next = Metadata {
            state: match self.state {
                State::PrepareCommit => State::CompleteCommit,
                _ => State::CompleteAbort,
            },
            partitions: BTreeMap::new(),
            groups: BTreeSet::new(),
            updated_ms: now_ms,
            next_producer_id: NO_PRODUCER_ID,
            ..self.clone()
        };
        if self.client_version >= EPOCH_BUMP && self.next_producer_id != NO_PRODUCER_ID {
            next.previous_producer_id = self.producer_id;
            next.producer_id = self.next_producer_id;
            next.epoch = 0;
        }
        next
    }

    /// Whether a transaction is open for longer than its producer allowed.
    pub(super) fn is_overdue(&self, now_ms: i64) -> bool {
        self.state == State::Ongoing && self.started_ms.saturating_add(self.timeout_ms.into()) < now_ms
    }

    /// Whether nobody has used the id for so long.
    pub(super) fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        !self.state.is_prepared()
            && self.state != State::Ongoing
            && self.updated_ms.saturating_add(expiration_ms) <= now_ms
    }

    /// Whether a producer with this id and epoch may ask for a new epoch: it is the current one (whose epoch is looked
    /// at later), or the one before, which may not have heard that its epochs were used up.
    fn may_be(&self, (producer_id, epoch): (i64, i16)) -> bool {
        self.epoch == NO_EPOCH
            || producer_id == self.producer_id
            || (producer_id == self.previous_producer_id && epoch >= EPOCH_EXHAUSTED)
    }

    /// The next epoch and the last one. A client that expects the last one has not heard of the bump that it asked for.
    fn bumped(&self, expected: Option<i16>) -> Result<(i16, i16), ErrorCode> {
        let next = self.epoch.saturating_add(1);
        match expected {
            None => Ok((next, NO_EPOCH)),
            Some(epoch) if self.epoch == NO_EPOCH || epoch == self.epoch => Ok((next, self.epoch)),
            Some(epoch) if epoch == self.last_epoch => Ok((self.epoch, self.last_epoch)),
            Some(_) => Err(ErrorCode::ProducerFenced),
        }
    }

    fn end_without_bump(&self, request: EndRequest, now_ms: i64) -> Result<End, ErrorCode> {
        if self.producer_id != request.producer_id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if self.epoch != request.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        match (self.state, request.commit) {
            (State::Ongoing, commit) => {
                let client_version = request.client_version;
                let next = self.prepared(commit, client_version, NO_PRODUCER_ID, now_ms);
                Ok(End::Prepared(next))
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(End::Over),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    /// The epoch alone does not tell a retry from the next call here: after the end the producer has another one.
    fn end_with_bump(
        &self,
        request: EndRequest,
        fresh_producer_id: Option<i64>,
        now_ms: i64,
    ) -> Result<End, ErrorCode> {
        let after_overflow = self.previous_producer_id == request.producer_id
            && request.epoch == EPOCH_EXHAUSTED
            && self.epoch == 0;
        let after_bump = request.epoch.checked_add(1) == Some(self.epoch);
        if self.producer_id != request.producer_id && !after_overflow {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let same = request.epoch == self.epoch;
        let retry = after_bump || after_overflow;
        let valid = match self.state {
            State::Empty | State::Ongoing => same,
            State::PrepareCommit | State::PrepareAbort => after_bump,
            State::CompleteCommit | State::CompleteAbort => same || retry,
        };
        if !valid {
            return Err(ErrorCode::ProducerFenced);
        }
        match (self.state, request.commit) {
            (State::Ongoing, _) => {}
            (State::CompleteCommit, true) | (State::CompleteAbort, false) if retry => return Ok(End::Over),
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                return Err(ErrorCode::ConcurrentTransactions);
            }
            // Nothing was added to the transaction, and its producer wants a new epoch all the same.
            (State::Empty | State::CompleteCommit | State::CompleteAbort, false) if !retry => {}
            _ => return Err(ErrorCode::InvalidTxnState),
        }
        let next_producer_id = match (self.epoch >= EPOCH_EXHAUSTED, fresh_producer_id) {
            (false, _) => NO_PRODUCER_ID,
            (true, Some(fresh)) => fresh,
            (true, None) => return Ok(End::NeedsProducerId),
        };
        let version = request.client_version;
        let next = self.prepared(request.commit, version, next_producer_id, now_ms);
        Ok(End::Prepared(next))
    }

    fn prepared(&self, commit: bool, client_version: i16, next_producer_id: i64, now_ms: i64) -> Self {
        let mut next = Metadata {
            state: if commit {
                State::PrepareCommit
            } else {
                State::PrepareAbort
            },
            client_version,
            next_producer_id,
            updated_ms: now_ms,
            ..self.clone()
        };
        if self.state != State::Ongoing {
            next.started_ms = now_ms;
        }
        if client_version >= EPOCH_BUMP {
            next.last_epoch = self.epoch;
            next.epoch = self.epoch.saturating_add(1);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    fn ready(init: Result<Init, ErrorCode>) -> Metadata {
        match init {
            Ok(Init::Ready(metadata)) => metadata,
            other => panic!("{other:?}"),
        }
    }

    fn prepared(end: Result<End, ErrorCode>) -> Metadata {
        match end {
            Ok(End::Prepared(metadata)) => metadata,
            other => panic!("{other:?}"),
        }
    }

    fn fresh() -> Metadata {
        ready(Metadata::new(7, 60_000, NOW).init(None, 60_000, None, NOW))
    }

    fn ongoing(epoch: i16) -> Metadata {
        let partitions = BTreeMap::from([("t".to_owned(), BTreeSet::from([0]))]);
        let metadata = Metadata { epoch, ..fresh() };
        metadata.add(&partitions, None, 0, NOW).unwrap()
    }

    fn end(metadata: &Metadata, epoch: i16, commit: bool, client_version: i16) -> Result<End, ErrorCode> {
        let request = EndRequest {
            producer_id: 7,
            epoch,
            commit,
            client_version,
        };
        metadata.end(request, Some(99), NOW)
    }

    #[test]
    fn each_producer_gets_a_later_epoch_and_a_retry_gets_the_same() {
        let first = fresh();
        assert_eq!((first.producer_id, first.epoch), (7, 0));
        let second = ready(first.init(None, 60_000, None, NOW));
        assert_eq!((second.epoch, second.last_epoch), (1, -1));
        let itself = ready(second.init(Some((7, 1)), 60_000, None, NOW));
        assert_eq!((itself.epoch, itself.last_epoch), (2, 1));
        let retry = ready(itself.init(Some((7, 1)), 60_000, None, NOW));
        assert_eq!(retry.epoch, 2);
        for stranger in [(7, 0), (7, 3), (8, 2)] {
            assert_eq!(
                itself.init(Some(stranger), 60_000, None, NOW),
                Err(ErrorCode::ProducerFenced),
                "{stranger:?}"
            );
        }
    }

    #[test]
    fn epochs_that_are_used_up_lead_to_a_new_producer_id() {
        let last = Metadata {
            epoch: i16::MAX - 1,
            ..fresh()
        };
        assert_eq!(last.init(None, 1, None, NOW), Ok(Init::NeedsProducerId));
        let next = ready(last.init(Some((7, i16::MAX - 1)), 1, Some(99), NOW));
        assert_eq!((next.producer_id, next.epoch), (99, 0));
        assert_eq!((next.previous_producer_id, next.last_epoch), (7, i16::MAX - 1));
        let retry = ready(next.init(Some((7, i16::MAX - 1)), 1, None, NOW));
        assert_eq!((retry.producer_id, retry.epoch), (99, 0));

        let prepared = prepared(end(&ongoing(i16::MAX - 1), i16::MAX - 1, true, 2));
        let complete = prepared.completed(NOW);
        assert_eq!((complete.producer_id, complete.epoch), (99, 0));
        assert_eq!(end(&complete, i16::MAX - 1, true, 2), Ok(End::Over), "its retry");
        let fenced = ongoing(i16::MAX - 1).abort(NOW).completed(NOW);
        assert_eq!(fenced.init(None, 1, None, NOW), Ok(Init::NeedsProducerId));
        // Its producer, which was only slow, goes on: under the very last epoch no marker could end its transactions.
        let slow = Some((7, i16::MAX - 1));
        assert_eq!(fenced.init(slow, 1, None, NOW), Ok(Init::NeedsProducerId));
        let next = ready(fenced.init(slow, 1, Some(99), NOW));
        assert_eq!((next.producer_id, next.epoch), (99, 0));
        let retry = ready(next.init(slow, 1, None, NOW));
        assert_eq!((retry.producer_id, retry.epoch), (99, 0));
    }

    #[test]
    fn the_first_generation_ends_under_its_own_epoch() {
        let open = ongoing(3);
        let decided = prepared(end(&open, 3, true, 0));
        assert_eq!((decided.state, decided.epoch), (State::PrepareCommit, 3));
        assert_eq!(end(&decided, 3, true, 0), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(end(&decided, 3, false, 0), Err(ErrorCode::InvalidTxnState));
        let complete = decided.completed(NOW);
        assert_eq!(complete.state, State::CompleteCommit);
        assert!(complete.partitions.is_empty());
        assert_eq!(end(&complete, 3, true, 0), Ok(End::Over));
        assert_eq!(end(&complete, 3, false, 0), Err(ErrorCode::InvalidTxnState));
        assert_eq!(end(&complete, 2, true, 0), Err(ErrorCode::ProducerFenced));
        assert_eq!(end(&fresh(), 0, true, 0), Err(ErrorCode::InvalidTxnState));
        assert_eq!(end(&fresh(), 0, false, 0), Err(ErrorCode::InvalidTxnState));
    }

    #[test]
    fn the_second_generation_gets_a_new_epoch_with_each_end() {
        let decided = prepared(end(&ongoing(3), 3, true, 2));
        assert_eq!((decided.state, decided.epoch), (State::PrepareCommit, 4));
        assert_eq!(end(&decided, 3, true, 2), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(end(&decided, 4, true, 2), Err(ErrorCode::ProducerFenced));
        let complete = decided.completed(NOW);
        assert_eq!(end(&complete, 3, true, 2), Ok(End::Over));
        assert_eq!(end(&complete, 3, false, 2), Err(ErrorCode::InvalidTxnState));
        assert_eq!(end(&complete, 4, true, 2), Err(ErrorCode::InvalidTxnState));
        let again = prepared(end(&complete, 4, false, 2));
        assert_eq!((again.state, again.epoch), (State::PrepareAbort, 5));
        assert_eq!(end(&complete, 2, true, 2), Err(ErrorCode::ProducerFenced));
        let nothing = prepared(end(&fresh(), 0, false, 2));
        assert_eq!((nothing.epoch, nothing.started_ms), (1, NOW));
        assert_eq!(end(&fresh(), 0, true, 2), Err(ErrorCode::InvalidTxnState));
    }

    #[test]
    fn a_producer_that_is_replaced_loses_its_transaction() {
        let open = ongoing(3);
        let Ok(Init::Abort(aborted)) = open.init(None, 60_000, None, NOW) else {
            panic!("an open transaction")
        };
        assert_eq!((aborted.state, aborted.epoch), (State::PrepareAbort, 4));
        assert_eq!(
            aborted.init(None, 60_000, None, NOW),
            Err(ErrorCode::ConcurrentTransactions)
        );
        let next = ready(aborted.completed(NOW).init(None, 60_000, None, NOW));
        assert_eq!(next.epoch, 5);
        assert_eq!(next.check_producer(7, 3), Err(ErrorCode::ProducerFenced));
        assert_eq!(
            next.check_producer(8, 5),
            Err(ErrorCode::InvalidProducerIdMapping)
        );
    }

    #[test]
    fn time_is_over_when_the_timeout_has_passed_and_ids_expire_when_nothing_is_open() {
        let open = ongoing(0);
        assert!(!open.is_overdue(NOW + 60_000) && open.is_overdue(NOW + 60_001));
        assert!(!open.is_expired(NOW + 1_000_000, 1));
        assert!(!fresh().is_expired(NOW + 9, 10) && fresh().is_expired(NOW + 10, 10));
    }
}
