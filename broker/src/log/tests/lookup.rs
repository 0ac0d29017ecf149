//! Offsets, timestamps and epochs are found where they are.

use super::*;
use proptest::prelude::*;

#[test]
fn an_offset_within_a_batch_gives_the_whole_batch() {
    let bench = Bench::new(LogConfig::default());
    let log = bench.log();
    bench.append(&batch(&[NOW; 10]));
    bench.append(&batch(&[NOW; 10]));
    let one = log.read(5, 1, true).unwrap();
    assert_eq!(first_batch(&one.records).header().base_offset, 0);
    assert_eq!(
        one.records.len(),
        first_batch(&one.records).bytes().len(),
        "one batch, and no more"
    );
    assert_eq!(
        first_batch(&log.read(19, 1, true).unwrap().records)
            .header()
            .base_offset,
        10
    );
    assert!(log.read(5, 1, false).unwrap().records.is_empty());
    let end = log.read(20, 1000, true).unwrap();
    assert_eq!(
        (
            end.records.len(),
            end.high_watermark,
            end.last_stable_offset,
            end.log_start_offset
        ),
        (0, 20, 20, 0)
    );
    for offset in [-1, 21, i64::MAX, i64::MIN] {
        assert_eq!(
            log.read(offset, 1000, true).unwrap_err().code().code(),
            1,
            "{offset}"
        );
    }
}

#[test]
fn a_hole_is_read_past() {
    let mut bench = Bench::new(small());
    for _ in 0..30 {
        bench.append(&batch(&[NOW; 2]));
    }
    let segments: Vec<String> = bench
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".log"))
        .collect();
    assert!(segments.len() >= 4);
    bench.restart();
    bench.manager().close(NOW).unwrap();
    bench.kill();
    // What compaction leaves: a segment without any batch, and one without its first.
    std::fs::write(bench.dir().join(&segments[1]), b"").unwrap();
    std::fs::write(bench.dir().join(segments[1].replace(".log", ".index")), b"").unwrap();
    let third = bench.dir().join(&segments[2]);
    let bytes = std::fs::read(&third).unwrap();
    let first = first_batch(&bytes);
    let kept_from = first.header().next_offset();
    std::fs::write(&third, &bytes[first.bytes().len()..]).unwrap();
    std::fs::write(bench.dir().join(segments[2].replace(".log", ".index")), b"").unwrap();
    bench.start();
    assert!(bench.manager().started_clean());
    let hole: i64 = segments[1].strip_suffix(".log").unwrap().parse().unwrap();
    for offset in hole..kept_from {
        let records = bench.log().read(offset, 10_000, true).unwrap().records;
        assert_eq!(
            first_batch(&records).header().base_offset,
            kept_from,
            "from {offset}"
        );
    }
    assert_eq!(bench.log().log_end_offset(), 60);
}

#[test]
fn epochs_end_where_the_next_one_starts_and_survive_a_kill() {
    let mut bench = Bench::new(small());
    for epoch in [1, 3, 4] {
        bench.log().assign_epoch(epoch).unwrap();
        for _ in 0..6 {
            bench.log().append(&batch(&[NOW]), epoch, NOW).unwrap();
        }
    }
    for round in 0..2 {
        let log = bench.log();
        assert_eq!(log.latest_epoch(), Some(4));
        assert_eq!(log.end_offset_for_epoch(4), Some((4, 18)));
        assert_eq!(log.end_offset_for_epoch(2), Some((1, 6)));
        assert_eq!(log.end_offset_for_epoch(3), Some((3, 12)));
        assert_eq!(log.end_offset_for_epoch(5), None);
        assert_eq!(log.epoch_for_offset(7), Some(3));
        assert_eq!(
            first_batch(&log.read(7, 1, true).unwrap().records)
                .header()
                .partition_leader_epoch,
            3
        );
        if round == 0 {
            std::fs::write(bench.dir().join("leader-epoch-checkpoint"), "0\n0\n").unwrap();
            bench.kill();
            bench.start();
        }
    }
    bench.log().delete_records(8).unwrap();
    assert_eq!(bench.log().end_offset_for_epoch(1), Some((1, 8)));
}

#[test]
fn a_waiting_reader_is_told_when_there_is_more() {
    let bench = Bench::new(LogConfig::default());
    let mut watch = bench.log().watch();
    assert!(!watch.has_changed().unwrap());
    bench.append(&batch(&[NOW; 3]));
    assert!(watch.has_changed().unwrap());
    assert_eq!(watch.borrow_and_update().high_watermark, 3);
    bench.manager().delete(TOPIC, 0, NOW).unwrap();
    assert!(watch.borrow_and_update().closed);
}

#[test]
fn with_group_commit_records_are_visible_once_they_are_on_disk() {
    let mut bench = Bench::with_policy(LogConfig::default(), FlushPolicy::GroupCommit);
    let watch = bench.log().watch();
    let appended = bench.append(&batch(&[NOW; 3]));
    bench.append(&batch(&[NOW; 2]));
    assert_eq!(
        (bench.log().high_watermark(), bench.log().log_end_offset()),
        (0, 5)
    );
    assert!(bench.log().read(0, 1000, true).unwrap().records.is_empty());
    assert!(bench.log().delete_records(1).is_err());
    assert_eq!(bench.log().flush(NOW).unwrap(), 5);
    assert!(watch.borrow().high_watermark > appended.last_offset);
    assert_eq!(
        read_all(&bench.log(), 0, 1000).len(),
        bench.log().read(0, 1000, true).unwrap().records.len()
    );
    bench.append(&batch(&[NOW; 2]));
    bench.kill();
    bench.start();
    assert_eq!(
        (bench.log().high_watermark(), bench.log().durable_offset()),
        (7, 7)
    );
}

#[test]
fn flush_messages_forces_every_append_to_disk() {
    let bench = Bench::new(LogConfig {
        flush_messages: 3,
        ..LogConfig::default()
    });
    bench.append(&batch(&[NOW; 2]));
    assert_eq!(bench.log().durable_offset(), 0);
    bench.append(&batch(&[NOW]));
    assert_eq!(bench.log().durable_offset(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn timestamps_lead_to_the_first_record_that_is_not_older(
        batches in proptest::collection::vec(proptest::collection::vec(0i64..300, 1..5), 1..40),
        start in 0usize..20,
        restart in 0usize..3,
    ) {
        let mut bench = Bench::new(small());
        let mut records = Vec::new();
        for timestamps in &batches {
            let timestamps: Vec<i64> = timestamps.iter().map(|ms| NOW - 300 + ms).collect();
            bench.append(&batch(&timestamps));
            records.extend(timestamps);
        }
        let start = start.min(records.len());
        bench.log().delete_records(i64::try_from(start).unwrap()).unwrap();
        match restart {
            0 => {}
            1 => bench.restart(),
            _ => { bench.kill(); bench.start() }
        }
        let log = bench.log();
        let find = |wanted: &dyn Fn(i64) -> bool| {
            let at = records.iter().skip(start).position(|timestamp| wanted(*timestamp))? + start;
            Some((i64::try_from(at).unwrap(), records[at]))
        };
        let pair = |found: Option<FoundOffset>| found.map(|found| (found.offset, found.timestamp));
        for target in NOW - 305..NOW + 5 {
            let expected = find(&|timestamp| timestamp >= target);
            prop_assert_eq!(pair(log.offset_for_timestamp(target).unwrap()), expected, "for {}", target - NOW);
        }
        let most = records.iter().skip(start).max().copied();
        let expected = most.and_then(|most| find(&|timestamp| timestamp == most));
        prop_assert_eq!(pair(log.max_timestamp_offset().unwrap()), expected);
    }
}
