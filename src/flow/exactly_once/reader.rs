//! Reading a part of one partition, on the source or on the target, apart from copying.

use std::time::Duration;

use bytes::Bytes;
use heliostat_wire::ErrorCode;
use heliostat_wire::batch::Batches;
use heliostat_wire::client::{Client, Error, Lane, Manner};
use heliostat_wire::message::fetch::{FetchPartition, FetchTopic};
use heliostat_wire::message::list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use heliostat_wire::message::offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use heliostat_wire::message::{FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest};
use tokio::time::{Instant, sleep};

use super::claim::lane_of;
use crate::cluster::offsets::is_offset;

/// How long a leader may be away.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pause before a leader is asked again.
const PAUSE: Duration = Duration::from_millis(20);

/// The first lane of those who read apart from copying.
const FIRST_LANE: u16 = 200;

/// Reading of many partitions at once is spread over so many connections to a node.
const LANES: u16 = 4;

/// Bytes that are asked for at once. Many partitions are prepared at a time, each with what it has read in memory.
const BYTES: i32 = 1 << 20;

/// What a fetch waits for, at the end of a log.
const WAIT: Duration = Duration::from_millis(100);

/// The last version of Fetch that names topics.
const FETCH_BY_NAME_VERSION_MAX: i16 = 12;

/// `ListOffsets` knows these places by timestamps that cannot be.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// The end of an epoch of which a log knows nothing.
const NO_END: i64 = -1;

/// One partition of one cluster.
pub(super) struct Reader<'a> {
    pub(super) client: &'a Client,
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    /// Only what is committed is read, up to the last stable offset.
    pub(super) committed: bool,
}

/// What a fetch has brought.
pub(super) struct Chunk {
    pub(super) records: Bytes,
    /// Aborted transactions: producer id, first offset.
    pub(super) aborted: Vec<(i64, i64)>,
}

impl Reader<'_> {
    /// The first offset of the log.
    pub(super) async fn start(&self) -> Result<i64, Error> {
        self.offset_at(EARLIEST).await
    }

    /// The offset after the last that can be read.
    pub(super) async fn end(&self) -> Result<i64, Error> {
        self.offset_at(LATEST).await
    }

    async fn offset_at(&self, timestamp: i64) -> Result<i64, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.offset_at_once(timestamp).await {
                Ok(offset) => return Ok(offset),
                Err(error) => self.again(error, until).await?,
            }
        }
    }

    async fn offset_at_once(&self, timestamp: i64) -> Result<i64, Error> {
        let leader = self.client.leader(self.topic, self.partition).await?;
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(self.committed),
            topics: vec![ListOffsetsTopic {
                name: self.topic.to_owned(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: self.partition,
                    timestamp,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let answer = self.client.to(leader.node, self.lane(), request).await?;
        let mut found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = found.next().ok_or_else(|| self.nonsense("ListOffsets"))?;
        self.check(found.error_code)?;
        if !is_offset(found.offset) {
            return Err(self.no_offset("ListOffsets", found.offset));
        }
        Ok(found.offset)
    }

    /// The largest leader epoch of the log that is not beyond this one, and where it ends; -1 and -1 if there is none from it on.
    pub(super) async fn end_of_epoch(&self, epoch: i32) -> Result<(i32, i64), Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.end_of_epoch_once(epoch).await {
                Ok(found) => return Ok(found),
                Err(error) => self.again(error, until).await?,
            }
        }
    }

    async fn end_of_epoch_once(&self, epoch: i32) -> Result<(i32, i64), Error> {
        let leader = self.client.leader(self.topic, self.partition).await?;
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: self.topic.to_owned(),
                partitions: vec![OffsetForLeaderPartition {
                    partition: self.partition,
                    // One that was leader before must not answer for the one that is.
                    current_leader_epoch: leader.epoch,
                    leader_epoch: epoch,
                }],
            }],
        };
        let answer = self.client.to(leader.node, self.lane(), request).await?;
        let mut found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = found
            .next()
            .ok_or_else(|| self.nonsense("OffsetForLeaderEpoch"))?;
        self.check(found.error_code)?;
        if found.end_offset != NO_END && !is_offset(found.end_offset) {
            return Err(self.no_offset("OffsetForLeaderEpoch", found.end_offset));
        }
        Ok((found.leader_epoch, found.end_offset))
    }

    /// What is at and after an offset, where there is something, or must be soon. It is waited for: a marker takes its time, and a leader that
    /// has only just become one may know less of its log than the one before has told. `bytes` is how much is asked for, if more than
    /// usual.
    pub(super) async fn read(&self, at: i64, bytes: usize) -> Result<Chunk, Error> {
        self.read_up_to(at, i32::try_from(bytes).unwrap_or(i32::MAX).max(BYTES))
            .await
    }

    /// The batch at an offset, or the first behind it, and little else.
    pub(super) async fn read_little(&self, at: i64) -> Result<Chunk, Error> {
        self.read_up_to(at, 1).await
    }

    async fn read_up_to(&self, at: i64, bytes: i32) -> Result<Chunk, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.read_once(at, bytes).await {
                Ok(chunk) if !chunk.records.is_empty() => return Ok(chunk),
                Ok(_) if Instant::now() > until => return Err(self.stuck(at)),
                Ok(_) => {}
                Err(error) => self.again(error, until).await?,
            }
        }
    }

    async fn read_once(&self, at: i64, bytes: i32) -> Result<Chunk, Error> {
        let leader = self.client.leader(self.topic, self.partition).await?;
        let request = FetchRequest {
            max_wait_ms: i32::try_from(WAIT.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: bytes,
            isolation_level: i8::from(self.committed),
            topics: vec![FetchTopic {
                topic: self.topic.to_owned(),
                topic_id: leader.topic_id.unwrap_or_default(),
                partitions: vec![FetchPartition {
                    partition: self.partition,
                    fetch_offset: at,
                    partition_max_bytes: bytes,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let manner = Manner {
            version_max: leader.topic_id.is_none().then_some(FETCH_BY_NAME_VERSION_MAX),
            broker_waits: WAIT,
        };
        let connection = self.client.connection(leader.node, self.lane()).await?;
        let answer = connection.start_as(request, manner).await?.await?;
        self.check(answer.error_code)?;
        let mut found = answer.responses.into_iter().flat_map(|topic| topic.partitions);
        let found = found.next().ok_or_else(|| self.nonsense("Fetch"))?;
        self.check(found.error_code)?;
        let records = found.records.into_bytes();
        let records = records.map_err(|_| self.nonsense("Fetch"))?;
        if let Some(offset) = no_offset_in(&records) {
            return Err(self.no_offset("Fetch", offset));
        }
        let aborted = found.aborted_transactions.unwrap_or_default().into_iter();
        Ok(Chunk {
            records,
            aborted: aborted
                .map(|aborted| (aborted.producer_id, aborted.first_offset))
                .collect(),
        })
    }

    /// Whether it is worth another attempt: pauses before it, or gives the error back.
    async fn again(&self, error: Error, until: Instant) -> Result<(), Error> {
        if !error.is_retriable() || Instant::now() > until {
            return Err(error);
        }
        if let Some(leader) = self.client.cached_leader(self.topic, self.partition) {
            self.client.stale_leader(self.topic, self.partition, leader.epoch);
        }
        sleep(PAUSE).await;
        Ok(())
    }

    fn lane(&self) -> Lane {
        lane_of(self.topic, self.partition, FIRST_LANE, LANES)
    }

    fn check(&self, code: i16) -> Result<(), Error> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            code => Err(Error::Broker {
                code,
                what: format!("partition {} of topic {}", self.partition, self.topic),
            }),
        }
    }

    /// Nothing that is whole can be read at an offset.
    pub(super) fn stuck(&self, at: i64) -> Error {
        Error::Nonsense {
            api: "Fetch",
            reason: format!(
                "partition {} of topic {} gives nothing at offset {at}, where there is something",
                self.partition, self.topic
            ),
        }
    }

    /// A broker says of a log what cannot be: to reckon with it would be worse than to stop.
    fn no_offset(&self, api: &'static str, offset: i64) -> Error {
        Error::Nonsense {
            api,
            reason: format!(
                "partition {} of topic {} is said to have the offset {offset}, which cannot be",
                self.partition, self.topic
            ),
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

/// An offset in the headers of these batches that no log can have. What is no batch is left to whoever reads them.
fn no_offset_in(records: &[u8]) -> Option<i64> {
    let batches = Batches::new(records).map_while(Result::ok);
    let ends = batches.flat_map(|batch| {
        let header = batch.header();
        [header.base_offset, header.last_offset(), header.next_offset()]
    });
    let mut before = 0;
    for offset in ends {
        if !is_offset(offset) || offset < before {
            return Some(offset);
        }
        before = offset;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heliostat_wire::batch::{BatchMut, HEADER_SIZE};
    use heliostat_wire::builder::{BatchBuilder, NewRecord};
    use heliostat_wire::client::{Config, Tcp};

    use super::*;
    use crate::cluster::offsets::OFFSET_MAX;

    fn batch(base_offset: i64) -> Vec<u8> {
        let mut batch = BatchBuilder::new();
        for _ in 0..3 {
            batch.push(NewRecord {
                timestamp: 1,
                key: None,
                value: Some(b"value"),
                headers: &[],
            });
        }
        let mut bytes = batch.build().expect("a batch").to_vec();
        BatchMut::parse(&mut bytes)
            .expect("a batch")
            .set_base_offset(base_offset);
        bytes
    }

    #[test]
    fn offsets_in_batches_that_no_log_can_have_are_found() {
        let of = |offsets: &[i64]| {
            let batches: Vec<Vec<u8>> = offsets.iter().map(|offset| batch(*offset)).collect();
            no_offset_in(&batches.concat())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0, 3, 100, OFFSET_MAX - 3]), None);
        assert_eq!(of(&[7, -1]), Some(-1));
        assert_eq!(of(&[i64::MAX]), Some(i64::MAX));
        assert_eq!(of(&[OFFSET_MAX - 1]), Some(OFFSET_MAX + 1));
        assert_eq!(of(&[10, 3]), Some(3), "what comes later lies behind it");
        let mut backwards = batch(10);
        // The last offset delta, 23 bytes into the header.
        backwards[23..27].copy_from_slice(&(-4i32).to_be_bytes());
        assert!(backwards.len() > HEADER_SIZE);
        assert_eq!(no_offset_in(&backwards), Some(6));
        assert_eq!(no_offset_in(b"no batch at all"), None);
    }

    #[tokio::test]
    async fn what_a_broker_says_that_cannot_be_is_named() {
        let config = Config::new("tests", vec![("127.0.0.1".to_owned(), 1)]);
        let client = Client::new(config, Arc::new(Tcp));
        let reader = Reader {
            client: &client,
            topic: "orders",
            partition: 3,
            committed: true,
        };
        let error = reader.no_offset("ListOffsets", -7);
        assert!(!error.is_retriable(), "the same broker would say it again");
        let text = error.to_string();
        assert!(
            text.contains("partition 3 of topic orders") && text.contains("-7"),
            "{text}"
        );
    }
}
