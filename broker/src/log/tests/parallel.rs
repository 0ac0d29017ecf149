//! Writers, readers and chores at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const WRITERS: i64 = 3;
const BATCHES: i32 = 300;

/// Reads from the start to the end as it moves; every offset must come once, in order.
fn follow(log: &Log, done: &AtomicBool) -> i64 {
    let mut next = log.log_start_offset();
    loop {
        let finished = done.load(Ordering::SeqCst);
        let result = log.read(next, 2000, true).unwrap();
        if result.records.is_empty() && finished && next == log.high_watermark() {
            return next;
        }
        for batch in Batches::new(&result.records) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            assert_eq!(batch.header().base_offset, next);
            next = batch.header().next_offset();
            assert!(next <= log.high_watermark());
        }
    }
}

#[test]
fn each_batch_is_written_once_and_read_once_whatever_goes_on_beside() {
    for policy in [FlushPolicy::Os, FlushPolicy::GroupCommit] {
        let mut bench = Bench::with_policy(small(), policy);
        let (log, done) = (bench.log(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| follow(&log, &done))).collect();
            let chores = scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    log.flush(NOW).unwrap();
                    bench.manager().maintain(NOW);
                    log.offset_for_timestamp(NOW).unwrap();
                }
            });
            let writers: Vec<_> = (0..WRITERS)
                .map(|id| {
                    let log = &log;
                    scope.spawn(move || {
                        for sequence in 0..BATCHES {
                            // Every batch is sent twice, as after a lost answer.
                            let sent = produced(id, 0, sequence, 1);
                            let first = log.append(&sent, 0, NOW).unwrap();
                            let second = log.append(&sent, 0, NOW).unwrap();
                            assert!(!first.duplicate && second.duplicate);
                            assert_eq!(first.base_offset, second.base_offset);
                        }
                    })
                })
                .collect();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            log.flush(NOW).unwrap();
            done.store(true, Ordering::SeqCst);
            chores.join().unwrap();
            for reader in readers {
                assert_eq!(reader.join().unwrap(), WRITERS * i64::from(BATCHES));
            }
        });
        drop(log);
        bench.restart();
        assert_eq!(bench.log().log_end_offset(), WRITERS * i64::from(BATCHES));
    }
}

#[test]
fn a_log_that_is_made_again_begins_anew_whatever_is_written_down_meanwhile() {
    const ROUNDS: u8 = 200;
    let bench = Bench::in_memory(small());
    let (manager, done) = (bench.manager(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let chores = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                manager.checkpoint().unwrap();
            }
        });
        for round in 0..ROUNDS {
            let log = manager.get(TOPIC, 0).unwrap();
            log.append(&produced(1, 0, 0, 5), 0, NOW).unwrap();
            log.delete_records(3).unwrap();
            manager.delete(TOPIC, 0, NOW).unwrap();
            let id = Uuid::from_bytes([8 + round % 200; 16]);
            manager.create(TOPIC, 0, id, small(), NOW).unwrap();
            // What was under way when it was made is over after the first.
            (0..2).for_each(|_| manager.checkpoint().unwrap());
            let [starts, points, _] = manager.checkpoints();
            assert_eq!(starts.get(TOPIC, 0), None, "round {round}");
            assert!(
                points.get(TOPIC, 0).is_none_or(|point| point == 0),
                "round {round}"
            );
        }
        done.store(true, Ordering::SeqCst);
        chores.join().unwrap();
    });
}
