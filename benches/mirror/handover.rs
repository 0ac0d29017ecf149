//! How long partitions stand still when daemons come and go: those that move to another daemon, and those that do not.
//!
//! Records are written to every partition all the time; the longest pause between two of a partition in the mirror counts.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use heliostat::observe::status::PartitionStatus;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::kafka::{self, Jvm, Kafka};
use crate::support::wait_for;
use crate::table::{Line, print};

const PARTITIONS: i32 = 6;
const TOPIC: &str = "bench";
const MIRROR: &str = "source.bench";
const FLOW: &str = "source->target";
/// Records a second, over all partitions.
const RATE: u32 = 1_200;
/// How long something may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Until pauses count, and how long is watched after everything has its owner again.
const CALM: Duration = Duration::from_secs(3);
/// How long a daemon may drain.
const END: Duration = Duration::from_secs(20);

/// Runs and prints.
pub fn run(times: u32) -> Vec<Line> {
    let mut rows = Vec::new();
    {
        let (source, target) = (BuiltIn::start(1, &[]), BuiltIn::start(1, &[]));
        rows.extend(measure(
            "built-in",
            &source.bootstrap(),
            &target.bootstrap(),
            times,
        ));
    }
    if kafka::available("the benchmark") {
        let source = Kafka::start_with("source", &[], Jvm::Benchmark("512m"));
        let target = Kafka::start_with("target", &[], Jvm::Benchmark("512m"));
        rows.extend(measure("Kafka", &source.bootstrap(), &target.bootstrap(), times));
    }
    println!(
        "\n{PARTITIONS} partitions, {RATE} records/s; the longest pause of a partition in the mirror, in seconds, each time:"
    );
    print(&["", "those that move", "the others"], &rows);
    println!(
        "wanted: a planned hand-over within 1 s, nothing for the others; after a kill within session_timeout (10 s)"
    );
    let line = |(row, asked): (&Vec<String>, &str)| {
        let ours = format!("{} (the others: {})", row[1], row[2]);
        [
            format!("pause in seconds, {}", row[0]),
            asked.to_owned(),
            String::new(),
            ours,
        ]
    };
    let asked = ["1 s", "1 s", "10 s"].into_iter().cycle();
    rows.iter().zip(asked).map(line).collect()
}

/// When records of each partition have arrived in the mirror.
#[derive(Default)]
struct Arrivals(Mutex<HashMap<i32, Vec<Instant>>>);

impl Arrivals {
    fn note(&self, partition: i32) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(partition).or_default().push(Instant::now());
    }

    /// The longest pause of some partitions from a moment until now.
    fn pause(&self, of: &HashSet<i32>, from: Instant) -> Option<Duration> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let longest = |partition| {
            let seen = all.get(partition).map(Vec::as_slice).unwrap_or_default();
            let first = seen.partition_point(|arrival| *arrival < from);
            let moments = seen[first.saturating_sub(1)..].iter().copied().chain([now]);
            let moments: Vec<Instant> = moments.collect();
            moments.windows(2).map(|pair| pair[1] - pair[0]).max()
        };
        of.iter().filter_map(longest).max()
    }
}

fn measure(name: &str, source: &str, target: &str, times: u32) -> Vec<Vec<String>> {
    let (from, to) = (Client::new(source), Client::new(target));
    from.create_topic(TOPIC, PARTITIONS, &[]);
    let topology = format!(
        "name: bench\nlayout: active-standby\nclusters:\n  source: {{ bootstrap_servers: \"{source}\" }}\n  \
         target: {{ bootstrap_servers: \"{target}\" }}\nprimary: source\nstandby: target\n\
         defaults:\n  topics: {{ include: [\"{TOPIC}\"] }}\n"
    );
    let stays = Daemon::start(&topology);
    wait_for(LIMIT, "there is a mirror", || {
        to.partitions(MIRROR).ok_or("not yet")
    });
    let (arrivals, done) = (Arrivals::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| write(&from, &done));
        scope.spawn(|| read(&to, &arrivals, &done));
        let figures = come_and_go(&stays, &topology, &arrivals, times);
        done.store(true, Ordering::Relaxed);
        figures
            .into_iter()
            .map(|(what, moved, others)| vec![format!("{name}: {what}"), moved, others])
            .collect()
    })
}

fn come_and_go(
    stays: &Daemon,
    topology: &str,
    arrivals: &Arrivals,
    times: u32,
) -> Vec<(&'static str, String, String)> {
    let all: HashSet<i32> = (0..PARTITIONS).collect();
    let mut figures = vec![
        ("a daemon comes", Vec::new()),
        ("it is told to end", Vec::new()),
        ("it is killed", Vec::new()),
    ];
    for turn in 0..2 * times {
        wait_owns(stays, PARTITIONS as usize);
        thread::sleep(CALM);
        let from = Instant::now();
        let mut comes = Daemon::start(topology);
        wait_owns(stays, PARTITIONS as usize / 2);
        wait_owns(&comes, PARTITIONS as usize / 2);
        thread::sleep(CALM);
        let moved = owned(&comes);
        let others: HashSet<i32> = all.difference(&moved).copied().collect();
        let pauses = |from| [&moved, &others].map(|of| arrivals.pause(of, from).unwrap_or_default());
        figures[0].1.push(pauses(from));
        let from = Instant::now();
        if turn % 2 == 0 {
            comes.stop(END);
        } else {
            comes.process().kill();
        }
        wait_owns(stays, PARTITIONS as usize);
        thread::sleep(CALM);
        figures[1 + turn as usize % 2].1.push(pauses(from));
    }
    let each = |figures: &[[Duration; 2]], index: usize| {
        let each = figures
            .iter()
            .map(|pauses| format!("{:.2}", pauses[index].as_secs_f64()));
        each.collect::<Vec<_>>().join(" ")
    };
    let figures = figures.into_iter();
    figures
        .map(|(what, figures)| (what, each(&figures, 0), each(&figures, 1)))
        .collect()
}

fn owned(daemon: &Daemon) -> HashSet<i32> {
    let copies = |partition: &&PartitionStatus| partition.mine && partition.state.is_healthy();
    let flow = daemon.flow(FLOW);
    flow.partitions
        .iter()
        .filter(copies)
        .map(|partition| partition.partition)
        .collect()
}

fn wait_owns(daemon: &Daemon, count: usize) {
    wait_for(LIMIT, &format!("it copies {count} partitions"), || {
        match owned(daemon) {
            owned if owned.len() == count => Ok(()),
            owned => Err(format!("{owned:?}")),
        }
    });
}

fn write(client: &Client, done: &AtomicBool) {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .config()
        .set("linger.ms", "0")
        .create()
        .expect("create a producer");
    let started = Instant::now();
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        let due = started + Duration::from_secs_f64(f64::from(number) / f64::from(RATE));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let partition = (number % PARTITIONS as u32) as i32;
        let record: BaseRecord<'_, (), [u8]> =
            BaseRecord::to(TOPIC).partition(partition).payload(&[b'.'; 256]);
        producer
            .send(record)
            .unwrap_or_else(|(error, _)| panic!("write a record: {error}"));
        number += 1;
    }
}

fn read(client: &Client, arrivals: &Arrivals, done: &AtomicBool) {
    let consumer: BaseConsumer = client.with(&[("auto.offset.reset", "earliest")]).consumer();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(MIRROR, partition, Offset::Beginning)
            .expect("a valid offset");
    }
    consumer.assign(&list).expect("assign partitions");
    while !done.load(Ordering::Relaxed) {
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            arrivals.note(message.partition());
        }
    }
}
