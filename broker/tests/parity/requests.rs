//! Requests, and the parts that they are made of.

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode,
    builder::{BatchBuilder, NewRecord},
    message::{
        CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest,
        ListOffsetsRequest, ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        fetch::{FetchPartition, FetchTopic},
        list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
        produce::{PartitionProduceData, TopicProduceData},
    },
};

use crate::{harness::Parity, side::Side};

/// The time of the first record of each batch: long ago, so that it is not taken for now.
pub const THEN: i64 = 1_700_000_000_000;

/// A topic to create.
pub fn topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: -1,
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
            })
            .collect(),
        ..Default::default()
    }
}

/// A request that creates topics.
pub fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics,
        timeout_ms: 20_000,
        validate_only: false,
    }
}

/// How often Kafka is asked whether it has come so far.
const TRIES: usize = 10_000;

impl Parity {
    /// Creates a topic on both clusters, and waits until it can be written to.
    pub async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        self.newest("set up", |_| create(vec![topic(name, partitions, configs)]))
            .await;
        self.ready(name, partitions).await;
    }

    /// Waits until both clusters lead all partitions of a topic, and takes its id down.
    pub async fn ready(&mut self, name: &str, partitions: i32) {
        let all: Vec<_> = (0..partitions).map(|partition| (partition, -1)).collect();
        let request = list_offsets(name, &all);
        tokio::join!(led(&mut self.ours, &request), led(&mut self.kafka, &request));
        self.learn(&[name]).await;
    }

    /// Waits until both clusters answer from all that was changed before: Kafka's broker learns of changes one by one,
    /// after its controller has acknowledged them.
    pub async fn caught_up(&mut self) {
        let name = format!("caught-up-{}", self.requests());
        self.create(&name, 1, &[]).await;
    }

    /// Waits until both clusters have forgotten a topic.
    pub async fn gone(&mut self, name: &str) {
        let request = list_offsets(name, &[(0, -1)]);
        tokio::join!(gone(&mut self.ours, &request), gone(&mut self.kafka, &request));
    }

    /// Waits until both clusters name a coordinator for this key.
    pub async fn coordinated(&mut self, key: &str, key_type: i8) {
        let request = FindCoordinatorRequest {
            key: key.to_owned(),
            key_type,
            ..Default::default()
        };
        tokio::join!(
            coordinated(&mut self.ours, &request),
            coordinated(&mut self.kafka, &request)
        );
    }

    /// Waits until both clusters give producer ids out.
    pub async fn gives_producer_ids(&mut self) {
        tokio::join!(
            gives_producer_ids(&mut self.ours),
            gives_producer_ids(&mut self.kafka)
        );
    }

    /// Appends to partition 0 of a topic on both clusters.
    pub async fn append(&mut self, topic: &str, records: &Bytes) {
        self.newest("set up", |side| produce(side, topic, 0, records.clone()))
            .await;
    }
}

async fn gone(side: &mut Side, request: &ListOffsetsRequest) {
    for _ in 0..TRIES {
        let answer = side.ask(request, 7).await.answer();
        if answer.topics[0].partitions[0].error_code != 0 {
            return;
        }
    }
    panic!("still there after {TRIES} tries: {request:?}");
}

/// Kafka says that a topic is there a moment before its partitions are.
async fn led(side: &mut Side, request: &ListOffsetsRequest) {
    for _ in 0..TRIES {
        let answer = side.ask(request, 7).await.answer();
        if answer
            .topics
            .iter()
            .flat_map(|topic| &topic.partitions)
            .all(|partition| partition.error_code == 0)
        {
            return;
        }
    }
    panic!("no leader after {TRIES} tries: {request:?}");
}

async fn gives_producer_ids(side: &mut Side) {
    let request = InitProducerIdRequest {
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    for _ in 0..TRIES {
        if side.ask(&request, 4).await.answer().error_code == 0 {
            return;
        }
    }
    panic!("no producer id after {TRIES} tries");
}

async fn coordinated(side: &mut Side, request: &FindCoordinatorRequest) {
    for _ in 0..TRIES {
        if side.ask(request, 3).await.answer().error_code == 0 {
            return loaded(side).await;
        }
    }
    panic!("no coordinator after {TRIES} tries: {request:?}");
}

/// Kafka reads what it knows of groups from several partitions, each by itself: as many groups are asked for as it
/// takes to meet them all.
async fn loaded(side: &mut Side) {
    const GROUPS: usize = 20;
    for group in 0..GROUPS {
        let request = HeartbeatRequest {
            group_id: format!("loaded-{group}"),
            ..Default::default()
        };
        for _ in 0..TRIES {
            let error = side.ask(&request, 3).await.answer().error_code;
            if error == ErrorCode::UnknownMemberId.code() {
                break;
            }
        }
    }
}

/// A batch with these values, one millisecond apart.
pub fn batch(values: &[&str]) -> Bytes {
    filled(BatchBuilder::new(), values)
}

/// A finished batch with these values and the keys `k`.
pub fn filled(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (timestamp, value) in (THEN..).zip(values) {
        builder.push(NewRecord {
            timestamp,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build().expect("a batch").into()
}

/// Records for one partition, with acks=all.
pub fn produce(side: &Side, topic: &str, index: i32, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![produce_topic(side, topic, vec![(index, records)])],
        ..Default::default()
    }
}

/// A topic of a produce request.
pub fn produce_topic(side: &Side, topic: &str, partitions: Vec<(i32, Bytes)>) -> TopicProduceData {
    let partitions = partitions.into_iter();
    TopicProduceData {
        name: topic.to_owned(),
        topic_id: side.topic_id(topic),
        partition_data: partitions
            .map(|(index, records)| PartitionProduceData { index, records })
            .collect(),
    }
}

/// A fetch without a session, which does not wait.
pub fn fetch(side: &Side, topic: &str, partitions: &[(i32, i64)]) -> FetchRequest {
    FetchRequest {
        max_bytes: 1 << 20,
        topics: vec![fetch_topic(side, topic, partitions)],
        ..Default::default()
    }
}

/// A topic of a fetch request, with the partitions and their offsets.
pub fn fetch_topic(side: &Side, topic: &str, partitions: &[(i32, i64)]) -> FetchTopic {
    let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchTopic {
        topic: topic.to_owned(),
        topic_id: side.topic_id(topic),
        partitions: partitions.iter().map(partition).collect(),
    }
}

/// Asks for the offsets of these partitions at these times.
pub fn list_offsets(topic: &str, partitions: &[(i32, i64)]) -> ListOffsetsRequest {
    let partition = |&(partition_index, timestamp): &(i32, i64)| ListOffsetsPartition {
        partition_index,
        timestamp,
        ..Default::default()
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: topic.to_owned(),
            partitions: partitions.iter().map(partition).collect(),
        }],
        timeout_ms: 10_000,
        ..Default::default()
    }
}
