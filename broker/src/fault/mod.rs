//! Faults on demand: the one place where a healthy broker is made to misbehave.
//!
//! While nothing is asked for, a request passes by one relaxed load of an atomic flag, before it is handled and after.

mod disk;
mod refusal;
mod spec;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use heliostat_wire::{
    ErrorCode,
    message::{ApiKey, RequestHeader},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::info;

use crate::{
    api::{self, Peer, Reply},
    broker::Broker,
    clock::Clock,
    log::Disk,
};
use disk::DiskRules;
use refusal::Refusal;
use spec::{Effect, FAULTS_MAX};
pub use spec::{Fault, FaultError, FaultKind};

/// What is to go wrong.
#[derive(Debug)]
pub(crate) struct Faults {
    /// Whether a request has to look at the plan.
    armed: AtomicBool,
    plan: Mutex<Plan>,
    /// Tells when a node answers again.
    heard: watch::Sender<()>,
    disk: Disk,
    disk_rules: Arc<DiskRules>,
    clock: Clock,
}

/// A fault, and what it has done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultStatus {
    /// Its number.
    pub id: u64,
    /// What was asked for.
    pub fault: Fault,
    /// How many requests, connections or operations of the disk have fitted so far.
    pub seen: u64,
    /// How many of them were hit.
    pub hit: u64,
    /// Nothing more will be hit.
    pub done: bool,
}

#[derive(Debug, Default)]
struct Plan {
    /// Nodes that answer nothing.
    silent: BTreeSet<i32>,
    /// In the order in which they were added.
    rules: Vec<Rule>,
    last_id: u64,
}

/// A fault in force.
#[derive(Debug)]
struct Rule {
    id: u64,
    fault: Fault,
    effect: Effect,
    api: Option<ApiKey>,
    seen: u64,
    hit: u64,
    /// The state of the generator that draws a share.
    random: u64,
}

/// What is done to a request.
#[derive(Debug, Default)]
struct Verdict {
    delay: Duration,
    effect: Option<Effect>,
}

/// What can be known of a request without reading its body.
struct Head<'a> {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: &'a str,
    body: &'a Bytes,
}

impl Faults {
    /// Nothing goes wrong at first. `disk` and `clock` are those that the cluster uses.
    pub(crate) fn new(disk: Disk, clock: Clock) -> Self {
        Faults {
            armed: AtomicBool::new(false),
            plan: Mutex::default(),
            heard: watch::Sender::default(),
            disk,
            disk_rules: Arc::default(),
            clock,
        }
    }

    /// Adds a fault, which takes effect at once. Returns its number.
    pub(crate) fn add(&self, mut fault: Fault) -> Result<u64, FaultError> {
        let (effect, api) = fault.check()?;
        let mut plan = self.plan();
        if plan.rules.len() >= FAULTS_MAX {
            return Err(FaultError::TooMany);
        }
        let clock = |rule: &&Rule| rule.fault.kind == FaultKind::Clock;
        if let Some(there) = plan
            .rules
            .iter()
            .find(clock)
            .filter(|_| fault.kind == FaultKind::Clock)
        {
            return Err(FaultError::There { id: there.id });
        }
        if fault.fraction.is_some() {
            fault.seed.get_or_insert_with(rand::random);
        }
        plan.last_id += 1;
        let id = plan.last_id;
        info!(id, %fault, "a fault was added");
        match effect {
            Effect::Clock { ahead_ms } => self.clock.set_ahead(ahead_ms),
            _ if is_of_disk(&effect) => {
                self.disk_rules.add(id, effect, fault.topic.clone(), &self.disk);
            }
            _ => {}
        }
        plan.rules.push(Rule {
            id,
            random: fault.seed.unwrap_or(0),
            fault,
            effect,
            api,
            seen: 0,
            hit: 0,
        });
        self.arm(&plan);
        Ok(id)
    }

    /// Every fault, also those that will hit nothing more.
    pub(crate) fn list(&self) -> Vec<FaultStatus> {
        let plan = self.plan();
        plan.rules.iter().map(|rule| self.status(rule)).collect()
    }

    /// Removes a fault.
    pub(crate) fn remove(&self, id: u64) -> Result<(), FaultError> {
        let mut plan = self.plan();
        let at = plan
            .rules
            .iter()
            .position(|rule| rule.id == id)
            .ok_or(FaultError::Unknown(id))?;
        let rule = plan.rules.remove(at);
        self.end(&rule);
        self.arm(&plan);
        info!(id, fault = %rule.fault, "a fault was removed");
        Ok(())
    }

    /// Removes all faults; returns how many there were.
    pub(crate) fn clear(&self) -> usize {
        let mut plan = self.plan();
        let rules = std::mem::take(&mut plan.rules);
        for rule in &rules {
            self.end(rule);
        }
        self.arm(&plan);
        rules.len()
    }

    /// Makes a node answer nothing, or answer again what it was asked meanwhile.
    pub(crate) fn silence(&self, node: i32, silent: bool) {
        let mut plan = self.plan();
        if silent {
            plan.silent.insert(node);
        } else {
            plan.silent.remove(&node);
        }
        self.arm(&plan);
        self.heard.send_replace(());
    }

    /// Whether a connection that a node has accepted is to be closed at once.
    pub(crate) fn refuses(&self, node: i32) -> bool {
        if !self.is_armed() {
            return false;
        }
        let mut plan = self.plan();
        let mut rules = plan.rules.iter_mut();
        let refused = rules.any(|rule| {
            rule.effect == Effect::Refuse && rule.fault.node.is_none_or(|only| only == node) && rule.strikes()
        });
        self.arm(&plan);
        refused
    }

    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    fn arm(&self, plan: &Plan) {
        let has_rules = plan
            .rules
            .iter()
            .any(|rule| rule.is_of_requests() && !rule.is_done());
        self.armed
            .store(has_rules || !plan.silent.is_empty(), Ordering::Relaxed);
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, rule: &Rule) {
        match rule.effect {
            Effect::Clock { .. } => self.clock.set_ahead(0),
            _ => self.disk_rules.remove(rule.id, &self.disk),
        }
    }

    fn status(&self, rule: &Rule) -> FaultStatus {
        let disk = is_of_disk(&rule.effect).then(|| self.disk_rules.hits(rule.id));
        FaultStatus {
            id: rule.id,
            fault: rule.fault.clone(),
            seen: disk.unwrap_or(rule.seen),
            hit: disk.unwrap_or(rule.hit),
            done: rule.is_done(),
        }
    }

    /// Waits until the node answers.
    async fn answers(&self, node: i32) {
        let mut heard = self.heard.subscribe();
        while self.plan().silent.contains(&node) {
            // The sender lives as long as this does.
            let _ = heard.changed().await;
        }
    }

    /// Asks every rule, in order, whether it strikes. Delays add up; of the rest the first counts.
    fn judge(&self, broker: &Broker, node: i32, head: &Head<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut plan = self.plan();
        for rule in &mut plan.rules {
            let comes_late = verdict.effect.is_some() && !matches!(rule.effect, Effect::Delay(_));
            if comes_late || !rule.fits(broker, node, head) || !rule.strikes() {
                continue;
            }
            match rule.effect {
                Effect::Delay(delay) => verdict.delay += delay,
                effect => verdict.effect = Some(effect),
            }
        }
        self.arm(&plan);
        verdict
    }
}

impl Rule {
    /// Whether requests or connections have to be looked at for it.
    fn is_of_requests(&self) -> bool {
        !is_of_disk(&self.effect) && !matches!(self.effect, Effect::Clock { .. })
    }

    fn is_done(&self) -> bool {
        self.fault.count.is_some_and(|count| self.hit >= count)
    }

    fn fits(&self, broker: &Broker, node: i32, head: &Head<'_>) -> bool {
        let fault = &self.fault;
        matches!(
            self.effect,
            Effect::Error(_) | Effect::Delay(_) | Effect::Cut { .. }
        ) && self.api.is_none_or(|api| api == head.key)
            && fault.node.is_none_or(|only| only == node)
            && fault
                .client_id
                .as_deref()
                .is_none_or(|only| only == head.client_id)
            && fault
                .topic
                .as_deref()
                .is_none_or(|topic| refusal::names(head.key, head.version, head.body.clone(), topic, broker))
    }

    /// Counts a request that fits, and says whether it is hit.
    fn strikes(&mut self) -> bool {
        if self.is_done() {
            return false;
        }
        self.seen += 1;
        if self.seen <= self.fault.skip.unwrap_or(0) {
            return false;
        }
        let strikes = self.fault.fraction.is_none_or(|fraction| self.draw() < fraction);
        self.hit += u64::from(strikes);
        strikes
    }

    /// A number from 0 to 1 (SplitMix64), the same ones for the same seed.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // As many bits as a fraction holds.
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Answers one frame, unless it is to go wrong.
pub(crate) async fn handle(broker: &Arc<Broker>, peer: &Peer, frame: Bytes) -> Reply {
    let faults = broker.faults();
    if faults.is_armed() {
        return Box::pin(misbehave(broker, peer, frame)).await;
    }
    let reply = api::handle(broker, peer, frame).await;
    if faults.is_armed() {
        let reply = Box::pin(settled(reply)).await;
        Box::pin(faults.answers(peer.node_id)).await;
        return reply;
    }
    reply
}

/// The reply when it is there: what is done to it has to come after that.
async fn settled(reply: Reply) -> Reply {
    match reply {
        Reply::Later(reply) => reply.await,
        reply => reply,
    }
}

async fn misbehave(broker: &Arc<Broker>, peer: &Peer, frame: Bytes) -> Reply {
    let faults = broker.faults();
    faults.answers(peer.node_id).await;
    let mut body = frame.clone();
    let Ok(header) = RequestHeader::decode(&mut body) else {
        return api::handle(broker, peer, frame).await;
    };
    let supported = |key: &ApiKey| api::supports(*key, header.api_version);
    let Some(key) = ApiKey::from_code(header.api_key).filter(supported) else {
        return api::handle(broker, peer, frame).await;
    };
    let head = Head {
        key,
        version: header.api_version,
        correlation_id: header.correlation_id,
        client_id: header.client_id.as_deref().unwrap_or_default(),
        body: &body,
    };
    let verdict = faults.judge(broker, peer.node_id, &head);
    if !verdict.delay.is_zero() {
        tokio::select! {
            () = broker.drain().cancelled() => {}
            () = tokio::time::sleep(verdict.delay) => {}
        }
    }
    let reply = match verdict.effect {
        Some(Effect::Error(error)) => match refuse(broker, peer, &head, error) {
            Some(refused) => refused,
            None => settled(api::handle(broker, peer, frame).await).await,
        },
        Some(Effect::Cut { takes_effect }) => {
            if takes_effect {
                settled(api::handle(broker, peer, frame).await).await;
            }
            Reply::Close("a fault cuts the connection".to_owned())
        }
        _ => settled(api::handle(broker, peer, frame).await).await,
    };
    faults.answers(peer.node_id).await;
    reply
}

/// The answer to a request that comes in the middle of authentication; `None` if it has none.
pub(crate) fn illegal_sasl_state(
    broker: &Broker,
    peer: &Peer,
    key: ApiKey,
    header: &RequestHeader,
    body: Bytes,
) -> Option<Reply> {
    let refusal = Refusal {
        broker,
        peer,
        version: header.api_version,
        error: ErrorCode::IllegalSaslState,
        message: "Request is not valid given the current SASL state.".to_owned(),
    };
    api::supports(key, header.api_version)
        .then(|| refusal::refuse(key, header.correlation_id, body, &refusal))
        .flatten()
}

fn refuse(broker: &Broker, peer: &Peer, head: &Head<'_>, error: ErrorCode) -> Option<Reply> {
    let refusal = Refusal {
        broker,
        peer,
        version: head.version,
        error,
        message: format!("{} by a fault that was asked for", error.name()),
    };
    refusal::refuse(head.key, head.correlation_id, head.body.clone(), &refusal)
}

fn is_of_disk(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::SlowDisk(_) | Effect::FullDisk { .. } | Effect::FailedFsync
    )
}
