//! What is written and read: records of 256 bytes, half of them random, with a key of 14, in lz4 batches.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::clients::Client;

/// Partitions of the topic.
pub const PARTITIONS: i32 = 4;
/// The length of a value.
pub const VALUE_BYTES: usize = 256;
/// How much of it is random, so that lz4 takes a batch to about two thirds.
const RANDOM_BYTES: usize = VALUE_BYTES / 2;
/// The length of a key.
const KEY_BYTES: usize = 14;
/// How long the last records may take to be acknowledged, and the first to be read.
const LIMIT: Duration = Duration::from_secs(120);

/// How many records hold this many gigabytes of keys and values.
pub fn records(gigabytes: f64) -> u64 {
    (gigabytes * 1e9 / (KEY_BYTES + VALUE_BYTES) as f64).ceil() as u64
}

/// Gigabytes of keys and values in this many records.
pub fn gigabytes(records: u64) -> f64 {
    records as f64 * (KEY_BYTES + VALUE_BYTES) as f64 / 1e9
}

/// Writes records to a topic that is there, and returns how long it took until all were acknowledged.
pub fn write(client: &Client, topic: &str, records: u64) -> Duration {
    let producer: ThreadedProducer<DefaultProducerContext> = client
        .config()
        .set("compression.type", "lz4")
        .set("linger.ms", "20")
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

/// Reads a topic from its beginning until it has this many records, and returns how long it took.
pub fn read(client: &Client, topic: &str, records: u64) -> Duration {
    // librdkafka's own defaults, but for the pause after a full queue, which is a second.
    let consumer: BaseConsumer = client
        .config()
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "2")
        .create()
        .expect("create a consumer");
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, Offset::Beginning)
            .expect("a valid offset");
    }
    let started = Instant::now();
    consumer.assign(&list).expect("assign partitions");
    let mut read = 0;
    let mut bytes = 0;
    while read < records {
        assert!(started.elapsed() < LIMIT, "{read} of {records} records were read");
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            let message = message.expect("read a record");
            read += 1;
            bytes += message.payload().map_or(0, <[u8]>::len);
        }
    }
    assert_eq!(bytes as u64, records * VALUE_BYTES as u64, "values are whole");
    started.elapsed()
}
