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
use crate::{api_error::ApiError, broker::Broker};

pub(super) async fn handle(
    context: Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let may_change_factor = request.allow_replication_factor_change;
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let partition_index = asked.partition_index;
            let outcome = alter(&context.broker, &topic.name, asked, may_change_factor).await;
            let (error_code, error_message) = match outcome {
                Ok(()) => (0, None),
                Err(error) => (error.code.into(), Some(error.message)),
            };
            partitions.push(ReassignablePartitionResponse {
                partition_index,
                error_code,
                error_message,
            });
        }
        responses.push(ReassignableTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_change_factor,
        responses,
        ..Default::default()
    }
}

async fn alter(
    broker: &Broker,
    topic: &str,
    asked: ReassignablePartition,
    may_change_factor: bool,
) -> Result<(), ApiError> {
    let index = asked.partition_index;
    let Some(replicas) = asked.replicas else {
        let cancelled = broker.alter_partition(topic, index, |partition, rules| {
            if partition.cancel_reassignment(rules) {
                return Ok(());
            }
            let message = format!("{topic}-{index} is not being moved");
            Err(ApiError::new(ErrorCode::NoReassignmentInProgress, message))
        });
        return cancelled.await?;
    };
    let reassigned = broker.alter_partition(topic, index, |partition, rules| {
        check_replicas(broker, &replicas)?;
        let before = partition.replicas.len() - partition.adding.len();
        if !may_change_factor && before != replicas.len() {
            let message = format!(
                "the replication factor would change from {before} to {}",
                replicas.len()
            );
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, message));
        }
        partition.reassign(replicas, rules);
        Ok(())
    });
    reassigned.await?
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
