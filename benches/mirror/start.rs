//! From the start of the process to the first record in the mirror.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::copier::{self, Flow, Kind};
use crate::ends::Ends;
use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::kafka::{self, Jvm, Kafka};
use crate::support::ports::Ports;
use crate::support::process::temp_dir;
use crate::support::rec::Rec;
use crate::table::{Line, median, print};

const LIMIT: Duration = Duration::from_secs(120);
const RECORDS: usize = 1_000;
const TOPIC: &str = "bench";

/// Runs and prints.
pub fn run(copiers: &[Kind], runs: u32) -> Vec<Line> {
    let mut rows = Vec::new();
    let mut add = |name: &str, seconds: Vec<f64>| {
        let each: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
        rows.push(vec![
            name.to_owned(),
            format!("{:.2} s", median(seconds)),
            each.join(" "),
        ]);
    };
    if copiers.contains(&Kind::Heliostat) {
        add(
            "heliostat, with its two built-in clusters",
            (0..runs).map(|_| built_in()).collect(),
        );
    }
    if kafka::available("the benchmark") {
        let source = Kafka::start_with("source", &[], Jvm::Benchmark("512m"));
        let target = Kafka::start_with("target", &[], Jvm::Benchmark("512m"));
        fill(&source.bootstrap());
        for &kind in copiers {
            let seconds = (0..runs)
                .map(|run| on_kafka(kind, run, &source, &target))
                .collect();
            add(&format!("{}, on running Kafkas", kind.name()), seconds);
        }
    }
    println!();
    print(
        &[
            "from exec to the first record in the mirror",
            "median",
            "each, in seconds",
        ],
        &rows,
    );
    println!("wanted: within 1 s, with built-in clusters and on running Kafkas");
    let cell = |row: &str| {
        let found = rows.iter().find(|cells| cells[0].starts_with(row));
        found.map_or_else(String::new, |cells| cells[1].clone())
    };
    vec![[
        "start to the first record in the mirror".to_owned(),
        "1 s".to_owned(),
        cell("MirrorMaker"),
        format!(
            "{} (with two built-in clusters: {})",
            cell("heliostat, on"),
            cell("heliostat, with")
        ),
    ]]
}

fn on_kafka(kind: Kind, run: u32, source: &Kafka, target: &Kafka) -> f64 {
    let alias = format!("{}-{run}", kind.alias());
    let (source, target) = (source.bootstrap(), target.bootstrap());
    let flow = Flow {
        source: &alias,
        source_bootstrap: &source,
        target_bootstrap: &target,
        topic: TOPIC,
    };
    let directory = temp_dir("bench");
    let mut ends = Ends::new(&target, vec![flow.mirror()], 1);
    let started = Instant::now();
    let _running = kind.start(flow, directory.path());
    ends.wait(1, LIMIT);
    started.elapsed().as_secs_f64()
}

/// The daemon with its clusters: the primary has a filled topic on disk from an earlier life, the standby is new.
fn built_in() -> f64 {
    let directory = temp_dir("bench");
    let (primary, standby) = (directory.path().join("primary"), directory.path().join("standby"));
    let source = InProcess::start_in(1, &[], &primary);
    fill(&source.bootstrap());
    source.stop();
    let ports = Ports::reserve(2);
    let mut ends = Ends::new(
        &super::support::ports::loopback(ports.port(1)).to_string(),
        vec!["primary.bench".to_owned()],
        1,
    );
    let topology = two_built_in(&primary, &standby, &ports);
    let started = Instant::now();
    let _running = copier::heliostat(&topology, directory.path());
    ends.wait(1, LIMIT);
    started.elapsed().as_secs_f64()
}

/// The topology of `topologies/active-standby.yaml`, with these places and ports.
pub fn two_built_in(primary: &Path, standby: &Path, ports: &Ports) -> String {
    let cluster =
        |data: &Path, port: u16| format!("built_in: {{ port: {port}, data: \"{}\" }}", data.display());
    format!(
        "name: bench\nlayout: active-standby\nclusters:\n  primary:\n    {}\n  standby:\n    {}\n\
         primary: primary\nstandby: standby\n",
        cluster(primary, ports.port(0)),
        cluster(standby, ports.port(1))
    )
}

fn fill(bootstrap: &str) {
    let client = Client::new(bootstrap);
    client.create_topic(TOPIC, 1, &[]);
    let records = vec![Rec::new(0, Some(b"key"), Some(&[b'.'; 256])); RECORDS];
    client.produce(TOPIC, &records, Producing::default());
}
