//! What is live stays quick beside what catches up, and what is merged is not kept back for it.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use super::{FLOW, LIMIT, ends, fill, partitions, topology};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape};

/// How long a record may take to the mirror, on a machine whose cores are all busy with producing, mirroring and reading. Who waits for a
/// backlog waits for [`BACKLOG_SECONDS`] under a limit.
const QUICK: Duration = Duration::from_secs(2);
const BACKLOG_SECONDS: usize = 6;

/// How long one may take that is merged with others, beside nothing else.
const MERGED: Duration = Duration::from_secs(1);

/// Sends one record at a time to a partition, and waits until it is on the mirror.
struct Ping {
    topic: String,
    partition: i32,
    producer: BaseProducer,
    consumer: BaseConsumer,
    count: u64,
}

impl Ping {
    /// The mirror topic has so many partitions, and no records yet.
    #[track_caller]
    fn new(from: &Client, to: &Client, topic: &str, partition: i32) -> Ping {
        let producer = from.config().set("linger.ms", "0").create();
        let mirror = format!("source.{topic}");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&mirror, partition, Offset::Beginning)
            .expect("a valid offset");
        let consumer = to.with(&[("fetch.wait.max.ms", "20")]).consumer();
        consumer.assign(&list).expect("assign a partition");
        Ping {
            topic: topic.to_owned(),
            partition,
            producer: producer.expect("a producer"),
            consumer,
            count: 0,
        }
    }

    fn send(&mut self) {
        self.count += 1;
        let value = self.count.to_string();
        let record: BaseRecord<'_, (), str> = BaseRecord::to(&self.topic)
            .partition(self.partition)
            .payload(&value);
        self.producer
            .send(record)
            .unwrap_or_else(|(error, _)| panic!("{error}"));
    }

    /// Whether the last one arrives within a time.
    fn arrives(&self, limit: Duration) -> Option<()> {
        let began = Instant::now();
        while began.elapsed() < limit {
            self.producer.poll(Duration::ZERO);
            let Some(Ok(found)) = self.consumer.poll(Duration::from_millis(2)) else {
                continue;
            };
            if found.payload() == Some(self.count.to_string().as_bytes()) {
                return Some(());
            }
        }
        None
    }

    /// How long one takes.
    #[track_caller]
    fn ping(&mut self) -> Duration {
        let began = Instant::now();
        self.send();
        assert!(self.arrives(LIMIT).is_some(), "it never arrived");
        began.elapsed()
    }
}

/// Pings a partition while others catch up with a backlog; returns how long each ping took.
#[track_caller]
fn beside(
    settings: &str,
    backlog: &str,
    partitions_behind: i32,
    bytes: usize,
    live: (&str, i32),
) -> Vec<Duration> {
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
    let [from, to] = clusters
        .each_ref()
        .map(|cluster| Client::new(cluster.bootstrap()));
    for topic in [backlog, live.0] {
        if from.partitions(topic).is_none() {
            from.create_topic(topic, partitions_behind.max(live.1 + 1), &[]);
        }
    }
    fill(&from, backlog, 0..partitions_behind, bytes);
    let ends: Vec<(i32, i64)> = ends(&from, backlog)
        .into_iter()
        .take(partitions_behind as usize)
        .collect();
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    to.create_topic(
        &format!("source.{}", live.0),
        partitions_behind.max(live.1 + 1),
        &[],
    );
    let mut ping = Ping::new(&from, &to, live.0, live.1);
    let daemon = Daemon::start(&topology(&source, &target, settings));
    // All partitions begin at about the same time. The target takes some megabytes at a time, and its time with each.
    let fault =
        json!({ "kind": "delay", "api": "Produce", "topic": format!("source.{backlog}"), "delay_ms": 10 });
    clusters[1].add_fault(fault);
    ping.ping();

    let is_behind = || {
        let found = partitions(&daemon, backlog);
        ends.iter().any(|&(partition, end)| {
            let found = found.iter().find(|found| found.partition == partition);
            found.and_then(|found| found.position) < Some(end)
        })
    };
    let mut took = Vec::new();
    loop {
        let one = ping.ping();
        if !is_behind() {
            break;
        }
        took.push(one);
    }
    took.sort_unstable();
    eprintln!(
        "{} pings beside {partitions_behind} partitions of {backlog}{settings}: {took:?}",
        took.len()
    );
    took
}

#[track_caller]
fn expect_quick(took: &[Duration]) {
    assert!(
        !took.is_empty(),
        "nothing was behind any more when the first came"
    );
    let longest = took.last().copied().unwrap_or_default();
    assert!(longest < QUICK, "{took:?}");
}

#[test]
fn a_live_topic_is_quick_beside_sixteen_partitions_that_catch_up() {
    expect_quick(&beside("", "backlog", 16, 5_000_000, ("live", 0)));
}

#[test]
fn a_live_topic_is_quick_beside_others_that_use_up_a_limit_of_bytes_a_second() {
    let limit = ", limits: { bytes_per_second: 4MB }";
    let bytes = BACKLOG_SECONDS * 4_000_000 / 16;
    expect_quick(&beside(limit, "backlog", 16, bytes, ("live", 0)));
}

#[test]
fn a_hot_partition_does_not_starve_a_cold_one() {
    let limit = ", limits: { bytes_per_second: 20MB }";
    expect_quick(&beside(limit, "orders", 1, 40_000_000, ("orders", 1)));
}

#[test]
fn small_batches_that_are_merged_arrive_soon() {
    const RECORDS: usize = 600;
    const RATE: u32 = 300;
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
    let [from, to] = clusters
        .each_ref()
        .map(|cluster| Client::new(cluster.bootstrap()));
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    from.create_topic("orders", 1, &[]);
    to.create_topic("source.orders", 1, &[]);
    let mut ping = Ping::new(&from, &to, "orders", 0);
    let daemon = Daemon::start(&topology(&source, &target, ""));
    ping.ping();
    // So many requests are under way at a time that what comes meanwhile is worth merging.
    let fault = json!({ "kind": "delay", "api": "Produce", "topic": "source.orders", "delay_ms": 20 });
    clusters[1].add_fault(fault);
    let alone = from.with(&[("batch.num.messages", "1")]);
    let shape = Shape {
        rate: Some(RATE),
        ..Shape::default()
    };
    let load = Load::start(&alone, "orders", shape);
    let began = Instant::now();
    let mut late = Vec::new();
    while late.len() < RECORDS {
        assert!(began.elapsed() < LIMIT, "{} records arrived", late.len());
        let Some(Ok(found)) = ping.consumer.poll(Duration::from_millis(2)) else {
            continue;
        };
        let written = found.timestamp().to_millis().expect("a time");
        late.push(Duration::from_millis(
            (now_ms() - written).try_into().unwrap_or(0),
        ));
    }
    drop(load);
    // The load's producer has to find its connections first, with its records waiting.
    let mut late = late.split_off(RECORDS / 2);
    late.sort_unstable();
    let batches = daemon.flow(FLOW).batches;
    eprintln!("{batches:?}, the latest came after {:?}", late.last());
    assert!(batches.merged > 0, "{batches:?}");
    let longest = late.last().copied().unwrap_or_default();
    assert!(longest < MERGED, "{longest:?}");
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis().try_into().expect("a time")
}
