//! One Kafka cluster as seen from here: how to connect to it, what to ask it, whether it answers.

pub mod admin;
pub mod complaint;
pub mod native;
pub mod offsets;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use heliostat_wire::client as wire;
use rdkafka::config::ClientConfig;

use crate::topology::{self, ClusterKind, Security};

pub use admin::Admin;
use complaint::{Complaint, Kind};

/// How to connect to a cluster, and whether the last call to it succeeded. Shared by everything that talks to it.
pub struct Cluster {
    /// Its name in the topology file.
    pub alias: String,
    /// Whether this process runs it.
    pub built_in: bool,
    bootstrap_servers: String,
    base: ClientConfig,
    own: Vec<(String, String)>,
    security: Option<Security>,
    reach: Mutex<Reach>,
}

/// What is known of a cluster's being there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The id that the cluster gives itself, once it was reached.
    pub cluster_id: Option<String>,
    /// Whether the last call to it succeeded.
    pub reachable: bool,
    /// Why it did not.
    pub reason: Option<String>,
    /// What its connections last complained of since it answered.
    complaint: Option<Complaint>,
    /// When it last answered.
    answered_at: Option<Instant>,
}

impl Reach {
    /// Whether it does answer, and refuses us.
    pub fn is_refused(&self) -> bool {
        self.complaint
            .as_ref()
            .is_some_and(|complaint| complaint.kind == Kind::Refused)
    }
}

/// A call to a cluster that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cluster {cluster}: {call}: {reason}")]
pub struct ClusterError {
    /// The cluster's alias.
    pub cluster: String,
    /// What was asked of it.
    pub call: String,
    /// Why it failed.
    pub reason: String,
    /// Whether the cluster as a whole did not answer, rather than refusing this one thing.
    pub away: bool,
}

impl Cluster {
    /// A cluster of the topology file. `bootstrap_servers` is given for a built-in one, which knows its addresses once it runs.
    pub fn new(spec: &topology::Cluster, running_at: Option<&str>) -> Cluster {
        let (built_in, bootstrap_servers) = match &spec.kind {
            ClusterKind::BuiltIn(own) => (
                true,
                running_at.map_or_else(|| format!("{}:{}", own.host, own.port), str::to_string),
            ),
            ClusterKind::Existing { bootstrap_servers } => (false, bootstrap_servers.join(",")),
        };
        let mut base = ClientConfig::new();
        base.set("bootstrap.servers", &bootstrap_servers);
        // A cluster that comes back is found again within a second or two.
        base.set("reconnect.backoff.ms", "50");
        base.set("reconnect.backoff.max.ms", "1000");
        // How soon a client asks who leads a partition that it has just been told of.
        base.set("topic.metadata.refresh.fast.interval.ms", "10");
        base.set("socket.keepalive.enable", "true");
        base.set("socket.nagle.disable", "true");
        // The state of a flow says, once, that a cluster is away; librdkafka would say it at every attempt.
        base.set("log.connection.close", "false");
        for (key, value) in spec
            .security
            .iter()
            .flat_map(|security| security.client_properties())
        {
            base.set(key, value.expose());
        }
        let own: Vec<_> = spec.properties.clone().into_iter().collect();
        for (key, value) in &own {
            base.set(key, value);
        }
        Cluster {
            alias: spec.alias.clone(),
            built_in,
            bootstrap_servers,
            base,
            own,
            security: spec.security.clone(),
            reach: Mutex::default(),
        }
    }

    /// Where clients connect.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// The client properties of the topology file.
    pub fn own_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.own.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A client of Heliostat's own for one role, such as `heliostat/primary->standby/reader`. It has plain connections only.
    pub fn wire_client(&self, client_id: &str) -> wire::Client {
        let server = |server: &str| {
            let server = server.trim();
            let server = server.rsplit_once("://").map_or(server, |(_, rest)| rest);
            let (host, port) = server.rsplit_once(':').unwrap_or((server, "9092"));
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Some((host.to_owned(), port.parse().ok()?))
        };
        let servers = self.bootstrap_servers.split(',').filter_map(server).collect();
        wire::Client::new(wire::Config::new(client_id, servers), Arc::new(wire::Tcp))
    }

    /// A client configuration for one role, such as `heliostat/primary->standby/reader`, which is also the client id.
    pub fn client_config(&self, client_id: &str) -> ClientConfig {
        let mut config = self.base.clone();
        config.set("client.id", client_id);
        config
    }

    /// What is known of its being there.
    pub fn reach(&self) -> Reach {
        self.lock().clone()
    }

    /// Whether the last call succeeded, or none was made so far.
    pub fn is_there(&self) -> bool {
        let reach = self.lock();
        reach.reachable || reach.reason.is_none()
    }

    /// How long it has not answered, once a call has shown that it does not; none as long as it is there.
    pub fn silent_for(&self) -> Option<Duration> {
        let reach = self.lock();
        let is_there = reach.reachable || reach.reason.is_none();
        let since = reach.answered_at.filter(|_| !is_there)?;
        Some(since.elapsed())
    }

    /// Note that a call succeeded.
    pub fn answered(&self) {
        let mut reach = self.lock();
        // That it answers at the start is what everyone expects.
        if !reach.reachable && reach.reason.is_some() {
            tracing::info!(cluster = %self.alias, "cluster answers again");
        }
        reach.reachable = true;
        reach.reason = None;
        reach.complaint = None;
        reach.answered_at = Some(Instant::now());
    }

    /// Note the id that the cluster gives itself.
    pub fn identified(&self, cluster_id: &str) {
        self.lock().cluster_id = Some(cluster_id.to_string());
    }

    /// Note that a call failed because the cluster is away.
    pub fn failed(&self, reason: &str) {
        let mut reach = self.lock();
        if reach.reachable || reach.reason.is_none() {
            tracing::warn!(cluster = %self.alias, "cluster does not answer: {reason}");
        }
        reach.reachable = false;
        reach.reason = Some(reason.to_string());
    }

    /// Why it is away, as far as its connections have told. What they said once holds until it answers.
    fn why(&self, heard: Option<Complaint>) -> Option<String> {
        let complaint = {
            let mut reach = self.lock();
            if heard.is_some() {
                reach.complaint = heard;
            }
            reach.complaint.clone()?
        };
        let Complaint { kind, text } = complaint;
        let sasl = self.security.as_ref().and_then(|security| security.sasl.as_ref());
        let has_tls = self
            .security
            .as_ref()
            .is_some_and(|security| security.tls.is_some());
        Some(match (kind, sasl) {
            (Kind::Refused, Some(_)) if text.contains("not valid in current SASL state") => {
                format!("it asks nobody who they are: {text}; leave `security` of the cluster out")
            }
            (Kind::Refused, Some(sasl)) => format!(
                "it refuses the user {} with {}: {text}; see name, password and mechanism in the topology file",
                sasl.username, sasl.mechanism
            ),
            (Kind::Closed, None) if !has_tls => format!(
                "it closes connections before it answers: {text}; it may want SASL or TLS: see `security` of the cluster"
            ),
            (Kind::Closed, Some(_)) if !has_tls => {
                format!(
                    "it closes connections before it answers: {text}; it may want TLS: see `security.protocol`"
                )
            }
            _ => text,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reach> {
        self.reach
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
