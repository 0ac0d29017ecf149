//! The one task that owns a flow: it hears of everything, decides, and acts. Whatever takes time runs beside it and reports back, so that
//! the group, the engine and a stop are always heard at once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::connect::{ConnectError, connect};
use super::daemon::Fleet;
use super::discover::{Discovered, Discovery, Mirror};
use super::engine::librdkafka::{Librdkafka, Settings};
use super::engine::{Engine, Event, Side, Start};
use super::facts;
use super::member::{Member, MemberEvent, MirrorPartition, RELEASE_DEADLINE, group_id};
use super::now_ms;
use super::partition::{Mine, Phase, backoff, due};
use super::prepare::{Decision, Wanted, prepare};
use super::view::{Problem, View};
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::cluster::{Cluster, ClusterError};
use crate::observe::status::State;
use crate::topology::Flow;

/// How often facts are written to the offset map, and the source's log ends are asked for.
const BEAT: Duration = Duration::from_secs(1);

/// Every so many beats the source's log starts are asked for too.
const STARTS_EVERY: u64 = 10;

/// How long a flow that ends may take for what is on its way. `heliostat run` allows a little more.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// Run a flow until `stop`, then drain it.
pub async fn run(
    flow: Arc<Flow>,
    source: Arc<Cluster>,
    target: Arc<Cluster>,
    fleet: Fleet,
    view: Arc<View>,
    stop: CancellationToken,
) {
    let mut attempt = 0;
    while !stop.is_cancelled() {
        let connected = tokio::select! {
            connected = connect(&flow, &source, &target, &fleet) => connected,
            () = stop.cancelled() => return,
        };
        let error = match connected {
            Ok(discovery) => match Supervisor::new(discovery, &source, &target, view.clone()) {
                Ok(supervisor) => return supervisor.run(stop).await,
                Err(error) => ConnectError::Later(error.to_string()),
            },
            Err(error) => error,
        };
        let (state, reason) = match error {
            ConnectError::Later(reason) => (State::Waiting, reason),
            ConnectError::Never(reason) => (State::Stalled, reason),
        };
        tracing::debug!(flow = %flow.name, "cannot start yet: {reason}");
        view.count_error();
        view.set_problem(Some(Problem { state, reason }));
        let wait = backoff(attempt, Duration::from_millis(100), Duration::from_secs(5));
        attempt += 1;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What comes back from work that runs beside the supervisor.
enum Report {
    Discovered(Result<Discovered, ClusterError>),
    Nobody(bool),
    Prepared(Vec<MirrorPartition>, Result<Vec<Decision>, ClusterError>),
    Offsets(OffsetSpec, Result<Vec<PartitionOffset>, ClusterError>),
    FactsWritten,
}

struct Supervisor {
    flow: Arc<Flow>,
    clusters: (Arc<Cluster>, Arc<Cluster>),
    discovery: Arc<Discovery>,
    view: Arc<View>,
    engine: Box<dyn Engine>,
    engine_events: (UnboundedSender<Event>, UnboundedReceiver<Event>),
    member: Option<Member>,
    member_events: (UnboundedSender<MemberEvent>, UnboundedReceiver<MemberEvent>),
    reports: (UnboundedSender<Report>, UnboundedReceiver<Report>),
    mirrors: BTreeMap<String, Mirror>,
    subscribed: Vec<String>,
    assigned: HashSet<MirrorPartition>,
    /// Nobody else was in the group at the start: until the group says who copies what, this daemon copies everything.
    alone: Option<bool>,
    mine: HashMap<MirrorPartition, Mine>,
    by_id: HashMap<u32, MirrorPartition>,
    next_id: u32,
    looking: bool,
    writing_facts: bool,
    asking_offsets: bool,
    beats: u64,
}

fn engine(
    flow: &Flow,
    clusters: &(Arc<Cluster>, Arc<Cluster>),
    events: UnboundedSender<Event>,
) -> rdkafka::error::KafkaResult<Box<dyn Engine>> {
    let settings = Settings {
        flow: flow.name.clone(),
        in_flight_bytes: flow.limits.in_flight_bytes,
        bytes_per_second: flow.limits.bytes_per_second,
    };
    Ok(Box::new(Librdkafka::new(
        settings,
        &clusters.0,
        &clusters.1,
        events,
    )?))
}

impl Supervisor {
    #[allow(
        clippy::disallowed_methods,
        reason = "what goes through these is bounded: an event per partition and failure, a report per question"
    )]
    fn new(
        discovery: Discovery,
        source: &Arc<Cluster>,
        target: &Arc<Cluster>,
        view: Arc<View>,
    ) -> rdkafka::error::KafkaResult<Supervisor> {
        let flow = discovery.flow.clone();
        let clusters = (source.clone(), target.clone());
        let engine_events = unbounded_channel();
        let engine = engine(&flow, &clusters, engine_events.0.clone())?;
        Ok(Supervisor {
            clusters,
            discovery: Arc::new(discovery),
            view,
            engine,
            engine_events,
            member: None,
            member_events: unbounded_channel(),
            reports: unbounded_channel(),
            mirrors: BTreeMap::new(),
            subscribed: Vec::new(),
            assigned: HashSet::new(),
            alone: None,
            mine: HashMap::new(),
            by_id: HashMap::new(),
            next_id: 0,
            looking: false,
            writing_facts: false,
            asking_offsets: false,
            beats: 0,
            flow,
        })
    }

    async fn run(mut self, stop: CancellationToken) {
        self.view.set_problem(None);
        self.ask_whether_alone();
        self.look();
        let mut look = tokio::time::interval(self.flow.discovery_interval);
        let mut beat = tokio::time::interval(BEAT);
        let mut pulse = tokio::time::interval(Duration::from_millis(100));
        for interval in [&mut look, &mut beat, &mut pulse] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = self.member_events.1.recv() => self.on_member(event),
                Some(event) = self.engine_events.1.recv() => self.on_engine(event),
                Some(report) = self.reports.1.recv() => self.on_report(report),
                _ = look.tick() => self.look(),
                _ = beat.tick() => self.beat(),
                _ = pulse.tick() => self.pulse(),
            }
        }
        self.drain().await;
    }

    // === What is done beside ===

    fn beside(&self, work: impl Future<Output = Report> + Send + 'static) {
        let reports = self.reports.0.clone();
        tokio::spawn(async move {
            // Nobody waits for it any more only when the flow has ended.
            let _ = reports.send(work.await);
        });
    }

    fn ask_whether_alone(&self) {
        let (discovery, group) = (self.discovery.clone(), group_id(&self.flow.source));
        self.beside(async move {
            // If the group cannot be asked, it decides in its own time.
            Report::Nobody(
                discovery
                    .target
                    .group_members(&group)
                    .await
                    .is_ok_and(|members| members == 0),
            )
        });
    }

    fn look(&mut self) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let discovery = self.discovery.clone();
        self.beside(async move { Report::Discovered(discovery.look().await) });
    }

    fn beat(&mut self) {
        self.beats += 1;
        self.write_facts();
        self.ask_offsets();
        let now = now_ms();
        for (topic, partition) in self.view.partitions() {
            let Some(mirror) = self.mirrors.get(&topic) else {
                continue;
            };
            let facts = self.discovery.target_maps.facts(&mirror.target_topic, partition);
            let elsewhere = facts.map(|facts| (facts.last.position, facts.last.target_position));
            self.view
                .partition(&topic, partition, now, |view| view.elsewhere = elsewhere);
        }
        self.view.refresh(now);
    }

    fn write_facts(&mut self) {
        if self.writing_facts {
            return;
        }
        let taken = facts::take(self.mine.values());
        if taken.is_empty() {
            return;
        }
        self.writing_facts = true;
        let (discovery, view) = (self.discovery.clone(), self.view.clone());
        self.beside(async move {
            if let Err(error) = facts::write(&discovery.writer, taken, false).await {
                tracing::warn!(flow = %discovery.flow.name, "{error}; it is tried again");
                view.count_error();
            }
            Report::FactsWritten
        });
    }

    fn ask_offsets(&mut self) {
        if self.asking_offsets {
            return;
        }
        let partitions: Vec<(String, i32)> = self
            .mirrors
            .values()
            .flat_map(|mirror| {
                (0..mirror.partitions as i32).map(|partition| (mirror.topic.clone(), partition))
            })
            .collect();
        if partitions.is_empty() {
            return;
        }
        self.asking_offsets = true;
        if self.beats % STARTS_EVERY == 1 {
            let (discovery, partitions) = (self.discovery.clone(), partitions.clone());
            self.beside(async move {
                Report::Offsets(
                    OffsetSpec::Earliest,
                    discovery.source.offsets(partitions, OffsetSpec::Earliest).await,
                )
            });
        }
        let discovery = self.discovery.clone();
        self.beside(async move {
            let spec = OffsetSpec::LatestCommitted;
            Report::Offsets(spec, discovery.source.offsets(partitions, spec).await)
        });
    }

    /// Prepare what is due.
    fn pulse(&mut self) {
        for partition in self.mine.values_mut() {
            partition.settle();
        }
        let keys = due(&self.mine, Instant::now());
        if keys.is_empty() {
            return;
        }
        let mut wanted = Vec::with_capacity(keys.len());
        for key in &keys {
            if let Some(partition) = self.mine.get_mut(key) {
                partition.phase = Phase::Preparing;
                // What the clusters have now is held against what the partition was copied between.
                let mirror = self
                    .mirrors
                    .get(&partition.mirror.topic)
                    .unwrap_or(&partition.mirror)
                    .clone();
                let known = partition.known();
                wanted.push(Wanted {
                    mirror,
                    partition: partition.partition,
                    known,
                });
            }
        }
        let discovery = self.discovery.clone();
        self.beside(async move { Report::Prepared(keys, prepare(&discovery, &wanted).await) });
    }

    // === What is heard ===

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Discovered(result) => {
                self.looking = false;
                match result {
                    Ok(found) => self.on_discovered(found),
                    Err(error) => {
                        tracing::debug!(flow = %self.flow.name, "discovery: {error}");
                        self.view.count_error();
                    }
                }
            }
            Report::Nobody(nobody) => {
                // The group may have answered in the meantime; then it is the one that decides.
                if self.alone.is_none() {
                    self.alone = Some(nobody);
                    self.adopt();
                }
            }
            Report::Prepared(keys, result) => self.on_prepared(keys, result),
            Report::Offsets(spec, result) => self.on_offsets(spec, result),
            Report::FactsWritten => self.writing_facts = false,
        }
    }

    fn on_discovered(&mut self, found: Discovered) {
        let now = now_ms();
        self.view.set_left_out(found.left_out);
        for mirror in found.mirrors.values() {
            let gone = mirror.problem.as_ref().map(|reason| Problem {
                state: State::Stalled,
                reason: reason.clone(),
            });
            for partition in 0..mirror.partitions.max(usize::from(gone.is_some())) as i32 {
                self.view.partition(&mirror.topic, partition, now, |view| {
                    view.target_topic = mirror.target_topic.clone();
                    if gone.is_some() || view.account.is_none() {
                        view.problem = gone.clone();
                    }
                });
            }
        }
        let before = std::mem::replace(&mut self.mirrors, found.mirrors);
        self.give_up_what_changed(&before);
        self.subscribe();
        self.adopt();
        self.ask_offsets();
    }

    /// Topics that are gone, or that are not the ones that they were.
    fn give_up_what_changed(&mut self, before: &BTreeMap<String, Mirror>) {
        let now = now_ms();
        for old in before.values() {
            let new = self.mirrors.get(&old.topic).cloned();
            if new
                .as_ref()
                .is_some_and(|new| new.source_id == old.source_id && new.target_id == old.target_id)
            {
                continue;
            }
            let keys: Vec<_> = self
                .mine
                .keys()
                .filter(|(topic, _)| *topic == old.target_topic)
                .cloned()
                .collect();
            for key in keys {
                self.stop_copying(&key);
                match &new {
                    // Prepared again, with the ids of before, so that the change is seen for what it is.
                    Some(_) => self.again(&key, Instant::now()),
                    None => drop(self.mine.remove(&key)),
                }
            }
            if new.is_none() {
                tracing::warn!(flow = %self.flow.name, topic = %old.topic, target_topic = %old.target_topic, "the source topic is gone; its mirror is kept");
                for partition in 0..old.partitions as i32 {
                    self.view.partition(&old.topic, partition, now, |view| {
                        let reason = "the source topic was deleted; its mirror is kept".to_string();
                        view.problem = Some(Problem {
                            state: State::Waiting,
                            reason,
                        });
                    });
                }
            }
        }
    }

    fn subscribe(&mut self) {
        let topics: Vec<String> = self
            .mirrors
            .values()
            .filter(|mirror| mirror.partitions > 0)
            .map(|mirror| mirror.target_topic.clone())
            .collect();
        if topics == self.subscribed {
            return;
        }
        if self.member.is_none() {
            let joined = Member::join(
                &self.clusters.1,
                &format!("heliostat/{}/member", self.flow.name),
                &group_id(&self.flow.source),
                self.flow.session_timeout,
                self.flow.discovery_interval,
                self.member_events.0.clone(),
            );
            match joined {
                Ok(member) => self.member = Some(member),
                Err(error) => {
                    return tracing::error!(flow = %self.flow.name, "cannot join the group: {error}");
                }
            }
        }
        if let Some(member) = &self.member {
            member.subscribe(topics.clone());
            self.subscribed = topics;
        }
    }

    /// Take what is this daemon's to copy and is not copied yet.
    fn adopt(&mut self) {
        for mirror in self.mirrors.values().filter(|mirror| mirror.problem.is_none()) {
            for partition in 0..mirror.partitions as i32 {
                let key = (mirror.target_topic.clone(), partition);
                if (self.alone == Some(true) || self.assigned.contains(&key)) && !self.mine.contains_key(&key)
                {
                    self.mine.insert(key, Mine::new(mirror.clone(), partition));
                }
            }
        }
        self.pulse();
    }

    fn on_member(&mut self, event: MemberEvent) {
        match event {
            MemberEvent::Assigned(partitions) => {
                tracing::debug!(flow = %self.flow.name, partitions = partitions.len(), "assigned");
                self.assigned.extend(partitions);
                if self.alone.replace(false) == Some(true) {
                    let others: Vec<_> = self
                        .mine
                        .keys()
                        .filter(|key| !self.assigned.contains(*key))
                        .cloned()
                        .collect();
                    // Partitions that the group does not know yet come with its next assignment.
                    self.release(others, None);
                }
                self.adopt();
            }
            MemberEvent::Revoked(partitions, done) => {
                tracing::debug!(flow = %self.flow.name, partitions = partitions.len(), "revoked");
                for key in &partitions {
                    self.assigned.remove(key);
                }
                self.release(partitions, Some(done));
            }
            MemberEvent::Error(error) => {
                tracing::debug!(flow = %self.flow.name, "group: {error}");
                self.view.count_error();
            }
        }
    }

    /// Give partitions up cleanly: what is on its way arrives, and is on record with a release mark.
    fn release(&mut self, keys: Vec<MirrorPartition>, done: Option<mpsc::Sender<()>>) {
        let released: Vec<Mine> = keys
            .into_iter()
            .filter_map(|key| {
                self.stop_copying(&key);
                self.mine.remove(&key)
            })
            .collect();
        if released.is_empty() {
            return;
        }
        let now = now_ms();
        for partition in &released {
            self.view
                .partition(&partition.mirror.topic, partition.partition, now, |view| {
                    view.set_account(None);
                    view.problem = None;
                });
        }
        let discovery = self.discovery.clone();
        tokio::spawn(async move {
            facts::release(&discovery.writer, released, RELEASE_DEADLINE).await;
            drop(done);
        });
    }

    fn on_prepared(&mut self, keys: Vec<MirrorPartition>, result: Result<Vec<Decision>, ClusterError>) {
        match result {
            Ok(decisions) => {
                for (key, decision) in keys.iter().zip(decisions) {
                    self.decided(key, decision);
                }
            }
            Err(error) => {
                tracing::debug!(flow = %self.flow.name, "{error}");
                self.view.count_error();
                for key in &keys {
                    if let Some(partition) = self.mine.get_mut(key) {
                        partition.phase = Phase::Due(partition.retry_at());
                    }
                }
            }
        }
    }

    fn decided(&mut self, key: &MirrorPartition, decision: Decision) {
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        if partition.phase != Phase::Preparing {
            return;
        }
        match decision {
            Decision::Halt { state, reason } => {
                // It is looked at again: what hinders it may pass, or be mended by someone.
                partition.phase = Phase::Due(partition.retry_at());
                let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
                self.view.partition(&topic, number, now_ms(), |view| {
                    view.problem = Some(Problem { state, reason })
                });
            }
            Decision::Copy {
                at,
                target_position,
                gap,
                note,
            } => {
                self.copy(key, at, target_position, gap, note);
            }
        }
    }

    fn copy(
        &mut self,
        key: &MirrorPartition,
        at: i64,
        target_position: Option<i64>,
        gap: Option<(i64, i64)>,
        note: Option<String>,
    ) {
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        if let Some(mirror) = self.mirrors.get(&partition.mirror.topic) {
            partition.mirror = mirror.clone();
        }
        let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
        if let Some(note) = &note {
            tracing::warn!(flow = %self.flow.name, topic, partition = number, "{note}");
        }
        let account = match (&partition.account, &note) {
            (Some(account), None) => account.clone(),
            (Some(account), Some(_)) => {
                account.restart(at, target_position);
                account.clone()
            }
            (None, _) => Arc::new(Account::new(gap.map_or(at, |(from, _)| from), target_position)),
        };
        let gap_text = gap.map(|(from, to)| {
            let gone = account.gap(to);
            tracing::error!(flow = %self.flow.name, topic, partition = number, first = from, last = to - 1, records = gone,
                "gap: source offsets were deleted before they could be copied");
            format!("gap: source offsets {from} to {} were deleted before they could be copied", to - 1)
        });
        self.next_id += 1;
        let id = self.next_id;
        self.by_id.insert(id, key.clone());
        partition.account = Some(account.clone());
        partition.engine_id = Some(id);
        partition.phase = Phase::Copying;
        let careful = std::mem::take(&mut partition.careful);
        self.view.partition(&topic, number, now_ms(), |view| {
            if view
                .account
                .as_ref()
                .is_none_or(|known| !Arc::ptr_eq(known, &account))
            {
                view.set_account(Some(account.clone()));
            }
            view.problem = None;
            view.gap = gap_text.or(view.gap.take());
        });
        let target_topic = partition.mirror.target_topic.clone();
        self.engine.start(Start {
            id,
            topic,
            target_topic,
            partition: number,
            at,
            account,
            careful,
        });
    }

    fn on_offsets(&mut self, spec: OffsetSpec, result: Result<Vec<PartitionOffset>, ClusterError>) {
        if spec == OffsetSpec::LatestCommitted {
            self.asking_offsets = false;
        }
        let offsets = match result {
            Ok(offsets) => offsets,
            Err(error) => return tracing::debug!(flow = %self.flow.name, "{error}"),
        };
        let now = now_ms();
        for found in offsets {
            let Ok(offset) = found.offset else { continue };
            self.view
                .partition(&found.topic, found.partition, now, |view| match spec {
                    OffsetSpec::Earliest => view.ends.note_start(offset),
                    _ => view.note_end(now, offset),
                });
        }
        self.view.refresh(now);
    }

    fn on_engine(&mut self, event: Event) {
        match event {
            Event::Failed { id, side, code, text } => {
                let Some(key) = self.by_id.get(&id).cloned() else {
                    return;
                };
                self.stop_copying(&key);
                self.on_failed(&key, side, code, &text);
            }
            Event::Broken(reason) => {
                tracing::warn!(flow = %self.flow.name, "the writer has to be made anew: {reason}");
                self.view.count_error();
                self.replace_engine();
            }
        }
    }

    fn on_failed(&mut self, key: &MirrorPartition, side: Side, code: RDKafkaErrorCode, text: &str) {
        let Some(partition) = self.mine.get_mut(key) else {
            return;
        };
        let at_once = side == Side::Source && is_out_of_range(code);
        let retry_at = if at_once {
            Instant::now()
        } else {
            partition.retry_at()
        };
        partition.careful = side == Side::Target;
        let (topic, number) = (partition.mirror.topic.clone(), partition.partition);
        let position = partition
            .account
            .as_ref()
            .map(|account| account.snapshot().position);
        partition.phase = Phase::Draining(retry_at);
        if at_once {
            return;
        }
        let problem = failure(&self.flow, side, code, text, position);
        tracing::warn!(flow = %self.flow.name, topic, partition = number, "{}", problem.reason);
        self.view
            .partition(&topic, number, now_ms(), |view| view.problem = Some(problem));
    }

    fn stop_copying(&mut self, key: &MirrorPartition) {
        if let Some(id) = self
            .mine
            .get_mut(key)
            .and_then(|partition| partition.engine_id.take())
        {
            self.by_id.remove(&id);
            self.engine.stop(id);
        }
    }

    /// Prepare a partition again once what is on its way has settled.
    fn again(&mut self, key: &MirrorPartition, at: Instant) {
        if let Some(partition) = self.mine.get_mut(key) {
            partition.phase = Phase::Draining(at);
        }
    }

    fn replace_engine(&mut self) {
        let new = match engine(&self.flow, &self.clusters, self.engine_events.0.clone()) {
            Ok(new) => new,
            Err(error) => return tracing::error!(flow = %self.flow.name, "cannot make a writer: {error}"),
        };
        let old = std::mem::replace(&mut self.engine, new);
        // Its threads may take a moment to end.
        tokio::task::spawn_blocking(move || drop(old));
        self.by_id.clear();
        for partition in self.mine.values_mut() {
            partition.engine_id = None;
            if let Some(account) = &partition.account {
                account.rewind();
            }
            partition.phase = Phase::Due(Instant::now());
        }
    }

    /// Stop reading, let arrive what is on its way, write the last facts, leave the group.
    async fn drain(mut self) {
        let keys: Vec<_> = self.mine.keys().cloned().collect();
        for key in &keys {
            self.stop_copying(key);
        }
        let mine: Vec<Mine> = self.mine.drain().map(|(_, partition)| partition).collect();
        let left = facts::release(&self.discovery.writer, mine, DRAIN_DEADLINE).await;
        if left > 0 {
            tracing::warn!(flow = %self.flow.name, partitions = left, "ended before all that was on its way had arrived; it is copied again at the next start");
        }
        let (member, engine) = (self.member.take(), self.engine);
        // The group's last revocation need not wait for anyone: everything is released.
        drop(self.member_events);
        let leave = tokio::task::spawn_blocking(move || {
            if let Some(member) = member {
                member.leave();
            }
            drop(engine);
        });
        if tokio::time::timeout(Duration::from_secs(3), leave).await.is_err() {
            tracing::debug!(flow = %self.flow.name, "left without waiting for the group");
        }
    }
}

fn is_out_of_range(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset
    )
}

/// What a failed partition is called, and what would clear it.
fn failure(flow: &Flow, side: Side, code: RDKafkaErrorCode, text: &str, position: Option<i64>) -> Problem {
    use RDKafkaErrorCode as Code;
    let at = position
        .map(|position| format!(" at source offset {position}"))
        .unwrap_or_default();
    let (state, reason) = match (side, code) {
        (Side::Source, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            (State::Waiting, format!("the source does not have it: {text}"))
        }
        (Side::Source, _) => (
            State::Stalled,
            format!("cannot be read from {}{at}: {text}", flow.source),
        ),
        (
            Side::Target,
            Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp,
        ) => {
            let cure = match code {
                Code::MessageSizeTooLarge => "raise max.message.bytes of the mirror topic",
                Code::InvalidTimestamp => {
                    "raise message.timestamp.after.max.ms or message.timestamp.before.max.ms of the mirror topic"
                }
                _ => {
                    "see whether the mirror topic's configuration fits the record, such as cleanup.policy=compact for a record without a key"
                }
            };
            (
                State::Quarantined,
                format!("{} refuses the record{at}: {text}; {cure}", flow.target),
            )
        }
        (Side::Target, _) => (
            State::Stalled,
            format!("cannot be written to {}{at}: {text}", flow.target),
        ),
    };
    Problem { state, reason }
}
