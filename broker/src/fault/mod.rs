//! Faults on demand: the one place where a healthy broker is made to misbehave.
//!
//! While nothing is asked for, a request passes by one relaxed load of an atomic flag.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    api::{self, Peer, Reply},
    broker::Broker,
};

/// What is to go wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Whether anything is.
    armed: AtomicBool,
    plan: Mutex<Plan>,
    /// Tells when a node answers again.
    heard: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Nodes that answer nothing.
    silent: BTreeSet<i32>,
}

impl Faults {
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

    fn is_armed(&self) -> bool {
        self.armed.load(Ordering::Relaxed)
    }

    fn arm(&self, plan: &Plan) {
        self.armed.store(!plan.silent.is_empty(), Ordering::Relaxed);
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the node answers.
    async fn answers(&self, node: i32) {
        let mut heard = self.heard.subscribe();
        while self.plan().silent.contains(&node) {
            // The sender lives as long as this does.
            let _ = heard.changed().await;
        }
    }
}

/// Answers one frame, unless it is to go wrong.
pub(crate) async fn handle(broker: &Arc<Broker>, peer: &Peer, frame: Bytes) -> Reply {
    let faults = broker.faults();
    if faults.is_armed() {
        Box::pin(faults.answers(peer.node_id)).await;
    }
    let reply = api::handle(broker, peer, frame).await;
    if faults.is_armed() {
        Box::pin(faults.answers(peer.node_id)).await;
    }
    reply
}
