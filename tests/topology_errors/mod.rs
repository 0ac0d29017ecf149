//! What a wrong topology file is told: every kind of problem, as text.

use std::path::Path;

use expect_test::Expect;
use heliostat::topology::{Problems, Topology};

mod clusters;
mod file;
mod flows;
mod keys;
mod leaks;
mod policies;
mod right;
mod security;
mod values;

/// Two clusters and roles, to which a test adds what it is about.
const CLUSTERS: &str = "name: t\nlayout: active-standby\nclusters:\n  primary: { bootstrap_servers: a:9092 }\n  \
                        standby: { bootstrap_servers: b:9092 }\nprimary: primary\nstandby: standby\n";

fn parse(text: &str) -> Result<Topology, Problems> {
    Topology::parse_with(Path::new("t.yaml"), text, &|name| match name {
        "SET" => Some("hunter2".to_owned()),
        "BLANK" => Some(" hunter2".to_owned()),
        _ => None,
    })
}

/// Checks a whole file.
fn check(text: &str, expected: Expect) {
    let problems = match parse(text) {
        Ok(topology) => Problems {
            list: topology.warnings,
        },
        Err(problems) => problems,
    };
    expected.assert_eq(&format!("{problems}\n"));
}

/// Checks what is added to a right file.
fn check_with(added: &str, expected: Expect) {
    check(&format!("{CLUSTERS}{added}"), expected);
}

/// Checks two clusters, each in one line, in a right file.
fn check_clusters(first: &str, second: &str, expected: Expect) {
    check(&two(first, second), expected);
}

fn two(first: &str, second: &str) -> String {
    format!("name: t\nlayout: active-active\nclusters:\n  one: {first}\n  two: {second}\n")
}

/// Checks a file with the layout custom, three clusters and some flows.
fn check_flows(flows: &str, expected: Expect) {
    check(&format!("{}{flows}", three("custom")), expected);
}

fn three(layout: &str) -> String {
    format!(
        "name: t\nlayout: {layout}\nclusters:\n  a: {{ bootstrap_servers: a:9092 }}\n  b: {{ bootstrap_servers: b:9092 }}\n  \
         c: {{ bootstrap_servers: c:9092 }}\n"
    )
}
