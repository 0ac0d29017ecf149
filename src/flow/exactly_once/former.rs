//! Keeping out an owner from before who had another producer id.
//!
//! A coordinator gives a transactional id a new producer id when the epochs of the old one are used up, or when it has forgotten it
//! (`transactional.id.expiration.ms`). The markers of the new one mean nothing to the old one, so its own last epoch is used up in the
//! partition's log as well: with a marker that is written past the coordinator, as Kafka's tool for transactions that hang does it (KIP-664).

use heliostat_wire::ErrorCode;
use heliostat_wire::client::{Client, Connection, Error};
use heliostat_wire::message::describe_producers::{ProducerState, TopicRequest};
use heliostat_wire::message::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic};
use heliostat_wire::message::{DescribeProducersRequest, WriteTxnMarkersRequest};
use tokio::time::{Instant, sleep};

use super::claim::{FIRST_LANE, LANES, PATIENCE, PAUSE, lane_of};

/// Beyond all epochs that a coordinator gives to a producer.
const LAST_EPOCH: i16 = i16::MAX;

/// A partition whose leader is asked.
struct Log<'a> {
    client: &'a Client,
    topic: &'a str,
    partition: i32,
}

/// From here on the partition's log refuses all batches of this producer id. The marker is in the log when this returns.
pub(super) async fn fence_former(
    client: &Client,
    topic: &str,
    partition: i32,
    producer_id: i64,
) -> Result<(), Error> {
    let log = Log {
        client,
        topic,
        partition,
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match log.fence(producer_id).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if !error.is_retriable() || Instant::now() > until {
            return Err(error);
        }
        if let Some(leader) = client.cached_leader(topic, partition) {
            client.stale_leader(topic, partition, leader.epoch);
        }
        sleep(PAUSE).await;
    }
}

impl Log<'_> {
    async fn fence(&self, producer_id: i64) -> Result<(), Error> {
        let leader = self.client.leader(self.topic, self.partition).await?;
        let lane = lane_of(self.topic, self.partition, FIRST_LANE, LANES);
        let connection = self.client.connection(leader.node, lane).await?;
        let coordinator_epoch = match self.known(&connection, producer_id).await {
            Ok(Some(known)) if known.producer_epoch >= i32::from(LAST_EPOCH) => return Ok(()),
            Ok(known) => known.map_or(0, |known| known.coordinator_epoch.max(0)),
            // Kafka before 2.8. What a log knows of coordinators it knows for each producer id, and of this one no coordinator speaks again.
            Err(Error::Unsupported { .. }) => i32::MAX,
            Err(error) => return Err(error),
        };
        let marker = WritableTxnMarker {
            producer_id,
            producer_epoch: LAST_EPOCH,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: self.topic.to_owned(),
                partition_indexes: vec![self.partition],
            }],
            // An older coordinator than the one that the log has heard of would be refused.
            coordinator_epoch,
        };
        let request = WriteTxnMarkersRequest {
            markers: vec![marker],
        };
        let answer = connection.send(request).await?;
        let topics = answer.markers.into_iter().flat_map(|marker| marker.topics);
        let mut written = topics.flat_map(|topic| topic.partitions);
        let written = written.next().ok_or_else(|| self.nonsense("WriteTxnMarkers"))?;
        self.check(written.error_code)
    }

    /// What the log knows of the producer id.
    async fn known(&self, leader: &Connection, producer_id: i64) -> Result<Option<ProducerState>, Error> {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: self.topic.to_owned(),
                partition_indexes: vec![self.partition],
            }],
        };
        let answer = leader.send(request).await?;
        let mut found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = found.next().ok_or_else(|| self.nonsense("DescribeProducers"))?;
        self.check(found.error_code)?;
        let mut known = found.active_producers.into_iter();
        Ok(known.find(|producer| producer.producer_id == producer_id))
    }

    fn check(&self, code: i16) -> Result<(), Error> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            code => Err(Error::Broker {
                code,
                what: format!(
                    "fence the producer id that wrote partition {} of topic {} before (this takes the permission ClusterAction on the cluster)",
                    self.partition, self.topic
                ),
            }),
        }
    }

    fn nonsense(&self, api: &'static str) -> Error {
        Error::Nonsense {
            api,
            reason: format!(
                "nothing about partition {} of topic {}",
                self.partition, self.topic
            ),
        }
    }
}
