//! ConsumerGroupHeartbeat: joining, staying, acknowledging, leaving; and falling silent.

use std::sync::Arc;

use heliostat_wire::message::consumer_group_heartbeat::{Assignment as Told, TopicPartitions};
use heliostat_wire::message::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use heliostat_wire::{ErrorCode, Uuid};

use super::assignment::{Assignment, owns_nothing_beyond};
use super::assignor::Assignor;
use super::group::{Change, ConsumerGroup, Header};
use super::member::{AWAY, JOINING, LEAVING, Member};
use super::reconcile::Reconciling;
use super::topics::compile;
use crate::group::member::Client;
use crate::state::Image;

/// Since this version members bring their own ids.
const MEMBER_ID_REQUIRED_SINCE: i16 = 1;
/// The largest subscription, in bytes. Kafka has such a limit too: that of a record of its topic of offsets.
const SUBSCRIPTION_MAX: usize = 1 << 20;

/// Why a heartbeat is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) struct Refusal {
    pub error: ErrorCode,
    pub message: String,
}

/// What a heartbeat leads to: an answer that may be given when the changes are stored.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::group) struct Outcome {
    pub response: ConsumerGroupHeartbeatResponse,
    pub changes: Vec<Change>,
}

/// What a heartbeat comes with besides the request.
pub(in crate::group) struct Circumstances<'a> {
    pub client: &'a Client,
    pub image: &'a Arc<Image>,
    pub heartbeat_interval_ms: i32,
}

/// What decides about a member's next step besides the member.
pub(super) struct Then<'a> {
    /// The member whose place it takes.
    pub replaces: Option<&'a str>,
    /// The partitions that it says it has; it does not say every time.
    pub owned: Option<&'a [TopicPartitions]>,
    pub image: &'a Arc<Image>,
}

impl Refusal {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: message.into(),
        }
    }

    pub fn into_response(self) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            error_code: self.error.code(),
            error_message: Some(self.message),
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }
}

/// There is no room for what the heartbeat brings.
pub(in crate::group) fn no_room(error: ErrorCode) -> Refusal {
    let message = "groups have all the memory that they may take, or the broker stops; it may be tried again";
    Refusal::new(error, message)
}

/// Checks what can be checked without knowing the group.
pub(in crate::group) fn check(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
    assignors: &[Assignor],
) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let is_blank = |text: &str| text.trim().is_empty();
    let epoch = request.member_epoch;
    if (version >= MEMBER_ID_REQUIRED_SINCE || epoch > JOINING || epoch == LEAVING)
        && is_blank(&request.member_id)
    {
        return invalid("the member id is empty");
    }
    if is_blank(&request.group_id) {
        return invalid("the group id is empty");
    }
    if request.instance_id.as_deref().is_some_and(is_blank) {
        return invalid("the instance id is empty; a dynamic member has none at all");
    }
    if request.rack_id.as_deref().is_some_and(is_blank) {
        return invalid("the rack id is empty; a member without one leaves it out");
    }
    if epoch == JOINING {
        if request.rebalance_timeout_ms == -1 {
            return invalid("a member joins without a rebalance timeout");
        }
        if !request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
            return invalid("a member joins with partitions; the list must be there, and empty");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid("a member joins without topic names and without a regular expression");
        }
    } else if epoch == AWAY && request.instance_id.is_none() {
        return invalid("a member without an instance id cannot leave for a while");
    } else if epoch < AWAY {
        return invalid("member epochs below -2 mean nothing");
    }
    if let Some(name) = &request.server_assignor
        && !assignors.iter().any(|assignor| assignor.name() == name)
    {
        let known: Vec<&str> = assignors.iter().map(|assignor| assignor.name()).collect();
        let message = format!("there is no assignor {name:?} here, only {}", known.join(", "));
        return Err(Refusal::new(ErrorCode::UnsupportedAssignor, message));
    }
    let names = request.subscribed_topic_names.iter().flatten();
    if names
        .chain(&request.subscribed_topic_regex)
        .map(String::len)
        .sum::<usize>()
        > SUBSCRIPTION_MAX
    {
        let message = format!("a subscription may have {SUBSCRIPTION_MAX} bytes, and this one has more");
        return Err(Refusal::new(ErrorCode::UnknownServerError, message));
    }
    Ok(())
}

/// Checks a regular expression; an empty one stands for none.
pub(in crate::group) fn check_regex(regex: &str) -> Result<(), Refusal> {
    if regex.is_empty() {
        return Ok(());
    }
    let refusal = |reason| {
        let message = format!("{regex:?} is no regular expression: {reason}");
        Refusal::new(ErrorCode::InvalidRegularExpression, message)
    };
    compile(regex).map(|_| ()).map_err(refusal)
}

impl ConsumerGroup {
    /// A checked heartbeat that does not leave.
    pub fn heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        with: &Circumstances<'_>,
    ) -> Result<Outcome, Refusal> {
        self.check_room(&request.member_id)?;
        let mut changes = Vec::new();
        let (before, replaces) = self.member_for(request, with.client, &mut changes)?;
        let mut member = before.updated(with.client, request);
        let new_regex = member.regex != before.regex || !self.members.contains_key(&before.id);
        if new_regex {
            check_regex(&member.regex)?;
        }
        let then = Then {
            replaces: replaces.as_deref(),
            owned: request.topic_partitions.as_deref(),
            image: with.image,
        };
        member = self.after(&before, member, &then, &mut changes);
        let response = answer(request, &before, &member, with.heartbeat_interval_ms);
        if self.members.get(&member.id) != Some(&member) {
            changes.push(Change::Member(Box::new(member)));
        }
        Ok(Outcome { response, changes })
    }

    /// The member's next step, after what it has said about itself; with what else changes for that.
    pub(super) fn after(
        &mut self,
        before: &Member,
        mut member: Member,
        then: &Then<'_>,
        changes: &mut Vec<Change>,
    ) -> Member {
        let Then { replaces, image, .. } = *then;
        let subscription_changed = member.topics != before.topics || member.regex != before.regex;
        let header = self.next_header(&member, replaces, subscription_changed, image);
        let mut target = self
            .target(replaces.unwrap_or(&member.id))
            .cloned()
            .unwrap_or_default();
        if header.epoch > self.header.assignment_epoch {
            let others = self
                .members
                .values()
                .filter(|m| m.id != member.id && Some(m.id.as_str()) != replaces);
            let targets = self.new_targets(others.chain([&member]));
            for change in &targets {
                if let Change::Target(id, new) = change
                    && *id == member.id
                {
                    target.clone_from(new);
                }
            }
            changes.extend(targets);
        }
        let header = Header {
            assignment_epoch: header.epoch,
            ..header
        };
        if header != self.header {
            changes.push(Change::Header(header));
        }
        if !member.is_at(header.assignment_epoch) || subscription_changed {
            member = self.reconcile(member, then, (header, &target), subscription_changed);
        }
        member
    }

    /// A checked heartbeat that leaves.
    pub fn leave(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        image: &Arc<Image>,
    ) -> Result<Outcome, Refusal> {
        let member = match &request.instance_id {
            None => self.known(&request.member_id)?,
            Some(instance) => self.holder(instance, &request.member_id)?,
        };
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        };
        let changes = if request.instance_id.is_some() && request.member_epoch == AWAY {
            let mut away = member.clone();
            away.epoch = AWAY;
            away.to_revoke = Assignment::default();
            vec![Change::Member(Box::new(away))]
        } else {
            let id = member.id.clone();
            self.without([id.as_str()].into_iter(), image)
        };
        Ok(Outcome { response, changes })
    }

    /// What it takes to go on without these members.
    pub fn without<'a>(
        &mut self,
        gone: impl Iterator<Item = &'a str> + Clone,
        image: &Arc<Image>,
    ) -> Vec<Change> {
        self.view.update(image, self.members.values());
        self.view.is_checked = false;
        let remain = self
            .members
            .values()
            .filter(|member| !gone.clone().any(|id| id == member.id));
        let header = Header {
            epoch: self.header.epoch.saturating_add(1),
            fingerprint: self.view.fingerprint(remain),
            ..self.header
        };
        let mut changes: Vec<Change> = gone.map(|id| Change::Gone(id.to_owned())).collect();
        changes.push(Change::Header(header));
        changes
    }

    pub(super) fn check_room(&self, member_id: &str) -> Result<(), Refusal> {
        let max = self.config.consumer.max_size;
        if self.members.len() >= max && !self.members.contains_key(member_id) {
            let message = format!("the group has {max} members, as many as it may have");
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }

    /// The member as it was before the heartbeat, and the member whose place it takes, if it is a static one that is back.
    fn member_for(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        client: &Client,
        changes: &mut Vec<Change>,
    ) -> Result<(Member, Option<String>), Refusal> {
        let id = &request.member_id;
        let joins = request.member_epoch == JOINING;
        let new = || Member::new(id.clone(), client.clone());
        let Some(instance) = &request.instance_id else {
            let member = match self.members.get(id) {
                None if joins => new(),
                _ => self.known(id)?.clone(),
            };
            check_epoch(&member, request)?;
            return Ok((member, None));
        };
        if !joins {
            let member = self.holder(instance, id)?;
            check_epoch(member, request)?;
            return Ok((member.clone(), None));
        }
        let Some(holder) = self.static_member(instance) else {
            return Ok((self.members.get(id).cloned().unwrap_or_else(new), None));
        };
        // Whoever changes the protocol may take over at once: nobody would release the instance id first.
        if holder.epoch != AWAY && holder.classic.is_none() {
            let message = format!("the instance id {instance:?} is held by member {}", holder.id);
            return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
        }
        Ok((self.in_place_of(holder, id, changes), Some(holder.id.clone())))
    }

    /// A static member that is back under a new id.
    pub(super) fn in_place_of(&self, holder: &Member, id: &str, changes: &mut Vec<Change>) -> Member {
        let mut back = holder.clone();
        id.clone_into(&mut back.id);
        (back.epoch, back.previous_epoch) = (JOINING, 0);
        if holder.id != id {
            changes.push(Change::Gone(holder.id.clone()));
            // With the old id goes its target: the new one has the same.
            changes.push(Change::Target(
                id.to_owned(),
                self.target(&holder.id).cloned().unwrap_or_default(),
            ));
        }
        back
    }

    fn known(&self, member_id: &str) -> Result<&Member, Refusal> {
        self.members.get(member_id).ok_or_else(|| {
            let message = format!("{member_id} is no member of group {}", self.id);
            Refusal::new(ErrorCode::UnknownMemberId, message)
        })
    }

    /// The member that holds the instance id, which must be this one.
    fn holder(&self, instance_id: &str, member_id: &str) -> Result<&Member, Refusal> {
        let Some(holder) = self.static_member(instance_id) else {
            let message = format!("there is no static member {instance_id:?}");
            return Err(Refusal::new(ErrorCode::UnknownMemberId, message));
        };
        if holder.id != member_id {
            let message = format!("the static member {instance_id:?} is {} now", holder.id);
            return Err(Refusal::new(ErrorCode::FencedInstanceId, message));
        }
        Ok(holder)
    }

    /// The group's epochs after a heartbeat of this member.
    fn next_header(
        &mut self,
        member: &Member,
        replaces: Option<&str>,
        subscription_changed: bool,
        image: &Arc<Image>,
    ) -> Header {
        let mut header = self.header;
        let unchanged = header.epoch > 0 && !subscription_changed && self.view.is_of(image);
        if unchanged && self.view.is_checked {
            return header;
        }
        let others = self
            .members
            .values()
            .filter(|m| m.id != member.id && Some(m.id.as_str()) != replaces);
        let members = others.chain([member]);
        self.view.update(image, members.clone());
        header.fingerprint = self.view.fingerprint(members);
        self.view.is_checked = header.fingerprint == self.header.fingerprint;
        if header.epoch == 0 || subscription_changed || !self.view.is_checked {
            header.epoch = header.epoch.saturating_add(1);
        }
        header
    }

    fn reconcile(
        &self,
        member: Member,
        then: &Then<'_>,
        (header, target): (Header, &Assignment),
        subscription_changed: bool,
    ) -> Member {
        let own = [member.id.as_str(), then.replaces.unwrap_or(&member.id)];
        let reconciling = Reconciling {
            target_epoch: header.assignment_epoch,
            target,
            subscribed: &self.view.topics_of(&member).into_keys().collect(),
            subscription_changed,
            owned: then.owned,
            is_taken: &|topic: Uuid, partition: i32| self.is_taken((topic, partition), own),
        };
        reconciling.next(&member)
    }
}

/// A member may come with its epoch, or, if it has nothing that it should not have, with the one before: the answer with
/// the new one may have been lost.
fn check_epoch(member: &Member, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let (epoch, current) = (request.member_epoch, member.epoch);
    let is_late = || {
        epoch == member.previous_epoch
            && request
                .topic_partitions
                .as_ref()
                .is_some_and(|owned| owns_nothing_beyond(owned, &member.assigned))
    };
    if epoch == JOINING || epoch == current || epoch < current && is_late() {
        return Ok(());
    }
    let message = format!(
        "member {} comes with epoch {epoch}, and is in epoch {current}: it has to join again",
        member.id
    );
    Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
}

/// What the member is told. Its partitions are named when they have changed, and when it has said everything about itself,
/// as it does when it joins or is not sure what it has.
fn answer(
    request: &ConsumerGroupHeartbeatRequest,
    before: &Member,
    after: &Member,
    heartbeat_interval_ms: i32,
) -> ConsumerGroupHeartbeatResponse {
    let is_full = request.member_epoch == JOINING
        || request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
    let assignment = (is_full || before.assigned != after.assigned).then(|| Told {
        topic_partitions: (&after.assigned).into(),
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(after.id.clone()),
        member_epoch: after.epoch,
        heartbeat_interval_ms,
        assignment,
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
