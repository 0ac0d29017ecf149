//! `heliostat run`: the built-in clusters of a topology, its daemon, and what it shows, until a signal; then everything drains.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use heliostat_broker::{Cluster, ClusterConfig, SaslConfig, SaslMechanism, StartError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use super::signal::{Signals, Stop};
use super::text::{clean, quoted};
use super::{Failure, broker, built_in, control, exit, pause};
use crate::flow::daemon::{Daemon, Fleet};
use crate::memory;
use crate::observe::http::{self, StatusFn};
use crate::topology::{BuiltIn, BuiltInSasl, ClusterKind, Flow, Mechanism, Protocol, SaslUser, Topology};

/// How long the flows may take to drain: a little more than each allows itself.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(12);

/// How long the built-in clusters may take to close their logs after that.
pub const CLUSTERS_DEADLINE: Duration = Duration::from_secs(5);

/// Runs a topology until a signal. A second signal ends it at once.
/// `open_control`: other machines may do things to the built-in clusters too.
pub async fn run(file: &Path, topology: &Topology, open_control: bool) -> anyhow::Result<u8> {
    // Both signals count from here on, also while clusters still start.
    let mut signals = Signals::new().context("listen for signals")?;
    let listener = listen(topology.http.listen, "http: { listen: … } in the topology file").await?;
    let listening_at = listener
        .local_addr()
        .context("ask for the address of the HTTP server")?;
    let clusters = start_clusters(topology).await?;
    let fleet = Fleet::new(topology, |alias| {
        clusters
            .iter()
            .find(|(name, _)| name == alias)
            .map(|(_, cluster)| cluster.bootstrap_servers())
    });
    let daemon = Arc::new(Daemon::start(topology, fleet.clone(), crate::VERSION.to_string()));
    tokio::spawn(memory::give_back_now_and_then());
    let status: StatusFn = {
        let daemon = daemon.clone();
        Arc::new(move || daemon.status())
    };
    let http_stop = CancellationToken::new();
    let controls = clusters
        .iter()
        .map(|(alias, cluster)| (alias.clone(), cluster.control().clone()))
        .collect::<Vec<_>>();
    let sources = http::Sources {
        status: Some(status.clone()),
        built_in: Some(built_in::facts(controls.clone())),
        control: Some(control::serve(controls, open_control)),
        events: Some(daemon.events().clone()),
        pauses: Some(pause::serve(topology.clone(), fleet.clone(), open_control)),
    };
    let http = http::serve(listener, sources, http_stop.clone());
    Live::print(&announcement(file, topology, &clusters, listening_at));
    let live = {
        let daemon = daemon.clone();
        Live::start(status, Arc::new(move || daemon.states()))
    };

    let stop = signals.next().await;
    tracing::info!(
        "told to stop: draining, for at most {} s",
        DRAIN_DEADLINE.as_secs()
    );
    daemon.stop();
    let drained = tokio::select! {
        drained = daemon.ended(DRAIN_DEADLINE) => {
            if !drained {
                tracing::warn!("not all that is on its way has arrived in time: it is copied again at the next start");
            }
            drained
        }
        _ = signals.next() => {
            tracing::warn!("told to stop a second time: what is on its way is copied again at the next start");
            false
        }
    };
    live.stop();
    http_stop.cancel();
    // Its own bound on open connections is longer than anyone wants to wait here.
    drop(tokio::time::timeout(Duration::from_secs(1), http).await);
    stop_clusters(clusters).await;
    Ok(match (drained, stop) {
        (false, _) => exit::FAILURE,
        (true, Stop::Terminate) => exit::OK,
        (true, Stop::Interrupt) => exit::INTERRUPTED,
    })
}

/// Listens for HTTP; `other` says where another address is chosen.
pub(super) async fn listen(address: SocketAddr, other: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message =
            format!("cannot listen on {address} for HTTP: {error}; choose another address with {other}");
        Failure {
            code: exit::PRECONDITION,
            message,
        }
        .into()
    })
}

type Clusters = Vec<(String, Cluster)>;

async fn start_clusters(topology: &Topology) -> anyhow::Result<Clusters> {
    let mut clusters = Clusters::new();
    for cluster in &topology.clusters {
        let ClusterKind::BuiltIn(built_in) = &cluster.kind else {
            continue;
        };
        match Cluster::start(config(&cluster.alias, built_in)).await {
            Ok(running) => clusters.push((cluster.alias.clone(), running)),
            Err(error) => {
                stop_clusters(clusters).await;
                return Err(explain(error, &cluster.alias));
            }
        }
    }
    Ok(clusters)
}

fn explain(error: StartError, alias: &str) -> anyhow::Error {
    const KEYS: broker::Settings = broker::Settings {
        port: "built_in: { port: … } in the topology file",
        host: "built_in: { host: … } in the topology file",
        data: "built_in: { data: … } in the topology file",
    };
    let error = broker::explain(error, &KEYS);
    let message = format!("start the built-in cluster {alias}: {error:#}");
    let code = error
        .downcast_ref::<Failure>()
        .map_or(exit::FAILURE, |failure| failure.code);
    Failure { code, message }.into()
}

fn config(alias: &str, built_in: &BuiltIn) -> ClusterConfig {
    ClusterConfig {
        name: Some(alias.to_owned()),
        host: built_in.host,
        port: built_in.port,
        brokers: built_in.brokers,
        data: built_in.data.clone(),
        properties: built_in.properties.clone(),
        sasl: built_in.sasl.as_ref().map(sasl),
    }
}

fn sasl(sasl: &BuiltInSasl) -> SaslConfig {
    let mechanism = |mechanism: &Mechanism| match mechanism {
        Mechanism::Plain => SaslMechanism::Plain,
        Mechanism::ScramSha256 => SaslMechanism::ScramSha256,
        Mechanism::ScramSha512 => SaslMechanism::ScramSha512,
    };
    let user = |user: &SaslUser| (user.name.clone(), user.password.expose().to_owned());
    SaslConfig {
        mechanisms: sasl.mechanisms.iter().map(mechanism).collect(),
        users: sasl.users.iter().map(user).collect(),
    }
}

async fn stop_clusters(clusters: Clusters) {
    // All at once, so that the deadline is one for all.
    let ending: Vec<_> = clusters
        .into_iter()
        .map(|(alias, cluster)| (alias, tokio::spawn(cluster.shutdown(CLUSTERS_DEADLINE))))
        .collect();
    for (alias, ended) in ending {
        if let Err(error) = ended.await {
            tracing::error!(cluster = %alias, "the built-in cluster did not end cleanly: {error}");
        }
    }
}

/// Where everything listens, and what to try.
fn announcement(file: &Path, topology: &Topology, clusters: &Clusters, http: SocketAddr) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{}", topology.name);
    let width = topology
        .clusters
        .iter()
        .map(|cluster| cluster.alias.len())
        .max()
        .unwrap_or(0)
        .max(4);
    for cluster in &topology.clusters {
        let (servers, kind) = match &cluster.kind {
            ClusterKind::BuiltIn(built_in) => {
                let running = clusters.iter().find(|(alias, _)| *alias == cluster.alias);
                let data = match &built_in.data {
                    Some(data) => format!("data in {}", data.display()),
                    None => "data gone when it ends".to_string(),
                };
                let sasl = built_in.sasl.as_ref().map_or_else(String::new, |sasl| {
                    let mechanisms: Vec<String> = sasl.mechanisms.iter().map(ToString::to_string).collect();
                    format!(", SASL_PLAINTEXT with {}", mechanisms.join(" or "))
                });
                let data = format!("built-in{sasl}, {data}");
                (
                    running
                        .map(|(_, running)| running.bootstrap_servers())
                        .unwrap_or_default(),
                    data,
                )
            }
            ClusterKind::Existing { bootstrap_servers } => {
                (bootstrap_servers.join(","), "existing".to_string())
            }
        };
        let _ = writeln!(text, "  {:width$}  {servers}  ({kind})", cluster.alias);
    }
    let _ = writeln!(text, "  {:width$}  http://{http}", "http");
    let program = std::env::args().next().unwrap_or_else(|| "heliostat".to_string());
    // What is written to somebody's own cluster for a trial cannot be taken back.
    let is_for_trials = |flow: &&Flow| {
        clusters.iter().any(|(alias, _)| *alias == flow.source) && flow.topics.includes("orders")
    };
    if let Some(flow) = topology.flows.iter().find(is_for_trials) {
        let mirror = flow.naming.mirror_topic(&flow.source, &flow.target, "orders");
        let servers = |alias: &str| {
            let built_in = clusters
                .iter()
                .find(|(name, _)| name == alias)
                .map(|(_, running)| running.bootstrap_servers());
            built_in.unwrap_or_else(|| match topology.cluster(alias).map(|cluster| &cluster.kind) {
                Some(ClusterKind::Existing { bootstrap_servers }) => bootstrap_servers.join(","),
                _ => String::new(),
            })
        };
        // Its password is where the file says.
        let user = |alias: &str| {
            let security = topology
                .cluster(alias)
                .and_then(|cluster| cluster.security.as_ref());
            let plaintext = security.filter(|security| security.protocol == Protocol::SaslPlaintext);
            let sasl = plaintext.and_then(|security| security.sasl.as_ref());
            sasl.map_or_else(String::new, |sasl| {
                let source = sasl.password.source().unwrap_or("env:PASSWORD");
                let user = clean(&format!("{}={source}", sasl.username)).into_owned();
                format!(" --user {} --mechanism {}", quoted(&user), sasl.mechanism)
            })
        };
        let _ = writeln!(
            text,
            "\nTry, in another terminal:\n  echo hello | {program} produce --bootstrap-server {} --topic orders{}\n  {program} consume --bootstrap-server {} --topic {} --from-beginning{}\n  {program} status {}\n",
            servers(&flow.source),
            user(&flow.source),
            servers(&flow.target),
            mirror.unwrap_or_else(|_| "orders".to_string()),
            user(&flow.target),
            file.display(),
        );
    } else {
        let _ = writeln!(
            text,
            "\nSee, in another terminal:\n  {program} status {}\n",
            file.display()
        );
    }
    text
}
