//! Writing and reading as fast as the server allows.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

pub use crate::records::PARTITIONS;
use crate::records::{Shape, write as write_with};
use crate::support::clients::Client;

/// What is written.
pub const SHAPE: Shape = Shape {
    linger_ms: 20,
    ..Shape::LARGE
};
/// The length of a value.
pub const VALUE_BYTES: usize = SHAPE.value_bytes;
/// How long reading may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Writes records to a topic that is there, and returns how long it took until all were acknowledged.
pub fn write(client: &Client, topic: &str, records: u64) -> Duration {
    write_with(client, topic, PARTITIONS, records, SHAPE)
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
