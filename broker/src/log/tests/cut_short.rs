//! A process that dies while the end of its log is cut off, or written anew after a flush that has failed.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::compact::{copy, in_memory, watch};
use super::durable::{Flushes, Lossy};
use super::*;

/// What a process leaves behind that dies before a write or a flush, or after a cut, a rename or a removal.
#[derive(Debug)]
struct Copies {
    from: PathBuf,
    to: tempfile::TempDir,
    taken: Mutex<usize>,
}

impl DiskFault for Copies {
    fn before(&self, _: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        self.take();
        Ok(())
    }
}

impl Copies {
    /// Those that are taken while something is done to the log.
    fn during(bench: &Bench, what: impl FnOnce(&Log)) -> Arc<Copies> {
        let copies = Arc::new(Copies {
            from: bench.root.path().to_owned(),
            to: in_memory(),
            taken: Mutex::new(0),
        });
        let watching = Arc::clone(&copies);
        bench.manager().disk().inject(Some(copies.clone()));
        watch(Some(Box::new(move |_| watching.take())));
        what(&bench.log());
        watch(None);
        bench.manager().disk().inject(None);
        copies
    }

    fn take(&self) {
        let mut taken = self.taken.lock().unwrap();
        copy(&self.from, &self.path(*taken));
        *taken += 1;
    }

    fn path(&self, number: usize) -> PathBuf {
        self.to.path().join(number.to_string())
    }

    /// Opens every copy. Returns how many there are.
    fn each(&self, what: &str, check: impl Fn(&LogManager, &str)) -> usize {
        let taken = *self.taken.lock().unwrap();
        for number in 0..taken {
            let open = || open(&self.path(number));
            let what = format!("{what}, step {number} of {taken}");
            check(&open(), &what);
            // What the start has made of it is as good.
            check(&open(), &format!("{what}, again"));
        }
        taken
    }
}

/// Opens a directory. The lock of who had it before is there for a moment longer where another test has just begun a process, which has all files of
/// this one until it runs a program of its own.
fn open(path: &Path) -> LogManager {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match LogManager::open(LogManagerOptions::new(path), NOW, &|_| small()) {
            Err(OpenError::Locked(_)) if Instant::now() < until => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// The offsets of a transaction's only record, and of the marker that aborts it.
const TRANSACTION: (i64, i64) = (12, 20);
const BATCHES: i64 = 30;
const LEADER_EPOCHS: i32 = 3;

/// How many batches the idempotent producer has before an offset.
fn produced_before(end: i64) -> i32 {
    let own = (0..end).filter(|offset| ![TRANSACTION.0, TRANSACTION.1].contains(offset));
    i32::try_from(own.count()).unwrap()
}

/// Appends the batches from one offset up to another, in several segments and leader epochs.
fn append(bench: &Bench, offsets: std::ops::Range<i64>) {
    for offset in offsets {
        let epoch = i32::try_from(offset * i64::from(LEADER_EPOCHS) / BATCHES).unwrap();
        let log = bench.log();
        let appended = match offset {
            offset if offset == TRANSACTION.0 => {
                let builder = BatchBuilder::new().producer(5, 0, 0).transactional();
                log.append_guarded(&fill(builder, &[NOW]), guard(&log), epoch, NOW)
            }
            offset if offset == TRANSACTION.1 => log.append_marker(
                &Marker {
                    producer_id: 5,
                    producer_epoch: 0,
                    commit: false,
                    coordinator_epoch: 0,
                    transaction_version: 1,
                },
                epoch,
                NOW,
            ),
            offset => log.append(&produced(9, 0, produced_before(offset), 1), epoch, NOW),
        };
        assert_eq!(appended.unwrap().base_offset, offset);
    }
}

fn guard(log: &Log) -> Option<super::super::verification::Guard> {
    let builder = BatchBuilder::new().producer(5, 0, 0).transactional();
    log.verify_transaction(&fill(builder, &[NOW]), false)
}

/// The log is whole up to somewhere between these offsets, and everything else is as it was there.
fn check_prefix(manager: &LogManager, (from, to): (i64, i64), what: &str) {
    let log = manager.get(TOPIC, 0).unwrap();
    let end = log.log_end_offset();
    assert!((from..=to).contains(&end), "{what}: {end}");
    let all = read_all(&log, 0, 1000);
    let offsets: Vec<i64> = Batches::new(&all)
        .map(|batch| batch.unwrap().header().base_offset)
        .collect();
    assert_eq!(offsets, (0..end).collect::<Vec<_>>(), "{what}");
    let is_open = TRANSACTION.0 < end && end <= TRANSACTION.1;
    let stable = if is_open { TRANSACTION.0 } else { end };
    assert_eq!(log.visible().last_stable_offset, stable, "{what}");
    let epochs: Vec<_> = log
        .leader_epochs()
        .iter()
        .map(|entry| (entry.epoch, entry.start_offset))
        .collect();
    let expected: Vec<_> = (0..LEADER_EPOCHS)
        .map(|epoch| (epoch, i64::from(epoch) * BATCHES / i64::from(LEADER_EPOCHS)))
        .filter(|(_, start)| *start < end)
        .collect();
    assert_eq!(epochs, expected, "{what}");
    let sequence = produced_before(end);
    if sequence > 0 {
        let again = log
            .append(&produced(9, 0, sequence - 1, 1), LEADER_EPOCHS, NOW)
            .unwrap();
        assert!(again.duplicate, "{what}");
    }
}

#[test]
fn a_process_that_dies_while_a_log_is_cut_back_leaves_a_log_that_ends_earlier() {
    for target in [29, 21, 15, 11, 1, 0] {
        let bench = Bench::new(small());
        append(&bench, 0..BATCHES);
        bench.log().flush(NOW).unwrap();
        bench.manager().checkpoint().unwrap();
        let copies = Copies::during(&bench, |log| {
            assert_eq!(log.truncate_to(target, NOW).unwrap(), target);
        });
        let what = format!("cut back to {target}");
        let steps = copies.each(&what, |manager, what| {
            check_prefix(manager, (target, BATCHES), what);
        });
        assert!(steps > 3, "{what}: {steps}");
        // Whoever has died in the middle comes to the same end by doing it again.
        for number in 0..steps {
            let options = LogManagerOptions::new(copies.path(number));
            let manager = LogManager::open(options, NOW, &|_| small()).unwrap();
            let log = manager.get(TOPIC, 0).unwrap();
            assert_eq!(log.truncate_to(target, NOW).unwrap(), target);
            check_prefix(&manager, (target, target), &what);
        }
    }
}

#[test]
fn a_process_that_dies_while_a_log_is_mended_keeps_what_it_has_acknowledged() {
    // Nothing is lost, or all behind a place in the first segment.
    for is_lossy in [false, true] {
        for durable in [1, 3, 14] {
            if is_lossy && durable > 1 {
                continue;
            }
            let bench = Bench::with_policy(small(), FlushPolicy::GroupCommit);
            append(&bench, 0..durable);
            bench.log().flush(NOW).unwrap();
            bench.manager().checkpoint().unwrap();
            append(&bench, durable..durable + 1);
            let keep = bench.log().size_bytes();
            append(&bench, durable + 1..BATCHES);
            assert!(bench.log().segment_count() > 3);
            if is_lossy {
                let lossy = Arc::new(Lossy::new(keep));
                bench.manager().disk().inject(Some(lossy));
            } else {
                *Flushes::on(&bench).fail.lock().unwrap() = true;
            }
            assert!(bench.log().commit().is_err());
            let copies = Copies::during(&bench, |log| log.mend(NOW).unwrap());
            assert_eq!(bench.log().state(), LogState::Writable);
            let end = bench.log().log_end_offset();
            assert_eq!(end, if is_lossy { durable + 1 } else { BATCHES });
            let what = format!("{durable} are durable, some are lost: {is_lossy}");
            let steps = copies.each(&what, |manager, what| {
                check_prefix(manager, (durable, BATCHES), what);
            });
            assert!(steps > 10, "{what}: {steps}");
        }
    }
}

/// A directory is there as a whole before it is looked at.
#[test]
fn copies_are_like_what_they_are_of() {
    let bench = Bench::new(small());
    append(&bench, 0..BATCHES);
    let copies = Copies::during(&bench, |log| {
        log.flush(NOW).unwrap();
    });
    let is_same = |path: &Path| path.join(format!("{TOPIC}-0")).is_dir();
    assert!(is_same(&copies.path(0)));
    let steps = copies.each("flushed", |manager, what| {
        check_prefix(manager, (BATCHES, BATCHES), what);
    });
    assert!(steps > 3, "{steps}");
}
