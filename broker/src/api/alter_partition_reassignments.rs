//! AlterPartitionReassignments (45), versions 0-1: partitions move at once, because all nodes share the bytes. Only a
//! move to a node that is down waits for it.

use std::collections::BTreeSet;

use heliostat_wire::{
    ErrorCode,
    message::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
        alter_partition_reassignments::{
            ReassignablePartition, ReassignablePartitionResponse, ReassignableTopicResponse,
        },
    },
};

use super::Context;
use crate::{
    api_error::ApiError,
    broker::Broker,
    state::{Partition, partition::Rules},
};

pub(super) async fn handle(
    context: Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let may_change_factor = request.allow_replication_factor_change;
    let asked = request.topics.iter().flat_map(|topic| {
        let of_topic = topic.partitions.iter();
        of_topic.map(|asked| (topic.name.as_str(), asked.partition_index, asked))
    });
    let broker = &context.broker;
    let altered = broker
        .alter_partitions(asked.collect(), |asked, partition, rules| {
            alter(broker, asked, may_change_factor, partition, rules)
        })
        .await;
    let mut outcomes = match altered {
        Ok(outcomes) => outcomes.into_iter(),
        Err(error) => {
            return AlterPartitionReassignmentsResponse {
                allow_replication_factor_change: may_change_factor,
                error_code: error.code.into(),
                error_message: Some(error.message),
                ..Default::default()
            };
        }
    };
    let answer = |(asked, outcome): (&ReassignablePartition, Result<(), ApiError>)| {
        let error = outcome.err();
        ReassignablePartitionResponse {
            partition_index: asked.partition_index,
            error_code: error.as_ref().map_or(0, |error| error.code.into()),
            error_message: error.map(|error| error.message),
        }
    };
    let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .zip(outcomes.by_ref())
            .map(answer)
            .collect(),
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_change_factor,
        responses: responses.collect(),
        ..Default::default()
    }
}

fn alter(
    broker: &Broker,
    asked: &ReassignablePartition,
    may_change_factor: bool,
    partition: &mut Partition,
    rules: &Rules<'_>,
) -> Result<(), ApiError> {
    let Some(replicas) = &asked.replicas else {
        if partition.cancel_reassignment(rules) {
            return Ok(());
        }
        let message = "the partition is not being moved";
        return Err(ApiError::new(ErrorCode::NoReassignmentInProgress, message));
    };
    check_replicas(broker, replicas)?;
    let before = partition.replicas.len() - partition.adding.len();
    if !may_change_factor && before != replicas.len() {
        let message = format!(
            "the replication factor would change from {before} to {}",
            replicas.len()
        );
        return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
    }
    partition.reassign(replicas.clone(), rules);
    Ok(())
}

fn check_replicas(broker: &Broker, replicas: &[i32]) -> Result<(), ApiError> {
    let bad = |message: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return bad("a partition needs at least one replica".to_owned());
    }
    let mut seen = BTreeSet::new();
    for node in replicas {
        if broker.node(*node).is_none() {
            return bad(format!("there is no broker {node}"));
        }
        if !seen.insert(node) {
            return bad(format!("broker {node} cannot hold a partition twice"));
        }
    }
    Ok(())
}
