//! An error that goes to a client: a code, and a text for people.

use heliostat_wire::ErrorCode;

use crate::state::StateError;

/// Why an admin request, or a part of one, was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The code that clients act on.
    pub(crate) code: ErrorCode,
    /// The text that people read.
    pub(crate) message: String,
}

impl ApiError {
    /// An error with this text.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError {
            code,
            message: message.into(),
        }
    }

    /// A request that is wrong by itself, whatever the state of the cluster.
    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// A configuration that cannot be.
    pub(crate) fn invalid_config(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidConfig, message)
    }

    /// A topic that does not exist.
    pub(crate) fn unknown_topic(name: &str) -> Self {
        Self::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("there is no topic {name:?}"),
        )
    }

    /// Something that a request names more than once.
    pub(crate) fn twice(name: &str) -> Self {
        Self::invalid_request(format!("the request names {name:?} more than once"))
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        tracing::error!(%error, "a change of the cluster's state was not written");
        ApiError::new(ErrorCode::KafkaStorageError, error.to_string())
    }
}
