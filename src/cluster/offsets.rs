//! Offsets of many partitions by our own client: one request to each leader. A flow asks for them every second, and a cluster may have
//! thousands of partitions.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use heliostat_wire::ErrorCode;
use heliostat_wire::client::{Client, Error, Lane};
use heliostat_wire::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic,
};
use heliostat_wire::message::{ListOffsetsRequest, ListOffsetsResponse};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::native::{OffsetSpec, PartitionOffset};

/// The lane of those who ask for offsets now and then.
const LANE: Lane = Lane(50);

/// Only what is committed counts, up to the last stable offset.
const READ_COMMITTED: i8 = 1;

/// How long a node may take: offsets are asked for every second, and a node that is silent holds up nobody but those whose partitions it leads.
const NODE_PATIENCE: Duration = Duration::from_secs(3);

/// How long it may take to hear who leads a partition: twice what a client waits for a silent node before it asks another one.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);

/// No log comes to an offset beyond this one: a larger number was not counted by anyone. Two of them can be added.
pub const OFFSET_MAX: i64 = i64::MAX / 2;

/// Whether a number can be an offset of a log, or the place after its last one. What a broker answers, and what lies in a topic that
/// others may write to, is looked at with this before anything is reckoned with it.
pub fn is_offset(number: i64) -> bool {
    (0..=OFFSET_MAX).contains(&number)
}

/// What was found of each partition, in no order. A partition that fails does so alone, with those that its leader leads.
pub(super) async fn list(
    client: &Client,
    partitions: Vec<(String, i32)>,
    spec: OffsetSpec,
) -> Vec<(PartitionOffset, Option<String>)> {
    let mut found = Vec::with_capacity(partitions.len());
    let (by_node, not_led) = by_leader(client, partitions).await;
    found.extend(not_led);
    let mut questions = JoinSet::new();
    for (node, asked) in by_node {
        let client = client.clone();
        questions.spawn(async move { ask(&client, node, asked, spec).await });
    }
    while let Some(Ok(answered)) = questions.join_next().await {
        found.extend(answered);
    }
    found
}

/// The partitions whose leaders tell their offsets. Unlike in [`list`] no leader is taken to be another one because it does not.
pub(super) async fn which_are_there(
    client: &Client,
    partitions: Vec<(String, i32)>,
) -> HashSet<(String, i32)> {
    let mut there = HashSet::new();
    let (by_node, _) = by_leader(client, partitions).await;
    let mut questions = JoinSet::new();
    for (node, asked) in by_node {
        let client = client.clone();
        let partitions = asked.iter().map(|asked| (asked.topic.as_str(), asked.partition));
        let request = question(partitions, OffsetSpec::LatestCommitted);
        questions.spawn(async move { answer(&client, node, request).await });
    }
    while let Some(Ok(answered)) = questions.join_next().await {
        let Ok(answer) = answered else { continue };
        let told = by_partition(&answer).into_iter();
        let told = told.filter(|(_, told)| ErrorCode::from_code(told.error_code).is_none());
        there.extend(told.map(|((topic, partition), _)| (topic.to_owned(), partition)));
    }
    there
}

type ByNode = BTreeMap<i32, Vec<Asked>>;

/// Partitions by the node that leads them, and those of which nobody says who does.
async fn by_leader(
    client: &Client,
    partitions: Vec<(String, i32)>,
) -> (ByNode, Vec<(PartitionOffset, Option<String>)>) {
    let (mut by_node, mut not_led) = (ByNode::new(), Vec::new());
    let mut looked_up = JoinSet::new();
    for (topic, partition) in partitions {
        if let Some(leader) = client.cached_leader(&topic, partition) {
            let epoch = leader.epoch;
            by_node.entry(leader.node).or_default().push(Asked {
                topic,
                partition,
                epoch,
            });
            continue;
        }
        // Whoever asks at the same time is answered by the same request.
        let client = client.clone();
        looked_up.spawn(async move {
            let leader = timeout(LEADER_PATIENCE, client.leader(&topic, partition)).await;
            (topic, partition, leader)
        });
    }
    while let Some(Ok((topic, partition, leader))) = looked_up.join_next().await {
        match leader {
            Ok(Ok(leader)) => by_node.entry(leader.node).or_default().push(Asked {
                topic,
                partition,
                epoch: leader.epoch,
            }),
            Ok(Err(error)) => not_led.push(failed(topic, partition, &error)),
            Err(_elapsed) => {
                let reason = format!(
                    "no broker says who leads it within {} s",
                    LEADER_PATIENCE.as_secs()
                );
                let found = PartitionOffset {
                    topic,
                    partition,
                    offset: Err(RDKafkaErrorCode::RequestTimedOut),
                };
                not_led.push((found, Some(reason)));
            }
        }
    }
    (by_node, not_led)
}

/// A partition, and the epoch of the leader that is asked.
struct Asked {
    topic: String,
    partition: i32,
    epoch: i32,
}

async fn ask(
    client: &Client,
    node: i32,
    asked: Vec<Asked>,
    spec: OffsetSpec,
) -> Vec<(PartitionOffset, Option<String>)> {
    let partitions = asked.iter().map(|asked| (asked.topic.as_str(), asked.partition));
    let request = question(partitions, spec);
    let answer = match answer(client, node, request).await {
        Ok(answer) => answer,
        Err(error) => {
            let failed = |asked: Asked| {
                // It may be away for good, and another one lead its partitions.
                client.stale_leader(&asked.topic, asked.partition, asked.epoch);
                failed(asked.topic, asked.partition, &error)
            };
            return asked.into_iter().map(failed).collect();
        }
    };
    let answers = by_partition(&answer);
    let outcome = |asked: Asked| {
        let answer = answers.get(&(asked.topic.as_str(), asked.partition));
        let code = answer.map_or(ErrorCode::UnknownServerError, |answer| {
            ErrorCode::from_code(answer.error_code)
        });
        if code != ErrorCode::None {
            client.stale_leader(&asked.topic, asked.partition, asked.epoch);
        }
        let offset = match (code, answer) {
            (ErrorCode::None, Some(answer)) => Ok(answer.offset),
            _ => Err(rdkafka_code(Some(code))),
        };
        let found = PartitionOffset {
            topic: asked.topic,
            partition: asked.partition,
            offset,
        };
        (checked(found), None)
    };
    asked.into_iter().map(outcome).collect()
}

/// What a node answers, if it does so in time.
async fn answer(
    client: &Client,
    node: i32,
    request: ListOffsetsRequest,
) -> Result<ListOffsetsResponse, Error> {
    match timeout(NODE_PATIENCE, client.to(node, LANE, request)).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Error::TimedOut {
            node,
            api: "ListOffsets",
            after: NODE_PATIENCE,
            sent: true,
        }),
    }
}

fn question<'a>(partitions: impl Iterator<Item = (&'a str, i32)>, spec: OffsetSpec) -> ListOffsetsRequest {
    let timestamp = match spec {
        OffsetSpec::Earliest => -2,
        OffsetSpec::LatestCommitted => -1,
    };
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (topic, partition_index) in partitions {
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index,
            timestamp,
            ..Default::default()
        });
    }
    let topics = topics.into_iter().map(|(name, partitions)| ListOffsetsTopic {
        name: name.to_owned(),
        partitions,
    });
    ListOffsetsRequest {
        replica_id: -1,
        isolation_level: READ_COMMITTED,
        topics: topics.collect(),
        ..Default::default()
    }
}

fn by_partition(answer: &ListOffsetsResponse) -> HashMap<(&str, i32), &ListOffsetsPartitionResponse> {
    let topics = answer.topics.iter();
    topics
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| ((topic.name.as_str(), partition.partition_index), partition))
        })
        .collect()
}

/// The same, where an offset that no log can have is an error of its partition. `ListOffsets` answers the question for a log's start or
/// end with -1 only if the broker is not what it says, and with more than [`OFFSET_MAX`] never.
pub(super) fn checked(mut found: PartitionOffset) -> PartitionOffset {
    if let Ok(offset) = found.offset
        && !is_offset(offset)
    {
        let (topic, partition) = (&found.topic, found.partition);
        tracing::debug!(
            topic,
            partition,
            offset,
            "the broker gives an offset that cannot be"
        );
        found.offset = Err(RDKafkaErrorCode::BadMessage);
    }
    found
}

fn failed(topic: String, partition: i32, error: &Error) -> (PartitionOffset, Option<String>) {
    let code = match error {
        Error::TimedOut { .. } => RDKafkaErrorCode::RequestTimedOut,
        error => rdkafka_code(error.code()),
    };
    let found = PartitionOffset {
        topic,
        partition,
        offset: Err(code),
    };
    (found, Some(error.to_string()))
}

/// The same error in librdkafka's words, which the rest of the program has; without a code, that a connection failed.
pub fn rdkafka_code(code: Option<ErrorCode>) -> RDKafkaErrorCode {
    let known = code.and_then(|code| RDKafkaRespErr::try_from(i32::from(code.code())).ok());
    known.map_or(RDKafkaErrorCode::BrokerTransportFailure, RDKafkaErrorCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_no_log_can_have_is_an_error_of_its_partition() {
        let of = |offset| {
            let topic = "orders".to_owned();
            checked(PartitionOffset {
                topic,
                partition: 3,
                offset,
            })
            .offset
        };
        for offset in [0, 1, OFFSET_MAX] {
            assert_eq!(of(Ok(offset)), Ok(offset));
        }
        for offset in [-1, -2, i64::MIN, OFFSET_MAX + 1, i64::MAX] {
            assert_eq!(of(Ok(offset)), Err(RDKafkaErrorCode::BadMessage), "{offset}");
        }
        let refused = Err(RDKafkaErrorCode::NotLeaderForPartition);
        assert_eq!(of(refused), refused, "what the broker refuses stays as it is");
    }
}
