//! Recovery of the end of a log: whatever is torn there, what was written before is kept, and no more is read than has to
//! be.

use super::*;
use std::fs;

const LOG: &str = "00000000000000000000.log";

/// One segment, with index entries.
fn indexed() -> LogConfig {
    LogConfig {
        index_interval_bytes: 200,
        retention_ms: None,
        ..LogConfig::default()
    }
}

fn offsets(log: &Log) -> Vec<i64> {
    let all = read_all(log, 0, 1000);
    Batches::new(&all)
        .map(|batch| batch.unwrap().header().base_offset)
        .collect()
}

#[test]
fn a_last_batch_that_is_torn_anywhere_is_cut_off() {
    let mut bench = Bench::new(indexed());
    for sequence in 0..20 {
        bench.append(&produced(1, 0, sequence, 1));
        if sequence == 10 {
            bench.log().flush(NOW).unwrap();
            bench.manager().checkpoint().unwrap();
        }
    }
    let path = bench.dir().join(LOG);
    let whole = fs::read(&path).unwrap();
    let last = Batches::new(&whole).last().unwrap().unwrap().bytes().len();
    let saved = bench.root.path().with_extension("saved");
    bench.kill();
    copy(bench.root.path(), &saved);
    for (at, zeros) in (0..last).flat_map(|at| [(at, false), (at, true)]) {
        fs::remove_dir_all(bench.root.path()).unwrap();
        copy(&saved, bench.root.path());
        let mut torn = whole[..whole.len() - last + at].to_vec();
        if zeros {
            // As a file system leaves it that has written the size, and not the data.
            torn.resize(whole.len(), 0);
        }
        if torn == whole {
            continue;
        }
        fs::write(&path, torn).unwrap();
        bench.start();
        assert_eq!(bench.log().log_end_offset(), 19, "byte {at}, zeros: {zeros}");
        let again = bench.append(&produced(1, 0, 19, 1));
        assert_eq!((again.duplicate, again.base_offset), (false, 19));
        assert!(bench.append(&produced(1, 0, 18, 1)).duplicate);
        assert_eq!(offsets(&bench.log()), (0..20).collect::<Vec<_>>());
        bench.kill();
    }
    fs::remove_dir_all(saved).unwrap();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn only_what_lies_behind_the_recovery_point_is_looked_at() {
    let mut bench = Bench::new(indexed());
    for sequence in 0..50 {
        bench.append(&produced(1, 0, sequence, 1));
    }
    bench.log().flush(NOW).unwrap();
    bench.manager().checkpoint().unwrap();
    for sequence in 50..60 {
        bench.append(&produced(1, 0, sequence, 1));
    }
    let index = |bench: &Bench| fs::read(bench.dir().join("00000000000000000000.index")).unwrap();
    let before = index(&bench);
    bench.kill();
    // A record that was on disk before, in the segment that is still written to.
    let path = bench.dir().join(LOG);
    let mut bytes = fs::read(&path).unwrap();
    bytes[70] ^= 1;
    fs::write(&path, &bytes).unwrap();
    bench.start();
    assert_eq!(bench.log().log_end_offset(), 60);
    assert_eq!(
        index(&bench),
        before,
        "the entries are those that an append makes"
    );
    for sequence in 55..60 {
        assert!(bench.append(&produced(1, 0, sequence, 1)).duplicate);
    }
    assert_eq!(bench.append(&produced(1, 0, 60, 1)).base_offset, 60);
    assert_eq!(bench.log().recovery_point(), 50);
}

#[test]
fn an_index_that_leads_astray_is_made_anew() {
    let damages: [fn(&mut Vec<u8>); 4] = [
        |index| index.truncate(index.len() / 2 / 8 * 8),
        |index| index.truncate(index.len() - 3),
        |index| index.fill(0),
        |index| index.chunks_exact_mut(8).for_each(|entry| entry[7] ^= 1),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let mut bench = Bench::new(indexed());
        for sequence in 0..50 {
            bench.append(&produced(1, 0, sequence, 1));
            if sequence == 40 {
                bench.log().flush(NOW).unwrap();
                bench.manager().checkpoint().unwrap();
            }
        }
        bench.kill();
        let path = bench.dir().join("00000000000000000000.index");
        let mut index = fs::read(&path).unwrap();
        damage(&mut index);
        fs::write(&path, index).unwrap();
        bench.start();
        let log = bench.log();
        assert_eq!(offsets(&log), (0..50).collect::<Vec<_>>(), "damage {number}");
        for offset in 0..50 {
            let records = log.read(offset, 1, true).unwrap().records;
            assert_eq!(
                first_batch(&records).header().base_offset,
                offset,
                "damage {number}"
            );
        }
        assert!(bench.append(&produced(1, 0, 49, 1)).duplicate);
    }
}

#[test]
fn torn_checkpoints_cost_time_and_nothing_else() {
    for name in [
        "recovery-point-offset-checkpoint",
        "00000000000000000010.snapshot",
    ] {
        for content in [&b""[..], b"0\n1\norders 0", b"0\n1\norders 0 999999\n", &[0; 30]] {
            let mut bench = Bench::new(indexed());
            for sequence in 0..20 {
                bench.append(&produced(1, 0, sequence, 1));
                if sequence == 9 {
                    bench.log().flush(NOW).unwrap();
                    bench.manager().checkpoint().unwrap();
                }
            }
            bench.kill();
            let path = match name.ends_with("snapshot") {
                true => bench.dir().join(name),
                false => bench.root.path().join(name),
            };
            assert!(path.exists(), "{name}");
            fs::write(&path, content).unwrap();
            bench.start();
            assert_eq!(offsets(&bench.log()), (0..20).collect::<Vec<_>>());
            assert!(bench.append(&produced(1, 0, 19, 1)).duplicate);
            assert_eq!(bench.append(&produced(1, 0, 20, 1)).base_offset, 20);
        }
    }
}

#[test]
fn a_roll_that_was_interrupted_leaves_nothing_behind() {
    let rests: [&[&str]; 4] = [
        &["log"],
        &["log", "index"],
        &["index", "timeindex"],
        &["log", "index", "timeindex", "snapshot.tmp"],
    ];
    for rest in rests {
        let mut bench = Bench::new(small());
        for sequence in 0..30 {
            bench.append(&produced(1, 0, sequence, 1));
        }
        bench.kill();
        for suffix in rest {
            fs::write(bench.dir().join(format!("{:020}.{suffix}", 30)), "").unwrap();
        }
        bench.start();
        assert_eq!(offsets(&bench.log()), (0..30).collect::<Vec<_>>(), "{rest:?}");
        assert_eq!(bench.append(&produced(1, 0, 30, 1)).base_offset, 30);
        bench.restart();
        assert_eq!(offsets(&bench.log()), (0..31).collect::<Vec<_>>(), "{rest:?}");
    }
}

#[test]
fn a_topic_that_was_deleted_leaves_nothing_for_one_of_its_name() {
    let mut bench = Bench::new(small());
    for partition in 1..20 {
        let id = bench.log().topic_id();
        let log = bench
            .manager()
            .create(TOPIC, partition, id, small(), NOW)
            .unwrap();
        for _ in 0..20 {
            log.append(&batch(&[NOW; 3]), 0, NOW).unwrap();
        }
        log.delete_records(5).unwrap();
    }
    bench.manager().checkpoint().unwrap();
    assert_eq!(bench.manager().delete_all(TOPIC, 1..30, NOW).unwrap(), 19);
    let names = |bench: &Bench| fs::read_dir(bench.root.path()).unwrap().count();
    let with_rests = names(&bench);
    bench.manager().remove_deleted(NOW + 59_999);
    assert_eq!(names(&bench), with_rests, "file.delete.delay.ms is a minute");
    let again = bench
        .manager()
        .create(TOPIC, 3, Uuid::from_bytes([9; 16]), small(), NOW)
        .unwrap();
    assert_eq!((again.log_start_offset(), again.log_end_offset()), (0, 0));
    drop(again);
    bench.kill();
    bench.start();
    let log = bench.manager().get(TOPIC, 3).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 0));
    assert_eq!(bench.manager().logs().len(), 2);
    bench.manager().remove_deleted(NOW);
    assert_eq!(
        names(&bench),
        with_rests - 18,
        "nineteen rests are gone, and one log has come"
    );
}

#[test]
fn few_files_are_enough_for_many_logs() {
    let mut bench = Bench::with_policy(small(), FlushPolicy::GroupCommit);
    bench.manager().close(NOW).unwrap();
    bench.open_files_max = 40;
    bench.kill();
    bench.start();
    let open = |bench: &Bench| {
        let root = bench.root.path().canonicalize().unwrap();
        let links = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.filter(|path| path.starts_with(&root)).count()
    };
    let logs: Vec<_> = (1..200)
        .map(|partition| {
            let id = bench.log().topic_id();
            bench
                .manager()
                .create(TOPIC, partition, id, small(), NOW)
                .unwrap()
        })
        .collect();
    assert!(open(&bench) < 10, "{}", open(&bench));
    for round in 1..=3 {
        for log in &logs {
            log.append(&batch(&[NOW; 3]), 0, NOW).unwrap();
            log.commit().unwrap();
        }
        assert!(open(&bench) < 60, "{}", open(&bench));
        for log in &logs {
            assert_eq!(log.high_watermark(), 3 * round);
            assert!(!log.read(0, 10_000, true).unwrap().records.is_empty());
        }
    }
}
