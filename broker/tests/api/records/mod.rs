//! Records: produced, fetched, looked up, deleted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use heliostat_broker::{Cluster, ClusterConfig};
use heliostat_wire::{
    ErrorCode, Payload, Uuid,
    batch::Batches,
    builder::{BatchBuilder, NewRecord},
    message::{
        DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, InitProducerIdRequest,
        ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        fetch::{FetchPartition, FetchTopic, PartitionData},
        list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic},
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData},
    },
};

mod compaction;
mod converted;
mod durable;
mod lookup;
mod transfer;

use crate::client::{Client, PATIENCE, start, start_nodes};

pub const NOW: i64 = 1_700_000_000_000;

/// A batch with these values, one millisecond apart.
pub fn batch(values: &[&str]) -> Bytes {
    fill(BatchBuilder::new(), values)
}

pub fn fill(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (timestamp, value) in (NOW..).zip(values) {
        builder.push(NewRecord {
            timestamp,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build().unwrap().into()
}

/// The values of all records from `offset` on.
pub fn values(records: &Payload) -> Vec<String> {
    let records = records
        .clone()
        .into_bytes()
        .expect("what was received is in memory");
    let records = records.as_ref();
    let mut values = Vec::new();
    for batch in Batches::new(records) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let bytes = batch.decompress(1 << 20).unwrap();
        for record in batch.records(&bytes) {
            values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
        }
    }
    values
}

pub async fn id_of(client: &mut Client, topic: &str) -> Uuid {
    client.metadata(&[topic]).await.topics[0].topic_id
}

pub fn produce_request(topic_id: Uuid, index: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData { index, records }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub async fn produce(
    client: &mut Client,
    topic: &str,
    index: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let topic_id = id_of(client, topic).await;
    let mut response = client.send(&produce_request(topic_id, index, records)).await;
    response.responses.remove(0).partition_responses.remove(0)
}

pub fn from_offset(partition: i32, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    }
}

pub fn fetch_request(topic_id: Uuid, partitions: Vec<FetchPartition>) -> FetchRequest {
    FetchRequest {
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    }
}

pub async fn fetch(client: &mut Client, topic: &str, offset: i64) -> PartitionData {
    let topic_id = id_of(client, topic).await;
    only(
        client
            .send(&fetch_request(topic_id, vec![from_offset(0, offset)]))
            .await,
    )
}

pub fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!((response.error_code, response.session_id), (0, 0));
    response.responses.remove(0).partitions.remove(0)
}

pub async fn list(
    client: &mut Client,
    topic: &str,
    version: i16,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: vec![ListOffsetsPartition {
                timestamp,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    client
        .send_version(&request, version)
        .await
        .topics
        .remove(0)
        .partitions
        .remove(0)
}
