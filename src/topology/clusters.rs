//! The clusters of a file, and what may not be the same in two of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use super::draft::{Drafts, Spot};
use super::model::{BuiltIn, Cluster, ClusterKind};
use super::problem::ProblemKind;
use super::properties::{read_broker_properties, read_client_properties};
use super::reading::{Field, Keys, Table};
use super::sasl::{read_sasl, settle_security};
use super::secret::Environment;
use super::security::read_security;
use super::yaml::Value;

const CLUSTER_KEYS: Keys = Keys::These(super::keys::CLUSTER);
const BUILT_IN_KEYS: Keys = Keys::These(super::keys::BUILT_IN);

/// A built-in cluster shows up to nine brokers: more would teach nothing that nine do not.
const BROKERS_MAX: u16 = 9;

/// In a full mesh these are 9,900 flows, more than one daemon can run.
const CLUSTERS_MAX: usize = 100;

/// An alias stands in the name of every mirror topic, and of topics with 249 characters in all.
const ALIAS_CHARS_MAX: usize = 64;

/// A cluster as far as it could be read, and where the file names it.
pub(super) struct ClusterDraft {
    pub alias: String,
    pub spot: Spot,
    pub cluster: Option<Cluster>,
    address: Spot,
    data: Spot,
}

/// Reads `clusters`.
pub(super) fn read_clusters(
    drafts: &mut Drafts,
    root: &Table<'_>,
    environment: Environment<'_>,
) -> Vec<ClusterDraft> {
    let example = "clusters: { primary: { bootstrap_servers: \"kafka:9092\" } }";
    let Some(field) = drafts.required(root, "clusters", example) else {
        return Vec::new();
    };
    let key = root.key_spot("clusters").map(|spot| spot.at);
    let Some(table) = drafts.table(&field, key, Keys::Any) else {
        return Vec::new();
    };
    let mut clusters = Vec::new();
    for (alias, spot, field) in table.fields("{ bootstrap_servers: \"kafka:9092\" }") {
        check_alias(drafts, alias, &spot);
        clusters.push(read_cluster(drafts, alias, spot, &field, environment));
    }
    if clusters.len() > CLUSTERS_MAX {
        let message = format!(
            "`clusters` has {} clusters, and at most {CLUSTERS_MAX} are possible",
            clusters.len()
        );
        drafts
            .error(ProblemKind::BadValue, &table.spot, message)
            .help("split the topology into several files");
        return Vec::new();
    }
    if clusters.len() < 2 {
        let count = if clusters.is_empty() {
            "no cluster"
        } else {
            "one cluster"
        };
        let message = format!("`clusters` has {count}, and a flow needs two");
        drafts
            .error(ProblemKind::MissingKey, &table.spot, message)
            .help("add a cluster with an alias of its own");
    }
    clusters
}

/// Checks what no two clusters may share: ports, data directories, addresses.
pub(super) fn check_clusters(drafts: &mut Drafts, clusters: &[ClusterDraft], http: (SocketAddr, &Spot)) {
    for (index, second) in clusters.iter().enumerate() {
        for first in &clusters[..index] {
            check_pair(drafts, first, second);
        }
        let (listen, spot) = http;
        if let Some(Cluster {
            kind: ClusterKind::BuiltIn(built_in),
            ..
        }) = &second.cluster
            && same_host(built_in.host, listen.ip())
            && has_port(built_in, listen.port())
        {
            // Without `http` in the file the default is in the way, and the cluster is what the file can change.
            let spot = if spot.path == "http.listen" {
                spot
            } else {
                &second.address
            };
            let message = format!(
                "the HTTP server and the built-in cluster `{}` both use port {}",
                second.alias,
                listen.port()
            );
            drafts
                .error(ProblemKind::PortOverlap, spot, message)
                .help("write `http: { listen: 127.0.0.1:8081 }`");
        }
    }
}

fn check_pair(drafts: &mut Drafts, first: &ClusterDraft, second: &ClusterDraft) {
    let (Some(a), Some(b)) = (&first.cluster, &second.cluster) else {
        return;
    };
    let (one, other) = (&first.alias, &second.alias);
    match (&a.kind, &b.kind) {
        (ClusterKind::BuiltIn(a), ClusterKind::BuiltIn(b)) => {
            let common = ports(a).find(|port| has_port(b, *port));
            if let (true, Some(port)) = (same_host(a.host, b.host), common) {
                let free = u32::from(a.port) + u32::from(a.brokers);
                let message = format!("the built-in clusters `{one}` and `{other}` both use port {port}");
                let help = format!(
                    "each broker has a port, from `port` on: write `port: {free}` or higher in `{other}`"
                );
                drafts
                    .error(ProblemKind::PortOverlap, &second.address, message)
                    .help(help);
            }
            if let (Some(x), Some(y)) = (&a.data, &b.data)
                && (plain_path(x).starts_with(plain_path(y)) || plain_path(y).starts_with(plain_path(x)))
            {
                let message = format!("the built-in clusters `{one}` and `{other}` share a data directory");
                let help = format!("give each its own, such as `data: ./data/{other}`");
                drafts
                    .error(ProblemKind::DataOverlap, &second.data, message)
                    .help(help);
            }
        }
        (ClusterKind::Existing { bootstrap_servers: a }, ClusterKind::Existing { bootstrap_servers: b }) => {
            let a: Vec<_> = a.iter().map(|server| plain_server(server)).collect();
            if let Some(server) = b.iter().find(|server| a.contains(&plain_server(server))) {
                same_cluster(drafts, first, second, server);
            }
        }
        (ClusterKind::BuiltIn(built_in), ClusterKind::Existing { bootstrap_servers })
        | (ClusterKind::Existing { bootstrap_servers }, ClusterKind::BuiltIn(built_in)) => {
            let own = |server: &&String| {
                let (host, port) = plain_server(server);
                host.parse()
                    .is_ok_and(|host: IpAddr| listens_at(built_in.host, host))
                    && has_port(built_in, port)
            };
            if let Some(server) = bootstrap_servers.iter().find(own) {
                same_cluster(drafts, first, second, server);
            }
        }
    }
}

fn same_cluster(drafts: &mut Drafts, first: &ClusterDraft, second: &ClusterDraft, server: &str) {
    let message = format!(
        "`{}` and `{}` are one cluster: both have {server}",
        first.alias, second.alias
    );
    let help = format!(
        "a flow between them would copy a cluster into itself; give `{}` the address of the other cluster",
        second.alias
    );
    drafts
        .error(ProblemKind::SameCluster, &second.address, message)
        .help(help);
}

fn check_alias(drafts: &mut Drafts, alias: &str, spot: &Spot) {
    let bad = alias
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    let reason = match (alias, bad) {
        ("", _) => "it is empty".to_owned(),
        (_, Some(bad)) => format!("it has `{}`", bad.escape_debug()),
        ("." | "..", _) => "Kafka takes no such name".to_owned(),
        ("heliostat", _) => "heliostat's own topics begin with it".to_owned(),
        _ if alias.starts_with("__") => "topics that begin with `__` are Kafka's own".to_owned(),
        _ if alias.len() > ALIAS_CHARS_MAX => format!("it has {} characters", alias.len()),
        _ => return,
    };
    let shown: String = alias.chars().take(ALIAS_CHARS_MAX).collect();
    let message = format!(
        "the alias `{}` cannot stand in the name of a topic: {reason}",
        shown.escape_debug()
    );
    let help = format!("use letters, digits, `_` and `-`, at most {ALIAS_CHARS_MAX} of them: `dc-1`");
    drafts.error(ProblemKind::BadAlias, spot, message).help(help);
}

fn read_cluster(
    drafts: &mut Drafts,
    alias: &str,
    spot: Spot,
    field: &Field<'_>,
    environment: Environment<'_>,
) -> ClusterDraft {
    let mut draft = ClusterDraft {
        alias: alias.to_owned(),
        address: spot.clone(),
        data: spot.clone(),
        spot,
        cluster: None,
    };
    let Some(table) = drafts.table(field, Some(draft.spot.at), CLUSTER_KEYS) else {
        return draft;
    };
    let properties = drafts.optional(
        &table,
        "properties",
        "properties: { socket.keepalive.enable: true }",
    );
    let properties = properties.map_or_else(BTreeMap::new, |field| read_client_properties(drafts, &field));
    let security = drafts.optional(&table, "security", "security: { protocol: SSL }");
    let security = security.and_then(|field| {
        let key = table.key_spot("security").map_or(field.spot.at, |spot| spot.at);
        read_security(drafts, &field, key, environment)
    });
    let servers = drafts.optional(
        &table,
        "bootstrap_servers",
        "bootstrap_servers: \"kafka-1:9092,kafka-2:9092\"",
    );
    let built_in = drafts.optional(&table, "built_in", "built_in: { port: 19092 }");
    let kind = match (table.has("built_in"), table.has("bootstrap_servers")) {
        (true, false) => {
            built_in.and_then(|field| read_built_in(drafts, &mut draft, &table, &field, environment))
        }
        (false, true) => servers.and_then(|field| {
            draft.address = field.spot.clone();
            read_servers(drafts, &field)
        }),
        // The key was meant and misspelt, which was said already.
        (false, false) if table.meant("built_in") || table.meant("bootstrap_servers") => None,
        (both, _) => {
            let (state, help) = match both {
                true => ("both `built_in` and `bootstrap_servers`", "keep one of them"),
                false => (
                    "neither `built_in` nor `bootstrap_servers`",
                    "write `built_in: { port: 19092 }` for a cluster that is started with the daemon,\n\
                     or `bootstrap_servers: \"kafka-1:9092,kafka-2:9092\"` for one that exists",
                ),
            };
            let message = format!("the cluster `{alias}` has {state}");
            drafts
                .error(ProblemKind::MissingKey, &draft.spot, message)
                .help(help);
            None
        }
    };
    let security = settle_security(drafts, &table, kind.as_ref(), security);
    draft.cluster = kind.map(|kind| Cluster {
        alias: alias.to_owned(),
        kind,
        security,
        properties,
    });
    draft
}

fn read_built_in(
    drafts: &mut Drafts,
    draft: &mut ClusterDraft,
    cluster: &Table<'_>,
    field: &Field<'_>,
    environment: Environment<'_>,
) -> Option<ClusterKind> {
    let key = cluster.key_spot("built_in").map(|spot| spot.at);
    let table = drafts.table(field, key, BUILT_IN_KEYS)?;
    let port = drafts.required(&table, "port", "port: 19092");
    let brokers = drafts.optional(&table, "brokers", "brokers: 3");
    let data = drafts.optional(&table, "data", "data: ./data/primary");
    let host = drafts.optional(&table, "host", "host: 127.0.0.1");
    let properties = drafts.optional(&table, "properties", "properties: { log.retention.hours: 24 }");
    let sasl = drafts.optional(&table, "sasl", "sasl: { users: { mirror: { env: NAME } } }");
    if let Some(port) = &port {
        draft.address = port.spot.clone();
    }
    if let Some(data) = &data {
        draft.data = data.spot.clone();
    }
    let brokers = brokers.map_or(Some(1), |field| drafts.int(&field, 1..=i128::from(BROKERS_MAX)));
    let last = u16::MAX - brokers.map_or(0, |brokers: u16| brokers - 1);
    let port = port.and_then(|field| drafts.int(&field, 1..=i128::from(last)));
    let data = data.map(|field| drafts.text(&field).map(PathBuf::from));
    let host = host.map_or(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), |field| {
        read_host(drafts, &field)
    });
    let sasl = sasl.map(|field| read_sasl(drafts, &table, &field, environment));
    let properties = properties.map_or_else(BTreeMap::new, |field| read_broker_properties(drafts, &field));
    Some(ClusterKind::BuiltIn(BuiltIn {
        host: host?,
        port: port?,
        brokers: brokers?,
        data: match data {
            Some(data) => Some(data?),
            None => None,
        },
        sasl: match sasl {
            Some(sasl) => Some(sasl?),
            None => None,
        },
        properties,
    }))
}

fn read_host(drafts: &mut Drafts, field: &Field<'_>) -> Option<IpAddr> {
    let text = drafts.text(field)?;
    if let Ok(host) = text.parse() {
        return Some(host);
    }
    let message = format!(
        "`{}` must be an IP address, and `{text}` is none",
        field.spot.path
    );
    let help = "write `host: 127.0.0.1` for this machine only, or `host: 0.0.0.0` for all its addresses";
    drafts
        .error(ProblemKind::BadValue, &field.spot, message)
        .help(help);
    None
}

fn read_servers(drafts: &mut Drafts, field: &Field<'_>) -> Option<ClusterKind> {
    let mut servers = Vec::new();
    let mut read = |drafts: &mut Drafts, field: &Field<'_>, text: &str| {
        for server in text.split(',').map(str::trim) {
            match check_server(server) {
                Ok(()) => servers.push(server.to_owned()),
                Err(reason) => {
                    let message = format!("`{}`: {reason}", field.spot.path);
                    let help = "write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`";
                    drafts
                        .error(ProblemKind::BadValue, &field.spot, message)
                        .help(help);
                }
            }
        }
    };
    match &field.node.value {
        Value::List(items) if items.is_empty() => {
            let message = format!("`{}` is an empty list", field.spot.path);
            drafts
                .error(ProblemKind::EmptyValue, &field.spot, message)
                .help(format!("write `{}`", field.example));
        }
        Value::List(_) => {
            for item in drafts.list(field)? {
                let text = drafts.text(&item)?;
                read(drafts, &item, text);
            }
        }
        _ => {
            let text = drafts.text(field)?;
            read(drafts, field, text);
        }
    }
    (!servers.is_empty()).then_some(ClusterKind::Existing {
        bootstrap_servers: servers,
    })
}

fn check_server(server: &str) -> Result<(), String> {
    if server.is_empty() {
        return Err("there is nothing before or after a comma".to_owned());
    }
    if server.contains("://") {
        return Err(format!(
            "`{server}` has a protocol in front, which belongs in `security: {{ protocol: … }}`"
        ));
    }
    let (host, port) = server
        .rsplit_once(':')
        .ok_or_else(|| format!("`{server}` has no port"))?;
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(format!(
            "`{server}` has no port from 1 to 65535 behind its last colon"
        ));
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        }
    };
    match is_host {
        true => Ok(()),
        false => Err(format!(
            "`{host}` is no host name or address; an IPv6 address stands in brackets"
        )),
    }
}

/// Host and port such that two ways to write one address are equal.
fn plain_server(server: &str) -> (String, u16) {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "0"));
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let host = if host == "localhost" {
        "127.0.0.1".to_owned()
    } else {
        host
    };
    (host, port.parse().unwrap_or(0))
}

fn ports(built_in: &BuiltIn) -> impl Iterator<Item = u16> {
    (built_in.port..=u16::MAX).take(usize::from(built_in.brokers))
}

fn has_port(built_in: &BuiltIn, port: u16) -> bool {
    ports(built_in).any(|own| own == port)
}

fn same_host(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_unspecified() || b.is_unspecified()
}

/// Whether a listener on this machine can be reached at an address. Other addresses of this machine are not known here.
fn listens_at(listener: IpAddr, address: IpAddr) -> bool {
    listener == address || (listener.is_unspecified() && address.is_loopback())
}

/// A path without `.` and `..`, as far as that can be told without looking at the disk.
fn plain_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
