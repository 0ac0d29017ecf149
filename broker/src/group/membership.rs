//! The state machine of one group: who is a member, in which generation, and what everybody waits for.
//!
//! It knows neither sockets nor clocks. A call comes with the time and, where its answer may come later, with a ticket;
//! what comes out is a [`Step`]: answers to tickets, and at most one thing that must be stored before the machine goes
//! on ([`Group::stored`]). [`Group::next_deadline`] tells when [`Group::on_time`] wants to be called.
//!
//! This file holds what all parts share, `join` the joining and the rebalance, `session` everything a member does after that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use heliostat_wire::ErrorCode;
use heliostat_wire::message::describe_groups::{DescribedGroup, DescribedGroupMember};
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use heliostat_wire::message::sync_group::SyncGroupResponse;

use super::config::GroupConfig;
use super::member::{Client, Member, bytes_of};
use super::room::{PENDING_BYTES, texts};
use super::{Ticket, subscription};

/// The protocol type of consumers: the only one whose metadata the coordinator looks into.
pub(super) const CONSUMER: &str = "consumer";

/// Where a group is between two generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Everybody has joined; the leader is working out the assignment.
    CompletingRebalance,
    /// Everybody has, or can fetch, an assignment.
    Stable,
}

impl State {
    /// The name that ListGroups and DescribeGroups give it.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// The time, twice: a clock that never jumps, for timers, and the calendar's, for what is stored. Both in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Now {
    pub timer: i64,
    pub wall: i64,
}

/// An answer that a ticket has waited for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

/// What has to be stored before the group goes on; the outcome comes back through [`Group::stored`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Store {
    /// The leader's assignment.
    Assignment,
    /// That the group has no members any more.
    Emptied,
    /// A static member that came back under a new id.
    Replacement(Box<Replacement>),
}

/// A static member's change of id, with what is needed to take it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replacement {
    pub old: Member,
    pub new_id: String,
    /// The leader before the change: versions of JoinGroup that cannot say "skip the assignment" are told this one, so that
    /// a leader that came back does not assign anything.
    pub old_leader: Option<String>,
    pub version: i16,
}

/// What a call or a timer leads to.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Step {
    pub replies: Vec<(Ticket, Reply)>,
    pub store: Option<Store>,
}

impl Step {
    pub fn join(&mut self, ticket: Ticket, response: JoinGroupResponse) {
        self.replies.push((ticket, Reply::Join(response)));
    }

    pub fn sync(&mut self, ticket: Ticket, response: SyncGroupResponse) {
        self.replies.push((ticket, Reply::Sync(response)));
    }
}

/// When the join phase ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinTimer {
    /// The first generation after Empty waits a little, and longer while members keep coming.
    Initial { at: i64, delay: i64, remaining: i64 },
    /// Later ones wait for all members, at most for the longest rebalance timeout.
    Rebalance { at: i64 },
}

impl JoinTimer {
    pub fn at(self) -> i64 {
        match self {
            JoinTimer::Initial { at, .. } | JoinTimer::Rebalance { at } => at,
        }
    }
}

/// One group's members and its generation.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub id: String,
    pub config: GroupConfig,
    pub state: State,
    pub previous: State,
    /// Since when the group is in its state (wall clock); `None` for one that only ever held offsets.
    pub state_since: Option<i64>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub leader: Option<String>,
    pub members: BTreeMap<String, Member>,
    /// Instance id to member id.
    pub static_members: BTreeMap<String, String>,
    /// Member ids that were handed out but have not joined yet, and until when they may.
    pub pending_joins: BTreeMap<String, i64>,
    pub pending_syncs: BTreeSet<String>,
    pub joined_during_delay: bool,
    pub join_timer: Option<JoinTimer>,
    pub sync_deadline: Option<i64>,
    /// What the members subscribe to, where that is known.
    pub subscribed_topics: Option<BTreeSet<String>>,
}

impl Group {
    /// A group without members.
    pub fn new(id: &str, config: GroupConfig) -> Self {
        Self {
            id: id.to_owned(),
            config,
            state: State::Empty,
            previous: State::Empty,
            state_since: None,
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_joins: BTreeMap::new(),
            pending_syncs: BTreeSet::new(),
            joined_during_delay: false,
            join_timer: None,
            sync_deadline: None,
            subscribed_topics: None,
        }
    }

    /// Brings what depends on the members in order after they were read from disk; their sessions start now.
    pub fn restored(&mut self, now: i64) {
        self.state = if self.members.is_empty() {
            State::Empty
        } else {
            State::Stable
        };
        self.previous = self.state;
        self.static_members = self
            .members
            .values()
            .filter_map(|m| m.instance_id.clone().map(|instance| (instance, m.id.clone())))
            .collect();
        self.subscribed_topics = self.compute_subscribed_topics();
        for member in self.members.values_mut() {
            member.is_new = false;
            member.heard(now);
        }
    }

    /// When [`Group::on_time`] has something to do, on the timer clock.
    pub fn next_deadline(&self) -> Option<i64> {
        let sessions = self.members.values().filter_map(|m| m.session_deadline);
        let pending = self.pending_joins.values().copied();
        let timers = self
            .join_timer
            .map(JoinTimer::at)
            .into_iter()
            .chain(self.sync_deadline);
        sessions.chain(pending).chain(timers).min()
    }

    /// What is to be done when the outcome of storing is known.
    pub fn stored(&mut self, now: Now, store: Store, ok: bool) -> Step {
        let mut step = Step::default();
        match store {
            Store::Assignment => self.assignment_stored(now, ok, &mut step),
            Store::Replacement(replacement) => self.replacement_stored(now, *replacement, ok, &mut step),
            // Without this record a restart brings the last members back, and their sessions end again.
            Store::Emptied => {}
        }
        step
    }

    /// What DescribeGroups says.
    pub fn describe(&self) -> DescribedGroup {
        let protocol = self
            .protocol_name
            .as_deref()
            .filter(|_| self.state == State::Stable);
        let members = self.members.values().map(|member| DescribedGroupMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            member_metadata: protocol.map(|p| member.metadata(p)).unwrap_or_default(),
            member_assignment: member.assignment.clone(),
        });
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state.name().to_owned(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
            ..DescribedGroup::default()
        }
    }

    /// What its members take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let pending = self.pending_joins.keys();
        let pending: usize = pending.map(|id| PENDING_BYTES + texts([id.as_str()])).sum();
        self.members.values().map(Member::bytes).sum::<usize>() + pending
    }

    /// What more it takes when this member joins, or joins again, in bytes.
    pub fn growth(&self, client: &Client, request: &JoinGroupRequest) -> usize {
        let holder = request
            .group_instance_id
            .as_ref()
            .and_then(|id| self.static_members.get(id));
        let id = Some(&request.member_id).filter(|id| !id.is_empty()).or(holder);
        let known = id.and_then(|id| self.members.get(id));
        bytes_of(client, request).saturating_sub(known.map_or(0, Member::said_bytes))
    }

    /// Whether a commit of offsets may be accepted (for `transactional` ones the rules are laxer).
    pub fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        transactional: bool,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            // Tools, and consumers that do not use the group for anything but offsets.
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.check_member(member_id, instance_id)?;
            if generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if !transactional {
            return Err(ErrorCode::UnknownMemberId);
        }
        if !transactional && self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Whether OffsetDelete may work on this group at all; topics in use are refused one by one.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        if self.state != State::Empty && self.protocol_type.as_deref() != Some(CONSUMER) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        Ok(())
    }

    /// Whether a member reads the topic. A consumer group that cannot be asked is taken to read everything.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER),
        }
    }

    /// From when on offsets of topics that nobody reads count as unused; `None` where they do not expire.
    /// `committed` is when the offset was committed.
    pub fn unused_since(&self, committed: i64) -> Option<i64> {
        match (&self.protocol_type, self.state) {
            (None, _) => Some(committed),
            (Some(_), State::Empty) => Some(self.state_since.unwrap_or(committed)),
            (Some(kind), State::Stable) if kind == CONSUMER && self.subscribed_topics.is_some() => {
                Some(committed)
            }
            _ => None,
        }
    }

    /// Whether `member_id` is a member, and, given an instance id, the one that holds it.
    pub fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub(super) fn transition(&mut self, state: State, now: Now) {
        self.previous = self.state;
        self.state = state;
        self.state_since = Some(now.wall);
    }

    /// Adds a member, or puts another in the place of one with the same id.
    pub(super) fn insert(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_joins.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out. What it still waits for is answered with UNKNOWN_MEMBER_ID, so that a client that is alive
    /// after all joins again.
    pub(super) fn remove(&mut self, member_id: &str, step: &mut Step) {
        if let Some(member) = self.members.remove(member_id) {
            if let Some(ticket) = member.awaiting_join {
                step.join(ticket, refuse_join("", ErrorCode::UnknownMemberId));
            }
            if let Some(ticket) = member.awaiting_sync {
                step.sync(ticket, refuse_sync(ErrorCode::UnknownMemberId));
            }
            if let Some(instance) = &member.instance_id {
                self.static_members.remove(instance);
            }
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
    }

    pub(super) fn rebalance_timeout(&self) -> i64 {
        self.members
            .values()
            .map(|m| i64::from(m.rebalance_timeout_ms))
            .max()
            .unwrap_or(0)
            .max(0)
    }

    pub(super) fn compute_subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.extend(subscription::topics(
                &member.metadata(self.protocol_name.as_deref()?),
            )?);
        }
        Some(all)
    }

    /// A successful answer to JoinGroup. Only the leader is told the members.
    pub(super) fn joined(&self, member_id: &str) -> JoinGroupResponse {
        let members = if self.is_leader(member_id) {
            self.members_for_leader()
        } else {
            Vec::new()
        };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members,
            ..JoinGroupResponse::default()
        }
    }

    fn members_for_leader(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let member = |m: &Member| JoinGroupResponseMember {
            member_id: m.id.clone(),
            group_instance_id: m.instance_id.clone(),
            metadata: m.metadata(protocol),
        };
        self.members.values().map(member).collect()
    }
}

/// An answer to JoinGroup that carries an error.
pub(super) fn refuse_join(member_id: &str, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        member_id: member_id.to_owned(),
        ..JoinGroupResponse::default()
    }
}

/// An answer to SyncGroup that carries an error.
pub(super) fn refuse_sync(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: error.code(),
        assignment: Bytes::new(),
        ..SyncGroupResponse::default()
    }
}
