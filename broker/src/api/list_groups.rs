//! ListGroups (16), versions 0-5: the groups that this node coordinates.

use heliostat_wire::message::{ListGroupsRequest, ListGroupsResponse};

use super::Context;

pub(super) async fn handle(context: Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let mut groups = context
        .broker
        .groups()
        .list_groups(&request.states_filter, &request.types_filter);
    groups.retain(|group| context.is_coordinator(&group.group_id));
    ListGroupsResponse {
        groups,
        ..Default::default()
    }
}
