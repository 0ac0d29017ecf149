//! Many small topics, and then nothing: what it takes to find and copy them, and to keep watch.
//!
//! A Kafka that makes thousands of partitions forces several files to disk for each. In memory it is the copiers that are compared.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::copier::{Flow, Kind};
use crate::ends::Ends;
use crate::given::give;
use crate::support::kafka::{self, Jvm, Kafka};
use crate::support::process::temp_dir;
use crate::table::{Line, print};
use crate::usage;

/// How long it may take until all is copied.
const LIMIT: Duration = Duration::from_secs(300);
/// Brokers do the same so often with other topics before it counts: their JVMs compile what they have never done, and take half of both cores for it.
const WARM_UPS: u32 = 2;
/// What the topics are called that count.
const COUNTED: &str = "t";
const PARTITIONS: i32 = 2;
const RECORDS: u64 = 10;
/// Of them in each partition.
const EACH: u64 = RECORDS / PARTITIONS as u64;
/// A file system that Linux keeps in memory.
const IN_MEMORY: &str = "/dev/shm";
pub(crate) const VALUE: [u8; 256] = [b'.'; 256];
/// After all is copied and before the idle time counts: facts are written, connections settle.
const SETTLE: Duration = Duration::from_secs(5);
/// Brokers are quiet that use less than this share of a core for so long; after the limit they are taken as they are.
const QUIET_SHARE: f64 = 0.1;
const QUIET_FOR: Duration = Duration::from_secs(2);
const QUIET_LIMIT: Duration = Duration::from_secs(60);

/// Runs and prints.
pub fn run(topics: u32, idle: Duration, copiers: &[Kind], data: Option<PathBuf>) -> Vec<Line> {
    if !kafka::available("the benchmark") {
        return Vec::new();
    }
    if let Some(data) = data.or_else(|| Some(PathBuf::from(IN_MEMORY)).filter(|path| path.is_dir())) {
        tempfile::env::override_temp_dir(&data).expect("nothing else says where data goes");
    }
    let place = tempfile::env::temp_dir();
    let source = Kafka::start_with("source", &[], Jvm::Benchmark("1g"));
    let of =
        |prefix: &str| -> Vec<String> { (0..topics).map(|number| format!("{prefix}-{number}")).collect() };
    let warm_up: Vec<(String, Vec<String>)> = (1..=WARM_UPS)
        .map(|round| format!("round{round}"))
        .map(|prefix| (prefix.clone(), of(&prefix)))
        .collect();
    let names = of(COUNTED);
    for names in warm_up.iter().map(|(_, names)| names).chain([&names]) {
        give(&source.bootstrap(), names, PARTITIONS, EACH, LIMIT);
    }
    let mut rows: Vec<Vec<String>> = copiers
        .iter()
        .map(|&kind| {
            let target = target(topics as usize);
            let rounds = warm_up.iter().map(|(prefix, names)| {
                let [took, ..] = copy(kind, (&source, &target), (prefix, names), Duration::ZERO);
                took
            });
            let rounds: Vec<String> = rounds.collect();
            let [took, share, memory, peak] = copy(kind, (&source, &target), (COUNTED, &names), idle);
            vec![
                kind.name().to_owned(),
                rounds.join(", "),
                took,
                share,
                memory,
                peak,
            ]
        })
        .collect();
    rows.push(without_a_copier(&warm_up, &names));
    let place = place.display();
    println!(
        "\n{topics} topics of {PARTITIONS} partitions and {RECORDS} records each, data of the clusters in {place}:"
    );
    let head = [
        "copier",
        "rounds before",
        "start to all copied",
        "idle: share of a core",
        "idle: memory",
        "peak memory",
    ];
    print(&head, &rows);
    println!("wanted: 1,000 topics within 4 s, then 1 % of a core and 64 MB");
    let cell = |row: &str, column: usize| {
        let found = rows.iter().find(|cells| cells[0].starts_with(row));
        found.map_or_else(String::new, |cells| cells[column].clone())
    };
    let line = |what: &str, asked: &str, column| {
        [
            what.to_owned(),
            asked.to_owned(),
            cell("MirrorMaker", column),
            cell("heliostat", column),
        ]
    };
    let alone = cell("(the target", 2);
    vec![
        line(
            &format!("{topics} topics, data in {place}: start to all copied (the target alone: {alone})"),
            "4 s",
            2,
        ),
        line(
            "  the rounds before, the first on brokers that have never done it",
            "-",
            1,
        ),
        line("  idle: share of a core", "1 %", 3),
        line("  idle: memory", "64 MB", 4),
    ]
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// A cluster of each copier's own, which has as many other topics already: a JVM compiles while it runs, and a broker that has just begun is no
/// cluster that anyone mirrors to.
fn target(topics: usize) -> Kafka {
    let target = Kafka::start_with("target", &[], Jvm::Benchmark("1g"));
    let others: Vec<String> = (0..topics).map(|number| format!("other-{number}")).collect();
    give(&target.bootstrap(), &others, PARTITIONS, 1, LIMIT);
    target
}

/// Waits until brokers have nothing left to compile of what they were just made to do, and the disk nothing left to write of it.
fn wait_quiet(brokers: &[&Kafka]) {
    rustix::fs::sync();
    let used = || -> Duration { brokers.iter().map(|broker| usage::of(broker.pid()).cpu).sum() };
    let started = Instant::now();
    while started.elapsed() < QUIET_LIMIT {
        let before = used();
        std::thread::sleep(QUIET_FOR);
        if used() - before < QUIET_FOR.mul_f64(QUIET_SHARE) {
            return;
        }
    }
}

/// A cluster that is given the same by a client that has it: what is left to a copier is the difference.
fn without_a_copier(warm_up: &[(String, Vec<String>)], names: &[String]) -> Vec<String> {
    let target = target(names.len());
    let take = |names: &[String]| {
        wait_quiet(&[&target]);
        give(&target.bootstrap(), names, PARTITIONS, EACH, LIMIT)
    };
    let rounds: Vec<String> = warm_up.iter().map(|(_, names)| seconds(take(names))).collect();
    let took = seconds(take(names));
    vec![
        "(the target alone)".to_owned(),
        rounds.join(", "),
        took,
        "-".into(),
        "-".into(),
        "-".into(),
    ]
}

/// Starts a copier on the topics that begin so, and looks at it when all is copied: how long it took, its share of a core, its memory and the most of it.
fn copy(
    kind: Kind,
    (source, target): (&Kafka, &Kafka),
    (prefix, names): (&str, &[String]),
    idle: Duration,
) -> [String; 4] {
    let (from, to) = (source.bootstrap(), target.bootstrap());
    let flow = Flow {
        source: kind.alias(),
        source_bootstrap: &from,
        target_bootstrap: &to,
        topic: &format!("{prefix}-.*"),
    };
    let mirrors = names
        .iter()
        .map(|name| format!("{}.{name}", kind.alias()))
        .collect();
    let directory = temp_dir("bench");
    wait_quiet(&[source, target]);
    let mut ends = Ends::new(&to, mirrors, PARTITIONS);
    let started = Instant::now();
    let running = kind.start(flow, directory.path());
    ends.wait_each(RECORDS, LIMIT);
    let took = started.elapsed();
    std::thread::sleep(SETTLE);
    let pid = running.process.pid();
    let (before, since) = (usage::of(pid), Instant::now());
    std::thread::sleep(idle);
    let after = usage::of(pid);
    running.end();
    let share = (after.cpu - before.cpu).as_secs_f64() / since.elapsed().as_secs_f64();
    [
        seconds(took),
        format!("{:.1} %", 100.0 * share),
        format!("{:.0} MB", after.memory as f64 / 1e6),
        format!("{:.0} MB", after.peak_memory as f64 / 1e6),
    ]
}
