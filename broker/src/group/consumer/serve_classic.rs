//! What the task of a group does where both protocols meet: members of the classic one in a group of the consumer protocol,
//! and groups that change from one to the other.

use std::collections::BTreeSet;

use heliostat_wire::ErrorCode;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupResponse};
use heliostat_wire::message::leave_group::{MemberIdentity, MemberResponse};
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};
use tracing::info;

use super::classic::{ClassicJoin, ClassicJoined};
use super::group::{Change, ConsumerGroup};
use super::record::{records, removal};
use crate::group::actor::{Actor, unique_id};
use crate::group::member::Client;
use crate::group::membership::{Group, Step, refuse_join, refuse_sync};
use crate::group::record::group_change;
use crate::group::store::NotStored;

impl Actor {
    /// JoinGroup in a group of the consumer protocol that has members; `None` where the group is a classic one.
    pub async fn join_among_consumers(
        &mut self,
        client: &Client,
        version: i16,
        request: &JoinGroupRequest,
    ) -> Option<JoinGroupResponse> {
        let image = self.images.current();
        let now = self.clock.now();
        let group = self.consumer.as_mut()?;
        let unique = unique_id();
        let join = ClassicJoin {
            client,
            version,
            request,
            unique: &unique,
            image: &image,
        };
        let joined = match group.join_classic(&join) {
            Ok(joined) => joined,
            Err((id, error)) => return Some(refuse_join(&id, error)),
        };
        let ClassicJoined {
            response,
            changes,
            replaces,
            subscription_changed,
        } = joined;
        let bytes = group.bytes_with(&changes);
        if self.make_room(bytes).is_err() {
            return Some(refuse_join(
                &request.member_id,
                ErrorCode::CoordinatorNotAvailable,
            ));
        }
        let group = self.consumer.as_mut()?;
        // The last member of the consumer protocol may have come back as one of the classic protocol.
        let after = replaces.map(|_| {
            let mut after = group.clone();
            changes
                .iter()
                .for_each(|change| after.apply(change.clone(), now.timer));
            after
        });
        let nobody = BTreeSet::new();
        let stored = if let Some(after) = after.filter(|after| after.may_downgrade_without(&nobody)) {
            self.become_classic_with_members(&after, &nobody, subscription_changed)
                .await
        } else {
            let stored = self.change_consumer(None, changes).await;
            if let (Ok(()), Some(group)) = (&stored, &mut self.consumer) {
                group.joined_classic(&response.member_id, now.timer);
            }
            stored
        };
        Some(match stored {
            Ok(()) => response,
            Err(NotStored) => refuse_join(&request.member_id, ErrorCode::CoordinatorNotAvailable),
        })
    }

    /// SyncGroup in a group of the consumer protocol; `None` where the group is a classic one.
    pub fn sync_among_consumers(&mut self, request: &SyncGroupRequest) -> Option<SyncGroupResponse> {
        let (now, image) = (self.clock.now(), self.images.current());
        let group = self.consumer.as_mut()?;
        Some(
            group
                .sync_classic(request, now.timer, &image)
                .unwrap_or_else(refuse_sync),
        )
    }

    /// LeaveGroup in a group of the consumer protocol; `None` where the group is a classic one.
    pub async fn leave_consumers(&mut self, leaving: &[MemberIdentity]) -> Option<Vec<MemberResponse>> {
        let group = self.consumer.as_ref()?;
        let (gone, mut responses) = group.leaving_classic(leaving);
        if self.go_on_without(&gone.into_iter().collect()).await.is_err() {
            let failed = responses.iter_mut().filter(|response| response.error_code == 0);
            failed.for_each(|response| response.error_code = ErrorCode::CoordinatorNotAvailable.code());
        }
        Some(responses)
    }

    /// Takes members out of a group of the consumer protocol, which may leave a classic one.
    pub async fn go_on_without(&mut self, gone: &BTreeSet<String>) -> Result<(), NotStored> {
        let Some(group) = self.consumer.as_mut().filter(|_| !gone.is_empty()) else {
            return Ok(());
        };
        if group.may_downgrade_without(gone) {
            let group = group.clone();
            return self.become_classic_with_members(&group, gone, true).await;
        }
        let changes = group.without(gone.iter().map(String::as_str), &self.images.current());
        self.change_consumer(None, changes).await
    }

    /// The group of the consumer protocol becomes a classic one. With `rebalance`, its members are asked to join again.
    async fn become_classic_with_members(
        &mut self,
        group: &ConsumerGroup,
        gone: &BTreeSet<String>,
        rebalance: bool,
    ) -> Result<(), NotStored> {
        let now = self.clock.now();
        let classic = group.downgraded(gone, now, &self.images.current());
        let before = self.consumer.iter().flat_map(|group| group.members.keys());
        let members: BTreeSet<&String> = group.members.keys().chain(before).collect();
        let mut entries: Vec<_> = members
            .into_iter()
            .flat_map(|id| records(&group.id, &Change::Gone(id.clone())))
            .collect();
        entries.push(removal(&group.id));
        entries.push(group_change(&classic));
        self.store.put(entries).await?;
        info!(
            group = classic.id,
            members = classic.members.len(),
            "the group's last member of the consumer protocol is gone: it is a classic group again"
        );
        self.consumer = None;
        self.group = classic;
        if rebalance {
            let mut step = Step::default();
            self.group.prepare_rebalance(now, &mut step);
            self.carry_out(step).await;
        }
        Ok(())
    }

    /// The classic group has become one of the consumer protocol, and `before` is what it was: whoever waits for its next
    /// generation is asked to join again.
    pub(super) async fn dismiss_waiting(&mut self, before: Group) {
        let mut step = Step::default();
        for member in before.members.values() {
            if let Some(ticket) = member.awaiting_join {
                step.join(ticket, refuse_join(&member.id, ErrorCode::RebalanceInProgress));
            }
            if let Some(ticket) = member.awaiting_sync {
                step.sync(ticket, refuse_sync(ErrorCode::RebalanceInProgress));
            }
        }
        self.carry_out(step).await;
    }
}
