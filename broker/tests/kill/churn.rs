//! A topic that is created, written, cut from the front, deleted and created again, and a group's offsets in transactions,
//! by one client until the node is killed; and what must hold of them afterwards.

use std::net::SocketAddr;

use heliostat_wire::{
    Uuid,
    builder::{BatchBuilder, NewRecord},
    message::{
        AddOffsetsToTxnRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
        EndTxnRequest, OffsetFetchRequest, ProduceRequest, Request, TxnOffsetCommitRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics::DeleteTopicState,
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        produce::{PartitionProduceData, TopicProduceData},
        txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;

use crate::{
    client::{self, Client},
    load::{TOPIC, ask},
    model::{fetch, values},
    node::Node,
    table::{Kind, Writer},
};

/// The topic that comes and goes.
const NAME: &str = "churned";
const GROUP: &str = "churners";
/// Kafka's numbers of UNKNOWN_TOPIC_OR_PARTITION and UNKNOWN_TOPIC_ID.
const UNKNOWN_TOPIC: i16 = 3;
const UNKNOWN_TOPIC_ID: i16 = 100;

/// Whether the topic is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum There {
    #[default]
    No,
    Yes,
    /// To create it was asked for, and not answered.
    Coming,
    /// To delete it was asked for, and not answered.
    Going,
}

/// What is known of the topic and of the group.
#[derive(Debug, Clone, Default)]
pub struct Churn {
    there: There,
    topic_id: Uuid,
    /// The id of the topic of that name that was deleted last.
    deleted: Option<Uuid>,
    /// How many topics of that name were deleted.
    pub generation: usize,
    /// Records that were sent, and that were acknowledged. A record's value is its generation and its offset.
    sent: usize,
    acknowledged: usize,
    /// Where the log was asked to begin, and where it does for certain.
    asked_start: usize,
    start: usize,
    /// The offset that is committed, and what may be in its place: the one of a transaction whose end is not known.
    committed: i64,
    undecided: Option<i64>,
    /// How many transactions were committed.
    pub transactions: usize,
}

/// A client at work.
struct Session {
    client: Client,
    known: Churn,
    random: StdRng,
    /// Whether it speaks the second generation of the transactional protocol.
    second: bool,
    producer: (i64, i16),
}

impl Churn {
    /// Begins, where the last one ended.
    pub fn start(&self, node: &Node, random: &mut StdRng) -> JoinHandle<Churn> {
        let (address, known, seed) = (node.address, self.clone(), random.random());
        tokio::spawn(async move { run(address, known, seed).await })
    }

    /// Compares the cluster with what is known, and learns how what was not answered has ended.
    pub async fn check(&mut self, node: &Node, context: &str) {
        let mut client = Client::connect(node.address).await;
        writer().init(&mut client).await.expect("the node is there");
        let committed = committed(&mut client).await.max(0);
        assert!(
            committed == self.committed || Some(committed) == self.undecided,
            "{committed} is committed in a transaction, {self:?}, {context}"
        );
        (self.committed, self.undecided) = (committed, None);

        if let Some(id) = self.deleted {
            let code = fetch(&mut client, id, 0, 0, 0).await.error_code;
            assert_eq!(code, UNKNOWN_TOPIC_ID, "it was deleted, {self:?}, {context}");
        }
        let metadata = client.metadata(&[NAME]).await;
        let topic = &metadata.topics[0];
        let there = topic.error_code != UNKNOWN_TOPIC;
        assert!(!there || topic.error_code == 0, "{topic:?}, {context}");
        match (self.there, there) {
            (There::No, false) | (There::Coming, false) => self.there = There::No,
            (There::Going, false) => self.gone(),
            (There::Coming, true) => self.come(topic.topic_id),
            (There::Yes | There::Going, true) => {
                assert_eq!(topic.topic_id, self.topic_id, "{self:?}, {context}");
                self.there = There::Yes;
            }
            (There::Yes, false) | (There::No, true) => {
                panic!("the topic is there: {there}, {self:?}, {context}")
            }
        }
        if there {
            self.read(&mut client, context).await;
        }
    }

    fn come(&mut self, id: Uuid) {
        (self.there, self.topic_id) = (There::Yes, id);
        (self.sent, self.acknowledged, self.asked_start, self.start) = (0, 0, 0, 0);
    }

    fn gone(&mut self) {
        (self.there, self.deleted) = (There::No, Some(self.topic_id));
        self.generation += 1;
    }

    /// Everything that was acknowledged is there, as it was, from where the log begins.
    async fn read(&mut self, client: &mut Client, context: &str) {
        let start = fetch(client, self.topic_id, 0, self.asked_start, 0).await;
        assert_eq!(start.error_code, 0, "{self:?}, {context}");
        let start = usize::try_from(start.log_start_offset).unwrap();
        assert!(
            [self.start, self.asked_start].contains(&start),
            "the log begins at {start}, {self:?}, {context}"
        );
        let mut next = start;
        loop {
            let data = fetch(client, self.topic_id, 0, next, 0).await;
            assert_eq!(data.error_code, 0, "offset {next}, {self:?}, {context}");
            let (found, end) = values(&data.records.into_bytes().unwrap(), next);
            for (offset, value) in (next..).zip(found) {
                assert_eq!(value, self.value(offset), "offset {offset}, {self:?}, {context}");
            }
            if end == next {
                break;
            }
            next = end;
        }
        assert!(
            (self.acknowledged..=self.sent).contains(&next),
            "the log ends at {next}, {self:?}, {context}"
        );
        (self.sent, self.acknowledged) = (next, next);
        (self.start, self.asked_start) = (start, start);
    }

    fn value(&self, offset: usize) -> String {
        format!("{}/{offset}{}", self.generation, "x".repeat(offset % 53))
    }
}

/// Who writes the group's offsets.
fn writer() -> Writer {
    Writer {
        number: 100,
        kind: Kind::Transactional,
        attempts: Vec::new(),
    }
}

async fn run(address: SocketAddr, known: Churn, seed: u64) -> Churn {
    let Ok(client) = Client::try_connect(address).await else {
        return known;
    };
    let mut random = StdRng::seed_from_u64(seed);
    let second = random.random();
    let mut session = Session {
        client,
        known,
        random,
        second,
        producer: (-1, -1),
    };
    // It ends when the connection does.
    let _ = session.work().await;
    session.known
}

impl Session {
    async fn work(&mut self) -> Option<()> {
        let answer = writer().init(&mut self.client).await?;
        self.producer = (answer.producer_id, answer.producer_epoch);
        loop {
            if self.known.there == There::No {
                self.create().await?;
            }
            for _ in 0..self.random.random_range(1..6) {
                match self.random.random_range(0..4) {
                    0 => self.cut().await?,
                    1 => self.transaction().await?,
                    _ => self.produce().await?,
                }
            }
            if self.random.random_ratio(1, 2) {
                self.delete().await?;
            }
        }
    }

    async fn create(&mut self) -> Option<()> {
        let configs = [("internal.segment.bytes", "2000"), ("retention.ms", "-1")];
        let request = CreateTopicsRequest {
            topics: vec![client::topic(NAME, 1, &configs)],
            timeout_ms: 30_000,
            validate_only: false,
        };
        self.known.there = There::Coming;
        (self.known.sent, self.known.acknowledged) = (0, 0);
        let answer = self.ask(&request, 7).await?;
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
        self.known.come(answer.topics[0].topic_id);
        Some(())
    }

    async fn delete(&mut self) -> Option<()> {
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(NAME.to_owned()),
                ..Default::default()
            }],
            timeout_ms: 30_000,
            ..Default::default()
        };
        self.known.there = There::Going;
        let answer = self.ask(&request, 6).await?;
        assert_eq!(answer.responses[0].error_code, 0, "{answer:?}");
        self.known.gone();
        Some(())
    }

    async fn produce(&mut self) -> Option<()> {
        let mut batch = BatchBuilder::new();
        for _ in 0..self.random.random_range(1..8) {
            let value = self.known.value(self.known.sent);
            batch.push(NewRecord {
                timestamp: 1_700_000_000_000,
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            });
            self.known.sent += 1;
        }
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                topic_id: self.known.topic_id,
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: batch.build().unwrap().into(),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.ask(&request, 13).await?;
        let answer = &answer.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        self.known.acknowledged = self.known.sent;
        Some(())
    }

    /// Takes away the front of the log.
    async fn cut(&mut self) -> Option<()> {
        let known = &mut self.known;
        let offset = self.random.random_range(known.start..=known.acknowledged);
        known.asked_start = offset;
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: NAME.to_owned(),
                partitions: vec![DeleteRecordsPartition {
                    partition_index: 0,
                    offset: i64::try_from(offset).unwrap(),
                }],
            }],
            timeout_ms: 30_000,
        };
        let answer = self.ask(&request, 2).await?;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{answer:?}");
        self.known.start = offset;
        Some(())
    }

    /// Commits the next offset in a transaction, which has one of both ends.
    async fn transaction(&mut self) -> Option<()> {
        let (transactional_id, (producer_id, producer_epoch)) = (writer().transactional_id(), self.producer);
        if !self.second {
            let request = AddOffsetsToTxnRequest {
                transactional_id: transactional_id.clone(),
                producer_id,
                producer_epoch,
                group_id: GROUP.to_owned(),
            };
            assert_eq!(self.ask(&request, 3).await?.error_code, 0);
        }
        let offset = self.known.committed + 1;
        let request = TxnOffsetCommitRequest {
            transactional_id: transactional_id.clone(),
            group_id: GROUP.to_owned(),
            producer_id,
            producer_epoch,
            generation_id: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: TOPIC.to_owned(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let answer = self.ask(&request, if self.second { 5 } else { 3 }).await?;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{answer:?}");
        let commit = self.random.random_ratio(2, 3);
        let request = EndTxnRequest {
            transactional_id,
            producer_id,
            producer_epoch,
            committed: commit,
        };
        self.known.undecided = commit.then_some(offset);
        let answer = self.ask(&request, if self.second { 5 } else { 4 }).await?;
        assert_eq!(answer.error_code, 0);
        self.known.undecided = None;
        if commit {
            self.known.committed = offset;
            self.known.transactions += 1;
        }
        if self.second {
            self.producer = (answer.producer_id, answer.producer_epoch);
        }
        Some(())
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        ask(&mut self.client, request, version).await
    }
}

/// What is committed, once nothing is pending.
async fn committed(client: &mut Client) -> i64 {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: GROUP.to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.to_owned(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        }],
        require_stable: true,
        ..Default::default()
    };
    let response = client.send(&request).await;
    let partition = &response.groups[0].topics[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.committed_offset
}
