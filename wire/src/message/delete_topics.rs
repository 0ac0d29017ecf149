//! DeleteTopics (20) deletes topics, by id if wanted since version 6.

use crate::Uuid;

messages! {
    /// The request of DeleteTopics.
    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState> [6..],
        topic_names: Vec<String> [..=5],
        timeout_ms: i32,
    }

    DeleteTopicState {
        name: Option<String> [6..],
        topic_id: Uuid [6..],
    }

    /// The response of DeleteTopics.
    DeleteTopicsResponse {
        throttle_time_ms: i32,
        responses: Vec<DeletableTopicResult>,
    }

    DeletableTopicResult {
        name: Option<String> [..; null 6..],
        topic_id: Uuid [6..],
        error_code: i16,
        error_message: Option<String> [5..],
    }
}
