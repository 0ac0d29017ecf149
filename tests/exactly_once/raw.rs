//! A partition's owner in the words of the protocol, as no daemon would speak.

use std::sync::Arc;

use heliostat_wire::ErrorCode;
use heliostat_wire::builder::{BatchBuilder, NewRecord};
use heliostat_wire::client::{Client as Wire, Config, CoordinatorType, Error, Lane, Manner, Tcp};
use heliostat_wire::message::describe_producers::TopicRequest;
use heliostat_wire::message::produce::{PartitionProduceData, TopicProduceData};
use heliostat_wire::message::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ProduceRequest,
};
use tokio::runtime::Runtime;

use super::MIRROR;
use crate::support::rec::Rec;

/// The id of the only partition's owner.
const ID: &str = "heliostat.source.source.orders.0";

/// Asks a cluster in its own words.
pub struct Raw {
    runtime: Runtime,
    client: Wire,
}

impl Raw {
    pub fn new(bootstrap: &str) -> Raw {
        let (host, port) = bootstrap.rsplit_once(':').expect("a host and a port");
        let config = Config::new("tests", vec![(host.to_owned(), port.parse().expect("a port"))]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Raw {
            runtime: runtime.expect("a runtime"),
            client: Wire::new(config, Arc::new(Tcp)),
        }
    }

    /// Takes the next epoch of the partition's owner.
    pub fn next_epoch(&self) -> (i64, i16) {
        self.runtime.block_on(async {
            let id = ID.to_owned();
            let node = self.client.coordinator(CoordinatorType::Transaction, ID);
            let request = InitProducerIdRequest {
                transactional_id: Some(id),
                transaction_timeout_ms: 10_000,
                ..Default::default()
            };
            let answer = self
                .client
                .to(node.await.expect("a coordinator"), Lane(1), request);
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.error_code, 0);
            (answer.producer_id, answer.producer_epoch)
        })
    }

    /// Whether the coordinator does not know the id of the partition's owner any more. To ask does not make it young again.
    pub fn is_forgotten(&self) -> bool {
        self.runtime.block_on(async {
            let node = self.client.coordinator(CoordinatorType::Transaction, ID);
            let request = DescribeTransactionsRequest {
                transactional_ids: vec![ID.to_owned()],
            };
            let answer = self
                .client
                .to(node.await.expect("a coordinator"), Lane(1), request);
            let state = &answer.await.expect("an answer").transaction_states[0];
            ErrorCode::from_code(state.error_code) == ErrorCode::TransactionalIdNotFound
        })
    }

    /// What the mirror's log knows of a producer: epoch and last sequence.
    pub fn producer(&self, producer_id: i64) -> Option<(i32, i32)> {
        self.runtime.block_on(async {
            let leader = self.client.leader(MIRROR, 0).await.expect("a leader");
            let request = DescribeProducersRequest {
                topics: vec![TopicRequest {
                    name: MIRROR.to_owned(),
                    partition_indexes: vec![0],
                }],
            };
            let answer = self
                .client
                .to(leader.node, Lane(1), request)
                .await
                .expect("an answer");
            let mut producers = answer.topics[0].partitions[0].active_producers.iter();
            let found = producers.find(|producer| producer.producer_id == producer_id)?;
            Some((found.producer_epoch, found.last_sequence))
        })
    }

    /// Writes a record to the mirror as an owner from before would, in the right sequence. Returns the answer.
    pub fn write_as(&self, producer: (i64, i16), sequence: i32) -> ErrorCode {
        let record = Rec {
            timestamp: 1,
            ..Rec::new(0, None, Some(b"of a zombie"))
        };
        self.write_records_as(producer, sequence, &[record])
    }

    /// Writes a batch to the mirror as its owner would. Returns the answer.
    pub fn write_records_as(&self, (id, epoch): (i64, i16), sequence: i32, records: &[Rec]) -> ErrorCode {
        let mut batch = BatchBuilder::new().producer(id, epoch, sequence);
        for record in records {
            assert!(record.headers.is_empty(), "written without headers");
            batch.push(NewRecord {
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &[],
            });
        }
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: MIRROR.to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: batch.build().expect("a batch").into(),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.runtime.block_on(async {
            let leader = self.client.leader(MIRROR, 0).await.expect("a leader");
            let connection = self
                .client
                .connection(leader.node, Lane(1))
                .await
                .expect("a connection");
            let manner = Manner {
                version_max: Some(9),
                ..Default::default()
            };
            let answer: Result<_, Error> = connection.start_as(request, manner).await.expect("sent").await;
            ErrorCode::from_code(answer.expect("an answer").responses[0].partition_responses[0].error_code)
        })
    }
}
