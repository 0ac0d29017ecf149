//! SyncGroup (14), versions 0-5: hands out what the leader has assigned. Waits for the leader.

use heliostat_wire::{
    ErrorCode,
    message::{SyncGroupRequest, SyncGroupResponse},
};

use super::Context;

/// Since this version a member says which protocol it believes to be in.
const PROTOCOL_REQUIRED_SINCE: i16 = 5;

pub(super) async fn handle(context: Context, request: SyncGroupRequest) -> SyncGroupResponse {
    let refused = |error: ErrorCode| SyncGroupResponse {
        error_code: error.code(),
        ..Default::default()
    };
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if context.api_version >= PROTOCOL_REQUIRED_SINCE && !says_protocol {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    match context.groups_for(&request.group_id) {
        Ok(groups) => groups.sync_group(request).await,
        Err(error) => refused(error),
    }
}
