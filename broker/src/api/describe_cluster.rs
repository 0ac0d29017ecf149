//! DescribeCluster (60), versions 0-2: the cluster's id, its nodes and its controller.

use heliostat_wire::{
    ErrorCode,
    message::{DescribeClusterRequest, DescribeClusterResponse, describe_cluster::DescribeClusterBroker},
};

use super::{Context, operations};
use crate::broker::Node;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ErrorCode::MismatchedEndpointType,
            "this listener belongs to a broker, not a controller",
        )),
        _ => Some((
            ErrorCode::UnsupportedEndpointType,
            "endpoints are brokers (1) or controllers (2)",
        )),
    };
    if let Some((error, message)) = refusal {
        return DescribeClusterResponse {
            error_code: error.into(),
            error_message: Some(message.to_owned()),
            ..Default::default()
        };
    }
    let rack = context.broker.settings().rack.clone();
    let image = context.broker.image();
    let is_fenced = |node: &Node| !image.live().contains(&node.id);
    let nodes = context.broker.nodes().iter();
    let nodes = nodes.filter(|node| request.include_fenced_brokers || !is_fenced(node));
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: context.broker.cluster_id().to_owned(),
        controller_id: image.controller(),
        brokers: nodes
            .map(|node| DescribeClusterBroker {
                broker_id: node.id,
                host: node.host_for(&context.peer),
                port: node.port.into(),
                rack: rack.clone(),
                is_fenced: is_fenced(node),
            })
            .collect(),
        cluster_authorized_operations: operations::if_asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        ..Default::default()
    }
}
