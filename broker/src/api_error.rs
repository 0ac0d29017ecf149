//! An error that goes to a client: a code, and a text for people.

use heliostat_wire::ErrorCode;

use crate::state::StateError;

/// More characters no text for people has. It often repeats a name of the request, which may have 32,767, and every
/// partition of that name may have such a text.
const MESSAGE_CHARS_MAX: usize = 400;

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
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
            message.push_str("...");
            message.shrink_to_fit();
        }
        ApiError { code, message }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_an_end() {
        let error = ApiError::unknown_topic(&"é".repeat(30_000));
        assert_eq!(error.message.chars().count(), MESSAGE_CHARS_MAX + 3);
        assert!(error.message.capacity() < 1000, "{}", error.message.capacity());
        assert_eq!(
            ApiError::twice("t").message,
            "the request names \"t\" more than once"
        );
    }
}
