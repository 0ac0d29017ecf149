//! What an append promises under each policy, and what a disk that fails makes of it.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::*;

/// A disk on which flushes fail while it is told so, or which notes what is forced to it.
#[derive(Debug, Default)]
pub(super) struct Flushes {
    pub(super) fail: Mutex<bool>,
    pub(super) seen: Mutex<Vec<PathBuf>>,
}

impl DiskFault for Flushes {
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        let DiskOperation::Sync { path } = operation else {
            return Ok(());
        };
        self.seen.lock().unwrap().push(path.to_owned());
        if *self.fail.lock().unwrap() {
            return Err(std::io::Error::other("the disk is broken").into());
        }
        Ok(())
    }
}

impl Flushes {
    pub(super) fn on(bench: &Bench) -> Arc<Flushes> {
        let flushes = Arc::new(Flushes::default());
        bench.manager().disk().inject(Some(flushes.clone()));
        flushes
    }

    fn of(&self, name: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|path| path.ends_with(Path::new(name))).count()
    }
}

pub(super) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// The same, and what a failed flush was about never reaches the disk: zeros are there instead, from the size on that is
/// given.
#[derive(Debug)]
pub(super) struct Lossy {
    keep: u64,
    armed: Mutex<bool>,
}

impl Lossy {
    /// The next flush loses what lies behind so many bytes of the first segment.
    pub(super) fn new(keep: u64) -> Self {
        Lossy {
            keep,
            armed: Mutex::new(true),
        }
    }
}

impl DiskFault for Lossy {
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        use std::os::unix::fs::FileExt;
        let DiskOperation::Sync { path } = operation else {
            return Ok(());
        };
        if !path.ends_with(LOG) || !std::mem::take(&mut *self.armed.lock().unwrap()) {
            return Ok(());
        }
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let size = file.metadata().unwrap().len();
        let lost = vec![0; usize::try_from(size - self.keep).unwrap()];
        file.write_all_at(&lost, self.keep).unwrap();
        Err(std::io::Error::other("the page is lost").into())
    }
}

const LOG: &str = "00000000000000000000.log";

#[test]
fn only_logs_with_flush_ms_wait_for_a_time_at_which_they_are_forced_to_disk() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::Os);
    let flushes = Flushes::on(&bench);
    bench.manager().start_commits(Duration::from_millis(1)).unwrap();
    let (log, waiting) = (bench.log(), || bench.log().options.commits.waiting());
    log.append(&batch(&[NOW]), 0, NOW).unwrap();
    assert_eq!(waiting(), 0);
    // What was appended before waits too, and only once whatever comes.
    let config = |flush_ms| LogConfig {
        flush_ms,
        ..LogConfig::default()
    };
    log.set_config(config(200_000));
    assert_eq!(waiting(), 1);
    for _ in 0..3 {
        log.append(&batch(&[NOW]), 0, NOW).unwrap();
    }
    assert!(waiting() <= 2);
    assert_eq!(flushes.of(LOG), 0);
    log.set_config(config(1));
    wait_for("it is forced to disk", || flushes.of(LOG) > 0);
    let forced = flushes.of(LOG);
    log.append(&batch(&[NOW]), 0, NOW).unwrap();
    wait_for("it is forced to disk again", || flushes.of(LOG) > forced);
}

#[test]
fn each_append_is_on_disk_when_it_returns() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::Each);
    let flushes = Flushes::on(&bench);
    for sent in 1..=3usize {
        let appended = bench.append(&produced(1, 0, i32::try_from(sent).unwrap() - 1, 1));
        assert_eq!(bench.log().high_watermark(), appended.last_offset + 1);
        assert_eq!(flushes.of(LOG), sent);
    }
    // What is there already costs nothing.
    assert!(bench.append(&produced(1, 0, 2, 1)).duplicate);
    assert_eq!(flushes.of(LOG), 3);
}

#[test]
fn a_flush_that_fails_acknowledges_nothing() {
    for policy in [FlushPolicy::Each, FlushPolicy::GroupCommit, FlushPolicy::Os] {
        let config = LogConfig {
            flush_messages: if policy == FlushPolicy::Os { 1 } else { i64::MAX },
            ..LogConfig::default()
        };
        let bench = Bench::with_policy(config, policy);
        let flushes = Flushes::on(&bench);
        bench.append(&batch(&[NOW]));
        bench.log().commit().unwrap();
        assert_eq!(bench.log().state(), LogState::Writable);
        *flushes.fail.lock().unwrap() = true;
        let failed = match policy {
            FlushPolicy::GroupCommit => {
                bench.append(&batch(&[NOW]));
                bench.log().commit().unwrap_err().to_string()
            }
            _ => {
                let error = bench.log().append(&batch(&[NOW]), 0, NOW).unwrap_err();
                assert_eq!(error.code().code(), 56);
                error.to_string()
            }
        };
        assert!(
            failed.contains("the disk is broken") && failed.contains(LOG),
            "{failed}"
        );
        assert_eq!(bench.log().durable_offset(), 1);
        assert!(bench.log().watch().borrow().failed);
        // A second flush would not tell whether the first one's data is there, even if it succeeded.
        *flushes.fail.lock().unwrap() = false;
        assert!(bench.log().commit().is_err());
        let refused = bench.log().append(&batch(&[NOW]), 0, NOW).unwrap_err();
        assert_eq!(refused.code().code(), 56);
        assert!(refused.to_string().contains("read-only"), "{refused}");
        let LogState::ReadOnly { reason, .. } = bench.log().state() else {
            panic!("the log says that it can be written");
        };
        assert!(reason.contains("the disk is broken"), "{reason}");
        assert!(!bench.log().read(0, 1000, true).unwrap().records.is_empty());
    }
}

#[test]
fn committers_serve_whoever_waits_together() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::GroupCommit);
    bench.manager().start_commits(Duration::from_millis(5)).unwrap();
    let flushes = Flushes::on(&bench);
    for sequence in 0..200 {
        bench.append(&produced(1, 0, sequence, 1));
    }
    let log = bench.log();
    wait_for("all is visible", || log.high_watermark() == 200);
    assert_eq!(log.durable_offset(), 200);
    assert!(flushes.of(LOG) < 100, "{}", flushes.of(LOG));
    // What follows a pause does not wait for the interval, and nothing is flushed where nothing was written.
    let before = flushes.seen.lock().unwrap().len();
    bench.append(&produced(1, 0, 200, 1));
    wait_for("the last one is visible", || log.high_watermark() == 201);
    assert_eq!(flushes.seen.lock().unwrap().len(), before + 1);
}

#[test]
fn very_many_partitions_are_flushed_together_and_fail_by_themselves() {
    let bench = Bench::with_policy(small(), FlushPolicy::GroupCommit);
    let logs: Vec<_> = (1..200)
        .map(|partition| {
            let id = Uuid::from_bytes([7; 16]);
            bench
                .manager()
                .create(TOPIC, partition, id, small(), NOW)
                .unwrap()
        })
        .collect();
    bench.manager().start_commits(Duration::ZERO).unwrap();
    for round in 1..=5 {
        for log in &logs {
            log.append(&batch(&[NOW]), 0, NOW).unwrap();
        }
        wait_for("all are durable", || {
            logs.iter().all(|log| log.durable_offset() == round)
        });
    }
    *Flushes::on(&bench).fail.lock().unwrap() = true;
    logs[3].append(&batch(&[NOW]), 0, NOW).unwrap();
    wait_for("it fails", || logs[3].state() != LogState::Writable);
    let writable = logs
        .iter()
        .filter(|log| log.state() == LogState::Writable)
        .count();
    assert_eq!(writable, logs.len() - 1);
}

#[test]
fn a_directory_that_was_moved_or_removed_takes_nothing_until_it_is_back() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::Each);
    bench.append(&produced(1, 0, 0, 1));
    let elsewhere = bench.root.path().with_extension("elsewhere");
    std::fs::rename(bench.root.path(), &elsewhere).unwrap();
    for replaced in [false, true] {
        if replaced {
            std::fs::create_dir(bench.root.path()).unwrap();
        }
        bench.manager().watch();
        let error = bench.log().append(&produced(1, 0, 1, 1), 0, NOW).unwrap_err();
        assert_eq!(error.code().code(), 56);
        assert!(error.to_string().contains("removed or replaced"), "{error}");
    }
    std::fs::remove_dir(bench.root.path()).unwrap();
    std::fs::rename(&elsewhere, bench.root.path()).unwrap();
    bench.manager().watch();
    assert_eq!(bench.append(&produced(1, 0, 1, 1)).base_offset, 1);
    assert_eq!(bench.log().state(), LogState::Writable);
    // What is removed is noticed at once by whoever forces it to disk.
    std::fs::remove_dir_all(bench.dir()).unwrap();
    let error = bench.log().append(&produced(1, 0, 2, 1), 0, NOW).unwrap_err();
    assert!(error.to_string().contains("removed"), "{error}");
}

/// What there is to read, batch by batch.
fn offsets(log: &Log) -> Vec<i64> {
    let all = read_all(log, log.log_start_offset(), 1000);
    Batches::new(&all)
        .map(|batch| batch.unwrap().header().base_offset)
        .collect()
}

#[test]
fn what_a_failed_flush_left_in_memory_is_written_again() {
    for policy in [FlushPolicy::Each, FlushPolicy::GroupCommit, FlushPolicy::Os] {
        // Several segments, so that the tail is in more than one of them.
        let mut bench = Bench::with_policy(small(), policy);
        let flushes = Flushes::on(&bench);
        bench.append(&produced(1, 0, 0, 1));
        bench.log().commit().unwrap();
        *flushes.fail.lock().unwrap() = true;
        let sent = if policy == FlushPolicy::Each { 2 } else { 20 };
        for sequence in 1..sent {
            let appended = bench.log().append(&produced(1, 0, sequence, 1), 0, NOW);
            assert_eq!(appended.is_err(), policy == FlushPolicy::Each);
        }
        assert!(bench.log().commit().is_err());
        bench.manager().mend(NOW);
        assert_ne!(
            bench.log().state(),
            LogState::Writable,
            "the disk is still broken"
        );
        assert_eq!(bench.manager().read_only().len(), 1);
        *flushes.fail.lock().unwrap() = false;
        bench.manager().mend(NOW);
        assert_eq!(bench.log().state(), LogState::Writable);
        assert!(bench.manager().read_only().is_empty());
        assert_eq!(bench.log().durable_offset(), i64::from(sent));
        assert_eq!(bench.log().high_watermark(), i64::from(sent));
        assert!(bench.append(&produced(1, 0, sent - 1, 1)).duplicate);
        assert_eq!(
            bench.append(&produced(1, 0, sent, 1)).base_offset,
            i64::from(sent)
        );
        let all: Vec<i64> = (0..=i64::from(sent)).collect();
        bench.log().commit().unwrap();
        assert_eq!(offsets(&bench.log()), all);
        bench.kill();
        bench.start();
        assert_eq!(offsets(&bench.log()), all);
    }
}

#[test]
fn what_a_failed_flush_has_lost_is_cut_off() {
    for policy in [FlushPolicy::GroupCommit, FlushPolicy::Os] {
        let config = LogConfig {
            index_interval_bytes: 100,
            ..LogConfig::default()
        };
        let mut bench = Bench::with_policy(config, policy);
        for sequence in 0..3 {
            bench.append(&produced(1, 0, sequence, 1));
        }
        bench.log().commit().unwrap();
        bench.append(&produced(1, 0, 3, 1));
        let keep = bench.log().size_bytes();
        bench.append(&produced(1, 0, 4, 1));
        bench.append(&produced(1, 0, 5, 1));
        bench.manager().disk().inject(Some(Arc::new(Lossy::new(keep))));
        assert!(bench.log().commit().is_err());
        bench.manager().mend(NOW);
        assert_eq!(bench.log().state(), LogState::Writable);
        // The producer's state is that of the log: what is lost can be sent again.
        let again = bench.append(&produced(1, 0, 4, 1));
        // Where consumers had seen the lost offsets, they stand for no other record.
        let expected = if policy == FlushPolicy::Os { 6 } else { 4 };
        assert_eq!((again.duplicate, again.base_offset), (false, expected));
        bench.log().commit().unwrap();
        assert_eq!(offsets(&bench.log()), [0, 1, 2, 3, expected]);
        bench.kill();
        bench.start();
        assert_eq!(offsets(&bench.log()), [0, 1, 2, 3, expected]);
        assert!(bench.append(&produced(1, 0, 4, 1)).duplicate);
    }
}

#[test]
fn a_full_disk_is_told_of_and_comes_back_without_an_append() {
    let bench = Bench::new(LogConfig::default());
    bench.append(&batch(&[NOW]));
    bench.manager().disk().limit(Some(10));
    assert!(bench.log().append(&batch(&[NOW]), 0, NOW).is_err());
    let LogState::ReadOnly { reason, .. } = bench.log().state() else {
        panic!("the log says that it can be written");
    };
    assert!(reason.contains(LOG), "{reason}");
    bench.manager().mend(NOW);
    assert_ne!(bench.log().state(), LogState::Writable);
    bench.manager().disk().limit(Some(100_000));
    bench.manager().mend(NOW);
    assert_eq!(bench.log().state(), LogState::Writable);
    let file = bench.dir().join(LOG);
    assert_eq!(std::fs::metadata(file).unwrap().len(), bench.log().size_bytes());
    assert_eq!(bench.append(&batch(&[NOW])).base_offset, 1);
}
