//! What members do once they have joined: SyncGroup, Heartbeat, LeaveGroup, and falling silent.

use std::collections::HashMap;

use bytes::Bytes;
use heliostat_wire::ErrorCode;
use heliostat_wire::message::leave_group::{MemberIdentity, MemberResponse};
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::Ticket;
use super::member::METADATA_MAX;
use super::membership::{Group, JoinTimer, Now, State, Step, Store, refuse_sync};

impl Group {
    /// A member asks for its assignment; the leader brings everybody's. The ticket is answered now or when the leader's
    /// assignment is stored.
    pub fn sync(&mut self, now: Now, request: &SyncGroupRequest, ticket: Ticket) -> Step {
        let mut step = Step::default();
        if let Err(error) = self.check_sync(request) {
            step.sync(ticket, refuse_sync(error));
            return step;
        }
        let id = &request.member_id;
        match self.state {
            State::Empty => step.sync(ticket, refuse_sync(ErrorCode::UnknownMemberId)),
            State::PreparingRebalance => step.sync(ticket, refuse_sync(ErrorCode::RebalanceInProgress)),
            State::CompletingRebalance => {
                self.pending_syncs.remove(id);
                if self.pending_syncs.is_empty() {
                    self.sync_deadline = None;
                }
                if let Some(member) = self.members.get_mut(id)
                    && let Some(earlier) = member.awaiting_sync.replace(ticket)
                {
                    step.sync(earlier, refuse_sync(ErrorCode::RebalanceInProgress));
                }
                if self.is_leader(id) {
                    self.assign(request);
                    step.store = Some(Store::Assignment);
                }
            }
            State::Stable => {
                self.pending_syncs.remove(id);
                if self.pending_syncs.is_empty() {
                    self.sync_deadline = None;
                }
                if let Some(member) = self.members.get_mut(id) {
                    member.heard(now.timer);
                    let assignment = member.assignment.clone();
                    step.sync(ticket, self.assigned(assignment));
                }
            }
        }
        step
    }

    /// What more the group takes in memory when the leader brings these assignments, in bytes.
    pub fn growth_of_assignments(&self, request: &SyncGroupRequest) -> usize {
        let brought = request.assignments.iter().map(|a| a.assignment.len());
        let there = self.members.values().map(|member| member.assignment.len());
        (2 * brought.sum::<usize>()).saturating_sub(2 * there.sum::<usize>())
    }

    /// A member is alive. The error tells it what to do next.
    pub fn heartbeat(
        &mut self,
        now: Now,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.heard(member_id, now);
        if self.state == State::PreparingRebalance {
            Err(ErrorCode::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    /// A member has shown that it is alive by something else than a heartbeat.
    pub fn heard(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard(now.timer);
        }
    }

    /// Members leave, or are taken out by an operator (by instance id alone). Each has an answer of its own.
    pub fn leave(&mut self, now: Now, leaving: &[MemberIdentity]) -> (Vec<MemberResponse>, Step) {
        let mut step = Step::default();
        let mut responses = Vec::with_capacity(leaving.len());
        let mut any_left = false;
        for identity in leaving {
            let result = self.leaving_id(identity);
            if let Ok(id) = &result {
                self.remove(id, &mut step);
                any_left = true;
            }
            responses.push(MemberResponse {
                member_id: identity.member_id.clone(),
                group_instance_id: identity.group_instance_id.clone(),
                error_code: result.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        if any_left {
            self.members_removed(now, &mut step);
        }
        (responses, step)
    }

    /// Does everything that is due.
    pub fn on_time(&mut self, now: Now) -> Step {
        let mut step = Step::default();
        // One thing that must be stored at a time: the rest is due again when it is stored.
        while step.store.is_none()
            && let Some(due) = self.next_deadline().filter(|at| *at <= now.timer)
        {
            if self.join_timer.map(JoinTimer::at) == Some(due) {
                self.join_timer_due(now, &mut step);
            } else if self.sync_deadline == Some(due) {
                self.sync_overdue(now, &mut step);
            } else {
                self.session_over(now, due, &mut step);
            }
        }
        step
    }

    pub(super) fn assignment_stored(&mut self, now: Now, ok: bool, step: &mut Step) {
        if !ok {
            self.fail_syncs(now, ErrorCode::CoordinatorNotAvailable, step);
            self.maybe_rebalance(now, step);
            return;
        }
        self.transition(State::Stable, now);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            let Some(ticket) = member.awaiting_sync.take() else {
                continue;
            };
            member.heard(now.timer);
            let assignment = member.assignment.clone();
            step.sync(ticket, self.assigned(assignment));
        }
    }

    /// Takes all assignments back, and tells those who wait for one.
    pub(super) fn fail_syncs(&mut self, now: Now, error: ErrorCode, step: &mut Step) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.awaiting_sync.take() {
                member.heard(now.timer);
                step.sync(ticket, refuse_sync(error));
            }
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |theirs: &Option<String>, ours: &Option<String>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if request
            .assignments
            .iter()
            .any(|a| a.assignment.len() > METADATA_MAX)
        {
            return Err(ErrorCode::UnknownServerError);
        }
        Ok(())
    }

    /// Gives every member what the leader assigned to it; nothing where it assigned nothing.
    fn assign(&mut self, request: &SyncGroupRequest) {
        let assignments: HashMap<&str, &Bytes> = request
            .assignments
            .iter()
            .map(|a| (a.member_id.as_str(), &a.assignment))
            .collect();
        for member in self.members.values_mut() {
            // A copy: a slice would keep the leader's whole request in memory.
            member.assignment = assignments
                .get(member.id.as_str())
                .map(|assignment| Bytes::copy_from_slice(assignment))
                .unwrap_or_default();
        }
    }

    fn assigned(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment,
            ..SyncGroupResponse::default()
        }
    }

    /// Which member an entry of LeaveGroup means.
    fn leaving_id(&self, identity: &MemberIdentity) -> Result<String, ErrorCode> {
        let instance_id = identity.group_instance_id.as_deref();
        if identity.member_id.is_empty() {
            let id = instance_id.and_then(|instance| self.static_members.get(instance));
            return id.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if !self.pending_joins.contains_key(&identity.member_id) {
            self.check_member(&identity.member_id, instance_id)?;
        }
        Ok(identity.member_id.clone())
    }

    /// Members, or ids that were to become members, are gone.
    fn members_removed(&mut self, now: Now, step: &mut Step) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.maybe_rebalance(now, step),
            State::PreparingRebalance => self.maybe_complete_join(now, step),
            State::Empty => {}
        }
    }

    /// Somebody has not been heard of for a session timeout.
    fn session_over(&mut self, now: Now, due: i64, step: &mut Step) {
        let pending = self
            .pending_joins
            .iter()
            .find(|(_, until)| **until == due)
            .map(|(id, _)| id.clone());
        if let Some(id) = pending {
            self.pending_joins.remove(&id);
            if self.state == State::PreparingRebalance {
                self.maybe_complete_join(now, step);
            }
            return;
        }
        let Some(member) = self
            .members
            .values_mut()
            .find(|m| m.session_deadline == Some(due))
        else {
            return;
        };
        if !member.is_new && (member.awaiting_join.is_some() || member.awaiting_sync.is_some()) {
            // It waits for us, not we for it. Its session starts anew with the answer.
            member.session_deadline = None;
            return;
        }
        let id = member.id.clone();
        self.remove(&id, step);
        self.members_removed(now, step);
    }

    /// Members that never asked for their assignment are dropped.
    fn sync_overdue(&mut self, now: Now, step: &mut Step) {
        self.sync_deadline = None;
        if self.pending_syncs.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable)
        {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove(&id, step);
        }
        self.prepare_rebalance(now, step);
    }
}
