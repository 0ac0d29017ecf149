//! A Kafka client for tests, on librdkafka: an opinion independent of the code under test.
//!
//! Every call blocks, has a deadline, and panics with what it wanted when it fails: in a test nothing else can follow.
//! It may be called from a test's own thread or from within an async runtime.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::raw_headers;
use super::rec::Rec;

/// How long a call may take, on a machine that compiles beside it.
const LIMIT: Duration = Duration::from_secs(60);

/// A cluster, seen from outside. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    config: ClientConfig,
    // Made when first needed: to make and drop a librdkafka client takes a tenth of a second.
    consumer: Arc<OnceLock<BaseConsumer>>,
    admin: Arc<OnceLock<AdminClient<DefaultClientContext>>>,
    reading: Arc<Mutex<()>>,
}

/// How to produce.
#[derive(Clone, Copy, Debug)]
pub struct Producing {
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub compression: &'static str,
    /// Whether the producer is idempotent.
    pub idempotent: bool,
    /// How long records wait for others to fill a batch, in milliseconds.
    pub linger_ms: u32,
}

impl Default for Producing {
    fn default() -> Producing {
        Producing {
            compression: "none",
            idempotent: true,
            linger_ms: 5,
        }
    }
}

/// What became of each record: its partition and offset, or why not.
pub type Delivered = Result<(i32, i64), RDKafkaErrorCode>;

impl Client {
    /// A client of the cluster at `bootstrap`.
    pub fn new(bootstrap: impl Into<String>) -> Client {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("allow.auto.create.topics", "false");
        // Lost connections are what many tests are about; librdkafka may come back quickly, and need not tell.
        config
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "2")
            .set("broker.address.family", "v4");
        // Without this every second small request waits 40 ms for the acknowledgement of the one before.
        config.set("socket.nagle.disable", "true");
        Client {
            config,
            consumer: Arc::default(),
            admin: Arc::default(),
            reading: Arc::default(),
        }
    }

    /// The same with further librdkafka properties.
    pub fn with(&self, properties: &[(&str, &str)]) -> Client {
        let mut config = self.config();
        for (key, value) in properties {
            config.set(*key, *value);
        }
        Client {
            config,
            consumer: Arc::default(),
            admin: Arc::default(),
            reading: Arc::default(),
        }
    }

    /// The librdkafka configuration, to make a client of one's own.
    pub fn config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// Creates a topic, replicated as the cluster likes, with topic configs; waits until it can be used.
    #[track_caller]
    pub fn create_topic(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in configs {
            new = new.set(key, value);
        }
        let created = block_on(self.admin().create_topics([&new], &options()));
        expect_each(&format!("create topic {topic}"), created);
        // The broker that answered knows the topic before the others do.
        super::wait_until(
            LIMIT,
            &format!("topic {topic} has {partitions} partitions"),
            || self.partitions(topic) == Some(partitions),
        );
        // And its leaders must know it too: one that does not may refuse the first batch of a producer and take the second.
        self.watermarks(topic);
    }

    /// Creates a topic without configs if it is not there.
    pub fn ask_to_create(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        // Somebody else may be first, or the one before may still be there.
        let _ = block_on(self.admin().create_topics([&new], &options()));
    }

    /// Deletes a topic, which somebody else may make again at once.
    #[track_caller]
    pub fn ask_to_delete(&self, topic: &str) {
        let deleted = block_on(self.admin().delete_topics(&[topic], &options()));
        expect_each(&format!("delete topic {topic}"), deleted);
    }

    /// Deletes a topic, and waits until it is gone.
    #[track_caller]
    pub fn delete_topic(&self, topic: &str) {
        self.ask_to_delete(topic);
        super::wait_until(LIMIT, &format!("topic {topic} is gone"), || {
            self.partitions(topic).is_none()
        });
    }

    /// Raises a topic's partition count to `partitions`.
    #[track_caller]
    pub fn create_partitions(&self, topic: &str, partitions: i32) {
        let new = NewPartitions::new(topic, partitions as usize);
        let created = block_on(self.admin().create_partitions([&new], &options()));
        expect_each(&format!("give {topic} {partitions} partitions"), created);
        super::wait_until(
            LIMIT,
            &format!("topic {topic} has {partitions} partitions"),
            || self.partitions(topic) == Some(partitions),
        );
    }

    /// Deletes the records of one partition before `offset`.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .expect("a valid offset");
        let deleted = block_on(self.admin().delete_records(&list, &options()));
        let deleted = deleted.unwrap_or_else(|error| panic!("delete records of {topic}: {error}"));
        for element in deleted.elements() {
            element
                .error()
                .unwrap_or_else(|error| panic!("delete records of {topic}: {error}"));
        }
    }

    /// A topic's configs, as the cluster describes them.
    #[track_caller]
    pub fn topic_configs(&self, topic: &str) -> HashMap<String, Option<String>> {
        let described = block_on(
            self.admin()
                .describe_configs([&ResourceSpecifier::Topic(topic)], &options()),
        );
        let mut described = described.unwrap_or_else(|error| panic!("describe {topic}: {error}"));
        let resource = described.pop().expect("one answer to one question");
        let resource = resource.unwrap_or_else(|error| panic!("describe {topic}: {error}"));
        resource
            .entries
            .into_iter()
            .map(|entry| (entry.name, entry.value))
            .collect()
    }

    /// Sets a topic's configs to exactly these, and waits until they are described so. The crate hides a refusal.
    #[track_caller]
    #[expect(
        clippy::disallowed_methods,
        reason = "that it replaces all configs is what is said here"
    )]
    pub fn alter_topic(&self, topic: &str, configs: &[(&str, &str)]) {
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in configs {
            alter = alter.set(key, value);
        }
        let altered = block_on(self.admin().alter_configs([&alter], &options()));
        altered.unwrap_or_else(|error| panic!("alter {topic}: {error}"));
        super::wait_until(LIMIT, &format!("{topic} has {configs:?}"), || {
            let now = self.topic_configs(topic);
            configs
                .iter()
                .all(|(key, value)| now.get(*key).and_then(Option::as_deref) == Some(value))
        });
    }

    /// The topics that the cluster lists.
    #[track_caller]
    pub fn topics(&self) -> Vec<String> {
        let metadata = self.asking().fetch_metadata(None, LIMIT);
        let metadata = metadata.unwrap_or_else(|error| panic!("list topics: {error}"));
        metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned())
            .collect()
    }

    /// A topic's partition count; none where there is no such topic, or it has no leader yet.
    pub fn partitions(&self, topic: &str) -> Option<i32> {
        let metadata = self.asking().fetch_metadata(Some(topic), LIMIT).ok()?;
        let topic = metadata
            .topics()
            .first()
            .filter(|topic| topic.error().is_none())?;
        let led = topic.partitions().iter().all(|partition| partition.leader() >= 0);
        let count = i32::try_from(topic.partitions().len()).ok()?;
        (led && count > 0).then_some(count)
    }

    /// The first offset and the log end of each partition of a topic.
    #[track_caller]
    pub fn watermarks(&self, topic: &str) -> Vec<(i64, i64)> {
        let consumer = self.consumer();
        let partitions = self
            .partitions(topic)
            .unwrap_or_else(|| panic!("there is no topic {topic}"));
        // A leader that has only just been named does not know it yet.
        let watermarks = |partition| {
            super::wait_for(
                LIMIT,
                &format!("the offsets of {topic}-{partition} are known"),
                || consumer.fetch_watermarks(topic, partition, LIMIT),
            )
        };
        (0..partitions).map(watermarks).collect()
    }

    /// The log end of each partition of a topic.
    #[track_caller]
    pub fn end_offsets(&self, topic: &str) -> Vec<i64> {
        self.watermarks(topic).into_iter().map(|(_, end)| end).collect()
    }

    /// Produces records, in order, each to its own partition, and waits until all are acknowledged.
    #[track_caller]
    pub fn produce(&self, topic: &str, records: &[Rec], how: Producing) -> Vec<(i32, i64)> {
        self.produce_in_batches(topic, records, usize::MAX, how)
    }

    /// The same, so many records at a time: those that follow are sent when these are acknowledged.
    #[track_caller]
    pub fn produce_in_batches(
        &self,
        topic: &str,
        records: &[Rec],
        size: usize,
        how: Producing,
    ) -> Vec<(i32, i64)> {
        let delivered = self.try_produce_in_batches(topic, records, size, how);
        let all: Result<Vec<(i32, i64)>, RDKafkaErrorCode> = delivered.into_iter().collect();
        all.unwrap_or_else(|error| panic!("produce {} records to {topic}: {error}", records.len()))
    }

    /// Produces records, and returns what became of each.
    #[track_caller]
    pub fn try_produce(&self, topic: &str, records: &[Rec], how: Producing) -> Vec<Delivered> {
        self.try_produce_in_batches(topic, records, usize::MAX, how)
    }

    fn try_produce_in_batches(
        &self,
        topic: &str,
        records: &[Rec],
        size: usize,
        how: Producing,
    ) -> Vec<Delivered> {
        let deliveries = Deliveries::default();
        let producer: BaseProducer<Deliveries> = self
            .config()
            .set("compression.type", how.compression)
            .set("enable.idempotence", how.idempotent.to_string())
            .set("linger.ms", how.linger_ms.to_string())
            .set("message.max.bytes", "10000000")
            .set("message.timeout.ms", LIMIT.as_millis().to_string())
            .create_with_context(deliveries.clone())
            .expect("create a producer");
        let _ = producer.client().fetch_metadata(Some(topic), LIMIT);
        for (index, record) in records.iter().enumerate() {
            if index > 0 && index % size == 0 {
                producer
                    .flush(LIMIT)
                    .unwrap_or_else(|error| panic!("produce to {topic}: {error}"));
            }
            let mut next = to_send(topic, record, index);
            while let Err((error, again)) = producer.send(next) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                assert!(full, "produce record {index} to {topic}: {error}");
                producer.poll(Duration::from_millis(10));
                next = again;
            }
        }
        producer
            .flush(LIMIT)
            .unwrap_or_else(|error| panic!("produce to {topic}: {error}"));
        let delivered = deliveries.0.lock().expect("no panic while it was held");
        let outcome = |index| {
            delivered
                .get(&index)
                .copied()
                .expect("a flushed record has an outcome")
        };
        (0..records.len()).map(outcome).collect()
    }

    /// Reads a topic from its first records to its present end, by partition and offset.
    #[track_caller]
    pub fn read(&self, topic: &str) -> Vec<Rec> {
        let ends = self.watermarks(topic);
        let mut list = TopicPartitionList::new();
        let filled = ends.iter().enumerate().filter(|(_, (start, end))| start < end);
        for (partition, (start, _)) in filled {
            list.add_partition_offset(topic, partition as i32, Offset::Offset(*start))
                .expect("a valid offset");
        }
        let mut open: BTreeSet<i32> = list
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect();
        if open.is_empty() {
            return Vec::new();
        }
        let _one_reader = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = self.asking();
        consumer.assign(&list).expect("assign partitions");
        let mut records = Vec::new();
        let mut last_progress = Instant::now();
        while !open.is_empty() {
            let stands = last_progress.elapsed() >= LIMIT;
            assert!(
                !stands,
                "reading {topic} stands still at {} records of {ends:?}",
                records.len()
            );
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    last_progress = Instant::now();
                    // What was written after the ends were asked for is not part of this reading.
                    if message.offset() < ends[message.partition() as usize].1 {
                        records.push(received(&message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
                // A broker that was away has left its mark here; the deadline above bounds the retries.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ))) => {}
                Some(Err(error)) => panic!("read {topic}: {error}"),
            }
        }
        consumer.unassign().expect("unassign partitions");
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// A consumer without a group that reads everything, uncommitted records too unless it was told otherwise, and tells
    /// where partitions end.
    pub fn consumer(&self) -> BaseConsumer {
        let isolation = self.config.get("isolation.level").unwrap_or("read_uncommitted");
        self.config()
            // librdkafka wants one for any `assign`; nothing is ever committed to it.
            .set("group.id", "heliostat-tests")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.wait.max.ms", "50")
            .create()
            .expect("create a consumer")
    }

    fn asking(&self) -> &BaseConsumer {
        self.consumer.get_or_init(|| self.consumer())
    }

    fn admin(&self) -> &AdminClient<DefaultClientContext> {
        self.admin
            .get_or_init(|| self.config().create().expect("create an admin client"))
    }
}

/// A record read, as it lies in the log.
pub fn received(message: &rdkafka::message::BorrowedMessage<'_>) -> Rec {
    Rec {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(raw_headers::read).unwrap_or_default(),
    }
}

type ToSend<'a> = BaseRecord<'a, [u8], [u8], usize>;

fn to_send<'a>(topic: &'a str, record: &'a Rec, index: usize) -> ToSend<'a> {
    let mut next = BaseRecord::with_opaque_to(topic, index).partition(record.partition);
    next.key = record.key.as_deref();
    next.payload = record.value.as_deref();
    if record.timestamp != 0 {
        next = next.timestamp(record.timestamp);
    }
    if !record.headers.is_empty() {
        next = next.headers(raw_headers::owned(&record.headers));
    }
    next
}

/// Collects what became of records, by their index.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<HashMap<usize, Delivered>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.0
            .lock()
            .expect("no panic while it was held")
            .insert(index, outcome);
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT))
}

#[track_caller]
fn expect_each<E: Debug>(what: &str, results: Result<Vec<Result<String, E>>, KafkaError>) {
    let results = results.unwrap_or_else(|error| panic!("{what}: {error}"));
    for result in results {
        result.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    }
}

/// Waits for an admin call. On a thread of its own, because a runtime may be running on this one.
fn block_on<T: Send>(call: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("build a runtime");
        scope
            .spawn(move || runtime.block_on(call))
            .join()
            .expect("the admin call does not panic")
    })
}
