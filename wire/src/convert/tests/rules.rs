//! Each rule by itself.

use super::*;
use crate::{
    batch::{BatchError, Retained},
    compression::CompressionError,
};

/// What compaction leaves of a batch.
fn compacted(bytes: &[u8], horizon: Option<i64>, keep: impl Fn(i32) -> bool) -> Vec<u8> {
    let batch = BatchView::parse(bytes).unwrap();
    let how = Retained {
        level: None,
        delete_horizon: horizon,
    };
    let plain = batch.decompress(1 << 20).unwrap();
    batch
        .retain(&plain, how, &mut |record| keep(record.offset_delta))
        .unwrap()
}

#[test]
fn a_whole_batch_passes_as_it_is() {
    for codec in Compression::ALL {
        let kinds: [fn(BatchBuilder) -> BatchBuilder; 3] = [
            |b| b,
            |b| b.producer(9, 2, 40),
            |b| b.producer(9, 2, 40).transactional(),
        ];
        for kind in kinds {
            let bytes = batch(&recs(50..60), |b| kind(b.compression(codec, None)));
            let (ready, converted) = convert(Options::default(), 50, &bytes, &[]);
            assert_eq!(hows(&ready), [How::Passed]);
            assert_eq!(taken(&ready), recs(50..60));
            assert_eq!((ready[0].next, converted.next), (60, 60));
            assert_eq!((converted.counts.passed, converted.counts.records), (1, 10));
            assert_eq!(ready[0].source.runs(), [(50, 10)]);
            assert_eq!(ready[0].seal(1, 0, 0)[61..], bytes[61..], "the same bytes");
        }
    }
}

#[test]
fn a_batch_that_starts_before_the_position_is_rebuilt_from_there_on() {
    for codec in Compression::ALL {
        let bytes = [
            batch(&recs(0..5), |b| b),
            batch(&recs(5..15), |b| b.compression(codec, None)),
            batch(&recs(15..20), |b| b),
        ]
        .concat();
        let (ready, converted) = convert(Options::default(), 8, &bytes, &[]);
        assert_eq!(hows(&ready), [How::Rebuilt, How::Passed]);
        assert_eq!(taken(&ready), recs(8..20));
        assert_eq!(ready[0].compression(), codec);
        assert_eq!(converted.next, 20);
    }
}

#[test]
fn holes_and_delete_horizons_are_rebuilt_away() {
    for codec in Compression::ALL {
        let bytes = batch(&recs(10..20), |b| b.compression(codec, None));
        let holes = compacted(&bytes, None, |delta| delta % 3 == 1);
        let (ready, converted) = convert(Options::default(), 0, &holes, &[]);
        assert_eq!(hows(&ready), [How::Rebuilt]);
        assert_eq!(taken(&ready), recs([11, 14, 17]));
        assert_eq!(ready[0].source.runs(), [(11, 1), (14, 1), (17, 1)]);
        assert_eq!(
            (ready[0].next, converted.next),
            (20, 20),
            "what is gone is accounted for"
        );
        let horizon = compacted(&bytes, Some(TIME + 86_400_000), |_| true);
        let (ready, _) = convert(Options::default(), 0, &horizon, &[]);
        assert_eq!((hows(&ready), taken(&ready)), (vec![How::Rebuilt], recs(10..20)));
        let header = *ready[0].bytes.header();
        assert_eq!(header.base_timestamp, TIME - 30, "that of the first record");
    }
}

#[test]
fn a_hole_at_the_end_of_a_batch_counts_as_a_hole() {
    let bytes = compacted(&batch(&recs(10..20), |b| b), None, |delta| delta < 4);
    let (ready, _) = convert(Options::default(), 0, &bytes, &[]);
    assert_eq!((hows(&ready), taken(&ready)), (vec![How::Rebuilt], recs(10..14)));
    assert_eq!(ready[0].next, 20);
}

#[test]
fn an_emptied_batch_only_moves_on() {
    let emptied = compacted(&batch(&recs(5..9), |b| b), None, |_| false);
    let bytes = [batch(&recs(0..5), |b| b), emptied.clone()].concat();
    let (ready, converted) = convert(Options::default(), 0, &bytes, &[]);
    assert_eq!((taken(&ready), ready[0].next), (recs(0..5), 9));
    assert_eq!((converted.next, converted.counts.empty), (9, 1));
    let (ready, converted) = convert(Options::default(), 6, &emptied, &[]);
    assert_eq!((ready.len(), converted.next), (0, 9));
}

#[test]
fn the_time_of_append_becomes_the_records_own() {
    let bytes = batch(&recs(0..4), |b| b.log_append_time(TIME + 77));
    let (ready, _) = convert(Options::default(), 0, &bytes, &[]);
    let expected: Vec<_> = recs(0..4)
        .into_iter()
        .map(|r| Rec {
            timestamp: TIME + 77,
            ..r
        })
        .collect();
    assert_eq!((hows(&ready), taken(&ready)), (vec![How::Rebuilt], expected));
}

#[test]
fn markers_and_what_was_aborted_are_left_out() {
    let transactional = |offsets: std::ops::Range<i64>, producer: i64| {
        batch(&recs(offsets), |b| b.producer(producer, 0, 0).transactional())
    };
    let bytes = [
        transactional(10..12, 7),
        transactional(12..14, 8),
        batch(&recs(14..16), |b| b.producer(7, 0, 2)),
        marker(16, 7, false),
        transactional(17..19, 7),
        marker(19, 7, true),
        transactional(20..22, 8),
        marker(22, 8, false),
        batch(&recs(23..24), |b| b),
    ]
    .concat();
    let (ready, converted) = convert(Options::default(), 10, &bytes, &[(8, 12), (7, 10)]);
    assert_eq!(taken(&ready), recs([14, 15, 17, 18, 23]));
    let nexts: Vec<_> = ready.iter().map(|ready| ready.next).collect();
    assert_eq!(nexts, [17, 23, 24], "with what was left out behind each");
    let counts = converted.counts;
    assert_eq!(
        (counts.control, counts.aborted, counts.aborted_records),
        (3, 3, 6)
    );
    // The second half alone, as a fetch from its middle answers.
    let (ready, _) = convert(
        Options::default(),
        21,
        &bytes[transactional(10..12, 7).len()..],
        &[(8, 12)],
    );
    assert_eq!(taken(&ready), recs([23]));
    let (ready, _) = convert(Options::default(), 10, &bytes, &[]);
    assert_eq!(taken(&ready).len(), 11, "committed, if nobody says otherwise");
}

#[test]
fn a_transaction_whose_marker_was_compacted_ends_where_its_batch_still_says_so() {
    let transactional =
        |offsets: std::ops::Range<i64>| batch(&recs(offsets), |b| b.producer(7, 0, 0).transactional());
    let gone = BatchView::parse(&marker(2, 7, false)).unwrap().emptied().unwrap();
    let bytes = [transactional(0..2), gone, transactional(3..5)].concat();
    let (ready, _) = convert(Options::default(), 0, &bytes, &[(7, 0)]);
    assert_eq!(taken(&ready), recs(3..5));
}

#[test]
fn what_is_too_large_for_the_target_is_split_into_few() {
    for codec in Compression::ALL {
        let bytes = batch(&recs(0..4000), |b| b.compression(codec, None));
        for parts in [2usize, 3, 10] {
            let options = Options {
                max_batch_bytes: bytes.len() / parts + 200,
                ..Options::default()
            };
            let (ready, converted) = convert(options, 0, &bytes, &[]);
            assert!(ready.iter().all(|ready| ready.size() <= options.max_batch_bytes));
            assert_eq!(taken(&ready), recs(0..4000), "{codec}");
            assert!(hows(&ready).iter().all(|how| *how == How::Split));
            assert_eq!(converted.counts.split, ready.len() as u64);
            assert!(
                ready.len() <= parts + 1 + parts / 3,
                "{codec}: {} of {parts}",
                ready.len()
            );
        }
    }
}

#[test]
fn records_that_differ_in_how_they_compress_are_split_too() {
    let mut state = 1u32;
    let mut noise = |len: usize| -> Vec<u8> {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (*state >> 24) as u8
        };
        (0..len).map(|_| next(&mut state)).collect()
    };
    let records: Vec<_> = (0..400)
        .map(|offset| Rec {
            value: Some(if offset / 100 % 2 == 0 {
                vec![0; 1000]
            } else {
                noise(1000)
            }),
            ..rec(offset)
        })
        .collect();
    let bytes = batch(&records, |b| b.compression(Compression::Zstd, None));
    let options = Options {
        max_batch_bytes: 50_000,
        ..Options::default()
    };
    let (ready, _) = convert(options, 0, &bytes, &[]);
    assert!(ready.iter().all(|ready| ready.size() <= 50_000));
    assert!(ready.len() <= 12, "{}", ready.len());
    assert!(taken(&ready) == records);
}

#[test]
fn one_record_that_is_too_large_is_named_and_what_comes_before_it_is_there() {
    for codec in [Compression::None, Compression::Lz4] {
        let mut records = recs(0..20);
        records[12].value = Some(
            (0..3000u32)
                .flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes())
                .collect(),
        );
        let bytes = [
            batch(&recs(0..5), |b| b),
            batch(&records[5..], |b| b.compression(codec, None)),
        ]
        .concat();
        let options = Options {
            max_batch_bytes: 2000,
            ..Options::default()
        };
        let mut converter = Converter::new(options);
        let mut ready = Vec::new();
        let bytes = Bytes::from(bytes);
        let error = converter.convert(&bytes, &[], &mut ready).unwrap_err();
        assert_eq!((error.offset, error.next), (12, Some(13)));
        let ConvertReason::RecordTooLarge { size, limit: 2000 } = error.reason else {
            panic!("{error}")
        };
        assert!(size > 12_000);
        assert_eq!((taken(&ready), converter.position()), (recs(0..12), 12));
        assert_eq!(ready.last().unwrap().next, 12);
        converter.start_at(13);
        converter.convert(&bytes, &[], &mut ready).unwrap();
        assert_eq!(taken(&ready), recs((0..12).chain(13..20)));
    }
}

#[test]
fn records_are_left_out_on_demand() {
    let bytes = [batch(&recs(0..5), |b| b), batch(&recs(5..9), |b| b)].concat();
    let mut converter = Converter::new(Options::default());
    converter.leave_out(7);
    let mut ready = Vec::new();
    converter.convert(&bytes.into(), &[], &mut ready).unwrap();
    assert_eq!(hows(&ready), [How::Passed, How::Rebuilt]);
    assert_eq!(taken(&ready), recs([0, 1, 2, 3, 4, 5, 6, 8]));
    assert!(converter.left_out.is_empty(), "forgotten once it is passed");
}

#[test]
fn a_record_is_put_into_a_batch_of_its_own_on_demand() {
    let answer = batch(&recs(5..10), |b| b);
    for alone in 4..=10 {
        let mut converter = Converter::new(Options::default());
        converter.start_at(5);
        converter.put_alone(alone);
        let mut ready = Vec::new();
        converter
            .convert(&answer.clone().into(), &[], &mut ready)
            .unwrap();
        let offsets: Vec<Vec<i64>> = ready
            .iter()
            .map(|ready| ready.source.offsets().collect())
            .collect();
        let within = (5..10).contains(&alone);
        let parts = [
            5..alone.clamp(5, 10),
            alone..alone + i64::from(within),
            alone + 1..10,
        ];
        let expected: Vec<Vec<i64>> = match within {
            true => parts
                .into_iter()
                .map(Iterator::collect)
                .filter(|part: &Vec<i64>| !part.is_empty())
                .collect(),
            false => vec![(5..10).collect()],
        };
        assert_eq!(offsets, expected, "{alone} alone");
        assert_eq!(taken(&ready), recs(5..10), "{alone} alone");
        assert_eq!((converter.position(), ready.last().unwrap().next), (10, 10));
        assert_eq!(
            converter.alone.is_none(),
            alone < 10,
            "forgotten once it is passed"
        );
    }
}

#[test]
fn records_are_recompressed_as_the_options_say() {
    for from in Compression::ALL {
        for to in Compression::ALL {
            let bytes = batch(&recs(3..30), |b| {
                b.compression(from, None).producer(4, 4, 4).transactional()
            });
            let options = Options {
                compression: Some(to),
                ..Options::default()
            };
            let (ready, _) = convert(options, 0, &bytes, &[]);
            assert_eq!(
                hows(&ready),
                [if from == to {
                    How::Passed
                } else {
                    How::Recompressed
                }]
            );
            assert_eq!((taken(&ready), ready[0].compression()), (recs(3..30), to));
            let (ready, _) = convert(options, 9, &bytes, &[]);
            assert_eq!((hows(&ready), taken(&ready)), (vec![How::Rebuilt], recs(9..30)));
            assert_eq!(ready[0].compression(), to);
        }
    }
}

#[test]
fn what_is_cut_short_is_left_for_the_next_fetch() {
    let (first, second) = (batch(&recs(0..5), |b| b), batch(&recs(5..15), |b| b));
    let bytes = [first.clone(), second].concat();
    for end in first.len()..bytes.len() {
        let (ready, converted) = convert(Options::default(), 0, &bytes[..end], &[]);
        assert_eq!((taken(&ready), converted.next), (recs(0..5), 5));
        let (_, outcome) = try_convert(Options::default(), 5, &bytes[..end], &[]);
        if end == first.len() {
            assert_eq!(outcome.unwrap().next, 5, "nothing there is nothing cut short");
            continue;
        }
        let reason = outcome.unwrap_err().reason;
        let ConvertReason::Partial { needed, available } = reason else {
            panic!("{reason}")
        };
        assert_eq!(available, end);
        assert!(needed > end && needed <= bytes.len());
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let good = batch(&recs(0..5), |b| b);
    let mut torn = batch(&recs(5..15), |b| b);
    *torn.last_mut().unwrap() ^= 1;
    let bytes = [good, torn].concat();
    let (ready, outcome) = try_convert(Options::default(), 2, &bytes, &[]);
    let error = outcome.unwrap_err();
    assert!(
        matches!(error.reason, ConvertReason::Batch(BatchError::Crc { .. })),
        "{error}"
    );
    assert_eq!((error.offset, error.next, taken(&ready)), (5, None, recs(2..5)));
}

#[test]
fn what_is_passed_unverified_and_corrupt_stays_corrupt() {
    let options = Options {
        verify: false,
        ..Options::default()
    };
    let good = batch(&recs(5..15), |b| b.producer(3, 3, 3));
    for at in 61..good.len() {
        let mut torn = good.clone();
        torn[at] ^= 0x10;
        let (ready, _) = convert(options, 5, &torn, &[]);
        let sealed = ready[0].seal(8, 1, 0);
        let check = BatchView::parse(&sealed).unwrap().check_crc();
        assert!(
            matches!(check, Err(BatchError::Crc { .. })),
            "nobody takes it for good"
        );
    }
    assert_eq!(taken(&convert(options, 5, &good, &[]).0), recs(5..15));
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut records = recs(0..10);
    records[9].value = Some(vec![0; 3 << 20]);
    let options = Options {
        max_record_section: 1 << 20,
        ..Options::default()
    };
    for codec in &Compression::ALL[1..] {
        let bytes = batch(&records, |b| b.compression(*codec, None));
        let error = try_convert(options, 1, &bytes, &[]).1.unwrap_err();
        let reason = ConvertReason::Batch(BatchError::Compression(CompressionError::TooLarge {
            codec: *codec,
            limit: 1 << 20,
        }));
        assert_eq!(
            error,
            ConvertError {
                offset: 1,
                next: Some(10),
                reason
            }
        );
    }
}
