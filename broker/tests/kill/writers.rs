//! Writers and readers of a compacted topic, each on a connection of its own, until the node is killed.

use std::net::SocketAddr;

use heliostat_wire::{
    Uuid,
    builder::{BatchBuilder, NewRecord},
    message::{
        AddPartitionsToTxnRequest, EndTxnRequest, FetchRequest, FetchResponse, InitProducerIdResponse,
        ProduceRequest, Request,
        add_partitions_to_txn::AddPartitionsToTxnTopic,
        produce::{PartitionProduceData, TopicProduceData},
    },
    record::HeaderView,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;

use crate::{
    client::Client,
    load::{Answers, ask, read, write},
    node::Node,
    table::{
        Attempt, Fate, KEYS, Kind, Place, Row, TABLE, TABLE_PARTITIONS, Table, Writer, committed,
        fetch_request,
    },
};

/// What goes on beside each other.
pub struct Writers {
    writers: Vec<JoinHandle<Writer>>,
    readers: Vec<JoinHandle<Vec<(i64, Place)>>>,
}

/// The generation of the protocol: the versions of its requests.
#[derive(Debug, Clone, Copy)]
struct Generation {
    /// Whether partitions have to be added to the transaction first.
    adds: bool,
    produce: i16,
    end: i16,
}

const FIRST: Generation = Generation {
    adds: true,
    produce: 11,
    end: 4,
};
const SECOND: Generation = Generation {
    adds: false,
    produce: 13,
    end: 5,
};

/// A writer at work.
struct Session {
    client: Client,
    topic_id: Uuid,
    writer: Writer,
    generation: Generation,
    producer_id: i64,
    epoch: i16,
    sequences: [i32; TABLE_PARTITIONS as usize],
    random: StdRng,
    answers: Answers,
}

impl Writers {
    /// Begins, with transactions that are drawn.
    pub fn start(node: &Node, table: &Table, random: &mut StdRng, answers: &Answers) -> Writers {
        let address = node.address;
        let writers = table.writers.iter().map(|writer| {
            let (writer, answers) = (writer.clone(), answers.clone());
            let (seed, topic_id) = (random.random(), table.topic_id);
            tokio::spawn(async move { run(address, topic_id, writer, seed, answers).await })
        });
        let writers = writers.collect();
        let readers = (0..TABLE_PARTITIONS)
            .zip(&table.ends)
            .map(|(partition, end)| tokio::spawn(follow(address, table.topic_id, partition, *end)));
        Writers {
            writers,
            readers: readers.collect(),
        }
    }

    /// Adds to what is known what was acknowledged and seen; to be called after the end of the node.
    pub async fn end(self, table: &mut Table) {
        for (known, writer) in table.writers.iter_mut().zip(self.writers) {
            *known = writer.await.unwrap();
        }
        for (seen, reader) in table.seen.iter_mut().zip(self.readers) {
            *seen = reader.await.unwrap().into_iter().collect();
        }
    }
}

async fn run(address: SocketAddr, topic_id: Uuid, writer: Writer, seed: u64, answers: Answers) -> Writer {
    let mut random = StdRng::seed_from_u64(seed);
    let generation = if random.random() { FIRST } else { SECOND };
    let Ok(client) = Client::try_connect(address).await else {
        return writer;
    };
    let mut session = Session {
        client,
        topic_id,
        writer,
        generation,
        producer_id: -1,
        epoch: -1,
        sequences: [0; TABLE_PARTITIONS as usize],
        random,
        answers,
    };
    // It ends when the connection does.
    let _ = session.work().await;
    session.writer
}

impl Session {
    async fn work(&mut self) -> Option<()> {
        match self.writer.kind {
            Kind::Plain => loop {
                let attempt = self.attempt(1, Fate::Undecided);
                for answer in self.produce(attempt).await? {
                    assert_eq!(answer, 0);
                }
                self.writer.attempts[attempt].fate = Fate::Committed;
            },
            Kind::Transactional => {
                self.init().await?;
                loop {
                    self.transaction().await?;
                }
            }
            Kind::Leaving => {
                self.init().await?;
                let attempt = self.attempt(TABLE_PARTITIONS, Fate::Aborted);
                // On a busy machine its time is over before it has begun.
                self.add(attempt).await?;
                self.produce(attempt).await?;
                None
            }
        }
    }

    async fn init(&mut self) -> Option<()> {
        let InitProducerIdResponse {
            producer_id,
            producer_epoch,
            ..
        } = self.writer.init(&mut self.client).await?;
        (self.producer_id, self.epoch) = (producer_id, producer_epoch);
        Some(())
    }

    async fn transaction(&mut self) -> Option<()> {
        // Until its end is asked for it can have one end only.
        let attempt = self.attempt(TABLE_PARTITIONS, Fate::Aborted);
        for answer in self.add(attempt).await? {
            assert_eq!(answer, 0);
        }
        for answer in self.produce(attempt).await? {
            assert_eq!(answer, 0);
        }
        let commit = self.random.random_ratio(2, 3);
        let request = EndTxnRequest {
            transactional_id: self.writer.transactional_id(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed: commit,
        };
        if commit {
            self.writer.attempts[attempt].fate = Fate::Undecided;
        }
        let response = self.ask(&request, self.generation.end).await?;
        assert_eq!(response.error_code, 0);
        if commit {
            self.writer.attempts[attempt].fate = Fate::Committed;
        }
        if !self.generation.adds {
            (self.producer_id, self.epoch) = (response.producer_id, response.producer_epoch);
            self.sequences = [0; TABLE_PARTITIONS as usize];
        }
        Some(())
    }

    /// Draws what is written next, to so many partitions at most.
    fn attempt(&mut self, partitions: u32, fate: Fate) -> usize {
        let random = &mut self.random;
        let place = random.random_range(0..TABLE_PARTITIONS);
        let count = random.random_range(1..5);
        let rows = (0..count).map(|at| {
            let key = random.random_range(0..KEYS);
            Row {
                key: if partitions == 1 {
                    key - key % TABLE_PARTITIONS + place
                } else {
                    key
                },
                gone: at + 1 < count && random.random_ratio(1, 4),
                offset: None,
            }
        });
        let rows = rows.collect();
        self.writer.attempts.push(Attempt { fate, rows });
        self.writer.attempts.len() - 1
    }

    /// The rows of the attempt that belong to each partition that it reaches.
    fn parts(&self, attempt: usize) -> Vec<(u32, Vec<usize>)> {
        let rows = &self.writer.attempts[attempt].rows;
        let of = |partition| {
            let here = |index: &usize| Writer::partition(rows[*index].key) == partition;
            (partition, (0..rows.len()).filter(here).collect::<Vec<_>>())
        };
        let parts = (0..TABLE_PARTITIONS).map(of);
        parts.filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Makes the partitions part of the transaction, if the protocol asks for it. Returns the error codes.
    async fn add(&mut self, attempt: usize) -> Option<Vec<i16>> {
        if !self.generation.adds {
            return Some(Vec::new());
        }
        let partitions = self
            .parts(attempt)
            .iter()
            .map(|(partition, _)| partition.cast_signed())
            .collect();
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.writer.transactional_id(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: TABLE.to_owned(),
                partitions,
            }],
            ..Default::default()
        };
        let response = self.ask(&request, 3).await?;
        let results = response.results_by_topic_v3_and_below.into_iter();
        let results = results.flat_map(|topic| topic.results_by_partition);
        Some(results.map(|result| result.partition_error_code).collect())
    }

    /// Writes the rows of an attempt, a batch for each partition, and notes where they are. Returns the error codes.
    async fn produce(&mut self, attempt: usize) -> Option<Vec<i16>> {
        let parts = self.parts(attempt);
        let data = parts.iter().map(|(partition, rows)| PartitionProduceData {
            index: partition.cast_signed(),
            records: self.batch(attempt, *partition, rows).into(),
        });
        let request = ProduceRequest {
            transactional_id: (self.writer.kind != Kind::Plain).then(|| self.writer.transactional_id()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: TABLE.to_owned(),
                topic_id: self.topic_id,
                partition_data: data.collect(),
            }],
        };
        let response = self.ask(&request, self.generation.produce).await?;
        let mut codes = Vec::new();
        let answers = response
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        for (answer, (partition, rows)) in answers.zip(parts) {
            assert_eq!(answer.index, partition.cast_signed());
            codes.push(answer.error_code);
            if answer.error_code == 0 {
                self.sequences[partition as usize] += i32::try_from(rows.len()).unwrap();
                for (offset, row) in (answer.base_offset..).zip(rows) {
                    self.writer.attempts[attempt].rows[row].offset = Some(offset);
                }
            }
        }
        Some(codes)
    }

    fn batch(&self, attempt: usize, partition: u32, rows: &[usize]) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        if self.writer.kind != Kind::Plain {
            let sequence = self.sequences[partition as usize];
            builder = builder
                .producer(self.producer_id, self.epoch, sequence)
                .transactional();
        }
        for row in rows {
            let (key, value, place) = self.writer.record(attempt, *row);
            builder.push(NewRecord {
                timestamp: 1_700_000_000_000,
                key: Some(key.as_bytes()),
                value: value.as_deref().map(str::as_bytes),
                headers: &[HeaderView {
                    key: b"place",
                    value: Some(place.as_bytes()),
                }],
            });
        }
        builder.build().unwrap()
    }

    async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Option<R::Response> {
        let answer = ask(&mut self.client, request, version).await;
        self.answers
            .send_modify(|count| *count += u32::from(answer.is_some()));
        answer
    }
}

/// Notes which committed records there are to see until the connection ends.
async fn follow(address: SocketAddr, topic_id: Uuid, partition: u32, from: i64) -> Vec<(i64, Place)> {
    let (mut seen, mut next) = (Vec::new(), from);
    let Ok(mut client) = Client::try_connect(address).await else {
        return seen;
    };
    loop {
        let request = fetch_request(topic_id, partition, next, 1000);
        if !write(&mut client, &request).await {
            return seen;
        }
        let Some(response) = read::<FetchRequest>(&mut client).await else {
            return seen;
        };
        let response: FetchResponse = response;
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        seen.extend(
            committed(data, &mut next)
                .into_iter()
                .map(|(offset, place, _)| (offset, place)),
        );
    }
}
