//! What a group can be asked.

use heliostat_wire::ErrorCode;
use heliostat_wire::message::consumer_group_describe::DescribedGroup as DescribedConsumerGroup;
use heliostat_wire::message::describe_groups::DescribedGroup;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupResponse};
use heliostat_wire::message::leave_group::{MemberIdentity, MemberResponse};
use heliostat_wire::message::offset_fetch::{OffsetFetchRequestTopics, OffsetFetchResponseTopics};
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};
use heliostat_wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use tokio::sync::oneshot;

use super::member::Client;
use super::store::NotStored;

/// A request to a group, with where its answer goes. An answer that is dropped instead of sent means that the group is
/// gone (deleted, or the broker is stopping). What is large is boxed: the queue of each group has room for some of them.
#[derive(Debug)]
pub(super) enum Call {
    Join {
        client: Client,
        version: i16,
        request: Box<JoinGroupRequest>,
        answer: oneshot::Sender<JoinGroupResponse>,
    },
    Sync {
        request: Box<SyncGroupRequest>,
        answer: oneshot::Sender<SyncGroupResponse>,
    },
    Heartbeat {
        member: MemberIdentity,
        generation: i32,
        answer: oneshot::Sender<ErrorCode>,
    },
    Leave {
        members: Vec<MemberIdentity>,
        answer: oneshot::Sender<Vec<MemberResponse>>,
    },
    ConsumerHeartbeat {
        client: Client,
        request: Box<ConsumerGroupHeartbeatRequest>,
        answer: oneshot::Sender<ConsumerGroupHeartbeatResponse>,
    },
    ConsumerDescribe {
        /// `None` for a classic group.
        answer: oneshot::Sender<Option<DescribedConsumerGroup>>,
    },
    Commit {
        commit: Box<Commit>,
        answer: oneshot::Sender<Result<Vec<ErrorCode>, ErrorCode>>,
    },
    EndTransaction {
        producer_id: i64,
        commit: bool,
        answer: oneshot::Sender<Result<(), NotStored>>,
    },
    Fetch {
        topics: Option<Vec<OffsetFetchRequestTopics>>,
        require_stable: bool,
        /// The member that asks and its epoch, since the consumer protocol.
        member: (Option<String>, i32),
        answer: oneshot::Sender<Result<Vec<OffsetFetchResponseTopics>, ErrorCode>>,
    },
    Describe {
        /// `None` for a group that is no classic one.
        answer: oneshot::Sender<Option<DescribedGroup>>,
    },
    Delete {
        answer: oneshot::Sender<ErrorCode>,
    },
    DeleteOffsets {
        partitions: Vec<(String, i32)>,
        answer: oneshot::Sender<Result<Vec<ErrorCode>, ErrorCode>>,
    },
    ForgetTopic {
        topic: String,
        answer: oneshot::Sender<Result<(), NotStored>>,
    },
}

/// Offsets to commit, as OffsetCommit and TxnOffsetCommit bring them.
#[derive(Debug)]
pub(super) struct Commit {
    pub member: MemberIdentity,
    pub generation: i32,
    /// Whether the request's version can carry the epoch of a member of the consumer protocol.
    pub modern: bool,
    /// The producer whose transaction the commit is part of.
    pub producer_id: Option<i64>,
    /// How long old clients want the offsets to be kept, in milliseconds.
    pub retention: Option<i64>,
    pub offsets: Vec<CommitOffset>,
}

/// One partition's offset to commit.
#[derive(Debug)]
pub(super) struct CommitOffset {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}
