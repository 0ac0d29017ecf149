//! What makes logs shorter.

use super::*;

/// Ten segments or so, of batches that are one second apart.
fn seconds(bench: &Bench) -> i64 {
    for i in 0..60 {
        bench.append(&batch(&[NOW - 60_000 + i * 1000; 2]));
    }
    assert!(bench.log().segment_count() > 5);
    bench.log().log_end_offset()
}

#[test]
fn retention_by_time_goes_by_the_largest_timestamp_of_a_segment() {
    let config = LogConfig {
        retention_ms: Some(30_000),
        ..small()
    };
    let bench = Bench::new(config);
    seconds(&bench);
    assert!(bench.log().enforce_retention(NOW).unwrap() > 0);
    let start = bench.log().log_start_offset();
    let first = bench.log().read(start, 1, true).unwrap().records;
    assert_eq!(first_batch(&first).header().base_offset, start);
    assert!((50..=60).contains(&start), "{start}");
    assert_eq!(bench.log().read(start - 1, 1, true).unwrap_err().code().code(), 1);
    // A record from the future pins its segment and what follows.
    bench.append(&batch(&[NOW + 3_000_000]));
    bench.append(&batch(&[NOW]));
    bench.log().enforce_retention(NOW + 1_000_000).unwrap();
    assert_eq!(bench.log().log_end_offset(), 122);
    assert!(bench.log().log_start_offset() <= 120);
}

#[test]
fn an_expired_active_segment_is_closed_and_goes_too() {
    let config = LogConfig {
        retention_ms: Some(1000),
        ..small()
    };
    let mut bench = Bench::new(config);
    let end = seconds(&bench);
    bench.log().enforce_retention(NOW + 5000).unwrap();
    assert_eq!(
        (bench.log().log_start_offset(), bench.log().log_end_offset()),
        (end, end)
    );
    assert_eq!((bench.log().segment_count(), bench.log().size_bytes()), (1, 0));
    assert_eq!(
        bench.log().enforce_retention(NOW + 50_000).unwrap(),
        0,
        "an empty segment stays"
    );
    bench.kill();
    bench.start();
    assert_eq!(
        (bench.log().log_start_offset(), bench.log().log_end_offset()),
        (end, end)
    );
    assert_eq!(bench.append(&batch(&[NOW])).base_offset, end);
}

#[test]
fn files_of_deleted_segments_go_after_their_delay_or_at_the_next_start() {
    let config = LogConfig {
        retention_bytes: Some(1000),
        ..small()
    };
    let mut bench = Bench::new(config);
    seconds(&bench);
    let count = |bench: &Bench| {
        bench
            .names()
            .iter()
            .filter(|name| name.ends_with(".deleted"))
            .count()
    };
    bench.log().maintain(NOW).unwrap();
    assert!(bench.log().size_bytes() <= 1600);
    assert!(count(&bench) > 0);
    bench.log().maintain(NOW + 59_999).unwrap();
    assert!(count(&bench) > 0);
    bench.log().maintain(NOW + 60_000).unwrap();
    assert_eq!(count(&bench), 0);
    seconds(&bench);
    bench.log().maintain(NOW).unwrap();
    assert!(count(&bench) > 0);
    bench.kill();
    bench.start();
    assert_eq!(count(&bench), 0);
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let mut bench = Bench::new(small());
    seconds(&bench);
    assert_eq!(bench.log().delete_records(33).unwrap(), 33);
    assert_eq!(bench.log().delete_records(20).unwrap(), 33, "never backwards");
    assert_eq!(bench.log().delete_records(121).unwrap_err().code().code(), 1);
    assert_eq!(bench.log().delete_records(-2).unwrap_err().code().code(), 1);
    bench.kill();
    bench.start();
    let log = bench.log();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (33, 120));
    assert_eq!(log.read(32, 1, true).unwrap_err().code().code(), 1);
    assert_eq!(
        first_batch(&log.read(33, 1, true).unwrap().records)
            .header()
            .last_offset(),
        33
    );
    assert!(
        log.enforce_retention(NOW).unwrap() > 0,
        "whole segments before the start"
    );
    bench.manager().checkpoint().unwrap();
    assert_eq!(log.delete_records(-1).unwrap(), 120);
    bench.manager().checkpoint().unwrap();
    bench.restart();
    assert_eq!(
        (bench.log().log_start_offset(), bench.log().log_end_offset()),
        (120, 120)
    );
}

#[test]
fn records_of_a_compacted_topic_are_not_deleted() {
    let bench = Bench::new(LogConfig {
        compact: true,
        delete: false,
        retention_ms: Some(0),
        ..small()
    });
    seconds(&bench);
    assert_eq!(bench.log().delete_records(-1).unwrap_err().code().code(), 44);
    assert_eq!(bench.log().enforce_retention(NOW + 1_000_000).unwrap(), 0);
    assert_eq!(bench.log().log_start_offset(), 0);
}

#[test]
fn segments_are_closed_by_size_by_time_and_by_a_full_index() {
    let by_time = Bench::new(LogConfig {
        segment_ms: 1000,
        ..LogConfig::default()
    });
    for age in [5000, 4500, 4000, 3999, 3000] {
        by_time.append(&batch(&[NOW - age]));
    }
    assert_eq!(
        by_time.log().segment_count(),
        2,
        "more than a second after the segment's first record"
    );
    let by_index = Bench::new(LogConfig {
        segment_index_bytes: 36,
        index_interval_bytes: 0,
        ..LogConfig::default()
    });
    for i in 0..9 {
        by_index.append(&batch(&[NOW + i]));
    }
    assert!(by_index.log().segment_count() > 1);
    let error = Bench::new(small())
        .log()
        .append(&batch(&[NOW; 40]), 0, NOW)
        .unwrap_err();
    assert_eq!(error.code().code(), 18, "larger than a segment");
}

#[test]
fn a_log_whose_directory_was_removed_by_hand_leaves_its_name_to_the_next_one() {
    let bench = Bench::new(LogConfig::default());
    bench.append(&batch(&[NOW]));
    std::fs::remove_dir_all(bench.dir()).unwrap();
    assert!(bench.manager().delete(TOPIC, 0, NOW).unwrap());
    let id = Uuid::from_bytes([8; 16]);
    let anew = bench.manager().create(TOPIC, 0, id, LogConfig::default(), NOW);
    assert_eq!(anew.unwrap().log_end_offset(), 0);
}
