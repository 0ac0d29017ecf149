//! Flows, layouts and roles.

use expect_test::expect;

use super::{CLUSTERS, check, check_flows, check_with, three};

#[test]
fn an_unknown_cluster() {
    check_flows(
        "flows: [{ name: a->bb }, { name: x->y }, { name: b->c }]\n",
        expect![[r#"
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

            3 errors
        "#]],
    );
    check(
        &CLUSTERS.replace("standby: standby", "standby: stanby"),
        expect![[r#"
        error: there is no cluster `stanby`
         --> t.yaml:7:10
          |
        7 | standby: stanby
          |          ^^^^^^
          = help: did you mean `standby`?

        1 error
    "#]],
    );
}

#[test]
fn a_flow_that_is_no_flow() {
    check_flows(
        "flows: [{ name: a->a }, { name: a to b }, { name: b->c }, { name: b->c }, { name: a->b }]\n",
        expect![[r#"
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
              = help: the first one is at column 51; keep one of them

            3 errors
        "#]],
    );
    check(
        &CLUSTERS.replace("standby: standby", "standby: primary"),
        expect![[r#"
        error: `primary` is both primary and standby: the flow would go from a cluster to itself
         --> t.yaml:7:10
          |
        7 | standby: primary
          |          ^^^^^^^
          = help: name two clusters

        1 error
    "#]],
    );
}

#[test]
fn no_flows() {
    check_flows(
        "",
        expect![[r#"
        error: the layout custom has the flows that `flows` lists, and there is none
         --> t.yaml:2:1
          |
        2 | layout: custom
          | ^^^^^^
          = help: write `flows: [{ name: a->b }]`, or choose another layout

        1 error
    "#]],
    );
    check_flows(
        "flows: []\n",
        expect![[r#"
        error: the layout custom has the flows that `flows` lists, and there is none
         --> t.yaml:2:1
          |
        2 | layout: custom
          | ^^^^^^
          = help: write `flows: [{ name: a->b }]`, or choose another layout

        1 error
    "#]],
    );
}

#[test]
fn a_cluster_that_no_flow_uses() {
    check_flows(
        "flows: [{ name: a->b }]\n",
        expect![[r#"
        warning: no flow uses the cluster `c`
         --> t.yaml:6:3
          |
        6 |   c: { bootstrap_servers: c:9092 }
          |   ^
          = help: leave it out, or add a flow

        0 errors, 1 warning
    "#]],
    );
}

#[test]
fn roles() {
    check(
        &CLUSTERS.replace("standby: standby\n", "hub: primary\n"),
        expect![[r#"
            error: the layout active-standby needs `standby`
             --> t.yaml:2:1
              |
            2 | layout: active-standby
              | ^^^^^^
              = help: write `standby: standby` at the top level

            error: `hub` is a role of the layout hub-and-spoke, and this file's layout is active-standby
             --> t.yaml:7:1
              |
            7 | hub: primary
              | ^^^
              = help: leave `hub` out, or write `layout: hub-and-spoke`

            2 errors
        "#]],
    );
    check(
        &three("hub-and-spoke"),
        expect![[r#"
            error: the layout hub-and-spoke needs `hub`
             --> t.yaml:2:1
              |
            2 | layout: hub-and-spoke
              | ^^^^^^
              = help: write `hub: hub` at the top level

            error: the layout hub-and-spoke needs `spokes`
             --> t.yaml:2:1
              |
            2 | layout: hub-and-spoke
              | ^^^^^^
              = help: write `spokes: [spoke-1, spoke-2]` at the top level

            error: the layout hub-and-spoke needs `direction`
             --> t.yaml:2:1
              |
            2 | layout: hub-and-spoke
              | ^^^^^^
              = help: write `direction: spoke-to-hub` at the top level

            3 errors
        "#]],
    );
    check(
        &format!(
            "{}hub: a\nspokes: [a, b, b, d]\ndirection: up\n",
            three("hub-and-spoke")
        ),
        expect![[r#"
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
              = help: the first one is at column 13; keep one of them

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
        "#]],
    );
    check(
        &format!("{}hub: a\nspokes: []\ndirection: both\n", three("hub-and-spoke")),
        expect![[r#"
        error: `spokes` is an empty list
         --> t.yaml:8:9
          |
        8 | spokes: []
          |         ^
          = help: write `spokes: [spoke-1, spoke-2]`

        1 error
    "#]],
    );
    check(
        &format!("{}hub: a\nspokes: b\ndirection: both\n", three("hub-and-spoke")),
        expect![[r#"
        error: `spokes` must be a list, not a text
         --> t.yaml:8:9
          |
        8 | spokes: b
          |         ^
          = help: write `spokes: [spoke-1, spoke-2]`

        1 error
    "#]],
    );
}

#[test]
fn an_override_of_a_flow_that_the_layout_does_not_have() {
    check_with(
        "flows: [{ name: standby->primary }]\n",
        expect![[r#"
        error: the layout active-standby has no flow `standby->primary`
         --> t.yaml:8:17
          |
        8 | flows: [{ name: standby->primary }]
          |                 ^^^^^^^^^^^^^^^^
          = help: its flows are `primary->standby`; other flows need `layout: custom`

        1 error
    "#]],
    );
}

#[test]
fn a_name_that_is_used_already_is_not_offered() {
    let clusters = "name: t\nlayout: hub-and-spoke\nclusters:\n  hub: { bootstrap_servers: a:1 }\n  s1: { bootstrap_servers: b:1 }\n";
    check(
        &format!("{clusters}hub: hub\nspokes: [s1, s2]\ndirection: both\n"),
        expect![[r#"
            error: there is no cluster `s2`
             --> t.yaml:7:14
              |
            7 | spokes: [s1, s2]
              |              ^^
              = help: add it under `clusters`

            1 error
        "#]],
    );
    check(
        &format!(
            "{clusters}  east: {{ bootstrap_servers: c:1 }}\nhub: hub\nspokes: [s1, s2, esat]\ndirection: both\n"
        ),
        expect![[r#"
            error: there is no cluster `s2`
             --> t.yaml:8:14
              |
            8 | spokes: [s1, s2, esat]
              |              ^^
              = help: the clusters of this file are `hub`, `s1`, `east`

            error: there is no cluster `esat`
             --> t.yaml:8:18
              |
            8 | spokes: [s1, s2, esat]
              |                  ^^^^
              = help: did you mean `east`?

            2 errors
        "#]],
    );
    check(
        &format!("{clusters}hub: s2\nspokes: [s1]\ndirection: both\n"),
        expect![[r#"
            error: there is no cluster `s2`
             --> t.yaml:6:6
              |
            6 | hub: s2
              |      ^^
              = help: the clusters of this file are `hub`, `s1`

            1 error
        "#]],
    );
    check(
        "name: t\nlayout: custom\nclusters:\n  s1: { bootstrap_servers: a:1 }\n  s3: { bootstrap_servers: b:1 }\nflows: [{ name: s1->s2 }, { name: s1->s3 }]\n",
        expect![[r#"
            error: there is no cluster `s2`
             --> t.yaml:6:17
              |
            6 | flows: [{ name: s1->s2 }, { name: s1->s3 }]
              |                 ^^^^^^
              = help: did you mean `s3`?

            1 error
        "#]],
    );
    check(
        "name: t\nlayout: active-standby\nclusters:\n  s1: { bootstrap_servers: a:1 }\n  hub: { bootstrap_servers: b:1 }\nprimary: s2\nstandby: s1\n",
        expect![[r#"
            error: there is no cluster `s2`
             --> t.yaml:6:10
              |
            6 | primary: s2
              |          ^^
              = help: the clusters of this file are `s1`, `hub`

            1 error
        "#]],
    );
}
