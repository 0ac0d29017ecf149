//! Several batches into one.

use super::*;

fn converted(answer: &[u8]) -> Vec<Ready> {
    convert(Options::default(), 0, answer, &[]).0
}

#[test]
fn batches_of_any_kind_merge_into_one() {
    let old = Old {
        codec: Compression::Gzip,
        ..Old::plain(1)
    };
    for codec in Compression::ALL {
        let ready = converted(
            &[
                batch(&recs(0..3), |b| b.compression(codec, None)),
                batch(&recs([5, 8, 9]), |b| b.compression(Compression::Lz4, None)),
                batch(&recs(10..11), |b| b.producer(4, 4, 4).transactional()),
                marker(11, 4, true),
            ]
            .concat(),
        );
        let merged = merge(&ready, &Options::default()).unwrap();
        assert_eq!(taken_one(&merged), recs([0, 1, 2, 5, 8, 9, 10]));
        assert_eq!(
            (merged.how, merged.next, merged.compression()),
            (How::Merged, 12, codec)
        );
        assert_eq!(merged.source.runs(), [(0, 3), (5, 1), (8, 3)]);
        let options = Options {
            compression: Some(Compression::Zstd),
            ..Options::default()
        };
        assert_eq!(merge(&ready, &options).unwrap().compression(), Compression::Zstd);
        let again = [converted(&old.write(&recs(12..14))), vec![merged]].concat();
        let again = merge(&[again[1].clone(), again[0].clone()], &Options::default()).unwrap();
        assert_eq!(taken_one(&again).len(), 9);
    }
}

#[test]
fn what_does_not_fit_into_one_is_told() {
    let ready = converted(&[batch(&recs(0..9), |b| b), batch(&recs(9..18), |b| b)].concat());
    let size = merge(&ready, &Options::default()).unwrap().size();
    let with = |max_batch_bytes| {
        let options = Options {
            max_batch_bytes,
            ..Options::default()
        };
        merge(&ready, &options).map(|ready| ready.size())
    };
    assert_eq!(with(size), Ok(size));
    let reason = ConvertReason::MergedTooLarge {
        size,
        limit: size - 1,
    };
    assert_eq!(with(size - 1).unwrap_err().reason, reason);
    assert_eq!(
        merge(&[], &Options::default()).unwrap_err().reason,
        ConvertReason::NothingToMerge
    );
    assert_eq!(merge(&ready[..1], &Options::default()).unwrap().how, How::Passed);
}

#[test]
fn all_of_them_together_stay_within_the_limit_of_memory() {
    let large = |offset: i64| {
        let record = Rec {
            value: Some(vec![0; 600_000]),
            ..rec(offset)
        };
        batch(&[record], |b| b.compression(Compression::Zstd, None))
    };
    let ready = converted(&[large(0), large(1)].concat());
    let options = Options {
        max_record_section: 1_000_000,
        ..Options::default()
    };
    let error = merge(&ready, &options).unwrap_err();
    assert_eq!(error.offset, 1);
    assert!(matches!(error.reason, ConvertReason::Batch(_)), "{error}");
}
