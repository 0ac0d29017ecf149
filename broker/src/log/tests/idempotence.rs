//! A producer's batch is in the log once, whatever happens between its tries.

use super::*;

#[test]
fn a_repeated_batch_gets_its_first_offsets() {
    let bench = Bench::new(LogConfig::default());
    for i in 0..5 {
        assert_eq!(
            bench.append(&produced(9, 0, i * 2, 2)).base_offset,
            i64::from(i) * 2
        );
    }
    for i in 0..5 {
        let again = bench.append(&produced(9, 0, i * 2, 2));
        assert!(again.duplicate);
        assert_eq!(
            (again.base_offset, again.last_offset),
            (i64::from(i) * 2, i64::from(i) * 2 + 1)
        );
    }
    assert_eq!(bench.log().log_end_offset(), 10);
    let refused = |batch: &[u8]| bench.log().append(batch, 0, NOW).unwrap_err().code().code();
    assert_eq!(refused(&produced(9, 0, 12, 1)), 45);
    bench.append(&produced(9, 3, 0, 1));
    assert_eq!(refused(&produced(9, 2, 0, 1)), 47);
}

#[test]
fn repetition_is_recognised_after_a_restart_and_after_a_kill() {
    for clean in [true, false] {
        let mut bench = Bench::new(small());
        for i in 0..40 {
            bench.append(&produced(9, 0, i, 1));
        }
        assert!(bench.log().segment_count() > 3);
        if clean {
            bench.restart();
        } else {
            bench.kill();
            bench.start();
        }
        let again = bench.append(&produced(9, 0, 39, 1));
        assert!(again.duplicate && again.base_offset == 39, "clean: {clean}");
        assert_eq!(
            bench
                .log()
                .append(&produced(9, 0, 41, 1), 0, NOW)
                .unwrap_err()
                .code()
                .code(),
            45
        );
        assert_eq!(bench.append(&produced(9, 0, 40, 1)).base_offset, 40);
    }
}

#[test]
fn all_five_batches_are_recognised_after_a_restart() {
    let mut bench = Bench::new(LogConfig::default());
    for i in 0..8 {
        bench.append(&produced(9, 0, i, 1));
        bench.append(&produced(10, 1, i * 3, 3));
    }
    bench.restart();
    for i in 3..8 {
        assert_eq!(bench.append(&produced(9, 0, i, 1)).base_offset, i64::from(i) * 4);
        assert_eq!(
            bench.append(&produced(10, 1, i * 3, 3)).base_offset,
            i64::from(i) * 4 + 1
        );
    }
    assert_eq!(bench.log().log_end_offset(), 32);
    let refused = bench.log().append(&produced(9, 0, 2, 1), 0, NOW).unwrap_err();
    assert_eq!(refused.code().code(), 45);
}

#[test]
fn a_torn_tail_takes_its_producers_state_with_it() {
    let mut bench = Bench::new(LogConfig::default());
    for i in 0..3 {
        bench.append(&produced(9, 0, i, 1));
    }
    let path = bench.dir().join("00000000000000000000.log");
    let size = std::fs::metadata(&path).unwrap().len();
    bench.kill();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(size - 1)
        .unwrap();
    bench.start();
    assert_eq!(bench.log().log_end_offset(), 2);
    let again = bench.append(&produced(9, 0, 2, 1));
    assert_eq!((again.duplicate, again.base_offset), (false, 2));
}

#[test]
fn a_producer_survives_the_deletion_of_its_records() {
    let mut bench = Bench::new(small());
    for i in 0..40 {
        bench.append(&produced(9, 0, i, 1));
    }
    bench.log().delete_records(-1).unwrap();
    bench.log().enforce_retention(NOW).unwrap();
    bench.restart();
    assert_eq!(
        bench
            .log()
            .append(&produced(9, 0, 99, 1), 0, NOW)
            .unwrap_err()
            .code()
            .code(),
        45
    );
    assert_eq!(bench.append(&produced(9, 0, 40, 1)).base_offset, 40);
}

#[test]
fn producers_are_listed_and_expire() {
    let bench = Bench::new(LogConfig::default());
    bench.append(&produced(9, 2, 0, 5));
    let info = bench.log().producers();
    assert_eq!(
        (info[0].producer_id, info[0].epoch, info[0].last_sequence),
        (9, 2, 4)
    );
    bench.log().maintain(NOW + 86_399_999).unwrap();
    assert_eq!(bench.log().producers().len(), 1);
    bench.log().maintain(NOW + 86_400_000).unwrap();
    assert_eq!(bench.log().producers().len(), 0);
}
