//! Bytes that nobody should send: an error, or batches that hold what they say; never a panic, never much memory.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::batch::BatchMut;

const LIMIT: usize = 100_000;

fn options(limit: usize, verify: bool) -> Options {
    Options {
        max_batch_bytes: limit,
        max_record_section: LIMIT,
        verify,
        ..Options::default()
    }
}

/// Looks at what came out as far as it can be trusted: a batch that passes is not looked into.
fn check(ready: &[Ready], verify: bool) {
    for ready in ready {
        assert_eq!(ready.source.count(), i64::from(ready.records));
        assert!(ready.source.last().unwrap() < ready.next);
        let sealed = ready.seal(1, 2, 3);
        let batch = BatchView::parse(&sealed).unwrap();
        assert_eq!(batch.bytes().len(), sealed.len());
        if verify || ready.how != How::Passed {
            batch.check_crc().unwrap();
        }
        if matches!(ready.how, How::Rebuilt | How::Split) {
            taken_one(ready);
        }
    }
}

fn mixture() -> Vec<u8> {
    let gzip = Old {
        codec: Compression::Gzip,
        ..Old::plain(1)
    };
    let lz4 = Old {
        codec: Compression::Lz4,
        wrong_lz4: true,
        ..Old::plain(0)
    };
    [
        batch(&recs(0..4), |b| b),
        batch(&recs(4..8), |b| {
            b.compression(Compression::Snappy, None)
                .producer(3, 0, 0)
                .transactional()
        }),
        marker(8, 3, false),
        gzip.write(&recs(9..12)),
        batch(&recs([12, 14, 15]), |b| b.compression(Compression::Zstd, None)),
        Old::plain(0).write(&recs(16..19)),
        lz4.write(&recs(19..22)),
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn damaged_answers_are_answered_without_panic(
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in any::<Index>(),
        start in 0i64..22,
        verify in any::<bool>(),
        limit in 80usize..2000,
    ) {
        thread_local!(static GOOD: Vec<u8> = mixture());
        let mut bytes = GOOD.with(Clone::clone);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()).max(bytes.len() / 3));
        let (ready, _) = try_convert(options(limit, verify), start, &bytes, &[(3, 4)]);
        check(&ready, verify);
        let _ = merge(&ready, &options(limit, verify));
    }

    #[test]
    fn batches_that_lie_under_a_checksum_that_holds_are_answered_without_panic(
        changes in vec((16usize..200, any::<u8>()), 1..5),
        codec in 0usize..5,
        start in 0i64..12,
        limit in 80usize..2000,
        producer in any::<bool>(),
    ) {
        let mut bytes = batch(&recs(5..12), |b| {
            let b = b.compression(Compression::ALL[codec], None);
            if producer { b.producer(3, 0, 0).transactional() } else { b }
        });
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(mut batch) = BatchMut::parse(&mut bytes) {
            batch.seal();
        }
        let (ready, _) = try_convert(options(limit, true), start, &bytes, &[(3, 4)]);
        check(&ready, true);
        let _ = merge(&[ready.clone(), ready].concat(), &options(limit, true));
    }

    #[test]
    fn any_bytes_are_answered_without_panic(
        bytes in vec(any::<u8>(), 0..200),
        magic in 0u8..4,
        length in 0i32..200,
    ) {
        let mut bytes = bytes;
        if bytes.len() > 16 {
            bytes[16] = magic;
            bytes[..8].fill(0);
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        }
        let (ready, _) = try_convert(options(500, false), 0, &bytes, &[(1, 1)]);
        check(&ready, false);
    }
}

#[test]
fn a_count_that_lies_is_told_where_records_are_looked_at() {
    for count in [0i32, 1, 9, 11, 2_000_000_000, -1] {
        for delta in [9, 8, i32::MAX, -1] {
            let mut bytes = batch(&recs(0..10), |b| b);
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            bytes[23..27].copy_from_slice(&i32::to_be_bytes(delta));
            BatchMut::parse(&mut bytes).unwrap().seal();
            let (ready, outcome) = try_convert(Options::default(), 1, &bytes, &[]);
            assert_eq!(ready.len(), 0);
            assert_eq!(
                outcome.is_ok(),
                count == 0 && delta > 0,
                "{count} {delta} {outcome:?}"
            );
        }
    }
}

#[test]
fn offsets_at_the_end_of_all_offsets_are_answered() {
    let gzip = Old {
        codec: Compression::Gzip,
        ..Old::plain(1)
    };
    for base in [i64::MAX, i64::MAX - 2, i64::MAX - 3, i64::MAX - 4, -1, i64::MIN] {
        for mut bytes in [
            batch(&recs(0..3), |b| b),
            Old::plain(1).write(&recs(0..1)),
            gzip.write(&recs(0..3)),
        ] {
            bytes[..8].copy_from_slice(&base.to_be_bytes());
            for start in [0, i64::MAX - 1, i64::MAX] {
                let (ready, _) =
                    try_convert(Options::default(), start, &bytes, &[(1, i64::MAX), (1, i64::MIN)]);
                check(&ready, true);
            }
        }
    }
}
