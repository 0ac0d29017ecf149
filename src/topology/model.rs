//! What a topology file means: every setting there, nothing left to look up.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::origin::Origin;
use super::problem::Problem;
use super::sasl::BuiltInSasl;
use super::security::Security;
use super::units::{format_duration, format_size};
use crate::policy::{Naming, TopicFilter};

/// A checked file.
#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    /// Where it was read from.
    pub file: PathBuf,
    /// Its name.
    pub name: String,
    /// What its flows were made from.
    pub layout: Layout,
    /// The clusters, in the order of the file.
    pub clusters: Vec<Cluster>,
    /// The flows, in the order of the file or of the layout.
    pub flows: Vec<Flow>,
    /// Where the daemon's HTTP server listens.
    pub http: Http,
    /// What is odd, and no error.
    #[serde(skip)]
    pub warnings: Vec<Problem>,
    /// The text, to give problems that are found later a place in it.
    #[serde(skip)]
    pub(super) origin: Origin,
}

/// How the flows of a topology come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// One flow, `primary->standby`.
    ActiveStandby,
    /// Both directions between every pair of clusters.
    ActiveActive,
    /// Between a hub and each spoke, in one direction or both.
    HubAndSpoke,
    /// The flows that the file lists.
    Custom,
}

/// One Kafka cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Cluster {
    /// Its name in this file, and in the names of mirror topics.
    pub alias: String,
    /// Whether this process runs it.
    pub kind: ClusterKind,
    /// How to connect; absent for plain connections.
    pub security: Option<Security>,
    /// Properties for librdkafka, as they are.
    pub properties: BTreeMap<String, String>,
}

/// Whose cluster it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterKind {
    /// Started with the daemon.
    BuiltIn(BuiltIn),
    /// Somebody else runs it.
    Existing {
        /// `host:port` of some of its brokers.
        bootstrap_servers: Vec<String>,
    },
}

/// A cluster that is started with the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuiltIn {
    /// The address that all its brokers listen on.
    pub host: IpAddr,
    /// The port of the first broker; the others follow.
    pub port: u16,
    /// How many brokers it shows.
    pub brokers: u16,
    /// Where it keeps its data, relative to the working directory. Without it nothing outlives the process.
    pub data: Option<PathBuf>,
    /// Who may connect; absent where everybody may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sasl: Option<BuiltInSasl>,
    /// Broker configs, under Kafka's names.
    pub properties: BTreeMap<String, String>,
}

/// One direction between two clusters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// `source->target`.
    pub name: String,
    /// The source cluster's alias.
    pub source: String,
    /// The target cluster's alias.
    pub target: String,
    /// Which topics it copies.
    pub topics: TopicFilter,
    /// What their mirrors are called.
    pub naming: Naming,
    /// What it promises about copies.
    pub delivery: Delivery,
    /// What copies.
    pub engine: Engine,
    /// How records are compressed on the target.
    pub compression: Compression,
    /// What happens where source offsets were gone before they could be copied.
    pub on_gap: OnGap,
    /// What happens where a source topic was deleted and made again.
    pub on_recreated: OnRecreated,
    /// For the mirror topics; absent for the target broker's default.
    pub replication_factor: Option<i16>,
    /// How often it looks for new topics and partitions.
    #[serde(rename = "discovery_interval_ms", serialize_with = "as_millis")]
    pub discovery_interval: Duration,
    /// After how long without a sign of life a daemon's work goes to the others.
    #[serde(rename = "session_timeout_ms", serialize_with = "as_millis")]
    pub session_timeout: Duration,
    /// What it may use.
    pub limits: Limits,
}

/// What a flow promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Every record is copied once, whatever is killed.
    ExactlyOnce,
    /// Every record is copied; after a crash some may be there twice.
    AtLeastOnce,
}

/// What copies records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Whole batches as they are, without decompressing them, by Heliostat's own client.
    Batches,
    /// Record by record, through librdkafka's consumer and producer.
    Librdkafka,
}

/// How records are compressed where they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// As their producer has compressed them.
    Producer,
    /// Not at all.
    None,
    /// By gzip.
    Gzip,
    /// By Snappy.
    Snappy,
    /// By LZ4.
    Lz4,
    /// By Zstandard.
    Zstd,
}

/// What happens at a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnGap {
    /// It is written down, and copying goes on behind it.
    Record,
    /// The partition stops.
    Halt,
}

/// What happens when a source topic was deleted and made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRecreated {
    /// The partition stops.
    Halt,
    /// The new topic is copied into the same mirror from its beginning.
    Follow,
}

/// What one flow may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes that were read from the source and are not yet acknowledged by the target.
    pub in_flight_bytes: u64,
    /// Bytes a second, as the engine counts them; absent for no limit.
    pub bytes_per_second: Option<u64>,
}

/// The daemon's HTTP server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
}

impl Topology {
    /// The cluster with this alias.
    pub fn cluster(&self, alias: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.alias == alias)
    }

    /// The flow with this name, `source->target`.
    pub fn flow(&self, name: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.name == name)
    }
}

impl Cluster {
    /// Where clients find the cluster: `host:port`, separated by commas.
    pub fn bootstrap_servers(&self) -> String {
        match &self.kind {
            ClusterKind::BuiltIn(built_in) => {
                let addresses: Vec<String> =
                    built_in.addresses().map(|address| address.to_string()).collect();
                addresses.join(",")
            }
            ClusterKind::Existing { bootstrap_servers } => bootstrap_servers.join(","),
        }
    }

    /// Whether this process runs it.
    pub fn is_built_in(&self) -> bool {
        matches!(self.kind, ClusterKind::BuiltIn(_))
    }
}

impl BuiltIn {
    /// Where its brokers can be reached from this machine, one address each.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let host = match self.host {
            IpAddr::V4(host) if host.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(host) if host.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            host => host,
        };
        (self.port..=u16::MAX)
            .take(usize::from(self.brokers))
            .map(move |port| SocketAddr::new(host, port))
    }
}

impl Flow {
    /// What a setting is and what it would be if the file said nothing, for those that differ.
    pub fn settings_not_default(&self) -> Vec<(&'static str, String)> {
        let default = super::settings::default_flow(&self.source, &self.target);
        let pairs = self.settings().into_iter().zip(default.settings());
        pairs
            .filter(|(mine, default)| mine.1 != default.1)
            .map(|(mine, _)| mine)
            .collect()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let list = |patterns: &[crate::policy::Pattern]| {
            let quoted: Vec<String> = patterns
                .iter()
                .map(|pattern| format!("{:?}", pattern.as_str()))
                .collect();
            format!("[{}]", quoted.join(", "))
        };
        vec![
            ("topics.include", list(&self.topics.include)),
            ("topics.exclude", list(&self.topics.exclude)),
            ("naming", self.naming.to_string()),
            ("delivery", self.delivery.to_string()),
            ("engine", self.engine.to_string()),
            ("compression", self.compression.to_string()),
            ("on_gap", self.on_gap.to_string()),
            ("on_recreated", self.on_recreated.to_string()),
            (
                "replication_factor",
                self.replication_factor
                    .map_or("the target's".to_owned(), |n| n.to_string()),
            ),
            ("discovery_interval", format_duration(self.discovery_interval)),
            ("session_timeout", format_duration(self.session_timeout)),
            ("limits.in_flight_bytes", format_size(self.limits.in_flight_bytes)),
            (
                "limits.bytes_per_second",
                self.limits
                    .bytes_per_second
                    .map_or("unlimited".to_owned(), format_size),
            ),
        ]
    }
}

/// The name of a flow.
pub(super) fn flow_name(source: &str, target: &str) -> String {
    format!("{source}->{target}")
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// Gives an enum the words that the file has for it.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ }) => {
        impl $type {
            pub(super) const WORDS: &'static [(&'static str, $type)] = &[$(($word, $type::$variant)),+];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),+ })
            }
        }
    };
}

words!(Layout {
    ActiveStandby = "active-standby",
    ActiveActive = "active-active",
    HubAndSpoke = "hub-and-spoke",
    Custom = "custom"
});
words!(Delivery {
    ExactlyOnce = "exactly-once",
    AtLeastOnce = "at-least-once"
});
words!(Engine { Batches = "batches", Librdkafka = "librdkafka" });
words!(Compression {
    Producer = "producer",
    None = "none",
    Gzip = "gzip",
    Snappy = "snappy",
    Lz4 = "lz4",
    Zstd = "zstd"
});
words!(OnGap { Record = "record", Halt = "halt" });
words!(OnRecreated { Halt = "halt", Follow = "follow" });
