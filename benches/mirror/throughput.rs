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
use crate::table::{median, print, thousands};
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

/// Runs and prints.
pub fn run(task: Task, copiers: &[Kind]) {
    if !kafka::available("the benchmark") {
        return;
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
