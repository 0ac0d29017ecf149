//! DescribeCluster (60) tells the cluster's id, its nodes and its controller (KIP-700).

messages! {
    /// The request of DescribeCluster.
    DescribeClusterRequest {
        include_cluster_authorized_operations: bool,
        endpoint_type: i8 [1..] = 1,
        include_fenced_brokers: bool [2..],
    }

    /// The response of DescribeCluster.
    DescribeClusterResponse {
        throttle_time_ms: i32,
        error_code: i16,
        error_message: Option<String>,
        endpoint_type: i8 [1..] = 1,
        cluster_id: String,
        controller_id: i32 = -1,
        brokers: Vec<DescribeClusterBroker>,
        cluster_authorized_operations: i32 = i32::MIN,
    }

    DescribeClusterBroker {
        broker_id: i32,
        host: String,
        port: i32,
        rack: Option<String>,
        is_fenced: bool [2..],
    }
}
