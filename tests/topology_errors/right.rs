//! What is right, and what no text may do.

use std::path::Path;

use expect_test::expect;
use heliostat::topology::{Severity, Topology};
use proptest::prelude::*;

use super::{parse, three};

#[test]
fn the_topologies_of_the_project_are_right() {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies")).unwrap() {
        let path = entry.unwrap().path();
        let topology = Topology::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(topology.warnings.is_empty(), "{:?}", topology.warnings);
        assert_eq!(
            Some(topology.name.as_str()),
            path.file_stem().and_then(|stem| stem.to_str())
        );
        found.push(format!("{}: {} flows", topology.name, topology.flows.len()));
    }
    found.sort();
    assert_eq!(
        found,
        [
            "active-active: 2 flows",
            "active-standby: 1 flows",
            "existing-clusters: 1 flows",
            "hub-and-spoke: 6 flows"
        ]
    );
}

#[test]
fn what_a_flow_says_wins_over_defaults_setting_by_setting() {
    let text = format!(
        "{}defaults:\n  topics: {{ include: [x], exclude: [y] }}\n  limits: {{ in_flight_bytes: 2MB, bytes_per_second: 1MB }}\n\
         flows: [{{ name: a->b, topics: {{ include: [z] }}, limits: {{ bytes_per_second: 3MB }} }}, {{ name: b->c }}]\n",
        three("custom")
    );
    let topology = parse(&text).unwrap();
    expect![[r#"
        [
            [
                (
                    "topics.include",
                    "[\"z\"]",
                ),
                (
                    "topics.exclude",
                    "[\"y\"]",
                ),
                (
                    "limits.in_flight_bytes",
                    "2MB",
                ),
                (
                    "limits.bytes_per_second",
                    "3MB",
                ),
            ],
            [
                (
                    "topics.include",
                    "[\"x\"]",
                ),
                (
                    "topics.exclude",
                    "[\"y\"]",
                ),
                (
                    "limits.in_flight_bytes",
                    "2MB",
                ),
                (
                    "limits.bytes_per_second",
                    "1MB",
                ),
            ],
        ]
    "#]]
    .assert_debug_eq(
        &topology
            .flows
            .iter()
            .map(|flow| flow.settings_not_default())
            .collect::<Vec<_>>(),
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Any text at all gives a topology or problems, and so does a right file with something changed in it.
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), which in 0..4usize, at in any::<prop::sample::Index>(), change in "[ \n:{}\\[\\]*&a-c0-9\"'-]{0,3}") {
        let _ = parse(&text).map_err(|problems| problems.to_string());
        let file = ["active-active", "active-standby", "existing-clusters", "hub-and-spoke"][which];
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies").join(format!("{file}.yaml"));
        let right = std::fs::read_to_string(path).unwrap();
        let at = at.index(right.len());
        if let (Some(head), Some(tail)) = (right.get(..at), right.get(at + 1..)) {
            let result = parse(&format!("{head}{change}{tail}"));
            if let Err(problems) = result {
                prop_assert!(problems.errors() > 0);
                prop_assert!(problems.list.iter().all(|problem| problem.help.is_some() && !problem.message.is_empty()));
                prop_assert!(problems.list.iter().any(|problem| problem.severity == Severity::Error));
            }
        }
    }
}
