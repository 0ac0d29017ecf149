//! Heartbeat (12), versions 0-4: keeps a member's session alive, and tells it when to join again.

use heliostat_wire::message::{HeartbeatRequest, HeartbeatResponse};

use super::Context;

pub(super) async fn handle(context: Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let error = match context.groups_for(&request.group_id) {
        Ok(groups) => groups.heartbeat(request).await,
        Err(error) => error,
    };
    HeartbeatResponse {
        error_code: error.code(),
        ..Default::default()
    }
}
