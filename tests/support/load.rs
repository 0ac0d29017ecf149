//! A load: a thread that writes numbered records and remembers which of them were acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::clients::Client;

/// How long the last records may take to be acknowledged once the load stops.
const FLUSH: Duration = Duration::from_secs(120);

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Records a second over all partitions; none: as many as the cluster takes.
    pub rate: Option<u32>,
    /// Partitions to write to, in turn.
    pub partitions: i32,
    /// The length of a value, at least what its number needs.
    pub value_bytes: usize,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: &'static str,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            rate: Some(1_000),
            partitions: 1,
            value_bytes: 64,
            compression: "none",
        }
    }
}

/// A running load. Dropping it stops the writing without asking what became of it.
#[derive(Debug)]
pub struct Load {
    name: String,
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
    thread: Option<JoinHandle<()>>,
}

/// What a load wrote.
#[derive(Clone, Debug)]
pub struct Written {
    /// The load's name, which is in every value and is every record's key.
    pub name: String,
    /// The numbers that were acknowledged, by partition. They count from 0 in each partition.
    pub acknowledged: BTreeMap<i32, Vec<u64>>,
    /// Records whose outcome is a failure; they may be in the log all the same.
    pub failed: u64,
}

impl Load {
    /// Starts to write to `topic`, which has the shape's partitions. The producer is idempotent and never gives up a
    /// record before the load's end, so that a partition's acknowledged numbers have no holes.
    pub fn start(client: &Client, topic: &str, shape: Shape) -> Load {
        let acknowledged = Acknowledged::default();
        let producer: ThreadedProducer<Acknowledged> = client
            .config()
            .set("enable.idempotence", "true")
            .set("compression.type", shape.compression)
            .set("linger.ms", "5")
            .set("message.timeout.ms", "0")
            .create_with_context(acknowledged.clone())
            .expect("create a producer");
        let name = super::unique("load");
        let stop = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            producer,
            topic: topic.to_owned(),
            name: name.clone(),
            shape,
            stop: Arc::clone(&stop),
        };
        let thread = thread::Builder::new()
            .name(name.clone())
            .spawn(move || writer.run());
        Load {
            name,
            stop,
            acknowledged,
            thread: Some(thread.expect("start a thread")),
        }
    }

    /// How many records are acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.count.load(Ordering::Relaxed)
    }

    /// Stops writing, waits for the last acknowledgements, and tells what was written.
    #[track_caller]
    pub fn stop(mut self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is joined only once");
        thread
            .join()
            .unwrap_or_else(|_| panic!("{} could not write what it had to", self.name));
        let outcome = self
            .acknowledged
            .outcome
            .lock()
            .expect("no panic while it was held");
        Written {
            name: self.name.clone(),
            acknowledged: outcome.numbers.clone(),
            failed: outcome.failed,
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The number in a value that the load `name` wrote.
pub fn number(name: &str, value: &[u8]) -> Option<u64> {
    let rest = std::str::from_utf8(value)
        .ok()?
        .strip_prefix(name)?
        .strip_prefix(' ')?;
    rest.split(' ').next()?.parse().ok()
}

fn value(name: &str, number: u64, length: usize) -> String {
    let text = format!("{name} {number} ");
    format!("{text:.<length$}")
}

struct Writer {
    producer: ThreadedProducer<Acknowledged>,
    topic: String,
    name: String,
    shape: Shape,
    stop: Arc<AtomicBool>,
}

impl Writer {
    fn run(self) {
        let started = Instant::now();
        let partitions = self.shape.partitions as u64;
        for count in 0u64.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            self.keep_pace(started, count);
            self.send((count % partitions) as i32, count / partitions);
        }
        self.producer
            .flush(FLUSH)
            .unwrap_or_else(|error| panic!("flush {}: {error}", self.topic));
    }

    fn keep_pace(&self, started: Instant, count: u64) {
        if let Some(rate) = self.shape.rate {
            let due = started + Duration::from_secs_f64(count as f64 / f64::from(rate));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn send(&self, partition: i32, number: u64) {
        let value = value(&self.name, number, self.shape.value_bytes);
        let mut next = BaseRecord::with_opaque_to(&self.topic, number as usize)
            .partition(partition)
            .key(self.name.as_bytes())
            .payload(value.as_bytes());
        while let Err((error, again)) = self.producer.send(next) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full, "produce to {}: {error}", self.topic);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            thread::sleep(Duration::from_millis(1));
            next = again;
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Acknowledged {
    count: Arc<AtomicU64>,
    outcome: Arc<Mutex<Outcome>>,
}

#[derive(Debug, Default)]
struct Outcome {
    numbers: BTreeMap<i32, Vec<u64>>,
    failed: u64,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut outcome = self.outcome.lock().expect("no panic while it was held");
        match result {
            Ok(message) => {
                outcome
                    .numbers
                    .entry(message.partition())
                    .or_default()
                    .push(number as u64);
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => outcome.failed += 1,
        }
    }
}
