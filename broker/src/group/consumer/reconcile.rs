//! How a member gets from what it has to what it is to have, in three steps: it is told what to give up, it says that it
//! has, and only then it goes on to the next epoch and gets what others have given up.

use std::collections::BTreeSet;

use heliostat_wire::Uuid;
use heliostat_wire::message::consumer_group_heartbeat::TopicPartitions;

use super::assignment::{Assignment, owns_any_of};
use super::member::{Member, MemberState};

/// What decides about a member's next step.
pub(super) struct Reconciling<'a> {
    pub target_epoch: i32,
    /// What the member is to have in that epoch.
    pub target: &'a Assignment,
    /// The topics that the member reads and that exist.
    pub subscribed: &'a BTreeSet<Uuid>,
    pub subscription_changed: bool,
    /// The partitions that the member says it has; it does not say with every heartbeat.
    pub owned: Option<&'a [TopicPartitions]>,
    /// Whether another member has the partition, or has not given it up yet.
    pub is_taken: &'a dyn Fn(Uuid, i32) -> bool,
}

impl Reconciling<'_> {
    /// The member after its next step.
    pub fn next(&self, member: &Member) -> Member {
        match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => self.step(member, member.epoch),
            MemberState::Stable if self.subscription_changed => self.drop_unsubscribed(member),
            MemberState::Stable => member.clone(),
            MemberState::Unrevoked if !self.still_owns_any_of(&member.to_revoke) => {
                self.step(member, member.epoch + 1)
            }
            MemberState::Unrevoked if self.subscription_changed => self.drop_unsubscribed(member),
            MemberState::Unrevoked => member.clone(),
            MemberState::Unreleased => self.step(member, member.epoch),
        }
    }

    /// A member that does not say what it has is taken to have everything.
    fn still_owns_any_of(&self, assignment: &Assignment) -> bool {
        self.owned.is_none_or(|owned| owns_any_of(owned, assignment))
    }

    fn step(&self, member: &Member, epoch: i32) -> Member {
        let mut next = member.clone();
        let wanted = |topic: Uuid, partition: i32| {
            self.subscribed.contains(&topic) && self.target.contains(topic, partition)
        };
        let (kept, to_revoke): (Vec<_>, Vec<_>) = member.assigned.iter().partition(|&(t, p)| wanted(t, p));
        let mut assigned: Assignment = kept.into_iter().collect();
        let to_revoke: Assignment = to_revoke.into_iter().collect();
        if !to_revoke.is_empty() && self.still_owns_any_of(&to_revoke) {
            next.state = MemberState::Unrevoked;
            next.advance(epoch);
            (next.assigned, next.to_revoke) = (assigned, to_revoke);
            return next;
        }
        let mut waits = false;
        for (topic, partition) in self.target.iter().filter(|&(t, p)| wanted(t, p)) {
            if assigned.contains(topic, partition) {
                continue;
            }
            if (self.is_taken)(topic, partition) {
                waits = true;
            } else {
                assigned.insert(topic, partition);
            }
        }
        next.state = if waits {
            MemberState::Unreleased
        } else {
            MemberState::Stable
        };
        next.advance(self.target_epoch);
        (next.assigned, next.to_revoke) = (assigned, Assignment::default());
        next
    }

    /// Takes back at once what the member no longer subscribes to, without going on to another epoch.
    fn drop_unsubscribed(&self, member: &Member) -> Member {
        let is_subscribed = |&(topic, _): &(Uuid, i32)| self.subscribed.contains(&topic);
        let (kept, dropped): (Vec<_>, Vec<_>) = member.assigned.iter().partition(is_subscribed);
        if dropped.is_empty() {
            return member.clone();
        }
        let mut next = member.clone();
        next.assigned = kept.into_iter().collect();
        let to_revoke: Assignment = member.to_revoke.iter().chain(dropped).collect();
        if self.still_owns_any_of(&to_revoke) {
            next.state = MemberState::Unrevoked;
            next.to_revoke = to_revoke;
        }
        next
    }
}
