//! One member of a group of the consumer protocol.

use std::collections::BTreeSet;

use bytes::Bytes;
use heliostat_wire::message::ConsumerGroupHeartbeatRequest;

use super::assignment::Assignment;
use crate::group::member::Client;
use crate::group::room::{HELD_BYTES, MEMBER_BYTES, NAME_BYTES, texts};

/// The epoch with which a member joins.
pub(in crate::group) const JOINING: i32 = 0;
/// The epoch with which a member leaves for good.
pub(in crate::group) const LEAVING: i32 = -1;
/// The epoch with which a static member leaves to come back, and which it has while it is away.
pub(in crate::group) const AWAY: i32 = -2;

/// How far a member is from what it is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) enum MemberState {
    /// It has all that its epoch gives it.
    Stable,
    /// It has been told to give partitions up, and has not said yet that it has.
    Unrevoked,
    /// It waits for partitions that others have not given up yet.
    Unreleased,
}

/// A member: what it said, and what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub id: String,
    pub instance_id: Option<String>,
    pub rack_id: Option<String>,
    pub client: Client,
    /// How long it may take to give partitions up, in milliseconds.
    pub rebalance_timeout_ms: i32,
    pub topics: BTreeSet<String>,
    /// Empty where the member has none, as in what ConsumerGroupDescribe shows.
    pub regex: String,
    pub assignor: Option<String>,
    pub state: MemberState,
    pub epoch: i32,
    /// The epoch before this one: a member whose answer was lost still comes with it.
    pub previous_epoch: i32,
    /// What it may read now.
    pub assigned: Assignment,
    /// What it has to give up; nobody else gets these before it has.
    pub to_revoke: Assignment,
    /// Where it speaks the classic protocol: what only that knows.
    pub classic: Option<Classic>,
}

/// What a member of the classic protocol has that others do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::group) struct Classic {
    /// Its own, in milliseconds; that of others is the group's.
    pub session_timeout_ms: i32,
    /// Names and metadata of the protocols that it supports, its favourite first; at least one.
    pub protocols: Vec<(String, Bytes)>,
}

impl Member {
    /// A member of which nothing is known but its id.
    pub fn new(id: String, client: Client) -> Self {
        Self {
            id,
            instance_id: None,
            rack_id: None,
            client,
            rebalance_timeout_ms: -1,
            topics: BTreeSet::new(),
            regex: String::new(),
            assignor: None,
            state: MemberState::Stable,
            epoch: JOINING,
            previous_epoch: 0,
            assigned: Assignment::default(),
            to_revoke: Assignment::default(),
            classic: None,
        }
    }

    /// The same member after a heartbeat: what the heartbeat leaves out has not changed.
    pub fn updated(&self, client: &Client, request: &ConsumerGroupHeartbeatRequest) -> Self {
        let mut new = self.clone();
        new.client = client.clone();
        // Whoever sends this heartbeat speaks the consumer protocol, whatever it spoke before.
        new.classic = None;
        let optional = |own: &mut Option<String>, said: &Option<String>| {
            if said.is_some() {
                own.clone_from(said);
            }
        };
        optional(&mut new.instance_id, &request.instance_id);
        optional(&mut new.rack_id, &request.rack_id);
        optional(&mut new.assignor, &request.server_assignor);
        if request.rebalance_timeout_ms != -1 {
            new.rebalance_timeout_ms = request.rebalance_timeout_ms;
        }
        if let Some(topics) = &request.subscribed_topic_names {
            new.topics = topics.iter().cloned().collect();
        }
        if let Some(regex) = &request.subscribed_topic_regex {
            new.regex.clone_from(regex);
        }
        new
    }

    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        let names = [&self.id, &self.client.id, &self.client.host, &self.regex].map(String::as_str);
        let optional = [&self.instance_id, &self.rack_id, &self.assignor].map(Option::as_deref);
        let names = names.into_iter().chain(optional.into_iter().flatten());
        let topics = self.topics.iter().map(String::as_str);
        let protocols = self.classic.iter().flat_map(|classic| &classic.protocols);
        let said: usize = protocols
            .map(|(name, metadata)| name.len() + metadata.len())
            .sum();
        let held = self.assigned.len() + self.to_revoke.len();
        MEMBER_BYTES
            + texts(names.chain(topics))
            + NAME_BYTES * self.topics.len()
            + 2 * said
            + HELD_BYTES * held
    }

    /// Whether it has all that it is to have in this epoch.
    pub fn is_at(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Goes on to an epoch.
    pub fn advance(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// All partitions that nobody else may have: those that it reads, and those that it has not given up yet.
    pub fn held(&self) -> impl Iterator<Item = (heliostat_wire::Uuid, i32)> {
        self.assigned.iter().chain(self.to_revoke.iter())
    }

    /// Whether reconciliation is where it was: a rebalance that is under way keeps its deadline.
    pub fn is_as_far_as(&self, other: &Self) -> bool {
        (self.state, self.epoch, &self.assigned, &self.to_revoke)
            == (other.state, other.epoch, &other.assigned, &other.to_revoke)
    }
}
