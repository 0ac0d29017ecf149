//! DescribeGroups (15), versions 0-6: a group's state and its members.

use heliostat_wire::message::{
    DescribeGroupsRequest, DescribeGroupsResponse, describe_groups::DescribedGroup,
};

use super::{Context, distinct::distinct, operations};

pub(super) async fn handle(context: Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in distinct(request.groups, String::clone) {
        let mut described = match context.groups_for(&group_id) {
            Ok(groups) => groups.describe_group(context.api_version, &group_id).await,
            Err(error) => DescribedGroup {
                group_id,
                error_code: error.code(),
                ..Default::default()
            },
        };
        if described.error_code == 0 {
            described.authorized_operations =
                operations::if_asked(request.include_authorized_operations, operations::GROUP);
        }
        groups.push(described);
    }
    DescribeGroupsResponse {
        groups,
        ..Default::default()
    }
}
