//! What compaction keeps, what it drops, and when.

use super::*;

#[test]
fn the_last_record_of_each_key_stays_where_it_was() {
    let bench = Bench::new(compacted());
    put(&bench, &[("a", "1"), ("b", "1"), ("a", "2")]);
    put(&bench, &[("c", "1")]);
    roll(&bench);
    put(&bench, &[("b", "2"), ("d", "1")]);
    roll(&bench);
    put(&bench, &[("a", "3"), ("c", "2")]);
    let report = clean(&bench);
    let left = [
        (2, "a", "2"),
        (3, "c", "1"),
        (4, "b", "2"),
        (5, "d", "1"),
        (6, "a", "3"),
        (7, "c", "2"),
    ];
    expect(&bench.log(), &left);
    assert_eq!(
        (report.records_read, report.records_dropped, report.end_offset),
        (6, 2, 6)
    );
    assert_eq!(bench.log().segment_count(), 2, "two small segments became one");
    let head = headers(&bench.log())[0];
    assert_eq!(
        (head.base_offset, head.last_offset(), head.records_count),
        (0, 2, 1)
    );
    roll(&bench);
    clean(&bench);
    let left = [(4, "b", "2"), (5, "d", "1"), (6, "a", "3"), (7, "c", "2")];
    expect(&bench.log(), &left);
    assert_eq!(bench.log().clean_until(), Some(8));
    let checkpoint = std::fs::read_to_string(bench.root.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint, "0\n1\norders 0 8\n");
}

#[test]
fn nothing_else_of_a_record_changes_whatever_the_codec() {
    for codec in Compression::ALL {
        let bench = Bench::new(compacted());
        let mut builder = BatchBuilder::new().compression(codec, None);
        let headers_sent = [heliostat_wire::record::HeaderView {
            key: b"h",
            value: Some(b"v"),
        }];
        for i in 0..4i64 {
            builder.push(NewRecord {
                timestamp: NOW - 10 * i,
                key: Some(if i % 2 == 0 { b"same" } else { b"more" }),
                value: Some(&[b'x'; 40]),
                headers: &headers_sent,
            });
        }
        bench.append(&builder.build().unwrap());
        let before = records(&bench.log());
        roll(&bench);
        clean(&bench);
        assert_eq!(records(&bench.log()), before[2..], "{codec}");
        let head = headers(&bench.log())[0];
        assert_eq!(head.compression(), Ok(codec));
        assert_eq!((head.max_timestamp, head.last_offset_delta), (NOW - 20, 3));
    }
}

#[test]
fn a_tombstone_goes_only_after_its_horizon() {
    let bench = Bench::new(compacted());
    put(&bench, &[("a", "1"), ("b", "1")]);
    put(&bench, &[("a", "")]);
    roll(&bench);
    clean(&bench);
    expect(&bench.log(), &[(1, "b", "1"), (2, "a", "")]);
    let horizon = |log: &Log| headers(log).last().unwrap().delete_horizon();
    assert_eq!(horizon(&bench.log()), Some(NOW + 1_000));
    let timestamps: Vec<i64> = records(&bench.log())
        .iter()
        .map(|(_, timestamp, ..)| *timestamp)
        .collect();
    assert_eq!(timestamps, [NOW, NOW]);
    // Before the horizon it stays; so does the horizon.
    put(&bench, &[("b", "2")]);
    roll(&bench);
    clean_at(&bench, NOW + 999).unwrap();
    expect(&bench.log(), &[(2, "a", ""), (3, "b", "2")]);
    assert_eq!(headers(&bench.log())[0].delete_horizon(), Some(NOW + 1_000));
    put(&bench, &[("b", "3")]);
    roll(&bench);
    clean_at(&bench, NOW + 1_000).unwrap();
    expect(&bench.log(), &[(4, "b", "3")]);
}

#[test]
fn a_producers_last_batch_stays_as_an_empty_one() {
    let mut bench = Bench::new(compacted());
    let sent = |sequence, value: &str| keyed(BatchBuilder::new().producer(7, 0, sequence), &[("k", value)]);
    bench.append(&sent(0, "1"));
    bench.append(&sent(1, "2"));
    put(&bench, &[("k", "3")]);
    put(&bench, &[("x", "1")]);
    roll(&bench);
    clean(&bench);
    expect(&bench.log(), &[(2, "k", "3"), (3, "x", "1")]);
    let kept: Vec<_> = headers(&bench.log())
        .iter()
        .map(|head| (head.base_offset, head.records_count, head.base_sequence))
        .collect();
    assert_eq!(kept, [(1, 0, 1), (2, 1, -1), (3, 1, -1)]);
    // Without snapshots the log itself must tell.
    let forgetful = |bench: &mut Bench| {
        bench.kill();
        for name in bench.names().iter().filter(|name| name.ends_with(".snapshot")) {
            std::fs::remove_file(bench.dir().join(name)).unwrap();
        }
        bench.start();
    };
    forgetful(&mut bench);
    let again = bench.append(&sent(1, "2"));
    assert!(again.duplicate && again.base_offset == 1);
    assert_eq!(bench.append(&sent(2, "4")).base_offset, 4);
}

#[test]
fn the_batch_that_ends_the_cleaned_part_stays_for_its_offsets() {
    let bench = Bench::new(compacted());
    put(&bench, &[("a", "1")]);
    put(&bench, &[("a", "")]);
    roll(&bench);
    clean(&bench);
    roll(&bench);
    put(&bench, &[("b", "1")]);
    roll(&bench);
    clean_at(&bench, NOW + 1_000).unwrap();
    expect(&bench.log(), &[(2, "b", "1")]);
    put(&bench, &[("b", "")]);
    roll(&bench);
    clean_at(&bench, NOW + 1_000).unwrap();
    put(&bench, &[("c", "")]);
    roll(&bench);
    clean_at(&bench, NOW + 9_000).unwrap();
    let heads = headers(&bench.log());
    assert_eq!(
        heads
            .iter()
            .map(|head| (head.base_offset, head.records_count))
            .collect::<Vec<_>>(),
        [(4, 1)]
    );
}

#[test]
fn records_without_a_key_go_once_the_topic_is_compacted() {
    let bench = Bench::new(LogConfig {
        compact: false,
        delete: true,
        ..compacted()
    });
    bench.append(&fill_keyless(3));
    bench.log().set_config(compacted());
    put(&bench, &[("a", "1")]);
    roll(&bench);
    assert_eq!(clean(&bench).records_dropped, 3);
    expect(&bench.log(), &[(3, "a", "1")]);
}

fn fill_keyless(count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for _ in 0..count {
        builder.push(NewRecord {
            timestamp: NOW,
            value: Some(b"v"),
            ..NewRecord::default()
        });
    }
    builder.build().unwrap()
}

#[test]
fn a_cleaned_log_is_found_again_by_offset_and_time() {
    let bench = Bench::new(compacted());
    for i in 0..40i64 {
        let mut builder = BatchBuilder::new();
        let key = format!("k{}", i % 7);
        builder.push(NewRecord {
            timestamp: NOW + i,
            key: Some(key.as_bytes()),
            value: Some(&[b'v'; 60]),
            headers: &[],
        });
        bench.append(&builder.build().unwrap());
    }
    roll(&bench);
    clean(&bench);
    let log = bench.log();
    let left = records(&log);
    assert_eq!(
        left.iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(),
        (33..40).collect::<Vec<_>>()
    );
    for offset in 0..40 {
        let bytes = log.read(offset, 1, true).unwrap().records;
        assert_eq!(first_batch(&bytes).header().base_offset, offset.max(33));
        let found = log.offset_for_timestamp(NOW + offset).unwrap().unwrap();
        assert_eq!(found.offset, offset.max(33));
    }
    assert_eq!(log.max_timestamp_offset().unwrap().unwrap().offset, 39);
}
