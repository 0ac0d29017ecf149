//! Produce (0), versions 3-13: appends one record batch to each partition; topics go by id since version 13.
//!
//! A batch is acknowledged when consumers can see it; what that takes is the storage's flush policy. There is one copy of
//! it, so that acks=1 and acks=all are the same, as in Kafka with one replica. Other produce requests of the connection
//! go on meanwhile. With acks=0 nothing is answered, and an error closes the connection: the client learns of it in no
//! other way.

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
    reply::{Later, Outcome, Settled},
};
use crate::{
    clock::Clock,
    log::{AppendError, Guard},
    partitions::{Led, NotServed, TopicKey},
    txn::{self, Arrival},
};
use durable::{Awaited, Place, Watched};

/// The first version in which topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 13;

/// The first version whose clients know zstd.
const ZSTD_SINCE: i16 = 7;

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
    /// Allows the first batch of a transaction.
    guard: Option<Guard>,
}

pub(super) async fn handle(context: Context, request: ProduceRequest) -> Acknowledgement {
    let (acks, timeout_ms) = (request.acks, request.timeout_ms);
    let refusal = match acks {
        _ if request.transactional_id.is_none() && is_transactional(&request) => {
            Some(ErrorCode::TransactionalIdAuthorizationFailed)
        }
        -1..=1 => None,
        _ => Some(ErrorCode::InvalidRequiredAcks),
    };
    let transactional_id = request.transactional_id.clone();
    let mut topics = plan(&context, request, refusal);
    admit(&context, transactional_id.as_deref(), &mut topics).await;
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
    // Kafka goes by partitions: a topic without any leaves no trace.
    let topics = request
        .topic_data
        .into_iter()
        .filter(|topic| !topic.partition_data.is_empty());
    let topics = topics.map(|topic| {
        let found = TopicKey::of(&topic.name, topic.topic_id, by_id).find(&image);
        let partitions = topic.partition_data.into_iter().map(|partition| {
            let led = match refusal {
                Some(error) => Err(error.into()),
                None => found.and_then(|topic| {
                    context
                        .broker
                        .led_by(context.node_id(), &image, topic, partition.index, -1)
                }),
            };
            Step {
                index: partition.index,
                records: partition.records,
                led,
                guard: None,
            }
        });
        Topic {
            partitions: partitions.collect(),
            name: topic.name,
            id: topic.topic_id,
        }
    });
    topics.collect()
}

/// Lets transactional batches in, or refuses every partition that would otherwise be appended to.
async fn admit(context: &Context, transactional_id: Option<&str>, topics: &mut [Topic]) {
    let served = topics.iter().flat_map(|topic| &topic.partitions);
    let arrivals: Vec<_> = served
        .filter_map(|step| {
            let led = step.led.as_ref().ok()?;
            let (log, records) = (&led.log, &step.records);
            Some(Arrival { log, records })
        })
        .collect();
    let admitted = txn::admit(&context.broker, transactional_id, context.api_version, &arrivals).await;
    let served = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    let served = served.filter(|step| step.led.is_ok());
    match admitted {
        Ok(guards) => {
            for (step, guard) in served.zip(guards) {
                step.guard = guard;
            }
        }
        Err(error) => served.for_each(|step| step.led = Err(error.into())),
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
            let response = PartitionProduceResponse {
                current_leader,
                ..refused(error)
            };
            return (response, None);
        }
    };
    if version < ZSTD_SINCE && is_zstd(&step.records) {
        return (refused(ErrorCode::UnsupportedCompressionType), None);
    }
    if acks == ALL_REPLICAS && led.is_under_min_isr(led.log.config().min_insync_replicas) {
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
fn is_transactional(request: &ProduceRequest) -> bool {
    const TRANSACTIONAL: u8 = 0x10;
    let mut partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions.any(|partition| {
        let attributes = partition.records.get(ATTRIBUTES_LOW_BYTE);
        attributes.is_some_and(|attributes| attributes & TRANSACTIONAL != 0)
    })
}

/// Whether the first batch says that it is compressed with zstd.
fn is_zstd(records: &[u8]) -> bool {
    const CODEC: u8 = 0b111;
    const ZSTD: u8 = 4;
    records
        .get(ATTRIBUTES_LOW_BYTE)
        .is_some_and(|attributes| attributes & CODEC == ZSTD)
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
