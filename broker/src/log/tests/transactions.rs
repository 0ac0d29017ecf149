//! Transactions in a log: what readers of committed records see, and that it survives whatever happens to the log.

use super::*;
use proptest::prelude::*;

const BUMPS_EPOCH: bool = true;

pub(super) fn transactional(id: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    fill(
        BatchBuilder::new().producer(id, epoch, sequence).transactional(),
        &vec![NOW; count],
    )
}

/// Appends as the broker does after the coordinator has agreed.
pub(super) fn add(log: &Log, batch: &[u8]) -> Result<i64, i16> {
    let guard = log.verify_transaction(batch, !BUMPS_EPOCH);
    let appended = log.append_guarded(batch, guard, 0, NOW);
    appended
        .map(|appended| appended.base_offset)
        .map_err(|e| e.code().code())
}

fn marker(producer_id: i64, producer_epoch: i16, commit: bool) -> Marker {
    Marker {
        producer_id,
        producer_epoch,
        commit,
        coordinator_epoch: 0,
        transaction_version: 1,
    }
}

pub(super) fn end(log: &Log, id: i64, epoch: i16, commit: bool) -> i64 {
    let appended = log.append_marker(&marker(id, epoch, commit), 0, NOW);
    appended.unwrap().base_offset
}

fn refused(log: &Log, marker: Marker) -> i16 {
    log.append_marker(&marker, 0, NOW).unwrap_err().code().code()
}

/// First offsets of the aborted transactions that come with what is read at `read_committed`, and the end of that.
pub(super) fn committed(log: &Log, offset: i64) -> (Vec<i64>, i64) {
    let read = log
        .read_some(ReadRequest {
            offset,
            max_bytes: 1 << 20,
            min_one_batch: true,
            isolation: Isolation::ReadCommitted,
            in_file_from: usize::MAX,
        })
        .unwrap();
    let last = Batches::new(&read.records).last();
    let end = last.map_or(offset, |batch| batch.unwrap().header().next_offset());
    let firsts = read
        .aborted_transactions
        .iter()
        .map(|aborted| aborted.first_offset);
    (firsts.collect(), end)
}

#[test]
fn a_transaction_that_the_coordinator_does_not_know_is_not_begun() {
    let bench = Bench::new(LogConfig::default());
    let log = bench.log();
    let first = transactional(9, 0, 0, 1);
    assert_eq!(log.append(&first, 0, NOW).unwrap_err().code().code(), 48);
    // The transaction ends between the coordinator's answer and the append.
    let guard = log.verify_transaction(&first, BUMPS_EPOCH);
    end(&log, 9, 0, false);
    let late = log.append_guarded(&first, guard, 0, NOW).unwrap_err();
    assert_eq!(late.code().code(), 48);
    assert_eq!(add(&log, &first), Ok(1));
    assert_eq!(
        log.verify_transaction(&transactional(9, 0, 1, 1), BUMPS_EPOCH),
        None,
        "it is open"
    );
    log.append(&transactional(9, 0, 1, 1), 0, NOW).unwrap();
    assert_eq!(
        log.append(&produced(9, 0, 2, 1), 0, NOW)
            .unwrap_err()
            .code()
            .code(),
        48
    );
    end(&log, 9, 0, true);
    // Facts 1 and 2: the same producer may write outside of transactions, and with the older epoch.
    log.append(&produced(9, 0, 2, 1), 0, NOW).unwrap();
}

#[test]
fn a_later_batch_does_not_overtake_the_first_one_of_its_transaction() {
    let bench = Bench::new(LogConfig::default());
    let log = bench.log();
    let (first, second) = (transactional(9, 0, 5, 1), transactional(9, 0, 6, 1));
    log.verify_transaction(&first, !BUMPS_EPOCH);
    assert_eq!(add(&log, &second), Err(45));
    assert_eq!(add(&log, &first), Ok(0));
    assert_eq!(add(&log, &second), Ok(1));
    let guard = log.verify_transaction(&transactional(10, 0, 1, 1), BUMPS_EPOCH);
    let not_0 = log.append_guarded(&transactional(10, 0, 1, 1), guard, 0, NOW);
    assert_eq!(not_0.unwrap_err().code().code(), 45);
}

#[test]
fn markers_keep_older_epochs_and_older_coordinators_out() {
    let bench = Bench::new(LogConfig::default());
    let log = bench.log();
    // Fact 3: a marker without data is written, and fences.
    assert_eq!(end(&log, 9, 3, false), 0);
    let refused_batch = |batch: &[u8]| log.append(batch, 0, NOW).unwrap_err().code().code();
    assert_eq!(refused_batch(&produced(9, 2, 0, 1)), 47);
    assert_eq!(refused_batch(&produced(9, 3, 7, 1)), 45);
    // Fact 5: the new epoch's first batch follows.
    assert_eq!(log.append(&produced(9, 3, 0, 1), 0, NOW).unwrap().base_offset, 1);
    assert_eq!(refused(&log, marker(9, 2, false)), 47);
    let of = |coordinator_epoch| Marker {
        coordinator_epoch,
        ..marker(9, 3, true)
    };
    log.append_marker(&of(5), 0, NOW).unwrap();
    assert_eq!(refused(&log, of(4)), 52);
    let v2 = |producer_epoch| Marker {
        transaction_version: 2,
        ..marker(11, producer_epoch, true)
    };
    assert_eq!(add(&log, &transactional(11, 0, 0, 1)), Ok(3));
    assert_eq!(
        refused(&log, v2(0)),
        47,
        "the epoch of the transaction's own batches"
    );
    log.append_marker(&v2(1), 0, NOW).unwrap();
    log.append_marker(&v2(1), 0, NOW).unwrap();
    assert_eq!(log.last_stable_offset(), log.log_end_offset());
}

#[test]
fn committed_readers_wait_for_the_oldest_open_transaction_and_hear_of_aborted_ones() {
    let bench = Bench::new(LogConfig::default());
    let log = bench.log();
    let mut seen = log.watch();
    bench.append(&batch(&[NOW]));
    assert_eq!(add(&log, &transactional(1, 0, 0, 1)), Ok(1));
    assert_eq!(add(&log, &transactional(2, 0, 0, 2)), Ok(2));
    seen.mark_unchanged();
    assert_eq!(end(&log, 2, 0, false), 4);
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (1, 5));
    assert_eq!(committed(&log, 0), (vec![], 1));
    assert_eq!(end(&log, 1, 0, true), 5);
    assert_eq!(seen.borrow_and_update().last_stable_offset, 6);
    assert_eq!(committed(&log, 0), (vec![2], 6));
    assert_eq!(committed(&log, 5), (vec![], 6));
    let uncommitted = log.read(0, 1 << 20, true).unwrap();
    assert_eq!(uncommitted.aborted_transactions, []);
    let found = log.aborted_transactions(0, 6).unwrap();
    assert_eq!((found[0].last_offset, found[0].last_stable_offset), (4, 1));
}

#[test]
fn the_last_stable_offset_waits_until_the_marker_is_on_disk() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::GroupCommit);
    let log = bench.log();
    assert_eq!(add(&log, &transactional(1, 0, 0, 1)), Ok(0));
    log.flush(NOW).unwrap();
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (0, 1));
    end(&log, 1, 0, true);
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (0, 1));
    log.flush(NOW).unwrap();
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (2, 2));
}

#[test]
fn a_marker_that_cannot_be_written_aborts_nothing() {
    let mut bench = Bench::new(small());
    let log = bench.log();
    for sequence in 0..180 {
        assert!(add(&log, &transactional(1, 0, sequence, 1)).is_ok());
        let room = u64::from(sequence.unsigned_abs());
        bench.manager().disk().limit(Some(room));
        let written = log.append_marker(&marker(1, 0, false), 0, NOW).is_ok();
        bench.manager().disk().limit(None);
        let (first, end_offset) = (log.last_stable_offset(), log.log_end_offset());
        let aborted = log.aborted_transactions(0, end_offset).unwrap().len();
        if !written {
            assert!(first < end_offset);
            end(&log, 1, 0, false);
        } else {
            assert_eq!(first, end_offset);
        }
        let now = log.aborted_transactions(0, log.log_end_offset()).unwrap().len();
        assert_eq!(now, aborted + usize::from(!written), "{room} bytes");
    }
    let before = log.aborted_transactions(0, i64::MAX).unwrap();
    drop(log);
    bench.restart();
    assert_eq!(bench.log().aborted_transactions(0, i64::MAX).unwrap(), before);
}

#[test]
fn an_open_transaction_whose_start_was_deleted_holds_back_what_is_left() {
    let bench = Bench::new(small());
    let log = bench.log();
    for sequence in 0..30 {
        assert!(add(&log, &transactional(1, 0, sequence, 1)).is_ok());
    }
    log.delete_records(20).unwrap();
    log.enforce_retention(NOW).unwrap();
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (20, 30));
    end(&log, 1, 0, false);
    assert_eq!(log.last_stable_offset(), 31);
    assert_eq!(
        committed(&log, 20).0,
        [0],
        "the marker lies behind the segment that is read"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Data { producer: i64, plain: bool },
    End { producer: i64, commit: bool },
    Restart,
    Kill { lost: u64 },
    DeleteRecords { permille: i64 },
    Truncate { permille: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1i64..5, any::<bool>()).prop_map(|(producer, plain)| Step::Data { producer, plain }),
        6 => (1i64..5, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        1 => Just(Step::Restart),
        1 => (0u64..300).prop_map(|lost| Step::Kill { lost }),
        1 => (0i64..1001).prop_map(|permille| Step::DeleteRecords { permille }),
        1 => (800i64..1001).prop_map(|permille| Step::Truncate { permille }),
    ]
}

/// What was appended, in order: offset, producer, and for markers whether they commit.
#[derive(Debug, Default)]
struct Model {
    events: Vec<(i64, i64, Option<bool>)>,
    start: i64,
}

impl Model {
    /// The open transactions with producer and first offset, and the aborted ones with the last offset too.
    fn transactions(&self) -> (Vec<(i64, i64)>, Vec<[i64; 3]>) {
        let (mut open, mut aborted): (Vec<(i64, i64)>, Vec<_>) = (Vec::new(), Vec::new());
        for (offset, producer, marker) in &self.events {
            let place = open.iter().position(|(id, _)| id == producer);
            match (marker, place) {
                (None, None) => open.push((*producer, *offset)),
                (Some(commit), Some(place)) => {
                    let (_, first) = open.remove(place);
                    if !commit {
                        aborted.push([*producer, first, *offset]);
                    }
                }
                _ => {}
            }
        }
        (open, aborted)
    }

    /// The log has lost its end.
    fn cut(&mut self, log: &Log, is_left: impl Fn(&(i64, i64, Option<bool>)) -> bool) {
        self.events.retain(is_left);
        if log.log_end_offset() == self.start {
            // All that was left is gone; a log that starts anew knows no producers.
            self.start = log.log_start_offset();
            if log.producers().is_empty() {
                self.events.clear();
            }
        }
    }

    fn check(&self, log: &Log) {
        let (open, aborted) = self.transactions();
        let (high_watermark, start) = (log.high_watermark(), self.start);
        assert_eq!(log.log_start_offset(), start);
        let oldest = open.iter().map(|(_, first)| *first).min();
        let stable = oldest.map_or(high_watermark, |first| first.max(start));
        assert_eq!(log.last_stable_offset(), stable, "{open:?}");
        let known = log.producers().into_iter();
        let mut known: Vec<_> = known
            .filter_map(|info| Some((info.producer_id, info.transaction_start?)))
            .collect();
        let mut open = open;
        known.sort_unstable();
        open.sort_unstable();
        assert_eq!(known, open);
        let found = log.aborted_transactions(start, high_watermark).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|found| [found.producer_id, found.first_offset, found.last_offset])
            .collect();
        let expected: Vec<_> = aborted
            .into_iter()
            .filter(|[_, _, last]| *last >= start)
            .collect();
        assert_eq!(found, expected);
    }
}

/// What lies before the start of a log of which nothing else is left is not read again.
fn restart(bench: &mut Bench, model: &mut Model) {
    bench.restart();
    model.cut(&bench.log(), |_| true);
}

fn apply(bench: &mut Bench, model: &mut Model, step: &Step) {
    let log = bench.log();
    let next = |log: &Log, producer: i64| {
        let known = log.producers().into_iter();
        known
            .filter(|info| info.producer_id == producer)
            .map(|info| info.last_sequence + 1)
            .next()
            .unwrap_or(0)
    };
    let end_offset = log.log_end_offset();
    let offset = |permille: i64| model.start + (end_offset - model.start) * permille / 1000;
    match step {
        Step::Data { plain: true, .. } => drop(bench.append(&batch(&[NOW, NOW]))),
        Step::Data { producer, .. } => {
            let sent = transactional(*producer, 0, next(&log, *producer), 2);
            model.events.push((add(&log, &sent).unwrap(), *producer, None));
        }
        Step::End { producer, commit } => {
            let offset = end(&log, *producer, 0, *commit);
            model.events.push((offset, *producer, Some(*commit)));
        }
        Step::Restart => {
            drop(log);
            restart(bench, model);
        }
        Step::Kill { lost } => {
            drop(log);
            bench.kill();
            let last = bench.names().into_iter().rfind(|name| name.ends_with(".log"));
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(bench.dir().join(last.unwrap()))
                .unwrap();
            let size = file.metadata().unwrap().len();
            file.set_len(size.saturating_sub(*lost)).unwrap();
            bench.start();
            let end = bench.log().log_end_offset();
            model.cut(&bench.log(), |(offset, ..)| *offset < end);
        }
        Step::DeleteRecords { permille } => {
            let offset = offset(*permille);
            log.delete_records(offset).unwrap();
            log.enforce_retention(NOW).unwrap();
            model.start = offset;
        }
        Step::Truncate { permille } => {
            let end = log.truncate_to(offset(*permille), NOW).unwrap();
            // A batch of two that holds the offset goes as a whole, though the log never ends before its start.
            let last = |(offset, _, marker): &(i64, i64, Option<bool>)| offset + i64::from(marker.is_none());
            model.cut(&log, |event| last(event) < end);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_events_leaves_the_transactions_that_the_log_holds(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let mut bench = Bench::new(small());
        let mut model = Model::default();
        for step in &steps {
            apply(&mut bench, &mut model, step);
            model.check(&bench.log());
        }
        restart(&mut bench, &mut model);
        model.check(&bench.log());
    }
}
