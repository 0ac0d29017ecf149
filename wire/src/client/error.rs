//! What can go wrong between a client and its cluster.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    error::{DecodeError, EncodeError, ErrorCode},
    message::ApiKey,
};

/// Why there is no answer, or what a broker answered instead.
#[derive(Debug, Clone, Error)]
pub enum Error {
    /// A broker cannot be connected to.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the system or the broker said.
        reason: String,
    },
    /// A connection ended before the answer was there.
    #[error("the connection to node {node} was closed: {reason}")]
    Closed {
        /// The node; below zero for an address of the configuration.
        node: i32,
        /// Why.
        reason: Arc<str>,
        /// Whether the broker may have got the request.
        sent: bool,
    },
    /// An answer did not come in time; its connection is closed.
    #[error("node {node} did not answer {api} within {after:?}")]
    TimedOut {
        /// The node.
        node: i32,
        /// What was asked.
        api: &'static str,
        /// How long that was.
        after: Duration,
        /// Whether the broker may have got the request.
        sent: bool,
    },
    /// An answer that is not one.
    #[error("the answer to {api} cannot be read: {source}")]
    Protocol {
        /// What was asked.
        api: &'static str,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An answer that can be read but does not fit its request.
    #[error("the answer to {api} makes no sense: {reason}")]
    Nonsense {
        /// What was asked.
        api: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// A request that has no form on the wire.
    #[error("{api} cannot be asked so: {source}")]
    Request {
        /// What was to be asked.
        api: &'static str,
        /// What is wrong with it.
        source: EncodeError,
    },
    /// The broker speaks no version of a request that this client speaks.
    #[error("the broker does not speak {} in a version that is known here{}", api.name(), spoken(*broker))]
    Unsupported {
        /// What was to be asked.
        api: ApiKey,
        /// The versions that the broker speaks, if any.
        broker: Option<(i16, i16)>,
    },
    /// The broker answered with an error.
    #[error("{what}: {code}")]
    Broker {
        /// The error.
        code: ErrorCode,
        /// What was asked for, and what the broker adds to its error.
        what: String,
    },
    /// Nobody leads a partition at the moment.
    #[error("partition {partition} of topic {topic} has no leader at the moment")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The cluster does not know a topic.
    #[error("the cluster has no topic {topic}")]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// A topic was deleted and made again: the one of that name has another id than the one that is meant.
    #[error("the topic {topic} was deleted, and the one that has its name now is another")]
    OtherTopic {
        /// The topic.
        topic: String,
    },
    /// A topic has no such partition.
    #[error("topic {topic} has no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// The cluster does not know a node.
    #[error("the cluster has no node {node} at the moment")]
    UnknownNode {
        /// The node, -1 for a controller that is not there.
        node: i32,
    },
    /// A log does not have what was read of it before: it was cut back, and has gone another way since (KIP-595).
    #[error("partition {partition} of topic {topic} was cut back: epoch {epoch} ends at offset {end_offset}")]
    Diverging {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The last epoch that both have in common, or an earlier one.
        epoch: i32,
        /// Where that epoch ends in the log.
        end_offset: i64,
    },
    /// A batch was given to a slot that takes none.
    #[error("slot {slot} was closed, or not opened")]
    SlotClosed {
        /// The slot.
        slot: u32,
    },
    /// The client was closed.
    #[error("the client was closed")]
    ClientClosed,
}

impl Error {
    /// Whether the broker may have got the request, and done what it asks for.
    pub fn may_have_been_sent(&self) -> bool {
        match self {
            Error::Closed { sent, .. } | Error::TimedOut { sent, .. } => *sent,
            Error::Protocol { .. }
            | Error::Nonsense { .. }
            | Error::Broker { .. }
            | Error::Diverging { .. } => true,
            Error::Connect { .. }
            | Error::Request { .. }
            | Error::Unsupported { .. }
            | Error::NoLeader { .. }
            | Error::UnknownTopic { .. }
            | Error::OtherTopic { .. }
            | Error::UnknownPartition { .. }
            | Error::UnknownNode { .. }
            | Error::SlotClosed { .. }
            | Error::ClientClosed => false,
        }
    }

    /// Whether the same may succeed later. Topics that are not known are among that, as in Kafka: a node may not have
    /// heard of a new topic yet.
    pub fn is_retriable(&self) -> bool {
        match self {
            Error::Connect { .. }
            | Error::Closed { .. }
            | Error::TimedOut { .. }
            | Error::NoLeader { .. }
            | Error::UnknownTopic { .. }
            | Error::UnknownPartition { .. }
            | Error::UnknownNode { .. } => true,
            Error::Broker { code, .. } => code.is_retriable(),
            Error::Protocol { .. }
            | Error::Nonsense { .. }
            | Error::Request { .. }
            | Error::Unsupported { .. }
            | Error::Diverging { .. }
            | Error::OtherTopic { .. }
            | Error::SlotClosed { .. }
            | Error::ClientClosed => false,
        }
    }

    /// The error code that says the same, if there is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Broker { code, .. } => Some(*code),
            Error::NoLeader { .. } => Some(ErrorCode::LeaderNotAvailable),
            Error::UnknownTopic { .. } | Error::UnknownPartition { .. } => {
                Some(ErrorCode::UnknownTopicOrPartition)
            }
            Error::OtherTopic { .. } => Some(ErrorCode::UnknownTopicId),
            Error::Unsupported { .. } => Some(ErrorCode::UnsupportedVersion),
            _ => None,
        }
    }

    pub(super) fn broker(code: i16, what: impl Into<String>) -> Error {
        Error::Broker {
            code: ErrorCode::from_code(code),
            what: what.into(),
        }
    }
}

fn spoken(broker: Option<(i16, i16)>) -> String {
    match broker {
        None => String::new(),
        Some((from, to)) => format!(" (its versions are {from} to {to})"),
    }
}
