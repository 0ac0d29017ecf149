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

const LOG: &str = "00000000000000000000.log";

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
