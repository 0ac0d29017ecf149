//! The requests of the consumer protocol.

use heliostat_wire::ErrorCode;
use heliostat_wire::message::consumer_group_describe::DescribedGroup;
use heliostat_wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::actor::unique_id;
use super::calls::Call;
use super::consumer::heartbeat::{Refusal, check, check_regex, no_room};
use super::consumer::member::{JOINING, Member};
use super::coordinator::{Coordinator, ask};
use super::member::Client;

impl Coordinator {
    /// ConsumerGroupHeartbeat: what it leads to is durable when this returns.
    pub async fn consumer_group_heartbeat(
        &self,
        client: Client,
        version: i16,
        mut request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        if let Err(refusal) = check(&request, version, &self.config.consumer.assignors()) {
            return refusal.into_response();
        }
        let joins = request.member_epoch == JOINING;
        if joins && request.member_id.is_empty() {
            request.member_id = unique_id();
        }
        if joins
            && self.find(&request.group_id).is_none()
            && let Err(refusal) = check_regex(request.subscribed_topic_regex.as_deref().unwrap_or_default())
        {
            // No group is made for a member that cannot join it.
            return refusal.into_response();
        }
        let group = if joins {
            let member = Member::new(request.member_id.clone(), client.clone());
            let bytes = member.updated(&client, &request).bytes();
            self.find_or_create(&request.group_id, bytes).map_err(no_room)
        } else {
            let message = format!("there is no group {:?}", request.group_id);
            let absent = || Refusal::new(self.absent(ErrorCode::GroupIdNotFound), message);
            self.find(&request.group_id).ok_or_else(absent)
        };
        let group = match group {
            Ok(group) => group,
            Err(refusal) => return refusal.into_response(),
        };
        let answer = ask(&group, |answer| Call::ConsumerHeartbeat {
            client,
            request: Box::new(request),
            answer,
        })
        .await;
        let gone = || {
            Refusal::new(
                ErrorCode::CoordinatorNotAvailable,
                "the group is gone, or the broker stops",
            )
        };
        answer.unwrap_or_else(|| gone().into_response())
    }

    /// ConsumerGroupDescribe, for one group.
    pub async fn describe_consumer_group(&self, group_id: &str) -> DescribedGroup {
        let found = match self.find(group_id) {
            Some(group) => ask(&group, |answer| Call::ConsumerDescribe { answer }).await,
            None => None,
        };
        let absent = self.absent(ErrorCode::GroupIdNotFound);
        let (error, message) = match found {
            Some(Some(described)) => return described,
            _ if group_id.is_empty() => (ErrorCode::InvalidGroupId, "the group id is empty".to_owned()),
            Some(None) => (
                absent,
                format!("{group_id:?} is no group of the consumer protocol"),
            ),
            None => (absent, format!("there is no group {group_id:?}")),
        };
        DescribedGroup {
            error_code: error.code(),
            error_message: Some(message),
            group_id: group_id.to_owned(),
            ..DescribedGroup::default()
        }
    }
}
