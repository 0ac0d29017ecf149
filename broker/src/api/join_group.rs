//! JoinGroup (11), versions 0-9: makes a member part of a group's next generation. Waits until that begins.

use heliostat_wire::message::{JoinGroupRequest, JoinGroupResponse};

use super::Context;

pub(super) async fn handle(context: Context, mut request: JoinGroupRequest) -> JoinGroupResponse {
    if context.api_version == 0 {
        // Version 0 has one timeout for both.
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    let client = context.client();
    match context.groups_for(&request.group_id) {
        Ok(groups) => groups.join_group(client, context.api_version, request).await,
        Err(error) => JoinGroupResponse {
            error_code: error.code(),
            member_id: request.member_id,
            ..JoinGroupResponse::default()
        },
    }
}
