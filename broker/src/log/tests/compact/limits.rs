//! When a log is cleaned, how far, and with how much memory.

use super::*;

fn next(bench: &Bench, now_ms: i64) -> bool {
    let manager = bench.manager();
    manager.cleaner().next(&manager.logs(), now_ms).is_some()
}

fn fill(bench: &Bench, batches: usize) {
    for i in 0..batches {
        put(bench, &[("k", &format!("{i:0100}"))]);
    }
    roll(bench);
}

#[test]
fn a_log_is_due_when_it_is_dirty_enough_or_has_waited_long_enough() {
    let bench = Bench::new(LogConfig {
        min_cleanable_dirty_ratio: 0.5,
        segment_bytes: 1 << 20,
        ..compacted()
    });
    assert!(!next(&bench, NOW), "an empty log");
    for i in 0..4 {
        put(&bench, &[(&format!("k{i}"), &"v".repeat(100))]);
    }
    assert!(!next(&bench, NOW), "the active segment");
    roll(&bench);
    assert!(next(&bench, NOW), "all of it is dirty");
    clean(&bench);
    assert!(!next(&bench, NOW), "nothing is");
    put(&bench, &[("k1", &"w".repeat(100))]);
    roll(&bench);
    assert!(!next(&bench, NOW), "a fifth is");
    bench.log().set_config(LogConfig {
        max_compaction_lag_ms: 1_000,
        ..(*bench.log().config()).clone()
    });
    assert!(!next(&bench, NOW + 1_000));
    assert!(next(&bench, NOW + 1_001), "for too long");
    bench.log().set_config(LogConfig {
        min_cleanable_dirty_ratio: 0.1,
        segment_bytes: 1 << 20,
        ..compacted()
    });
    assert!(next(&bench, NOW));
    bench.log().set_config(LogConfig {
        compact: false,
        ..compacted()
    });
    assert!(!next(&bench, NOW), "the policy has changed");
}

#[test]
fn young_records_are_left_alone() {
    let bench = Bench::new(LogConfig {
        min_compaction_lag_ms: 500,
        ..compacted()
    });
    fill(&bench, 3);
    assert!(!next(&bench, NOW + 499));
    assert!(next(&bench, NOW + 500));
    clean_at(&bench, NOW + 500).unwrap();
    assert_eq!(records(&bench.log()).len(), 1);
}

#[test]
fn only_one_at_a_time_cleans_a_log_and_the_dirtiest_comes_first() {
    let bench = Bench::new(compacted());
    let id = Uuid::from_bytes([8; 16]);
    let other = bench.manager().create("other", 0, id, compacted(), NOW).unwrap();
    fill(&bench, 3);
    clean(&bench);
    fill(&bench, 1);
    other
        .append(&keyed(BatchBuilder::new(), &[("k", "v")]), 0, NOW)
        .unwrap();
    let mut inner = other.open_inner().unwrap();
    other.roll(&mut inner, &compacted(), NOW).unwrap();
    drop(inner);
    let manager = bench.manager();
    let first = manager.cleaner().next(&manager.logs(), NOW).unwrap();
    let second = manager.cleaner().next(&manager.logs(), NOW).unwrap();
    assert_eq!((first.log().topic(), second.log().topic()), ("other", TOPIC));
    assert!(!next(&bench, NOW));
    assert_eq!(manager.cleaner().facts().partitions_in_progress, 2);
    drop(first);
    assert!(next(&bench, NOW));
}

#[test]
fn a_map_that_is_too_small_takes_several_rounds_and_the_result_is_the_same() {
    let put_all = |bench: &Bench| {
        for i in 0..60 {
            let key = format!("k{}", (i * 7) % 20);
            put(
                bench,
                &[
                    (&key, &format!("{i}")),
                    ("all", &format!("{i}")),
                    (&key, &format!("{i}+")),
                ],
            );
        }
        roll(bench);
    };
    let (large, tiny) = (Bench::new(compacted()), Bench::new(compacted()));
    put_all(&large);
    put_all(&tiny);
    clean(&large);
    let options = CleanerOptions {
        map_bytes: 24 * 8,
        ..CleanerOptions::default()
    };
    let mut rounds = 0;
    while tiny
        .manager()
        .cleaner()
        .next(&tiny.manager().logs(), NOW)
        .is_some()
    {
        let before = tiny.log().clean_until().unwrap_or(0);
        let report = clean_with(&tiny, &options, NOW).unwrap();
        assert!(report.end_offset > before && report.distinct_keys <= 7);
        rounds += 1;
    }
    assert!(rounds > 10, "{rounds} rounds");
    assert_eq!(texts(&tiny.log()), texts(&large.log()));
    assert_eq!(texts(&tiny.log()).len(), 21);
}

#[test]
fn a_damaged_batch_ends_the_cleaning_of_its_log_and_costs_nothing_else() {
    use std::os::unix::fs::FileExt;
    let bench = Bench::new(compacted());
    fill(&bench, 3);
    let path = bench.dir().join("00000000000000000000.log");
    let before = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"?", u64::try_from(before.len()).unwrap() - 2)
        .unwrap();
    let damaged = std::fs::read(&path).unwrap();
    assert!(matches!(clean_at(&bench, NOW), Err(CleanError::Damaged { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
    assert!(
        !bench
            .names()
            .iter()
            .any(|name| name.contains("cleaned") || name.contains("swap"))
    );
    assert!(!next(&bench, NOW + 1_000_000), "it is not tried again");
    let facts = bench.manager().cleaner().facts();
    assert_eq!(
        (facts.uncleanable_partitions, facts.failed_rounds, facts.rounds),
        (1, 1, 0)
    );
    bench.manager().delete(TOPIC, 0, NOW).unwrap();
    assert_eq!(bench.manager().cleaner().facts().uncleanable_partitions, 0);
    assert_eq!(
        std::fs::read_to_string(bench.root.path().join("cleaner-offset-checkpoint")).unwrap(),
        "0\n0\n"
    );
}

#[test]
fn a_full_disk_ends_a_round_which_comes_back_when_there_is_room() {
    let bench = Bench::new(compacted());
    put(&bench, &[("a", "1"), ("b", "1"), ("a", "2")]);
    put(&bench, &[("b", "2")]);
    roll(&bench);
    let before = read_all(&bench.log(), 0, 1_000);
    for room in 0..1_000 {
        bench.manager().disk().limit(Some(room));
        let now = NOW + 100_000 * i64::try_from(room).unwrap();
        match clean_at(&bench, now) {
            Err(CleanError::Storage(error)) => assert!(error.is_full(), "{error}"),
            // An index is done without, if only that does not fit.
            Ok(_) => break,
            other => panic!("{other:?}"),
        }
        if read_all(&bench.log(), 0, 1_000) != before {
            // Only that it was done could not be written down.
            expect(&bench.log(), &[(2, "a", "2"), (3, "b", "2")]);
        }
        assert!(
            !bench.names().iter().any(|name| name.contains("cleaned")),
            "{:?}",
            bench.names()
        );
        assert!(!next(&bench, now + 59_999));
        assert!(next(&bench, now + 60_000));
    }
    bench.manager().disk().limit(None);
    expect(&bench.log(), &[(2, "a", "2"), (3, "b", "2")]);
}

#[test]
fn what_is_not_worth_a_rewrite_is_left_as_it_is() {
    let bench = Bench::new(compacted());
    put(&bench, &[("a", "1"), ("b", "1")]);
    roll(&bench);
    let report = clean(&bench);
    assert_eq!((report.segments_replaced, report.records_dropped), (0, 0));
    assert_eq!(bench.log().clean_until(), Some(2));
    assert!(!bench.names().iter().any(|name| name.ends_with(".deleted")));
}

#[test]
fn a_cleaner_that_was_stopped_leaves_everything_as_it_was() {
    let bench = Bench::new(compacted());
    fill(&bench, 3);
    let before = read_all(&bench.log(), 0, 1_000);
    bench.manager().cleaner().stop();
    assert!(matches!(clean_at(&bench, NOW), Err(CleanError::Stopped)));
    assert_eq!(read_all(&bench.log(), 0, 1_000), before);
}

#[test]
fn a_speed_limit_is_kept() {
    let bench = Bench::new(compacted());
    fill(&bench, 10);
    let began = std::time::Instant::now();
    let options = CleanerOptions {
        max_bytes_per_second: 50_000.0,
        ..CleanerOptions::default()
    };
    let report = clean_with(&bench, &options, NOW).unwrap();
    let bytes = u32::try_from(report.bytes_read + report.bytes_written).unwrap();
    let least = f64::from(bytes) / 50_000.0 - 0.02;
    assert!(
        began.elapsed().as_secs_f64() >= least,
        "{bytes} bytes took {:?}",
        began.elapsed()
    );
}

#[test]
fn segments_close_in_time_for_the_largest_lag() {
    let config = LogConfig {
        max_compaction_lag_ms: 100,
        segment_bytes: 1 << 20,
        ..compacted()
    };
    let bench = Bench::new(config);
    put(&bench, &[("a", "1")]);
    let mut late = BatchBuilder::new();
    late.push(NewRecord {
        timestamp: NOW + 101,
        key: Some(b"a"),
        value: Some(b"2"),
        headers: &[],
    });
    bench.append(&late.build().unwrap());
    assert_eq!(bench.log().segment_count(), 2);
}
