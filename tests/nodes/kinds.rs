//! Clients of every kind carry on while brokers stop, start, are isolated and pass their leaders on: Java's producer and
//! its consumer of KIP-848, librdkafka's consumer of KIP-848, and a producer that writes in transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rustix::process::Signal;

use super::{LIMIT, TOPIC, client, create, disturb_for, seed};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::process::{Process, temp_dir};
use crate::support::{kafka, wait_for, wait_until};

/// What is written in transactions.
const LEDGER: &str = "ledger";
const PARTITIONS: i32 = 6;
/// What the tool says of a record that it was about to take when it was told to end: it has never been on its way.
const CLOSED: &str = "Producer closed while send in progress";
/// How many records a transaction has.
const RECORDS: usize = 5;
/// How many transactions are committed at least.
const LEAST: usize = 5;
/// For how long brokers come and go.
const DISTURBED: Duration = Duration::from_secs(6);

/// Its thread takes what became of records, which the end of a transaction waits for.
type Transactional = ThreadedProducer<DefaultProducerContext>;

/// How often each value was read.
type Read = BTreeMap<String, usize>;

/// What became of the values that were written in transactions.
#[derive(Debug, Default)]
struct Ledger {
    committed: BTreeSet<String>,
    /// By transaction: those of which nobody knows whether they were committed.
    unknown: Vec<Vec<String>>,
}

#[test]
fn clients_of_every_kind_carry_on_while_brokers_come_and_go() {
    if !kafka::available("clients_of_every_kind_carry_on_while_brokers_come_and_go") {
        return;
    }
    let seed = seed();
    let cluster = InProcess::start(
        3,
        &[
            ("default.replication.factor", "3"),
            ("group.consumer.heartbeat.interval.ms", "300"),
        ],
    );
    let bootstrap = cluster.bootstrap();
    let client = client(bootstrap.clone()).with(&[("socket.timeout.ms", "1000")]);
    create(&client, PARTITIONS, 3);
    client.create_topic(LEDGER, 3, &[]);
    let directory = temp_dir("kinds");
    let mut java_writes = java_producer(&bootstrap, directory.path());
    let mut java_reads = java_consumer(&bootstrap, directory.path());
    let consumer = consumer(&client);
    let mut read = Read::new();
    // Every partition must know the producer before brokers go. Java's sends on to a new leader while its first batches
    // are still out to the old one; a leader that has not heard of the producer takes what it is sent, as Kafka's do, and
    // refuses the first batches for ever when they are sent again.
    wait_until(LIMIT, "both JVMs do their work", || {
        take(&consumer, &mut read);
        let known: BTreeSet<i64> = sent(&java_writes.stdout())
            .filter_map(|event| event["partition"].as_i64())
            .collect();
        known.len() == PARTITIONS as usize && !java_reads.stdout().is_empty()
    });
    let done = AtomicBool::new(false);
    let (ledger, acknowledged) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| write_transactions(&client, &done));
        let disturbing = scope.spawn(|| disturb_for(&cluster, seed, DISTURBED, PARTITIONS));
        while !disturbing.is_finished() {
            take(&consumer, &mut read);
        }
        disturbing.join().expect("disturb the brokers");
        done.store(true, Ordering::Relaxed);
        (
            writing.join().expect("write transactions"),
            end_of(&mut java_writes),
        )
    });
    let count = acknowledged.len();
    assert!(count > 200, "only {count} of Java's records were acknowledged");
    let expected: BTreeSet<&String> = acknowledged.iter().chain(&ledger.committed).collect();
    wait_for(LIMIT, "librdkafka's consumer has read everything", || {
        take(&consumer, &mut read);
        all_read(&expected, &read)
    });
    judge(&expected, &ledger, &read);
    let printed = wait_for(LIMIT, "Java's consumer has read everything", || {
        let mut printed = Read::new();
        let text = java_reads.stdout();
        // The last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .for_each(|line| *printed.entry(line.to_owned()).or_default() += 1);
        all_read(&expected, &printed)
            .map(|()| printed)
            .map_err(|error| format!("{error}\n{}", java_reads.stderr_tail()))
    });
    judge(&expected, &ledger, &printed);
    java_reads.signal(Signal::TERM);
    java_reads.wait(LIMIT);
}

/// What a Java client needs to come back soon from a broker that answers nothing.
const SOON: &str = "request.timeout.ms=1000\nreconnect.backoff.max.ms=200\nretry.backoff.max.ms=100\n\
                    metadata.max.age.ms=1000\nsocket.connection.setup.timeout.ms=1000\n";

/// `kafka-verifiable-producer`, idempotent and with retries, which it has not by default.
fn java_producer(bootstrap: &str, directory: &Path) -> Process {
    let file = directory.join("producer.properties");
    // Small batches, so that it soon writes to every partition.
    let own = "enable.idempotence=true\nretries=2147483647\ndelivery.timeout.ms=90000\nlinger.ms=0\nbatch.size=500\n";
    fs::write(&file, format!("{SOON}{own}")).expect("write the producer's file");
    let arguments = [
        "--bootstrap-server",
        bootstrap,
        "--topic",
        TOPIC,
        "--throughput",
        "400",
        "--command-config",
        &file.to_string_lossy(),
    ];
    kafka::tool_running("kafka-verifiable-producer", &arguments, directory)
}

/// `kafka-console-consumer` with the protocol of KIP-848, on both topics.
fn java_consumer(bootstrap: &str, directory: &Path) -> Process {
    let file = directory.join("consumer.properties");
    fs::write(&file, format!("{SOON}group.protocol=consumer\n")).expect("write the consumer's file");
    let arguments = [
        "--bootstrap-server",
        bootstrap,
        "--include",
        &format!("{TOPIC}|{LEDGER}"),
        "--group",
        "java",
        "--from-beginning",
        "--isolation-level",
        "read_committed",
        "--command-config",
        &file.to_string_lossy(),
    ];
    kafka::tool_running("kafka-console-consumer", &arguments, directory)
}

/// librdkafka's, of committed records of both topics.
fn consumer(client: &Client) -> BaseConsumer {
    let mut config = client.config();
    config
        .set("group.id", "librdkafka")
        .set("group.protocol", "consumer")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().expect("create a consumer");
    consumer.subscribe(&[TOPIC, LEDGER]).expect("subscribe");
    consumer
}

/// Takes what has come, and commits it.
fn take(consumer: &BaseConsumer, read: &mut Read) {
    let mut took = false;
    while let Some(message) = consumer.poll(Duration::from_millis(5)) {
        // Brokers that are away are told of as errors, and are no reason to stop.
        if let Ok(message) = message {
            let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
            *read.entry(value).or_default() += 1;
            took = true;
        }
    }
    if took {
        let _ = consumer.commit_consumer_state(CommitMode::Async);
    }
}

/// What `kafka-verifiable-producer` has printed, without a last line that is not whole yet.
fn sent(printed: &str) -> impl Iterator<Item = serde_json::Value> {
    let whole = printed.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
}

/// Ends the producer, and tells which of its values were acknowledged. It gives none up.
#[track_caller]
fn end_of(producer: &mut Process) -> BTreeSet<String> {
    producer.signal(Signal::TERM);
    producer.wait(LIMIT);
    let printed = producer.stdout();
    let mut acknowledged = BTreeSet::new();
    for event in sent(&printed) {
        match event["name"].as_str() {
            Some("producer_send_success") => {
                acknowledged.insert(event["value"].as_str().expect("a value").to_owned());
            }
            Some("producer_send_error") if event["message"] == CLOSED => {}
            Some("producer_send_error") => panic!("Java's producer gave up a record: {event}"),
            _ => {}
        }
    }
    acknowledged
}

/// Writes transactions, of which every fourth is aborted, until it is told to stop.
fn write_transactions(client: &Client, done: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut producer = transactional(client);
    for number in 0.. {
        // The last one is committed: behind it there is nothing that a reader waits for.
        let last = done.load(Ordering::Relaxed) && ledger.committed.len() >= LEAST * RECORDS;
        let abort = number % 4 == 3 && !last;
        let values: Vec<String> = (0..RECORDS)
            .map(|record| format!("transaction {number} record {record}"))
            .collect();
        match write_one(&producer, &values, abort) {
            Ok(()) if abort => {}
            Ok(()) => {
                ledger.committed.extend(values);
                if last {
                    break;
                }
            }
            // Aborted in the end, or not known because the producer is of no use any more.
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                if producer.abort_transaction(LIMIT).is_err() {
                    producer = transactional(client);
                }
            }
            Err(_) => {
                ledger.unknown.push(values);
                producer = transactional(client);
            }
        }
    }
    ledger
}

fn write_one(producer: &Transactional, values: &[String], abort: bool) -> Result<(), KafkaError> {
    producer.begin_transaction()?;
    for (value, partition) in values.iter().zip([0, 1, 2].into_iter().cycle()) {
        let record = BaseRecord::<(), str>::to(LEDGER)
            .payload(value)
            .partition(partition);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    if abort {
        // What is aborted shall be in the log, or some of it.
        producer.flush(Duration::from_secs(1)).unwrap_or_default();
    }
    loop {
        let outcome = if abort {
            producer.abort_transaction(LIMIT)
        } else {
            producer.commit_transaction(LIMIT)
        };
        match outcome {
            Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
            outcome => return outcome,
        }
    }
}

fn transactional(client: &Client) -> Transactional {
    let mut config = client.with(&[("transactional.id", "ledger")]).config();
    let producer: Transactional = config.set("linger.ms", "2").create().expect("create a producer");
    wait_for(LIMIT, "the transactional id can be used", || {
        producer.init_transactions(LIMIT)
    });
    producer
}

fn all_read(expected: &BTreeSet<&String>, read: &Read) -> Result<(), String> {
    let missing: Vec<_> = expected
        .iter()
        .filter(|value| !read.contains_key(**value))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let some = &missing[..missing.len().min(3)];
    Err(format!(
        "{} of {} are missing, as {some:?}",
        missing.len(),
        expected.len()
    ))
}

/// Everything was read once, and nothing of a transaction that was aborted.
#[track_caller]
fn judge(expected: &BTreeSet<&String>, ledger: &Ledger, read: &Read) {
    let again: Vec<_> = read.iter().filter(|(_, times)| **times > 1).take(3).collect();
    assert!(again.is_empty(), "read more than once: {again:?}");
    for values in &ledger.unknown {
        let there = values.iter().filter(|value| read.contains_key(*value)).count();
        assert!(
            [0, values.len()].contains(&there),
            "half a transaction: {values:?}"
        );
    }
    let maybe: BTreeSet<&String> = ledger.unknown.iter().flatten().collect();
    let foreign = read.keys().find(|value| {
        value.starts_with("transaction") && !expected.contains(value) && !maybe.contains(value)
    });
    assert_eq!(foreign, None, "it was not committed");
}
