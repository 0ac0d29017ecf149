//! Finding the log that a request means, and refusing what its leader would refuse.

use std::collections::BTreeSet;
use std::sync::Arc;

use heliostat_wire::{ErrorCode, Uuid};

use crate::{
    broker::{Broker, Node},
    log::Log,
    state::{Image, Partition, Topic, partition::NO_LEADER},
};

/// A partition that the asked node leads.
#[derive(Debug, Clone)]
pub(crate) struct Led {
    pub(crate) log: Arc<Log>,
    pub(crate) leader_epoch: i32,
    /// How many replicas are in sync.
    pub(crate) in_sync: usize,
    /// How many replicas there are.
    pub(crate) replicas: usize,
}

/// Why a partition cannot be served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotServed {
    pub(crate) error: ErrorCode,
    /// The leader and its epoch, where knowing them helps the client to go on (KIP-951).
    pub(crate) leader: Option<(i32, i32)>,
}

impl Led {
    /// Whether too few replicas are in sync for a producer that wants all of them to have its records.
    pub(crate) fn is_under_min_isr(&self, min_isr: i32) -> bool {
        self.in_sync < usize::try_from(min_isr).unwrap_or(0).min(self.replicas)
    }
}

/// How a request names a topic: by its name, or in newer versions by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TopicKey<'a> {
    Name(&'a str),
    Id(Uuid),
}

/// Stands for "whatever the epoch is" in requests.
const ANY_EPOCH: i32 = -1;

impl<'a> TopicKey<'a> {
    /// The id if the version of the request has ids, else the name.
    pub(crate) fn of(name: &'a str, id: Uuid, has_ids: bool) -> Self {
        if has_ids {
            TopicKey::Id(id)
        } else {
            TopicKey::Name(name)
        }
    }

    /// The topic.
    pub(crate) fn find(self, image: &Image) -> Result<&Arc<Topic>, NotServed> {
        let (found, error) = match self {
            TopicKey::Name(name) => (image.topic(name), ErrorCode::UnknownTopicOrPartition),
            TopicKey::Id(id) => (image.topic_by_id(id), ErrorCode::UnknownTopicId),
        };
        found.ok_or(error.into())
    }
}

impl Broker {
    /// The log of a partition that `node` leads, if the client's idea of the leader's epoch is right.
    pub(crate) fn led_by(
        &self,
        node: i32,
        image: &Image,
        topic: &Topic,
        index: i32,
        epoch: i32,
    ) -> Result<Led, NotServed> {
        let partition = topic.partition(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let leader_epoch = image.leader_epoch(topic, index);
        check_leader(node, partition, leader_epoch, epoch)?;
        // The state knows a topic a little longer than its logs are there when it is deleted.
        let log = self
            .storage
            .log(topic, index)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        Ok(Led {
            log,
            leader_epoch,
            in_sync: partition.isr.len(),
            replicas: partition.replicas.len(),
        })
    }

    /// The node with this id.
    pub(crate) fn node(&self, id: i32) -> Option<&Node> {
        self.nodes().iter().find(|node| node.id == id)
    }

    /// The nodes with these ids, each once. An id of no node, such as -1 where no leader is named, has none.
    pub(crate) fn nodes_of(&self, ids: impl Iterator<Item = i32>) -> impl Iterator<Item = &Node> {
        let ids: BTreeSet<i32> = ids.collect();
        ids.into_iter().filter_map(|id| self.node(id))
    }
}

fn check_leader(node: i32, partition: &Partition, leader_epoch: i32, epoch: i32) -> Result<(), NotServed> {
    let error = match epoch {
        _ if epoch == ANY_EPOCH && partition.leader == node => return Ok(()),
        _ if partition.leader != node => ErrorCode::NotLeaderOrFollower,
        _ if epoch < leader_epoch => ErrorCode::FencedLeaderEpoch,
        _ if epoch > leader_epoch => ErrorCode::UnknownLeaderEpoch,
        _ => return Ok(()),
    };
    // That there is no leader helps nobody, and librdkafka (2.12) reads memory that it has not filled when an answer
    // says so beside the leaders of other partitions.
    let helps = error != ErrorCode::UnknownLeaderEpoch && partition.leader != NO_LEADER;
    Err(NotServed {
        error,
        leader: helps.then_some((partition.leader, leader_epoch)),
    })
}

impl From<ErrorCode> for NotServed {
    fn from(error: ErrorCode) -> Self {
        NotServed { error, leader: None }
    }
}
