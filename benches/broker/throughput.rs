//! Writing and reading at full speed, by librdkafka and by Kafka's own perf tools.

use std::time::Duration;

use crate::asked::Line;
use crate::load::{self, PARTITIONS, VALUE_BYTES};
use crate::server::{Kind, Server};
use crate::support::kafka;
use crate::table::{median, print, thousands};

const TOPIC: &str = "bench";
/// What Kafka's perf tools write to and read from.
const PERF_TOPIC: &str = "perf";

/// How long a perf tool may take.
const PERF: Duration = Duration::from_secs(600);

/// What a server has done.
struct Work {
    records: u64,
    gigabytes: f64,
    took: Duration,
    cpu: Duration,
}

/// What is done, and the share of Kafka's processor time that is asked for.
const ASKED: [(&str, f64); 4] = [
    ("librdkafka writes", 1.0 / 2.0),
    ("librdkafka reads", 1.0 / 3.0),
    ("kafka-producer-perf-test", 1.0 / 2.0),
    ("kafka-consumer-perf-test", 1.0 / 3.0),
];

/// Runs and prints; returns what is asked for.
pub fn run(gigabytes: f64, servers: &[Kind], runs: u32) -> Vec<Line> {
    let (mut rows, mut done) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        for &kind in servers {
            let Some(mut server) = kind.start() else { continue };
            println!("{}, run {run}", kind.name());
            let mut works = with_librdkafka(&mut server, gigabytes);
            if kafka::available("the benchmark") {
                works.extend(with_perf_tools(&mut server, gigabytes));
            }
            rows.extend(works.iter().map(|(what, work)| row(kind, what, work)));
            done.extend(works.into_iter().map(|(what, work)| (kind, what, work)));
            let peak = server.usage().peak_memory as f64 / 1e6;
            rows.push(vec![
                format!("{}: peak memory", kind.name()),
                String::new(),
                String::new(),
                format!("{peak:.0} MB"),
            ]);
        }
    }
    println!();
    print(&["", "records/s", "MB/s", "the server's cpu-s per GB"], &rows);
    asked(&done)
}

/// Of several runs the middle one counts.
fn asked(done: &[(Kind, &'static str, Work)]) -> Vec<Line> {
    let figure = |kind: Kind, what: &str, of: fn(&Work) -> f64| {
        let all = done.iter().filter(|(who, did, _)| (*who, *did) == (kind, what));
        Some(median(all.map(|(.., work)| of(work)).collect())).filter(|figure| !figure.is_nan())
    };
    let mut lines = Vec::new();
    for kind in [Kind::HeliostatOs, Kind::Heliostat] {
        for (what, share) in ASKED {
            let both = |of| Some((figure(Kind::Kafka, what, of)?, figure(kind, what, of)?));
            let name = kind.name();
            if let Some((kafka, found)) = both(Work::cpu_per_gigabyte) {
                let what = format!("{name}: {what}, cpu-s per GB");
                let written = |seconds| format!("{seconds:.2}");
                lines.push(Line::at_most_of_kafkas(what, share, kafka, found, written));
            }
            if let Some((kafka, found)) = both(Work::rate) {
                let what = format!("{name}: {what}, records/s");
                lines.push(Line::at_least_kafkas(what, kafka, found, thousands));
            }
        }
    }
    lines
}

impl Work {
    fn rate(&self) -> f64 {
        self.records as f64 / self.took.as_secs_f64()
    }

    fn cpu_per_gigabyte(&self) -> f64 {
        self.cpu.as_secs_f64() / self.gigabytes
    }
}

fn with_librdkafka(server: &mut Server, gigabytes: f64) -> Vec<(&'static str, Work)> {
    let client = server.client();
    let records = load::SHAPE.records(gigabytes);
    client.create_topic(TOPIC, PARTITIONS, &[("retention.ms", "-1")]);
    // A JVM compiles while it runs: the first records are not counted.
    client.create_topic("warm-up", PARTITIONS, &[]);
    load::write(&client, "warm-up", records / 4);
    load::read(&client, "warm-up", records / 4);
    let written = during(server, records, || load::write(&client, TOPIC, records));
    let read = during(server, records, || load::read(&client, TOPIC, records));
    vec![(ASKED[0].0, written), (ASKED[1].0, read)]
}

fn with_perf_tools(server: &mut Server, gigabytes: f64) -> Vec<(&'static str, Work)> {
    let client = server.client();
    let records = (gigabytes * 1e9 / VALUE_BYTES as f64) as u64;
    client.create_topic(PERF_TOPIC, PARTITIONS, &[("retention.ms", "-1")]);
    let bootstrap = server.bootstrap();
    let count = records.to_string();
    let servers = format!("bootstrap.servers={bootstrap}");
    let size = VALUE_BYTES.to_string();
    let produce = [
        "--topic",
        PERF_TOPIC,
        "--num-records",
        &count,
        "--record-size",
        &size,
        "--throughput",
        "-1",
        "--producer-props",
        &servers,
        "acks=all",
        "compression.type=lz4",
        "batch.size=262144",
        "linger.ms=10",
    ];
    let consume = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        PERF_TOPIC,
        "--messages",
        &count,
        "--timeout",
        "60000",
    ];
    let perf = |gigabytes: f64, records: u64, took: Duration, cpu: Duration| Work {
        records,
        gigabytes,
        took,
        cpu,
    };
    let total = records as f64 * VALUE_BYTES as f64 / 1e9;
    let before = server.usage().cpu;
    let printed = tool("kafka-producer-perf-test", &produce);
    let cpu = server.usage().cpu - before;
    let written = perf(total, records, records_per_second(&printed, records), cpu);
    let before = server.usage().cpu;
    let printed = tool("kafka-consumer-perf-test", &consume);
    let cpu = server.usage().cpu - before;
    let read = perf(total, records, fetch_time(&printed), cpu);
    vec![(ASKED[2].0, written), (ASKED[3].0, read)]
}

fn tool(name: &str, arguments: &[&str]) -> String {
    let output = kafka::tool_within(PERF, name, arguments);
    assert!(output.status.success(), "{name}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The last line says "N records sent, R records/sec (M MB/sec), …".
fn records_per_second(printed: &str, records: u64) -> Duration {
    let line = printed.lines().rev().find(|line| line.contains("records/sec"));
    let rate = line.and_then(|line| {
        line.split(',')
            .nth(1)?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    let rate = rate.unwrap_or_else(|| panic!("no records/sec in {printed:?}"));
    Duration::from_secs_f64(records as f64 / rate)
}

/// The columns are named in the first line; fetching, without joining a group, is one of them, in milliseconds.
fn fetch_time(printed: &str) -> Duration {
    let mut lines = printed.lines().filter(|line| line.contains(','));
    let head: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .collect();
    let column = head.iter().position(|&name| name == "fetch.time.ms");
    let cell = lines.next().and_then(|line| line.split(',').nth(column?));
    let milliseconds = cell.and_then(|cell| cell.trim().parse::<f64>().ok());
    let milliseconds = milliseconds.unwrap_or_else(|| panic!("no fetch.time.ms in {printed:?}"));
    Duration::from_secs_f64(milliseconds / 1e3)
}

fn during(server: &mut Server, records: u64, work: impl FnOnce() -> Duration) -> Work {
    let before = server.usage().cpu;
    let took = work();
    Work {
        records,
        gigabytes: load::SHAPE.gigabytes(records),
        took,
        cpu: server.usage().cpu - before,
    }
}

fn row(kind: Kind, what: &str, work: &Work) -> Vec<String> {
    let seconds = work.took.as_secs_f64();
    vec![
        format!("{}: {what}", kind.name()),
        thousands(work.rate()),
        thousands(work.gigabytes * 1e3 / seconds),
        format!("{:.2}", work.cpu_per_gigabyte()),
    ]
}
