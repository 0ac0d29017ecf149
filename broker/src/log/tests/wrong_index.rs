//! Indexes that say what is not so. A clean start does not read them through; whoever uses an entry checks it.

use std::os::unix::fs::FileExt;

use super::*;

const BATCHES: i64 = 60;

/// A closed segment with an entry for nearly every batch, and its indexes' bytes.
fn bench() -> Bench {
    let bench = Bench::new(LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    });
    for i in 0..BATCHES {
        // Every third batch is younger than those around it.
        bench.append(&batch(&[NOW + 10 * i + 25 * i64::from(i % 3 == 0), NOW]));
    }
    bench
}

/// Everything that can be asked: reads at every offset, and look-ups of every time.
fn answers(log: &Log) -> Vec<(i64, Option<i64>)> {
    let base = |offset| {
        let records = log.read(offset, 1, true).unwrap().records;
        first_batch(&records).header().base_offset
    };
    let at = |place: i64| {
        log.offset_for_timestamp(NOW + 10 * place - 5)
            .unwrap()
            .map(|found| found.offset)
    };
    (0..2 * BATCHES)
        .map(|offset| (base(offset), at(offset / 2)))
        .collect()
}

/// Writes over one entry of an index between a clean end and the next start, and asks everything.
fn with_wrong_entry(bench: &mut Bench, suffix: &str, at: u64, bytes: &[u8], expected: &[(i64, Option<i64>)]) {
    bench.manager().close(NOW).unwrap();
    bench.kill();
    let path = bench.dir().join(format!("00000000000000000000{suffix}"));
    let before = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(bytes, at).unwrap();
    bench.start();
    assert_eq!(answers(&bench.log()), expected, "{suffix} at {at}: {bytes:?}");
    bench.log().maintain(NOW).unwrap();
    assert_eq!(answers(&bench.log()), expected, "after it was mended");
    if std::fs::read(&path).unwrap() != before {
        // What did no harm need not be mended.
        std::fs::write(&path, &before).unwrap();
    }
}

#[test]
fn a_wrong_entry_in_the_middle_costs_time_and_no_records() {
    let mut bench = bench();
    let expected = answers(&bench.log());
    let offset_entry = |offset: i32, position: i32| [offset.to_be_bytes(), position.to_be_bytes()].concat();
    let time_entry = |time: i64, offset: i32| [&time.to_be_bytes()[..], &offset.to_be_bytes()].concat();
    for place in [1u64, 20, 45] {
        for (offset, position) in [
            (0, 0),
            (3, 2_000),
            (60, 60),
            (i32::MAX, 100),
            (-5, 100),
            (80, 0),
            (41, i32::MAX),
        ] {
            with_wrong_entry(
                &mut bench,
                ".index",
                place * 8,
                &offset_entry(offset, position),
                &expected,
            );
        }
        for (time, offset) in [
            (0, 0),
            (NOW + 100, 100),
            (NOW + 300, 0),
            (i64::MAX, 5),
            (-1, 90),
            (NOW, i32::MAX),
        ] {
            with_wrong_entry(
                &mut bench,
                ".timeindex",
                place * 12,
                &time_entry(time, offset),
                &expected,
            );
        }
    }
}

#[test]
fn a_time_index_that_ends_wrongly_is_rebuilt() {
    let mut bench = bench();
    let expected = answers(&bench.log());
    bench.manager().close(NOW).unwrap();
    bench.kill();
    let path = bench.dir().join("00000000000000000000.timeindex");
    let before = std::fs::read(&path).unwrap();
    for time in [0i64, NOW + 1, i64::MAX] {
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&time.to_be_bytes(), u64::try_from(before.len()).unwrap() - 12)
            .unwrap();
        bench.start();
        assert_eq!(answers(&bench.log()), expected);
        bench.kill();
    }
}

/// Everything between a clean end and the next start that can be done to a list of aborted transactions without its being one
/// any more.
#[test]
fn a_damaged_list_of_aborted_transactions_is_made_anew() {
    use super::transactions::{add, committed, end, transactional};
    let mut bench = Bench::new(LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    });
    for id in [1, 2, 3] {
        add(&bench.log(), &transactional(id, 0, 0, 1)).unwrap();
        end(&bench.log(), id, 0, false);
    }
    let expected = committed(&bench.log(), 0);
    assert_eq!(expected.0, [0, 2, 4]);
    let damages: [fn(Vec<u8>) -> Vec<u8>; 3] = [
        |good| good[..good.len() - 1].to_vec(),
        |good| [good, b"junk".to_vec()].concat(),
        |good| [&[9, 9], &good[2..]].concat(),
    ];
    for (what, damage) in damages.into_iter().enumerate() {
        bench.manager().close(NOW).unwrap();
        bench.kill();
        let path = bench.dir().join("00000000000000000000.txnindex");
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, damage(good.clone())).unwrap();
        bench.start();
        assert_eq!(committed(&bench.log(), 0), expected, "damage {what}");
        assert!(std::fs::read(&path).unwrap() == good, "damage {what}: the file");
    }
}

/// A flipped bit anywhere in a list of aborted transactions, in closed segments and in the one that is written to: nothing
/// is answered from it that the log does not say.
#[test]
fn a_flipped_bit_in_a_list_of_aborted_transactions_does_not_reach_readers() {
    use super::transactions::{add, end, transactional};
    let mut bench = Bench::in_memory(LogConfig {
        index_interval_bytes: 200,
        ..small()
    });
    // Some of the transactions overlap, some are committed, and every producer aborts several times.
    for round in 0..8i32 {
        let log = bench.log();
        add(&log, &transactional(1, 0, round, 1)).unwrap();
        add(&log, &transactional(2, 0, round, 1)).unwrap();
        end(&log, 1, 0, round % 3 == 2);
        end(&log, 2, 0, false);
    }
    let ask = |bench: &Bench| {
        let log = bench.log();
        // The last stable offset is nothing that readers hear of.
        let ask = |from| {
            let found = log.aborted_transactions(from, from + 5).unwrap().into_iter();
            found.map(|entry| (entry.producer_id, entry.first_offset, entry.last_offset))
        };
        (0..32).flat_map(ask).collect::<Vec<_>>()
    };
    let expected = ask(&bench);
    let mut files: Vec<_> = bench.names();
    files.retain(|name| name.ends_with(".txnindex"));
    assert!(files.len() > 2, "{files:?}");
    for name in [files.remove(0), files.remove(0), files.pop().unwrap()] {
        let path = bench.dir().join(name);
        let good = std::fs::read(&path).unwrap();
        for bit in (0..good.len() * 8).filter(|bit| bit % 8 == 0 || bit % 8 == bit / 8 % 8) {
            let stable = bit / 8 % 34 >= 26;
            bench.manager().close(NOW).unwrap();
            bench.kill();
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bad).unwrap();
            bench.start();
            assert_eq!(ask(&bench), expected, "{} bit {bit}", path.display());
            // A last stable offset that is too low costs time only, and stays.
            assert!(
                stable || std::fs::read(&path).unwrap() == good,
                "{} bit {bit}",
                path.display()
            );
            std::fs::write(&path, &good).unwrap();
        }
    }
}
