//! A group with members changes from one protocol to the other (`group.consumer.migration.policy`): a classic group becomes
//! one of the consumer protocol when the first member of that protocol joins, and a classic one again when the last of them
//! is gone. Everybody keeps the partitions that they have until the new protocol gives them others.

use std::collections::BTreeSet;
use std::sync::Arc;

use heliostat_wire::{ErrorCode, Uuid};

use super::assignment::Assignment;
use super::group::{Change, ConsumerGroup, Header};
use super::heartbeat::Refusal;
use super::member::{Classic, Member};
use super::topics::View;
use crate::group::config::GroupConfig;
use crate::group::embedded::{Subscription, Told, write_assignment};
use crate::group::member::Member as ClassicMember;
use crate::group::membership::{CONSUMER, Group, Now, State};
use crate::state::Image;

/// The group of the consumer protocol that a classic one with members becomes, as the changes that make it.
pub(super) fn upgraded(group: &Group, image: &Arc<Image>) -> Result<Vec<Change>, Refusal> {
    let refuse = |why: &str| {
        let message = format!(
            "the classic group {} cannot become one of the consumer protocol: {why}",
            group.id
        );
        Err(Refusal::new(ErrorCode::GroupIdNotFound, message))
    };
    let GroupConfig { consumer, .. } = &group.config;
    if !consumer.migration.upgrade {
        return refuse("group.consumer.migration.policy does not allow it while it has members");
    }
    if group.protocol_type.as_deref() != Some(CONSUMER) {
        return refuse("its members are no consumers");
    }
    if group.members.len() > consumer.max_size {
        return refuse("it has more members than group.consumer.max.size");
    }
    let mut members = Vec::with_capacity(group.members.len());
    for classic in group.members.values() {
        let Some((subscription, told)) = read(group, classic) else {
            return refuse("what its members say about themselves cannot be read");
        };
        if told.has_user_data {
            return refuse("its assignor keeps data of its own, which would be lost");
        }
        members.push(member(group, classic, subscription, told, image));
    }
    let mut view = View::default();
    view.update(image, members.iter());
    let mut changes = vec![Change::Header(Header {
        epoch: group.generation,
        assignment_epoch: group.generation,
        fingerprint: view.fingerprint(members.iter()),
    })];
    for member in members {
        changes.push(Change::Target(member.id.clone(), member.assigned.clone()));
        changes.push(Change::Member(Box::new(member)));
    }
    Ok(changes)
}

impl ConsumerGroup {
    /// Whether the group becomes a classic one when these members go: all others speak that protocol.
    pub(super) fn may_downgrade_without(&self, gone: &BTreeSet<String>) -> bool {
        let mut remain = self
            .members
            .values()
            .filter(|member| !gone.contains(&member.id))
            .peekable();
        self.config.consumer.migration.downgrade
            && remain.peek().is_some()
            && self.members.len().saturating_sub(gone.len()) <= self.config.max_size
            && remain.all(|member| member.classic.is_some())
    }

    /// The classic group that is left without these members. All others speak the classic protocol.
    pub(super) fn downgraded(&self, gone: &BTreeSet<String>, now: Now, image: &Image) -> Group {
        let mut group = Group::new(&self.id, self.config.clone());
        group.generation = self.header.epoch;
        group.protocol_type = Some(CONSUMER.to_owned());
        let remain = self.members.values().filter(|member| !gone.contains(&member.id));
        for (member, classic) in remain.filter_map(|member| Some((member, member.classic.as_ref()?))) {
            let none = Assignment::default();
            let target = self.target(&member.id).unwrap_or(&none);
            let topics = target.topics().filter_map(|(topic, partitions)| {
                Some((image.topic_by_id(topic)?.name.as_str(), partitions))
            });
            group.insert(ClassicMember {
                id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                client: member.client.clone(),
                session_timeout_ms: classic.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: classic.protocols.clone(),
                assignment: write_assignment(classic.version(), topics),
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
                session_deadline: None,
            });
        }
        group.protocol_name = group.select_protocol();
        group.restored(now.timer);
        group.transition(State::Stable, now);
        group
    }
}

/// What a member of a classic group has said, and was told.
fn read(group: &Group, member: &ClassicMember) -> Option<(Subscription, Told)> {
    // Before the first generation no protocol is chosen yet.
    let protocol = group.protocol_name.as_deref();
    let favourite = member.protocols.first().map(|(name, _)| name.as_str());
    let metadata = member.metadata(protocol.or(favourite)?);
    Some((Subscription::read(&metadata)?, Told::read(&member.assignment)?))
}

fn member(
    group: &Group,
    classic: &ClassicMember,
    subscription: Subscription,
    told: Told,
    image: &Image,
) -> Member {
    let exists = |(topic, partitions): (String, Vec<i32>)| -> Vec<(Uuid, i32)> {
        let topic = image.topic(&topic);
        let known = |topic: &crate::state::Topic, partition: &i32| {
            usize::try_from(*partition).is_ok_and(|index| index < topic.partitions.len())
        };
        let partitions = partitions.into_iter();
        topic.map_or_else(Vec::new, |topic| {
            partitions
                .filter(|partition| known(topic, partition))
                .map(|partition| (topic.id, partition))
                .collect()
        })
    };
    let mut member = Member::new(classic.id.clone(), classic.client.clone());
    member.instance_id.clone_from(&classic.instance_id);
    member.rack_id = subscription.rack;
    member.rebalance_timeout_ms = classic.rebalance_timeout_ms;
    member.topics = subscription.topics;
    (member.epoch, member.previous_epoch) = (group.generation, group.generation);
    member.assigned = told.partitions.into_iter().flat_map(exists).collect();
    member.classic = Some(Classic {
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic.protocols.clone(),
    });
    member
}
