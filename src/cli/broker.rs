//! `heliostat broker`: one built-in cluster on its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use heliostat_broker::log::OpenError as LogsError;
use heliostat_broker::{Cluster, ClusterConfig, StartError};

use tokio_util::sync::CancellationToken;

use super::args::BrokerArgs;
use super::run::listen;
use super::signal::Signals;
use super::text::clean;
use super::{Failure, built_in, control, exit, print};
use crate::memory;
use crate::observe::http;
use crate::topology::nearest_broker_config;

/// The cluster's name on its HTTP server.
const NAME: &str = "broker";

/// How long requests that are being answered, and logs that are being closed, may take at the end.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// After the deadline connections are cut, and closing the logs still takes a moment.
const END_MARGIN: Duration = Duration::from_secs(5);

/// Runs a cluster until SIGTERM or Ctrl-C.
///
/// # Errors
/// If it does not start: exit code 2 for a wrong config, 3 if a port is taken.
pub async fn run(args: BrokerArgs) -> anyhow::Result<u8> {
    let mut properties = BTreeMap::new();
    for (key, value) in &args.configs {
        if properties.insert(key.clone(), value.clone()).is_some() {
            return Err(usage(format!("--config {key} is there twice: keep one of them")));
        }
    }
    // From here on a signal is not lost, even while the cluster starts.
    let mut signals = Signals::new()?;
    let config = ClusterConfig {
        name: None,
        host: args.host,
        port: args.port,
        brokers: args.brokers,
        data: args.data.clone(),
        properties,
        sasl: args.sasl.config()?,
    };
    let http_stop = CancellationToken::new();
    let http = match args.http {
        Some(address) => Some(listen(address, "--http").await?),
        None => None,
    };
    let cluster = tokio::select! {
        cluster = Cluster::start(config) => cluster.map_err(|error| explain(error, &OPTIONS))?,
        stop = signals.next() => return Ok(signals.end(stop, Duration::ZERO, async {}).await),
    };
    let http = match http {
        Some(listener) => {
            let address = listener.local_addr()?;
            let controls = vec![(NAME.to_owned(), cluster.control().clone())];
            let sources = http::Sources {
                status: None,
                built_in: Some(built_in::facts(controls.clone())),
                control: Some(control::serve(controls, args.open_control)),
                events: None,
                pauses: None,
            };
            drop(http::serve(listener, sources, http_stop.clone()));
            Some(address)
        }
        None => None,
    };
    tokio::spawn(memory::give_back_now_and_then());
    print(&greeting(&cluster, &args, http))?;
    let stop = signals.next().await;
    tracing::info!("stopping");
    http_stop.cancel();
    let code = signals
        .end(stop, END_DEADLINE + END_MARGIN, cluster.shutdown(END_DEADLINE))
        .await;
    tracing::info!("stopped");
    Ok(code)
}

fn greeting(cluster: &Cluster, args: &BrokerArgs, http: Option<SocketAddr>) -> String {
    let servers = cluster.bootstrap_servers();
    let first = servers.split(',').next().unwrap_or_default();
    let program = std::env::args().next().unwrap_or_else(|| "heliostat".to_owned());
    let mut text = String::new();
    let brokers = match cluster.addresses().len() {
        1 => "1 broker".to_owned(),
        count => format!("{count} brokers"),
    };
    let _ = writeln!(text, "A Kafka cluster with {brokers} listens on {servers}");
    let _ = match &args.data {
        Some(path) => writeln!(text, "Its data is in {}", clean(&path.display().to_string())),
        None => writeln!(text, "Its data goes with it: --data DIR keeps it"),
    };
    if let Some(address) = http {
        let _ = writeln!(text, "Its brokers can be stopped and broken at http://{address}");
    }
    let user = match args.sasl.users.first() {
        Some(user) => format!(" --user {}", clean(&user.shown())),
        None => String::new(),
    };
    let _ = write!(
        text,
        "
Try, in another terminal:
  echo hello | {program} produce --bootstrap-server {first} --topic hello{user}
  {program} consume --bootstrap-server {first} --topic hello --from-beginning{user}
"
    );
    if user.is_empty() {
        let _ = writeln!(text, "  kafka-topics.sh --bootstrap-server {first} --describe");
    }
    let _ = writeln!(text, "\nCtrl-C ends it.");
    text
}

/// What the user can change, in the words of the place where it is written.
pub(super) struct Settings {
    /// Another port.
    pub port: &'static str,
    /// Another address to listen on.
    pub host: &'static str,
    /// Another data directory.
    pub data: &'static str,
}

const OPTIONS: Settings = Settings {
    port: "--port",
    host: "--host",
    data: "--data",
};

/// Why a cluster did not start, what to change, and the exit code for it.
pub(super) fn explain(error: StartError, settings: &Settings) -> anyhow::Error {
    let hint = match &error {
        StartError::UnknownProperty { key } => {
            let hint = match nearest_broker_config(key) {
                Some(meant) => Some(format!(": did you mean {meant}?")),
                None if key.starts_with("sasl.") => {
                    Some("; who may connect, and how, is said with --user and --mechanism".to_owned())
                }
                None => None,
            };
            return usage(format!("{error}{}", hint.unwrap_or_default()));
        }
        StartError::BadProperty { .. } | StartError::NoBrokers | StartError::PortsExceeded { .. } => {
            return usage(error.to_string());
        }
        StartError::Listen { source, .. } => match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!(
                    "; something listens there already: choose another with {}",
                    settings.port
                )
            }
            std::io::ErrorKind::AddrNotAvailable => format!(
                "; this machine does not have that address: choose another with {}",
                settings.host
            ),
            _ => String::new(),
        },
        StartError::Directory { .. } => format!("; choose another with {}", settings.data),
        StartError::Logs(LogsError::Locked(_) | LogsError::OtherCluster { .. }) => String::new(),
        _ => return error.into(),
    };
    Failure {
        code: exit::PRECONDITION,
        message: format!("{error}{hint}"),
    }
    .into()
}

fn usage(message: String) -> anyhow::Error {
    Failure {
        code: exit::USAGE,
        message,
    }
    .into()
}
