//! Any history of a compacted log leaves what a simple model says: plain, idempotent and transactional appends, crashes
//! (of the process, with a torn tail, and in the middle of a compaction), truncation, DeleteRecords and retention.
//!
//! `PROPTEST_CASES=2000` makes it look at more histories than CI does; a failure prints the shortest that fails.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::compact::{
    clean_with, compacted, copy, headers, in_memory, keyed, read_committed, records, roll, watch,
};
use super::transactions::{add, end};
use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// By a producer without id (0), an idempotent one (1 or 2) or a transactional one (3 or 4).
    Append {
        producer: i64,
        records: Vec<(u8, bool)>,
    },
    Repeat {
        producer: i64,
    },
    End {
        producer: i64,
        commit: bool,
    },
    Roll,
    /// With room for so many keys, so much later.
    Compact {
        keys: u64,
        later_ms: i64,
    },
    /// A process that dies at some step of a compaction.
    DieCompacting {
        step: usize,
    },
    Restart,
    Kill {
        lost: u64,
    },
    DeleteRecords {
        permille: i64,
    },
    RetentionBySize {
        bytes: u64,
    },
    Truncate {
        permille: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let rows = proptest::collection::vec((0u8..8, proptest::bool::weighted(0.2)), 1..4);
    prop_oneof![
        12 => (0i64..5, rows).prop_map(|(producer, records)| Step::Append { producer, records }),
        2 => (1i64..5).prop_map(|producer| Step::Repeat { producer }),
        4 => (3i64..5, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        2 => Just(Step::Roll),
        5 => (1u64..12, 0i64..1_500).prop_map(|(keys, later_ms)| Step::Compact { keys, later_ms }),
        1 => (0usize..20).prop_map(|step| Step::DieCompacting { step }),
        1 => Just(Step::Restart),
        1 => (0u64..300).prop_map(|lost| Step::Kill { lost }),
        1 => (0i64..1001).prop_map(|permille| Step::DeleteRecords { permille }),
        1 => (800u64..3_000).prop_map(|bytes| Step::RetentionBySize { bytes }),
        1 => (0i64..1001).prop_map(|permille| Step::Truncate { permille }),
    ]
}

type Row = (Vec<u8>, Option<Vec<u8>>);

#[derive(Debug, Clone)]
struct Event {
    base: i64,
    next: i64,
    producer: i64,
    /// The batch as it was sent; a marker has none.
    sent: Option<Vec<u8>>,
    rows: Vec<Row>,
    commit: bool,
}

#[derive(Debug, Default)]
struct Model {
    events: Vec<Event>,
    start: i64,
    end: i64,
    numbers: u64,
    /// Up to where a round has come, even if the process died before it was written down.
    reached: i64,
    /// Where the log ended then. All of it was forced to disk, for what was dropped depends on it: on records that
    /// supersede others, and on the markers that decide on them.
    settled: i64,
    now_ms: i64,
    /// It was cut back to before its start, in the middle of a batch that began there.
    ends_before_start: bool,
}

impl Model {
    /// Offset and row of every record, in order, and whether its transaction, if it has one, was committed (`None`: it is open).
    fn rows(&self) -> Vec<(i64, &Row, Option<bool>)> {
        let mut rows = Vec::new();
        for (place, event) in self.events.iter().enumerate() {
            let ended = || {
                self.events[place..]
                    .iter()
                    .find(|e| e.producer == event.producer && e.sent.is_none())
            };
            let fate = if event.producer < 3 {
                Some(true)
            } else {
                ended().map(|marker| marker.commit)
            };
            rows.extend(
                (event.base..)
                    .zip(&event.rows)
                    .map(|(offset, row)| (offset, row, fate)),
            );
        }
        rows
    }

    fn open_from(&self) -> i64 {
        let undecided = |event: &&Event| {
            let mut later = self.events.iter().filter(|e| e.base > event.base);
            event.producer >= 3
                && event.sent.is_some()
                && !later.any(|e| e.producer == event.producer && e.sent.is_none())
        };
        let first = self.events.iter().find(undecided).map(|event| event.base);
        first.map_or(self.end, |first| first.max(self.start))
    }

    /// What readers of committed records end up with.
    fn table(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let rows = self.rows();
        let visible = rows
            .iter()
            .filter(|(offset, _, fate)| *offset >= self.start && *fate == Some(true));
        fold(
            visible
                .filter(|(offset, ..)| *offset < self.open_from())
                .map(|(_, row, _)| (*row).clone()),
        )
    }

    fn cut(&mut self, end: i64) {
        self.events.retain(|event| event.next <= end);
        self.end = end;
    }

    /// After a crash a log that had ended before its start begins anew, and knows no producers.
    fn forget(&mut self, log: &Log) {
        if log.log_end_offset() == self.start && log.producers().is_empty() {
            self.events.clear();
        }
    }

    fn check(&self, log: &Log) {
        assert_eq!(
            (log.log_start_offset(), log.log_end_offset(), log.high_watermark()),
            (self.start, self.end, self.end)
        );
        assert_eq!(log.last_stable_offset(), self.open_from());
        let rows = self.rows();
        let by_offset: BTreeMap<i64, (&Row, Option<bool>)> =
            rows.iter().map(|(o, row, fate)| (*o, (*row, *fate))).collect();
        let control: Vec<i64> = headers(log)
            .iter()
            .filter(|head| head.is_control())
            .map(|head| head.base_offset)
            .collect();
        let seen: Vec<_> = records(log)
            .into_iter()
            .filter(|(offset, ..)| !control.contains(offset))
            .collect();
        let clean = log.clean_until().unwrap_or(i64::MIN);
        let mut last_of_key = BTreeMap::new();
        for (offset, timestamp, key, value) in &seen {
            let row = (key.clone().unwrap(), value.clone());
            assert_eq!((&row, *timestamp), (by_offset[offset].0, NOW), "offset {offset}");
            if *offset < clean {
                let earlier = last_of_key.insert(row.0, *offset);
                assert_eq!(
                    earlier, None,
                    "the key of offset {offset} occurs twice in the clean part"
                );
                assert_ne!(
                    by_offset[offset].1,
                    Some(false),
                    "offset {offset} was aborted and cleaned"
                );
            }
        }
        // Whatever was aborted may go, wherever it lies in the segments that were cleaned.
        let dirty =
            |offset: &i64| *offset >= self.reached.max(self.start) && by_offset[offset].1 != Some(false);
        let there: Vec<i64> = seen.iter().map(|row| row.0).filter(dirty).collect();
        let expected: Vec<i64> = by_offset.keys().copied().filter(dirty).collect();
        assert_eq!(there, expected);
        self.check_committed(log);
    }

    fn check_committed(&self, log: &Log) {
        let (mut rows, mut next) = (Vec::new(), self.start);
        while next < log.last_stable_offset() {
            let read = read_committed(log, next, 400);
            if read.records.is_empty() {
                // Up to what is undecided nothing is left.
                break;
            }
            for batch in Batches::new(&read.records) {
                let batch = batch.unwrap();
                let header = *batch.header();
                next = header.next_offset();
                let of = |t: &&AbortedTransaction| {
                    t.producer_id == header.producer_id
                        && (t.first_offset..t.last_offset).contains(&header.base_offset)
                };
                let aborted = header.is_transactional() && read.aborted_transactions.iter().any(|t| of(&t));
                if header.is_control() || aborted {
                    continue;
                }
                for record in batch.records(&batch.decompress(1 << 20).unwrap()) {
                    let record = record.unwrap();
                    if header.offset(record.offset_delta) >= self.start {
                        rows.push((record.key.unwrap().to_vec(), record.value.map(<[u8]>::to_vec)));
                    }
                }
            }
        }
        assert_eq!(fold(rows.into_iter()), self.table());
    }
}

fn fold(rows: impl Iterator<Item = Row>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut table = BTreeMap::new();
    for (key, value) in rows {
        match value {
            Some(value) => drop(table.insert(key, value)),
            None => drop(table.remove(&key)),
        }
    }
    table
}

fn config() -> LogConfig {
    LogConfig {
        delete: true,
        ..compacted()
    }
}

fn append(bench: &Bench, model: &mut Model, producer: i64, picks: &[(u8, bool)]) {
    let log = bench.log();
    let mut rows = Vec::new();
    for (key, gone) in picks {
        model.numbers += 1;
        rows.push((
            format!("k{key}"),
            if *gone {
                String::new()
            } else {
                model.numbers.to_string()
            },
        ));
    }
    let known = log
        .producers()
        .into_iter()
        .find(|info| info.producer_id == producer);
    let builder = BatchBuilder::new();
    let builder = match producer {
        0 => builder,
        _ => builder.producer(producer, 0, known.map_or(0, |info| info.last_sequence + 1)),
    };
    let builder = if producer >= 3 {
        builder.transactional()
    } else {
        builder
    };
    let texts: Vec<(&str, &str)> = rows.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let sent = keyed(builder, &texts);
    let base = if producer >= 3 {
        add(&log, &sent).unwrap()
    } else {
        log.append(&sent, 0, NOW).unwrap().base_offset
    };
    assert_eq!(base, model.end);
    model.end += i64::try_from(picks.len()).unwrap();
    let value = |text: String| Some(text.into_bytes()).filter(|value| !value.is_empty());
    let rows = rows
        .into_iter()
        .map(|(key, text)| (key.into_bytes(), value(text)))
        .collect();
    model.events.push(Event {
        base,
        next: model.end,
        producer,
        sent: Some(sent),
        rows,
        commit: false,
    });
}

fn compact(bench: &Bench, model: &mut Model, keys: u64, later_ms: i64) {
    model.now_ms += later_ms;
    let log = bench.log();
    let options = CleanerOptions {
        map_bytes: 24 * (keys + 1),
        ..CleanerOptions::default()
    };
    let manager = bench.manager();
    if manager.cleaner().next(&manager.logs(), NOW).is_some() {
        let before = log.clean_until().unwrap_or(0);
        let report = clean_with(bench, &options, NOW + model.now_ms).unwrap();
        assert!(report.end_offset > before);
        model.reached = model.reached.max(report.end_offset);
        model.settled = model.end;
    }
}

fn die_compacting(bench: &mut Bench, model: &mut Model, step: usize) {
    let (copies, root) = (in_memory(), bench.root.path().to_owned());
    let (target, mut seen) = (copies.path().join("copy"), 0);
    let to = target.clone();
    watch(Some(Box::new(move |_| {
        if seen == step {
            copy(&root, &to);
        }
        seen += 1;
    })));
    compact(bench, model, 100, 0);
    watch(None);
    bench.kill();
    if target.exists() {
        std::fs::remove_dir_all(bench.dir()).unwrap();
        copy(&target, bench.root.path());
    }
    bench.start();
    model.forget(&bench.log());
}

fn kill(bench: &mut Bench, model: &mut Model, lost: u64) {
    let unsettled = headers(&bench.log())
        .into_iter()
        .filter(|head| head.base_offset >= model.settled);
    let unsettled: usize = unsettled.map(|head| head.size()).sum();
    let lost = lost.min(u64::try_from(unsettled).unwrap());
    bench.kill();
    let last = bench
        .names()
        .into_iter()
        .rfind(|name| name.ends_with(".log"))
        .unwrap();
    let path = bench.dir().join(last);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len().saturating_sub(lost))
        .unwrap();
    bench.start();
    let log = bench.log();
    assert!(lost > 0 || log.log_end_offset() == model.end);
    if log.log_end_offset() < model.end {
        model.cut(log.log_end_offset());
    }
    model.forget(&log);
}

fn apply(bench: &mut Bench, model: &mut Model, step: &Step) {
    let log = bench.log();
    let offset = |permille: &i64| model.start + (model.end - model.start) * permille / 1000;
    match step {
        Step::Append { producer, records } => append(bench, model, *producer, records),
        Step::Repeat { producer } => {
            // What lies before the start may be forgotten; what was ended by a marker is not asked for again.
            let last = model.events.iter().rfind(|event| event.producer == *producer);
            if let Some(Event {
                base,
                sent: Some(sent),
                ..
            }) = last.filter(|event| event.base >= model.start)
            {
                let again = log.append(sent, 0, NOW).unwrap();
                assert!(again.duplicate && again.base_offset == *base);
            }
        }
        Step::End { producer, commit } => {
            let base = end(&log, *producer, 0, *commit);
            model.end += 1;
            let (next, producer, commit) = (model.end, *producer, *commit);
            model.events.push(Event {
                base,
                next,
                producer,
                sent: None,
                rows: Vec::new(),
                commit,
            });
        }
        Step::Roll => roll(bench),
        Step::Compact { keys, later_ms } => compact(bench, model, *keys, *later_ms),
        Step::DieCompacting { step } => {
            drop(log);
            die_compacting(bench, model, *step);
        }
        Step::Restart => {
            drop(log);
            bench.restart();
            // Such a log begins anew, as Kafka's does, also where it was closed in peace. Any other one forgets nobody.
            if model.ends_before_start {
                model.forget(&bench.log());
            }
        }
        Step::Kill { lost } => {
            drop(log);
            kill(bench, model, *lost);
        }
        Step::DeleteRecords { permille } => {
            let offset = offset(permille);
            assert_eq!(log.delete_records(offset).unwrap(), offset);
            model.start = offset;
        }
        Step::RetentionBySize { bytes } => {
            log.set_config(LogConfig {
                retention_bytes: Some(*bytes),
                ..config()
            });
            log.enforce_retention(NOW).unwrap();
            log.set_config(config());
            model.start = log.log_start_offset();
        }
        Step::Truncate { permille } => {
            // What was compacted went because of something behind it, which must not be taken away.
            let offset = offset(permille).max(model.settled);
            let end = log.truncate_to(offset, NOW).unwrap();
            model.cut(end);
            let left = model.events.last();
            model.ends_before_start |= left.is_some_and(|last| last.next < model.start);
        }
    }
}

fn cases() -> u32 {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    if asked {
        ProptestConfig::default().cases
    } else {
        60
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]
    #[test]
    fn any_history_leaves_what_it_should(steps in proptest::collection::vec(step(), 1..80)) {
        expect_history(&steps);
    }
}

/// Every step leaves what the model says, and so does a restart at the end.
fn expect_history(steps: &[Step]) {
    let mut bench = Bench::in_memory(config());
    let mut model = Model::default();
    for step in steps.iter().chain([&Step::Restart]) {
        apply(&mut bench, &mut model, step);
        model.check(&bench.log());
    }
}

#[test]
fn a_log_that_was_cut_back_to_before_its_start_knows_no_transaction_after_a_restart() {
    let append = |producer, count| Step::Append {
        producer,
        records: vec![(0, false); count],
    };
    expect_history(&[
        append(3, 1),
        append(0, 2),
        // In the middle of the second batch.
        Step::DeleteRecords { permille: 667 },
        Step::Truncate { permille: 0 },
        Step::Restart,
        Step::End {
            producer: 4,
            commit: false,
        },
    ]);
}

#[test]
fn a_transaction_whose_marker_was_compacted_away_is_not_open_again_after_a_crash() {
    let some = |producer, count| Step::Append {
        producer,
        records: vec![(0, false); count],
    };
    let end = |producer| Step::End {
        producer,
        commit: false,
    };
    let compact = |later_ms| Step::Compact { keys: 1, later_ms };
    expect_history(&[
        some(0, 2),
        some(0, 3),
        end(3),
        some(4, 3),
        some(0, 2),
        some(0, 3),
        some(0, 3),
        end(4),
        end(3),
        some(0, 3),
        Step::DeleteRecords { permille: 637 },
        Step::Roll,
        Step::RetentionBySize { bytes: 800 },
        end(3),
        compact(0),
        Step::Roll,
        compact(1_107),
        Step::Kill { lost: 271 },
    ]);
}
