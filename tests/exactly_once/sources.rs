//! Sources of every kind, while the daemon is killed: transactions, compaction, retention, a clock of the log's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use heliostat::observe::status::State;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{
    FLOW, LIMIT, MIRROR, Rig, SOURCE, TARGET, TOPIC, finish, forget_members, let_pass, random, wait_mirrored,
};
use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, Sides};
use crate::support::load::{Load, Shape, number};
use crate::support::rec::Rec;
use crate::support::transactional::Transactional;
use crate::support::{wait_for, wait_until};

/// Kills the daemon and starts it again.
fn kill(rig: &Rig, daemon: &mut Daemon) {
    daemon.process().kill();
    forget_members(&rig.target.bootstrap());
    daemon.respawn();
}

/// Runs `work` on a thread until the guard is dropped.
struct Working {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Working {
    fn on(work: impl Fn(u64) + Send + 'static) -> Working {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for turn in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                work(turn);
            }
        });
        Working {
            stop,
            thread: Some(thread),
        }
    }

    #[track_caller]
    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .expect("it is joined once")
            .join()
            .expect("the work does not panic");
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The source's transactions go to one partition, beside records without any.
#[test]
fn of_transactions_what_is_committed_is_copied_once_and_nothing_else() {
    let mut random = random("transactions");
    let rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(1_000);
    let bootstrap = rig.source.bootstrap();
    let writer = |commits: fn(u64) -> bool, name: &'static str| {
        let client = Client::new(bootstrap.clone()).with(&[("transactional.id", name)]);
        Working::on(move |turn| {
            let producer = Transactional::new(&client, TOPIC);
            for transaction in 0..20 {
                let values: Vec<String> = (0..5)
                    .map(|number| format!("{name} {turn} {transaction} {number}"))
                    .collect();
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                producer.write(&values);
                if commits(transaction) {
                    producer.commit()
                } else {
                    producer.abort()
                }
            }
        })
    };
    let working = writer(|number| number % 3 != 0, "mixed");
    wait_mirrored(&rig.target(), 16);
    for _ in 0..super::kills(8) {
        let_pass(Duration::from_millis(random.random_range(50..700)));
        kill(&rig, &mut daemon);
    }
    working.end();
    daemon.wait_ready();
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_whole_map();
    let committed = exact
        .source
        .iter()
        .filter(|record| record.value.as_deref().unwrap_or_default().starts_with(b"mixed"));
    assert!(committed.count() >= 65, "too few transactions to mean anything");
}

#[test]
fn records_before_an_open_transaction_do_not_wait_for_it() {
    let rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let daemon = Daemon::start(&rig.topology());
    let producer = Transactional::new(&rig.source(), TOPIC);
    producer.write(&["first"]);
    let (source, target) = (rig.source(), rig.target());
    wait_for(LIMIT, "what lies before it is there", || {
        match target.partitions(MIRROR).map(|_| target.end_offsets(MIRROR)[0]) {
            Some(4) => Ok(()),
            end => Err(format!("{end:?}")),
        }
    });
    source.produce(
        TOPIC,
        &[Rec::new(0, None, Some(b"behind it"))],
        Producing::default(),
    );
    crate::support::hold(Duration::from_millis(500), "nothing of it is copied", || {
        target.end_offsets(MIRROR)[0] == 4
    });
    producer.commit();
    let exact = finish(&rig.sides(), vec![daemon]);
    exact.expect_equal().expect_whole_map();
    assert_eq!(exact.mirror.len(), 6);
}

/// Configs with which a log is compacted while one looks on.
const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.ms", "200"),
    ("min.cleanable.dirty.ratio", "0.01"),
];

const CLEANER: &[&str] = &[
    "--config",
    "log.cleaner.backoff.ms=100",
    "--config",
    "log.flush.policy=os",
];

/// Writes numbers under few keys, so that most of them go soon.
fn write_keyed(client: Client, topic: &'static str) -> Working {
    Working::on(move |turn| {
        let record = |number: u64| {
            let key = format!("key {}", number * 7 % 40);
            Rec::new(
                0,
                Some(key.as_bytes()),
                Some((turn * 100 + number).to_string().as_bytes()),
            )
        };
        let records: Vec<Rec> = (0..100).map(record).collect();
        client.produce(topic, &records, Producing::default());
    })
}

fn number_of(record: &Rec) -> u64 {
    let value = record.value.as_deref().map(String::from_utf8_lossy);
    value.and_then(|value| value.parse().ok()).expect("a number")
}

/// A compacted source, and a target that compacts too or not.
fn compacted(name: &str, target: &[&str], exactly: bool) {
    let mut random = random(name);
    let target = [TARGET, target].concat();
    let (source, target) = (BuiltIn::start(1, CLEANER), BuiltIn::start(1, &target));
    let rig = Rig {
        source,
        target,
        partitions: 1,
    };
    rig.source().create_topic(TOPIC, 1, COMPACTED);
    let mut daemon = Daemon::start(&rig.topology());
    let working = write_keyed(rig.source(), TOPIC);
    wait_mirrored(&rig.target(), 100);
    for _ in 0..super::kills(8) {
        let_pass(Duration::from_millis(random.random_range(50..900)));
        kill(&rig, &mut daemon);
    }
    working.end();
    daemon.wait_ready();
    let exact = finish(&rig.sides(), vec![daemon]).compacted();
    exact.expect_ascending().expect_true_map();
    let numbers = |records: &[Rec]| records.iter().map(number_of).collect::<Vec<_>>();
    let (source, mirror) = (numbers(&exact.source), numbers(&exact.mirror));
    assert!(
        source.len() < source.iter().max().map_or(0, |max| *max as usize),
        "nothing was compacted"
    );
    if exactly {
        assert!(
            mirror.is_sorted_by(|a, b| a < b),
            "something is there twice, or out of order"
        );
        assert!(
            source.iter().all(|number| mirror.binary_search(number).is_ok()),
            "something is missing"
        );
    }
    // What a reader of the whole log knows in the end is the same.
    let last = |records: &[Rec]| -> std::collections::BTreeMap<Option<Vec<u8>>, u64> {
        records
            .iter()
            .map(|record| (record.key.clone(), number_of(record)))
            .collect()
    };
    assert_eq!(last(&exact.source), last(&exact.mirror));
}

#[test]
fn a_source_that_is_compacted_meanwhile_is_copied_once() {
    compacted(
        "compacted source",
        &["--config", "log.cleaner.enable=false"],
        true,
    );
}

#[test]
fn a_mirror_that_is_compacted_as_its_source_is_ends_with_the_same_last_records() {
    compacted(
        "compacted mirror",
        &["--config", "log.cleaner.backoff.ms=100"],
        false,
    );
}

#[test]
fn records_without_keys_for_a_compacted_mirror_stop_their_partition_alone_with_a_reason() {
    let rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    rig.source().create_topic("keyed", 2, &[]);
    rig.target()
        .create_topic("source.keyed", 2, &[("cleanup.policy", "compact")]);
    let keyed = |partition, value: &str| Rec::new(partition, Some(b"key"), Some(value.as_bytes()));
    let mut records: Vec<Rec> = (0..10)
        .map(|number: i32| keyed(number % 2, &number.to_string()))
        .collect();
    records.insert(4, Rec::new(0, None, Some(b"without a key")));
    rig.source().produce("keyed", &records, Producing::default());
    let mut daemon = Daemon::start(&rig.topology());
    let stopped = wait_for(
        LIMIT,
        "one partition is quarantined, and the others are copied",
        || {
            let flow = daemon.flow(FLOW);
            let of = |topic: &str, partition| {
                let mut partitions = flow.partitions.iter();
                partitions
                    .find(|found| found.topic == topic && found.partition == partition)
                    .cloned()
            };
            match [of("keyed", 0), of("keyed", 1), of(TOPIC, 0)] {
                [Some(bad), Some(good), Some(other)]
                    if bad.state == State::Quarantined
                        && good.position == Some(5)
                        && other.position == Some(4) =>
                {
                    Ok(bad)
                }
                found => Err(format!("{found:?}")),
            }
        },
    );
    let reason = stopped.reason.clone().unwrap_or_default();
    assert_eq!(
        (stopped.position, stopped.offsets),
        (Some(2), Some((2, 2))),
        "what lies before it in the same batch is copied, and nothing is passed over: {stopped:?}"
    );
    assert!(
        reason.contains("source offset 2:") && reason.contains("key"),
        "{reason}"
    );
    let in_front: Vec<Rec> = rig
        .target()
        .read("source.keyed")
        .into_iter()
        .filter(|record| record.partition == 0)
        .collect();
    assert_eq!(in_front.len(), 2, "{in_front:?}");

    // Once the mirror takes it, it and all that lies behind it are copied, once.
    rig.target()
        .alter_topic("source.keyed", &[("cleanup.policy", "delete")]);
    wait_for(LIMIT, "it goes on", || {
        let flow = daemon.flow(FLOW);
        let mut of_keyed = flow.partitions.iter().filter(|found| found.topic == "keyed");
        match of_keyed.all(|found| found.state == State::CaughtUp && found.lag.records == 0) {
            true => Ok(()),
            false => Err(format!("{flow:?}")),
        }
    });
    let quarantined = format!(r#"heliostat_events_total{{flow="{FLOW}",kind="quarantined"}}"#);
    assert_eq!(daemon.metric(&quarantined), Some(1.0), "{}", daemon.log());
    assert!(daemon.stop(super::END).success());
    let sides = Sides {
        topic: "keyed".to_owned(),
        mirror: "source.keyed".to_owned(),
        ..rig.sides()
    };
    Exact::read(&sides).expect_equal().expect_whole_map();
}

/// A log that gives records times of its own, on either side.
fn append_time(name: &str, source: &[(&str, &str)], target: Option<&[(&str, &str)]>) -> (Rig, Exact) {
    let mut random = random(name);
    let rig = Rig {
        source: BuiltIn::start(1, SOURCE),
        target: BuiltIn::start(1, TARGET),
        partitions: 2,
    };
    rig.source().create_topic(TOPIC, 2, source);
    super::write_odd(&rig.source(), 2);
    if let Some(configs) = target {
        rig.target().create_topic(MIRROR, 2, configs);
    }
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(4_000);
    wait_mirrored(&rig.target(), 8);
    for _ in 0..super::kills(4) {
        let_pass(Duration::from_millis(random.random_range(100..700)));
        kill(&rig, &mut daemon);
    }
    daemon.wait_ready();
    let exact = rig.finish(load, vec![daemon]);
    (rig, exact)
}

const APPEND_TIME: &[(&str, &str)] = &[("message.timestamp.type", "LogAppendTime")];
const CREATE_TIME: &[(&str, &str)] = &[("message.timestamp.type", "CreateTime")];

/// The records of a load in one partition, in order, whatever their times.
fn numbers(records: &[Rec], partition: i32) -> Vec<Option<u64>> {
    let of_it = records
        .iter()
        .filter(|record| record.partition == partition && record.key.is_some());
    let load = |record: &Rec| {
        let name = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        number(&name, record.value.as_deref().unwrap_or_default())
    };
    of_it.map(load).collect()
}

#[test]
fn times_of_the_source_s_log_are_kept_where_the_mirror_may_have_them() {
    let (_rig, exact) = append_time("append time kept", APPEND_TIME, Some(CREATE_TIME));
    exact.expect_equal().expect_whole_map();
}

#[test]
fn a_mirror_with_times_of_its_own_has_each_record_once() {
    let (_rig, exact) = append_time("append time of the mirror", CREATE_TIME, Some(APPEND_TIME));
    for partition in 0..2 {
        assert_eq!(
            numbers(&exact.source, partition),
            numbers(&exact.mirror, partition)
        );
    }
}

/// Waits until the daemon has said that there is a gap, and returns what it said.
#[track_caller]
fn wait_gap(daemon: &Daemon) -> String {
    wait_until(Duration::from_secs(20), "the gap is named", || {
        daemon.log().contains("gap: source offsets")
    });
    let log = daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("gap: source offsets were deleted"));
    line.unwrap_or_default().to_owned()
}

#[test]
fn records_that_are_deleted_before_they_are_copied_are_named_and_the_rest_is_copied_once() {
    let mut random: StdRng = random("retention");
    let rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(2_000);
    wait_mirrored(&rig.target(), 1_000);
    let_pass(Duration::from_millis(random.random_range(0..1_500)));
    // At this moment more is copied than is on record.
    daemon.process().kill();
    let copied = rig.target().end_offsets(MIRROR)[0];
    super::wait_more(&load, 500);
    let gone_to = copied + 200;
    wait_until(LIMIT, "the source is that long", || {
        rig.source().end_offsets(TOPIC)[0] > gone_to
    });
    rig.source().delete_records(TOPIC, 0, gone_to);
    forget_members(&rig.target.bootstrap());
    daemon.restart();
    load.stop();
    let said = wait_gap(&daemon);
    let exact = finish(&rig.sides(), vec![daemon]);
    exact.expect_ascending().expect_true_map();
    let mirrored = numbers(&exact.mirror, 0);
    let rest = numbers(&exact.source, 0);
    assert!(
        mirrored.ends_with(&rest),
        "what the source still has is not copied as it is"
    );
    let before = &mirrored[..mirrored.len() - rest.len()];
    let before: Vec<u64> = before.iter().copied().flatten().collect();
    assert!(
        before.is_sorted_by(|a, b| a + 1 == *b),
        "what was copied before is there once"
    );
    assert!(
        said.contains(&format!("first={copied}")) && said.contains(&format!("last={}", gone_to - 1)),
        "{said}"
    );
}

/// The source offsets that a daemon has named as gone, in all of its lives.
fn named(log: &str) -> BTreeSet<i64> {
    let number = |line: &str, name: &str| -> Option<i64> {
        let rest = line.split_once(name)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let gaps = log
        .lines()
        .filter(|line| line.contains("gap: source offsets were deleted"));
    let gaps = gaps.filter_map(|line| Some(number(line, "first=")?..=number(line, "last=")?));
    gaps.flatten().collect()
}

#[test]
fn what_retention_deletes_before_it_is_copied_is_named_to_the_offset_and_the_rest_is_there_once() {
    let often = [SOURCE, &["--config", "log.retention.check.interval.ms=100"]].concat();
    let rig = Rig::of(BuiltIn::start(1, &often), BuiltIn::start(1, TARGET), 1);
    let short = [("segment.bytes", "1048576"), ("retention.bytes", "1048576")];
    rig.source().alter_topic(TOPIC, &short);
    let mut daemon = Daemon::start(&rig.topology());
    let shape = Shape {
        rate: Some(40_000),
        partitions: 1,
        compression: "none",
        ..Shape::default()
    };
    let load = Load::start(&rig.source(), TOPIC, shape);
    let mut copied = wait_mirrored(&rig.target(), 1_000);
    for _ in 0..super::kills(3) {
        daemon.process().kill();
        let at_most = rig.source().end_offsets(TOPIC)[0];
        wait_until(LIMIT, "retention deletes what was not copied", || {
            rig.source().watermarks(TOPIC)[0].0 > at_most
        });
        forget_members(&rig.target.bootstrap());
        daemon.respawn();
        copied = wait_mirrored(&rig.target(), copied + 1_000);
    }
    daemon.wait_ready();
    load.stop();
    let end = rig.source().end_offsets(TOPIC)[0];
    super::wait_copied(&rig.sides(), &daemon);
    let named = named(&daemon.log());
    let exact = finish(&rig.sides(), vec![daemon]);
    exact.expect_ascending().expect_true_map();
    // Four records of another kind lie before those that count from 0 on.
    let mirrored = numbers(&exact.mirror, 0)
        .into_iter()
        .flatten()
        .map(|number| number as i64 + 4);
    let mirrored: Vec<i64> = (0..4).chain(mirrored).collect();
    assert!(
        mirrored.is_sorted_by(|a, b| a < b),
        "a record is there twice, or out of its turn"
    );
    let mirrored = BTreeSet::from_iter(mirrored);
    let missing: BTreeSet<i64> = (0..end).filter(|offset| !mirrored.contains(offset)).collect();
    assert!(!missing.is_empty());
    assert!(
        missing == named,
        "{} offsets are missing, {} are named",
        missing.len(),
        named.len()
    );
}
