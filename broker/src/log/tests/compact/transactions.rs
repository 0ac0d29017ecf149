//! Transactions in a compacted log.

use super::*;
use crate::log::tests::transactions::{add, end};

fn part(id: i64, sequence: i32, records: &[(&str, &str)]) -> Vec<u8> {
    keyed(
        BatchBuilder::new().producer(id, 0, sequence).transactional(),
        records,
    )
}

/// Base offset, number of records, and whether it is a marker.
fn batches(log: &Log) -> Vec<(i64, i32, bool)> {
    headers(log)
        .iter()
        .map(|head| (head.base_offset, head.records_count, head.is_control()))
        .collect()
}

fn more(bench: &Bench, key: &str) {
    put(bench, &[(key, "later")]);
    roll(bench);
}

#[test]
fn what_was_aborted_goes_and_supersedes_nothing() {
    let bench = Bench::new(compacted());
    let log = bench.log();
    put(&bench, &[("a", "1"), ("b", "1")]);
    add(&log, &part(5, 0, &[("a", "aborted")])).unwrap();
    add(&log, &part(6, 0, &[("b", "2")])).unwrap();
    end(&log, 5, 0, false);
    end(&log, 6, 0, true);
    // Both producers go on, so that neither needs its first batch any more.
    add(&log, &part(5, 1, &[("c", "1")])).unwrap();
    end(&log, 5, 0, true);
    add(&log, &part(6, 1, &[("d", "1")])).unwrap();
    end(&log, 6, 0, true);
    roll(&bench);
    clean(&bench);
    let data: Vec<_> = batches(&log).into_iter().filter(|(.., marker)| !marker).collect();
    assert_eq!(data, [(0, 1, false), (3, 1, false), (6, 1, false), (8, 1, false)]);
    // The marker of the aborted one stays until its horizon, counted from the round that found nothing else of it.
    assert!(batches(&log).contains(&(4, 1, true)));
    more(&bench, "x");
    clean(&bench);
    more(&bench, "x");
    clean_at(&bench, NOW + 1_000).unwrap();
    let markers: Vec<i64> = batches(&log)
        .into_iter()
        .filter(|(.., marker)| *marker)
        .map(|(at, ..)| at)
        .collect();
    assert_eq!(markers, [5, 7, 9], "those of which something is left");
    assert!(log.aborted_transactions(0, 100).unwrap().is_empty());
}

#[test]
fn a_marker_stays_as_long_as_anything_of_its_transaction() {
    let mut bench = Bench::new(compacted());
    let log = bench.log();
    add(&log, &part(5, 0, &[("a", "aborted")])).unwrap();
    end(&log, 5, 0, false);
    roll(&bench);
    for i in 0..3 {
        clean_at(&bench, NOW + 10_000 * i).unwrap();
        more(&bench, "x");
    }
    // The batch is the producer's last, and stays without its record.
    assert_eq!(batches(&log)[..2], [(0, 0, false), (1, 1, true)]);
    let aborted = log.aborted_transactions(0, 100).unwrap();
    assert_eq!(
        aborted
            .iter()
            .map(|t| (t.first_offset, t.last_offset))
            .collect::<Vec<_>>(),
        [(0, 1)]
    );
    drop(log);
    bench.kill();
    bench.start();
    let aborted = bench.log().aborted_transactions(0, 100).unwrap();
    assert_eq!(aborted.len(), 1, "recovery finds it again");
    let again = bench
        .log()
        .append(&part(5, 0, &[("a", "aborted")]), 0, NOW)
        .unwrap();
    assert!(again.duplicate);
}

#[test]
fn nothing_beyond_an_open_transaction_is_cleaned() {
    let bench = Bench::new(compacted());
    let log = bench.log();
    put(&bench, &[("a", "1")]);
    roll(&bench);
    put(&bench, &[("a", "2")]);
    roll(&bench);
    add(&log, &part(5, 0, &[("a", "3")])).unwrap();
    roll(&bench);
    put(&bench, &[("a", "4")]);
    roll(&bench);
    clean(&bench);
    expect(&log, &[(1, "a", "2"), (2, "a", "3"), (3, "a", "4")]);
    assert_eq!(log.clean_until(), Some(2));
    end(&log, 5, 0, true);
    roll(&bench);
    clean(&bench);
    let data: Vec<_> = batches(&log).into_iter().filter(|(.., marker)| !marker).collect();
    assert_eq!(data, [(2, 0, false), (3, 1, false)]);
}

#[test]
fn a_reader_of_committed_records_sees_the_same_before_and_after() {
    let visible = |log: &Log| {
        let (mut rows, mut next) = (std::collections::BTreeMap::new(), 0);
        while next < log.last_stable_offset() {
            let read = read_committed(log, next, 300);
            let aborted = |id: i64, offset: i64| {
                let of = |t: &&AbortedTransaction| {
                    t.producer_id == id && (t.first_offset..t.last_offset).contains(&offset)
                };
                read.aborted_transactions.iter().any(|t| of(&t))
            };
            for batch in Batches::new(&read.records) {
                let batch = batch.unwrap();
                let header = *batch.header();
                next = header.next_offset();
                if header.is_control()
                    || (header.is_transactional() && aborted(header.producer_id, header.base_offset))
                {
                    continue;
                }
                for record in batch.records(&batch.decompress(1 << 20).unwrap()) {
                    let record = record.unwrap();
                    rows.insert(record.key.unwrap().to_vec(), record.value.map(<[u8]>::to_vec));
                }
            }
        }
        rows
    };
    let bench = Bench::new(compacted());
    let log = bench.log();
    let mut sequences = [0; 4];
    for i in 0..120i32 {
        let (id, step) = (i64::from(i % 4), i / 4);
        let place = usize::try_from(i % 4).unwrap();
        if step % 5 == 4 {
            end(&log, id, 0, (step / 5 + i) % 3 != 0);
        } else {
            let row = (format!("k{}", (i * 7) % 9), format!("{i}"));
            add(&log, &part(id, sequences[place], &[(&row.0, &row.1)])).unwrap();
            sequences[place] += 1;
        }
    }
    let before = visible(&log);
    assert_eq!(before.len(), 9);
    roll(&bench);
    for round in 0..4 {
        clean_at(&bench, NOW + 600 * round).unwrap();
        let mut now = visible(&log);
        now.remove(&b"other"[..]);
        assert_eq!(now, before, "round {round}");
        more(&bench, "other");
    }
}
