//! A producer that writes in transactions, on librdkafka.

use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::clients::Client;

/// How long a step may take, on a machine that compiles beside it.
const LIMIT: Duration = Duration::from_secs(60);

/// A producer that writes to partition 0 of a topic in transactions; its transactional id is the topic's name.
pub struct Transactional {
    producer: BaseProducer,
    topic: String,
}

impl Transactional {
    /// Initialises it, which ends what one of the same id has left open.
    #[track_caller]
    pub fn new(client: &Client, topic: &str) -> Transactional {
        let producer: BaseProducer = client
            .config()
            .set("transactional.id", topic)
            .create()
            .expect("create a producer");
        producer
            .init_transactions(LIMIT)
            .expect("initialise transactions");
        Transactional {
            producer,
            topic: topic.to_owned(),
        }
    }

    /// Begins a transaction and writes to it.
    #[track_caller]
    pub fn write(&self, values: &[&str]) -> &Transactional {
        self.begin();
        for value in values {
            self.send(BaseRecord::<(), str>::to(&self.topic).payload(value));
        }
        self.producer.flush(LIMIT).expect("flush");
        self
    }

    /// Begins a transaction and writes to it, with keys.
    #[track_caller]
    pub fn write_keyed(&self, records: &[(&str, &str)]) -> &Transactional {
        self.begin();
        for (key, value) in records {
            self.send(BaseRecord::<str, str>::to(&self.topic).key(key).payload(value));
        }
        self.producer.flush(LIMIT).expect("flush");
        self
    }

    /// Ends the transaction.
    #[track_caller]
    pub fn commit(&self) {
        self.try_commit().expect("commit a transaction");
    }

    /// The same, where it may be refused.
    pub fn try_commit(&self) -> Result<(), KafkaError> {
        self.producer.commit_transaction(LIMIT)
    }

    /// Takes it back.
    #[track_caller]
    pub fn abort(&self) {
        self.producer
            .abort_transaction(LIMIT)
            .expect("abort a transaction");
    }

    fn begin(&self) {
        self.producer.begin_transaction().expect("begin a transaction");
    }

    fn send<K: rdkafka::message::ToBytes + ?Sized>(&self, record: BaseRecord<'_, K, str>) {
        let sent = self.producer.send(record.partition(0));
        sent.map_err(|(error, _)| error).expect("produce");
    }
}
