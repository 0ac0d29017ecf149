//! Keys and types.

use expect_test::expect;

use super::{check, check_clusters, check_flows, check_with, three};

#[test]
fn an_unknown_key() {
    check_with(
        "defautls: {}\n",
        expect![[r#"
        error: unknown key `defautls`
         --> t.yaml:8:1
          |
        8 | defautls: {}
          | ^^^^^^^^
          = help: did you mean `defaults`?

        1 error
    "#]],
    );
    check_with(
        "colour: red\n",
        expect![[r#"
        error: unknown key `colour`
         --> t.yaml:8:1
          |
        8 | colour: red
          | ^^^^^^
          = help: the keys here are `name`, `layout`, `clusters`, `primary`, `standby`, `hub`, `spokes`, `direction`, `defaults`, `flows`, `http`

        1 error
    "#]],
    );
    check_with(
        "naming: { policy: identity }\n",
        expect![[r#"
        error: unknown key `naming`
         --> t.yaml:8:1
          |
        8 | naming: { policy: identity }
          | ^^^^^^
          = help: `naming` is a setting of flows: put it under `defaults`, or into one of the `flows`

        1 error
    "#]],
    );
    check_with(
        "bootstrap_servers: a:9092\n",
        expect![[r#"
        error: unknown key `bootstrap_servers`
         --> t.yaml:8:1
          |
        8 | bootstrap_servers: a:9092
          | ^^^^^^^^^^^^^^^^^
          = help: `bootstrap_servers` belongs to a cluster: put it under `clusters` and the cluster's alias

        1 error
    "#]],
    );
    check_with(
        "defaults: { discovery-interval: 2s }\n",
        expect![[r#"
        error: unknown key `discovery-interval` in `defaults`
         --> t.yaml:8:13
          |
        8 | defaults: { discovery-interval: 2s }
          |             ^^^^^^^^^^^^^^^^^^
          = help: did you mean `discovery_interval`?

        1 error
    "#]],
    );
    check_clusters(
        "{ built_in: { prot: 19092 } }",
        "{ bootstrap.servers: a:9092 }",
        expect![[r#"
            error: unknown key `prot` in `clusters.one.built_in`
             --> t.yaml:4:22
              |
            4 |   one: { built_in: { prot: 19092 } }
              |                      ^^^^
              = help: did you mean `port`?

            error: unknown key `bootstrap.servers` in `clusters.two`
             --> t.yaml:5:10
              |
            5 |   two: { bootstrap.servers: a:9092 }
              |          ^^^^^^^^^^^^^^^^^
              = help: did you mean `bootstrap_servers`?

            2 errors
        "#]],
    );
}

#[test]
fn a_key_of_a_later_version() {
    check_with(
        "defaults: { sync: { groups: true }, groups: { include: [\".*\"] }, acls: true }\n",
        expect![[r#"
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
    "#]],
    );
}

#[test]
fn a_duplicate_key() {
    check_with(
        "http: { listen: 127.0.0.1:1 }\nname: again\n",
        expect![[r#"
        error: `name` is there twice
         --> t.yaml:9:1
          |
        9 | name: again
          | ^^^^
          = help: the first one is on line 1; keep one of them

        1 error
    "#]],
    );
    check(
        &format!(
            "{}  a: {{ bootstrap_servers: d:9092 }}\nflows: [{{ name: a->b }}]\n",
            three("custom")
        ),
        expect![[r#"
            error: `clusters.a` is there twice
             --> t.yaml:7:3
              |
            7 |   a: { bootstrap_servers: d:9092 }
              |   ^
              = help: the first one is on line 4; keep one of them

            1 error
        "#]],
    );
}

#[test]
fn a_missing_key() {
    check(
        "layout: active-active\n",
        expect![[r#"
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
    "#]],
    );
    check_clusters(
        "{ built_in: { brokers: 3 } }",
        "{}",
        expect![[r#"
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
    "#]],
    );
    check_flows(
        "flows: [{ naming: {} }]\n",
        expect![[r#"
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
    "#]],
    );
}

#[test]
fn a_key_without_a_value() {
    check_with(
        "defaults:\n  naming:\n  limits: {}\n",
        expect![[r#"
        error: `defaults.naming` has no value
         --> t.yaml:9:3
          |
        9 |   naming:
          |   ^^^^^^
          = help: write `naming: { policy: prefix }`, or leave the key out

        1 error
    "#]],
    );
    check_with(
        "http: { listen: \"\" }\n",
        expect![[r#"
        error: `http.listen` is an empty text
         --> t.yaml:8:17
          |
        8 | http: { listen: "" }
          |                 ^^
          = help: write `listen: 127.0.0.1:8080`

        1 error
    "#]],
    );
}

#[test]
fn a_wrong_type() {
    check_with(
        "defaults: { topics: orders, on_gap: [halt], replication_factor: three }\n",
        expect![[r#"
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
    "#]],
    );
    check_with(
        "defaults: { topics: { include: \"orders\", exclude: [7] } }\n",
        expect![[r#"
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
    "#]],
    );
    check_with(
        "flows: { name: primary->standby }\n",
        expect![[r#"
        error: `flows` must be a list, not a map
         --> t.yaml:8:8
          |
        8 | flows: { name: primary->standby }
          |        ^
          = help: write `flows: [{ name: primary->standby }]`

        1 error
    "#]],
    );
    check_with(
        "flows: [primary->standby]\n",
        expect![[r#"
        error: `flows[0]` must be a map, not a text
         --> t.yaml:8:9
          |
        8 | flows: [primary->standby]
          |         ^^^^^^^^^^^^^^^^
          = help: write `flows: [{ name: primary->standby }]`

        1 error
    "#]],
    );
    check_with(
        "http: { listen: 8080 }\n1: 2\n",
        expect![[r#"
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
    "#]],
    );
    check(
        "name: 1.5\nlayout: !secret x\nclusters: [a, b]\n",
        expect![[r#"
            error: `name` must be a text, not a number with a fraction
             --> t.yaml:1:7
              |
            1 | name: 1.5
              |       ^^^
              = help: put it in quotes: "1.5"

            error: `layout` must be a text, not a value with a tag
             --> t.yaml:2:9
              |
            2 | layout: ***
              |         ^^^
              = help: leave the tag `!secret` out: write `layout: active-standby`

            error: `clusters` must be a map, not a list
             --> t.yaml:3:11
              |
            3 | clusters: [a, b]
              |           ^
              = help: write `clusters: { primary: { bootstrap_servers: "kafka:9092" } }`

            3 errors
        "#]],
    );
    check_clusters(
        "{ built_in: { port: \"19092\", brokers: 1.5 } }",
        "kafka:9092",
        expect![[r#"
            error: `clusters.one.built_in.port` must be a whole number, not a text
             --> t.yaml:4:28
              |
            4 |   one: { built_in: { port: "19092", brokers: 1.5 } }
              |                            ^^^^^^^
              = help: write `port: 19092`, without quotes

            error: `clusters.one.built_in.brokers` must be a whole number, not a number with a fraction
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
              = help: write `{ bootstrap_servers: "kafka:9092" }`

            3 errors
        "#]],
    );
}

#[test]
fn a_merge_key() {
    check_with(
        "defaults: { <<: 7 }\n",
        expect![[r#"
        error: the merge key `<<` takes a map or a list of maps, not a number
         --> t.yaml:8:17
          |
        8 | defaults: { <<: 7 }
          |                 ^
          = help: write `<<: *name` for a map with `&name`

        1 error
    "#]],
    );
    let text = "name: t\nlayout: custom\nclusters: { a: { bootstrap_servers: a:1 }, b: { bootstrap_servers: b:1 } }\n\
                defaults: &base { on_gap: halt, colour: red }\n\
                flows: [{ <<: *base, name: a->b, on_gap: record }]\n";
    check(
        text,
        expect![[r#"
            error: unknown key `colour` in `defaults`
             --> t.yaml:4:33
              |
            4 | defaults: &base { on_gap: halt, colour: red }
              |                                 ^^^^^^
              = help: the keys here are `topics`, `naming`, `delivery`, `engine`, `compression`, `on_gap`, `on_recreated`, `replication_factor`, `discovery_interval`, `session_timeout`, `limits`

            error: unknown key `colour` in `flows[0]`
             --> t.yaml:4:33
              |
            4 | defaults: &base { on_gap: halt, colour: red }
              |                                 ^^^^^^
              = help: the keys here are `name`, `topics`, `naming`, `delivery`, `engine`, `compression`, `on_gap`, `on_recreated`, `replication_factor`, `discovery_interval`, `session_timeout`, `limits`

            2 errors
        "#]],
    );
}

#[test]
fn a_value_of_the_wrong_type_is_mended() {
    check_clusters(
        "{ built_in: { port: \"29092\", brokers: 3.0 } }",
        "{ built_in: { port: \"99999\", brokers: two } }",
        expect![[r#"
            error: `clusters.one.built_in.port` must be a whole number, not a text
             --> t.yaml:4:28
              |
            4 |   one: { built_in: { port: "29092", brokers: 3.0 } }
              |                            ^^^^^^^
              = help: write `port: 29092`, without quotes

            error: `clusters.one.built_in.brokers` must be a whole number, not a number with a fraction
             --> t.yaml:4:46
              |
            4 |   one: { built_in: { port: "29092", brokers: 3.0 } }
              |                                              ^^^
              = help: write `brokers: 3`

            error: `clusters.two.built_in.port` must be a whole number, not a text
             --> t.yaml:5:28
              |
            5 |   two: { built_in: { port: "99999", brokers: two } }
              |                            ^^^^^^^
              = help: write `port: 19092`

            error: `clusters.two.built_in.brokers` must be a whole number, not a text
             --> t.yaml:5:46
              |
            5 |   two: { built_in: { port: "99999", brokers: two } }
              |                                              ^^^
              = help: write `brokers: 3`

            4 errors
        "#]],
    );
}
