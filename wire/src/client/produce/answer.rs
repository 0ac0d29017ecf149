//! What a broker says of the batches of a request.

use std::collections::HashMap;

use super::{Acked, Failure, Inner, slots::Part};
use crate::{
    ErrorCode, Uuid,
    client::{Client, Error},
    message::{ProduceResponse, produce::PartitionProduceResponse},
};

/// The batches of a request that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    parts: Vec<Part>,
    /// The topics of the request, by their place in it.
    topics: Vec<(String, Uuid)>,
    /// Which part is of which topic's which partition.
    places: HashMap<(usize, i32), usize>,
}

impl Sent {
    pub(super) fn new(
        parts: Vec<Part>,
        topics: Vec<(String, Uuid)>,
        places: HashMap<(usize, i32), usize>,
    ) -> Self {
        Sent {
            parts,
            topics,
            places,
        }
    }

    /// Reports what became of each batch.
    pub(super) fn settle(self, inner: &Inner, node: i32, outcome: Result<ProduceResponse, Error>) {
        let client = &inner.client;
        let results = match outcome {
            Ok(response) => self.read(client, response),
            Err(error) => self.fail(client, &error),
        };
        inner.slots().settle(node, results);
        inner.reported.notify_one();
    }

    fn fail(self, client: &Client, error: &Error) -> Vec<(Part, Result<Acked, Failure>)> {
        let failed = self.parts.into_iter().map(|part| {
            // The node may be away, and lead nothing any more.
            stale(client, &part);
            let failure = if error.may_have_been_sent() {
                Failure::Unclear(error.clone())
            } else {
                Failure::NotSent(error.clone())
            };
            (part, Err(failure))
        });
        failed.collect()
    }

    fn read(self, client: &Client, response: ProduceResponse) -> Vec<(Part, Result<Acked, Failure>)> {
        for node in &response.node_endpoints {
            client.note_endpoint(node.node_id, &node.host, node.port);
        }
        let mut told: Vec<Option<PartitionProduceResponse>> = Vec::new();
        told.resize_with(self.parts.len(), || None);
        for (number, topic) in response.responses.into_iter().enumerate() {
            let is_it = |(name, id): &(String, Uuid)| {
                if topic.name.is_empty() {
                    *id == topic.topic_id
                } else {
                    *name == topic.name
                }
            };
            // Brokers mostly answer in the order of the request.
            let here = self.topics.get(number).is_some_and(is_it).then_some(number);
            let Some(place) = here.or_else(|| self.topics.iter().position(is_it)) else {
                continue;
            };
            for partition in topic.partition_responses {
                let part = self.places.get(&(place, partition.index));
                if let Some(slot) = part.and_then(|part| told.get_mut(*part)) {
                    *slot = Some(partition);
                }
            }
        }
        let results = self.parts.into_iter().zip(told).map(|(part, told)| {
            let result = match told {
                Some(told) => verdict(client, &part, told),
                None => Err(Failure::Unclear(Error::Nonsense {
                    api: "Produce",
                    reason: format!("it says nothing of partition {}", part.outgoing.partition),
                })),
            };
            (part, result)
        });
        results.collect()
    }
}

fn verdict(client: &Client, part: &Part, told: PartitionProduceResponse) -> Result<Acked, Failure> {
    let code = ErrorCode::from_code(told.error_code);
    if code.is_none() {
        return Ok(Acked {
            base_offset: told.base_offset,
            log_append_time: told.log_append_time_ms,
            log_start_offset: told.log_start_offset,
            leader_epoch: part.epoch,
        });
    }
    let (topic, partition) = (&part.outgoing.topic, part.outgoing.partition);
    let leader = &told.current_leader;
    if leader.leader_id >= 0 && leader.leader_epoch > part.epoch {
        client.note_leader(topic, partition, leader.leader_id, leader.leader_epoch);
    }
    if is_of_leaders(code) {
        // Does nothing if a newer one is known by now.
        stale(client, part);
    }
    let record_errors = told.record_errors.into_iter();
    Err(Failure::Refused {
        code,
        message: told.error_message,
        record_errors: record_errors
            .map(|error| (error.batch_index, error.batch_index_error_message))
            .collect(),
    })
}

fn stale(client: &Client, part: &Part) {
    client.stale_leader(&part.outgoing.topic, part.outgoing.partition, part.epoch);
}

/// Whether an error may mean that another node is to be asked.
fn is_of_leaders(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException
            | ErrorCode::BrokerNotAvailable
            | ErrorCode::ReplicaNotAvailable
    )
}
