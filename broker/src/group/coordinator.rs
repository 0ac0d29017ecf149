//! What the rest of the broker sees of groups: one method for each request.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use heliostat_wire::ErrorCode;
use heliostat_wire::message::describe_groups::DescribedGroup;
use heliostat_wire::message::heartbeat::HeartbeatRequest;
use heliostat_wire::message::join_group::{JoinGroupRequest, JoinGroupResponse};
use heliostat_wire::message::leave_group::{LeaveGroupResponse, MemberIdentity, MemberResponse};
use heliostat_wire::message::list_groups::ListedGroup;
use heliostat_wire::message::sync_group::{SyncGroupRequest, SyncGroupResponse};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::actor::{Actor, Clock, Found, Handle, Registry};
use super::calls::Call;
use super::config::GroupConfig;
use super::consumer::group::ConsumerGroup;
use super::member::{Client, bytes_of};
use super::membership::{Group, refuse_join, refuse_sync};
use super::offsets::Offsets;
use super::record::{Entry, decode};
use super::room::{GROUP_BYTES, Room, Share, texts};
use super::store::{OpenError, Store};
use crate::clock::Clock as Wall;
use crate::log::Disk;
use crate::state::Images;
use crate::state::journal::{Content, Journal};

/// The coordinator of all groups of a cluster. Nodes share one; which node may speak for a group is the caller's to check.
#[derive(Debug)]
pub struct Coordinator {
    pub(super) config: GroupConfig,
    images: Images,
    groups: Registry,
    clock: Clock,
    pub(super) stopping: CancellationToken,
    actors: TaskTracker,
    pub(super) room: Room,
    /// Given up at shutdown, so that the writing thread ends.
    storage: Mutex<Option<(Store, JoinHandle<()>)>>,
}

/// Calls that wait for one group; more wait in their connections.
const CALLS: usize = 64;

impl Coordinator {
    /// Opens the coordinator whose state is in the journal at `path`, which is created if there is none. Members that it
    /// finds there are members still; their sessions start anew. Must be called within a Tokio runtime.
    pub fn open(path: &Path, config: GroupConfig, images: Images) -> Result<Self, OpenError> {
        Self::open_on(path, config, images, Disk::default(), Wall::default())
    }

    /// As [`Coordinator::open`], on a disk and with a clock where faults can be injected.
    pub(crate) fn open_on(
        path: &Path,
        config: GroupConfig,
        images: Images,
        disk: Disk,
        wall: Wall,
    ) -> Result<Self, OpenError> {
        let (journal, content) = Journal::open_on(path, disk)?;
        let clock = Clock::start(wall);
        let found = restore(path, &content, &config, clock.now().timer)?;
        let (store, thread) = Store::start("group-journal", path, journal)?;
        let room = Room::new(config.memory_max);
        let coordinator = Self {
            config,
            images,
            groups: Registry::default(),
            clock,
            stopping: CancellationToken::new(),
            actors: TaskTracker::new(),
            room,
            storage: Mutex::new(Some((store, thread))),
        };
        debug!(groups = found.len(), "groups are loaded");
        let now = coordinator.clock.now();
        for mut found in found.into_values() {
            found.group.restored(now.timer);
            if let Some(group) = &mut found.consumer {
                let image = coordinator.images.current();
                let limits = group.config.consumer.for_group(&group.id, &image);
                group.restored(now.timer, limits.session_timeout_ms);
            }
            // What was let in before is there, whether there is room for it or not.
            let share = coordinator.room.share(found.bytes());
            coordinator.start(&mut coordinator.registry(), found, share);
        }
        Ok(coordinator)
    }

    /// JoinGroup. Returns when the join phase has ended, which may take as long as the group's rebalance timeout.
    pub async fn join_group(
        &self,
        client: Client,
        version: i16,
        request: JoinGroupRequest,
    ) -> JoinGroupResponse {
        let member_id = request.member_id.clone();
        if request.group_id.is_empty() {
            return refuse_join(&member_id, ErrorCode::InvalidGroupId);
        }
        let session = u128::try_from(request.session_timeout_ms).unwrap_or(0);
        let bounds =
            self.config.min_session_timeout.as_millis()..=self.config.max_session_timeout.as_millis();
        if !bounds.contains(&session) {
            return refuse_join(&member_id, ErrorCode::InvalidSessionTimeout);
        }
        let group_id = request.group_id.clone();
        let group = if member_id.is_empty() {
            self.find_or_create(&group_id, bytes_of(&client, &request))
        } else {
            self.find(&group_id)
                .ok_or(self.absent(ErrorCode::UnknownMemberId))
        };
        let group = match group {
            Ok(group) => group,
            Err(error) => return refuse_join(&member_id, error),
        };
        let answer = ask(&group, |answer| Call::Join {
            client,
            version,
            request: Box::new(request),
            answer,
        })
        .await;
        answer.unwrap_or_else(|| refuse_join(&member_id, ErrorCode::CoordinatorNotAvailable))
    }

    /// SyncGroup. Returns when the leader's assignment is stored.
    pub async fn sync_group(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        if request.group_id.is_empty() {
            return refuse_sync(ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.find(&request.group_id) else {
            return refuse_sync(self.absent(ErrorCode::UnknownMemberId));
        };
        let answer = ask(&group, |answer| Call::Sync {
            request: Box::new(request),
            answer,
        })
        .await;
        answer.unwrap_or_else(|| refuse_sync(ErrorCode::CoordinatorNotAvailable))
    }

    /// Heartbeat.
    pub async fn heartbeat(&self, request: HeartbeatRequest) -> ErrorCode {
        if request.group_id.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        let Some(group) = self.find(&request.group_id) else {
            return self.absent(ErrorCode::UnknownMemberId);
        };
        let member = identity(request.member_id, request.group_instance_id);
        let generation = request.generation_id;
        let answer = ask(&group, |answer| Call::Heartbeat {
            member,
            generation,
            answer,
        })
        .await;
        answer.unwrap_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// LeaveGroup, in the form that names several members.
    pub async fn leave_group(&self, group_id: &str, members: Vec<MemberIdentity>) -> LeaveGroupResponse {
        let refuse = |error: ErrorCode| LeaveGroupResponse {
            error_code: error.code(),
            ..LeaveGroupResponse::default()
        };
        if group_id.is_empty() {
            return refuse(ErrorCode::InvalidGroupId);
        }
        let Some(group) = self.find(group_id) else {
            let error_code = self.absent(ErrorCode::UnknownMemberId).code();
            let unknown = |m: MemberIdentity| MemberResponse {
                member_id: m.member_id,
                group_instance_id: m.group_instance_id,
                error_code,
            };
            let members = members.into_iter().map(unknown).collect();
            return LeaveGroupResponse {
                members,
                ..LeaveGroupResponse::default()
            };
        };
        match ask(&group, |answer| Call::Leave { members, answer }).await {
            Some(members) => LeaveGroupResponse {
                members,
                ..LeaveGroupResponse::default()
            },
            None => refuse(ErrorCode::CoordinatorNotAvailable),
        }
    }

    /// ListGroups. Filters are compared without regard to case; an empty one lets everything pass.
    pub fn list_groups(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        // Looked up by each group while nobody else can get at any: a filter may be long.
        let set = |filter: &[String]| filter.iter().map(|f| f.to_ascii_lowercase()).collect();
        let (states, types): (HashSet<String>, HashSet<String>) = (set(states), set(types));
        let passes = |filter: &HashSet<String>, text: &str| {
            filter.is_empty() || filter.contains(&text.to_ascii_lowercase())
        };
        let mut listed = Vec::new();
        for (id, group) in self.registry().iter() {
            let summary = group
                .summary
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if passes(&states, summary.state) && passes(&types, summary.group_type) {
                listed.push(ListedGroup {
                    group_id: id.clone(),
                    protocol_type: summary.protocol_type,
                    group_state: summary.state.to_owned(),
                    group_type: summary.group_type.to_owned(),
                });
            }
        }
        listed
    }

    /// DescribeGroups, for one group. One that does not exist, or is of the consumer protocol, is `Dead`; since version 6
    /// that is an error as well.
    pub async fn describe_group(&self, version: i16, group_id: &str) -> DescribedGroup {
        let found = match self.find(group_id) {
            Some(group) => ask(&group, |answer| Call::Describe { answer }).await,
            None => None,
        };
        if let Some(Some(described)) = found {
            return described;
        }
        let mut described = DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: "Dead".to_owned(),
            ..DescribedGroup::default()
        };
        if version >= 6 {
            described.error_code = ErrorCode::GroupIdNotFound.code();
            described.error_message = Some(match found {
                Some(None) => format!("{group_id:?} is no classic group"),
                _ => format!("there is no group {group_id:?}"),
            });
        }
        described
    }

    /// DeleteGroups, for one group.
    pub async fn delete_group(&self, group_id: &str) -> ErrorCode {
        let Some(group) = self.find(group_id) else {
            return self.absent(ErrorCode::GroupIdNotFound);
        };
        ask(&group, |answer| Call::Delete { answer })
            .await
            .unwrap_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// Stops all groups. Requests that wait are answered with COORDINATOR_NOT_AVAILABLE; everything that was acknowledged is on
    /// disk already.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.actors.close();
        self.actors.wait().await;
        let storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((store, thread)) = storage {
            drop(store);
            // The thread ends as soon as its queue is empty; a panic in it has been reported by then.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// What to say about a group that is not there: while the coordinator stops, nothing can be said.
    pub(super) fn absent(&self, error: ErrorCode) -> ErrorCode {
        if self.stopping.is_cancelled() {
            ErrorCode::CoordinatorNotAvailable
        } else {
            error
        }
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, BTreeMap<String, Handle>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, group_id: &str) -> Option<Handle> {
        self.registry().get(group_id).cloned()
    }

    /// The group, made if there is none, and there is room for it and for so many bytes more. A group that cannot be made
    /// may be asked for again.
    pub(super) fn find_or_create(&self, group_id: &str, more: usize) -> Result<Handle, ErrorCode> {
        let mut groups = self.registry();
        if let Some(found) = groups.get(group_id) {
            return Ok(found.clone());
        }
        let group = GROUP_BYTES + texts([group_id]);
        let started = self.room.try_share(group + more).and_then(|mut share| {
            // The rest is for the call to take.
            share.set(group);
            self.start(&mut groups, empty(group_id, &self.config), share)
        });
        started.ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    fn start(&self, groups: &mut BTreeMap<String, Handle>, found: Found, share: Share) -> Option<Handle> {
        if self.stopping.is_cancelled() {
            return None;
        }
        let store = self
            .storage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()?
            .0
            .clone();
        let (calls, queue) = mpsc::channel(CALLS);
        let id = found.group.id.clone();
        let actor = Actor::new(
            found,
            share,
            self.images.clone(),
            store,
            self.clock.clone(),
            Arc::clone(&self.groups),
            self.stopping.clone(),
        );
        let handle = Handle {
            calls,
            summary: Arc::clone(&actor.summary),
        };
        self.actors.spawn(actor.run(queue));
        groups.insert(id, handle.clone());
        Some(handle)
    }
}

/// Asks a group; `None` when it is gone.
pub(super) async fn ask<T>(group: &Handle, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Option<T> {
    let (answer, outcome) = oneshot::channel();
    group.calls.send(call(answer)).await.ok()?;
    outcome.await.ok()
}

pub(super) fn identity(member_id: String, group_instance_id: Option<String>) -> MemberIdentity {
    MemberIdentity {
        member_id,
        group_instance_id,
        reason: None,
    }
}

fn empty(group_id: &str, config: &GroupConfig) -> Found {
    Found {
        group: Group::new(group_id, config.clone()),
        consumer: None,
        offsets: Offsets::default(),
    }
}

/// Puts together the groups whose entries a journal holds.
fn restore(
    path: &Path,
    content: &Content,
    config: &GroupConfig,
    now: i64,
) -> Result<BTreeMap<String, Found>, OpenError> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for (key, value) in content {
        let entry = decode(key, value, config).ok_or_else(|| OpenError::UnknownEntry {
            path: path.to_owned(),
        })?;
        match entry {
            Entry::Members(group) => {
                let place = found
                    .entry(group.id.clone())
                    .or_insert_with(|| empty(&group.id, config));
                place.group = *group;
            }
            Entry::Consumer { group, change } => {
                let place = found
                    .entry(group.clone())
                    .or_insert_with(|| empty(&group, config));
                let new = || ConsumerGroup::new(&group, config.clone());
                place.consumer.get_or_insert_with(new).apply(change, now);
            }
            Entry::Offset { group, change } => {
                found
                    .entry(group.clone())
                    .or_insert_with(|| empty(&group, config))
                    .offsets
                    .apply(change);
            }
        }
    }
    Ok(found)
}
