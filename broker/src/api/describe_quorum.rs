//! DescribeQuorum (55), versions 0-2: who votes on the cluster's metadata, and who is how far.
//!
//! Kafka keeps its metadata in a log that controllers replicate. Here all nodes share one state, so each of them is a voter
//! that has everything as long as it is up.

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeQuorumRequest, DescribeQuorumResponse,
        describe_quorum::{
            DescribedPartition, DescribedTopic, Listener, Node as QuorumNode, PartitionData, ReplicaState,
        },
    },
};

use super::Context;

/// The one partition of metadata that there is.
const METADATA: (&str, i32) = ("__cluster_metadata", 0);

/// The name that the listener of each node has.
const LISTENER: &str = "PLAINTEXT";

/// What is said of a node that is away.
const UNKNOWN: i64 = -1;

pub(super) async fn handle(context: Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let asks_for_it = match request.topics.as_slice() {
        [topic] => match topic.partitions.as_slice() {
            [partition] => (topic.topic_name.as_str(), partition.partition_index) == METADATA,
            _ => false,
        },
        _ => false,
    };
    if !asks_for_it {
        return refused(request);
    }
    let nodes = context.broker.nodes().iter().map(|node| QuorumNode {
        node_id: node.id,
        listeners: vec![Listener {
            name: LISTENER.to_owned(),
            host: node.host_for(&context.peer),
            port: node.port,
        }],
    });
    DescribeQuorumResponse {
        topics: vec![DescribedTopic {
            topic_name: METADATA.0.to_owned(),
            partitions: vec![described(&context)],
        }],
        nodes: nodes.collect(),
        ..fine()
    }
}

fn described(context: &Context) -> DescribedPartition {
    let image = context.broker.image();
    let now_ms = context.broker.storage().clock().now_ms();
    let voters = context.broker.nodes().iter().map(|node| {
        let is_up = image.live().contains(&node.id);
        let known = |value: i64| if is_up { value } else { UNKNOWN };
        ReplicaState {
            replica_id: node.id,
            log_end_offset: known(image.written()),
            last_fetch_timestamp: known(now_ms),
            last_caught_up_timestamp: known(now_ms),
            ..Default::default()
        }
    });
    DescribedPartition {
        partition_index: METADATA.1,
        leader_id: image.controller(),
        leader_epoch: image.controller_epoch(),
        high_watermark: image.written(),
        current_voters: voters.collect(),
        error_message: Some(String::new()),
        ..Default::default()
    }
}

/// As in Kafka, whoever asks for anything but the metadata, or for anything else beside it, hears that there is none of it.
fn refused(request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let partition = |partition: PartitionData| DescribedPartition {
        partition_index: partition.partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.into(),
        error_message: Some(
            "only partition 0 of __cluster_metadata can be described, and nothing beside it".to_owned(),
        ),
        ..Default::default()
    };
    let topics = request.topics.into_iter().map(|topic| DescribedTopic {
        topic_name: topic.topic_name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        ..fine()
    }
}

/// Kafka says an empty text here where nothing is wrong.
fn fine() -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_message: Some(String::new()),
        ..Default::default()
    }
}
