//! ListPartitionReassignments (46), version 0: partitions never move from node to node here.

use heliostat_wire::message::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::Context;

pub(super) async fn handle(
    _: Context,
    _: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
