//! Any records in any form: what comes out is what went in.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::batch::Retained;

/// How some records lie in the source.
#[derive(Debug, Clone)]
enum Form {
    Batch {
        codec: usize,
        stamped: bool,
        producer: Option<i64>,
        horizon: bool,
        /// Which of them compaction has taken.
        gone: u16,
    },
    /// In a transaction, which then ends.
    Transaction {
        producer: i64,
        commit: bool,
        codec: usize,
    },
    Old(Old),
    Emptied,
}

fn record() -> impl Strategy<Value = Rec> {
    let bytes = || option::of(vec(prop_oneof![any::<u8>(), Just(0)], 0..60));
    let header = (vec(any::<u8>(), 0..3), bytes());
    (0..100_000_000i64, bytes(), bytes(), vec(header, 0..3)).prop_map(|(ago, key, value, headers)| Rec {
        offset: 0,
        timestamp: TIME - ago,
        key,
        value,
        headers,
    })
}

fn form() -> impl Strategy<Value = Form> {
    let batch = (
        0usize..5,
        any::<bool>(),
        option::of(0..4i64),
        any::<bool>(),
        prop_oneof![Just(0), any::<u16>()],
    );
    prop_oneof![
        4 => batch.prop_map(|(codec, stamped, producer, horizon, gone)| Form::Batch {
            codec, stamped: stamped && gone % 2 == 0, producer, horizon: horizon && gone != 0, gone
        }),
        3 => (0..4i64, any::<bool>(), 0usize..5)
            .prop_map(|(producer, commit, codec)| Form::Transaction { producer, commit, codec }),
        2 => (0u8..2, 0usize..4, any::<bool>(), any::<bool>()).prop_map(|(magic, codec, stamped, wrong_lz4)| {
            Form::Old(Old { magic, codec: Compression::ALL[codec], stamped, wrong_lz4 })
        }),
        1 => Just(Form::Emptied),
    ]
}

/// A log, what a consumer sees in it, and its aborted transactions.
#[derive(Debug, Default)]
struct Source {
    bytes: Vec<u8>,
    seen: Vec<Rec>,
    aborted: Vec<(i64, i64)>,
    next: i64,
}

impl Source {
    fn add(&mut self, form: &Form, mut records: Vec<Rec>) {
        for record in &mut records {
            record.offset = self.next;
            self.next += 1;
        }
        let largest = records.iter().map(|r| r.timestamp).max().unwrap();
        match form {
            Form::Batch {
                codec,
                stamped,
                producer,
                horizon,
                gone,
            } => {
                let bytes = batch(&records, |mut b| {
                    b = b.compression(Compression::ALL[*codec], None);
                    b = if *stamped { b.log_append_time(TIME + 5) } else { b };
                    producer.map_or(b.clone(), |producer| b.producer(producer, 0, 0))
                });
                let first = records[0].offset;
                let kept = |offset: i64| gone & (1 << ((offset - first) % 16)) == 0;
                self.bytes.extend(if *gone == 0 {
                    bytes
                } else {
                    let view = BatchView::parse(&bytes).unwrap();
                    let how = Retained {
                        level: None,
                        delete_horizon: horizon.then_some(TIME * 2),
                    };
                    let plain = view.decompress(1 << 20).unwrap();
                    view.retain(&plain, how, &mut |r| kept(first + i64::from(r.offset_delta)))
                        .unwrap()
                });
                let stamp = |r: Rec| Rec {
                    timestamp: if *stamped { TIME + 5 } else { r.timestamp },
                    ..r
                };
                self.seen
                    .extend(records.into_iter().filter(|r| kept(r.offset)).map(stamp));
            }
            Form::Transaction {
                producer,
                commit,
                codec,
            } => {
                let bytes = batch(&records, |b| {
                    b.compression(Compression::ALL[*codec], None)
                        .producer(*producer, 0, 0)
                        .transactional()
                });
                self.bytes.extend(bytes);
                self.bytes.extend(marker(self.next, *producer, *commit));
                self.next += 1;
                if *commit {
                    self.seen.extend(records);
                } else {
                    self.aborted.push((*producer, records[0].offset));
                }
            }
            Form::Old(old) => {
                self.bytes.extend(old.write(&records));
                self.seen.extend(records.iter().map(|r| old.seen(r, largest)));
            }
            Form::Emptied => {
                let bytes = batch(&records, |b| b.producer(3, 0, 0));
                self.bytes
                    .extend(BatchView::parse(&bytes).unwrap().emptied().unwrap());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_comes_out_is_what_went_in(
        parts in vec((form(), vec(record(), 1..25)), 1..12),
        from in any::<proptest::sample::Index>(),
        cut in any::<proptest::sample::Index>(),
        limit in prop_oneof![400usize..4000, Just(1 << 20)],
        codec in option::of(0usize..5),
        merged in 1usize..5,
    ) {
        let mut source = Source::default();
        for (form, records) in parts {
            source.add(&form, records);
        }
        let start = from.index(usize::try_from(source.next).unwrap()) as i64;
        let options = Options {
            compression: codec.map(|codec| Compression::ALL[codec]),
            max_batch_bytes: limit,
            ..Options::default()
        };
        // The log comes in two answers, the first of which may be cut anywhere.
        let mut converter = Converter::new(options);
        converter.start_at(start);
        let mut ready = Vec::new();
        let whole = Bytes::from(source.bytes.clone());
        let cut = whole.slice(..cut.index(whole.len()));
        match converter.convert(&cut, &source.aborted, &mut ready) {
            Ok(converted) => prop_assert_eq!(converted.next, converter.position()),
            Err(error) => prop_assert!(matches!(error.reason, ConvertReason::Partial { .. }), "{}", error),
        }
        let converted = converter.convert(&whole, &source.aborted, &mut ready);
        prop_assert_eq!(converted.as_ref().map(|c| c.next), Ok(source.next));
        let expected: Vec<_> = source.seen.into_iter().filter(|r| r.offset >= start).collect();
        prop_assert_eq!(taken(&ready), expected.clone());
        let mut reached = start;
        for ready in &ready {
            prop_assert!(ready.size() <= limit);
            prop_assert!(ready.source.first().unwrap() >= reached && ready.next > reached);
            reached = ready.next;
            if let Some(wanted) = options.compression {
                prop_assert_eq!(ready.compression(), wanted);
            }
        }
        let mut after = Vec::new();
        for group in ready.chunks(merged) {
            match merge(group, &options) {
                Ok(one) => {
                    prop_assert_eq!(one.next, group.last().unwrap().next);
                    after.push(one);
                }
                Err(error) => {
                    prop_assert!(matches!(error.reason, ConvertReason::MergedTooLarge { .. }), "{}", error);
                    after.extend_from_slice(group);
                }
            }
        }
        prop_assert_eq!(taken(&after), expected);
    }
}
