//! All flows of a topology, running together.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::discover::Discovery;
use super::{Flow, now_ms};
use crate::cluster::{Cluster, ClusterError};
use crate::observe::events::Events;
use crate::observe::status::{ClusterStatus, State, Status, StatusSource};
use crate::topology::Topology;

/// The clusters of a topology, in the order of the file, as everything in this process sees them.
#[derive(Clone)]
pub struct Fleet {
    clusters: Arc<[Arc<Cluster>]>,
    file: Arc<Path>,
    /// What the flows that run in this process work with, by name.
    running: Arc<Mutex<HashMap<String, Weak<Discovery>>>>,
}

impl Fleet {
    /// The clusters of `topology`. `running_at` gives the addresses of a built-in cluster that runs already.
    pub fn new(topology: &Topology, running_at: impl Fn(&str) -> Option<String>) -> Fleet {
        let cluster = |spec: &crate::topology::Cluster| {
            Arc::new(Cluster::new(spec, running_at(&spec.alias).as_deref()))
        };
        Fleet {
            clusters: topology.clusters.iter().map(cluster).collect(),
            file: topology.file.as_path().into(),
            running: Arc::default(),
        }
    }

    /// A flow runs in this process, and works with this.
    pub(super) fn note_running(&self, discovery: &Arc<Discovery>) {
        let name = discovery.flow.name.clone();
        self.running().insert(name, Arc::downgrade(discovery));
    }

    /// What a flow works with, if it runs in this process.
    pub(super) fn running_flow(&self, name: &str) -> Option<Arc<Discovery>> {
        self.running().get(name)?.upgrade()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Weak<Discovery>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topology file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A cluster by its alias.
    pub fn get(&self, alias: &str) -> Option<&Arc<Cluster>> {
        self.clusters.iter().find(|cluster| cluster.alias == alias)
    }

    /// The same, where a file that was checked has it.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn cluster(&self, alias: &str) -> Result<&Arc<Cluster>, ClusterError> {
        self.get(alias).ok_or_else(|| ClusterError {
            cluster: alias.to_string(),
            call: "look it up".into(),
            reason: "the topology has no cluster of this name".into(),
            away: false,
        })
    }

    /// All aliases.
    pub fn aliases(&self) -> Vec<String> {
        self.clusters
            .iter()
            .map(|cluster| cluster.alias.clone())
            .collect()
    }

    /// Another cluster of the topology that is known to have this id: then both aliases are one cluster.
    pub fn twin_of(&self, alias: &str, cluster_id: &str) -> Option<&Arc<Cluster>> {
        self.clusters.iter().find(|cluster| {
            cluster.alias != alias && cluster.reach().cluster_id.as_deref() == Some(cluster_id)
        })
    }

    /// What is known of each.
    pub fn status(&self) -> Vec<ClusterStatus> {
        let status = |cluster: &Arc<Cluster>| {
            let reach = cluster.reach();
            ClusterStatus {
                alias: cluster.alias.clone(),
                built_in: cluster.built_in,
                bootstrap_servers: cluster.bootstrap_servers().to_string(),
                cluster_id: reach.cluster_id,
                reachable: reach.reachable,
                reason: reach.reason,
            }
        };
        self.clusters.iter().map(status).collect()
    }
}

/// The flows of a topology, running.
pub struct Daemon {
    name: String,
    version: String,
    started_at_ms: i64,
    fleet: Fleet,
    flows: Vec<Flow>,
    events: Events,
    stop: CancellationToken,
}

impl Daemon {
    /// Start all flows. Clusters that are away are states of the flows, not errors.
    pub fn start(topology: &Topology, fleet: Fleet, version: String) -> Daemon {
        let stop = CancellationToken::new();
        let events = Events::new(now_ms());
        let flows = topology.flows.iter().filter_map(|flow| {
            // The topology is checked: both clusters are there.
            let (source, target) = (fleet.get(&flow.source)?.clone(), fleet.get(&flow.target)?.clone());
            Some(Flow::start(
                Arc::new(flow.clone()),
                source,
                target,
                fleet.clone(),
                events.clone(),
                stop.clone(),
            ))
        });
        let flows = flows.collect();
        Daemon {
            name: topology.name.clone(),
            version,
            started_at_ms: now_ms(),
            fleet,
            flows,
            events,
            stop,
        }
    }

    /// What everything is doing.
    pub fn status(&self) -> Status {
        Status {
            version: self.version.clone(),
            name: self.name.clone(),
            source: StatusSource::Daemon,
            at_ms: now_ms(),
            started_at_ms: Some(self.started_at_ms),
            clusters: self.fleet.status(),
            flows: self.flows.iter().map(Flow::status).collect(),
        }
    }

    /// The state of each flow, by name.
    pub fn states(&self) -> Vec<(String, State)> {
        self.flows.iter().map(Flow::state).collect()
    }

    /// What has happened to the flows.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Begin to stop: nothing more is read, what is on its way arrives, progress is written down.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Wait until every flow has ended after [`Daemon::stop`]. False if the deadline comes first, or if not all that was read arrived and
    /// is on record: then it is copied again at the next start.
    pub async fn ended(&self, deadline: Duration) -> bool {
        let all = async {
            let mut clean = true;
            for flow in &self.flows {
                clean &= flow.ended().await;
            }
            clean
        };
        tokio::time::timeout(deadline, all).await.unwrap_or(false)
    }
}
