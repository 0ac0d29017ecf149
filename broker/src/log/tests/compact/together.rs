//! Cleaning beside everything else that happens to a log.

use super::*;

use std::sync::atomic::{AtomicBool, Ordering};

/// Cleans whatever is dirty until it is told to stop; failures other than being overtaken are failures.
fn keep_cleaning(bench: &Bench, stop: &AtomicBool) -> usize {
    let (manager, mut rounds) = (bench.manager(), 0);
    while !stop.load(Ordering::SeqCst) {
        match manager.cleaner().next(&manager.logs(), NOW) {
            Some(turn) => match manager.cleaner().clean(&turn, &CleanerOptions::default(), NOW) {
                Ok(_) => rounds += 1,
                Err(CleanError::Overtaken) => {}
                Err(error) => panic!("{error}"),
            },
            None => std::thread::yield_now(),
        }
    }
    rounds
}

#[test]
fn readers_and_writers_do_not_notice() {
    let bench = Bench::new(compacted());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| keep_cleaning(&bench, &stop));
        let reader = scope.spawn(|| {
            let log = bench.log();
            let (mut next, mut last) = (0, std::collections::BTreeMap::new());
            while next < 1_500 {
                let bytes = log.read(next, 700, true).unwrap().records;
                for batch in Batches::new(&bytes) {
                    let batch = batch.unwrap();
                    batch.check_crc().unwrap();
                    for record in batch.records(&batch.decompress(1 << 20).unwrap()) {
                        let record = record.unwrap();
                        last.insert(record.key.unwrap().to_vec(), record.value.unwrap().to_vec());
                    }
                    next = batch.header().next_offset();
                }
            }
            last
        });
        for i in 0..1_500 {
            put(&bench, &[(&format!("k{}", i % 11), &format!("{i}"))]);
        }
        let last = reader.join().unwrap();
        assert_eq!(last.len(), 11);
        for (key, value) in last {
            let number: usize = String::from_utf8(value).unwrap().parse().unwrap();
            assert!(number >= 1_500 - 11 && key == format!("k{}", number % 11).into_bytes());
        }
        stop.store(true, Ordering::SeqCst);
        assert!(cleaner.join().unwrap() > 0);
    });
    roll(&bench);
    clean(&bench);
    assert_eq!(records(&bench.log()).len(), 11);
}

#[test]
fn retention_truncation_and_restarts_of_the_log_overtake_a_round() {
    let config = LogConfig {
        delete: true,
        ..compacted()
    };
    let bench = Bench::new(config.clone());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let cleaner = scope.spawn(|| keep_cleaning(&bench, &stop));
        let log = bench.log();
        for i in 0..1_200i64 {
            put(&bench, &[(&format!("k{}", i % 40), &format!("{i}"))]);
            match i % 100 {
                30 => drop(log.delete_records(log.log_end_offset() - 60).unwrap_or(0)),
                60 => {
                    log.set_config(LogConfig {
                        retention_bytes: Some(2_000),
                        ..config.clone()
                    });
                    log.enforce_retention(NOW).unwrap();
                    log.set_config(config.clone());
                }
                90 => {
                    log.truncate_to(log.log_end_offset() - 30, NOW).unwrap();
                    assert!(log.clean_until().unwrap_or(0) <= log.log_end_offset());
                }
                _ => {}
            }
        }
        stop.store(true, Ordering::SeqCst);
        cleaner.join().unwrap();
    });
    let log = bench.log();
    let before = texts(&log);
    let mut offsets: Vec<i64> = before.iter().map(|(offset, ..)| *offset).collect();
    offsets.dedup();
    assert_eq!(offsets.len(), before.len());
    assert!(offsets.is_sorted());
    let mut bench = bench;
    bench.kill();
    bench.start();
    assert_eq!(texts(&bench.log()), before);
}

#[test]
fn a_topic_that_is_deleted_while_it_is_cleaned_leaves_nothing_to_its_successor() {
    let bench = Bench::new(compacted());
    for round in 0..10u8 {
        for i in 0..40 {
            put(&bench, &[(&format!("k{}", i % 3), &format!("{i}"))]);
        }
        let turn = bench.manager().cleaner().turn(&bench.log(), NOW).unwrap();
        let (manager, deleted) = (bench.manager(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let result = manager.cleaner().clean(&turn, &CleanerOptions::default(), NOW);
                assert!(result.is_ok() || deleted.load(Ordering::SeqCst), "{result:?}");
            });
            deleted.store(true, Ordering::SeqCst);
            manager.delete(TOPIC, 0, NOW).unwrap();
            let id = Uuid::from_bytes([round + 10; 16]);
            manager.create(TOPIC, 0, id, compacted(), NOW).unwrap();
        });
        drop(turn);
        assert_eq!(
            (bench.log().log_end_offset(), bench.log().clean_until()),
            (0, None)
        );
    }
}

#[test]
fn a_reader_that_holds_a_segment_reads_on_after_it_was_replaced() {
    let bench = Bench::new(compacted());
    for i in 0..30 {
        put(&bench, &[("k", &format!("{i:050}"))]);
    }
    roll(&bench);
    let first = std::fs::File::open(bench.dir().join("00000000000000000000.log")).unwrap();
    clean(&bench);
    bench.log().maintain(NOW + 100_000).unwrap();
    assert!(!bench.names().iter().any(|name| name.ends_with(".deleted")));
    let mut old = vec![0; usize::try_from(first.metadata().unwrap().len()).unwrap()];
    std::os::unix::fs::FileExt::read_exact_at(&first, &mut old, 0).unwrap();
    first_batch(&old).check_crc().unwrap();
    assert_eq!(records(&bench.log()).len(), 1);
}
