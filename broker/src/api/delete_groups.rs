//! DeleteGroups (42), versions 0-2: deletes groups that have no members, with their offsets.

use heliostat_wire::message::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups::DeletableGroupResult,
};

use super::{Context, distinct::distinct};

pub(super) async fn handle(context: Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in distinct(request.groups_names, String::clone) {
        let error = match context.groups_for(&group_id) {
            Ok(groups) => groups.delete_group(&group_id).await,
            Err(error) => error,
        };
        results.push(DeletableGroupResult {
            group_id,
            error_code: error.code(),
        });
    }
    DeleteGroupsResponse {
        results,
        ..Default::default()
    }
}
