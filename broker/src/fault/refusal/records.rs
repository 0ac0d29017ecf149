//! Refusals of requests for records, and of those that say who leads what.

use heliostat_wire::{
    ErrorCode,
    message::{
        DeleteRecordsRequest, DeleteRecordsResponse, DescribeProducersRequest, DescribeProducersResponse,
        FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
        MetadataResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
        ProduceResponse,
        delete_records::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
        describe_producers::{PartitionResponse, TopicResponse},
        fetch::{FetchableTopicResponse, PartitionData},
        list_offsets::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
        metadata::MetadataResponseTopic,
        offset_for_leader_epoch::{EpochEndOffset, OffsetForLeaderTopicResult},
        produce::{PartitionProduceResponse, TopicProduceResponse},
    },
};

use super::{Named, Refusable, Refusal, named};
use crate::api;

impl Refusable for ProduceRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topic_data
            .iter()
            .map(|topic| named(&topic.name, topic.topic_id))
            .collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<ProduceResponse> {
        if self.acks == 0 {
            return None;
        }
        let topics = self.topic_data.into_iter().map(|topic| TopicProduceResponse {
            partition_responses: topic
                .partition_data
                .iter()
                .map(|partition| PartitionProduceResponse {
                    index: partition.index,
                    error_code: refusal.code(),
                    base_offset: -1,
                    error_message: refusal.message(),
                    ..Default::default()
                })
                .collect(),
            name: topic.name,
            topic_id: topic.topic_id,
        });
        Some(ProduceResponse {
            responses: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for FetchRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics
            .iter()
            .map(|topic| named(&topic.topic, topic.topic_id))
            .collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<FetchResponse> {
        // What concerns the session is told for the whole request, all else for each partition.
        const OF_SESSION: [ErrorCode; 3] = [
            ErrorCode::FetchSessionIdNotFound,
            ErrorCode::InvalidFetchSessionEpoch,
            ErrorCode::FetchSessionTopicIdError,
        ];
        // What is left out of a session's request has no place for a code, and the session goes on.
        let session_id = if self.session_epoch > 0 {
            self.session_id
        } else {
            0
        };
        let has_session_error = refusal.version >= 7;
        if has_session_error && (OF_SESSION.contains(&refusal.error) || self.topics.is_empty()) {
            return Some(FetchResponse {
                error_code: refusal.code(),
                ..Default::default()
            });
        }
        let topics = self.topics.into_iter().map(|topic| FetchableTopicResponse {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| PartitionData {
                    partition_index: partition.partition,
                    error_code: refusal.code(),
                    high_watermark: -1,
                    ..Default::default()
                })
                .collect(),
            topic: topic.topic,
            topic_id: topic.topic_id,
        });
        Some(FetchResponse {
            session_id,
            responses: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for ListOffsetsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<ListOffsetsResponse> {
        let topics = self.topics.into_iter().map(|topic| ListOffsetsTopicResponse {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| ListOffsetsPartitionResponse {
                    partition_index: partition.partition_index,
                    error_code: refusal.code(),
                    ..Default::default()
                })
                .collect(),
            name: topic.name,
        });
        Some(ListOffsetsResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for MetadataRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        let topics = self.topics.iter().flatten();
        topics
            .map(|topic| match &topic.name {
                Some(name) => Named::Name(name),
                None => Named::Id(topic.topic_id),
            })
            .collect()
    }

    /// The brokers are told, as a broker that refuses topics does.
    fn refuse(self, refusal: &Refusal<'_>) -> Option<MetadataResponse> {
        let topics = self
            .topics
            .into_iter()
            .flatten()
            .map(|topic| MetadataResponseTopic {
                error_code: refusal.code(),
                name: topic.name,
                topic_id: topic.topic_id,
                ..Default::default()
            });
        let topics: Vec<_> = topics.collect();
        let image = refusal.broker.image();
        Some(MetadataResponse {
            brokers: api::metadata_brokers(refusal.broker, refusal.peer, &image),
            cluster_id: Some(refusal.broker.cluster_id().to_owned()),
            controller_id: image.controller(),
            error_code: if topics.is_empty() { refusal.code() } else { 0 },
            topics,
            ..Default::default()
        })
    }
}

impl Refusable for DeleteRecordsRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<DeleteRecordsResponse> {
        let topics = self.topics.into_iter().map(|topic| DeleteRecordsTopicResult {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| DeleteRecordsPartitionResult {
                    partition_index: partition.partition_index,
                    low_watermark: -1,
                    error_code: refusal.code(),
                })
                .collect(),
            name: topic.name,
        });
        Some(DeleteRecordsResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for OffsetForLeaderEpochRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics
            .iter()
            .map(|topic| Named::Name(&topic.topic))
            .collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<OffsetForLeaderEpochResponse> {
        let topics = self.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
            partitions: topic
                .partitions
                .iter()
                .map(|partition| EpochEndOffset {
                    error_code: refusal.code(),
                    partition: partition.partition,
                    ..Default::default()
                })
                .collect(),
            topic: topic.topic,
        });
        Some(OffsetForLeaderEpochResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}

impl Refusable for DescribeProducersRequest {
    const NAMES_TOPICS: bool = true;

    fn topics(&self) -> Vec<Named<'_>> {
        self.topics.iter().map(|topic| Named::Name(&topic.name)).collect()
    }

    fn refuse(self, refusal: &Refusal<'_>) -> Option<DescribeProducersResponse> {
        let topics = self.topics.into_iter().map(|topic| TopicResponse {
            partitions: topic
                .partition_indexes
                .iter()
                .map(|index| PartitionResponse {
                    partition_index: *index,
                    error_code: refusal.code(),
                    error_message: refusal.message(),
                    ..Default::default()
                })
                .collect(),
            name: topic.name,
        });
        Some(DescribeProducersResponse {
            topics: topics.collect(),
            ..Default::default()
        })
    }
}
