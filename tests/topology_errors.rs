//! What a wrong topology file is told: every kind of problem, as text.

use std::path::Path;

use expect_test::{Expect, expect};
use heliostat::topology::{ProblemKind, Problems, Severity, Topology, same_cluster_problem};
use proptest::prelude::*;

/// Two clusters and roles, to which a test adds what it is about.
const CLUSTERS: &str = "name: t\nlayout: active-standby\nclusters:\n  primary: { bootstrap_servers: a:9092 }\n  \
                        standby: { bootstrap_servers: b:9092 }\nprimary: primary\nstandby: standby\n";

fn parse(text: &str) -> Result<Topology, Problems> {
    Topology::parse_with(Path::new("t.yaml"), text, &|name| (name == "SET").then(|| "hunter2".to_owned()))
}

/// Checks a whole file.
fn check(text: &str, expected: Expect) {
    let problems = match parse(text) {
        Ok(topology) => Problems { list: topology.warnings },
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

// The file as a whole.

#[test]
fn an_empty_file() {
    check("# nothing yet\n", expect![[r#"
        error: the file is empty
        --> t.yaml
         = help: a topology has at least `name`, `layout` and `clusters`: see topologies/active-standby.yaml

        1 error
    "#]]);
}

#[test]
fn not_yaml() {
    check("name: t\nclusters: { a: [1, 2 }\n", expect![[r#"
        error: this is not YAML: did not find expected ',' or ']'
         --> t.yaml:2:22
          |
        2 | clusters: { a: [1, 2 }
          |                      ^
          = help: look at brackets, quotes and the indentation around this place

        1 error
    "#]]);
    check("name: t\n\tlayout: custom\n", expect![[r#"
        error: this is not YAML: found a tab character that violates indentation
         --> t.yaml:2:1
          |
        2 |  layout: custom
          | ^^^^^^^
          = help: YAML does not allow tabs in front of a line: use spaces

        1 error
    "#]]);
    check("name: a: b\n", expect![[r#"
        error: this is not YAML: mapping values are not allowed in this context
         --> t.yaml:1:8
          |
        1 | name: a: b
          |        ^
          = help: put a value that has `: ` in it into quotes, and give the keys of one map the same indentation

        1 error
    "#]]);
    check("name: t\ndefaults:\n  topics: { include: [*] }\n", expect![[r#"
        error: this is not YAML: did not find expected alphabetic or numeric character
         --> t.yaml:3:24
          |
        3 |   topics: { include: [*] }
          |                        ^
          = help: look at brackets, quotes and the indentation around this place

        1 error
    "#]]);
    check("name: t\ndefaults:\n  topics: { include: [*all] }\n", expect![[r#"
        error: this is not YAML: unknown anchor
         --> t.yaml:3:23
          |
        3 |   topics: { include: [*all] }
          |                       ^^^^
          = help: a `*` in front of a value refers to a `&name`: put patterns into quotes, such as ".*"

        1 error
    "#]]);
    check("security: { password: hunter2, x: ] }\n", expect![[r#"
        error: this is not YAML: did not find expected node content
         --> t.yaml:1:35
          |
        1 | security: { password: ***
          |                       ^^^
          = help: look at brackets, quotes and the indentation around this place

        1 error
    "#]]);
}

#[test]
fn a_second_document() {
    check(&format!("{CLUSTERS}---\nname: other\n"), expect![[r#"
        error: a second document begins here, and a topology is one
         --> t.yaml:9:1
          |
        9 | name: other
          | ^^^^
          = help: take out the line `---`, or put the rest into a file of its own

        1 error
    "#]]);
}

#[test]
fn not_a_map() {
    check("- name: t\n", expect![[r#"
        error: a topology is a map with keys such as `name` and `clusters`, not a list
         --> t.yaml:1:1
          |
        1 | - name: t
          | ^
          = help: see topologies/active-standby.yaml

        1 error
    "#]]);
    check("heliostat\n", expect![[r#"
        error: a topology is a map with keys such as `name` and `clusters`, not a text
         --> t.yaml:1:1
          |
        1 | heliostat
          | ^^^^^^^^^
          = help: see topologies/active-standby.yaml

        1 error
    "#]]);
}

#[test]
fn a_file_that_is_not_there_or_not_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yaml");
    let load = |path: &Path| Topology::load(path).unwrap_err().to_string().replace(directory.path().to_str().unwrap(), "DIR");
    expect![[r#"
        error: the file cannot be read: no such file or directory
        --> DIR/t.yaml
         = help: give the path of a topology file, such as topologies/active-standby.yaml

        1 error"#]].assert_eq(&load(&path));
    std::fs::write(&path, b"name: t\nlayout: \xff\n").unwrap();
    expect![[r#"
        error: the file is not UTF-8
         --> DIR/t.yaml:2:9
          = help: save the file as UTF-8

        1 error"#]].assert_eq(&load(&path));
    std::fs::write(&path, "# x\n".repeat(300_000)).unwrap();
    expect![[r#"
        error: the file has more than 1048576 bytes
        --> DIR/t.yaml
         = help: a topology is far shorter: is it the right file?

        1 error"#]].assert_eq(&load(&path));
}

// Keys and types.

#[test]
fn an_unknown_key() {
    check_with("defautls: {}\n", expect![[r#"
        error: unknown key `defautls`
         --> t.yaml:8:1
          |
        8 | defautls: {}
          | ^^^^^^^^
          = help: did you mean `defaults`?

        1 error
    "#]]);
    check_with("colour: red\n", expect![[r#"
        error: unknown key `colour`
         --> t.yaml:8:1
          |
        8 | colour: red
          | ^^^^^^
          = help: the keys here are `name`, `layout`, `clusters`, `primary`, `standby`, `hub`, `spokes`, `direction`, `defaults`, `flows`, `http`

        1 error
    "#]]);
    check_with("naming: { policy: identity }\n", expect![[r#"
        error: unknown key `naming`
         --> t.yaml:8:1
          |
        8 | naming: { policy: identity }
          | ^^^^^^
          = help: `naming` is a setting of flows: put it under `defaults`, or into one of the `flows`

        1 error
    "#]]);
    check_with("bootstrap_servers: a:9092\n", expect![[r#"
        error: unknown key `bootstrap_servers`
         --> t.yaml:8:1
          |
        8 | bootstrap_servers: a:9092
          | ^^^^^^^^^^^^^^^^^
          = help: `bootstrap_servers` belongs to a cluster: put it under `clusters` and the cluster's alias

        1 error
    "#]]);
    check_with("defaults: { discovery-interval: 2s }\n", expect![[r#"
        error: unknown key `discovery-interval` in `defaults`
         --> t.yaml:8:13
          |
        8 | defaults: { discovery-interval: 2s }
          |             ^^^^^^^^^^^^^^^^^^
          = help: did you mean `discovery_interval`?

        1 error
    "#]]);
    check_clusters("{ built_in: { prot: 19092 } }", "{ bootstrap.servers: a:9092 }", expect![[r#"
        error: `port` is missing in `clusters.one.built_in`
         --> t.yaml:4:10
          |
        4 |   one: { built_in: { prot: 19092 } }
          |          ^^^^^^^^
          = help: write `port: 19092`

        error: unknown key `prot` in `clusters.one.built_in`
         --> t.yaml:4:22
          |
        4 |   one: { built_in: { prot: 19092 } }
          |                      ^^^^
          = help: did you mean `port`?

        error: the cluster `two` has neither `built_in` nor `bootstrap_servers`
         --> t.yaml:5:3
          |
        5 |   two: { bootstrap.servers: a:9092 }
          |   ^^^
          = help: write `built_in: { port: 19092 }` for a cluster that is started with the daemon,
                  or `bootstrap_servers: "kafka-1:9092,kafka-2:9092"` for one that exists

        error: unknown key `bootstrap.servers` in `clusters.two`
         --> t.yaml:5:10
          |
        5 |   two: { bootstrap.servers: a:9092 }
          |          ^^^^^^^^^^^^^^^^^
          = help: did you mean `bootstrap_servers`?

        4 errors
    "#]]);
}

#[test]
fn a_key_of_a_later_version() {
    check_with("defaults: { sync: { groups: true }, groups: { include: [\".*\"] }, acls: true }\n", expect![[r#"
        error: unknown key `sync` in `defaults`
         --> t.yaml:8:13
          |
        8 | defaults: { sync: { groups: true }, groups: { include: [".*"] }, acls: true }
          |             ^^^^
          = help: this version does not synchronise configs, ACLs or groups; leave the key out

        error: unknown key `groups` in `defaults`
         --> t.yaml:8:37
          |
        8 | defaults: { sync: { groups: true }, groups: { include: [".*"] }, acls: true }
          |                                     ^^^^^^
          = help: this version does not copy consumer groups; leave the key out

        error: unknown key `acls` in `defaults`
         --> t.yaml:8:66
          |
        8 | defaults: { sync: { groups: true }, groups: { include: [".*"] }, acls: true }
          |                                                                  ^^^^
          = help: this version does not copy ACLs; leave the key out

        3 errors
    "#]]);
}

#[test]
fn a_duplicate_key() {
    check_with("http: { listen: 127.0.0.1:1 }\nname: again\n", expect![[r#"
        error: `name` is there twice
         --> t.yaml:9:1
          |
        9 | name: again
          | ^^^^
          = help: the first one is on line 1; keep one of them

        1 error
    "#]]);
    check(&format!("{}  a: {{ bootstrap_servers: d:9092 }}\nflows: [{{ name: a->b }}]\n", three("custom")), expect![[r#"
        warning: no flow uses the cluster `c`
         --> t.yaml:6:3
          |
        6 |   c: { bootstrap_servers: c:9092 }
          |   ^
          = help: leave it out, or add a flow

        error: `clusters.a` is there twice
         --> t.yaml:7:3
          |
        7 |   a: { bootstrap_servers: d:9092 }
          |   ^
          = help: the first one is on line 4; keep one of them

        1 error, 1 warning
    "#]]);
}

#[test]
fn a_missing_key() {
    check("layout: active-active\n", expect![[r#"
        error: `name` is missing
         --> t.yaml:1:1
          |
        1 | layout: active-active
          | ^^^^^^
          = help: write `name: two-datacenters`

        error: `clusters` is missing
         --> t.yaml:1:1
          |
        1 | layout: active-active
          | ^^^^^^
          = help: write `clusters: { primary: { bootstrap_servers: "kafka:9092" } }`

        2 errors
    "#]]);
    check_clusters("{ built_in: { brokers: 3 } }", "{}", expect![[r#"
        error: `port` is missing in `clusters.one.built_in`
         --> t.yaml:4:10
          |
        4 |   one: { built_in: { brokers: 3 } }
          |          ^^^^^^^^
          = help: write `port: 19092`

        error: the cluster `two` has neither `built_in` nor `bootstrap_servers`
         --> t.yaml:5:3
          |
        5 |   two: {}
          |   ^^^
          = help: write `built_in: { port: 19092 }` for a cluster that is started with the daemon,
                  or `bootstrap_servers: "kafka-1:9092,kafka-2:9092"` for one that exists

        2 errors
    "#]]);
    check_flows("flows: [{ naming: {} }]\n", expect![[r#"
        error: the layout custom has the flows that `flows` lists, and there is none
         --> t.yaml:2:1
          |
        2 | layout: custom
          | ^^^^^^
          = help: write `flows: [{ name: a->b }]`, or choose another layout

        error: `name` is missing in `flows[0]`
         --> t.yaml:7:9
          |
        7 | flows: [{ naming: {} }]
          |         ^
          = help: write `name: primary->standby`

        error: `policy` is missing in `flows[0].naming`
         --> t.yaml:7:11
          |
        7 | flows: [{ naming: {} }]
          |           ^^^^^^
          = help: write `policy: prefix`

        3 errors
    "#]]);
}

#[test]
fn a_key_without_a_value() {
    check_with("defaults:\n  naming:\n  limits: {}\n", expect![[r#"
        error: `defaults.naming` has no value
         --> t.yaml:9:3
          |
        9 |   naming:
          |   ^^^^^^
          = help: write `naming: { policy: prefix }`, or leave the key out

        1 error
    "#]]);
    check_with("http: { listen: \"\" }\n", expect![[r#"
        error: `http.listen` is an empty text
         --> t.yaml:8:17
          |
        8 | http: { listen: "" }
          |                 ^^
          = help: write `listen: 127.0.0.1:8080`

        1 error
    "#]]);
}

#[test]
fn a_wrong_type() {
    check_with("defaults: { topics: orders, on_gap: [halt], replication_factor: three }\n", expect![[r#"
        error: `defaults.topics` must be a map, not a text
         --> t.yaml:8:21
          |
        8 | defaults: { topics: orders, on_gap: [halt], replication_factor: three }
          |                     ^^^^^^
          = help: write `topics: { include: ["orders.*"] }`

        error: `defaults.on_gap` must be a text, not a list
         --> t.yaml:8:37
          |
        8 | defaults: { topics: orders, on_gap: [halt], replication_factor: three }
          |                                     ^
          = help: write `on_gap: record`

        error: `defaults.replication_factor` must be a whole number, not a text
         --> t.yaml:8:65
          |
        8 | defaults: { topics: orders, on_gap: [halt], replication_factor: three }
          |                                                                 ^^^^^
          = help: write `replication_factor: 3`

        3 errors
    "#]]);
    check_with("defaults: { topics: { include: \"orders\", exclude: [7] } }\n", expect![[r#"
        error: `defaults.topics.include` must be a list, not a text
         --> t.yaml:8:32
          |
        8 | defaults: { topics: { include: "orders", exclude: [7] } }
          |                                ^^^^^^^^
          = help: write `include: ["orders.*"]`

        error: `defaults.topics.exclude[0]` must be a text, not a number
         --> t.yaml:8:52
          |
        8 | defaults: { topics: { include: "orders", exclude: [7] } }
          |                                                    ^
          = help: put it in quotes: "7"

        2 errors
    "#]]);
    check_with("flows: { name: primary->standby }\n", expect![[r#"
        error: `flows` must be a list, not a map
         --> t.yaml:8:8
          |
        8 | flows: { name: primary->standby }
          |        ^
          = help: write `flows: [{ name: primary->standby }]`

        1 error
    "#]]);
    check_with("flows: [primary->standby]\n", expect![[r#"
        error: `flows[0]` must be a map, not a text
         --> t.yaml:8:9
          |
        8 | flows: [primary->standby]
          |         ^^^^^^^^^^^^^^^^
          = help: write `flows: [{ name: primary->standby }]`

        1 error
    "#]]);
    check_with("http: { listen: 8080 }\n1: 2\n", expect![[r#"
        error: `http.listen` must be an address with a port, not a port alone
         --> t.yaml:8:17
          |
        8 | http: { listen: 8080 }
          |                 ^^^^
          = help: write `listen: 127.0.0.1:8080`

        error: a key must be a text, not a number
         --> t.yaml:9:1
          |
        9 | 1: 2
          | ^
          = help: put the key in quotes

        2 errors
    "#]]);
    check("name: 1.5\nlayout: !secret x\nclusters: [a, b]\n", expect![[r#"
        error: `name` must be a text, not a number
         --> t.yaml:1:7
          |
        1 | name: 1.5
          |       ^^^
          = help: put it in quotes: "1.5"

        error: `layout` must be a text, not a value with a tag
         --> t.yaml:2:9
          |
        2 | layout: !secret x
          |         ^^^^^^^^^
          = help: leave the tag `!secret` out: write `layout: active-standby`

        error: `clusters` must be a map, not a list
         --> t.yaml:3:11
          |
        3 | clusters: [a, b]
          |           ^
          = help: write `clusters: { primary: { bootstrap_servers: "kafka:9092" } }`

        3 errors
    "#]]);
    check_clusters("{ built_in: { port: \"19092\", brokers: 1.5 } }", "kafka:9092", expect![[r#"
        error: `clusters.one.built_in.port` must be a whole number, not a text
         --> t.yaml:4:28
          |
        4 |   one: { built_in: { port: "19092", brokers: 1.5 } }
          |                            ^^^^^^^
          = help: write `port: 19092`

        error: `clusters.one.built_in.brokers` must be a whole number, not a number
         --> t.yaml:4:46
          |
        4 |   one: { built_in: { port: "19092", brokers: 1.5 } }
          |                                              ^^^
          = help: write `brokers: 3`

        error: `clusters.two` must be a map, not a text
         --> t.yaml:5:8
          |
        5 |   two: kafka:9092
          |        ^^^^^^^^^^
          = help: write `primary: { bootstrap_servers: "kafka:9092" }`

        3 errors
    "#]]);
}

#[test]
fn a_merge_key() {
    check_with("defaults: { <<: 7 }\n", expect![[r#"
        error: the merge key `<<` takes a map or a list of maps, not a number
         --> t.yaml:8:17
          |
        8 | defaults: { <<: 7 }
          |                 ^
          = help: write `<<: *name` for a map with `&name`

        1 error
    "#]]);
    let text = "name: t\nlayout: custom\nclusters: { a: { bootstrap_servers: a:1 }, b: { bootstrap_servers: b:1 } }\n\
                defaults: &base { on_gap: halt, colour: red }\n\
                flows: [{ <<: *base, name: a->b, on_gap: record }]\n";
    check(text, expect![[r#"
        error: unknown key `colour` in `defaults`
         --> t.yaml:4:33
          |
        4 | defaults: &base { on_gap: halt, colour: red }
          |                                 ^^^^^^
          = help: the keys here are `topics`, `naming`, `delivery`, `engine`, `on_gap`, `on_recreated`, `replication_factor`, `discovery_interval`, `limits`

        error: unknown key `colour` in `flows[0]`
         --> t.yaml:4:33
          |
        4 | defaults: &base { on_gap: halt, colour: red }
          |                                 ^^^^^^
          = help: the keys here are `name`, `topics`, `naming`, `delivery`, `engine`, `on_gap`, `on_recreated`, `replication_factor`, `discovery_interval`, `limits`

        2 errors
    "#]]);
}

// Values.

#[test]
fn a_word_that_is_none_of_the_possible() {
    check("name: t\nlayout: active_standby\n", expect![[r#"
        error: `clusters` is missing
         --> t.yaml:1:1
          |
        1 | name: t
          | ^^^^
          = help: write `clusters: { primary: { bootstrap_servers: "kafka:9092" } }`

        error: `layout` cannot be `active_standby`
         --> t.yaml:2:9
          |
        2 | layout: active_standby
          |         ^^^^^^^^^^^^^^
          = help: did you mean `layout: active-standby`?

        2 errors
    "#]]);
    check_with("defaults: { on_gap: ignore, on_recreated: folow, engine: batches, delivery: exactly-once }\n", expect![[r#"
        error: `defaults.on_gap` cannot be `ignore`
         --> t.yaml:8:21
          |
        8 | defaults: { on_gap: ignore, on_recreated: folow, engine: batches, delivery: exactly-once }
          |                     ^^^^^^
          = help: write `record` or `halt`

        error: `defaults.on_recreated` cannot be `folow`
         --> t.yaml:8:43
          |
        8 | defaults: { on_gap: ignore, on_recreated: folow, engine: batches, delivery: exactly-once }
          |                                           ^^^^^
          = help: did you mean `on_recreated: follow`?

        error: `defaults.engine`: this version does not have the engine `batches` yet
         --> t.yaml:8:58
          |
        8 | defaults: { on_gap: ignore, on_recreated: folow, engine: batches, delivery: exactly-once }
          |                                                          ^^^^^^^
          = help: write `engine: librdkafka`, or leave the key out

        error: `defaults.delivery`: this version cannot copy exactly once yet
         --> t.yaml:8:77
          |
        8 | defaults: { on_gap: ignore, on_recreated: folow, engine: batches, delivery: exactly-once }
          |                                                                             ^^^^^^^^^^^^
          = help: write `delivery: at-least-once`, or leave the key out; after a crash the records of the last second or so
                  may be there twice, and none is lost

        4 errors
    "#]]);
    check_with("defaults: { delivery: at-most-once, engine: kafka }\n", expect![[r#"
        error: `defaults.delivery` cannot be `at-most-once`
         --> t.yaml:8:23
          |
        8 | defaults: { delivery: at-most-once, engine: kafka }
          |                       ^^^^^^^^^^^^
          = help: did you mean `delivery: at-least-once`?

        error: `defaults.engine` cannot be `kafka`
         --> t.yaml:8:45
          |
        8 | defaults: { delivery: at-most-once, engine: kafka }
          |                                             ^^^^^
          = help: write `librdkafka`

        2 errors
    "#]]);
}

#[test]
fn sizes_and_durations() {
    check_with(
        "defaults:\n  discovery_interval: 10\n  limits: { in_flight_bytes: 1.5GB, bytes_per_second: 50mb }\n",
        expect![[r#"
            error: `defaults.discovery_interval`: `10` has no unit; durations have the units ms, s, m and h
             --> t.yaml:9:23
              |
            9 |   discovery_interval: 10
              |                       ^^
              = help: write `discovery_interval: 2s`

            error: `defaults.limits.in_flight_bytes`: `1.5GB` has a fraction: write whole numbers of a smaller unit; bytes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
              --> t.yaml:10:30
               |
            10 |   limits: { in_flight_bytes: 1.5GB, bytes_per_second: 50mb }
               |                              ^^^^^
               = help: write `in_flight_bytes: 32MB`

            error: `defaults.limits.bytes_per_second`: `50mb` has the unit `mb`; did you mean `50MB`?
              --> t.yaml:10:55
               |
            10 |   limits: { in_flight_bytes: 1.5GB, bytes_per_second: 50mb }
               |                                                       ^^^^
               = help: write `bytes_per_second: 50MB`

            3 errors
        "#]],
    );
    check_with(
        "defaults:\n  discovery_interval: 1ms\n  limits: { in_flight_bytes: 10, bytes_per_second: [1] }\n",
        expect![[r#"
            error: `defaults.discovery_interval` is 1ms, and must be from 100ms to 1h
             --> t.yaml:9:23
              |
            9 |   discovery_interval: 1ms
              |                       ^^^
              = help: write `discovery_interval: 2s`

            error: `defaults.limits.in_flight_bytes` is 10B, and must be from 1MB to 16GB
              --> t.yaml:10:30
               |
            10 |   limits: { in_flight_bytes: 10, bytes_per_second: [1] }
               |                              ^^
               = help: write `in_flight_bytes: 32MB`

            error: `defaults.limits.bytes_per_second` must be a size, not a list
              --> t.yaml:10:52
               |
            10 |   limits: { in_flight_bytes: 10, bytes_per_second: [1] }
               |                                                    ^
               = help: write `bytes_per_second: 50MB`

            3 errors
        "#]],
    );
    check_with("defaults: { discovery_interval: 5 minutes, limits: { bytes_per_second: -1 } }\n", expect![[r#"
        error: `defaults.discovery_interval`: `5 minutes` has the unit `minutes`, which does not exist here; durations have the units ms, s, m and h
         --> t.yaml:8:33
          |
        8 | defaults: { discovery_interval: 5 minutes, limits: { bytes_per_second: -1 } }
          |                                 ^^^^^^^^^
          = help: write `discovery_interval: 2s`

        error: `defaults.limits.bytes_per_second`: it is not a number of bytes
         --> t.yaml:8:72
          |
        8 | defaults: { discovery_interval: 5 minutes, limits: { bytes_per_second: -1 } }
          |                                                                        ^
          = help: write `bytes_per_second: 50MB`

        2 errors
    "#]]);
}

#[test]
fn numbers_out_of_range() {
    check_with("defaults: { replication_factor: 0 }\n", expect![[r#"
        error: `defaults.replication_factor` is 0, and must be from 1 to 32767
         --> t.yaml:8:33
          |
        8 | defaults: { replication_factor: 0 }
          |                                 ^
          = help: write `replication_factor: 3`

        1 error
    "#]]);
    check_clusters("{ built_in: { port: 0, brokers: 0 } }", "{ built_in: { port: 65530, brokers: 9 } }", expect![[r#"
        error: `clusters.one.built_in.port` is 0, and must be from 1 to 65535
         --> t.yaml:4:28
          |
        4 |   one: { built_in: { port: 0, brokers: 0 } }
          |                            ^
          = help: write `port: 19092`

        error: `clusters.one.built_in.brokers` is 0, and must be from 1 to 9
         --> t.yaml:4:40
          |
        4 |   one: { built_in: { port: 0, brokers: 0 } }
          |                                        ^
          = help: write `brokers: 3`

        error: `clusters.two.built_in.port` is 65530, and must be from 1 to 65527
         --> t.yaml:5:28
          |
        5 |   two: { built_in: { port: 65530, brokers: 9 } }
          |                            ^^^^^
          = help: write `port: 19092`

        3 errors
    "#]]);
    check_clusters("{ built_in: { port: 65536, brokers: 10 } }", "{ built_in: { port: 29092 } }", expect![[r#"
        error: `clusters.one.built_in.port` is 65536, and must be from 1 to 65535
         --> t.yaml:4:28
          |
        4 |   one: { built_in: { port: 65536, brokers: 10 } }
          |                            ^^^^^
          = help: write `port: 19092`

        error: `clusters.one.built_in.brokers` is 10, and must be from 1 to 9
         --> t.yaml:4:44
          |
        4 |   one: { built_in: { port: 65536, brokers: 10 } }
          |                                            ^^
          = help: write `brokers: 3`

        2 errors
    "#]]);
}

#[test]
fn a_replication_factor_that_a_built_in_cluster_cannot_give() {
    check(
        &format!(
            "{}defaults: {{ replication_factor: 3 }}\n",
            two("{ built_in: { port: 19092, brokers: 3 } }", "{ built_in: { port: 29092 } }")
        ),
        expect![[r#"
            error: `defaults.replication_factor` is 3, and the built-in cluster `two` has 1 broker
             --> t.yaml:6:33
              |
            6 | defaults: { replication_factor: 3 }
              |                                 ^
              = help: write `replication_factor: 1`, leave it out, or give the cluster more `brokers`

            1 error
        "#]],
    );
}

#[test]
fn addresses() {
    check_with("http: { listen: localhost }\n", expect![[r#"
        error: `http.listen` must be an IP address with a port, and `localhost` is none
         --> t.yaml:8:17
          |
        8 | http: { listen: localhost }
          |                 ^^^^^^^^^
          = help: write `listen: 127.0.0.1:8080` for this machine only, or `listen: 0.0.0.0:8080` for all its addresses

        1 error
    "#]]);
    check_clusters("{ bootstrap_servers: \"kafka,a:0,,b:9092\" }", "{ bootstrap_servers: [] }", expect![[r#"
        error: `clusters.one.bootstrap_servers`: `kafka` has no port
         --> t.yaml:4:29
          |
        4 |   one: { bootstrap_servers: "kafka,a:0,,b:9092" }
          |                             ^^^^^^^^^^^^^^^^^^^
          = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

        error: `clusters.one.bootstrap_servers`: `a:0` has no port from 1 to 65535 behind its last colon
         --> t.yaml:4:29
          |
        4 |   one: { bootstrap_servers: "kafka,a:0,,b:9092" }
          |                             ^^^^^^^^^^^^^^^^^^^
          = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

        error: `clusters.one.bootstrap_servers`: `` is no address: there is nothing between two commas
         --> t.yaml:4:29
          |
        4 |   one: { bootstrap_servers: "kafka,a:0,,b:9092" }
          |                             ^^^^^^^^^^^^^^^^^^^
          = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

        error: `clusters.two.bootstrap_servers` is an empty list
         --> t.yaml:5:29
          |
        5 |   two: { bootstrap_servers: [] }
          |                             ^
          = help: write `bootstrap_servers: "kafka-1:9092,kafka-2:9092"`

        4 errors
    "#]]);
    check_clusters(
        "{ bootstrap_servers: [\"SSL://a:9093\", \"a b:1\", \"[::1]:9092\", \"::1:9092\"] }",
        "{ built_in: { port: 29092, host: localhost } }",
        expect![[r#"
            error: `clusters.one.bootstrap_servers[0]`: `SSL://a:9093` has a protocol in front: that belongs in `security: { protocol: … }`
             --> t.yaml:4:30
              |
            4 |   one: { bootstrap_servers: ["SSL://a:9093", "a b:1", "[::1]:9092", "::1:9092"] }
              |                              ^^^^^^^^^^^^^^
              = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

            error: `clusters.one.bootstrap_servers[1]`: `a b:1` has no host name or address in front of its port; an IPv6 address stands in brackets
             --> t.yaml:4:46
              |
            4 |   one: { bootstrap_servers: ["SSL://a:9093", "a b:1", "[::1]:9092", "::1:9092"] }
              |                                              ^^^^^^^
              = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

            error: `clusters.one.bootstrap_servers[3]`: `::1:9092` has no host name or address in front of its port; an IPv6 address stands in brackets
             --> t.yaml:4:69
              |
            4 |   one: { bootstrap_servers: ["SSL://a:9093", "a b:1", "[::1]:9092", "::1:9092"] }
              |                                                                     ^^^^^^^^^^
              = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

            error: `clusters.two.built_in.host` must be an IP address, and `localhost` is none
             --> t.yaml:5:41
              |
            5 |   two: { built_in: { port: 29092, host: localhost } }
              |                                         ^^^^^^^^^
              = help: write `host: 127.0.0.1` for this machine only, or `host: 0.0.0.0` for all its addresses

            4 errors
        "#]],
    );
}

#[test]
fn names() {
    check_with("", expect![[r#"
        0 errors
    "#]]);
    check("name: two datacenters\nlayout: active-active\n", expect![[r#"
        error: `clusters` is missing
         --> t.yaml:1:1
          |
        1 | name: two datacenters
          | ^^^^
          = help: write `clusters: { primary: { bootstrap_servers: "kafka:9092" } }`

        error: `name` takes letters, digits, `.`, `_` and `-`, at most 100 of them
         --> t.yaml:1:7
          |
        1 | name: two datacenters
          |       ^^^^^^^^^^^^^^^
          = help: write `name: two-datacenters`

        2 errors
    "#]]);
}

// Clusters.

#[test]
fn a_bad_alias() {
    check(
        "name: t\nlayout: active-active\nclusters:\n  dc 1: { bootstrap_servers: a:1 }\n  \"..\": { bootstrap_servers: b:1 }\n  \
         heliostat: { bootstrap_servers: c:1 }\n  \"\": { bootstrap_servers: d:1 }\n  __x: { bootstrap_servers: e:1 }\n",
        expect![[r#"
            error: the alias `dc 1` cannot stand in the name of a topic: it has ` `
             --> t.yaml:4:3
              |
            4 |   dc 1: { bootstrap_servers: a:1 }
              |   ^^^^
              = help: use letters, digits, `_` and `-`, at most 64 of them: `dc-1`

            error: the alias `..` cannot stand in the name of a topic: Kafka takes no such name
             --> t.yaml:5:3
              |
            5 |   "..": { bootstrap_servers: b:1 }
              |   ^^^^
              = help: use letters, digits, `_` and `-`, at most 64 of them: `dc-1`

            error: the alias `..` has the separator `.` in it: the name `...orders` would not tell where the topic is from
             --> t.yaml:5:3
              |
            5 |   "..": { bootstrap_servers: b:1 }
              |   ^^^^
              = help: call it `--`, or choose another separator: `naming: { policy: prefix, separator: … }`

            error: the alias `heliostat` cannot stand in the name of a topic: heliostat's own topics begin with it
             --> t.yaml:6:3
              |
            6 |   heliostat: { bootstrap_servers: c:1 }
              |   ^^^^^^^^^
              = help: use letters, digits, `_` and `-`, at most 64 of them: `dc-1`

            error: the alias `` cannot stand in the name of a topic: it is empty
             --> t.yaml:7:3
              |
            7 |   "": { bootstrap_servers: d:1 }
              |   ^^
              = help: use letters, digits, `_` and `-`, at most 64 of them: `dc-1`

            error: the alias `__x` cannot stand in the name of a topic: topics that begin with `__` are Kafka's own
             --> t.yaml:8:3
              |
            8 |   __x: { bootstrap_servers: e:1 }
              |   ^^^
              = help: use letters, digits, `_` and `-`, at most 64 of them: `dc-1`

            6 errors
        "#]],
    );
}

#[test]
fn an_alias_with_the_separator_in_it() {
    let text = "name: t\nlayout: active-active\nclusters:\n  dc.1: { bootstrap_servers: a:1 }\n  dc-2: { bootstrap_servers: b:1 }\n";
    check(text, expect![[r#"
        error: the alias `dc.1` has the separator `.` in it: the name `dc.1.orders` would not tell where the topic is from
         --> t.yaml:4:3
          |
        4 |   dc.1: { bootstrap_servers: a:1 }
          |   ^^^^
          = help: call it `dc-1`, or choose another separator: `naming: { policy: prefix, separator: … }`

        1 error
    "#]]);
    check(&format!("{text}defaults: {{ naming: {{ policy: prefix, separator: \"-\" }} }}\n"), expect![[r#"
        error: the alias `dc-2` has the separator `-` in it: the name `dc-2-orders` would not tell where the topic is from
         --> t.yaml:5:3
          |
        5 |   dc-2: { bootstrap_servers: b:1 }
          |   ^^^^
          = help: call it `dc_2`, or choose another separator: `naming: { policy: prefix, separator: … }`

        1 error
    "#]]);
    check(&format!("{text}defaults: {{ naming: {{ policy: prefix, separator: _ }} }}\n"), expect![[r#"
        0 errors
    "#]]);
}

#[test]
fn a_cluster_that_is_both_or_neither() {
    check_clusters("{ built_in: { port: 19092 }, bootstrap_servers: a:1 }", "{ properties: {} }", expect![[r#"
        error: the cluster `one` has both `built_in` and `bootstrap_servers`
         --> t.yaml:4:3
          |
        4 |   one: { built_in: { port: 19092 }, bootstrap_servers: a:1 }
          |   ^^^
          = help: keep one of them

        error: the cluster `two` has neither `built_in` nor `bootstrap_servers`
         --> t.yaml:5:3
          |
        5 |   two: { properties: {} }
          |   ^^^
          = help: write `built_in: { port: 19092 }` for a cluster that is started with the daemon,
                  or `bootstrap_servers: "kafka-1:9092,kafka-2:9092"` for one that exists

        2 errors
    "#]]);
}

#[test]
fn too_few_clusters() {
    check("name: t\nlayout: active-active\nclusters: { a: { bootstrap_servers: a:1 } }\n", expect![[r#"
        error: `clusters` has one cluster, and a flow needs two
         --> t.yaml:3:1
          |
        3 | clusters: { a: { bootstrap_servers: a:1 } }
          | ^^^^^^^^
          = help: add a cluster with an alias of its own

        1 error
    "#]]);
    check("name: t\nlayout: active-active\nclusters: {}\n", expect![[r#"
        error: `clusters` has no cluster, and a flow needs two
         --> t.yaml:3:1
          |
        3 | clusters: {}
          | ^^^^^^^^
          = help: add a cluster with an alias of its own

        1 error
    "#]]);
}

#[test]
fn two_clusters_in_one_place() {
    check_clusters(
        "{ built_in: { port: 19092, brokers: 3, data: ./data/a } }",
        "{ built_in: { port: 19094, data: data/x/../a/b } }",
        expect![[r#"
            error: the built-in clusters `one` and `two` both use port 19094
             --> t.yaml:5:28
              |
            5 |   two: { built_in: { port: 19094, data: data/x/../a/b } }
              |                            ^^^^^
              = help: each broker has a port, from `port` on: write `port: 19095` or higher in `two`

            error: the built-in clusters `one` and `two` share a data directory
             --> t.yaml:5:41
              |
            5 |   two: { built_in: { port: 19094, data: data/x/../a/b } }
              |                                         ^^^^^^^^^^^^^
              = help: give each its own, such as `data: ./data/two`

            2 errors
        "#]],
    );
    check_clusters("{ bootstrap_servers: \"a:9092,b:9092\" }", "{ bootstrap_servers: [B:9092] }", expect![[r#"
        error: `one` and `two` are one cluster: both have B:9092
         --> t.yaml:5:29
          |
        5 |   two: { bootstrap_servers: [B:9092] }
          |                             ^
          = help: a flow between them would copy a cluster into itself; give `two` the address of the other cluster

        1 error
    "#]]);
    check_clusters(
        "{ bootstrap_servers: localhost:19093 }",
        "{ built_in: { port: 19092, brokers: 2, host: 0.0.0.0 } }",
        expect![[r#"
            error: `one` and `two` are one cluster: both have localhost:19093
             --> t.yaml:5:28
              |
            5 |   two: { built_in: { port: 19092, brokers: 2, host: 0.0.0.0 } }
              |                            ^^^^^
              = help: a flow between them would copy a cluster into itself; give `two` the address of the other cluster

            1 error
        "#]],
    );
}

#[test]
fn the_http_server_on_the_port_of_a_built_in_cluster() {
    let clusters = two("{ built_in: { port: 19092 } }", "{ built_in: { port: 8079, brokers: 2 } }");
    check(&clusters, expect![[r#"
        error: the HTTP server and the built-in cluster `two` both use port 8080
         --> t.yaml:5:28
          |
        5 |   two: { built_in: { port: 8079, brokers: 2 } }
          |                            ^^^^
          = help: write `http: { listen: 127.0.0.1:8081 }`

        1 error
    "#]]);
    check(&format!("{clusters}http: {{ listen: 0.0.0.0:19092 }}\n"), expect![[r#"
        error: the HTTP server and the built-in cluster `one` both use port 19092
         --> t.yaml:6:17
          |
        6 | http: { listen: 0.0.0.0:19092 }
          |                 ^^^^^^^^^^^^^
          = help: write `http: { listen: 127.0.0.1:8081 }`

        1 error
    "#]]);
}

#[test]
fn two_aliases_for_one_cluster_id() {
    let topology = parse(CLUSTERS).unwrap();
    let problem = same_cluster_problem(&topology, "standby", "primary", "MkU3OEVBNTcwNTJENDM2Qk");
    expect![[r#"
        error: `primary` and `standby` are one cluster: both have the id MkU3OEVBNTcwNTJENDM2Qk
         --> t.yaml:5:3
          |
        5 |   standby: { bootstrap_servers: b:9092 }
          |   ^^^^^^^
          = help: the first one is on line 4; a flow between them would copy a cluster into itself; give `standby` the address of the other cluster, or leave it out"#]].assert_eq(&problem.to_string());
    let problem = same_cluster_problem(&topology, "standby", "other", "x");
    expect![[r#"
        error: `standby` and `other` are one cluster: both have the id x
        --> t.yaml
         = help: a flow between them would copy a cluster into itself; give `other` the address of the other cluster, or leave it out"#]].assert_eq(&problem.to_string());
}

// Security and properties.

#[test]
fn secrets() {
    let security = |password: &str| {
        format!("{{ bootstrap_servers: a:1, security: {{ protocol: SASL_SSL, mechanism: PLAIN, username: u, password: {password} }} }}")
    };
    check_clusters(&security("hunter2"), &security("{ env: UNSET }").replace("a:1", "b:1"), expect![[r#"
        error: `clusters.one.security.password` is written in the file, where everybody who reads the file reads it
         --> t.yaml:4:107
          |
        4 |   one: { bootstrap_servers: a:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: ***
          |                                                                                                           ^^^
          = help: write `password: { env: NAME }` for an environment variable, or `password: { file: PATH }` for a file with nothing else

        error: the environment variable `UNSET` is not set
         --> t.yaml:5:114
          |
        5 | L_SSL, mechanism: PLAIN, username: u, password: { env: UNSET } } }
          |                                                        ^^^^^
          = help: set it before you start: `export UNSET=…`

        2 errors
    "#]]);
    check_clusters(
        &security("{ env: SET, file: x }"),
        &security("{ file: ./no/such/file }").replace("a:1", "b:1"),
        expect![[r#"
            error: `clusters.one.security.password` has both `env` and `file`
             --> t.yaml:4:107
              |
            4 | ol: SASL_SSL, mechanism: PLAIN, username: u, password: { env: SET, file: x } } }
              |                                                        ^
              = help: keep one of them

            error: the secret cannot be read from `./no/such/file`: no such file or directory
             --> t.yaml:5:115
              |
            5 | _SSL, mechanism: PLAIN, username: u, password: { file: ./no/such/file } } }
              |                                                        ^^^^^^^^^^^^^^
              = help: the file holds the secret and nothing else; a relative path begins at the working directory

            2 errors
        "#]],
    );
    check_clusters(&security("{}"), &security("{ variable: X }").replace("a:1", "b:1"), expect![[r#"
        error: `clusters.one.security.password` does not say where it is
         --> t.yaml:4:107
          |
        4 |   one: { bootstrap_servers: a:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: ***
          |                                                                                                           ^^^
          = help: write `password: { env: NAME }` or `password: { file: PATH }`

        error: `clusters.two.security.password` does not say where it is
         --> t.yaml:5:107
          |
        5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: ***
          |                                                                                                           ^^^
          = help: write `password: { env: NAME }` or `password: { file: PATH }`

        error: unknown key `variable` in `clusters.two.security.password`
         --> t.yaml:5:109
          |
        5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: ***
          |                                                                                                           ^^^
          = help: the keys here are `env`, `file`

        3 errors
    "#]]);
    check_clusters(&security("\n      hunter2"), &security("{ env: SET }").replace("a:1", "b:1"), expect![[r#"
        error: `clusters.one.security.password` is written in the file, where everybody who reads the file reads it
         --> t.yaml:5:7
          |
        5 |       *** } }
          |       ^^^
          = help: write `password: { env: NAME }` for an environment variable, or `password: { file: PATH }` for a file with nothing else

        1 error
    "#]]);
}

#[test]
fn a_secret_from_the_environment_reaches_the_client_and_nobody_else() {
    let security = "security: { protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: u, password: { env: SET } }";
    let text = two(&format!("{{ bootstrap_servers: a:1, {security} }}"), "{ bootstrap_servers: b:1 }");
    let topology = parse(&text).unwrap();
    let properties = topology.clusters[0].security.as_ref().unwrap().client_properties();
    assert!(properties.iter().any(|(name, value)| name == "sasl.password" && value.expose() == "hunter2"));
    let shown = format!("{topology:?} {}", serde_json::to_string(&topology).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn security_that_does_not_fit_together() {
    check_clusters(
        "{ bootstrap_servers: a:1, security: { protocol: PLAINTEXT, username: u, ca: x.pem } }",
        "{ bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: GSSAPI, key: ./no.key } }",
        expect![[r#"
            error: `clusters.one.security.username` has no effect: the protocol PLAINTEXT has no user and password
             --> t.yaml:4:67
              |
            4 |   one: { bootstrap_servers: a:1, security: { protocol: PLAINTEXT, username: u, ca: x.pem } }
              |                                                                   ^^^^^^^^
              = help: write `protocol: SASL_SSL`, or leave the key out

            error: `clusters.one.security.ca` has no effect: the protocol PLAINTEXT has no encryption
             --> t.yaml:4:80
              |
            4 |   one: { bootstrap_servers: a:1, security: { protocol: PLAINTEXT, username: u, ca: x.pem } }
              |                                                                                ^^
              = help: write `protocol: SSL` or `protocol: SASL_SSL`, or leave the key out

            error: `username` is missing in `clusters.two.security`
             --> t.yaml:5:34
              |
            5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: GSSAPI, key: ./no.key } }
              |                                  ^^^^^^^^
              = help: write `username: mirror`

            error: `password` is missing in `clusters.two.security`
             --> t.yaml:5:34
              |
            5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: GSSAPI, key: ./no.key } }
              |                                  ^^^^^^^^
              = help: write `password: { env: NAME }`

            error: `clusters.two.security.mechanism` cannot be `GSSAPI`
             --> t.yaml:5:77
              |
            5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: GSSAPI, key: ./no.key } }
              |                                                                             ^^^^^^
              = help: write `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`

            error: `clusters.two.security.key` needs a `certificate`
             --> t.yaml:5:85
              |
            5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: GSSAPI, key: ./no.key } }
              |                                                                                     ^^^
              = help: add `certificate: PATH`, or leave `key` out

            error: `clusters.two.security.key` names the file `./no.key`: no such file or directory
             --> t.yaml:5:90
              |
            5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_SSL, mechanism: GSSAPI, key: ./no.key } }
              |                                                                                          ^^^^^^^^
              = help: write the path of a PEM file; a relative path begins at the working directory

            7 errors
        "#]],
    );
    check_clusters(
        "{ built_in: { port: 19092 }, security: { protocol: SSL } }",
        "{ bootstrap_servers: b:1, security: { mechanism: PLAIN } }",
        expect![[r#"
            error: `clusters.one.security` has no effect: a built-in cluster takes plain connections only
             --> t.yaml:4:37
              |
            4 |   one: { built_in: { port: 19092 }, security: { protocol: SSL } }
              |                                     ^^^^^^^^
              = help: leave `security` out

            error: `protocol` is missing in `clusters.two.security`
             --> t.yaml:5:34
              |
            5 |   two: { bootstrap_servers: b:1, security: { mechanism: PLAIN } }
              |                                  ^^^^^^^^
              = help: write `protocol: SASL_SSL`

            2 errors
        "#]],
    );
}

#[test]
fn client_properties() {
    check_clusters(
        "{ bootstrap_servers: a:1, properties: { socket.keepalive: true, group.id: x, sasl.password: hunter2 } }",
        "{ bootstrap_servers: b:1, properties: { socket.timeout.ms: soon, fetch.wait.max.ms: [1] } }",
        expect![[r#"
            error: the client property `socket.keepalive`: no such configuration property: `socket.keepalive`
             --> t.yaml:4:48
              |
            4 |   one: { bootstrap_servers: a:1, properties: { socket.keepalive: true, group.id: x, sasl.password: ***
              |                                                ^^^^^^^^^^^^^^^^
              = help: `properties` takes the properties of librdkafka, under the names in its CONFIGURATION.md

            error: `group.id` is not for `properties`: heliostat sets it itself
             --> t.yaml:4:72
              |
            4 |   one: { bootstrap_servers: a:1, properties: { socket.keepalive: true, group.id: x, sasl.password: ***
              |                                                                        ^^^^^^^^
              = help: leave it out: where copying goes on must not depend on the file

            error: `sasl.password` is not for `properties`: heliostat sets it itself
             --> t.yaml:4:85
              |
            4 |   one: { bootstrap_servers: a:1, properties: { socket.keepalive: true, group.id: x, sasl.password: ***
              |                                                                                     ^^^^^^^^^^^^^
              = help: write `security: { password: { env: NAME } }` in the cluster

            error: the client property `socket.timeout.ms`: invalid value for configuration property `socket.timeout.ms`
             --> t.yaml:5:67
              |
            5 |   two: { bootstrap_servers: b:1, properties: { socket.timeout.ms: soon, fetch.wait.max.ms: [1] } }
              |                                                                   ^^^^
              = help: write a value that librdkafka's CONFIGURATION.md gives for this property

            error: `clusters.two.properties.fetch.wait.max.ms` must be a text, a number, or true or false, not a list
             --> t.yaml:5:92
              |
            5 |   two: { bootstrap_servers: b:1, properties: { socket.timeout.ms: soon, fetch.wait.max.ms: [1] } }
              |                                                                                            ^
              = help: write `socket.keepalive.enable: true`

            5 errors
        "#]],
    );
}

// Flows and layouts.

#[test]
fn an_unknown_cluster() {
    check_flows("flows: [{ name: a->bb }, { name: x->y }, { name: b->c }]\n", expect![[r#"
        warning: no flow uses the cluster `a`
         --> t.yaml:4:3
          |
        4 |   a: { bootstrap_servers: a:9092 }
          |   ^
          = help: leave it out, or add a flow

        error: there is no cluster `bb`
         --> t.yaml:7:17
          |
        7 | flows: [{ name: a->bb }, { name: x->y }, { name: b->c }]
          |                 ^^^^^
          = help: the clusters of this file are `a`, `b`, `c`

        error: there is no cluster `x`
         --> t.yaml:7:34
          |
        7 | flows: [{ name: a->bb }, { name: x->y }, { name: b->c }]
          |                                  ^^^^
          = help: the clusters of this file are `a`, `b`, `c`

        error: there is no cluster `y`
         --> t.yaml:7:34
          |
        7 | flows: [{ name: a->bb }, { name: x->y }, { name: b->c }]
          |                                  ^^^^
          = help: the clusters of this file are `a`, `b`, `c`

        3 errors, 1 warning
    "#]]);
    check(&CLUSTERS.replace("standby: standby", "standby: stanby"), expect![[r#"
        error: there is no cluster `stanby`
         --> t.yaml:7:10
          |
        7 | standby: stanby
          |          ^^^^^^
          = help: did you mean `standby`?

        1 error
    "#]]);
}

#[test]
fn a_flow_that_is_no_flow() {
    check_flows("flows: [{ name: a->a }, { name: a to b }, { name: b->c }, { name: b->c }, { name: a->b }]\n", expect![[r#"
        error: the flow `a->a` goes from a cluster to itself
         --> t.yaml:7:17
          |
        7 | flows: [{ name: a->a }, { name: a to b }, { name: b->c }, { name: b->c }, { name: a->b }]
          |                 ^^^^
          = help: name two clusters: `name: a->b`

        error: `a to b` is not the name of a flow: source and target have `->` between them
         --> t.yaml:7:33
          |
        7 | flows: [{ name: a->a }, { name: a to b }, { name: b->c }, { name: b->c }, { name: a->b }]
          |                                 ^^^^^^
          = help: write `name: a->b`

        error: the flow `b->c` is there twice
         --> t.yaml:7:67
          |
        7 | flows: [{ name: a->a }, { name: a to b }, { name: b->c }, { name: b->c }, { name: a->b }]
          |                                                                   ^^^^
          = help: the first one is on line 7; keep one of them

        3 errors
    "#]]);
    check(&CLUSTERS.replace("standby: standby", "standby: primary"), expect![[r#"
        error: `primary` is both primary and standby: the flow would go from a cluster to itself
         --> t.yaml:7:10
          |
        7 | standby: primary
          |          ^^^^^^^
          = help: name two clusters

        1 error
    "#]]);
}

#[test]
fn no_flows() {
    check_flows("", expect![[r#"
        error: the layout custom has the flows that `flows` lists, and there is none
         --> t.yaml:2:1
          |
        2 | layout: custom
          | ^^^^^^
          = help: write `flows: [{ name: a->b }]`, or choose another layout

        1 error
    "#]]);
    check_flows("flows: []\n", expect![[r#"
        error: the layout custom has the flows that `flows` lists, and there is none
         --> t.yaml:2:1
          |
        2 | layout: custom
          | ^^^^^^
          = help: write `flows: [{ name: a->b }]`, or choose another layout

        1 error
    "#]]);
}

#[test]
fn a_cluster_that_no_flow_uses() {
    check_flows("flows: [{ name: a->b }]\n", expect![[r#"
        warning: no flow uses the cluster `c`
         --> t.yaml:6:3
          |
        6 |   c: { bootstrap_servers: c:9092 }
          |   ^
          = help: leave it out, or add a flow

        0 errors, 1 warning
    "#]]);
}

#[test]
fn roles() {
    check(&CLUSTERS.replace("standby: standby\n", "hub: primary\n"), expect![[r#"
        error: the layout active-standby needs `standby`
         --> t.yaml:2:1
          |
        2 | layout: active-standby
          | ^^^^^^
          = help: write `standby: standby` at the top of the file

        error: `hub` is a role of the layout hub-and-spoke, and this file's layout is active-standby
         --> t.yaml:7:1
          |
        7 | hub: primary
          | ^^^
          = help: leave `hub` out, or write `layout: hub-and-spoke`

        2 errors
    "#]]);
    check(&three("hub-and-spoke"), expect![[r#"
        error: the layout hub-and-spoke needs `hub`
         --> t.yaml:2:1
          |
        2 | layout: hub-and-spoke
          | ^^^^^^
          = help: write `hub: hub` at the top of the file

        error: the layout hub-and-spoke needs `spokes`
         --> t.yaml:2:1
          |
        2 | layout: hub-and-spoke
          | ^^^^^^
          = help: write `spokes: [spoke-1, spoke-2]` at the top of the file

        error: the layout hub-and-spoke needs `direction`
         --> t.yaml:2:1
          |
        2 | layout: hub-and-spoke
          | ^^^^^^
          = help: write `direction: spoke-to-hub` at the top of the file

        3 errors
    "#]]);
    check(&format!("{}hub: a\nspokes: [a, b, b, d]\ndirection: up\n", three("hub-and-spoke")), expect![[r#"
        error: `a` is both hub and spoke: the flow would go from a cluster to itself
         --> t.yaml:8:10
          |
        8 | spokes: [a, b, b, d]
          |          ^
          = help: leave the hub out of `spokes`

        error: the spoke `b` is there twice
         --> t.yaml:8:16
          |
        8 | spokes: [a, b, b, d]
          |                ^
          = help: the first one is on line 8; keep one of them

        error: there is no cluster `d`
         --> t.yaml:8:19
          |
        8 | spokes: [a, b, b, d]
          |                   ^
          = help: the clusters of this file are `a`, `b`, `c`

        error: `direction` cannot be `up`
         --> t.yaml:9:12
          |
        9 | direction: up
          |            ^^
          = help: write `spoke-to-hub`, `hub-to-spoke` or `both`

        4 errors
    "#]]);
    check(&format!("{}hub: a\nspokes: []\ndirection: both\n", three("hub-and-spoke")), expect![[r#"
        error: `spokes` is an empty list
         --> t.yaml:8:9
          |
        8 | spokes: []
          |         ^
          = help: write `spokes: [spoke-1, spoke-2]`

        1 error
    "#]]);
    check(&format!("{}hub: a\nspokes: b\ndirection: both\n", three("hub-and-spoke")), expect![[r#"
        error: `spokes` must be a list, not a text
         --> t.yaml:8:9
          |
        8 | spokes: b
          |         ^
          = help: write `spokes: [spoke-1, spoke-2]`

        1 error
    "#]]);
}

#[test]
fn an_override_of_a_flow_that_the_layout_does_not_have() {
    check_with("flows: [{ name: standby->primary }]\n", expect![[r#"
        error: the layout active-standby has no flow `standby->primary`
         --> t.yaml:8:17
          |
        8 | flows: [{ name: standby->primary }]
          |                 ^^^^^^^^^^^^^^^^
          = help: its flows are `primary->standby`; other flows need `layout: custom`

        1 error
    "#]]);
}

// Policies.

#[test]
fn patterns() {
    check_with("defaults: { topics: { include: [\"*\", \"orders(\", \"\"], exclude: [\"*-tmp\"] } }\n", expect![[r#"
        error: `defaults.topics.include` is an empty list, which includes no topic
         --> t.yaml:8:32
          |
        8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
          |                                ^
          = help: write `include: [".*"]` for every topic, or leave the key out

        error: `*` is not a regular expression: repetition operator missing expression
         --> t.yaml:8:33
          |
        8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
          |                                 ^^^
          = help: patterns are regular expressions: write ".*" where a shell would write `*`

        error: `orders(` is not a regular expression: unclosed group
         --> t.yaml:8:38
          |
        8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
          |                                      ^^^^^^^^^
          = help: write a regular expression for the whole name, such as "orders.*"; `\` makes a character plain

        error: `defaults.topics.include[2]` is an empty text
         --> t.yaml:8:49
          |
        8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
          |                                                 ^^
          = help: write `include: ["orders.*"]`

        error: `*-tmp` is not a regular expression: repetition operator missing expression
         --> t.yaml:8:64
          |
        8 | defaults: { topics: { include: ["*", "orders(", ""], exclude: ["*-tmp"] } }
          |                                                                ^^^^^^^
          = help: patterns are regular expressions: write ".*-tmp" where a shell would write `*-tmp`

        5 errors
    "#]]);
    check_with("defaults: { topics: { include: [] } }\n", expect![[r#"
        error: `defaults.topics.include` is an empty list, which includes no topic
         --> t.yaml:8:32
          |
        8 | defaults: { topics: { include: [] } }
          |                                ^
          = help: write `include: [".*"]` for every topic, or leave the key out

        1 error
    "#]]);
    check_with("defaults: { topics: { include: [\"orders-*\"] } }\n", expect![[r#"
        warning: `orders-*` matches as a regular expression, where `*` repeats the character before it
         --> t.yaml:8:33
          |
        8 | defaults: { topics: { include: ["orders-*"] } }
          |                                 ^^^^^^^^^^
          = help: write "orders-.*" if `*` stands for any characters

        0 errors, 1 warning
    "#]]);
}

#[test]
fn naming() {
    check_with("defaults: { naming: prefix }\n", expect![[r#"
        error: `defaults.naming` must be a map, not a text
         --> t.yaml:8:21
          |
        8 | defaults: { naming: prefix }
          |                     ^^^^^^
          = help: write `naming: { policy: prefix }`

        1 error
    "#]]);
    check_with("defaults: { naming: { separator: _ } }\n", expect![[r#"
        error: `policy` is missing in `defaults.naming`
         --> t.yaml:8:13
          |
        8 | defaults: { naming: { separator: _ } }
          |             ^^^^^^
          = help: write `policy: prefix`

        1 error
    "#]]);
    check_with("defaults: { naming: { policy: identity, separator: _ } }\n", expect![[r#"
        error: `defaults.naming.separator` has no effect: the policy is `identity`
         --> t.yaml:8:41
          |
        8 | defaults: { naming: { policy: identity, separator: _ } }
          |                                         ^^^^^^^^^
          = help: write `policy: prefix`, or leave `separator` out

        1 error
    "#]]);
    check_with("defaults: { naming: { policy: prefix, separator: / } }\n", expect![[r#"
        error: `defaults.naming.separator` cannot be `/`: a separator is made of `.`, `_` and `-`
         --> t.yaml:8:50
          |
        8 | defaults: { naming: { policy: prefix, separator: / } }
          |                                                  ^
          = help: write `separator: "."`, or leave it out

        1 error
    "#]]);
    check_with("defaults: { naming: { policy: template } }\n", expect![[r#"
        error: `template` is missing in `defaults.naming`
         --> t.yaml:8:13
          |
        8 | defaults: { naming: { policy: template } }
          |             ^^^^^^
          = help: write `template: "{source}.{topic}"`

        1 error
    "#]]);
    check_with("defaults: { naming: { policy: template, template: \"{sorce}.{topic}\" } }\n", expect![[r#"
        error: the template `{sorce}.{topic}`: it has no placeholder {sorce}: there are {source}, {target} and {topic}
         --> t.yaml:8:51
          |
        8 | defaults: { naming: { policy: template, template: "{sorce}.{topic}" } }
          |                                                   ^^^^^^^^^^^^^^^^^
          = help: did you mean `{source}`?

        1 error
    "#]]);
    check_with("defaults: { naming: { policy: template, template: \"{source}.orders\" } }\n", expect![[r#"
        error: the template `{source}.orders`: it has no {topic}, so every topic would get the same name
         --> t.yaml:8:51
          |
        8 | defaults: { naming: { policy: template, template: "{source}.orders" } }
          |                                                   ^^^^^^^^^^^^^^^^^
          = help: write `template: "{source}.{topic}"`

        1 error
    "#]]);
}

#[test]
fn circles() {
    check(&format!("{}defaults: {{ naming: {{ policy: identity }} }}\n", two("{ bootstrap_servers: a:1 }", "{ bootstrap_servers: b:1 }")), expect![[r#"
        error: the flows `one->two`, `two->one` keep the names of topics: what they copy would come back in a circle
         --> t.yaml:6:13
          |
        6 | defaults: { naming: { policy: identity } }
          |             ^^^^^^
          = help: write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not
                  overlap: `topics: { include: [orders] }`

        1 error
    "#]]);
    let identity = "naming: { policy: identity }";
    check_flows(
        &format!(
            "flows:\n- {{ name: a->b, {identity} }}\n- {{ name: b->c, naming: {{ policy: template, template: \"{{topic}}\" }} }}\n\
             - {{ name: c->a, {identity} }}\n"
        ),
        expect![[r#"
            error: the flows `a->b`, `b->c`, `c->a` keep the names of topics: what they copy would come back in a circle
              --> t.yaml:10:17
               |
            10 | - { name: c->a, naming: { policy: identity } }
               |                 ^^^^^^
               = help: write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not
                       overlap: `topics: { include: [orders] }`

            1 error
        "#]],
    );
    let only = |topic: &str| format!("topics: {{ include: [{topic}] }}");
    check_flows(
        &format!(
            "flows:\n- {{ name: a->b, {identity}, {} }}\n- {{ name: b->a, {identity} }}\n- {{ name: b->c }}\n",
            only("orders")
        ),
        expect![[r#"
            error: the flows `a->b`, `b->a` keep the names of topics: what they copy would come back in a circle
             --> t.yaml:9:17
              |
            9 | - { name: b->a, naming: { policy: identity } }
              |                 ^^^^^^
              = help: write `naming: { policy: prefix }` for at least one of them, or give them plain topic names that do not
                      overlap: `topics: { include: [orders] }`

            1 error
        "#]],
    );
    // Names that do not overlap go in both directions without a circle, and so does one prefix.
    check_flows(
        &format!(
            "flows:\n- {{ name: a->b, {identity}, {} }}\n- {{ name: b->a, {identity}, {} }}\n- {{ name: b->c }}\n",
            only("orders"),
            only("payments")
        ),
        expect![[r#"
            0 errors
        "#]],
    );
    check_flows(&format!("flows: [{{ name: a->b, {identity} }}, {{ name: b->a }}, {{ name: b->c }}]\n"), expect![[r#"
        0 errors
    "#]]);
}

#[test]
fn mirror_topics_with_one_name() {
    let identity = "naming: { policy: identity }";
    check_flows(&format!("flows:\n- {{ name: a->c, {identity} }}\n- {{ name: b->c, {identity} }}\n"), expect![[r#"
        error: the flows `a->c` and `b->c` would both write the mirror topic `orders` on `c`
         --> t.yaml:9:17
          |
        9 | - { name: b->c, naming: { policy: identity } }
          |                 ^^^^^^
          = help: let the source stand in the name: `naming: { policy: prefix }`, or give them plain topic names that
                  do not overlap: `topics: { include: [orders] }`

        1 error
    "#]]);
    check_flows(
        "defaults: { naming: { policy: template, template: \"copy-of-{topic}\" } }\nflows: [{ name: a->c }, { name: b->c }]\n",
        expect![[r#"
            error: the flows `a->c` and `b->c` would both write the mirror topic `copy-of-orders` on `c`
             --> t.yaml:7:13
              |
            7 | defaults: { naming: { policy: template, template: "copy-of-{topic}" } }
              |             ^^^^^^
              = help: let the source stand in the name: `naming: { policy: prefix }`, or give them plain topic names that
                      do not overlap: `topics: { include: [orders] }`

            1 error
        "#]],
    );
    check_flows(&format!("flows:\n- {{ name: a->c }}\n- {{ name: b->c, {identity} }}\n"), expect![[r#"
        warning: the flows `a->c` (prefix `.`) and `b->c` (identity) can give two topics one name on `c`
         --> t.yaml:9:17
          |
        9 | - { name: b->c, naming: { policy: identity } }
          |                 ^^^^^^
          = help: give both the same `naming` with the source in it, or keep such topics apart with `topics`

        0 errors, 1 warning
    "#]]);
    check_flows("flows: [{ name: a->c }, { name: b->c }]\n", expect![[r#"
        0 errors
    "#]]);
}

// All at once.

#[test]
fn many_problems_at_once() {
    let text = "\
name: shop
layout: hub-and-spoke
clusters:
  hub:
    built_in: { port: 19092, brokers: 12 }
  spoke one:
    bootstrap_servers: kafka
  spoke-2:
    bootstrap_servers: kafka-2:9092
    security: { protocol: SASL_SSL, mechanism: PLAIN, username: mirror, password: hunter2 }
    bootstrap_servers: kafka-3:9092
hub: hub
spokes: [spoke-1, spoke-2]
defaults:
  topics: { include: [\"*\"] }
  delivery: exactly-once
  limits: { bytes_per_second: 50mb }
flows:
  - name: hub->hub
htpp: { listen: 127.0.0.1:8080 }
";
    check(text, expect![[r#"
        error: the layout hub-and-spoke needs `direction`
         --> t.yaml:2:1
          |
        2 | layout: hub-and-spoke
          | ^^^^^^
          = help: write `direction: spoke-to-hub` at the top of the file

        error: `clusters.hub.built_in.brokers` is 12, and must be from 1 to 9
         --> t.yaml:5:39
          |
        5 |     built_in: { port: 19092, brokers: 12 }
          |                                       ^^
          = help: write `brokers: 3`

        error: the alias `spoke one` cannot stand in the name of a topic: it has ` `
         --> t.yaml:6:3
          |
        6 |   spoke one:
          |   ^^^^^^^^^
          = help: use letters, digits, `_` and `-`, at most 64 of them: `dc-1`

        error: `clusters.spoke one.bootstrap_servers`: `kafka` has no port
         --> t.yaml:7:24
          |
        7 |     bootstrap_servers: kafka
          |                        ^^^^^
          = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

        error: `clusters.spoke-2.security.password` is written in the file, where everybody who reads the file reads it
          --> t.yaml:10:83
           |
        10 |     security: { protocol: SASL_SSL, mechanism: PLAIN, username: mirror, password: ***
           |                                                                                   ^^^
           = help: write `password: { env: NAME }` for an environment variable, or `password: { file: PATH }` for a file with nothing else

        error: `clusters.spoke-2.bootstrap_servers` is there twice
          --> t.yaml:11:5
           |
        11 |     bootstrap_servers: kafka-3:9092
           |     ^^^^^^^^^^^^^^^^^
           = help: the first one is on line 9; keep one of them

        error: there is no cluster `spoke-1`
          --> t.yaml:13:10
           |
        13 | spokes: [spoke-1, spoke-2]
           |          ^^^^^^^
           = help: did you mean `spoke-2`?

        error: `defaults.topics.include` is an empty list, which includes no topic
          --> t.yaml:15:22
           |
        15 |   topics: { include: ["*"] }
           |                      ^
           = help: write `include: [".*"]` for every topic, or leave the key out

        error: `*` is not a regular expression: repetition operator missing expression
          --> t.yaml:15:23
           |
        15 |   topics: { include: ["*"] }
           |                       ^^^
           = help: patterns are regular expressions: write ".*" where a shell would write `*`

        error: `defaults.delivery`: this version cannot copy exactly once yet
          --> t.yaml:16:13
           |
        16 |   delivery: exactly-once
           |             ^^^^^^^^^^^^
           = help: write `delivery: at-least-once`, or leave the key out; after a crash the records of the last second or so
                   may be there twice, and none is lost

        error: `defaults.limits.bytes_per_second`: `50mb` has the unit `mb`; did you mean `50MB`?
          --> t.yaml:17:31
           |
        17 |   limits: { bytes_per_second: 50mb }
           |                               ^^^^
           = help: write `bytes_per_second: 50MB`

        error: the flow `hub->hub` goes from a cluster to itself
          --> t.yaml:19:11
           |
        19 |   - name: hub->hub
           |           ^^^^^^^^
           = help: name two clusters: `name: hub->spoke one`

        error: unknown key `htpp`
          --> t.yaml:20:1
           |
        20 | htpp: { listen: 127.0.0.1:8080 }
           | ^^^^
           = help: did you mean `http`?

        13 errors
    "#]]);
}

#[test]
fn problems_as_json() {
    let problems = parse(&CLUSTERS.replace("name: t", "nmae: t")).unwrap_err();
    expect![[r#"
        [
          {
            "severity": "error",
            "kind": "unknown-key",
            "file": "t.yaml",
            "line": 1,
            "column": 1,
            "path": "nmae",
            "message": "unknown key `nmae`",
            "help": "did you mean `name`?",
            "snippet": {
              "text": "nmae: t",
              "indent": 0,
              "width": 4
            }
          },
          {
            "severity": "error",
            "kind": "missing-key",
            "file": "t.yaml",
            "line": 1,
            "column": 1,
            "path": "",
            "message": "`name` is missing",
            "help": "write `name: two-datacenters`",
            "snippet": {
              "text": "nmae: t",
              "indent": 0,
              "width": 4
            }
          }
        ]"#]].assert_eq(&serde_json::to_string_pretty(&problems).unwrap());
}

#[test]
fn no_more_problems_than_anyone_reads() {
    let many: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let problems = parse(&format!("{CLUSTERS}{many}")).unwrap_err();
    assert_eq!(problems.list.len(), 101);
    let last = problems.list.last().unwrap();
    assert_eq!((last.kind, last.message.as_str()), (ProblemKind::TooMany, "400 more problems are not shown"));
}

// What is right, and what no text may do.

#[test]
fn the_topologies_of_the_project_are_right() {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies")).unwrap() {
        let path = entry.unwrap().path();
        let topology = Topology::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(topology.warnings.is_empty(), "{:?}", topology.warnings);
        assert_eq!(Some(topology.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        found.push(format!("{}: {} flows", topology.name, topology.flows.len()));
    }
    found.sort();
    assert_eq!(
        found,
        ["active-active: 2 flows", "active-standby: 1 flows", "existing-clusters: 1 flows", "hub-and-spoke: 6 flows"]
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
    "#]].assert_debug_eq(&topology.flows.iter().map(|flow| flow.settings_not_default()).collect::<Vec<_>>());
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
