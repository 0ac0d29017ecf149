//! Messages of format 0 and 1.

use super::*;

const OLD_CODECS: [Compression; 4] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
];

fn all_kinds() -> impl Iterator<Item = Old> {
    OLD_CODECS.into_iter().flat_map(|codec| {
        [
            (0, false, true),
            (0, false, false),
            (1, false, false),
            (1, true, false),
            (1, false, true),
        ]
        .map(|(magic, stamped, wrong_lz4)| Old {
            magic,
            codec,
            stamped,
            wrong_lz4,
        })
    })
}

#[test]
fn old_messages_become_batches() {
    for old in all_kinds() {
        let records = recs(20..40);
        let bytes = old.write(&records);
        for start in [0, 20, 27] {
            let expected: Vec<_> = records[records.partition_point(|r| r.offset < start)..]
                .iter()
                .map(|r| old.seen(r, TIME - 60))
                .collect();
            let (ready, converted) = convert(Options::default(), start, &bytes, &[]);
            assert_eq!(taken(&ready), expected, "{old:?}");
            assert_eq!((hows(&ready), converted.next), (vec![How::Rebuilt], 40));
            assert_eq!(ready[0].compression(), old.codec);
        }
    }
}

#[test]
fn what_compaction_has_left_of_them_keeps_its_offsets() {
    for old in all_kinds() {
        let records = recs([20, 23, 24, 31]);
        let (ready, converted) = convert(Options::default(), 0, &old.write(&records), &[]);
        let offsets: Vec<_> = taken(&ready).iter().map(|r| r.offset).collect();
        assert_eq!((offsets, converted.next), (vec![20, 23, 24, 31], 32), "{old:?}");
        assert_eq!(ready[0].source.runs(), [(20, 1), (23, 2), (31, 1)]);
    }
}

#[test]
fn all_formats_may_follow_each_other() {
    let gzip = Old {
        codec: Compression::Gzip,
        ..Old::plain(1)
    };
    let bytes = [
        Old::plain(0).write(&recs(0..3)),
        Old::plain(1).write(&recs(3..5)),
        gzip.write(&recs(5..9)),
        Old::plain(1).write(&recs(9..10)),
        batch(&recs(10..12), |b| b),
        Old::plain(0).write(&recs(12..14)),
    ]
    .concat();
    let (ready, converted) = convert(Options::default(), 0, &bytes, &[]);
    let offsets: Vec<_> = taken(&ready).iter().map(|r| r.offset).collect();
    assert_eq!(offsets, (0..14).collect::<Vec<_>>());
    let counts: Vec<_> = ready.iter().map(|ready| ready.records).collect();
    assert_eq!((counts, converted.next), (vec![5, 4, 1, 2, 2], 14));
}

#[test]
fn many_of_them_are_split_and_one_too_large_is_named() {
    let options = Options {
        max_batch_bytes: 1000,
        ..Options::default()
    };
    for old in all_kinds() {
        let bytes = old.write(&recs(0..300));
        let (ready, _) = convert(options, 0, &bytes, &[]);
        assert!(ready.len() > 1 && ready.iter().all(|ready| ready.size() <= 1000));
        assert_eq!(taken(&ready).len(), 300);
        let mut records = recs(0..10);
        records[4].value = Some(
            (0..3000u32)
                .flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes())
                .collect(),
        );
        let (ready, outcome) = try_convert(options, 0, &old.write(&records), &[]);
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.offset, error.next, taken(&ready).len()),
            (4, Some(5), 4),
            "{error}"
        );
    }
}

#[test]
fn old_messages_that_are_cut_short_are_left_for_the_next_fetch() {
    let (first, second) = (Old::plain(1).write(&recs(0..3)), Old::plain(1).write(&recs(3..4)));
    let bytes = [first.clone(), second].concat();
    for end in first.len()..bytes.len() {
        let (ready, converted) = convert(Options::default(), 0, &bytes[..end], &[]);
        assert_eq!((taken(&ready).len(), converted.next), (3, 3));
    }
    let error = try_convert(Options::default(), 3, &bytes[..bytes.len() - 1], &[]).1;
    assert!(matches!(error.unwrap_err().reason, ConvertReason::Partial { .. }));
}

#[test]
fn damage_to_old_messages_is_told() {
    for old in all_kinds() {
        let mut bytes = [Old::plain(1).write(&recs(0..2)), old.write(&recs(2..5))].concat();
        *bytes.last_mut().unwrap() ^= 1;
        let error = try_convert(Options::default(), 2, &bytes, &[]).1.unwrap_err();
        assert!(
            matches!(error.reason, ConvertReason::Message(MessageError::Crc { .. })),
            "{error}"
        );
    }
}

#[test]
fn what_no_producer_writes_into_a_compressed_message_is_refused() {
    let outer = Old {
        codec: Compression::Gzip,
        ..Old::plain(1)
    };
    let wrapping = |inner: &[u8]| {
        let value = compression::compress(Compression::Gzip, None, inner).unwrap();
        outer.message(9, TIME, None, Some(&value))
    };
    let cases = [
        (
            wrapping(&Old::plain(0).write(&recs(0..2))),
            MessageError::Mixed { outer: 1, inner: 0 },
        ),
        (wrapping(&outer.write(&recs(0..2))), MessageError::Nested),
        (wrapping(&[]), MessageError::Empty),
        (outer.message(9, TIME, None, None), MessageError::Empty),
    ];
    for (bytes, expected) in cases {
        let error = try_convert(Options::default(), 0, &bytes, &[]).1.unwrap_err();
        assert_eq!(
            (error.offset, error.reason),
            (9, ConvertReason::Message(expected))
        );
    }
}

/// Written by Kafka's own code, each with the offsets and timestamps that it reads from it.
const WRITTEN_BY_KAFKA: &str = include_str!("kafka.txt");

#[test]
fn what_kafka_has_written_is_read_as_kafka_reads_it() {
    let hex = |text: &str| -> Vec<u8> {
        let digits = text
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    };
    let mut lines = 0;
    for line in WRITTEN_BY_KAFKA.lines() {
        let parts: Vec<_> = line.split('|').collect();
        let (ready, converted) = convert(Options::default(), 1000, &hex(parts[2]), &[]);
        let seen = taken(&ready);
        let places: Vec<_> = seen
            .iter()
            .map(|r| format!("{}@{}", r.offset, r.timestamp))
            .collect();
        assert_eq!(
            (places.join(" "), converted.next),
            (parts[1].to_owned(), 1003),
            "{line}"
        );
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8(b.clone()).unwrap());
        let all: Vec<_> = seen.iter().map(|r| (text(&r.key), text(&r.value))).collect();
        let some = |text: &str| Some(text.to_owned());
        let long = some("a value that repeats repeats repeats repeats");
        assert_eq!(
            all,
            [(some("key"), long), (None, some("v")), (some(""), None)],
            "{line}"
        );
        lines += 1;
    }
    assert_eq!(lines, 12);
}
