//! What must be there after a kill: everything that was acknowledged or seen, as it was, in order, once.

use std::collections::BTreeMap;

use heliostat_wire::{
    Uuid,
    batch::Batches,
    message::{
        FetchRequest, OffsetFetchRequest,
        fetch::{FetchPartition, FetchTopic, PartitionData},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

use crate::{
    client::Client,
    load::{GROUP, PARTITIONS, TOPIC},
    node::Node,
};

/// One partition. Each record has the sequence number that is its offset.
#[derive(Debug, Default, Clone)]
pub struct Partition {
    pub producer_id: i64,
    /// What the log held when it was last read.
    pub records: Vec<String>,
    /// Where its last batch starts.
    pub last_batch: usize,
    /// What was acknowledged since, by offset.
    pub acknowledged: BTreeMap<usize, String>,
    /// What a consumer has seen since, by offset.
    pub seen: BTreeMap<usize, String>,
}

/// The cluster.
#[derive(Debug)]
pub struct Model {
    pub topic_id: Uuid,
    pub partitions: Vec<Partition>,
    /// The last offset whose commit was acknowledged, and the last that was sent.
    pub committed: i64,
    pub sent_commit: i64,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            topic_id: Uuid::ZERO,
            partitions: vec![Partition::default(); usize::try_from(PARTITIONS).unwrap()],
            committed: 0,
            sent_commit: 0,
        }
    }
}

impl Model {
    /// Compares the cluster with the model, which learns what else there is. Reads from so many percent of what is known on.
    pub async fn check(&mut self, node: &Node, percent: usize, context: &str) {
        let mut client = Client::connect(node.address).await;
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            // The last batch is among what was sent again.
            let from = (partition.records.len() * percent / 100).min(partition.last_batch);
            let (found, last_batch) = read(&mut client, self.topic_id, index, from).await;
            let at = |offset: usize| found.get(offset - from).map(String::as_str);
            for (offset, value) in partition.records.iter().enumerate().skip(from) {
                assert_eq!(
                    at(offset),
                    Some(value.as_str()),
                    "partition {index}, offset {offset}, {context}"
                );
            }
            for (what, known) in [
                ("acknowledged", &partition.acknowledged),
                ("seen", &partition.seen),
            ] {
                for (offset, value) in known {
                    assert_eq!(
                        at(*offset),
                        Some(value.as_str()),
                        "{what}, partition {index}, offset {offset}, {context}"
                    );
                }
            }
            partition.records.truncate(from);
            partition.records.extend(found);
            partition.last_batch = last_batch.unwrap_or(partition.last_batch);
            partition.acknowledged.clear();
            partition.seen.clear();
        }
        let committed = fetch_offset(&mut client).await.max(0);
        assert!(
            (self.committed..=self.sent_commit).contains(&committed),
            "{committed} is committed, {} was acknowledged and {} sent, {context}",
            self.committed,
            self.sent_commit
        );
        self.committed = committed;
    }
}

/// The values of all records from `from` to the end, whose offsets must follow each other, and where the last batch of
/// them starts.
async fn read(
    client: &mut Client,
    topic_id: Uuid,
    index: usize,
    from: usize,
) -> (Vec<String>, Option<usize>) {
    let (mut found, mut last_batch) = (Vec::new(), None);
    loop {
        let next = from + found.len();
        let data = fetch(client, topic_id, index, next, 0).await;
        assert_eq!(data.error_code, 0, "offset {next} of partition {index}");
        let records = data.records.into_bytes().unwrap();
        let (values, end) = values(&records, next);
        found.extend(values);
        if end == next {
            assert_eq!(
                usize::try_from(data.high_watermark).unwrap(),
                next,
                "partition {index}"
            );
            return (found, last_batch);
        }
        let last = Batches::new(&records).last().unwrap().unwrap();
        last_batch = usize::try_from(last.header().base_offset).ok();
    }
}

/// Fetches from one partition.
pub async fn fetch(
    client: &mut Client,
    topic_id: Uuid,
    index: usize,
    offset: usize,
    max_wait_ms: i32,
) -> PartitionData {
    let request = fetch_request(topic_id, index, offset, max_wait_ms);
    let mut response = client.send(&request).await;
    response.responses.remove(0).partitions.remove(0)
}

/// A request for what one partition has from `offset` on.
pub fn fetch_request(topic_id: Uuid, index: usize, offset: usize, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition {
        partition: i32::try_from(index).unwrap(),
        fetch_offset: i64::try_from(offset).unwrap(),
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The values from `from` on, and the offset behind the last one.
pub fn values(records: &[u8], from: usize) -> (Vec<String>, usize) {
    let (mut values, mut next) = (Vec::new(), from);
    for batch in Batches::new(records) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let bytes = batch.decompress(1 << 20).unwrap();
        for record in batch.records(&bytes) {
            let record = record.unwrap();
            let offset = usize::try_from(batch.header().offset(record.offset_delta)).unwrap();
            if offset < from {
                continue;
            }
            assert_eq!(offset, next, "an offset is missing or there twice");
            values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            next += 1;
        }
    }
    (values, next)
}

async fn fetch_offset(client: &mut Client) -> i64 {
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        topics: Some(vec![OffsetFetchRequestTopics {
            name: TOPIC.to_owned(),
            partition_indexes: vec![0],
        }]),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        ..Default::default()
    };
    let response = client.send(&request).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.committed_offset
}
