//! LeaveGroup (13), versions 0-5: takes members out of a group. Several at once, or by instance id, since version 3.

use heliostat_wire::message::{LeaveGroupRequest, LeaveGroupResponse, leave_group::MemberIdentity};

use super::Context;

/// Since this version a request names several members, and each has an error of its own.
const SEVERAL_SINCE: i16 = 3;

pub(super) async fn handle(context: Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let several = context.api_version >= SEVERAL_SINCE;
    let members = if several {
        request.members
    } else {
        vec![MemberIdentity {
            member_id: request.member_id,
            ..Default::default()
        }]
    };
    let mut response = match context.groups_for(&request.group_id) {
        Ok(groups) => groups.leave_group(&request.group_id, members).await,
        Err(error) => LeaveGroupResponse {
            error_code: error.code(),
            ..Default::default()
        },
    };
    if !several && let Some(member) = response.members.pop() {
        response.error_code = member.error_code;
    }
    response
}
