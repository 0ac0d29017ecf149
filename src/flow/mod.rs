//! One running flow: discover, assign, copy, account; the state of each partition.

pub mod account;
mod connect;
pub mod daemon;
pub mod discover;
pub mod engine;
mod exactly_once;
mod facts;
pub mod lag;
mod ledger;
mod map_end;
mod map_topic;
pub mod member;
mod mirror_topic;
mod partition;
pub mod pause;
mod prepare;
mod supervisor;
pub mod survey;
pub mod view;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::observe::events::Events;
use crate::observe::status::{FlowStatus, State};
use crate::topology;
use daemon::Fleet;

/// A flow that runs until its token is cancelled, and then drains.
pub struct Flow {
    view: Arc<view::View>,
    ended: watch::Receiver<Option<bool>>,
}

impl Flow {
    /// Start a flow. Clusters that are away are a state of it, not an error. `fleet` is all clusters of the topology.
    pub fn start(
        spec: Arc<topology::Flow>,
        source: Arc<Cluster>,
        target: Arc<Cluster>,
        fleet: Fleet,
        events: Events,
        stop: CancellationToken,
    ) -> Flow {
        let view = Arc::new(view::View::new(
            spec.clone(),
            source.clone(),
            target.clone(),
            events,
            now_ms(),
        ));
        let (ended_sender, ended) = watch::channel(None);
        let work = supervisor::run(spec, source, target, fleet, view.clone(), stop);
        tokio::spawn(async move {
            ended_sender.send_replace(Some(work.await));
        });
        Flow { view, ended }
    }

    /// What it is doing.
    pub fn status(&self) -> FlowStatus {
        self.view.status(now_ms())
    }

    /// Its name, and the state that it is in.
    pub fn state(&self) -> (String, State) {
        self.view.state(now_ms())
    }

    /// Wait for it to end, after its token was cancelled. Returns whether all that was read arrived and is on record.
    pub async fn ended(&self) -> bool {
        // It only fails if the task panicked, which has been reported by then.
        match self.ended.clone().wait_for(Option::is_some).await {
            Ok(clean) => *clean == Some(true),
            Err(_) => false,
        }
    }
}

/// Now, in milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
