//! The keys that each map of a topology file takes: the one list, which the parser goes by and the guide is held against.

/// The top level.
pub(super) const ROOT: &[&str] = &[
    "name",
    "layout",
    "clusters",
    "primary",
    "standby",
    "hub",
    "spokes",
    "direction",
    "defaults",
    "flows",
    "http",
];

/// One of `clusters`.
pub(super) const CLUSTER: &[&str] = &["built_in", "bootstrap_servers", "security", "properties"];

/// `built_in` of a cluster.
pub(super) const BUILT_IN: &[&str] = &["port", "brokers", "data", "host", "sasl", "properties"];

/// `sasl` of a built-in cluster.
pub(super) const BUILT_IN_SASL: &[&str] = &["mechanisms", "users"];

/// `security` of a cluster.
pub(super) const SECURITY: &[&str] = &[
    "protocol",
    "mechanism",
    "username",
    "password",
    "ca",
    "certificate",
    "key",
    "key_password",
    "verify_hostname",
];

/// A password.
pub(super) const SECRET: &[&str] = &["env", "file"];

/// `defaults`, and, after `name`, one of `flows`.
pub(super) const FLOW: &[&str] = &[
    "topics",
    "naming",
    "delivery",
    "engine",
    "compression",
    "on_gap",
    "on_recreated",
    "replication_factor",
    "discovery_interval",
    "session_timeout",
    "limits",
];

/// One of `flows`.
pub(super) const FLOW_ENTRY: &[&str] = &[
    "name",
    "topics",
    "naming",
    "delivery",
    "engine",
    "compression",
    "on_gap",
    "on_recreated",
    "replication_factor",
    "discovery_interval",
    "session_timeout",
    "limits",
];

/// `topics` of a flow.
pub(super) const TOPICS: &[&str] = &["include", "exclude"];

/// `naming` of a flow.
pub(super) const NAMING: &[&str] = &["policy", "separator", "template"];

/// `limits` of a flow.
pub(super) const LIMITS: &[&str] = &["in_flight_bytes", "bytes_per_second"];

/// `http`.
pub(super) const HTTP: &[&str] = &["listen"];

/// Every key of a file, under the map that it stands in. `ALIAS` stands for the name of a cluster.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", ROOT),
    ("clusters.ALIAS", CLUSTER),
    ("clusters.ALIAS.built_in", BUILT_IN),
    ("clusters.ALIAS.built_in.sasl", BUILT_IN_SASL),
    ("clusters.ALIAS.security", SECURITY),
    ("clusters.ALIAS.security.password", SECRET),
    ("clusters.ALIAS.security.key_password", SECRET),
    ("defaults", FLOW),
    ("defaults.topics", TOPICS),
    ("defaults.naming", NAMING),
    ("defaults.limits", LIMITS),
    ("flows[]", FLOW_ENTRY),
    ("http", HTTP),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_takes_what_defaults_take() {
        assert_eq!(FLOW_ENTRY.split_first(), Some((&"name", FLOW)));
    }
}
