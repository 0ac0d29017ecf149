//! From the producer's send until a record can be read: on the source itself, and in the mirror.
//!
//! Producer and consumers are in this process and read one clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::copier::{self, Flow, Kind};
use crate::start::two_built_in;
use crate::support::clients::Client;
use crate::support::kafka::{self, Jvm, Kafka};
use crate::support::ports::{Ports, loopback};
use crate::support::process::temp_dir;
use crate::support::wait_for;
use crate::table::{self, Line, print};

/// Not counted: connections are made, topics found, code compiled by a JVM.
const WARM_UP: Duration = Duration::from_secs(30);
/// How long a copier may take until it copies.
const START: Duration = Duration::from_secs(120);
/// How long the last records may take.
const END: Duration = Duration::from_secs(30);
const VALUE_BYTES: usize = 256;
const TOPIC: &str = "bench";

/// Where records are written, and where their copies are.
struct Route {
    source: Client,
    target: Client,
    mirror: String,
}

/// Runs and prints.
pub fn run(rate: u32, seconds: u32, copiers: &[Kind]) -> Vec<Line> {
    let measured = Duration::from_secs(u64::from(seconds));
    let mut rows = Vec::new();
    if copiers.contains(&Kind::Heliostat) {
        let directory = temp_dir("bench");
        let ports = Ports::reserve(2);
        let (primary, standby) = (directory.path().join("primary"), directory.path().join("standby"));
        let _running = copier::heliostat(&two_built_in(&primary, &standby, &ports), directory.path());
        let client = |index| Client::new(loopback(ports.port(index)).to_string());
        let route = Route {
            source: client(0),
            target: client(1),
            mirror: format!("primary.{TOPIC}"),
        };
        route.source.create_topic(TOPIC, 1, &[]);
        rows.extend(measure("heliostat, built-in clusters", &route, rate, measured));
    }
    if kafka::available("the benchmark") {
        for &kind in copiers {
            let source = Kafka::start_with("source", &[], Jvm::Benchmark("512m"));
            let target = Kafka::start_with("target", &[], Jvm::Benchmark("512m"));
            let (from, to) = (source.bootstrap(), target.bootstrap());
            let flow = Flow {
                source: kind.alias(),
                source_bootstrap: &from,
                target_bootstrap: &to,
                topic: TOPIC,
            };
            let route = Route {
                source: Client::new(&from),
                target: Client::new(&to),
                mirror: flow.mirror(),
            };
            route.source.create_topic(TOPIC, 1, &[]);
            let directory = temp_dir("bench");
            let _running = kind.start(flow, directory.path());
            rows.extend(measure(
                &format!("{}, Kafka", kind.name()),
                &route,
                rate,
                measured,
            ));
        }
    }
    println!("\n{rate} records/s of {VALUE_BYTES} bytes, one partition, {seconds} s; from send to read:");
    print(&["", "p50", "p99", "max", "records"], &rows);
    println!("wanted on Kafka: p50 at most 1.5 ms and p99 at most 6 ms above reading on the source");
    let milliseconds = |row: &str, column: usize| {
        let found = rows.iter().find(|cells| cells[0] == row)?;
        found[column].strip_suffix(" ms")?.parse::<f64>().ok()
    };
    let above = |kind: Kind, column| {
        let of = |side: &str| milliseconds(&format!("{}, Kafka: {side}", kind.name()), column);
        let (source, mirror) = of("on the source").zip(of("in the mirror"))?;
        Some(format!("{:.1} ms", mirror - source))
    };
    let theirs = |column| {
        let exactly_once = above(Kind::Mm2ExactlyOnce, column);
        let exactly_once = exactly_once.map_or_else(String::new, |delay| format!(" (exactly once: {delay})"));
        above(Kind::Mm2, column).unwrap_or_default() + &exactly_once
    };
    let line = |what: &str, asked: &str, column| {
        let ours = above(Kind::Heliostat, column).unwrap_or_default();
        [what.to_owned(), asked.to_owned(), theirs(column), ours]
    };
    vec![
        line(
            &format!("latency at {rate}/s above reading on the source, p50"),
            "1.5 ms",
            1,
        ),
        line("  p99", "6 ms", 2),
    ]
}

/// Two rows: reading on the source, and reading in the mirror.
fn measure(name: &str, route: &Route, rate: u32, measured: Duration) -> Vec<Vec<String>> {
    wait_for(
        START,
        &format!("{name}: there is a topic {}", route.mirror),
        || route.target.partitions(&route.mirror).ok_or("not yet"),
    );
    let clock = Instant::now();
    let total = ((WARM_UP + measured).as_secs_f64() * f64::from(rate)) as u64;
    let done = AtomicBool::new(false);
    let (on_source, in_mirror) = thread::scope(|scope| {
        let read = |client: &Client, topic: &str| reader(client, topic);
        let (source, mirror) = (read(&route.source, TOPIC), read(&route.target, &route.mirror));
        let done = &done;
        let on_source = scope.spawn(move || delays(&source, clock, total, done));
        let in_mirror = scope.spawn(move || delays(&mirror, clock, total, done));
        write(&route.source, clock, rate, total);
        // Whoever has all of them by then has ended already.
        let end = Instant::now() + END;
        while !(on_source.is_finished() && in_mirror.is_finished()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
        done.store(true, Ordering::Relaxed);
        (
            on_source.join().expect("the reader ends"),
            in_mirror.join().expect("the reader ends"),
        )
    });
    vec![
        table::delays(&format!("{name}: on the source"), on_source, 1),
        table::delays(&format!("{name}: in the mirror"), in_mirror, 1),
    ]
}

fn write(client: &Client, clock: Instant, rate: u32, total: u64) {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .config()
        .set("linger.ms", "0")
        .set("enable.idempotence", "true")
        .create()
        .expect("create a producer");
    let started = Instant::now();
    for number in 0..total {
        let due = started + Duration::from_secs_f64(number as f64 / f64::from(rate));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut value = [b'.'; VALUE_BYTES];
        value[..8].copy_from_slice(&(clock.elapsed().as_nanos() as u64).to_be_bytes());
        let record: BaseRecord<'_, (), [u8]> = BaseRecord::to(TOPIC).partition(0).payload(&value[..]);
        producer
            .send(record)
            .unwrap_or_else(|(error, _)| panic!("write a record: {error}"));
    }
    producer.flush(END).expect("write the last records");
}

fn reader(client: &Client, topic: &str) -> BaseConsumer {
    let consumer = client.with(&[("auto.offset.reset", "earliest")]).consumer();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .expect("a valid offset");
    consumer.assign(&list).expect("assign a partition");
    consumer
}

/// The delay of each record that was sent after the warm-up.
fn delays(consumer: &BaseConsumer, clock: Instant, total: u64, done: &AtomicBool) -> Vec<Duration> {
    let mut delays = Vec::new();
    let mut read = 0;
    while read < total && !done.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let now = clock.elapsed();
        let stamp = message
            .payload()
            .and_then(|value| value.first_chunk())
            .copied()
            .unwrap_or_default();
        let sent = Duration::from_nanos(u64::from_be_bytes(stamp));
        read += 1;
        if sent > WARM_UP {
            delays.push(now.saturating_sub(sent));
        }
    }
    delays
}
