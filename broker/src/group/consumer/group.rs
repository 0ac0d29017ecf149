//! The state of one group of the consumer protocol, and how it changes.
//!
//! Nothing changes here before it is durable: what a heartbeat or a timer leads to is worked out as [`Change`]s, these are
//! stored, and only then applied.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use heliostat_wire::message::consumer_group_describe::{
    Assignment as DescribedAssignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use heliostat_wire::{ErrorCode, Uuid};

use super::assignment::Assignment;
use super::assignor::{Assignor, Reader, Spec};
use super::member::{Member, MemberState};
use super::topics::View;
use crate::group::config::GroupConfig;
use crate::group::room::{TARGET_BYTES, texts};
use crate::state::Image;

/// What a group has besides its members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::group) struct Header {
    /// Counts the changes that call for a new assignment.
    pub epoch: i32,
    /// The epoch that the targets belong to.
    pub assignment_epoch: i32,
    /// Tells whether the topics that the group reads have changed.
    pub fingerprint: u64,
}

/// One change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) enum Change {
    Header(Header),
    Member(Box<Member>),
    /// A member is gone, with its target.
    Gone(String),
    /// What a member is to have.
    Target(String, Assignment),
}

/// A group.
#[derive(Debug, Clone)]
pub(in crate::group) struct ConsumerGroup {
    pub id: String,
    pub config: GroupConfig,
    pub header: Header,
    pub members: BTreeMap<String, Member>,
    targets: BTreeMap<String, Assignment>,
    /// Instance id to member id.
    statics: BTreeMap<String, String>,
    /// Who has a partition, or has not given it up yet.
    owners: HashMap<(Uuid, i32), String>,
    pub(super) view: View,
    /// What members and targets take in memory.
    bytes: usize,
    /// When sessions end, in milliseconds of the timer clock.
    sessions: BTreeMap<String, i64>,
    /// By when members must have given up what they were told to.
    revocations: BTreeMap<String, i64>,
    /// By when members of the classic protocol that were asked to join again must have done so.
    pub(super) joins: BTreeMap<String, i64>,
    /// By when those that have joined must have asked for their partitions.
    pub(super) syncs: BTreeMap<String, i64>,
}

impl ConsumerGroup {
    /// A group without members.
    pub fn new(id: &str, config: GroupConfig) -> Self {
        Self {
            id: id.to_owned(),
            config,
            header: Header::default(),
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            statics: BTreeMap::new(),
            owners: HashMap::new(),
            view: View::default(),
            bytes: 0,
            sessions: BTreeMap::new(),
            revocations: BTreeMap::new(),
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
        }
    }

    /// Makes a change that is stored, or was read from the journal. `now` is on the timer clock.
    pub fn apply(&mut self, change: Change, now: i64) {
        match change {
            Change::Header(header) => self.header = header,
            Change::Target(id, target) => {
                self.bytes += target_bytes(&id, &target);
                let old = self.targets.insert(id.clone(), target);
                self.bytes -= old.map_or(0, |old| target_bytes(&id, &old));
            }
            Change::Gone(id) => {
                self.let_go(&id);
                let old = self.targets.remove(&id);
                self.bytes -= old.map_or(0, |old| target_bytes(&id, &old));
                self.sessions.remove(&id);
                self.revocations.remove(&id);
                self.joins.remove(&id);
                self.syncs.remove(&id);
                let old = self.members.remove(&id);
                self.bytes -= old.as_ref().map_or(0, Member::bytes);
                if let Some(instance) = old.and_then(|member| member.instance_id)
                    && self.statics.get(&instance) == Some(&id)
                {
                    self.statics.remove(&instance);
                }
            }
            Change::Member(member) => {
                let id = member.id.clone();
                self.let_go(&id);
                self.owners
                    .extend(member.held().map(|partition| (partition, id.clone())));
                if let Some(instance) = &member.instance_id {
                    self.statics.insert(instance.clone(), id.clone());
                }
                // A member that is away has no epoch in which it could be late, and one of the classic protocol gives up by
                // joining again, for which it has a time of its own.
                if member.state != MemberState::Unrevoked || member.epoch < 0 || member.classic.is_some() {
                    self.revocations.remove(&id);
                } else if !self.members.get(&id).is_some_and(|old| old.is_as_far_as(&member)) {
                    self.revocations
                        .insert(id.clone(), now + i64::from(member.rebalance_timeout_ms.max(0)));
                }
                self.bytes += member.bytes();
                let old = self.members.insert(id, *member);
                self.bytes -= old.as_ref().map_or(0, Member::bytes);
            }
        }
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes + self.view.bytes()
    }

    /// What it takes in memory with these changes, in bytes.
    pub fn bytes_with(&self, changes: &[Change]) -> usize {
        let member = |id: &String| self.members.get(id).map_or(0, Member::bytes);
        let target = |id: &String| self.target(id).map_or(0, |target| target_bytes(id, target));
        let (mut more, mut less) = (0, 0);
        for change in changes {
            match change {
                Change::Header(_) => {}
                Change::Member(new) => {
                    more += new.bytes();
                    less += member(&new.id);
                }
                Change::Target(id, new) => {
                    more += target_bytes(id, new);
                    less += target(id);
                }
                Change::Gone(id) => less += member(id) + target(id),
            }
        }
        (self.bytes() + more).saturating_sub(less)
    }

    /// Starts a member's session anew.
    pub fn heard(&mut self, member_id: &str, now: i64, session_timeout_ms: i64) {
        if self.members.contains_key(member_id) {
            self.sessions
                .insert(member_id.to_owned(), now + session_timeout_ms);
        }
    }

    /// Starts all sessions: the group was read from disk.
    pub fn restored(&mut self, now: i64, session_timeout_ms: i64) {
        for (id, member) in &self.members {
            let own = member
                .classic
                .as_ref()
                .map(|classic| i64::from(classic.session_timeout_ms));
            self.sessions
                .insert(id.clone(), now + own.unwrap_or(session_timeout_ms));
        }
    }

    /// When somebody's time is over.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers().flat_map(BTreeMap::values).min().copied()
    }

    /// Those whose time is over.
    pub fn overdue(&self, now: i64) -> BTreeSet<String> {
        let due = self.timers().flatten().filter(|(_, at)| **at <= now);
        due.map(|(id, _)| id.clone()).collect()
    }

    /// Tries again later to take members out that could not be taken out now.
    pub fn postpone(&mut self, until: i64) {
        for timers in [
            &mut self.sessions,
            &mut self.revocations,
            &mut self.joins,
            &mut self.syncs,
        ] {
            timers.values_mut().for_each(|at| *at = (*at).max(until));
        }
    }

    fn timers(&self) -> impl Iterator<Item = &BTreeMap<String, i64>> {
        [&self.sessions, &self.revocations, &self.joins, &self.syncs].into_iter()
    }

    /// The name that ListGroups and ConsumerGroupDescribe give the state.
    pub fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.header.epoch > self.header.assignment_epoch {
            "Assigning"
        } else if self
            .members
            .values()
            .all(|member| member.is_at(self.header.assignment_epoch))
        {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub fn target(&self, member_id: &str) -> Option<&Assignment> {
        self.targets.get(member_id)
    }

    /// The member that holds an instance id.
    pub fn static_member(&self, instance_id: &str) -> Option<&Member> {
        self.members.get(self.statics.get(instance_id)?)
    }

    /// Whether somebody else than these two has the partition.
    pub fn is_taken(&self, partition: (Uuid, i32), by_other_than: [&str; 2]) -> bool {
        self.owners
            .get(&partition)
            .is_some_and(|owner| !by_other_than.contains(&owner.as_str()))
    }

    /// The assignor that most members ask for; the first of those that are configured where nobody asks for one.
    pub fn assignor<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Assignor {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in members.filter_map(|m| m.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.and_then(|(name, _)| Assignor::from_name(name))
            .unwrap_or(self.config.consumer.default_assignor())
    }

    /// What everybody is to have, with these members, as far as it differs from what they were to have.
    pub(super) fn new_targets<'a>(&self, members: impl Iterator<Item = &'a Member> + Clone) -> Vec<Change> {
        let mut spec = Spec::default();
        for member in members.clone() {
            let topics = self.view.topics_of(member);
            // A static member that came back under a new id inherits what it was to have.
            let known = self.targets.get(&member.id).or_else(|| {
                let holder = self.static_member(member.instance_id.as_deref()?)?;
                self.targets.get(&holder.id)
            });
            let reader = Reader {
                instance_id: member.instance_id.clone(),
                topics: topics.keys().copied().collect(),
                previous: known.cloned().unwrap_or_default(),
            };
            spec.partitions.extend(topics);
            spec.readers.insert(member.id.clone(), reader);
        }
        let assigned = self.assignor(members).assign(&spec).into_iter();
        assigned
            .filter(|(id, target)| self.targets.get(id) != Some(target))
            .map(|(id, target)| Change::Target(id, target))
            .collect()
    }

    /// Whether a member reads the topic.
    pub fn is_subscribed_to(&mut self, topic: &str, image: &Arc<Image>) -> bool {
        self.view.update(image, self.members.values());
        self.members.values().any(|member| self.view.reads(member, topic))
    }

    /// Whether a commit of offsets may be accepted. `modern` tells that the request's version can carry member epochs.
    pub fn check_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        epoch: i32,
        transactional: bool,
        modern: bool,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            // Tools, and consumers that do not use the group for anything but offsets.
            return Ok(());
        }
        if transactional && epoch == -1 && member_id.is_empty() && instance_id.is_none() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)?;
        if !transactional && !modern && member.classic.is_none() {
            return Err(ErrorCode::UnsupportedVersion);
        }
        check_epoch(member, epoch)
    }

    /// Whether a member, or a tool, may see offsets.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id
            .and_then(|id| self.members.get(id))
            .ok_or(ErrorCode::UnknownMemberId)?;
        check_epoch(member, epoch)
    }

    /// What ConsumerGroupDescribe says.
    pub fn describe(&self, image: &Image) -> DescribedGroup {
        DescribedGroup {
            group_id: self.id.clone(),
            group_state: self.state().to_owned(),
            group_epoch: self.header.epoch,
            assignment_epoch: self.header.assignment_epoch,
            assignor_name: self.assignor(self.members.values()).name().to_owned(),
            members: self
                .members
                .values()
                .map(|member| self.describe_member(member, image))
                .collect(),
            ..DescribedGroup::default()
        }
    }

    fn describe_member(&self, member: &Member, image: &Image) -> DescribedMember {
        /// Kafka's numbers for the protocols of members.
        const CLASSIC: i8 = 0;
        const CONSUMER: i8 = 1;
        let none = Assignment::default();
        DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack_id.clone(),
            member_epoch: member.epoch,
            client_id: member.client.id.clone(),
            client_host: member.client.host.clone(),
            subscribed_topic_names: member.topics.iter().cloned().collect(),
            subscribed_topic_regex: Some(member.regex.clone()),
            assignment: described(&member.assigned, image),
            target_assignment: described(self.target(&member.id).unwrap_or(&none), image),
            member_type: if member.classic.is_some() {
                CLASSIC
            } else {
                CONSUMER
            },
        }
    }

    fn let_go(&mut self, id: &str) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        for partition in member.held() {
            if self.owners.get(&partition).is_some_and(|owner| owner == id) {
                self.owners.remove(&partition);
            }
        }
    }
}

/// What it takes in memory to know what a member is to have, in bytes.
fn target_bytes(id: &str, target: &Assignment) -> usize {
    texts([id]) + TARGET_BYTES * (1 + target.len())
}

/// Whether a member comes with its epoch, which the classic protocol calls a generation.
fn check_epoch(member: &Member, epoch: i32) -> Result<(), ErrorCode> {
    match &member.classic {
        _ if member.epoch == epoch => Ok(()),
        Some(_) => Err(ErrorCode::IllegalGeneration),
        None => Err(ErrorCode::StaleMemberEpoch),
    }
}

/// Partitions with the names of their topics; topics that are gone are left out.
fn described(assignment: &Assignment, image: &Image) -> DescribedAssignment {
    let topic = |(topic_id, partitions): (Uuid, &BTreeSet<i32>)| {
        Some(TopicPartitions {
            topic_id,
            topic_name: image.topic_by_id(topic_id)?.name.clone(),
            partitions: partitions.iter().copied().collect(),
        })
    };
    DescribedAssignment {
        topic_partitions: assignment.topics().filter_map(topic).collect(),
    }
}
