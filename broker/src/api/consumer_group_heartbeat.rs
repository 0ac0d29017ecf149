//! ConsumerGroupHeartbeat (68), versions 0-1: a member of the consumer protocol joins, stays, acknowledges or leaves.

use heliostat_wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::Context;

pub(super) async fn handle(
    context: Context,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    match context.groups_for(&request.group_id) {
        Ok(groups) => {
            let client = context.client();
            groups
                .consumer_group_heartbeat(client, context.api_version, request)
                .await
        }
        Err(error) => ConsumerGroupHeartbeatResponse {
            error_code: error.code(),
            ..Default::default()
        },
    }
}
