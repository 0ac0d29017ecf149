//! Any sequence of what can happen to a log leaves it equal to a list of batches.

use super::*;
use heliostat_wire::batch::BatchMut;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        count: usize,
        age_ms: i64,
    },
    Restart,
    /// Killed, after which the last bytes are lost (as a power cut may do), or garbage follows them.
    Kill {
        lost: u64,
        garbage: Vec<u8>,
    },
    DeleteRecords {
        permille: i64,
    },
    RetentionByTime {
        age_ms: i64,
    },
    RetentionBySize {
        bytes: u64,
    },
    Truncate {
        permille: i64,
    },
    Read {
        permille: i64,
        max_bytes: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..6, 0i64..1000).prop_map(|(count, age_ms)| Step::Append { count, age_ms }),
        1 => Just(Step::Restart),
        1 => (0u64..400, proptest::collection::vec(any::<u8>(), 0..100))
            .prop_map(|(lost, garbage)| Step::Kill { lost, garbage }),
        1 => (0i64..1001).prop_map(|permille| Step::DeleteRecords { permille }),
        1 => (0i64..1000).prop_map(|age_ms| Step::RetentionByTime { age_ms }),
        1 => (0u64..3000).prop_map(|bytes| Step::RetentionBySize { bytes }),
        1 => (900i64..1001).prop_map(|permille| Step::Truncate { permille }),
        3 => (0i64..1001, 1usize..1500).prop_map(|(permille, max_bytes)| Step::Read { permille, max_bytes }),
    ]
}

#[derive(Debug, Default)]
struct Model {
    /// Base offset and bytes of each batch, as stored.
    batches: Vec<(i64, i64, Vec<u8>)>,
    start: i64,
    end: i64,
}

impl Model {
    fn append(&mut self, appended: &Appended, sent: &[u8]) {
        let mut bytes = sent.to_vec();
        let mut stored = BatchMut::parse(&mut bytes).unwrap();
        stored.set_base_offset(self.end);
        stored.set_partition_leader_epoch(0);
        assert_eq!(appended.base_offset, self.end);
        assert!(!appended.duplicate);
        self.batches
            .push((appended.base_offset, appended.last_offset, bytes));
        self.end = appended.last_offset + 1;
    }

    fn from(&self, offset: i64) -> Vec<u8> {
        let kept = self
            .batches
            .iter()
            .filter(|(_, last, _)| *last >= offset.max(self.start));
        kept.flat_map(|(_, _, bytes)| bytes.clone()).collect()
    }

    fn offset(&self, permille: i64) -> i64 {
        self.start + (self.end - self.start) * permille / 1000
    }

    /// The log may have lost batches at its end, and nothing else.
    fn cut_to(&mut self, end: i64) {
        self.batches.retain(|(_, last, _)| *last < end);
        self.end = self.batches.last().map_or(end, |(_, last, _)| last + 1);
    }
}

fn check(bench: &Bench, model: &Model) {
    let log = bench.log();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (model.start, model.end)
    );
    assert_eq!(
        (log.high_watermark(), log.last_stable_offset()),
        (model.end, model.end)
    );
    assert_eq!(read_all(&log, model.start, 700), model.from(model.start));
}

/// Takes bytes from the end of the last segment, as far as it has any, and puts others there.
fn damage(bench: &Bench, lost: u64, garbage: &[u8]) {
    use std::os::unix::fs::FileExt;
    let last = bench
        .names()
        .into_iter()
        .rfind(|name| name.ends_with(".log"))
        .unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(bench.dir().join(last))
        .unwrap();
    let size = file.metadata().unwrap().len().saturating_sub(lost);
    file.set_len(size).unwrap();
    file.write_all_at(garbage, size).unwrap();
}

fn apply(bench: &mut Bench, model: &mut Model, step: Step) {
    let log = bench.log();
    match step {
        Step::Append { count, age_ms } => {
            let sent = batch(&vec![NOW - age_ms; count]);
            model.append(&bench.append(&sent), &sent);
        }
        Step::Restart => bench.restart(),
        Step::Kill { lost, garbage } => {
            let (before, segment) = (log.log_end_offset(), log.segment_count());
            drop(log);
            bench.kill();
            damage(bench, lost, &garbage);
            bench.start();
            let end = bench.log().log_end_offset();
            assert!(
                lost > 0 || end == before,
                "nothing was lost, and {before} became {end} in {segment} segments"
            );
            if end < model.end {
                model.cut_to(end);
            }
            if model.end < model.start {
                (model.end, model.batches) = (model.start, Vec::new());
            }
        }
        Step::DeleteRecords { permille } => {
            let offset = model.offset(permille);
            assert_eq!(log.delete_records(offset).unwrap(), offset);
            model.start = offset;
        }
        Step::RetentionByTime { age_ms } => {
            log.set_config(LogConfig {
                retention_ms: Some(age_ms),
                ..small()
            });
            log.enforce_retention(NOW).unwrap();
            log.set_config(small());
            let start = log.log_start_offset();
            for (base, last, bytes) in &model.batches {
                let old = first_batch(bytes).header().max_timestamp < NOW - age_ms;
                assert!(
                    *last >= start || *last < model.start || old,
                    "{base} to {last} was too young to go"
                );
            }
            model.start = start;
        }
        Step::RetentionBySize { bytes } => {
            log.set_config(LogConfig {
                retention_bytes: Some(bytes),
                ..small()
            });
            log.enforce_retention(NOW).unwrap();
            log.set_config(small());
            assert!(
                log.size_bytes() < bytes + small().segment_bytes,
                "{} of {bytes}",
                log.size_bytes()
            );
            model.start = log.log_start_offset();
        }
        Step::Truncate { permille } => {
            let offset = model.offset(permille);
            let end = log.truncate_to(offset, NOW).unwrap();
            assert!(end <= offset);
            model.cut_to(offset);
            if end < model.end || model.end < model.start {
                model.end = end;
            }
        }
        Step::Read { permille, max_bytes } => {
            let offset = model.offset(permille);
            assert_eq!(read_all(&log, offset, max_bytes), model.from(offset));
            let records = log.read(offset, max_bytes, false).unwrap().records;
            assert!(records.len() <= max_bytes);
            assert!(model.from(offset).starts_with(&records));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_events_leaves_what_it_should(steps in proptest::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(small());
        let mut model = Model::default();
        for step in steps {
            apply(&mut bench, &mut model, step);
            check(&bench, &model);
        }
        bench.restart();
        check(&bench, &model);
    }
}
