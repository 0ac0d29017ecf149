//! JoinGroup, and the rebalance that follows from it.

use heliostat_wire::ErrorCode;
use heliostat_wire::message::join_group::JoinGroupRequest;

use super::Ticket;
use super::member::{Client, METADATA_MAX, Member, metadata_size, protocols_of};
use super::membership::{Group, JoinTimer, Now, Replacement, State, Step, Store, refuse_join, refuse_sync};

/// Since this version a member without an id is given one first, and joins with it in a second request (KIP-394).
pub(super) const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// Since this version a leader can be told not to assign anything (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;
/// How long a new member may wait for its first generation. It cannot send heartbeats while it waits, so without this
/// bound members that gave up would pile up in a long rebalance.
const NEW_MEMBER_TIMEOUT_MS: i64 = 5 * 60 * 1000;
/// How soon to look again whether a static member is back, at least; rebalance timeouts may be as short as 0.
const SHORTEST_RETRY_MS: i64 = 100;

/// A JoinGroup request with all that decides about it.
pub(super) struct Joining<'a> {
    pub client: &'a Client,
    /// The request's version.
    pub version: i16,
    pub request: &'a JoinGroupRequest,
    /// Makes the id of a new member unique.
    pub unique: &'a str,
    pub ticket: Ticket,
}

impl Group {
    /// A member joins, or joins again. The ticket is answered now or when the join phase ends.
    pub fn join(&mut self, now: Now, joining: &Joining<'_>) -> Step {
        let mut step = Step::default();
        let member_id = &joining.request.member_id;
        if let Err((id, error)) = self.check_join(member_id, joining, &mut step) {
            step.join(joining.ticket, refuse_join(&id, error));
        } else if member_id.is_empty() {
            self.join_new(now, joining, &mut step);
        } else if self.pending_joins.contains_key(member_id) {
            self.add_member(now, member_id.clone(), joining, &mut step);
        } else {
            self.join_again(now, joining, &mut step);
        }
        step
    }

    /// The join phase may be over: completes it when everybody is there.
    pub(super) fn maybe_complete_join(&mut self, now: Now, step: &mut Step) {
        // The first generation waits for its delay, whoever is there.
        let delayed = self.previous == State::Empty;
        if self.state == State::PreparingRebalance && !delayed && self.all_joined() {
            self.complete_join(now, step);
        }
    }

    /// Starts a rebalance, or, when one is under way, sees whether it can end.
    pub(super) fn maybe_rebalance(&mut self, now: Now, step: &mut Step) {
        match self.state {
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(now, step),
            State::PreparingRebalance => self.maybe_complete_join(now, step),
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: Now, step: &mut Step) {
        if self.state == State::CompletingRebalance {
            self.fail_syncs(now, ErrorCode::RebalanceInProgress, step);
        }
        self.sync_deadline = None;
        if self.state == State::Empty {
            let delay = self.initial_delay();
            let remaining = (self.rebalance_timeout() - delay).max(0);
            self.joined_during_delay = false;
            self.join_timer = Some(JoinTimer::Initial {
                at: now.timer + delay,
                delay,
                remaining,
            });
            self.transition(State::PreparingRebalance, now);
            return;
        }
        self.transition(State::PreparingRebalance, now);
        if self.all_joined() {
            self.complete_join(now, step);
        } else {
            self.join_timer = Some(JoinTimer::Rebalance {
                at: now.timer + self.rebalance_timeout(),
            });
        }
    }

    /// The join timer has run out.
    pub(super) fn join_timer_due(&mut self, now: Now, step: &mut Step) {
        match self.join_timer {
            Some(JoinTimer::Initial { delay, remaining, .. })
                if self.joined_during_delay && remaining > 0 =>
            {
                self.joined_during_delay = false;
                let next = self.initial_delay().min(remaining);
                let remaining = (remaining - delay).max(0);
                self.join_timer = Some(JoinTimer::Initial {
                    at: now.timer + next,
                    delay: next,
                    remaining,
                });
            }
            Some(_) => self.complete_join(now, step),
            None => {}
        }
    }

    pub(super) fn replacement_stored(
        &mut self,
        now: Now,
        replacement: Replacement,
        ok: bool,
        step: &mut Step,
    ) {
        let Replacement {
            old,
            new_id,
            old_leader,
            version,
        } = replacement;
        let Some(member) = self.members.get_mut(&new_id) else {
            return;
        };
        let ticket = member.awaiting_join.take();
        let mut response = refuse_join("", ErrorCode::CoordinatorNotAvailable);
        if ok {
            response = self.joined(&new_id);
            if version >= SKIP_ASSIGNMENT_SINCE {
                response.skip_assignment = self.is_leader(&new_id);
            } else {
                response.members.clear();
                response.leader = old_leader.unwrap_or_default();
            }
        } else {
            self.put_in_place_of(&new_id, old, now.timer);
        }
        if let Some(ticket) = ticket {
            step.join(ticket, response);
        }
    }

    fn check_join(
        &mut self,
        member_id: &str,
        joining: &Joining<'_>,
        step: &mut Step,
    ) -> Result<(), (String, ErrorCode)> {
        if !self.has_room_for(member_id) {
            self.remove(member_id, step);
            return Err((String::new(), ErrorCode::GroupMaxSizeReached));
        }
        if metadata_size(joining.request) > METADATA_MAX {
            return Err((member_id.to_owned(), ErrorCode::UnknownServerError));
        }
        if !self.supports(joining.request) {
            return Err((member_id.to_owned(), ErrorCode::InconsistentGroupProtocol));
        }
        Ok(())
    }

    fn has_room_for(&self, member_id: &str) -> bool {
        let max = self.config.max_size;
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let awaiting = |m: &Member| m.awaiting_join.is_some();
                self.members.get(member_id).is_some_and(awaiting)
                    || self.members.values().filter(|m| awaiting(m)).count() < max
            }
            State::CompletingRebalance | State::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max
            }
        }
    }

    /// Whether a member with these protocols can be part of the group.
    fn supports(&self, request: &JoinGroupRequest) -> bool {
        if self.state == State::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        let by_all = |name: &str| self.members.values().all(|m| m.supports(name));
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request.protocols.iter().any(|p| by_all(&p.name))
    }

    fn join_new(&mut self, now: Now, joining: &Joining<'_>, step: &mut Step) {
        let instance_id = joining.request.group_instance_id.as_ref();
        let id = format!("{}-{}", instance_id.unwrap_or(&joining.client.id), joining.unique);
        match instance_id.map(|instance| self.static_members.get(instance).cloned()) {
            Some(Some(old_id)) => self.replace_static(now, &old_id, id, joining, step),
            None if joining.version >= MEMBER_ID_REQUIRED_SINCE => {
                let until = now.timer + i64::from(joining.request.session_timeout_ms);
                self.pending_joins.insert(id.clone(), until);
                step.join(joining.ticket, refuse_join(&id, ErrorCode::MemberIdRequired));
            }
            Some(None) | None => self.add_member(now, id, joining, step),
        }
    }

    fn join_again(&mut self, now: Now, joining: &Joining<'_>, step: &mut Step) {
        let Joining { request, ticket, .. } = *joining;
        let id = &request.member_id;
        if let Err(error) = self.check_member(id, request.group_instance_id.as_deref()) {
            step.join(ticket, refuse_join(id, error));
            return;
        }
        let unchanged = self
            .members
            .get(id)
            .is_some_and(|m| m.protocols == protocols_of(request));
        match self.state {
            State::Empty => step.join(ticket, refuse_join("", ErrorCode::UnknownMemberId)),
            // The answer to the same request may have been lost: it is given again.
            State::CompletingRebalance if unchanged => step.join(ticket, self.joined(id)),
            // A leader that joins again wants a rebalance (its view of the topics has changed, say), a follower does not.
            State::Stable if unchanged && !self.is_leader(id) => step.join(ticket, self.joined(id)),
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update_member(id, joining, step);
                self.maybe_rebalance(now, step);
            }
        }
    }

    fn add_member(&mut self, now: Now, id: String, joining: &Joining<'_>, step: &mut Step) {
        let mut member = Member::new(id, joining.client, joining.request);
        member.awaiting_join = Some(joining.ticket);
        member.session_deadline = Some(now.timer + NEW_MEMBER_TIMEOUT_MS);
        if self.state == State::PreparingRebalance && self.previous == State::Empty {
            self.joined_during_delay = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(joining.request.protocol_type.clone());
        }
        self.insert(member);
        self.maybe_rebalance(now, step);
    }

    fn update_member(&mut self, id: &str, joining: &Joining<'_>, step: &mut Step) {
        let Some(member) = self.members.get_mut(id) else {
            return;
        };
        member.update(joining.request);
        if let Some(earlier) = member.awaiting_join.replace(joining.ticket) {
            // The same member has asked twice; nobody should still be waiting on the first connection.
            step.join(earlier, refuse_join(id, ErrorCode::RebalanceInProgress));
        }
    }

    /// A static member is back without its member id: it gets a new one, and whoever still uses the old one is fenced.
    fn replace_static(
        &mut self,
        now: Now,
        old_id: &str,
        new_id: String,
        joining: &Joining<'_>,
        step: &mut Step,
    ) {
        let old_leader = self.leader.clone();
        let Some(mut old) = self.members.get(old_id).cloned() else {
            return;
        };
        if let Some(ticket) = old.awaiting_join.take() {
            step.join(ticket, refuse_join(old_id, ErrorCode::FencedInstanceId));
        }
        if let Some(ticket) = old.awaiting_sync.take() {
            step.sync(ticket, refuse_sync(ErrorCode::FencedInstanceId));
        }
        let mut new = old.clone();
        new.id.clone_from(&new_id);
        new.client = joining.client.clone();
        new.awaiting_join = Some(joining.ticket);
        new.update(joining.request);
        self.put_in_place_of(old_id, new, now.timer);
        match self.state {
            State::Stable if self.protocol_name == self.select_protocol() => {
                let replacement = Replacement {
                    old,
                    new_id,
                    old_leader,
                    version: joining.version,
                };
                step.store = Some(Store::Replacement(Box::new(replacement)));
            }
            // While an assignment is worked out, the leader knows the old id: what it assigns would get lost.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now, step),
            State::Empty | State::PreparingRebalance => self.maybe_complete_join(now, step),
        }
    }

    fn put_in_place_of(&mut self, id: &str, mut member: Member, now: i64) {
        member.heard(now);
        self.members.remove(id);
        self.pending_syncs.remove(id);
        if self.is_leader(id) {
            self.leader = Some(member.id.clone());
        }
        self.insert(member);
    }

    fn initial_delay(&self) -> i64 {
        i64::try_from(self.config.initial_rebalance_delay.as_millis()).unwrap_or(i64::MAX / 2)
    }

    fn all_joined(&self) -> bool {
        self.pending_joins.is_empty() && self.members.values().all(|m| m.awaiting_join.is_some())
    }

    /// Ends the join phase: late members are dropped, and a new generation begins with those who are there.
    fn complete_join(&mut self, now: Now, step: &mut Step) {
        self.join_timer = None;
        let is_late = |m: &&Member| m.awaiting_join.is_none() && m.instance_id.is_none();
        let late: Vec<String> = self
            .members
            .values()
            .filter(is_late)
            .map(|m| m.id.clone())
            .collect();
        for id in late {
            self.remove(&id, step);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members, and none of them is back: wait until one joins, or until their sessions end.
            let wait = self.rebalance_timeout().max(SHORTEST_RETRY_MS);
            self.join_timer = Some(JoinTimer::Rebalance { at: now.timer + wait });
            return;
        }
        self.next_generation(now);
        if self.state == State::Empty {
            step.store = Some(Store::Emptied);
            return;
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let response = self.joined(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            if let Some(ticket) = member.awaiting_join.take() {
                step.join(ticket, response);
            }
            member.heard(now.timer);
            member.is_new = false;
            self.pending_syncs.insert(id);
        }
        self.sync_deadline = Some(now.timer + self.rebalance_timeout());
    }

    fn next_generation(&mut self, now: Now) {
        // After the largest number the count starts again at 0: negative generations mean "none".
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.pending_syncs.clear();
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        let state = if self.members.is_empty() {
            State::Empty
        } else {
            State::CompletingRebalance
        };
        self.transition(state, now);
    }

    /// Sees to it that the leader is among those who have joined; false if nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |m: &Member| m.awaiting_join.is_some();
        if self
            .leader
            .as_ref()
            .and_then(|id| self.members.get(id))
            .is_some_and(has_joined)
        {
            return true;
        }
        match self.members.values().find(|m| has_joined(m)) {
            Some(member) => {
                self.leader = Some(member.id.clone());
                true
            }
            None => false,
        }
    }

    /// Among the protocols that all members support, the one that most of them would rather have; among equals, the one
    /// that the first member named first. `None` without members.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let candidates: Vec<&str> = first
            .protocols
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| self.members.values().all(|m| m.supports(name)))
            .collect();
        let favourite = |m: &Member| {
            m.protocols
                .iter()
                .find(|(name, _)| candidates.contains(&name.as_str()))
                .map(|(name, _)| name.clone())
        };
        let votes: Vec<String> = self.members.values().filter_map(favourite).collect();
        let count = |name: &str| votes.iter().filter(|vote| *vote == name).count();
        let mut best: Option<&str> = None;
        for candidate in candidates.iter().copied() {
            if best.is_none_or(|best| count(candidate) > count(best)) {
                best = Some(candidate);
            }
        }
        best.map(str::to_owned)
    }
}
