//! Fetch (1), versions 4-18: reads whole record batches, waiting for them if there are too few; topics go by id since
//! version 13.
//!
//! There are no fetch sessions: every answer has the session id 0, which sends clients back to full requests.

mod memory;
mod read;
mod wait;

use std::time::Duration;

use heliostat_wire::{
    ErrorCode,
    message::{
        FetchRequest, FetchResponse,
        fetch::{FetchableTopicResponse, NodeEndpoint, PartitionData},
    },
};
use tokio::time::{Instant, timeout_at};

use super::Context;
use read::{Limits, Plan};

/// The epoch of a request without a session, and that of one that begins a session.
const FULL_FETCH_EPOCHS: [i32; 2] = [-1, 0];

pub(super) async fn handle(context: Context, request: FetchRequest) -> FetchResponse {
    if !FULL_FETCH_EPOCHS.contains(&request.session_epoch) {
        let error_code = ErrorCode::FetchSessionIdNotFound.into();
        return FetchResponse {
            error_code,
            ..Default::default()
        };
    }
    // A connection on which nothing happens for longer would be closed.
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64)
        .min(context.broker.settings().connections_max_idle);
    let deadline = Instant::now() + max_wait;
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let limits = Limits::new(&request, context.broker.settings().fetch_max_bytes);
    let mut leadership = context.broker.state().leadership();
    let mut plan = Plan::new(&context, request);
    loop {
        // Subscribed before reading, so that nothing that comes in between is missed.
        let mut news = plan.watch();
        let read = plan.read(limits).await;
        let enough = read.bytes >= min_bytes || read.has_error || Instant::now() >= deadline;
        if enough || context.broker.drain().is_cancelled() {
            return respond(&context, read.topics);
        }
        tokio::select! {
            () = context.broker.drain().cancelled() => {}
            _ = timeout_at(deadline, wait::any_change(&mut news)) => {}
            // What this node leads no more is answered at once, so that the client goes to the new leader.
            _ = leadership.changed() => plan.renew(&context),
        }
    }
}

fn respond(context: &Context, responses: Vec<FetchableTopicResponse>) -> FetchResponse {
    let node_endpoints = node_endpoints(context, &responses);
    FetchResponse {
        responses,
        node_endpoints,
        ..Default::default()
    }
}

/// Where the leaders are that the response points to.
fn node_endpoints(context: &Context, responses: &[FetchableTopicResponse]) -> Vec<NodeEndpoint> {
    let partitions = responses.iter().flat_map(|topic| &topic.partitions);
    let leaders = partitions.map(|partition| partition.current_leader.leader_id);
    let nodes = context.broker.nodes_of(leaders);
    nodes
        .map(|node| NodeEndpoint {
            node_id: node.id,
            host: node.host_for(&context.peer),
            port: node.port.into(),
            rack: context.broker.settings().rack.clone(),
        })
        .collect()
}

/// The answer for a partition that is not read.
fn refused(partition_index: i32, error: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: error.into(),
        high_watermark: -1,
        ..Default::default()
    }
}
