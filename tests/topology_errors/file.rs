//! Files that cannot be read, and files with many problems.

use std::path::Path;

use expect_test::expect;
use heliostat::topology::{ProblemKind, Topology};

use super::{CLUSTERS, check, parse};

#[test]
fn an_empty_file() {
    check(
        "# nothing yet\n",
        expect![[r#"
            error: the file is empty
             --> t.yaml
              = help: a topology has at least `name`, `layout` and `clusters`: see topologies/active-standby.yaml

            1 error
        "#]],
    );
}

#[test]
fn not_yaml() {
    check(
        "name: t\nclusters: { a: [1, 2 }\n",
        expect![[r#"
        error: this is not YAML: did not find expected ',' or ']'
         --> t.yaml:2:22
          |
        2 | clusters: { a: [1, 2 }
          |                      ^
          = help: look at brackets, quotes and the indentation around this place

        1 error
    "#]],
    );
    check(
        "name: t\n\tlayout: custom\n",
        expect![[r#"
        error: this is not YAML: found a tab character that violates indentation
         --> t.yaml:2:1
          |
        2 |  layout: custom
          | ^^^^^^^
          = help: YAML does not allow tabs in front of a line: use spaces

        1 error
    "#]],
    );
    check(
        "name: a: b\n",
        expect![[r#"
        error: this is not YAML: mapping values are not allowed in this context
         --> t.yaml:1:8
          |
        1 | name: a: b
          |        ^
          = help: put a value that has `: ` in it into quotes, and give the keys of one map the same indentation

        1 error
    "#]],
    );
    check(
        "name: t\ndefaults:\n  topics: { include: [*] }\n",
        expect![[r#"
            error: this is not YAML: did not find expected alphabetic or numeric character
             --> t.yaml:3:24
              |
            3 |   topics: { include: [*] }
              |                        ^
              = help: a `*` in front of a value refers to a `&name`: put patterns into quotes, such as ".*"

            1 error
        "#]],
    );
    check(
        "name: t\ndefaults:\n  topics: { include: [*all] }\n",
        expect![[r#"
        error: this is not YAML: unknown anchor
         --> t.yaml:3:23
          |
        3 |   topics: { include: [*all] }
          |                       ^^^^
          = help: a `*` in front of a value refers to a `&name`: put patterns into quotes, such as ".*"

        1 error
    "#]],
    );
    check(
        "security: { password: hunter2, x: ] }\n",
        expect![[r#"
            error: this is not YAML: did not find expected node content
             --> t.yaml:1:35
              |
            1 | security: ***
              = help: look at brackets, quotes and the indentation around this place

            1 error
        "#]],
    );
}

#[test]
fn a_second_document() {
    check(
        &format!("{CLUSTERS}---\nname: other\n"),
        expect![[r#"
        error: a second document begins here, and a topology is one
         --> t.yaml:9:1
          |
        9 | name: other
          | ^^^^
          = help: take out the line `---`, or put the rest into a file of its own

        1 error
    "#]],
    );
}

#[test]
fn not_a_map() {
    check(
        "- name: t\n",
        expect![[r#"
        error: a topology is a map with keys such as `name` and `clusters`, not a list
         --> t.yaml:1:1
          |
        1 | - name: t
          | ^
          = help: see topologies/active-standby.yaml

        1 error
    "#]],
    );
    check(
        "heliostat\n",
        expect![[r#"
        error: a topology is a map with keys such as `name` and `clusters`, not a text
         --> t.yaml:1:1
          |
        1 | heliostat
          | ^^^^^^^^^
          = help: see topologies/active-standby.yaml

        1 error
    "#]],
    );
}

#[test]
fn a_file_that_is_not_there_or_not_text() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.yaml");
    let load = |path: &Path| {
        Topology::load(path)
            .unwrap_err()
            .to_string()
            .replace(directory.path().to_str().unwrap(), "DIR")
    };
    expect![[r#"
        error: the file cannot be read: no such file or directory
         --> DIR/t.yaml
          = help: give the path of a topology file, such as topologies/active-standby.yaml

        1 error"#]]
    .assert_eq(&load(&path));
    std::fs::write(&path, b"name: t\nlayout: \xff\n").unwrap();
    expect![[r#"
        error: the file is not UTF-8
         --> DIR/t.yaml:2:9
          = help: save the file as UTF-8

        1 error"#]]
    .assert_eq(&load(&path));
    std::fs::write(&path, "# x\n".repeat(300_000)).unwrap();
    expect![[r#"
        error: the file has more than 1048576 bytes
         --> DIR/t.yaml
          = help: a topology is far shorter: is it the right file?

        1 error"#]]
    .assert_eq(&load(&path));
}

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
  delivery: exactly-twice
  limits: { bytes_per_second: 50mb }
flows:
  - name: hub->hub
htpp: { listen: 127.0.0.1:8080 }
";
    check(
        text,
        expect![[r#"
            error: the layout hub-and-spoke needs `direction`
             --> t.yaml:2:1
              |
            2 | layout: hub-and-spoke
              | ^^^^^^
              = help: write `direction: spoke-to-hub` at the top level

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
               = help: the clusters of this file are `hub`, `spoke one`, `spoke-2`

            error: `*` is not a regular expression: repetition operator missing expression
              --> t.yaml:15:23
               |
            15 |   topics: { include: ["*"] }
               |                       ^^^
               = help: patterns are regular expressions: write ".*" where a shell would write `*`

            error: `defaults.delivery` cannot be `exactly-twice`
              --> t.yaml:16:13
               |
            16 |   delivery: exactly-twice
               |             ^^^^^^^^^^^^^
               = help: did you mean `delivery: exactly-once`?

            error: `defaults.limits.bytes_per_second`: there is no unit `mb`; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
              --> t.yaml:17:31
               |
            17 |   limits: { bytes_per_second: 50mb }
               |                               ^^^^
               = help: did you mean `bytes_per_second: 50MB`?

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

            12 errors
        "#]],
    );
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
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&problems).unwrap());
}

#[test]
fn no_more_problems_than_anyone_reads() {
    let many: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let problems = parse(&format!("{CLUSTERS}{many}")).unwrap_err();
    assert_eq!(problems.list.len(), 101);
    let last = problems.list.last().unwrap();
    assert_eq!(
        (last.kind, last.message.as_str()),
        (ProblemKind::TooMany, "400 more problems are not shown")
    );
}

/// A file from elsewhere must not move the cursor or colour the screen of whoever checks it.
#[test]
fn nothing_of_a_file_controls_the_terminal() {
    let problems = parse("\"\\e[31mred\": 1\nname: \"\\u202Ex\\ny\"\nlayout: \"\\a\"\n")
        .unwrap_err()
        .to_string();
    let unwanted = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!problems.contains(unwanted), "{problems:?}");
}
