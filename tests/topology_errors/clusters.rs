//! Aliases, and what two clusters may not share.

use expect_test::expect;
use heliostat::topology::same_cluster_problem;

use super::{CLUSTERS, check, check_clusters, parse, two};

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

            5 errors
        "#]],
    );
}

#[test]
fn an_alias_with_the_separator_in_it() {
    let text = "name: t\nlayout: active-active\nclusters:\n  dc.1: { bootstrap_servers: a:1 }\n  dc-2: { bootstrap_servers: b:1 }\n";
    check(
        text,
        expect![[r#"
        error: the alias `dc.1` has the separator `.` in it: the name `dc.1.orders` would not tell where the topic is from
         --> t.yaml:4:3
          |
        4 |   dc.1: { bootstrap_servers: a:1 }
          |   ^^^^
          = help: call it `dc-1`, or choose another separator: `naming: { policy: prefix, separator: … }`

        1 error
    "#]],
    );
    check(
        &format!("{text}defaults: {{ naming: {{ policy: prefix, separator: \"-\" }} }}\n"),
        expect![[r#"
        error: the alias `dc-2` has the separator `-` in it: the name `dc-2-orders` would not tell where the topic is from
         --> t.yaml:5:3
          |
        5 |   dc-2: { bootstrap_servers: b:1 }
          |   ^^^^
          = help: call it `dc_2`, or choose another separator: `naming: { policy: prefix, separator: … }`

        1 error
    "#]],
    );
    check(
        &format!("{text}defaults: {{ naming: {{ policy: prefix, separator: _ }} }}\n"),
        expect![[r#"
        0 errors
    "#]],
    );
}

#[test]
fn what_is_wrong_with_the_layout_does_not_hide_what_is_wrong_with_aliases() {
    let text = "name: t\nlayout: active-actve\nclusters:\n  dc.1: { bootstrap_servers: a:1 }\n  dc-2: { bootstrap_servers: b:1 }\n";
    check(
        text,
        expect![[r#"
        error: `layout` cannot be `active-actve`
         --> t.yaml:2:9
          |
        2 | layout: active-actve
          |         ^^^^^^^^^^^^
          = help: did you mean `layout: active-active`?

        error: the alias `dc.1` has the separator `.` in it: the name `dc.1.orders` would not tell where the topic is from
         --> t.yaml:4:3
          |
        4 |   dc.1: { bootstrap_servers: a:1 }
          |   ^^^^
          = help: call it `dc-1`, or choose another separator: `naming: { policy: prefix, separator: … }`

        2 errors
    "#]],
    );
    // A role that is wrong does so neither; a standby is no source, and its alias stands in no name.
    let text = "name: t\nlayout: active-standby\nclusters:\n  dc.1: { bootstrap_servers: a:1 }\n  dc.2: { bootstrap_servers: b:1 }\nprimary: dc1\nstandby: dc.2\n";
    check(
        text,
        expect![[r#"
        error: the alias `dc.1` has the separator `.` in it: the name `dc.1.orders` would not tell where the topic is from
         --> t.yaml:4:3
          |
        4 |   dc.1: { bootstrap_servers: a:1 }
          |   ^^^^
          = help: call it `dc-1`, or choose another separator: `naming: { policy: prefix, separator: … }`

        error: there is no cluster `dc1`
         --> t.yaml:6:10
          |
        6 | primary: dc1
          |          ^^^
          = help: did you mean `dc.1`?

        2 errors
    "#]],
    );
}

#[test]
fn a_cluster_that_is_both_or_neither() {
    check_clusters(
        "{ built_in: { port: 19092 }, bootstrap_servers: a:1 }",
        "{ properties: {} }",
        expect![[r#"
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
    "#]],
    );
}

#[test]
fn too_few_clusters() {
    check(
        "name: t\nlayout: active-active\nclusters: { a: { bootstrap_servers: a:1 } }\n",
        expect![[r#"
        error: `clusters` has one cluster, and a flow needs two
         --> t.yaml:3:1
          |
        3 | clusters: { a: { bootstrap_servers: a:1 } }
          | ^^^^^^^^
          = help: add a cluster with an alias of its own

        1 error
    "#]],
    );
    check(
        "name: t\nlayout: active-active\nclusters: {}\n",
        expect![[r#"
        error: `clusters` has no cluster, and a flow needs two
         --> t.yaml:3:1
          |
        3 | clusters: {}
          | ^^^^^^^^
          = help: add a cluster with an alias of its own

        1 error
    "#]],
    );
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
    check_clusters(
        "{ bootstrap_servers: \"a:9092,b:9092\" }",
        "{ bootstrap_servers: [B:9092] }",
        expect![[r#"
        error: `one` and `two` are one cluster: both have B:9092
         --> t.yaml:5:29
          |
        5 |   two: { bootstrap_servers: [B:9092] }
          |                             ^
          = help: a flow between them would copy a cluster into itself; give `two` the address of the other cluster

        1 error
    "#]],
    );
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
    let clusters = two(
        "{ built_in: { port: 19092 } }",
        "{ built_in: { port: 8079, brokers: 2 } }",
    );
    check(
        &clusters,
        expect![[r#"
        error: the HTTP server and the built-in cluster `two` both use port 8080
         --> t.yaml:5:28
          |
        5 |   two: { built_in: { port: 8079, brokers: 2 } }
          |                            ^^^^
          = help: write `http: { listen: 127.0.0.1:8081 }`

        1 error
    "#]],
    );
    check(
        &format!("{clusters}http: {{ listen: 0.0.0.0:19092 }}\n"),
        expect![[r#"
        error: the HTTP server and the built-in cluster `one` both use port 19092
         --> t.yaml:6:17
          |
        6 | http: { listen: 0.0.0.0:19092 }
          |                 ^^^^^^^^^^^^^
          = help: write `http: { listen: 127.0.0.1:8081 }`

        1 error
    "#]],
    );
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
