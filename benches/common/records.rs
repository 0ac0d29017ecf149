//! What is written: records of 256 bytes, half of them random, with a key of 14, in lz4 batches of up to 1 MB.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use crate::support::clients::Client;

/// Partitions of the topic.
pub const PARTITIONS: i32 = 4;
/// The length of a value.
pub const VALUE_BYTES: usize = 256;
/// How much of it is random, so that lz4 takes a batch to about two thirds.
const RANDOM_BYTES: usize = VALUE_BYTES / 2;
/// The length of a key.
const KEY_BYTES: usize = 14;
/// How long the last records may take to be acknowledged.
const LIMIT: Duration = Duration::from_secs(120);

/// How many records hold this many gigabytes of keys and values.
pub fn records(gigabytes: f64) -> u64 {
    (gigabytes * 1e9 / (KEY_BYTES + VALUE_BYTES) as f64).ceil() as u64
}

/// Gigabytes of keys and values in this many records.
pub fn gigabytes(records: u64) -> f64 {
    records as f64 * (KEY_BYTES + VALUE_BYTES) as f64 / 1e9
}

/// Writes records to a topic that is there, which wait so long for others to fill a batch; returns how long it took until
/// all were acknowledged.
pub fn write(client: &Client, topic: &str, records: u64, linger_ms: u32) -> Duration {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .config()
        .set("compression.type", "lz4")
        .set("linger.ms", linger_ms.to_string())
        .set("batch.size", "1000000")
        .set("batch.num.messages", "100000")
        .set("queue.buffering.max.kbytes", "131072")
        .set("enable.idempotence", "true")
        .create()
        .expect("create a producer");
    let mut random = rand::rng();
    let mut value = [b'.'; VALUE_BYTES];
    let started = Instant::now();
    for number in 0..records {
        let key = format!("{number:0KEY_BYTES$}");
        random.fill(&mut value[..RANDOM_BYTES]);
        // In turns of some thousands, so that batches of every partition become full.
        let partition = (number / 8192 % PARTITIONS as u64) as i32;
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
