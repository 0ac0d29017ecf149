//! Many small topics, and then nothing: what it takes to find and copy them, and to keep watch.

use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use crate::copier::{Flow, Kind};
use crate::ends::Ends;
use crate::support::clients::Client;
use crate::support::kafka::{self, Jvm, Kafka};
use crate::support::process::temp_dir;
use crate::table::print;
use crate::usage;

/// How long it may take until all is copied.
const LIMIT: Duration = Duration::from_secs(300);
const PARTITIONS: i32 = 2;
const RECORDS: u64 = 10;
const VALUE: [u8; 256] = [b'.'; 256];
/// After all is copied and before the idle time counts: facts are written, connections settle.
const SETTLE: Duration = Duration::from_secs(5);

/// Runs and prints.
pub fn run(topics: u32, idle: Duration, copiers: &[Kind]) {
    if !kafka::available("the benchmark") {
        return;
    }
    let source = Kafka::start_with("source", &[], Jvm::Benchmark("1g"));
    let names: Vec<String> = (0..topics).map(|number| format!("t-{number}")).collect();
    fill(&Client::new(source.bootstrap()), &names);
    let rows: Vec<Vec<String>> = copiers
        .iter()
        .map(|&kind| copy(kind, &source, &names, idle))
        .collect();
    println!("\n{topics} topics of {PARTITIONS} partitions and {RECORDS} records each:");
    let head = [
        "copier",
        "start to all copied",
        "idle: share of a core",
        "idle: memory",
        "peak memory",
    ];
    print(&head, &rows);
    println!("wanted: 1,000 topics within 4 s, then 1 % of a core and 64 MB");
}

fn fill(client: &Client, names: &[String]) {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .config()
        .set("linger.ms", "5")
        .create()
        .expect("create a producer");
    for name in names {
        client.create_topic(name, PARTITIONS, &[]);
        for number in 0..RECORDS {
            let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(name)
                .partition((number % PARTITIONS as u64) as i32)
                .payload(&VALUE);
            producer
                .send(record)
                .unwrap_or_else(|(error, _)| panic!("write a record: {error}"));
        }
    }
    producer.flush(LIMIT).expect("write the records");
}

fn copy(kind: Kind, source: &Kafka, names: &[String], idle: Duration) -> Vec<String> {
    // Each finds an empty target.
    let target = Kafka::start_with("target", &[], Jvm::Benchmark("1g"));
    let (from, to) = (source.bootstrap(), target.bootstrap());
    let flow = Flow {
        source: kind.alias(),
        source_bootstrap: &from,
        target_bootstrap: &to,
        topic: "t-.*",
    };
    let mirrors = names
        .iter()
        .map(|name| format!("{}.{name}", kind.alias()))
        .collect();
    let directory = temp_dir("bench");
    let mut ends = Ends::new(&to, mirrors, PARTITIONS);
    let started = Instant::now();
    let running = kind.start(flow, directory.path());
    ends.wait(RECORDS * names.len() as u64, LIMIT);
    let took = started.elapsed();
    std::thread::sleep(SETTLE);
    let pid = running.process.pid();
    let (before, since) = (usage::of(pid), Instant::now());
    std::thread::sleep(idle);
    let after = usage::of(pid);
    let share = (after.cpu - before.cpu).as_secs_f64() / since.elapsed().as_secs_f64();
    vec![
        kind.name().to_owned(),
        format!("{:.1} s", took.as_secs_f64()),
        format!("{:.1} %", 100.0 * share),
        format!("{:.0} MB", after.memory as f64 / 1e6),
        format!("{:.0} MB", after.peak_memory as f64 / 1e6),
    ]
}
