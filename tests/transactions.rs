//! librdkafka's transactional producer and committed readers on the built-in cluster, which is also killed in the middle.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::wait_until;

const LIMIT: Duration = Duration::from_secs(60);
const INPUT: &str = "input";
const OUTPUT: &str = "output";
const GROUP: &str = "transformers";

/// Errors of single records show in the commit.
struct Silent;

impl ClientContext for Silent {}

impl ProducerContext for Silent {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

type Transactional = BaseProducer<Silent>;

fn producer(client: &Client, id: &str) -> Transactional {
    let mut config = client.with(&[("transactional.id", id)]).config();
    let producer: Transactional = config
        .set("linger.ms", "2")
        .create_with_context(Silent)
        .expect("create a producer");
    let mut outcome = producer.init_transactions(LIMIT);
    while matches!(&outcome, Err(KafkaError::Transaction(error)) if error.is_retriable()) {
        outcome = producer.init_transactions(LIMIT);
    }
    outcome.expect("begin to use the transactional id");
    producer
}

#[track_caller]
fn send(producer: &Transactional, topic: &str, values: &[String]) {
    for value in values {
        let record = BaseRecord::<(), str>::to(topic).payload(value).partition(0);
        producer.send(record).map_err(|(error, _)| error).expect("send");
    }
}

/// A consumer of committed records from the start of the topic's only partition.
fn committed_reader(client: &Client, topic: &str, from: i64) -> BaseConsumer {
    let mut config = client.with(&[("isolation.level", "read_committed")]).config();
    let consumer: BaseConsumer = config
        .set("group.id", GROUP)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .expect("create a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(from))
        .expect("a valid offset");
    consumer.assign(&list).expect("assign");
    consumer
}

/// The next values, until there are no more.
fn read_to_end(consumer: &BaseConsumer) -> Vec<(i64, String)> {
    let mut values = Vec::new();
    wait_until(LIMIT, "the end of the partition", || {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                values.push((message.offset(), String::from_utf8_lossy(value).into_owned()));
                false
            }
            Some(Err(KafkaError::PartitionEOF(_))) => true,
            _ => false,
        }
    });
    values
}

fn values(client: &Client, topic: &str) -> Vec<String> {
    let read = read_to_end(&committed_reader(client, topic, 0));
    read.into_iter().map(|(_, value)| value).collect()
}

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[test]
fn committed_records_are_read_and_aborted_ones_are_not() {
    let built_in = BuiltIn::start(1, &[]);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(OUTPUT, 1, &[]);
    let producer = producer(&client, "one");
    let mut expected = Vec::new();
    for round in 0..6u32 {
        let of_round = numbered(round * 100..round * 100 + 100);
        producer.begin_transaction().expect("begin");
        send(&producer, OUTPUT, &of_round);
        if round % 3 == 1 {
            producer.flush(LIMIT).expect("flush");
            producer.abort_transaction(LIMIT).expect("abort");
        } else {
            producer.commit_transaction(LIMIT).expect("commit");
            expected.extend(of_round);
        }
        assert_eq!(values(&client, OUTPUT), expected, "after round {round}");
    }
    producer.begin_transaction().expect("begin");
    send(&producer, OUTPUT, &numbered(900..910));
    producer.flush(LIMIT).expect("flush");
    assert_eq!(values(&client, OUTPUT), expected, "one is open");
}

#[test]
fn a_second_producer_with_the_same_id_takes_over() {
    let built_in = BuiltIn::start(3, &[]);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(OUTPUT, 1, &[]);
    let first = producer(&client, "one");
    first.begin_transaction().expect("begin");
    send(&first, OUTPUT, &numbered(0..10));
    first.flush(LIMIT).expect("flush");
    let second = producer(&client, "one");
    second.begin_transaction().expect("begin");
    send(&second, OUTPUT, &numbered(10..20));
    second.commit_transaction(LIMIT).expect("commit");
    let refused = first.commit_transaction(LIMIT).expect_err("it was replaced");
    let KafkaError::Transaction(error) = &refused else {
        panic!("{refused}")
    };
    let fenced = [RDKafkaErrorCode::Fenced, RDKafkaErrorCode::InvalidProducerEpoch];
    assert!(error.is_fatal() && fenced.contains(&error.code()), "{error}");
    assert_eq!(values(&client, OUTPUT), numbered(10..20));
}

/// Reads the input from where the group stands, and writes it to the output, offsets and records in one transaction.
fn transform(
    client: &Client,
    id: &str,
    until: i64,
    after_each: &mut dyn FnMut(i64),
) -> Result<(), KafkaError> {
    let producer = producer(client, id);
    let mut next = position(client);
    while next < until {
        let consumer = committed_reader(client, INPUT, next);
        let batch: Vec<_> = read_to_end(&consumer).into_iter().take(20).collect();
        let Some((last, _)) = batch.last() else { continue };
        let end = last + 1;
        producer.begin_transaction()?;
        let written: Vec<String> = batch.iter().map(|(_, value)| format!("seen {value}")).collect();
        send(&producer, OUTPUT, &written);
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(INPUT, 0, Offset::Offset(end))
            .expect("a valid offset");
        let metadata = consumer.group_metadata().expect("metadata of the group");
        producer.send_offsets_to_transaction(&offsets, &metadata, LIMIT)?;
        after_each(end);
        producer.commit_transaction(LIMIT)?;
        next = end;
    }
    Ok(())
}

/// Where the group stands in the input.
fn position(client: &Client) -> i64 {
    let consumer = committed_reader(client, INPUT, 0);
    let mut asked = TopicPartitionList::new();
    asked.add_partition(INPUT, 0);
    let committed = consumer
        .committed_offsets(asked, LIMIT)
        .expect("committed offsets");
    match committed.elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}

#[test]
fn what_is_consumed_transformed_and_produced_is_there_once_even_if_the_broker_is_killed() {
    let mut built_in = BuiltIn::start(1, &[]);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(INPUT, 1, &[]);
    client.create_topic(OUTPUT, 1, &[]);
    let source = producer(&client, "source");
    source.begin_transaction().expect("begin");
    send(&source, INPUT, &numbered(0..200));
    source.commit_transaction(LIMIT).expect("commit");
    let mut kills = 0;
    let mut outcome = transform(&client, "transformer", 200, &mut |end| {
        // In the middle of a transaction, records and offsets sent and nothing decided.
        if end % 60 == 0 {
            built_in.process().kill();
            built_in.restart();
            kills += 1;
        }
    });
    let mut tries = 0;
    while outcome.is_err() && tries < 5 {
        tries += 1;
        outcome = transform(&client, "transformer", 200, &mut |_| ());
    }
    outcome.expect("all is transformed in the end");
    assert!(kills > 0);
    let expected: Vec<String> = numbered(0..200)
        .iter()
        .map(|value| format!("seen {value}"))
        .collect();
    assert_eq!(values(&client, OUTPUT), expected);
    assert_eq!(position(&client), 200);
}
