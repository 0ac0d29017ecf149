//! What the task of a group does for the consumer protocol: it stores what a heartbeat leads to, and answers then.

use std::collections::BTreeSet;
use std::sync::Arc;

use heliostat_wire::ErrorCode;
use heliostat_wire::message::consumer_group_describe::DescribedGroup;
use heliostat_wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use tracing::{debug, info};

use super::group::{Change, ConsumerGroup};
use super::heartbeat::{Circumstances, Outcome, Refusal, no_room};
use super::member::{AWAY, JOINING, LEAVING};
use super::migration::upgraded;
use super::record::{records, removal};
use crate::group::actor::Actor;
use crate::group::member::Client;
use crate::group::membership::{Group, State};
use crate::group::record::group_removal;
use crate::group::store::NotStored;
use crate::state::Image;

/// Groups have all the memory that they may take.
pub(super) struct NoRoom;

/// How soon it is tried again to take silent members out when that could not be stored, in milliseconds.
const RETRY_MS: i64 = 1000;

impl Actor {
    /// Answers a heartbeat that has been checked as far as it can be without the group.
    pub async fn consumer_heartbeat(
        &mut self,
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let image = self.images.current();
        match self.try_consumer_heartbeat(client, request, &image).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn try_consumer_heartbeat(
        &mut self,
        client: &Client,
        request: &ConsumerGroupHeartbeatRequest,
        image: &Arc<Image>,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        let joins = request.member_epoch == JOINING;
        // A classic group becomes one of the consumer protocol with its first member of that protocol.
        let mut new = match &self.consumer {
            Some(_) => None,
            None if joins => Some(ConsumerGroup::new(&self.group.id, self.group.config.clone())),
            None => {
                let message = format!("{} is no group of the consumer protocol", self.group.id);
                return Err(Refusal::new(ErrorCode::GroupIdNotFound, message));
            }
        };
        let mut conversion = Vec::new();
        if let Some(new) = &mut new
            && self.group.state != State::Empty
        {
            conversion = upgraded(&self.group, image)?;
            let now = self.clock.now().timer;
            conversion
                .iter()
                .for_each(|change| new.apply(change.clone(), now));
        }
        let limits = self.group.config.consumer.for_group(&self.group.id, image);
        let leaves = request.member_epoch < JOINING;
        let Some(group) = new.as_mut().or(self.consumer.as_mut()) else {
            return Err(Refusal::new(
                ErrorCode::CoordinatorNotAvailable,
                "the group is gone",
            ));
        };
        let outcome = if leaves {
            group.leave(request, image)
        } else {
            let with = Circumstances {
                client,
                image,
                heartbeat_interval_ms: limits.heartbeat_interval_ms,
            };
            group.heartbeat(request, &with)
        };
        let Outcome { response, changes } = outcome?;
        // What comes of what was let in is not refused: somebody waits for it.
        let brings_more =
            joins || request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
        if !leaves && brings_more {
            let bytes = group.bytes_with(&changes);
            self.make_room(bytes)
                .map_err(|NoRoom| no_room(ErrorCode::CoordinatorNotAvailable))?;
        }
        let stored = match leaves && response.member_epoch == LEAVING {
            // A classic group may be what is left.
            true => self.go_on_without(&gone(&changes)).await,
            false => {
                self.upgrade_with(new, conversion, changes, limits.session_timeout_ms)
                    .await
            }
        };
        stored.map_err(|NotStored| {
            let message = "the change to the group is not stored; the reason is in the log";
            Refusal::new(ErrorCode::CoordinatorNotAvailable, message)
        })?;
        if !leaves && let (Some(group), Some(id)) = (&mut self.consumer, &response.member_id) {
            group.heard(id, self.clock.now().timer, limits.session_timeout_ms);
        }
        if request.member_epoch == AWAY {
            debug!(
                group = self.group.id,
                member = request.member_id,
                "a static member is away"
            );
        }
        Ok(response)
    }

    /// Takes room for the group's members, which are to take so many bytes.
    pub(super) fn make_room(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let members = self.consumer.as_ref().map_or(0, ConsumerGroup::bytes) + self.group.bytes();
        match self.share.try_grow(bytes.saturating_sub(members)) {
            true => Ok(()),
            false => Err(NoRoom),
        }
    }

    /// As [`Actor::change_consumer`], with the members that a classic group had.
    async fn upgrade_with(
        &mut self,
        new: Option<ConsumerGroup>,
        mut conversion: Vec<Change>,
        changes: Vec<Change>,
        session_timeout_ms: i64,
    ) -> Result<(), NotStored> {
        if conversion.is_empty() {
            return self.change_consumer(new, changes).await;
        }
        let before = self.group.clone();
        conversion.extend(changes);
        self.change_consumer(new, conversion).await?;
        let now = self.clock.now().timer;
        if let Some(group) = &mut self.consumer {
            group.restored(now, session_timeout_ms);
        }
        info!(
            group = before.id,
            members = before.members.len(),
            "a classic group has become one of the consumer protocol, with its members"
        );
        self.dismiss_waiting(before).await;
        Ok(())
    }

    /// Stores the changes, and makes them; with `new`, the group becomes one of the consumer protocol.
    pub(super) async fn change_consumer(
        &mut self,
        new: Option<ConsumerGroup>,
        changes: Vec<Change>,
    ) -> Result<(), NotStored> {
        let mut entries = Vec::new();
        if new.is_some() {
            entries.push(group_removal(&self.group.id));
        }
        entries.extend(changes.iter().flat_map(|change| records(&self.group.id, change)));
        self.store.put(entries).await?;
        if let Some(new) = new {
            self.group = Group::new(&new.id, new.config.clone());
            self.consumer = Some(new);
        }
        let now = self.clock.now().timer;
        if let Some(group) = &mut self.consumer {
            changes.into_iter().for_each(|change| group.apply(change, now));
        }
        Ok(())
    }

    /// Members that fell silent, or did not give up in time what they were told to, are taken out.
    pub async fn consumer_on_time(&mut self) {
        let now = self.clock.now().timer;
        let Some(group) = &self.consumer else { return };
        let overdue = group.overdue(now);
        if overdue.is_empty() {
            return;
        }
        info!(group = self.group.id, members = ?overdue, "members are late, and no longer part of the group");
        if self.go_on_without(&overdue).await.is_err()
            && let Some(group) = &mut self.consumer
        {
            group.postpone(now + RETRY_MS);
        }
    }

    /// What ConsumerGroupDescribe says; `None` for a classic group.
    pub fn consumer_describe(&self) -> Option<DescribedGroup> {
        Some(self.consumer.as_ref()?.describe(&self.images.current()))
    }

    /// A group of the consumer protocol that has no members becomes a classic one, whose first member is about to join.
    pub async fn become_classic_if_empty(&mut self) -> Result<(), NotStored> {
        if self
            .consumer
            .as_ref()
            .is_some_and(|group| group.members.is_empty())
        {
            self.store.put(vec![removal(&self.group.id)]).await?;
            self.consumer = None;
        }
        Ok(())
    }

    /// Whether a member reads the topic, whatever the protocol.
    pub fn is_subscribed_to(&mut self, topic: &str) -> bool {
        match &mut self.consumer {
            Some(group) => group.is_subscribed_to(topic, &self.images.current()),
            None => self.group.is_subscribed_to(topic),
        }
    }
}

/// The members that these changes take out.
fn gone(changes: &[Change]) -> BTreeSet<String> {
    let gone = changes.iter().filter_map(|change| match change {
        Change::Gone(id) => Some(id.clone()),
        _ => None,
    });
    gone.collect()
}
