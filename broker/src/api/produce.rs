//! Produce (0), versions 3-13: appends one record batch to each partition; topics go by id since version 13.
//!
//! A batch is acknowledged when consumers can see it; what that takes is the storage's flush policy. With acks=0
//! nothing is answered, and an error closes the connection: the client learns of it in no other way.

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

use super::{Context, blocking, reply::Outcome};
use crate::{
    clock::now_ms,
    log::AppendError,
    partitions::{Led, NotServed, TopicKey},
};

/// The first version in which topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 13;

/// The first version whose clients know zstd.
const ZSTD_SINCE: i16 = 7;

/// The acks of a producer that waits for all in-sync replicas.
const ALL_REPLICAS: i16 = -1;

/// More bad records are not named in one response: a batch of a few hundred bytes can hold a thousand of them, and a
/// request many such batches.
const RECORD_ERRORS_MAX: usize = 1000;

/// What is answered to a produce request.
pub(super) enum Acknowledgement {
    Response(ProduceResponse),
    Nothing,
    Close(String),
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
}

pub(super) async fn handle(context: Context, request: ProduceRequest) -> Acknowledgement {
    let acks = request.acks;
    let refusal = match acks {
        -1..=1 => None,
        _ => Some(ErrorCode::InvalidRequiredAcks),
    };
    let topics = plan(&context, request, refusal);
    let version = context.api_version;
    let responses = blocking(move || append_all(topics, version, acks)).await;
    if acks == 0 {
        let failed = responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .find(|p| p.error_code != 0);
        return match failed {
            None => Acknowledgement::Nothing,
            Some(partition) => {
                let error = ErrorCode::from_code(partition.error_code);
                Acknowledgement::Close(format!("records sent with acks=0 were not appended: {error}"))
            }
        };
    }
    let node_endpoints = node_endpoints(&context, &responses);
    Acknowledgement::Response(ProduceResponse {
        responses,
        node_endpoints,
        ..Default::default()
    })
}

impl Outcome<ProduceResponse> for Acknowledgement {
    fn response(self) -> Result<Option<ProduceResponse>, String> {
        match self {
            Acknowledgement::Response(response) => Ok(Some(response)),
            Acknowledgement::Nothing => Ok(None),
            Acknowledgement::Close(reason) => Err(reason),
        }
    }
}

fn plan(context: &Context, request: ProduceRequest, refusal: Option<ErrorCode>) -> Vec<Topic> {
    let image = context.broker.image();
    let by_id = context.api_version >= TOPIC_IDS_SINCE;
    // Kafka goes by partitions: a topic without any leaves no trace.
    let topics = request.topic_data.into_iter().filter(|topic| !topic.partition_data.is_empty());
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

fn append_all(topics: Vec<Topic>, version: i16, acks: i16) -> Vec<TopicProduceResponse> {
    let mut errors_left = RECORD_ERRORS_MAX;
    let topics = topics.into_iter().map(|topic| TopicProduceResponse {
        name: topic.name,
        topic_id: topic.id,
        partition_responses: topic
            .partitions
            .into_iter()
            .map(|step| {
                let mut response = append(step, version, acks);
                response.record_errors.truncate(errors_left);
                response.record_errors.shrink_to_fit();
                errors_left -= response.record_errors.len();
                response
            })
            .collect(),
    });
    topics.collect()
}

fn append(step: Step, version: i16, acks: i16) -> PartitionProduceResponse {
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
            return PartitionProduceResponse {
                current_leader,
                ..refused(error)
            };
        }
    };
    if version < ZSTD_SINCE && is_zstd(&step.records) {
        return refused(ErrorCode::UnsupportedCompressionType);
    }
    if acks == ALL_REPLICAS && led.is_under_min_isr(led.log.config().min_insync_replicas) {
        return refused(ErrorCode::NotEnoughReplicas);
    }
    match led.log.append(&step.records, led.leader_epoch, now_ms()) {
        Ok(appended) => PartitionProduceResponse {
            index: step.index,
            base_offset: appended.base_offset,
            log_append_time_ms: appended.log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            ..Default::default()
        },
        Err(error) => {
            if let AppendError::Storage(error) = &error {
                tracing::error!(%error, topic = led.log.topic(), partition = step.index, "records were not appended");
            }
            PartitionProduceResponse {
                log_start_offset: if error.was_examined() { led.log.log_start_offset() } else { -1 },
                record_errors: record_errors(&error),
                error_message: Some(error.to_string()),
                ..refused(error.code())
            }
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

/// Whether the first batch says that it is compressed with zstd.
fn is_zstd(records: &[u8]) -> bool {
    const ATTRIBUTES_LOW_BYTE: usize = 22;
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
