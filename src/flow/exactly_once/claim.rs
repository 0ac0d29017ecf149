//! A producer id with an epoch that is newer than that of any owner before, and the marker that fences them.

use std::sync::Arc;
use std::time::Duration;

use heliostat_wire::ErrorCode;
use heliostat_wire::client::{Client, Connection, CoordinatorType, Error, Lane, Manner};
use heliostat_wire::message::add_partitions_to_txn::AddPartitionsToTxnTopic;
use heliostat_wire::message::{AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, Request};
use tokio::time::{Instant, sleep};

/// What makes a writer the only one of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The same for all owners of a partition, as long as the target remembers its transactional id.
    pub producer_id: i64,
    /// One more than that of the owner before.
    pub epoch: i16,
}

/// How long a coordinator may take to become able to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The pause before a coordinator is asked again.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// The target aborts a fence's transaction by itself after this time, if its owner died in the middle of it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker works on one request of a connection at a time, and claims of many partitions wait for its disks.
pub(super) const LANES: u16 = 8;

/// The first of the lanes that claims use.
pub(super) const FIRST_LANE: u16 = 100;

/// Since the next version partitions are added for other brokers only.
const ADD_PARTITIONS_VERSION_MAX: i16 = 3;

/// The next version would take the epoch on when the transaction ends (KIP-890).
const END_TXN_VERSION_MAX: i16 = 4;

/// The transactional id of a partition of a mirror topic.
pub fn transactional_id(source: &str, target_topic: &str, partition: i32) -> String {
    format!("heliostat.{source}.{target_topic}.{partition}")
}

/// The connection to a node on which a partition is asked about, so that those of many topics are spread over all.
pub(super) fn lane_of(topic: &str, partition: i32, first: u16, lanes: u16) -> Lane {
    let add = |sum: u16, byte: u8| sum.wrapping_mul(31).wrapping_add(u16::from(byte));
    let sum = topic.bytes().chain(partition.to_be_bytes()).fold(0, add);
    Lane(first + sum % lanes)
}

/// Takes the next epoch of a transactional id; without one, a producer id of one's own.
pub(super) async fn claim(client: &Client, id: Option<&str>) -> Result<Claim, Error> {
    let request = InitProducerIdRequest {
        transactional_id: id.map(str::to_owned),
        transaction_timeout_ms: i32::try_from(TRANSACTION_TIMEOUT.as_millis()).unwrap_or(i32::MAX),
        ..Default::default()
    };
    let Some(id) = id else {
        let answer = client.any(request).await?;
        return claimed(&answer).map_err(|code| refused(code, "a producer id"));
    };
    let answer = ask(client, id, i16::MAX, request, |answer| answer.error_code).await?;
    claimed(&answer).map_err(|code| refused(code, id))
}

/// Writes a marker of this epoch into the partition: from there on its log refuses every older epoch. The marker is on its way
/// when this returns, and may not be readable yet.
pub(super) async fn fence(
    client: &Client,
    id: &str,
    claim: Claim,
    topic: &str,
    partition: i32,
) -> Result<(), Error> {
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: claim.producer_id,
        v3_and_below_producer_epoch: claim.epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: topic.to_owned(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    ask(client, id, ADD_PARTITIONS_VERSION_MAX, add, |answer| {
        let topics = answer.results_by_topic_v3_and_below.iter();
        let mut codes = topics.flat_map(|topic| topic.results_by_partition.iter());
        codes.next().map_or(0, |result| result.partition_error_code)
    })
    .await?;
    let end = EndTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: claim.producer_id,
        producer_epoch: claim.epoch,
        committed: false,
    };
    ask(client, id, END_TXN_VERSION_MAX, end, |answer| answer.error_code).await?;
    Ok(())
}

fn claimed(answer: &heliostat_wire::message::InitProducerIdResponse) -> Result<Claim, ErrorCode> {
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => Ok(Claim {
            producer_id: answer.producer_id,
            epoch: answer.producer_epoch,
        }),
        code => Err(code),
    }
}

fn refused(code: ErrorCode, id: &str) -> Error {
    Error::Broker {
        code,
        what: format!("transactional id {id}"),
    }
}

/// Waits until the coordinator of a transactional id can be connected to. Who waits for it takes no place from those whose coordinators are there.
pub async fn reach(client: &Client, id: &str) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        let error = match connection(client, id).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        again(client, id, error, until).await?;
    }
}

/// The connection to the coordinator of a transactional id on which it is asked about it.
pub(super) async fn connection(client: &Client, id: &str) -> Result<Arc<Connection>, Error> {
    let node = client.coordinator(CoordinatorType::Transaction, id).await?;
    client.connection(node, lane_of(id, 0, FIRST_LANE, LANES)).await
}

/// Asks the coordinator of a transactional id until it answers without an error that passes. To ask twice does no harm: an epoch
/// more is taken, or a transaction ended that has ended.
async fn ask<R: Request>(
    client: &Client,
    id: &str,
    version_max: i16,
    request: R,
    code: impl Fn(&R::Response) -> i16,
) -> Result<R::Response, Error>
where
    R::Response: Send + 'static,
{
    let manner = Manner {
        version_max: Some(version_max),
        ..Default::default()
    };
    let until = Instant::now() + PATIENCE;
    loop {
        let attempt = async {
            let connection = connection(client, id).await?;
            connection.start_as(request.clone(), manner).await?.await
        };
        let error = match attempt.await {
            Ok(answer) => match ErrorCode::from_code(code(&answer)) {
                ErrorCode::None => return Ok(answer),
                code => refused(code, id),
            },
            Err(error) => error,
        };
        again(client, id, error, until).await?;
    }
}

/// Whether it is worth another attempt: pauses before it, or gives the error back.
async fn again(client: &Client, id: &str, error: Error, until: Instant) -> Result<(), Error> {
    if !passes(&error) || Instant::now() > until {
        return Err(error);
    }
    if error.code() != Some(ErrorCode::ConcurrentTransactions) {
        client.stale_coordinator(CoordinatorType::Transaction, id);
    }
    sleep(PAUSE).await;
    Ok(())
}

fn passes(error: &Error) -> bool {
    match error.code() {
        Some(ErrorCode::ConcurrentTransactions | ErrorCode::UnknownTopicOrPartition) => true,
        _ => error.is_retriable(),
    }
}
