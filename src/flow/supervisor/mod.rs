//! The one task that owns a flow: it hears of everything, decides, and acts. Whatever takes time runs beside it and reports back, so that
//! the group, the engine and a stop are always heard at once.

mod absence;
mod ages;
mod beside;
mod engine;
mod expiry;
mod failures;
mod first;
mod leaving;
mod pauses;
mod work;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::admin::explain;
use crate::cluster::native::{OffsetSpec, PartitionOffset};
use crate::cluster::{Cluster, ClusterError};
use crate::flow::account::Account;
use crate::flow::connect::{ConnectError, connect};
use crate::flow::daemon::Fleet;
use crate::flow::discover::{Discovered, Discovery, Mirror};
use crate::flow::engine::budget::Share;
use crate::flow::engine::{Engine, Event, Side, Start};
use crate::flow::facts;
use crate::flow::member::{
    Member, MemberEvent, MirrorPartition, RELEASE_DEADLINE, group_id, heartbeat_interval,
};
use crate::flow::now_ms;
use crate::flow::partition::{Mine, Phase, backoff, due};
use crate::flow::prepare::{Decision, Found, Prepared, Wanted, deleted, prepare};
use crate::flow::view::{Problem, View};
use crate::observe::events::{Event as Happened, EventKind};
use crate::observe::status::State;
use crate::offsets::pause::Pauses;
use crate::topology::Flow;
use absence::Sharing;
use engine::engine;
use first::{Beginning, Told};
use leaving::Leaving;

/// How often facts are written to the offset map, and the source's log ends are asked for.
const BEAT: Duration = Duration::from_secs(1);

/// The first wait before it is looked again for topics that were made and could not be seen yet; it doubles, for some seconds up to the next.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The longest wait in the first [`LOOKS_OFTEN`] looks: a broker that makes a thousand topics shows them in parts.
const LOOK_AGAIN_OFTEN: Duration = Duration::from_millis(500);

/// So often is looked before waits become long: some ten seconds.
const LOOKS_OFTEN: u32 = 20;

/// The longest wait before it is looked again after a look that failed, where the interval is longer: nothing else asks whether the clusters answer
/// as long as nothing is copied.
const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(5);

/// So often is looked for topics before the group is joined: some three seconds.
const LOOKS_ALONE: u32 = 8;

/// Every so many beats the source's log starts are asked for too.
const STARTS_EVERY: u64 = 10;

/// How long a flow that ends may take for what is on its way. `heliostat run` allows a little more.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(8);

/// Run a flow until `stop`, then drain it. Returns whether all that was read arrived and is on record.
pub async fn run(
    flow: Arc<Flow>,
    source: Arc<Cluster>,
    target: Arc<Cluster>,
    fleet: Fleet,
    view: Arc<View>,
    stop: CancellationToken,
) -> bool {
    let mut attempt = 0;
    while !stop.is_cancelled() {
        let connected = tokio::select! {
            connected = connect(&flow, &source, &target, &fleet) => connected,
            () = stop.cancelled() => return true,
        };
        let error = match connected {
            Ok(discovery) => match Supervisor::new(discovery, &source, &target, &fleet, view.clone()) {
                Ok(supervisor) => return supervisor.run(stop).await,
                Err(error) => ConnectError::Later(error.to_string()),
            },
            Err(error) => error,
        };
        let (state, reason, clears) = match error {
            ConnectError::Later(reason) => (
                State::Waiting,
                reason,
                "both clusters answer; they are asked all the time",
            ),
            ConnectError::Denied(reason) => (
                State::Stalled,
                reason,
                "the user is allowed what the reason names; it is tried again all the time",
            ),
            ConnectError::Never(reason) => (
                State::Stalled,
                reason,
                "the topology file is corrected, and the daemon started again",
            ),
        };
        let clears = clears.to_string();
        if state == State::Stalled && !view.has_problem(&reason) {
            tracing::warn!(flow = %flow.name, "cannot start: {reason}");
        } else {
            tracing::debug!(flow = %flow.name, "cannot start yet: {reason}");
        }
        view.count_error();
        view.set_problem(Some(Problem {
            state,
            reason,
            clears,
            offsets: None,
        }));
        let wait = backoff(attempt, Duration::from_millis(100), Duration::from_secs(5));
        attempt += 1;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return true,
        }
    }
    true
}

/// What comes back from work that runs beside the supervisor.
enum Report {
    Discovered(Result<Option<Discovered>, ClusterError>),
    /// Whether this daemon is the one that begins.
    First(Told),
    MapRead,
    /// How many are in the group, if that could be asked.
    Members(Option<usize>),
    Looked(Vec<MirrorPartition>, HashSet<MirrorPartition>),
    Prepared(Vec<Preparation>, Result<Vec<Prepared>, ClusterError>),
    /// Whether it was asked apart, for those that had not been told.
    Offsets(OffsetSpec, bool, Result<Vec<PartitionOffset>, ClusterError>),
    /// Whether they are.
    FactsWritten(bool),
    Expired(bool),
    Marked(Vec<MirrorPartition>, bool),
    Ages(Vec<(String, i32, i64, i64)>),
}

impl Report {
    /// Whether what any partition waits for may be something else from then on.
    fn changes_phases(&self) -> bool {
        match self {
            Report::Discovered(found) => !matches!(found, Ok(None)),
            Report::First(_) | Report::Looked(..) | Report::Prepared(..) | Report::Marked(..) => true,
            Report::Offsets(..)
            | Report::MapRead
            | Report::Members(_)
            | Report::FactsWritten(_)
            | Report::Expired(_)
            | Report::Ages(_) => false,
        }
    }
}

/// A partition, and the number of a preparation of it.
type Preparation = (MirrorPartition, u64);

struct Supervisor {
    flow: Arc<Flow>,
    clusters: (Arc<Cluster>, Arc<Cluster>),
    discovery: Arc<Discovery>,
    view: Arc<View>,
    engine: Box<dyn Engine>,
    /// How much of what the flow may copy is this daemon's.
    share: Arc<Share>,
    engine_events: (UnboundedSender<Event>, UnboundedReceiver<Event>),
    member: Option<Member>,
    member_events: (UnboundedSender<MemberEvent>, UnboundedReceiver<MemberEvent>),
    reports: (UnboundedSender<Report>, UnboundedReceiver<Report>),
    mirrors: BTreeMap<String, Mirror>,
    subscribed: Vec<(String, usize)>,
    assigned: HashSet<MirrorPartition>,
    /// Nobody else was in the group at the start: until the group says who copies what, this daemon copies everything.
    alone: Option<bool>,
    mine: HashMap<MirrorPartition, Mine>,
    by_id: HashMap<u32, MirrorPartition>,
    next_id: u32,
    /// How many preparations were begun.
    preparations: u64,
    /// Partitions that are given up once their preparation is over: it may have claimed them.
    leaving: HashMap<Preparation, Leaving>,
    /// Partitions that are being given up; of how many something is copied again.
    releases: JoinSet<usize>,
    looking: bool,
    writing_facts: bool,
    /// Those that were written last did not arrive.
    facts_failed: bool,
    expiring: bool,
    more_expired: bool,
    asking_offsets: bool,
    /// Those that were not told are asked for.
    asking_apart: bool,
    /// The last question for offsets was not answered for all, or not within a beat: the next one is for all.
    asks_for_all: bool,
    /// No ages are read before this beat.
    ages_again_at: u64,
    /// A cluster was away at the last look.
    was_away: bool,
    sharing: Sharing,
    beginning: Beginning,
    beats: u64,
    /// Something has happened since the last pulse.
    has_happened: bool,
    /// All partitions wait for what is told, and none for a moment.
    waits_for_events: bool,
    /// Before the interval is over, because the last look failed or could not see all that was made; and how often that was so.
    look_again_at: Option<Instant>,
    looked_again: u32,
    /// Claims that are to be renewed, and when they were looked for.
    old_claims: Vec<MirrorPartition>,
    claims_looked_at: Instant,
    /// What is paused, as it was last taken in.
    pauses: Arc<Pauses>,
    /// The map was read to its end: what is paused from now on was not before.
    knows_pauses: bool,
    /// All clusters, and the topology file.
    fleet: Fleet,
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
        fleet: &Fleet,
        view: Arc<View>,
    ) -> rdkafka::error::KafkaResult<Supervisor> {
        let flow = discovery.flow.clone();
        let clusters = (source.clone(), target.clone());
        let engine_events = unbounded_channel();
        let share = Arc::default();
        let engine = engine(&flow, &discovery, &clusters, &share, engine_events.0.clone())?;
        let discovery = Arc::new(discovery);
        fleet.note_running(&discovery);
        Ok(Supervisor {
            clusters,
            discovery,
            view,
            engine,
            share,
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
            preparations: 0,
            leaving: HashMap::new(),
            releases: JoinSet::new(),
            looking: false,
            writing_facts: false,
            facts_failed: false,
            expiring: false,
            more_expired: false,
            asking_offsets: false,
            asking_apart: false,
            asks_for_all: false,
            ages_again_at: 0,
            was_away: false,
            sharing: Sharing::default(),
            beginning: Beginning::default(),
            beats: 0,
            has_happened: false,
            waits_for_events: false,
            look_again_at: None,
            looked_again: 0,
            old_claims: Vec::new(),
            claims_looked_at: Instant::now(),
            pauses: Arc::default(),
            knows_pauses: false,
            fleet: fleet.clone(),
            flow,
        })
    }

    async fn run(mut self, stop: CancellationToken) -> bool {
        self.view.set_problem(None);
        self.ask_who_begins();
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
                Some(event) = self.member_events.1.recv() => {
                    self.on_member(event);
                    self.has_happened = true;
                }
                Some(event) = self.engine_events.1.recv() => {
                    self.on_engine(event);
                    self.has_happened = true;
                }
                Some(report) = self.reports.1.recv() => {
                    self.has_happened |= report.changes_phases();
                    self.on_report(report);
                }
                _ = look.tick() => self.look(),
                _ = beat.tick() => self.beat(),
                _ = pulse.tick() => self.pulse(),
            }
        }
        self.drain().await
    }

    fn on_report(&mut self, report: Report) {
        match report {
            Report::Discovered(result) => {
                self.looking = false;
                match result {
                    Ok(Some(found)) => self.on_discovered(found),
                    Ok(None) => self.looked_again = 0,
                    Err(error) => {
                        tracing::debug!(flow = %self.flow.name, "discovery: {error}");
                        self.view.count_error();
                        self.look_again_after_a_failure();
                    }
                }
            }
            Report::First(told) => self.on_first(&told),
            Report::MapRead => self.on_map_read(),
            Report::Members(count) => self.on_members(count),
            Report::Looked(keys, there) => self.on_looked(&keys, &there),
            Report::Prepared(keys, result) => self.on_prepared(keys, result),
            Report::Offsets(spec, is_apart, result) => self.on_offsets(spec, is_apart, result),
            Report::FactsWritten(written) => (self.writing_facts, self.facts_failed) = (false, !written),
            Report::Expired(more) => (self.expiring, self.more_expired) = (false, more),
            Report::Marked(keys, written) => self.on_marked(&keys, written),
            Report::Ages(found) => self.on_ages(found),
        }
    }

    fn on_discovered(&mut self, found: Discovered) {
        let now = now_ms();
        let left_out: HashSet<String> = found.left_out.iter().map(|topic| topic.topic.clone()).collect();
        self.view.discovered(found.left_out);
        for mirror in found.mirrors.values() {
            let problem = beside::mirror_problem(&self.flow, mirror);
            for partition in 0..mirror.partitions.max(usize::from(problem.is_some())) as i32 {
                self.view.partition(&mirror.topic, partition, now, |view| {
                    view.target_topic = mirror.target_topic.clone();
                    view.mirror_problem = problem.clone();
                });
            }
            self.view.topic_is_there(&mirror.topic);
        }
        let before = std::mem::replace(&mut self.mirrors, found.mirrors);
        for (topic, mirror) in &mut self.mirrors {
            // An id that is not given any more says nothing of a change.
            if mirror.source_id.is_none() {
                mirror.source_id = before.get(topic).and_then(|before| before.source_id.clone());
            }
        }
        let mut has_grown = false;
        for old in before.values() {
            let new = self.mirrors.get(&old.topic);
            if let Some(new) = new.filter(|new| new.partitions > old.partitions) {
                has_grown = true;
                self.engine.refresh(&new.target_topic);
            }
        }
        self.give_up_what_changed(&before, &left_out);
        if found.map_is_new {
            self.state_again();
        }
        self.heed_pauses(true);
        self.knows_pauses = true;
        self.show_pauses();
        let is_too_early = self.look_again_soon(found.is_whole);
        if !is_too_early {
            self.subscribe(has_grown);
        }
        self.adopt();
        // What the map knows counts before the log ends do: nothing would seem to be copied otherwise.
        self.look_at_others();
        self.ask_offsets();
    }

    /// Look again soon if not all that was made could be seen. Returns whether it is too early to share the work: as long as this daemon is alone and has
    /// just begun, the group would have to be told of each part.
    fn look_again_soon(&mut self, is_whole: bool) -> bool {
        if is_whole {
            (self.look_again_at, self.looked_again) = (None, 0);
            return false;
        }
        self.look_again_within(self.flow.discovery_interval);
        self.member.is_none() && self.alone == Some(true) && self.looked_again <= LOOKS_ALONE
    }

    /// Nobody knows what there is: look again soon. What was found before is shared at the latest when that has failed for some seconds.
    fn look_again_after_a_failure(&mut self) {
        self.look_again_within(self.flow.discovery_interval.min(LOOK_AGAIN_AT_MOST));
        if self.looked_again > LOOKS_ALONE {
            self.subscribe(false);
        }
    }

    fn look_again_within(&mut self, longest: Duration) {
        let wait = match self.looked_again.checked_sub(LOOKS_OFTEN) {
            None => backoff(self.looked_again, LOOK_AGAIN, longest.min(LOOK_AGAIN_OFTEN)),
            Some(attempt) => backoff(attempt, 2 * LOOK_AGAIN_OFTEN, longest),
        };
        self.look_again_at = Some(Instant::now() + wait);
        self.looked_again = self.looked_again.saturating_add(1);
    }

    /// Something has happened to a partition.
    fn note(&self, kind: EventKind, (topic, partition): (&str, i32), reason: Option<&str>) {
        self.view.event(Happened {
            at_ms: now_ms(),
            topic: Some(topic.to_string()),
            partition: Some(partition),
            kind,
            reason: reason.map(str::to_string),
            ..Happened::default()
        });
    }

    /// Topics that are gone, or that are not the ones that they were.
    fn give_up_what_changed(&mut self, before: &BTreeMap<String, Mirror>, left_out: &HashSet<String>) {
        let now = now_ms();
        let mut gone = Vec::new();
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
                    None => {
                        if let Some(mine) = self.mine.remove(&key) {
                            mine.permit.take_back();
                            gone.push(mine);
                        }
                        let why = match left_out.contains(&old.topic) {
                            true => "the topic is left out from now on",
                            false => "the source topic is gone",
                        };
                        self.note(EventKind::Released, (&old.topic, key.1), Some(why));
                    }
                }
            }
            match new {
                Some(_) => {}
                None if left_out.contains(&old.topic) => self.view.topic_left_out(&old.topic, now),
                None => self.view.topic_deleted(&old.topic, now),
            }
        }
        if !gone.is_empty() {
            // What was copied of them stays on record: it tells a topic of the same name that comes later from this one.
            let discovery = self.discovery.clone();
            self.releases
                .spawn(async move { facts::release(&discovery.writer, gone, RELEASE_DEADLINE).await });
        }
    }

    fn on_offsets(
        &mut self,
        spec: OffsetSpec,
        is_apart: bool,
        result: Result<Vec<PartitionOffset>, ClusterError>,
    ) {
        match spec {
            OffsetSpec::LatestCommitted if is_apart => self.asking_apart = false,
            OffsetSpec::LatestCommitted => self.asking_offsets = false,
            OffsetSpec::Earliest => {}
        }
        let offsets = match result {
            Ok(offsets) => offsets,
            Err(error) => {
                self.asks_for_all = true;
                return tracing::debug!(flow = %self.flow.name, "{error}");
            }
        };
        let now = now_ms();
        let mut known = BTreeMap::new();
        for found in offsets {
            match found.offset {
                Ok(offset) => drop(known.insert((found.topic, found.partition), offset)),
                Err(code) => {
                    self.asks_for_all |= !is_apart;
                    self.view.no_end(&found.topic, found.partition, explain(code));
                }
            }
        }
        self.view.note_offsets(now, &known, spec == OffsetSpec::Earliest);
        self.view.refresh(now);
    }

    /// Stop reading, let arrive what is on its way, write the last facts, leave the group.
    async fn drain(mut self) -> bool {
        let until = tokio::time::Instant::now() + DRAIN_DEADLINE;
        let keys: Vec<_> = self.mine.keys().cloned().collect();
        for key in &keys {
            self.stop_copying(key);
        }
        let mine = self.end_preparations().await;
        // What was given up before is in other hands, or has been copied again since.
        while self.releases.try_join_next().is_some() {}
        let left_of_it = until - tokio::time::Instant::now();
        let mut left = facts::release(&self.discovery.writer, mine, left_of_it).await;
        self.end_beginning_by(until).await;
        // What was given up a moment ago may be on its way still.
        while !self.releases.is_empty() {
            match tokio::time::timeout_at(until, self.releases.join_next()).await {
                Ok(Some(released)) => left += released.unwrap_or(1),
                Ok(None) => break,
                Err(_) => {
                    left += self.releases.len();
                    self.releases.abort_all();
                    break;
                }
            }
        }
        if left > 0 {
            tracing::warn!(flow = %self.flow.name, partitions = left, "ended before all that was on its way had arrived and was on record; it is copied again at the next start");
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
        left == 0
    }
}
