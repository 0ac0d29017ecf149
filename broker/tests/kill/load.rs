//! Producers, consumers and a group, each on a connection of its own, until the node is killed.

use std::{collections::VecDeque, sync::Arc};

use heliostat_wire::{
    Uuid,
    builder::{BatchBuilder, NewRecord},
    message::{
        FetchRequest, FetchResponse, InitProducerIdRequest, OffsetCommitRequest, OffsetCommitResponse,
        ProduceRequest, ProduceResponse, Request, ResponseHeader, decode_message,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        produce::{PartitionProduceData, TopicProduceData},
    },
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    client::Client,
    model::{Model, Partition, fetch_request, values},
    node::Node,
};

pub const TOPIC: &str = "t";
pub const PARTITIONS: i32 = 4;
pub const GROUP: &str = "g";

/// Requests that a producer has on its way: as many as keep its order.
const IN_FLIGHT: usize = 5;

/// What goes on beside each other.
pub struct Load {
    producers: Vec<JoinHandle<Partition>>,
    consumers: Vec<JoinHandle<Partition>>,
    committer: JoinHandle<(i64, i64)>,
}

/// Counts answers, of whatever kind.
pub type Answers = Arc<watch::Sender<u32>>;

impl Load {
    /// Begins, where the model says that everything ended.
    pub fn start(node: &Node, model: &Model, round: u32, count: &Answers) -> Load {
        let (address, id) = (node.address, model.topic_id);
        let mut load = Load {
            producers: Vec::new(),
            consumers: Vec::new(),
            committer: tokio::spawn(commit(address, model.committed, count.clone())),
        };
        for (index, partition) in model.partitions.iter().enumerate() {
            let produced = produce(address, id, index, partition.clone(), round, count.clone());
            load.producers.push(tokio::spawn(produced));
            let consumed = consume(address, id, index, partition.records.len());
            load.consumers.push(tokio::spawn(consumed));
        }
        load
    }

    /// Adds to the model what was acknowledged and seen; to be called after the end of the node.
    pub async fn end(self, model: &mut Model) {
        for (partition, (producer, consumer)) in model
            .partitions
            .iter_mut()
            .zip(self.producers.into_iter().zip(self.consumers))
        {
            partition.acknowledged = producer.await.unwrap().acknowledged;
            partition.seen = consumer.await.unwrap().seen;
        }
        (model.committed, model.sent_commit) = self.committer.await.unwrap();
    }
}

/// Returns when so many requests were answered.
pub async fn wait_for_answers(answers: &Answers, wanted: u32) {
    let mut news = answers.subscribe();
    let waited = tokio::time::timeout(crate::client::PATIENCE, news.wait_for(|count| *count >= wanted));
    waited.await.expect("requests are not answered").unwrap();
}

/// A producer id.
pub async fn producer_id(client: &mut Client) -> i64 {
    let request = InitProducerIdRequest {
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    client.send(&request).await.producer_id
}

/// Produces with several requests on their way until the connection ends. The first one repeats what was last written.
async fn produce(
    address: std::net::SocketAddr,
    topic_id: Uuid,
    index: usize,
    mut partition: Partition,
    round: u32,
    answers: Answers,
) -> Partition {
    let Ok(mut client) = Client::try_connect(address).await else {
        return partition;
    };
    let mut next = partition.records.len();
    let mut waiting = VecDeque::new();
    if next > 0 {
        let first = partition.last_batch;
        let last = partition.records[first..].to_vec();
        let repeated = request(topic_id, index, partition.producer_id, first, &last);
        waiting.push_back((first, last));
        if !write(&mut client, &repeated).await {
            return partition;
        }
    }
    loop {
        while waiting.len() < IN_FLIGHT {
            let count = 1 + (next + index) % 3;
            let batch: Vec<String> = (next..next + count)
                .map(|sequence| format!("{index}/{sequence}/{round}{}", "x".repeat(sequence % 97)))
                .collect();
            let request = request(topic_id, index, partition.producer_id, next, &batch);
            if !write(&mut client, &request).await {
                return partition;
            }
            waiting.push_back((next, batch));
            next += count;
        }
        let Some(response) = read::<ProduceRequest>(&mut client).await else {
            return partition;
        };
        let response: ProduceResponse = response;
        let answer = &response.responses[0].partition_responses[0];
        let (first, batch) = waiting.pop_front().unwrap();
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        assert_eq!(answer.base_offset, i64::try_from(first).unwrap());
        partition.acknowledged.extend((first..).zip(batch));
        answers.send_modify(|count| *count += 1);
    }
}

/// Notes what there is to see until the connection ends.
async fn consume(address: std::net::SocketAddr, topic_id: Uuid, index: usize, from: usize) -> Partition {
    let (mut partition, mut next) = (Partition::default(), from);
    let Ok(mut client) = Client::try_connect(address).await else {
        return partition;
    };
    loop {
        if !write(&mut client, &fetch_request(topic_id, index, next, 1000)).await {
            return partition;
        }
        let Some(response) = read::<FetchRequest>(&mut client).await else {
            return partition;
        };
        let response: FetchResponse = response;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        let (found, end) = values(&data.records.clone().into_bytes().unwrap(), next);
        partition.seen.extend((next..).zip(found));
        next = end;
    }
}

/// Commits larger and larger offsets; returns the last one that was acknowledged, and the last one that was sent.
async fn commit(address: std::net::SocketAddr, from: i64, answers: Answers) -> (i64, i64) {
    let Ok(mut client) = Client::try_connect(address).await else {
        return (from, from);
    };
    let (mut acknowledged, mut sent) = (from, from);
    loop {
        let request = OffsetCommitRequest {
            group_id: GROUP.to_owned(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: TOPIC.to_owned(),
                partitions: vec![OffsetCommitRequestPartition {
                    committed_offset: sent + 1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        if !write(&mut client, &request).await {
            return (acknowledged, sent + 1);
        }
        sent += 1;
        let Some(response) = read::<OffsetCommitRequest>(&mut client).await else {
            return (acknowledged, sent);
        };
        let response: OffsetCommitResponse = response;
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
        acknowledged = sent;
        answers.send_modify(|count| *count += 1);
    }
}

fn request(topic_id: Uuid, index: usize, producer: i64, sequence: usize, batch: &[String]) -> ProduceRequest {
    let mut builder = BatchBuilder::new().producer(producer, 0, i32::try_from(sequence).unwrap());
    for value in batch {
        builder.push(NewRecord {
            timestamp: 1_700_000_000_000,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData {
                index: i32::try_from(index).unwrap(),
                records: builder.build().unwrap().into(),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The answer to a request of this version; `None` if the connection has ended.
pub async fn ask<R: Request>(client: &mut Client, request: &R, version: i16) -> Option<R::Response> {
    client.try_write(request, version).await.ok()?;
    read_version::<R>(client, version).await
}

/// `false` if the connection has ended.
pub async fn write<R: Request>(client: &mut Client, request: &R) -> bool {
    client.try_write(request, *R::KEY.versions().end()).await.is_ok()
}

/// `None` if the connection has ended.
pub async fn read<R: Request>(client: &mut Client) -> Option<R::Response> {
    read_version::<R>(client, *R::KEY.versions().end()).await
}

async fn read_version<R: Request>(client: &mut Client, version: i16) -> Option<R::Response> {
    let mut frame = client.read_frame().await?;
    ResponseHeader::decode(&mut frame, R::KEY, version).unwrap();
    Some(decode_message(frame, version).unwrap())
}
