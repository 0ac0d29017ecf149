//! A filled topic is copied from one Kafka to another, by one copier after the other.

use std::time::{Duration, Instant};

use crate::copier::{Flow, Kind};
use crate::data::Batches;
use crate::ends::Ends;
use crate::records::PARTITIONS;
use crate::support::clients::Client;
use crate::support::kafka::{self, Jvm, Kafka};
use crate::support::process::temp_dir;
use crate::support::proxy::Proxy;
use crate::table::{Line, median, print, thousands};
use crate::{data, usage};

/// How long a copy may take.
const LIMIT: Duration = Duration::from_secs(1800);
/// A broker's heap, enough that it is not what is measured.
const HEAP: &str = "1g";

/// What a copy cost.
#[derive(Clone, Copy, Debug)]
struct Figures {
    records_per_second: f64,
    cpu_per_gb: f64,
    peak_megabytes: f64,
    start_seconds: f64,
}

/// What is copied, and how often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Task {
    /// Gigabytes of keys and values to copy.
    #[arg(long, default_value_t = 1.0)]
    gb: f64,
    /// What the source's batches are like.
    #[arg(long, value_enum, default_value_t = Batches::Large)]
    batches: Batches,
    /// Partitions of the topic.
    #[arg(long, default_value_t = PARTITIONS)]
    partitions: i32,
    /// Milliseconds that a round trip between the copier and the source takes; without it they are on one machine.
    #[arg(long)]
    round_trip: Option<u64>,
    /// How often each of them copies it.
    #[arg(long, default_value_t = 1)]
    runs: u32,
}

impl Task {
    /// Once over so many gigabytes of large batches in the usual partitions; the rest is the caller's to change.
    pub fn of(gb: f64) -> Task {
        Task {
            gb,
            batches: Batches::Large,
            partitions: PARTITIONS,
            round_trip: None,
            runs: 1,
        }
    }

    /// With batches like these.
    pub fn batches(self, batches: Batches) -> Task {
        Task { batches, ..self }
    }

    /// With so many partitions.
    pub fn partitions(self, partitions: i32) -> Task {
        Task { partitions, ..self }
    }

    /// Over a line of so many milliseconds.
    pub fn round_trip(self, milliseconds: u64) -> Task {
        Task {
            round_trip: Some(milliseconds),
            ..self
        }
    }

    fn name(self) -> String {
        let far = self
            .round_trip
            .map_or(String::new(), |ms| format!(", {ms} ms away and back"));
        format!("{} partitions, {}{far}", self.partitions, self.batches.name())
    }

    /// At least how many times MirrorMaker 2's records/s, and at most which part of its CPU.
    fn asked_for(self) -> (f64, f64) {
        match (self.round_trip, self.batches, self.partitions) {
            (None, Batches::Large, partitions) if partitions < 100 => (3.0, 12.0),
            (None, ..) => (1.0, 5.0),
            (Some(_), ..) => (1.0, 1.0),
        }
    }
}

/// Runs and prints.
pub fn run(task: Task, copiers: &[Kind]) -> Vec<Line> {
    if !kafka::available("the benchmark") {
        return Vec::new();
    }
    let line = Proxy::new();
    let source = Kafka::start_behind_with("source", line.port(), &[], Jvm::Benchmark(HEAP));
    let target = Kafka::start_with("target", &[], Jvm::Benchmark(HEAP));
    let from = match task.round_trip {
        Some(milliseconds) => {
            line.delay(Duration::from_millis(milliseconds) / 2);
            line.open(source.proxied());
            line.address().to_string()
        }
        None => source.bootstrap(),
    };
    let shape = task.batches.shape();
    let records = shape.records(task.gb);
    println!(
        "{} records, {} GB of keys and values, {} partitions, {}{}",
        thousands(records as f64),
        task.gb,
        task.partitions,
        task.batches.name(),
        task.round_trip.map_or(String::new(), |ms| format!(
            "; the source is {ms} ms away and back"
        ))
    );
    data::make(
        &Client::new(source.bootstrap()),
        "bench",
        task.partitions,
        records,
        task.batches,
    );
    let mut results: Vec<(Kind, Figures)> = Vec::new();
    for run in 0..task.runs {
        for &kind in copiers {
            let alias = format!("{}-{run}", kind.alias());
            let flow = Flow {
                source: &alias,
                source_bootstrap: &from,
                target_bootstrap: &target.bootstrap(),
                topic: "bench",
            };
            let figures = copy(kind, flow, records, task);
            println!(
                "  {}: {} records/s",
                kind.name(),
                thousands(figures.records_per_second)
            );
            results.push((kind, figures));
        }
    }
    let medians: Vec<(Kind, Figures)> = copiers
        .iter()
        .map(|&kind| (kind, middle(kind, &results)))
        .collect();
    show(&medians);
    lines(task, &medians)
}

fn lines(task: Task, results: &[(Kind, Figures)]) -> Vec<Line> {
    let of = |kind| {
        results
            .iter()
            .find(|(other, _)| *other == kind)
            .map(|(_, figures)| *figures)
    };
    let (Some(ours), Some(theirs)) = (of(Kind::Heliostat), of(Kind::Mm2Tuned)) else {
        return Vec::new();
    };
    let (times, part) = task.asked_for();
    let mut lines = vec![
        [
            format!("records/s: {}", task.name()),
            format!("{times:.0} times"),
            thousands(theirs.records_per_second),
            format!(
                "{} ({:.1} times)",
                thousands(ours.records_per_second),
                ours.records_per_second / theirs.records_per_second
            ),
        ],
        [
            "  cpu-s per GB".to_owned(),
            format!("1/{part:.0}"),
            format!("{:.2}", theirs.cpu_per_gb),
            format!(
                "{:.2} (1/{:.1})",
                ours.cpu_per_gb,
                theirs.cpu_per_gb / ours.cpu_per_gb
            ),
        ],
    ];
    if times > 1.0 {
        lines.push([
            "  peak memory".to_owned(),
            "64 MB".to_owned(),
            format!("{:.0} MB", theirs.peak_megabytes),
            format!("{:.0} MB", ours.peak_megabytes),
        ]);
    }
    lines
}

/// Where the processor time of a copier went, by its threads.
fn profile(name: &str, threads: &[(String, Duration, Duration)]) {
    let all: f64 = threads
        .iter()
        .map(|(_, user, kernel)| (*user + *kernel).as_secs_f64())
        .sum();
    let share = |part: Duration| format!("{:.0} %", 100.0 * part.as_secs_f64() / all.max(0.01));
    let mut rows: Vec<Vec<String>> = threads
        .iter()
        .filter(|(_, user, kernel)| (*user + *kernel).as_secs_f64() > all / 100.0)
        .map(|(name, user, kernel)| vec![name.clone(), share(*user), share(*kernel)])
        .collect();
    let sum = |part: fn(&(String, Duration, Duration)) -> Duration| share(threads.iter().map(part).sum());
    rows.push(vec![
        "all".to_owned(),
        sum(|thread| thread.1),
        sum(|thread| thread.2),
    ]);
    println!("\nWhere {name}'s processor time went, of {all:.1} s:");
    print(&["thread", "its own code", "the kernel"], &rows);
}

fn copy(kind: Kind, flow: Flow<'_>, records: u64, task: Task) -> Figures {
    let directory = temp_dir("bench");
    let mut ends = Ends::new(flow.target_bootstrap, vec![flow.mirror()], task.partitions);
    let started = Instant::now();
    let mut running = kind.start(flow, directory.path());
    let pid = running.process.pid();
    let at_first = ends.wait(1, LIMIT);
    let (first, used_at_first) = (Instant::now(), usage::of(pid));
    ends.wait(records, LIMIT);
    let (last, used) = (Instant::now(), usage::of(pid));
    if kind == Kind::Heliostat {
        profile(kind.name(), &usage::of_threads(pid));
    }
    running.process.kill();
    // From the first records on: the start of a JVM is not the price of copying, and has a column of its own.
    let copied = records - at_first;
    Figures {
        records_per_second: copied as f64 / (last - first).as_secs_f64(),
        cpu_per_gb: (used.cpu - used_at_first.cpu).as_secs_f64() / task.batches.shape().gigabytes(copied),
        peak_megabytes: used.peak_memory as f64 / 1e6,
        start_seconds: (first - started).as_secs_f64(),
    }
}

fn middle(kind: Kind, results: &[(Kind, Figures)]) -> Figures {
    let of = |figure: fn(&Figures) -> f64| {
        median(
            results
                .iter()
                .filter(|(other, _)| *other == kind)
                .map(|(_, figures)| figure(figures))
                .collect(),
        )
    };
    Figures {
        records_per_second: of(|figures| figures.records_per_second),
        cpu_per_gb: of(|figures| figures.cpu_per_gb),
        peak_megabytes: of(|figures| figures.peak_megabytes),
        start_seconds: of(|figures| figures.start_seconds),
    }
}

fn show(results: &[(Kind, Figures)]) {
    let row = |(kind, figures): &(Kind, Figures)| {
        vec![
            kind.name().to_owned(),
            thousands(figures.records_per_second),
            format!("{:.1}", figures.cpu_per_gb),
            format!("{:.0} MB", figures.peak_megabytes),
            format!("{:.1} s", figures.start_seconds),
        ]
    };
    println!();
    let head = [
        "copier",
        "records/s",
        "cpu-s per GB",
        "peak memory",
        "start to first record",
    ];
    print(&head, &results.iter().map(row).collect::<Vec<_>>());
    let of = |kind| {
        results
            .iter()
            .find(|(other, _)| *other == kind)
            .map(|(_, figures)| figures)
    };
    let Some(ours) = of(Kind::Heliostat) else { return };
    for kind in [Kind::Mm2, Kind::Mm2Tuned, Kind::Mm2ExactlyOnce] {
        let Some(theirs) = of(kind) else { continue };
        println!(
            "heliostat beside {}: {:.2} times its records/s, {:.0} % of its CPU per GB, {:.0} % of its memory",
            kind.name(),
            ours.records_per_second / theirs.records_per_second,
            100.0 * ours.cpu_per_gb / theirs.cpu_per_gb,
            100.0 * ours.peak_megabytes / theirs.peak_megabytes
        );
    }
    println!(
        "wanted beside MirrorMaker 2, tuned: with large lz4 batches at least 3 times its records/s, at most 1/12 of its CPU, and 64 MB;\n\
         with others, or 200 partitions, at most 1/5 of its CPU and never slower; over a long line never slower"
    );
}
