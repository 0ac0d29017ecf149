//! The task of one group: it owns the group's members, offsets, timers and the requests that wait.
//!
//! Each group has its own, so that whatever one waits for (its members, the disk) leaves all others alone; and since a group's
//! calls are taken one after another, a call that waits for the disk needs no lock. A caller that goes away changes nothing:
//! what it asked for is done, or not, as a whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliostat_wire::ErrorCode;
use heliostat_wire::message::join_group::JoinGroupResponse;
use heliostat_wire::message::offset_fetch::{OffsetFetchRequestTopics, OffsetFetchResponseTopics};
use heliostat_wire::message::sync_group::SyncGroupResponse;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Ticket;
use super::calls::{Call, Commit, CommitOffset};
use super::consumer::group::ConsumerGroup;
use super::consumer::record::removal;
use super::join::Joining;
use super::membership::{self, CONSUMER, Group, Now, Reply, State, Step, refuse_join, refuse_sync};
use super::offsets::{Committed, OffsetChange, Offsets};
use super::record::{Change, group_change, group_removal, offset_change};
use super::room::{GROUP_BYTES, Share, texts};
use super::store::{NotStored, Store};
use crate::state::Images;

/// What ListGroups shows of a group without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    pub state: &'static str,
    pub protocol_type: String,
    /// `classic` or `consumer`.
    pub group_type: &'static str,
}

/// A group as others reach it.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    pub calls: mpsc::Sender<Call>,
    pub summary: Arc<Mutex<Summary>>,
}

/// The groups by name.
pub(super) type Registry = Arc<Mutex<BTreeMap<String, Handle>>>;

/// Tells both times.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    start: Instant,
    /// The cluster's, which can be made wrong: sessions must not end with it.
    wall: crate::clock::Clock,
}

/// A group as the journal has it, or as it is made.
#[derive(Debug)]
pub(super) struct Found {
    pub group: Group,
    pub consumer: Option<ConsumerGroup>,
    pub offsets: Offsets,
}

impl Found {
    /// What it takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        bytes(&self.group, self.consumer.as_ref(), &self.offsets)
    }
}

/// The task's own state.
pub(super) struct Actor {
    /// The group as far as the classic protocol goes; without members where `consumer` is there.
    pub group: Group,
    /// The group of the consumer protocol, if it is one.
    pub consumer: Option<ConsumerGroup>,
    pub images: Images,
    pub offsets: Offsets,
    pub store: Store,
    pub clock: Clock,
    pub registry: Registry,
    pub summary: Arc<Mutex<Summary>>,
    pub stopping: CancellationToken,
    /// Of the memory of all groups.
    pub share: Share,
    waiting: HashMap<Ticket, Waiter>,
    last_ticket: Ticket,
    deleted: bool,
}

enum Waiter {
    Join(oneshot::Sender<JoinGroupResponse>),
    Sync(oneshot::Sender<SyncGroupResponse>),
}

impl Clock {
    pub fn start(wall: crate::clock::Clock) -> Self {
        Self {
            start: Instant::now(),
            wall,
        }
    }

    pub fn now(&self) -> Now {
        let timer = i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now {
            timer,
            wall: self.wall.now_ms(),
        }
    }

    /// When a deadline of the timer clock falls; far in the future where there is none.
    fn instant(&self, deadline: Option<i64>) -> Instant {
        const FAR: Duration = Duration::from_secs(24 * 60 * 60);
        let after = deadline
            .and_then(|at| u64::try_from(at).ok())
            .map(Duration::from_millis);
        after
            .and_then(|after| self.start.checked_add(after))
            .unwrap_or_else(|| Instant::now() + FAR)
    }
}

impl Actor {
    pub fn new(
        Found {
            group,
            consumer,
            offsets,
        }: Found,
        share: Share,
        images: Images,
        store: Store,
        clock: Clock,
        registry: Registry,
        stopping: CancellationToken,
    ) -> Self {
        let summary = Arc::new(Mutex::new(summary_of(&group, consumer.as_ref())));
        let (waiting, last_ticket, deleted) = (HashMap::new(), 0, false);
        Self {
            group,
            consumer,
            images,
            offsets,
            store,
            clock,
            registry,
            summary,
            stopping,
            share,
            waiting,
            last_ticket,
            deleted,
        }
    }

    /// Serves calls until the group is deleted or the broker stops. Answers that are due then are dropped.
    pub async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let period = self
            .group
            .config
            .offsets_retention_check_interval
            .max(Duration::from_millis(1));
        let mut expiry = Instant::now() + period;
        while !self.deleted {
            let consumer = self.consumer.as_ref().and_then(ConsumerGroup::next_deadline);
            let deadline = self.group.next_deadline().into_iter().chain(consumer).min();
            let deadline = self.clock.instant(deadline);
            tokio::select! {
                () = self.stopping.cancelled() => return,
                call = calls.recv() => match call {
                    // In a box: what it needs while it waits, every group would have room for all the time.
                    Some(call) => Box::pin(self.serve(call)).await,
                    None => return,
                },
                () = sleep_until(deadline) => {
                    // Heartbeats that are here already count, however late they are read.
                    while !self.deleted && let Ok(call) = calls.try_recv() {
                        Box::pin(self.serve(call)).await;
                    }
                    let step = self.group.on_time(self.clock.now());
                    Box::pin(self.carry_out(step)).await;
                    Box::pin(self.consumer_on_time()).await;
                }
                () = sleep_until(expiry) => {
                    expiry = Instant::now() + period;
                    Box::pin(self.expire()).await;
                }
            }
            self.publish();
        }
    }

    async fn serve(&mut self, call: Call) {
        let now = self.clock.now();
        match call {
            Call::Join {
                client,
                version,
                request,
                answer,
            } => {
                if self.become_classic_if_empty().await.is_err() {
                    let refused = refuse_join(&request.member_id, ErrorCode::CoordinatorNotAvailable);
                    return drop(answer.send(refused));
                }
                if let Some(response) = self.join_among_consumers(&client, version, &request).await {
                    return drop(answer.send(response));
                }
                if !self.share.try_grow(self.group.growth(&client, &request)) {
                    let refused = refuse_join(&request.member_id, ErrorCode::CoordinatorNotAvailable);
                    return drop(answer.send(refused));
                }
                let ticket = self.wait(Waiter::Join(answer));
                let unique = unique_id();
                let joining = Joining {
                    client: &client,
                    version,
                    request: &request,
                    unique: &unique,
                    ticket,
                };
                let step = self.group.join(now, &joining);
                self.carry_out(step).await;
            }
            Call::Sync { request, answer } => {
                if let Some(response) = self.sync_among_consumers(&request) {
                    return drop(answer.send(response));
                }
                if !self.share.try_grow(self.group.growth_of_assignments(&request)) {
                    return drop(answer.send(refuse_sync(ErrorCode::CoordinatorNotAvailable)));
                }
                let ticket = self.wait(Waiter::Sync(answer));
                let step = self.group.sync(now, &request, ticket);
                self.carry_out(step).await;
            }
            Call::Heartbeat {
                member,
                generation,
                answer,
            } => {
                let outcome = match &mut self.consumer {
                    Some(group) => group.heartbeat_classic(&member, generation, now.timer),
                    None => {
                        let instance_id = member.group_instance_id.as_deref();
                        self.group
                            .heartbeat(now, &member.member_id, instance_id, generation)
                    }
                };
                let _ = answer.send(outcome.err().unwrap_or(ErrorCode::None));
            }
            Call::Leave { members, answer } => {
                if let Some(responses) = self.leave_consumers(&members).await {
                    return drop(answer.send(responses));
                }
                let (responses, step) = self.group.leave(now, &members);
                self.carry_out(step).await;
                let _ = answer.send(responses);
            }
            Call::ConsumerHeartbeat {
                client,
                request,
                answer,
            } => {
                let _ = answer.send(self.consumer_heartbeat(&client, &request).await);
            }
            Call::ConsumerDescribe { answer } => {
                let _ = answer.send(self.consumer_describe());
            }
            Call::Commit { commit, answer } => {
                let outcome = self.commit(now, *commit).await;
                let _ = answer.send(outcome);
            }
            Call::EndTransaction {
                producer_id,
                commit,
                answer,
            } => {
                let changes = self.offsets.end_transaction(producer_id, commit);
                let _ = answer.send(self.change_offsets(changes).await);
            }
            Call::Fetch {
                topics,
                require_stable,
                member: (member_id, epoch),
                answer,
            } => {
                let allowed = match &self.consumer {
                    Some(group) => group.check_fetch(member_id.as_deref(), epoch),
                    None => Ok(()),
                };
                let _ = answer.send(allowed.map(|()| self.fetch(topics, require_stable)));
            }
            Call::Describe { answer } => {
                let _ = answer.send(self.consumer.is_none().then(|| self.group.describe()));
            }
            Call::Delete { answer } => {
                let _ = answer.send(self.delete().await.err().unwrap_or(ErrorCode::None));
            }
            Call::DeleteOffsets { partitions, answer } => {
                let _ = answer.send(self.delete_offsets(partitions).await);
            }
            Call::ForgetTopic { topic, answer } => {
                let changes = self.offsets.remove_topic(&topic);
                let _ = answer.send(self.change_offsets(changes).await);
            }
        }
    }

    fn wait(&mut self, waiter: Waiter) -> Ticket {
        self.last_ticket += 1;
        self.waiting.insert(self.last_ticket, waiter);
        self.last_ticket
    }

    /// Stores what has to be stored, and sends the answers.
    pub(super) async fn carry_out(&mut self, mut step: Step) {
        loop {
            let store = step.store.take();
            if let Some(membership::Store::Emptied) = store {
                info!(
                    group = self.group.id,
                    generation = self.group.generation,
                    "a group has no members any more"
                );
            }
            let stored = match store {
                Some(_) => self.store.put(vec![group_change(&self.group)]).await.is_ok(),
                None => true,
            };
            for (ticket, reply) in step.replies.drain(..) {
                // A receiver that is gone has closed its connection; it will ask again.
                match (self.waiting.remove(&ticket), reply) {
                    (Some(Waiter::Join(answer)), Reply::Join(response)) => drop(answer.send(response)),
                    (Some(Waiter::Sync(answer)), Reply::Sync(response)) => drop(answer.send(response)),
                    _ => {}
                }
            }
            match store {
                Some(store) => step = self.group.stored(self.clock.now(), store, stored),
                None => return,
            }
        }
    }

    async fn commit(&mut self, now: Now, commit: Commit) -> Result<Vec<ErrorCode>, ErrorCode> {
        let Commit {
            member,
            generation,
            modern,
            producer_id,
            retention,
            offsets,
        } = commit;
        let instance_id = member.group_instance_id.as_deref();
        let (member_id, transactional) = (&member.member_id, producer_id.is_some());
        match &self.consumer {
            Some(group) => group.check_commit(member_id, instance_id, generation, transactional, modern)?,
            None => self
                .group
                .check_commit(member_id, instance_id, generation, transactional)?,
        }
        if producer_id.is_none() && matches!(self.group.state, State::Stable | State::PreparingRebalance) {
            self.group.heard(&member.member_id, now);
        }
        let mut codes = Vec::with_capacity(offsets.len());
        let mut changes = Vec::with_capacity(offsets.len());
        for CommitOffset {
            topic,
            partition,
            offset,
            leader_epoch,
            metadata,
        } in offsets
        {
            // Java counts a string's length in UTF-16 units, and so does this limit.
            if metadata.encode_utf16().count() > self.group.config.offset_metadata_max_bytes {
                codes.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            let expires_at = retention.map(|ms| now.wall.saturating_add(ms));
            let order = self.offsets.next_order();
            let committed = Committed {
                offset,
                leader_epoch,
                metadata,
                committed_at: now.wall,
                expires_at,
                order,
            };
            changes.push(match producer_id {
                None => OffsetChange::Set {
                    topic,
                    partition,
                    committed,
                },
                Some(producer_id) => OffsetChange::SetPending {
                    producer_id,
                    topic,
                    partition,
                    committed,
                },
            });
            codes.push(ErrorCode::None);
        }
        if !self.share.try_grow(self.offsets.growth(&changes)) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.change_offsets(changes)
            .await
            .map_err(|NotStored| ErrorCode::CoordinatorNotAvailable)?;
        Ok(codes)
    }

    async fn change_offsets(&mut self, changes: Vec<OffsetChange>) -> Result<(), NotStored> {
        self.store.put(self.records(&changes)).await?;
        changes.into_iter().for_each(|change| self.offsets.apply(change));
        Ok(())
    }

    fn records(&self, changes: &[OffsetChange]) -> Vec<Change> {
        changes
            .iter()
            .map(|change| offset_change(&self.group.id, change))
            .collect()
    }

    fn fetch(
        &self,
        topics: Option<Vec<OffsetFetchRequestTopics>>,
        require_stable: bool,
    ) -> Vec<OffsetFetchResponseTopics> {
        let Some(topics) = topics else {
            return self.offsets.fetch_all(require_stable);
        };
        let fetch = |topic: OffsetFetchRequestTopics| {
            let partitions = topic.partition_indexes.iter();
            let partitions = partitions
                .map(|&p| self.offsets.fetch(&topic.name, p, require_stable))
                .collect();
            OffsetFetchResponseTopics {
                name: topic.name,
                partitions,
            }
        };
        topics.into_iter().map(fetch).collect()
    }

    async fn delete(&mut self) -> Result<(), ErrorCode> {
        if !self.is_empty() {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let mut records = self.records(&self.offsets.remove_all());
        records.push(match &self.consumer {
            Some(_) => removal(&self.group.id),
            None => group_removal(&self.group.id),
        });
        self.store
            .put(records)
            .await
            .map_err(|NotStored| ErrorCode::CoordinatorNotAvailable)?;
        // Only this task takes the entry out, so whoever finds it can send; what is sent too late is dropped, and asked again.
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.group.id);
        self.deleted = true;
        info!(group = self.group.id, "a group is deleted");
        Ok(())
    }

    async fn delete_offsets(&mut self, partitions: Vec<(String, i32)>) -> Result<Vec<ErrorCode>, ErrorCode> {
        if self.consumer.is_none() {
            self.group.check_offset_delete()?;
        }
        let mut codes = Vec::with_capacity(partitions.len());
        let mut changes = Vec::new();
        for (topic, partition) in partitions {
            if self.is_subscribed_to(&topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
            } else {
                changes.append(&mut self.offsets.remove(&topic, partition));
                codes.push(ErrorCode::None);
            }
        }
        self.change_offsets(changes)
            .await
            .map_err(|NotStored| ErrorCode::CoordinatorNotAvailable)?;
        Ok(codes)
    }

    /// Drops offsets that nobody has used for the retention time, and the group itself when nothing is left of it.
    async fn expire(&mut self) {
        let retention = i64::try_from(self.group.config.offsets_retention.as_millis()).unwrap_or(i64::MAX);
        let topics: Vec<String> = self.offsets.topics().cloned().collect();
        let read: BTreeSet<String> = topics.into_iter().filter(|t| self.is_subscribed_to(t)).collect();
        let unused_since = |topic: &str, committed: i64| match &self.consumer {
            _ if read.contains(topic) => None,
            Some(_) => Some(committed),
            None => self.group.unused_since(committed),
        };
        let changes = self
            .offsets
            .expire(self.clock.now().wall, retention, unused_since);
        if !changes.is_empty() {
            info!(
                group = self.group.id,
                offsets = changes.len(),
                "committed offsets have expired"
            );
        }
        // What is not stored now is tried again at the next check.
        if self.change_offsets(changes).await.is_ok()
            && self.offsets.is_empty()
            && self.is_empty()
            && self.group.pending_joins.is_empty()
            && let Err(error) = self.delete().await
        {
            debug!(group = self.group.id, %error, "an unused group is not deleted");
        }
    }

    /// Whether nobody is a member, in either protocol.
    fn is_empty(&self) -> bool {
        match &self.consumer {
            Some(group) => group.members.is_empty(),
            None => self.group.state == State::Empty,
        }
    }

    /// What the group takes in memory, in bytes.
    pub fn bytes(&self) -> usize {
        bytes(&self.group, self.consumer.as_ref(), &self.offsets)
    }

    fn publish(&mut self) {
        self.share.set(self.bytes());
        let summary = summary_of(&self.group, self.consumer.as_ref());
        let mut shared = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        if *shared != summary {
            debug!(
                group = self.group.id,
                state = summary.state,
                generation = self.group.generation,
                "group state"
            );
            *shared = summary;
        }
    }
}

fn bytes(group: &Group, consumer: Option<&ConsumerGroup>, offsets: &Offsets) -> usize {
    let members = group.bytes() + consumer.map_or(0, ConsumerGroup::bytes);
    GROUP_BYTES + texts([group.id.as_str()]) + members + offsets.bytes()
}

fn summary_of(group: &Group, consumer: Option<&ConsumerGroup>) -> Summary {
    match consumer {
        Some(group) => Summary {
            state: group.state(),
            protocol_type: CONSUMER.to_owned(),
            group_type: CONSUMER,
        },
        None => Summary {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            group_type: "classic",
        },
    }
}

/// 128 random bits in the form of a UUID of version 4: what makes member ids unique.
pub(super) fn unique_id() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
