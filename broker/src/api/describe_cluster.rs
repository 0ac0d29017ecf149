//! DescribeCluster (60), versions 0-2: the cluster's id, its nodes and its controller.

use heliostat_wire::{
    ErrorCode,
    message::{DescribeClusterRequest, DescribeClusterResponse, describe_cluster::DescribeClusterBroker},
};

use super::{Context, operations};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((ErrorCode::MismatchedEndpointType, "this listener belongs to a broker, not a controller")),
        _ => Some((ErrorCode::UnsupportedEndpointType, "endpoints are brokers (1) or controllers (2)")),
    };
    if let Some((error, message)) = refusal {
        return DescribeClusterResponse {
            error_code: error.into(),
            error_message: Some(message.to_owned()),
            ..Default::default()
        };
    }
    let rack = context.broker.settings().rack.clone();
    let nodes = context.broker.nodes().iter();
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: context.broker.cluster_id().to_owned(),
        controller_id: context.broker.controller_id(),
        brokers: nodes
            .map(|node| DescribeClusterBroker {
                broker_id: node.id,
                host: node.host_for(&context.peer),
                port: node.port.into(),
                rack: rack.clone(),
                ..Default::default()
            })
            .collect(),
        cluster_authorized_operations: operations::if_asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        ..Default::default()
    }
}
