//! Whether a target fences: a batch of a producer that was replaced must be refused, or nothing keeps a daemon out that was replaced.

use heliostat_wire::ErrorCode;
use heliostat_wire::builder::{BatchBuilder, NewRecord};
use heliostat_wire::client::{Client, Error, Lane, Manner};
use heliostat_wire::message::ProduceRequest;
use heliostat_wire::message::produce::{PartitionProduceData, TopicProduceData};
use tokio::time::{Instant, sleep, timeout};

use super::claim::{self, Claim, PAUSE};
use crate::flow::now_ms;
use crate::offsets::record::{Key, bytes};

/// How long the leader of the topic may take to be there: it may only just have been made.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The coordinators of so many ids are tried: with half of the nodes away one of them is there all the same.
const IDS: usize = 8;

/// How long one of them may take to be connected to.
const COORDINATOR_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// What a broker waits for its replicas.
const REPLICAS_MS: i32 = 5_000;

/// Since the next version topics go by id.
const PRODUCE_VERSION_MAX: i16 = 12;

/// What a probe has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Fences {
    /// Who was replaced is refused.
    Yes,
    /// What the target does instead.
    No(String),
}

/// Tries it on a topic of our own: a producer takes its id twice and writes with the newer epoch, and then with the older one. What is written
/// is one record that takes back what nobody has said, and is compacted away.
pub async fn probe(client: &Client, source: &str, topic: &str) -> Result<Fences, Error> {
    // Whoever is silent among those that any question may go to is found out by this one, sooner than by others.
    client.metadata(&[topic.to_owned()]).await?;
    let id = with_coordinator(client, source).await;
    let older = match claim::claim(client, Some(&id)).await {
        Err(Error::Unsupported { .. }) => {
            return Ok(Fences::No("it knows no transactional ids".to_owned()));
        }
        claim => claim?,
    };
    let mut pair = (older, claim::claim(client, Some(&id)).await?);
    if pair.0.producer_id != pair.1.producer_id {
        // The epochs of one id were used up.
        pair = (pair.1, claim::claim(client, Some(&id)).await?);
    }
    let (older, newer) = pair;
    if older.producer_id != newer.producer_id || newer.epoch <= older.epoch {
        let text = format!("it gives a producer {newer:?} after {older:?}, which is no newer epoch");
        return Ok(Fences::No(text));
    }
    match write(client, topic, newer).await? {
        ErrorCode::None => {}
        // Another daemon does the same at this moment.
        code if is_fenced(code) => return Ok(Fences::Yes),
        code => return Err(refused(code, topic)),
    }
    match write(client, topic, older).await? {
        ErrorCode::None => {
            let text = "it takes records of a producer that was replaced by another".to_owned();
            Ok(Fences::No(text))
        }
        code if is_fenced(code) => Ok(Fences::Yes),
        code => Err(refused(code, topic)),
    }
}

/// A transactional id whose coordinator is there. What is tried is the same with each, and whether the flow can start must not depend on one node.
async fn with_coordinator(client: &Client, source: &str) -> String {
    let first = format!("heliostat.{source}.probe");
    let others = (1..IDS).map(|number| format!("{first}.{number}"));
    for id in std::iter::once(first.clone()).chain(others) {
        match timeout(COORDINATOR_PATIENCE, claim::connection(client, &id)).await {
            Ok(Ok(_)) => return id,
            // It has answered, or nobody knows yet who it is: that passes, or there is no way around it.
            Ok(Err(error)) if error.code().is_some() => return first,
            Ok(Err(error)) => tracing::debug!(id, "the coordinator cannot be connected to: {error}"),
            Err(_elapsed) => tracing::debug!(id, "the coordinator does not answer"),
        }
    }
    first
}

fn is_fenced(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced)
}

fn refused(code: ErrorCode, topic: &str) -> Error {
    Error::Broker {
        code,
        what: format!("write to topic {topic}, to see whether the cluster fences producers"),
    }
}

/// Writes the first batch of an epoch; what the leader says to it.
async fn write(client: &Client, topic: &str, claim: Claim) -> Result<ErrorCode, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = write_once(client, topic, claim).await;
        let may_pass = match &answer {
            Ok(code) => code.is_retriable(),
            Err(error) => error.is_retriable(),
        };
        if !may_pass || Instant::now() > until {
            return answer;
        }
        if let Some(leader) = client.cached_leader(topic, 0) {
            client.stale_leader(topic, 0, leader.epoch);
        }
        sleep(PAUSE).await;
    }
}

async fn write_once(client: &Client, topic: &str, claim: Claim) -> Result<ErrorCode, Error> {
    let key = Key {
        topic: topic.to_owned(),
        partition: None,
        block: None,
        owner: None,
    };
    let mut batch = BatchBuilder::new().producer(claim.producer_id, claim.epoch, 0);
    batch.push(NewRecord {
        timestamp: now_ms(),
        key: Some(&bytes(&key)),
        value: None,
        headers: &[],
    });
    let nonsense = |reason: String| Error::Nonsense {
        api: "Produce",
        reason,
    };
    let records = batch.build().map_err(|error| nonsense(error.to_string()))?;
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: REPLICAS_MS,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: records.into(),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let leader = client.leader(topic, 0).await?;
    let connection = client.connection(leader.node, Lane(0)).await?;
    let manner = Manner {
        version_max: Some(PRODUCE_VERSION_MAX),
        ..Default::default()
    };
    let answer = connection.start_as(request, manner).await?.await?;
    let mut found = answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partition_responses);
    let found = found
        .next()
        .ok_or_else(|| nonsense("no answer for the partition".to_owned()))?;
    Ok(ErrorCode::from_code(found.error_code))
}
