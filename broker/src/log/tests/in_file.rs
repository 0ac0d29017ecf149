//! What is left in its file is what would have been read.

use std::fs;

use heliostat_wire::Payload;
use proptest::prelude::*;

use super::transactions::{add, end, transactional};
use super::*;

/// The records both ways, which must be the same.
fn both(log: &Log, request: ReadRequest) -> Vec<u8> {
    let read = |in_file_from| {
        log.read_some(ReadRequest {
            in_file_from,
            ..request
        })
        .unwrap()
    };
    let (memory, file) = (read(usize::MAX), read(1));
    let in_file = file.in_file.map_or_else(Payload::default, Payload::File);
    assert!(memory.in_file.is_none() && file.records.is_empty());
    assert_eq!(in_file.into_bytes().unwrap(), memory.records, "{request:?}");
    assert_eq!(
        file.aborted_transactions, memory.aborted_transactions,
        "{request:?}"
    );
    memory.records.into()
}

fn from(offset: i64, max_bytes: usize) -> ReadRequest {
    ReadRequest {
        offset,
        max_bytes,
        min_one_batch: true,
        isolation: Isolation::ReadUncommitted,
        in_file_from: usize::MAX,
    }
}

#[test]
fn aborted_transactions_are_named_the_same() {
    let bench = Bench::new(LogConfig::default());
    let log = bench.log();
    for turn in 0..20i64 {
        add(&log, &transactional(turn, 0, 0, 3)).unwrap();
        end(&log, turn, 0, turn % 3 == 0);
    }
    let isolation = Isolation::ReadCommitted;
    for offset in 0..log.log_end_offset() {
        for max_bytes in [1, 300, 1000, 1_000_000] {
            both(
                &log,
                ReadRequest {
                    isolation,
                    ..from(offset, max_bytes)
                },
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn batches_are_cut_at_the_same_place(
        sizes in prop::collection::vec(1usize..5, 1..60),
        index_interval_bytes in 1u64..2000,
        min_one_batch: bool,
    ) {
        let config = LogConfig { index_interval_bytes, segment_bytes: 3000, ..LogConfig::default() };
        let bench = Bench::new(config);
        for size in sizes {
            bench.append(&batch(&vec![NOW; size]));
        }
        let log = bench.log();
        for offset in 0..log.log_end_offset() {
            for max_bytes in [0, 1, 90, 200, 1000, 1_000_000] {
                both(&log, ReadRequest { min_one_batch, ..from(offset, max_bytes) });
            }
        }
    }
}

#[test]
fn nobody_sees_beyond_the_high_watermark() {
    let bench = Bench::with_policy(LogConfig::default(), FlushPolicy::GroupCommit);
    let log = bench.log();
    bench.append(&batch(&[NOW; 3]));
    log.flush(NOW).unwrap();
    let visible = both(&log, from(0, 10_000));
    bench.append(&batch(&[NOW; 3]));
    assert_eq!((log.high_watermark(), log.log_end_offset()), (3, 6));
    assert_eq!(both(&log, from(0, 10_000)), visible);
}

#[test]
fn a_wrong_entry_in_the_middle_of_an_index_cuts_nothing_short() {
    let config = LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    };
    let bench = Bench::new(config);
    for _ in 0..20 {
        bench.append(&batch(&[NOW; 3]));
    }
    let log = bench.log();
    let right = both(&log, from(0, 900));
    let index = bench.dir().join("00000000000000000000.index");
    let mut entries = fs::read(&index).unwrap();
    // The position of every entry but the first and the last points into the middle of a batch.
    let last = entries.len() - 8;
    for entry in entries[8..last].chunks_mut(8) {
        entry[7] = entry[7].wrapping_add(1);
    }
    fs::write(&index, entries).unwrap();
    assert_eq!(both(&log, from(0, 900)), right);
}
