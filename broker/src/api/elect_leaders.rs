//! ElectLeaders (43), versions 0-2: leadership back to the preferred replicas, or to any replica where nobody leads.

use heliostat_wire::{
    ErrorCode,
    message::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders::{PartitionResult, ReplicaElectionResult},
    },
};

use super::Context;
use crate::{api_error::ApiError, broker::Broker, nodes::Election};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) async fn handle(context: Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let election = match request.election_type {
        PREFERRED => Election::Preferred,
        UNCLEAN => Election::Unclean,
        _ => return refused_each(request, ErrorCode::InvalidRequest),
    };
    let broker = &context.broker;
    let all = request.topic_partitions.is_none();
    let asked = match request.topic_partitions {
        Some(topics) => topics
            .into_iter()
            .map(|topic| (topic.topic, topic.partitions))
            .collect(),
        None => every_partition(broker),
    };
    let partitions: Vec<_> = asked
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(|index| (topic.clone(), *index)))
        .collect();
    let results = match broker.elect(&partitions, election).await {
        Ok(results) => results,
        Err(error) => return refused(error.code),
    };
    if all
        && election == Election::Preferred
        && let Err(error) = broker.elect_preferred_coordinators().await
    {
        return refused(error.code);
    }
    let mut results = results.into_iter();
    let topics = asked
        .into_iter()
        .map(|(topic, partitions)| ReplicaElectionResult {
            topic,
            partition_result: partitions
                .into_iter()
                .zip(results.by_ref())
                .map(|(partition_id, outcome)| told(partition_id, outcome))
                // Who asks for all of them is told only what was to be done.
                .filter(|result| !all || result.error_code != ErrorCode::ElectionNotNeeded.code())
                .collect(),
        });
    ElectLeadersResponse {
        replica_election_results: topics.collect(),
        ..Default::default()
    }
}

fn every_partition(broker: &Broker) -> Vec<(String, Vec<i32>)> {
    let image = broker.image();
    let topics = image
        .topics()
        .map(|topic| (topic.name.clone(), (0..topic.partitions.len() as i32).collect()));
    topics.collect()
}

fn told(partition_id: i32, outcome: Result<(), ApiError>) -> PartitionResult {
    match outcome {
        Ok(()) => PartitionResult {
            partition_id,
            ..Default::default()
        },
        Err(error) => PartitionResult {
            partition_id,
            error_code: error.code.into(),
            error_message: Some(error.message),
        },
    }
}

/// A refusal that every partition of the request repeats.
fn refused_each(request: ElectLeadersRequest, error: ErrorCode) -> ElectLeadersResponse {
    let result = |partition_id| PartitionResult {
        partition_id,
        error_code: error.into(),
        error_message: Some(error.name().to_owned()),
    };
    let topics = request.topic_partitions.unwrap_or_default().into_iter();
    let topics = topics.map(|topic| ReplicaElectionResult {
        topic: topic.topic,
        partition_result: topic.partitions.into_iter().map(result).collect(),
    });
    ElectLeadersResponse {
        replica_election_results: topics.collect(),
        ..refused(error)
    }
}

fn refused(error: ErrorCode) -> ElectLeadersResponse {
    ElectLeadersResponse {
        error_code: error.into(),
        ..Default::default()
    }
}
