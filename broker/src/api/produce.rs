//! Produce (0), versions 3-13: appends one record batch to each partition; topics go by id since version 13.
//!
//! A batch is acknowledged when consumers can see it; what that takes is the storage's flush policy. There is one copy of
//! it, so that acks=1 and acks=all are the same, as in Kafka with one replica. Other produce requests of the connection
//! go on meanwhile. With acks=0 nothing is answered, and an error closes the connection: the client learns of it in no
//! other way.

use std::collections::BTreeMap;

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode, Uuid,
    message::{
        ProduceRequest, ProduceResponse,
        produce::{
            BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
            TopicProduceResponse,
        },
    },
};

mod durable;

use super::{
    Context, blocking,
    distinct::last,
    reply::{Later, Outcome, Settled},
};
use crate::{
    clock::Clock,
    log::{AppendError, Guard, is_one_batch},
    partitions::{Led, NotServed, TopicKey},
    txn::{self, Arrival},
};
use durable::{Awaited, Place, Watched};

/// The first version in which topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 13;

/// The first version whose clients know zstd.
const ZSTD_SINCE: i16 = 7;

/// The number of that codec, the largest there is.
const ZSTD: u8 = 4;

/// The acks of a producer that waits for all in-sync replicas.
const ALL_REPLICAS: i16 = -1;

/// Where a batch has its codec and whether it is transactional.
const ATTRIBUTES_LOW_BYTE: usize = 22;

/// More bad records are not named in one response: a batch of a few hundred bytes can hold a thousand of them, and a
/// request many such batches.
const RECORD_ERRORS_MAX: usize = 1000;

/// What is answered to a produce request.
pub(super) enum Acknowledgement {
    Response(ProduceResponse),
    Nothing,
    Close(String),
    /// The batches are appended, and not yet as durable as an acknowledgement promises. Nothing comes of it with acks=0,
    /// except that the connection's other requests find the batches where they would find them in Kafka.
    Later(Later<Option<ProduceResponse>>),
}

/// A topic of the request, with what is to be done for each of its partitions.
struct Topic {
    name: String,
    id: Uuid,
    partitions: Vec<Step>,
}

/// A partition's part.
struct Step {
    index: i32,
    records: Bytes,
    led: Result<Led, NotServed>,
    /// What Kafka sees at the first glance is wrong with the records: nobody is asked about their transaction.
    is_malformed: bool,
    /// Allows the first batch of a transaction.
    guard: Option<Guard>,
}

pub(super) async fn handle(context: Context, request: ProduceRequest) -> Acknowledgement {
    let (acks, timeout_ms) = (request.acks, request.timeout_ms);
    let refusal = match is_transactional(&request) {
        Ok(true) if request.transactional_id.is_none() => Some(ErrorCode::TransactionalIdAuthorizationFailed),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let transactional_id = request.transactional_id.clone();
    let mut topics = plan(&context, request, refusal);
    admit(&context, transactional_id.as_deref(), &mut topics).await;
    if !(-1..=1).contains(&acks) {
        sound(&mut topics).for_each(|step| step.led = Err(ErrorCode::InvalidRequiredAcks.into()));
    }
    let version = context.api_version;
    let clock = context.broker.storage().clock().clone();
    let (responses, awaited) = blocking(move || append_all(topics, version, acks, &clock)).await;
    if acks == 0 {
        let failed = responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .find(|p| p.error_code != 0);
        if let Some(partition) = failed {
            let error = ErrorCode::from_code(partition.error_code);
            return Acknowledgement::Close(format!("records sent with acks=0 were not appended: {error}"));
        }
    }
    let node_endpoints = node_endpoints(&context, &responses);
    let response = ProduceResponse {
        responses,
        node_endpoints,
        ..Default::default()
    };
    match awaited.is_empty() {
        true if acks == 0 => Acknowledgement::Nothing,
        true => Acknowledgement::Response(response),
        false => Acknowledgement::Later(Box::pin(async move {
            let response = durable::settle(response, awaited, timeout_ms).await;
            (acks != 0).then_some(response)
        })),
    }
}

impl Outcome<ProduceResponse> for Acknowledgement {
    fn settle(self) -> Settled<ProduceResponse> {
        match self {
            Acknowledgement::Response(response) => Settled::Now(Ok(Some(response))),
            Acknowledgement::Nothing => Settled::Now(Ok(None)),
            Acknowledgement::Close(reason) => Settled::Now(Err(reason)),
            Acknowledgement::Later(response) => Settled::Later(Box::pin(async move { Ok(response.await) })),
        }
    }
}

fn plan(context: &Context, request: ProduceRequest, refusal: Option<ErrorCode>) -> Vec<Topic> {
    let image = context.broker.image();
    let by_id = context.api_version >= TOPIC_IDS_SINCE;
    // Kafka goes by partitions: a topic without any leaves no trace, and the last batch for a partition counts.
    let mut named = BTreeMap::<_, Vec<_>>::new();
    for topic in request.topic_data {
        if !topic.partition_data.is_empty() {
            let partitions = named.entry((topic.name, topic.topic_id)).or_default();
            partitions.extend(topic.partition_data);
        }
    }
    let topics = named.into_iter().map(|((name, id), partitions)| {
        let found = TopicKey::of(&name, id, by_id).find(&image);
        let partitions = last(partitions, |partition| partition.index);
        let partitions = partitions.into_iter().map(|partition| {
            let led = match refusal {
                Some(error) => Err(error.into()),
                None => found.and_then(|topic| {
                    context
                        .broker
                        .led_by(context.node_id(), &image, topic, partition.index, -1)
                }),
            };
            Step {
                is_malformed: is_malformed(&partition.records, context.api_version),
                index: partition.index,
                records: partition.records,
                led,
                guard: None,
            }
        });
        Topic {
            partitions: partitions.collect(),
            name,
            id,
        }
    });
    topics.collect()
}

/// The partitions of which nothing wrong is known yet.
fn sound(topics: &mut [Topic]) -> impl Iterator<Item = &mut Step> {
    let steps = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    steps.filter(|step| step.led.is_ok() && !step.is_malformed)
}

/// Lets transactional batches in, or refuses every partition that would otherwise be appended to.
async fn admit(context: &Context, transactional_id: Option<&str>, topics: &mut [Topic]) {
    let steps = topics.iter().flat_map(|topic| &topic.partitions);
    let arrivals: Vec<_> = steps
        .filter(|step| !step.is_malformed)
        .filter_map(|step| {
            let led = step.led.as_ref().ok()?;
            let (log, records) = (&led.log, &step.records);
            Some(Arrival { log, records })
        })
        .collect();
    let admitted = txn::admit(&context.broker, transactional_id, context.api_version, &arrivals).await;
    match admitted {
        Ok(guards) => {
            for (step, guard) in sound(topics).zip(guards) {
                step.guard = guard;
            }
        }
        Err(error) => sound(topics).for_each(|step| step.led = Err(error.into())),
    }
}

/// The responses, and what must still become durable.
fn append_all(
    topics: Vec<Topic>,
    version: i16,
    acks: i16,
    clock: &Clock,
) -> (Vec<TopicProduceResponse>, Vec<(Place, Awaited)>) {
    let mut errors_left = RECORD_ERRORS_MAX;
    let mut awaited = Vec::new();
    let topics = topics
        .into_iter()
        .enumerate()
        .map(|(place, topic)| TopicProduceResponse {
            name: topic.name,
            topic_id: topic.id,
            partition_responses: topic
                .partitions
                .into_iter()
                .enumerate()
                .map(|(index, step)| {
                    let watched = step.led.as_ref().ok().map(|led| Watched::new(&led.log));
                    let (mut response, last_offset) = append(step, version, acks, clock.now_ms());
                    let unsettled = watched
                        .zip(last_offset)
                        .and_then(|(watched, last)| watched.appended(last));
                    awaited.extend(unsettled.map(|one| ((place, index), one)));
                    response.record_errors.truncate(errors_left);
                    response.record_errors.shrink_to_fit();
                    errors_left -= response.record_errors.len();
                    response
                })
                .collect(),
        });
    (topics.collect(), awaited)
}

/// The response, and the offset of the last record that was appended.
fn append(step: Step, version: i16, acks: i16, now_ms: i64) -> (PartitionProduceResponse, Option<i64>) {
    let refused = |error: ErrorCode| PartitionProduceResponse {
        index: step.index,
        error_code: error.into(),
        base_offset: -1,
        ..Default::default()
    };
    let led = match step.led {
        Ok(led) => led,
        Err(NotServed { error, leader }) => {
            let (leader_id, leader_epoch) = leader.unwrap_or((-1, -1));
            let current_leader = LeaderIdAndEpoch {
                leader_id,
                leader_epoch,
            };
            let corrupt = error == ErrorCode::CorruptMessage;
            let response = PartitionProduceResponse {
                current_leader,
                error_message: corrupt.then(|| "the request has records that are no record batch".to_owned()),
                ..refused(error)
            };
            return (response, None);
        }
    };
    if version < ZSTD_SINCE && is_one_batch(&step.records) {
        match codec(&step.records) {
            ZSTD => return (refused(ErrorCode::UnsupportedCompressionType), None),
            0..ZSTD => {}
            _ => return (refused(ErrorCode::InvalidRecord), None),
        }
    }
    if !step.is_malformed
        && acks == ALL_REPLICAS
        && led.is_under_min_isr(led.log.config().min_insync_replicas)
    {
        let response = PartitionProduceResponse {
            log_start_offset: led.log.log_start_offset(),
            ..refused(ErrorCode::NotEnoughReplicas)
        };
        return (response, None);
    }
    let appended = led
        .log
        .append_guarded(&step.records, step.guard, led.leader_epoch, now_ms);
    match appended {
        Ok(appended) => {
            let response = PartitionProduceResponse {
                index: step.index,
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time_ms,
                log_start_offset: appended.log_start_offset,
                ..Default::default()
            };
            (response, Some(appended.last_offset))
        }
        Err(error) => {
            // A disk that fails is told of once, by the log; it would be told of with every request here.
            let response = PartitionProduceResponse {
                log_start_offset: if error.was_examined() {
                    led.log.log_start_offset()
                } else {
                    -1
                },
                record_errors: record_errors(&error),
                error_message: Some(error.to_string()),
                ..refused(error.code())
            };
            (response, None)
        }
    }
}

fn record_errors(error: &AppendError) -> Vec<BatchIndexAndErrorMessage> {
    let AppendError::InvalidRecords { errors, .. } = error else {
        return Vec::new();
    };
    let errors = errors.iter().map(|problem| BatchIndexAndErrorMessage {
        batch_index: problem.batch_index,
        batch_index_error_message: Some(problem.message.clone()),
    });
    errors.collect()
}

/// Whether a batch of the request says that it is part of a transaction. Whose it would be, only the request can say.
/// Kafka looks at the partitions one by one, and one that begins with no batch at all fails the whole request.
fn is_transactional(request: &ProduceRequest) -> Result<bool, ErrorCode> {
    const TRANSACTIONAL: u8 = 0x10;
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    for partition in partitions {
        let attributes = first_attributes(&partition.records)?;
        if attributes.is_some_and(|attributes| attributes & TRANSACTIONAL != 0) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The attributes of the first batch, if there is a whole one of the magic that has them.
fn first_attributes(records: &[u8]) -> Result<Option<u8>, ErrorCode> {
    const LENGTH: usize = 8;
    const MAGIC: usize = 16;
    const OVERHEAD: usize = 12;
    /// The smallest message of magic 0.
    const LENGTH_MIN: usize = 14;
    let Some(length) = records.get(LENGTH..).and_then(|rest| rest.first_chunk()) else {
        return Ok(None);
    };
    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
    let magic = records.get(MAGIC);
    if length < LENGTH_MIN || magic.is_some_and(|magic| *magic > 2) {
        return Err(ErrorCode::CorruptMessage);
    }
    let whole = records.len() - OVERHEAD >= length && magic == Some(&2);
    Ok(records.get(ATTRIBUTES_LOW_BYTE).copied().filter(|_| whole))
}

/// Whether Kafka refuses the records before it does anything with the request.
fn is_malformed(records: &[u8], version: i16) -> bool {
    !is_one_batch(records) || version < ZSTD_SINCE && codec(records) >= ZSTD
}

/// The codec that the first batch says it is compressed with.
fn codec(records: &[u8]) -> u8 {
    const CODEC: u8 = 0b111;
    records
        .get(ATTRIBUTES_LOW_BYTE)
        .map_or(0, |attributes| attributes & CODEC)
}

/// Where the leaders are that the response points to.
fn node_endpoints(context: &Context, responses: &[TopicProduceResponse]) -> Vec<NodeEndpoint> {
    let partitions = responses.iter().flat_map(|topic| &topic.partition_responses);
    let leaders = partitions.map(|partition| partition.current_leader.leader_id);
    let nodes = context.broker.nodes_of(leaders);
    nodes
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host_for(&context.peer),
            port: node.port.into(),
            rack: context.broker.settings().rack.clone(),
        })
        .collect()
}
