//! What is written: records whose values are half random, with a key of 14 bytes, in batches of the shape that is asked for.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use crate::support::clients::Client;

/// Partitions of the topic, where nothing else is said.
pub const PARTITIONS: i32 = 4;
/// The length of a key.
const KEY_BYTES: usize = 14;
/// How long the last records may take to be acknowledged.
const LIMIT: Duration = Duration::from_secs(120);

/// What records and batches are like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The length of a value. Half of it is random, so that lz4 takes a batch to about two thirds.
    pub value_bytes: usize,
    /// The codec of the batches.
    pub compression: &'static str,
    /// The most bytes of a batch, before compression.
    pub batch_bytes: u32,
    /// The most records of a batch.
    pub batch_records: u32,
    /// How long records wait for others, in milliseconds.
    pub linger_ms: u32,
    /// So many records go to one partition before the next one has its turn.
    pub turn: u64,
}

impl Shape {
    /// Records of 256 bytes in lz4 batches of up to 1 MB, which become full.
    pub const LARGE: Shape = Shape {
        value_bytes: 256,
        compression: "lz4",
        batch_bytes: 1_000_000,
        batch_records: 100_000,
        linger_ms: 100,
        turn: 8_192,
    };

    /// How many records hold this many gigabytes of keys and values.
    pub fn records(&self, gigabytes: f64) -> u64 {
        (gigabytes * 1e9 / self.record_bytes()).ceil() as u64
    }

    /// Gigabytes of keys and values in this many records.
    pub fn gigabytes(&self, records: u64) -> f64 {
        records as f64 * self.record_bytes() / 1e9
    }

    fn record_bytes(&self) -> f64 {
        (KEY_BYTES + self.value_bytes) as f64
    }
}

/// Writes records to a topic that is there, to all of its partitions in turn; returns how long it took until all were acknowledged.
pub fn write(client: &Client, topic: &str, partitions: i32, records: u64, shape: Shape) -> Duration {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .config()
        .set("compression.type", shape.compression)
        .set("linger.ms", shape.linger_ms.to_string())
        .set("batch.size", shape.batch_bytes.to_string())
        .set("batch.num.messages", shape.batch_records.to_string())
        .set("queue.buffering.max.kbytes", "131072")
        .set("enable.idempotence", "true")
        .create()
        .expect("create a producer");
    let random_bytes = shape.value_bytes / 2;
    let mut value = vec![b'.'; shape.value_bytes];
    let mut random = rand::rng();
    let started = Instant::now();
    for number in 0..records {
        let key = format!("{number:0KEY_BYTES$}");
        random.fill(&mut value[..random_bytes]);
        // In turns of some thousands, so that batches of every partition become full.
        let partition = (number / shape.turn % partitions as u64) as i32;
        let mut next = BaseRecord::to(topic)
            .partition(partition)
            .key(&key)
            .payload(&value[..]);
        while let Err((error, again)) = producer.send(next) {
            assert_eq!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::QueueFull),
                "write the data"
            );
            std::thread::sleep(Duration::from_millis(1));
            next = again;
        }
    }
    producer.flush(LIMIT).expect("write the data");
    let took = started.elapsed();
    let written: i64 = client.end_offsets(topic).iter().sum();
    assert_eq!(written as u64, records, "all records are there");
    took
}
