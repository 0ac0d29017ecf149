//! Members of the classic protocol in a group of the consumer protocol (KIP-848, "online migration").
//!
//! The coordinator works out what they read, as for all others. They are told in the classic way: a heartbeat says that
//! a rebalance is under way, JoinGroup is answered at once with the member's epoch as its generation, and SyncGroup
//! with the partitions. Nobody leads, and nobody waits for the others to join.

use std::sync::Arc;

use heliostat_wire::ErrorCode;
use heliostat_wire::message::consumer_group_heartbeat::TopicPartitions;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupResponse};
use heliostat_wire::message::leave_group::{MemberIdentity, MemberResponse};
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::group::{Change, ConsumerGroup};
use super::heartbeat::Then;
use super::member::{Classic, Member, MemberState};
use crate::group::embedded::{Partitions, Subscription, write_assignment};
use crate::group::join::MEMBER_ID_REQUIRED_SINCE;
use crate::group::member::{Client, METADATA_MAX, metadata_size, protocols_of};
use crate::group::membership::CONSUMER;
use crate::state::Image;

/// A JoinGroup request with all that decides about it.
pub(super) struct ClassicJoin<'a> {
    pub client: &'a Client,
    /// The request's version.
    pub version: i16,
    pub request: &'a JoinGroupRequest,
    /// The id of a new member.
    pub unique: &'a str,
    pub image: &'a Arc<Image>,
}

/// What JoinGroup leads to: an answer that may be given when the changes are stored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassicJoined {
    pub response: JoinGroupResponse,
    pub changes: Vec<Change>,
    /// The static member whose place it takes.
    pub replaces: Option<String>,
    pub subscription_changed: bool,
}

impl ConsumerGroup {
    /// A member of the classic protocol joins, or joins again.
    pub(super) fn join_classic(
        &mut self,
        join: &ClassicJoin<'_>,
    ) -> Result<ClassicJoined, (String, ErrorCode)> {
        let request = join.request;
        let said = &request.member_id;
        let id = if said.is_empty() { join.unique } else { said };
        // As in Kafka, these answers name no member.
        let refuse = |error| (String::new(), error);
        self.check_room(id).map_err(|refusal| refuse(refusal.error))?;
        if metadata_size(request) > METADATA_MAX {
            return Err(refuse(ErrorCode::UnknownServerError));
        }
        if !self.supports_classic(request) {
            return Err(refuse(ErrorCode::InconsistentGroupProtocol));
        }
        let is_dynamic = request.group_instance_id.is_none();
        if said.is_empty() && is_dynamic && join.version >= MEMBER_ID_REQUIRED_SINCE {
            return Err((id.to_owned(), ErrorCode::MemberIdRequired));
        }
        let mut changes = Vec::new();
        let (before, replaces) = self.classic_member(join, id, &mut changes).map_err(refuse)?;
        let protocols = protocols_of(request);
        let subscription = protocols.first().and_then(|(_, says)| Subscription::read(says));
        let subscription = subscription.ok_or_else(|| refuse(ErrorCode::UnknownServerError))?;
        let mut member = before.clone();
        member.client = join.client.clone();
        member.rack_id = subscription.rack.or(member.rack_id);
        if request.rebalance_timeout_ms != -1 {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        member.instance_id = request.group_instance_id.clone().or(member.instance_id);
        member.topics = subscription.topics;
        member.regex = String::new();
        member.classic = Some(Classic {
            session_timeout_ms: request.session_timeout_ms,
            protocols,
        });
        let subscription_changed = member.topics != before.topics || member.regex != before.regex;
        let owned = owned(subscription.owned, join.image);
        let then = Then {
            replaces: replaces.as_deref(),
            owned: Some(&owned),
            image: join.image,
        };
        let member = self.after(&before, member, &then, &mut changes);
        let response = JoinGroupResponse {
            generation_id: member.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol_name: member.classic.as_ref().and_then(Classic::favourite),
            member_id: member.id.clone(),
            ..JoinGroupResponse::default()
        };
        if self.members.get(&member.id) != Some(&member) {
            changes.push(Change::Member(Box::new(member)));
        }
        Ok(ClassicJoined {
            response,
            changes,
            replaces,
            subscription_changed,
        })
    }

    /// A member has joined, and this was stored: its session starts, and it is to ask for its partitions.
    pub(super) fn joined_classic(&mut self, member_id: &str, now: i64) {
        self.joins.remove(member_id);
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let until = now + i64::from(member.rebalance_timeout_ms.max(0));
        self.syncs.insert(member_id.to_owned(), until);
        self.heard_classic(member_id, now);
    }

    /// A member of the classic protocol asks for its partitions.
    pub(super) fn sync_classic(
        &mut self,
        request: &SyncGroupRequest,
        now: i64,
        image: &Image,
    ) -> Result<SyncGroupResponse, ErrorCode> {
        let (id, instance_id) = (&request.member_id, request.group_instance_id.as_deref());
        let (member, classic) = self.classic(id, instance_id, request.generation_id)?;
        let favourite = classic.favourite();
        let differs =
            |theirs: &Option<String>, ours: Option<&str>| theirs.is_some() && theirs.as_deref() != ours;
        if differs(&request.protocol_type, Some(CONSUMER))
            || differs(&request.protocol_name, favourite.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        // While it is to give something up it has joined already, and hears of that first.
        if self.header.epoch > member.epoch && member.state != MemberState::Unrevoked {
            self.ask_to_join(id, now);
            return Err(ErrorCode::RebalanceInProgress);
        }
        let topics = member.assigned.topics().filter_map(|(topic, partitions)| {
            let name = image.topic_by_id(topic)?.name.as_str();
            Some((name, partitions))
        });
        let response = SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment: write_assignment(classic.version(), topics),
            ..SyncGroupResponse::default()
        };
        self.syncs.remove(id);
        self.heard_classic(id, now);
        Ok(response)
    }

    /// A member of the classic protocol is alive. The error tells it what to do next.
    pub(in crate::group) fn heartbeat_classic(
        &mut self,
        identity: &MemberIdentity,
        generation: i32,
        now: i64,
    ) -> Result<(), ErrorCode> {
        let id = &identity.member_id;
        let (member, _) = self.classic(id, identity.group_instance_id.as_deref(), generation)?;
        let rejoins = member.epoch < self.header.epoch
            || member.state == MemberState::Unrevoked
            || member.state == MemberState::Unreleased && !self.waits_for_others(member);
        self.heard_classic(id, now);
        if rejoins {
            self.ask_to_join(id, now);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Which members the entries of LeaveGroup mean, and the answer for each entry.
    pub(super) fn leaving_classic(&self, leaving: &[MemberIdentity]) -> (Vec<String>, Vec<MemberResponse>) {
        let mut gone = Vec::new();
        let responses = leaving.iter().map(|identity| {
            let found = self.leaving_id(identity);
            let error = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
            gone.extend(found.ok().filter(|id| !gone.contains(id)));
            MemberResponse {
                member_id: identity.member_id.clone(),
                group_instance_id: identity.group_instance_id.clone(),
                error_code: error.code(),
            }
        });
        let responses = responses.collect();
        (gone, responses)
    }

    fn leaving_id(&self, identity: &MemberIdentity) -> Result<String, ErrorCode> {
        let id = &identity.member_id;
        let Some(instance) = &identity.group_instance_id else {
            let member = self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?;
            return Ok(member.id.clone());
        };
        let holder = self.static_member(instance).ok_or(ErrorCode::UnknownMemberId)?;
        // An operator who takes a static member out knows no member id.
        if !id.is_empty() && holder.id != *id {
            return Err(ErrorCode::FencedInstanceId);
        }
        Ok(holder.id.clone())
    }

    /// A member that speaks the classic protocol, in this generation.
    fn classic(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(&Member, &Classic), ErrorCode> {
        let member = match instance_id {
            None => self.members.get(member_id),
            Some(instance) => match self.static_member(instance) {
                Some(holder) if holder.id != member_id => return Err(ErrorCode::FencedInstanceId),
                holder => holder,
            },
        };
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        let classic = member.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch != generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok((member, classic))
    }

    /// The member as it was before it joined, and the member whose place it takes, if it is a static one that is back.
    fn classic_member(
        &self,
        join: &ClassicJoin<'_>,
        id: &str,
        changes: &mut Vec<Change>,
    ) -> Result<(Member, Option<String>), ErrorCode> {
        let known = || self.members.get(id).cloned();
        let new = || Member::new(id.to_owned(), join.client.clone());
        let Some(instance) = &join.request.group_instance_id else {
            return Ok((known().unwrap_or_else(new), None));
        };
        match self.static_member(instance) {
            None if join.request.member_id.is_empty() => Ok((new(), None)),
            None => Err(ErrorCode::UnknownMemberId),
            Some(holder) if join.request.member_id.is_empty() => {
                Ok((self.in_place_of(holder, id, changes), Some(holder.id.clone())))
            }
            Some(holder) if holder.id != id => Err(ErrorCode::FencedInstanceId),
            Some(holder) => Ok((holder.clone(), None)),
        }
    }

    /// Whether those that speak the classic protocol have one of these protocols in common: it would be theirs if the
    /// group became a classic one.
    fn supports_classic(&self, request: &JoinGroupRequest) -> bool {
        let others = || self.members.values().filter_map(|member| member.classic.as_ref());
        let by_all =
            |name: &str| others().all(|classic| classic.protocols.iter().any(|(other, _)| other == name));
        request.protocol_type == CONSUMER && request.protocols.iter().any(|protocol| by_all(&protocol.name))
    }

    /// Whether somebody still has what the member waits for.
    fn waits_for_others(&self, member: &Member) -> bool {
        let missing = self
            .target(&member.id)
            .into_iter()
            .flat_map(|target| target.iter())
            .filter(|&(topic, partition)| !member.assigned.contains(topic, partition));
        let own = [member.id.as_str(); 2];
        missing.into_iter().any(|partition| self.is_taken(partition, own))
    }

    fn ask_to_join(&mut self, member_id: &str, now: i64) {
        let Some(member) = self.members.get(member_id) else {
            return;
        };
        let until = now + i64::from(member.rebalance_timeout_ms.max(0));
        self.joins.entry(member_id.to_owned()).or_insert(until);
    }

    fn heard_classic(&mut self, member_id: &str, now: i64) {
        let classic = self
            .members
            .get(member_id)
            .and_then(|member| member.classic.as_ref());
        if let Some(session_timeout_ms) = classic.map(|classic| i64::from(classic.session_timeout_ms)) {
            self.heard(member_id, now, session_timeout_ms);
        }
    }
}

impl Classic {
    /// The protocol that it would rather have.
    fn favourite(&self) -> Option<String> {
        self.protocols.first().map(|(name, _)| name.clone())
    }

    /// The version in which it reads assignments: that in which it subscribes.
    pub(super) fn version(&self) -> i16 {
        let metadata = self.protocols.first().map(|(_, metadata)| metadata);
        metadata
            .and_then(|metadata| Subscription::read(metadata))
            .map_or(0, |subscription| subscription.version)
    }
}

/// What a member says it owns, by the ids that topics have now.
fn owned(partitions: Partitions, image: &Image) -> Vec<TopicPartitions> {
    let known = partitions.into_iter().filter_map(|(topic, partitions)| {
        Some(TopicPartitions {
            topic_id: image.topic(&topic)?.id,
            partitions,
        })
    });
    known.collect()
}
