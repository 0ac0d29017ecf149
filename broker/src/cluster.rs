//! Starting and stopping a cluster.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    broker::{Broker, Node},
    cleaning::keep_clean,
    configs::{self, PropertyProblem},
    control::Control,
    fault::Faults,
    fetch_session::FetchSessions,
    group::{Coordinator, GroupConfig, OpenError as CoordinatorError},
    log::{Disk, OpenError as LogsError, StorageError},
    net::Server,
    quota::{ClientUsage, Quotas, Windows},
    sasl::{self, Sasl, SaslConfig},
    state::{State, StateError, Topic, settings::Settings},
    storage::Storage,
    txn,
};

/// How a cluster is to be started.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// What the cluster is called in logs of a process that has several.
    pub name: Option<String>,
    /// The address that every node listens on, and that clients are told, unless it is unspecified (`0.0.0.0`): then
    /// each client is told the address that it connected to.
    pub host: IpAddr,
    /// The port of the first node; the others follow it. 0 picks free ones.
    pub port: u16,
    /// How many nodes there are, at least one.
    pub brokers: u16,
    /// Where the data is. `None` is a directory that is removed at shutdown.
    pub data: Option<PathBuf>,
    /// Kafka's broker properties, such as `num.partitions`. `group.initial.rebalance.delay.ms` is 0 unless it is set:
    /// the one default that differs from Kafka's.
    pub properties: BTreeMap<String, String>,
    /// Who may connect. `None` lets in everybody.
    pub sasl: Option<SaslConfig>,
}

/// A running cluster. Dropping it stops it without waiting; see [`Cluster::shutdown`].
pub struct Cluster {
    broker: Arc<Broker>,
    server: Arc<Server>,
    control: Control,
    addresses: Vec<SocketAddr>,
    drain: CancellationToken,
    housekeeping: JoinHandle<()>,
    cleaning: JoinHandle<()>,
    /// Kept for its end, at which it removes the directory.
    temporary: Option<TempDir>,
}

/// A partition that takes no records for the time being.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnlyPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// What has failed.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// Why a cluster did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A cluster without nodes.
    #[error("a cluster needs at least one broker")]
    NoBrokers,
    /// The ports of the nodes go beyond 65535.
    #[error("{brokers} brokers on consecutive ports from {port} on go beyond port 65535")]
    PortsExceeded {
        /// The port of the first node.
        port: u16,
        /// The number of nodes.
        brokers: u16,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address and port.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A property that the broker does not know.
    #[error("the built-in cluster has no broker config {key}")]
    UnknownProperty {
        /// The property's name.
        key: String,
    },
    /// A property whose value is not possible.
    #[error("{key}={value} is not possible: {reason}")]
    BadProperty {
        /// The property's name.
        key: String,
        /// Its value.
        value: String,
        /// What would be possible.
        reason: String,
    },
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The cluster's state cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The groups or the transactions cannot be read.
    #[error(transparent)]
    Coordinators(#[from] CoordinatorError),
    /// The data directory is in use, or its logs cannot be opened.
    #[error(transparent)]
    Logs(#[from] LogsError),
    /// The logs cannot be brought in line with the topics.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The task that opens the data died.
    #[error("opening the data was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Default for ClusterConfig {
    fn default() -> Self {
        ClusterConfig {
            name: None,
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            brokers: 1,
            data: None,
            properties: BTreeMap::new(),
            sasl: None,
        }
    }
}

impl Cluster {
    /// Starts a cluster on the current runtime. When this returns, it answers.
    pub async fn start(config: ClusterConfig) -> Result<Cluster, StartError> {
        check_properties(&config.properties)?;
        let settings = Settings::new(&config.properties);
        // Connections get half of them, so that idle ones cannot keep logs from being written.
        let file_limit = raise_file_limit();
        let listeners = listen(&config).await?;
        let addresses = listeners
            .iter()
            .map(|listener| {
                listener
                    .local_addr()
                    .map_err(|source| cannot_listen(config.host, config.port, source))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (directory, temporary) = data_directory(config.data)?;

        let drain = CancellationToken::new();
        let nodes: Vec<_> = addresses
            .iter()
            .zip(1..)
            .map(|(address, id)| node(id, address))
            .collect();
        let parts = Opening {
            name: config.name,
            directory,
            nodes,
            properties: config.properties,
            sasl: config.sasl,
            settings,
            open_files_max: file_limit / LOGS_SHARE,
            drain: drain.clone(),
        };
        let broker = Arc::new(tokio::task::spawn_blocking(move || parts.open()).await??);

        broker.forget_left_offsets().await;
        sasl::forget_hidden_passwords(&broker).await;
        txn::Coordinator::recover(&broker).await;
        txn::Coordinator::start_timers(&broker);
        let connections_max = file_limit / 2;
        let server = Arc::new(Server::new(connections_max, broker.settings(), drain.clone()));
        for (listener, node) in listeners.into_iter().zip(broker.nodes().to_vec()) {
            server.listen(listener, node.id, broker.clone()).await;
        }
        let housekeeping = tokio::spawn(keep_house(broker.clone()));
        let cleaning = tokio::spawn(keep_clean(broker.clone()));
        info!(
            cluster_id = broker.cluster_id(),
            bootstrap_servers = join(&addresses),
            "cluster started"
        );
        Ok(Cluster {
            control: Control::new(broker.clone(), server.clone()),
            broker,
            server,
            addresses,
            drain,
            housekeeping,
            cleaning,
            temporary,
        })
    }

    /// Host and port of every node, with commas between them, as clients' `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        join(&self.addresses)
    }

    /// The cluster's id: 22 characters, which stay as long as its data does.
    pub fn cluster_id(&self) -> &str {
        self.broker.cluster_id()
    }

    /// Where the nodes listen, node 1 first.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The disk under the cluster's data, where faults can be injected.
    pub fn disk(&self) -> &Disk {
        self.broker.storage().disk()
    }

    /// Partitions that take no records because their disk has failed or is full, with the reasons. They can be read, and are
    /// tried again once a second.
    pub fn read_only_partitions(&self) -> Vec<ReadOnlyPartition> {
        self.broker.storage().read_only()
    }

    pub(crate) fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// What clients with quotas have used of late, and how long they were kept waiting.
    pub fn quota_usage(&self) -> Vec<ClientUsage> {
        self.broker.quotas().usage()
    }

    /// What can be done to the cluster while it runs: stopping nodes, moving leaders.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops: no more connections are accepted, requests in progress are answered until the deadline and cut after it,
    /// and the logs are closed cleanly.
    pub async fn shutdown(mut self, deadline: Duration) {
        let deadline = Instant::now() + deadline;
        // Members that wait for others to join are among the requests in progress; the groups answer them.
        // Transactions that are ending tell the groups so.
        let transactions_then_groups = async {
            self.broker.transactions().shutdown().await;
            self.broker.groups().shutdown().await;
        };
        tokio::join!(self.server.shutdown(deadline), transactions_then_groups);
        self.housekeeping.abort();
        if let Err(error) = (&mut self.cleaning).await {
            warn!(%error, "the log cleaner was interrupted");
        }
        self.broker.storage().close().await;
        if let Some(temporary) = self.temporary_directory()
            && let Err(error) = temporary.close()
        {
            warn!(%error, "a temporary data directory is left behind");
        }
    }

    fn temporary_directory(mut self) -> Option<TempDir> {
        self.temporary.take()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("cluster_id", &self.cluster_id())
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.drain.cancel();
        self.housekeeping.abort();
    }
}

/// What is needed to open the data.
struct Opening {
    name: Option<String>,
    directory: PathBuf,
    nodes: Vec<Node>,
    properties: BTreeMap<String, String>,
    sasl: Option<SaslConfig>,
    settings: Settings,
    open_files_max: usize,
    drain: CancellationToken,
}

impl Opening {
    /// Blocks on the disk.
    fn open(self) -> Result<Broker, StartError> {
        let Opening {
            name,
            directory,
            nodes,
            properties,
            sasl,
            settings,
            open_files_max,
            drain,
        } = self;
        // Opening the logs locks the directory, so it comes first.
        let storage = Storage::open(&directory, &settings, open_files_max)?;
        let (state, producer_ids) = State::open(
            &directory.join("state"),
            nodes.len() as i32,
            storage.disk().clone(),
            &storage.found(),
        )?;
        let groups = Coordinator::open_on(
            &directory.join("groups"),
            group_config(&settings),
            state.images(),
            storage.disk().clone(),
            storage.clock().clone(),
        )?;
        let faults = Faults::new(storage.disk().clone(), storage.clock().clone());
        let transactions = txn::Coordinator::open(
            &directory.join("transactions"),
            transaction_config(&settings),
            storage.disk().clone(),
            storage.clock().clone(),
        )?;
        let quotas = quotas(&settings);
        let fetch_sessions = FetchSessions::new(settings.fetch_session_cache_slots);
        let broker = Broker {
            name,
            nodes,
            directory,
            properties,
            settings,
            state,
            producer_ids,
            storage,
            groups,
            transactions,
            quotas,
            fetch_sessions,
            drain,
            faults,
            sasl: sasl.as_ref().map(Sasl::new),
        };
        let image = broker.image();
        broker.quotas.set(image.quotas());
        broker.apply_shared_configs(&image);
        let values = |topic: &Topic, leader| broker.leader_values(&image, topic, leader);
        broker.storage.follow(&image, broker.state.deleted(), values)?;
        broker.state.forget_deleted()?;
        Ok(broker)
    }
}

fn quotas(settings: &Settings) -> Quotas {
    let windows = Windows {
        samples: settings.quota_window_num,
        length: settings.quota_window_size,
    };
    let controller_windows = Windows {
        samples: settings.controller_quota_window_num,
        length: settings.controller_quota_window_size,
    };
    Quotas::new(windows, controller_windows)
}

fn group_config(settings: &Settings) -> GroupConfig {
    GroupConfig {
        initial_rebalance_delay: settings.group_initial_rebalance_delay,
        min_session_timeout: settings.group_min_session_timeout,
        max_session_timeout: settings.group_max_session_timeout,
        max_size: settings.group_max_size,
        consumer: settings.group_consumer.clone(),
        offset_metadata_max_bytes: settings.offset_metadata_max_bytes,
        offsets_retention: settings.offsets_retention,
        offsets_retention_check_interval: settings.offsets_retention_check_interval,
        ..GroupConfig::default()
    }
}

fn transaction_config(settings: &Settings) -> txn::TransactionConfig {
    txn::TransactionConfig {
        max_timeout: settings.transaction_max_timeout,
        id_expiration: settings.transactional_id_expiration,
        timeout_check_interval: settings.transaction_timeout_check_interval,
        expiration_check_interval: settings.transaction_expiration_check_interval,
    }
}

fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), StartError> {
    for (key, value) in properties {
        configs::check_property(key, value).map_err(|problem| match problem {
            PropertyProblem::Unknown => StartError::UnknownProperty { key: key.clone() },
            PropertyProblem::Bad(reason) => StartError::BadProperty {
                key: key.clone(),
                value: value.clone(),
                reason,
            },
        })?;
    }
    Ok(())
}

/// One part in so many of the files that may be open is for logs that were written to lately. Connections get one in two;
/// the rest is for what is read.
const LOGS_SHARE: usize = 4;

/// Every client needs a socket, and logs keep files open; many systems start a process with room for a
/// thousand, and allow it more. Returns how many files may be open then.
fn raise_file_limit() -> usize {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        Err(error) => {
            warn!(%error, "the limit of open files cannot be raised");
            before.current
        }
    };
    current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

async fn listen(config: &ClusterConfig) -> Result<Vec<TcpListener>, StartError> {
    let ClusterConfig {
        host, port, brokers, ..
    } = *config;
    if brokers == 0 {
        return Err(StartError::NoBrokers);
    }
    if port > 0 && port.checked_add(brokers - 1).is_none() {
        return Err(StartError::PortsExceeded { port, brokers });
    }
    let mut listeners = Vec::with_capacity(brokers.into());
    for index in 0..brokers {
        let port = if port == 0 { 0 } else { port + index };
        let listener = TcpListener::bind((host, port))
            .await
            .map_err(|source| cannot_listen(host, port, source))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn cannot_listen(host: IpAddr, port: u16, source: io::Error) -> StartError {
    StartError::Listen {
        address: SocketAddr::new(host, port),
        source,
    }
}

fn data_directory(data: Option<PathBuf>) -> Result<(PathBuf, Option<TempDir>), StartError> {
    match data {
        Some(path) => match std::fs::create_dir_all(&path) {
            Ok(()) => Ok((path, None)),
            Err(source) => Err(StartError::Directory { path, source }),
        },
        None => {
            let temporary = tempfile::Builder::new().prefix("heliostat-").tempdir();
            let temporary = temporary.map_err(|source| StartError::Directory {
                path: std::env::temp_dir(),
                source,
            })?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

fn node(id: i32, address: &SocketAddr) -> Node {
    Node {
        id,
        address: address.ip(),
        port: address.port(),
    }
}

fn join(addresses: &[SocketAddr]) -> String {
    addresses
        .iter()
        .map(SocketAddr::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// How often the disk is looked after: a data directory that was removed is noticed within this time.
const WATCH_PERIOD: Duration = Duration::from_millis(200);

/// How often recovery points are written down, where they have moved.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(5);

/// How often partitions that a bad disk has made read-only are looked at again: soon enough for their producers, who try
/// for two minutes, and not all the time.
const MEND_PERIOD: Duration = Duration::from_secs(1);

/// What has to be done now and then: at least as often as is good for checkpoints and for what files were deleted.
async fn keep_house(broker: Arc<Broker>) {
    const PERIOD_MAX: Duration = Duration::from_secs(30);
    let period = broker.settings().retention_check_interval.min(PERIOD_MAX);
    let maintenance = every(period, || broker.storage().maintain());
    let watch = every(WATCH_PERIOD, || broker.storage().watch());
    let mend = every(MEND_PERIOD, || broker.storage().mend());
    let checkpoints = every(CHECKPOINT_PERIOD, || broker.storage().checkpoint());
    tokio::join!(maintenance, watch, mend, checkpoints, broker.follow_leaders());
}

async fn every<F: Future<Output = ()>>(period: Duration, work: impl Fn() -> F) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        work().await;
    }
}
