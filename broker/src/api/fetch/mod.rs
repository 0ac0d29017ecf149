//! Fetch (1), versions 4-18: reads whole record batches, waiting for them if there are too few; topics go by id since
//! version 13.
//!
//! A client that asks again and again for the same partitions does so in a session: see [`crate::fetch_session`].

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

use super::{Context, throttle::as_ms};
use crate::{fetch_session::Fetching, quota::QuotaKind};
use read::{Limits, Plan};

pub(super) async fn handle(context: Context, mut request: FetchRequest) -> FetchResponse {
    let sessions = context.broker.fetch_sessions();
    let fetching = match sessions.begin(context.node_id(), context.api_version, &mut request) {
        Ok(fetching) => fetching,
        Err(error) => return failed(error),
    };
    // A connection on which nothing happens for longer would be closed.
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64)
        .min(context.broker.settings().connections_max_idle);
    let deadline = Instant::now() + max_wait;
    // More than a quota allows at once would only be thrown away.
    let quota = context
        .burst(QuotaKind::Fetch)
        .map_or(usize::MAX, |bytes| bytes as usize);
    let limits = Limits::new(&request, context.broker.settings().fetch_max_bytes.min(quota));
    let min_bytes = usize::try_from(request.min_bytes)
        .unwrap_or(0)
        .min(limits.max_bytes);
    let asks_for_nothing = request.topics.is_empty();
    let mut leadership = context.broker.state().leadership();
    let mut plan = Plan::new(&context, request);
    loop {
        // Subscribed before reading, so that nothing that comes in between is missed.
        let mut news = plan.watch();
        let read = plan.read(limits).await;
        let enough =
            asks_for_nothing || read.bytes >= min_bytes || read.has_error || Instant::now() >= deadline;
        if enough || context.broker.drain().is_cancelled() {
            return answer(&context, fetching, read);
        }
        tokio::select! {
            () = context.broker.drain().cancelled() => {}
            _ = timeout_at(deadline, wait::any_change(&mut news)) => {}
            // What this node leads no more is answered at once, so that the client goes to the new leader.
            _ = leadership.changed() => plan.renew(&context),
        }
    }
}

/// The answer, or one without records if the client is over its quota: what it would have got does not count then.
fn answer(context: &Context, fetching: Fetching, read: read::Read) -> FetchResponse {
    if !context.broker.quotas().is_active() {
        return respond(context, fetching, read.topics);
    }
    let bytes = response_bytes(&read.topics) as f64;
    let of_request = context.request_throttle_ms();
    let of_bytes = as_ms(context.record(QuotaKind::Fetch, bytes));
    let throttle_time_ms = of_request.max(of_bytes);
    if throttle_time_ms == 0 {
        return respond(context, fetching, read.topics);
    }
    context.record(QuotaKind::Fetch, -bytes);
    FetchResponse {
        throttle_time_ms,
        session_id: fetching.session_id(),
        ..Default::default()
    }
}

/// About as many bytes as the answer takes.
fn response_bytes(topics: &[FetchableTopicResponse]) -> usize {
    const PARTITION_BYTES: usize = 50;
    const TOPIC_BYTES: usize = 20;
    let topic_bytes = |topic: &FetchableTopicResponse| {
        let partitions = topic
            .partitions
            .iter()
            .map(|partition| PARTITION_BYTES + partition.records.len());
        TOPIC_BYTES + topic.topic.len() + partitions.sum::<usize>()
    };
    topics.iter().map(topic_bytes).sum()
}

fn respond(context: &Context, fetching: Fetching, read: Vec<FetchableTopicResponse>) -> FetchResponse {
    let sessions = context.broker.fetch_sessions();
    let (session_id, responses) =
        match sessions.finish(context.node_id(), context.api_version, fetching, read) {
            Ok(answered) => answered,
            Err(error) => return failed(error),
        };
    let node_endpoints = node_endpoints(context, &responses);
    FetchResponse {
        session_id,
        responses,
        node_endpoints,
        ..Default::default()
    }
}

fn failed(error: ErrorCode) -> FetchResponse {
    FetchResponse {
        error_code: error.into(),
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
    let is_unknown = matches!(
        error,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId
    );
    PartitionData {
        partition_index,
        error_code: error.into(),
        high_watermark: -1,
        // Kafka's list is empty where the partition is unknown, and null where reading it failed.
        aborted_transactions: is_unknown.then(Vec::new),
        ..Default::default()
    }
}
