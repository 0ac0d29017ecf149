//! Which partitions are read, in which order, and how much of each.

use std::sync::Arc;

use heliostat_wire::{
    ErrorCode, FileSlice, Payload, Uuid,
    message::{
        FetchRequest,
        fetch::{
            AbortedTransaction, EpochEndOffset, FetchPartition, FetchableTopicResponse, LeaderIdAndEpoch,
            PartitionData,
        },
    },
};
use tokio::sync::watch;

use super::{
    memory::{OpenFile, reserve},
    refused,
};
use crate::{
    api::{Context, blocking, distinct::last},
    log::{self, Isolation, Log, ReadError, ReadRequest, Visible},
    partitions::{Led, NotServed, TopicKey},
    state::{Image, Topic},
};

/// The first version in which topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 13;

const READ_COMMITTED: i8 = 1;

/// From this size on records are sent from their file: for less, a copy costs less than sending it apart.
const IN_FILE_BYTES_MIN: usize = 32 * 1024;

/// How much may be read, and up to where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_bytes: usize,
    isolation: Isolation,
}

/// The topics of a request, in its order.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    topics: Arc<Vec<PlannedTopic>>,
    is_follower: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) topics: Vec<FetchableTopicResponse>,
    pub(super) bytes: usize,
    /// A partition has an error: the client is not kept waiting for more.
    pub(super) has_error: bool,
}

#[derive(Debug)]
struct PlannedTopic {
    name: String,
    id: Uuid,
    partitions: Vec<PlannedPartition>,
}

#[derive(Debug)]
struct PlannedPartition {
    request: FetchPartition,
    led: Result<Led, NotServed>,
}

impl Limits {
    pub(super) fn new(request: &FetchRequest, broker_max_bytes: usize) -> Self {
        let asked = usize::try_from(request.max_bytes).unwrap_or(0);
        let isolation = match request.isolation_level {
            READ_COMMITTED => Isolation::ReadCommitted,
            _ => Isolation::ReadUncommitted,
        };
        Limits {
            max_bytes: asked.min(broker_max_bytes),
            isolation,
        }
    }
}

impl Plan {
    pub(super) fn new(context: &Context, request: FetchRequest) -> Self {
        let by_id = context.api_version >= TOPIC_IDS_SINCE;
        let is_follower = request.replica_id >= 0 || request.replica_state.replica_id >= 0;
        let image = context.broker.image();
        // Kafka goes by partitions: a topic without any leaves no trace.
        let topics = request
            .topics
            .into_iter()
            .filter(|topic| !topic.partitions.is_empty());
        let topics = topics.map(|topic| {
            let found = TopicKey::of(&topic.topic, topic.topic_id, by_id).find(&image);
            // The last of several offsets for one partition counts.
            let partitions = last(topic.partitions, |asked| asked.partition);
            let partitions = partitions.into_iter().map(|request| PlannedPartition {
                led: led(context, &image, found, &request, is_follower),
                request,
            });
            PlannedTopic {
                partitions: partitions.collect(),
                name: topic.topic,
                id: topic.topic_id,
            }
        });
        Plan {
            topics: Arc::new(topics.collect()),
            is_follower,
        }
    }

    /// Asks again who leads what.
    pub(super) fn renew(&mut self, context: &Context) {
        let by_id = context.api_version >= TOPIC_IDS_SINCE;
        let image = context.broker.image();
        let topics = self.topics.iter().map(|topic| {
            let found = TopicKey::of(&topic.name, topic.id, by_id).find(&image);
            let partitions = topic.partitions.iter().map(|planned| PlannedPartition {
                led: led(context, &image, found, &planned.request, self.is_follower),
                request: planned.request.clone(),
            });
            PlannedTopic {
                partitions: partitions.collect(),
                name: topic.name.clone(),
                id: topic.id,
            }
        });
        self.topics = Arc::new(topics.collect());
    }

    /// News of every log that can be read.
    pub(super) fn watch(&self) -> Vec<watch::Receiver<Visible>> {
        self.partitions()
            .filter_map(|partition| Some(partition.led.as_ref().ok()?.log.watch()))
            .collect()
    }

    /// Reads what there is, in the order of the request: clients that have no session rotate it themselves.
    pub(super) async fn read(&self, limits: Limits) -> Read {
        // Most reads find nothing, or what they find is in memory, but some wait for the disk, or for an append that does.
        let at_end = self.partitions().map(|partition| partition.unread(limits));
        if let Some(data) = at_end.collect::<Option<Vec<_>>>() {
            return self.done(data);
        }
        let plan = self.clone();
        blocking(move || plan.read_all(limits)).await
    }

    fn partitions(&self) -> impl Iterator<Item = &PlannedPartition> {
        self.topics.iter().flat_map(|topic| &topic.partitions)
    }

    fn read_all(&self, limits: Limits) -> Read {
        let (mut data, mut bytes) = (Vec::with_capacity(self.partitions().count()), 0);
        for partition in self.partitions() {
            let partition = partition.read(limits, bytes);
            bytes += partition.records.len();
            data.push(partition);
        }
        self.done(data)
    }

    /// What was read of each partition, in their order.
    fn done(&self, data: Vec<PartitionData>) -> Read {
        let has_error = |partition: &PartitionData| {
            partition.error_code != 0 || partition.diverging_epoch.end_offset >= 0
        };
        Read {
            bytes: data.iter().map(|partition| partition.records.len()).sum(),
            has_error: data.iter().any(has_error),
            topics: self.topics(data.into_iter()),
        }
    }

    /// Partitions, which are in the order of the request, under their topics.
    fn topics(&self, mut data: impl Iterator<Item = PartitionData>) -> Vec<FetchableTopicResponse> {
        let topics = self.topics.iter().map(|topic| FetchableTopicResponse {
            topic: topic.name.clone(),
            topic_id: topic.id,
            partitions: data.by_ref().take(topic.partitions.len()).collect(),
        });
        topics.collect()
    }
}

/// The log of a partition of a topic that was looked up, if this node leads it and the client may read it.
fn led(
    context: &Context,
    image: &Image,
    found: Result<&Arc<Topic>, NotServed>,
    request: &FetchPartition,
    is_follower: bool,
) -> Result<Led, NotServed> {
    let topic = found?;
    // No other broker follows one of these.
    if is_follower {
        return Err(ErrorCode::NotLeaderOrFollower.into());
    }
    // Any negative epoch stands for none here, elsewhere only -1 does.
    let (index, epoch) = (request.partition, request.current_leader_epoch.max(-1));
    context
        .broker
        .led_by(context.node_id(), image, topic, index, epoch)
}

impl PlannedPartition {
    /// The answer where there is nothing to be read: the client is at the end, or cannot be served. `None` if the log must
    /// be asked, which may be busy for as long as a disk takes.
    fn unread(&self, limits: Limits) -> Option<PartitionData> {
        let index = self.request.partition;
        let led = match &self.led {
            Ok(led) => led,
            Err(NotServed { error, leader }) => {
                let (leader_id, leader_epoch) = leader.unwrap_or((-1, -1));
                let current_leader = LeaderIdAndEpoch {
                    leader_id,
                    leader_epoch,
                };
                return Some(PartitionData {
                    current_leader,
                    ..refused(index, *error)
                });
            }
        };
        let visible = led.log.visible();
        let at_end = visible.high_watermark == self.request.fetch_offset && !visible.closed;
        (at_end && self.request.last_fetched_epoch < 0).then(|| PartitionData {
            aborted_transactions: aborted(limits.isolation, &[]),
            ..standing(index, &visible)
        })
    }

    /// `taken` bytes have been read from other partitions. The first batch of all is read whole, however large.
    fn read(&self, limits: Limits, taken: usize) -> PartitionData {
        let index = self.request.partition;
        let led = match (self.unread(limits), &self.led) {
            (Some(unread), _) => return unread,
            (None, Err(refusal)) => return refused(index, refusal.error),
            (None, Ok(led)) => led,
        };
        match self.divergence(&led.log) {
            Ok(None) => {}
            Ok(Some(diverging_epoch)) => {
                return PartitionData {
                    diverging_epoch,
                    ..standing(index, &led.log.visible())
                };
            }
            Err(error) => return refused(index, error),
        }
        let asked = usize::try_from(self.request.partition_max_bytes).unwrap_or(0);
        // No more can be read than there is.
        let has_news = led.log.high_watermark() > self.request.fetch_offset;
        let there_is = if has_news { led.log.size_bytes() } else { 0 };
        let wanted = asked
            .min(limits.max_bytes.saturating_sub(taken))
            .min(usize::try_from(there_is).unwrap_or(usize::MAX));
        let open_file = OpenFile::reserve();
        // What is left in its file takes no memory.
        let (reserved, in_file_from) = match &open_file {
            Some(_) => (reserve(wanted.min(IN_FILE_BYTES_MIN)), IN_FILE_BYTES_MIN),
            None => (reserve(wanted), usize::MAX),
        };
        let result = led.log.read_some(ReadRequest {
            offset: self.request.fetch_offset,
            max_bytes: if open_file.is_some() {
                wanted
            } else {
                reserved.bytes()
            },
            min_one_batch: taken == 0,
            isolation: limits.isolation,
            in_file_from,
        });
        match result {
            Ok(result) => PartitionData {
                partition_index: index,
                high_watermark: result.high_watermark,
                last_stable_offset: result.last_stable_offset,
                log_start_offset: result.log_start_offset,
                aborted_transactions: aborted(limits.isolation, &result.aborted_transactions),
                records: match result.in_file {
                    None => reserved.fill(result.records).into(),
                    Some(slice) => kept_open(slice, open_file),
                },
                ..Default::default()
            },
            Err(error) => {
                if matches!(error, ReadError::Storage(_) | ReadError::Damaged { .. }) {
                    tracing::error!(%error, topic = led.log.topic(), partition = index, "records cannot be read");
                }
                refused(index, error.code())
            }
        }
    }

    /// Where the log of a client that has read another history leaves ours (KIP-595).
    fn divergence(&self, log: &Log) -> Result<Option<EpochEndOffset>, ErrorCode> {
        let epoch = self.request.last_fetched_epoch;
        if epoch < 0 {
            return Ok(None);
        }
        let (known, end_offset) = log
            .end_offset_for_epoch(epoch)
            .ok_or(ErrorCode::OffsetOutOfRange)?;
        let diverges = known < epoch || end_offset < self.request.fetch_offset;
        Ok(diverges.then_some(EpochEndOffset {
            epoch: known,
            end_offset,
        }))
    }
}

/// Records in a file that counts as open until they have been sent.
fn kept_open(slice: FileSlice, open_file: Option<OpenFile>) -> Payload {
    Payload::File(FileSlice {
        keeps: open_file.map(|file| Arc::new(file) as _),
        ..slice
    })
}

/// Where a log stands, without records.
fn standing(partition_index: i32, visible: &Visible) -> PartitionData {
    PartitionData {
        partition_index,
        high_watermark: visible.high_watermark,
        last_stable_offset: visible.last_stable_offset,
        log_start_offset: visible.log_start_offset,
        ..Default::default()
    }
}

/// What a reader of committed records must leave out; who reads everything gets null.
fn aborted(isolation: Isolation, found: &[log::AbortedTransaction]) -> Option<Vec<AbortedTransaction>> {
    let entry = |aborted: &log::AbortedTransaction| AbortedTransaction {
        producer_id: aborted.producer_id,
        first_offset: aborted.first_offset,
    };
    match isolation {
        Isolation::ReadCommitted => Some(found.iter().map(entry).collect()),
        Isolation::ReadUncommitted => None,
    }
}
