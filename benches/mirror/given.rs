//! What a cluster itself takes to be given topics and records, without anybody who reads them elsewhere: no copier can be faster.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use heliostat_wire::builder::{BatchBuilder, NewRecord};
use heliostat_wire::client::{Client, Config, Lane, Manner, Tcp};
use heliostat_wire::message::create_topics::CreatableTopic;
use heliostat_wire::message::produce::{PartitionProduceData, TopicProduceData};
use heliostat_wire::message::{CreateTopicsRequest, ProduceRequest};

/// As many as a daemon makes with one request.
const CREATED_AT_ONCE: usize = 500;
/// Partitions of so many topics are written to with one request.
const WRITTEN_AT_ONCE: usize = 100;
/// The last version that names topics and gives no ids.
const BY_NAME: i16 = 12;
/// How long to wait before partitions are tried again that are not there yet.
const AGAIN: Duration = Duration::from_millis(50);

/// Makes topics of so many partitions, and writes one batch with `records` to each of them. Returns how long it took.
pub fn give(bootstrap: &str, topics: &[String], partitions: i32, records: u64, limit: Duration) -> Duration {
    let (host, port) = bootstrap.rsplit_once(':').expect("host and port");
    let address = (host.to_owned(), port.parse().expect("a port"));
    let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
    runtime.block_on(async {
        let client = Client::new(Config::new("bench", vec![address]), Arc::new(Tcp));
        let started = Instant::now();
        let node = client.metadata(&[]).await.expect("ask for the brokers").brokers[0].node_id;
        for some in topics.chunks(CREATED_AT_ONCE) {
            create(&client, node, some, partitions).await;
        }
        let all: Vec<(&String, i32)> = topics
            .iter()
            .flat_map(|topic| (0..partitions).map(move |partition| (topic, partition)))
            .collect();
        for some in all.chunks(WRITTEN_AT_ONCE * partitions as usize) {
            let mut missing = some.to_vec();
            loop {
                missing = write(&client, node, missing, records).await;
                if missing.is_empty() {
                    break;
                }
                assert!(started.elapsed() < limit, "{missing:?} cannot be written to");
                tokio::time::sleep(AGAIN).await;
            }
        }
        started.elapsed()
    })
}

async fn create(client: &Client, node: i32, topics: &[String], partitions: i32) {
    let topics = topics.iter().map(|name| CreatableTopic {
        name: name.clone(),
        num_partitions: partitions,
        replication_factor: 1,
        ..CreatableTopic::default()
    });
    let request = CreateTopicsRequest {
        topics: topics.collect(),
        timeout_ms: 60_000,
        ..CreateTopicsRequest::default()
    };
    let answer = client.to(node, Lane(1), request).await.expect("create topics");
    let failed = answer.topics.iter().find(|topic| topic.error_code != 0);
    assert!(failed.is_none(), "{failed:?}");
}

/// Returns the partitions that did not take the records.
async fn write<'a>(
    client: &Client,
    node: i32,
    partitions: Vec<(&'a String, i32)>,
    records: u64,
) -> Vec<(&'a String, i32)> {
    let mut batch = BatchBuilder::new();
    // Old ones would soon be deleted.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let timestamp = now.map_or(0, |now| now.as_millis() as i64);
    for _ in 0..records {
        batch.push(NewRecord {
            timestamp,
            key: None,
            value: Some(&super::topics::VALUE),
            headers: &[],
        });
    }
    let batch: bytes::Bytes = batch.build().expect("a batch").into();
    let topic_data = partitions.iter().map(|(name, index)| TopicProduceData {
        name: (*name).clone(),
        partition_data: vec![PartitionProduceData {
            index: *index,
            records: batch.clone(),
        }],
        ..TopicProduceData::default()
    });
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: topic_data.collect(),
        ..ProduceRequest::default()
    };
    let connection = client.connection(node, Lane(1)).await.expect("a connection");
    let manner = Manner {
        version_max: Some(BY_NAME),
        ..Manner::default()
    };
    let answer = connection
        .start_as(request, manner)
        .await
        .expect("write")
        .await
        .expect("write");
    let refused: Vec<(String, i32)> = answer
        .responses
        .into_iter()
        .flat_map(|topic| {
            let failed = topic
                .partition_responses
                .into_iter()
                .filter(|found| found.error_code != 0);
            let name = topic.name;
            failed
                .map(move |found| (name.clone(), found.index))
                .collect::<Vec<_>>()
        })
        .collect();
    let is_refused = |(name, index): &(&String, i32)| {
        refused
            .iter()
            .any(|(other, number)| other == *name && number == index)
    };
    partitions.into_iter().filter(is_refused).collect()
}
