//! Secrets, security and client properties.

use expect_test::expect;

use super::{check, check_clusters, parse, two};

#[test]
fn secrets() {
    let security = |password: &str| {
        format!(
            "{{ bootstrap_servers: a:1, security: {{ protocol: SASL_SSL, mechanism: PLAIN, username: u, password: {password} }} }}"
        )
    };
    check_clusters(
        &security("hunter2"),
        &security("{ env: UNSET }").replace("a:1", "b:1"),
        expect![[r#"
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
    "#]],
    );
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
    check_clusters(
        &security("{}"),
        &security("{ variable: X }").replace("a:1", "b:1"),
        expect![[r#"
            error: `clusters.one.security.password` does not say where it is
             --> t.yaml:4:107
              |
            4 | ol: SASL_SSL, mechanism: PLAIN, username: u, password: {} } }
              |                                                        ^
              = help: write `password: { env: NAME }` or `password: { file: PATH }`

            error: `clusters.two.security.password` does not say where it is
             --> t.yaml:5:107
              |
            5 | ol: SASL_SSL, mechanism: PLAIN, username: u, password: { ***
              |                                                        ^
              = help: write `password: { env: NAME }` or `password: { file: PATH }`

            error: unknown key `***` in `clusters.two.security.password`
             --> t.yaml:5:109
              |
            5 | : SASL_SSL, mechanism: PLAIN, username: u, password: { ***
              |                                                        ^^^
              = help: the keys here are `env`, `file`

            3 errors
        "#]],
    );
    check_clusters(
        &security("\n      hunter2"),
        &security("{ env: SET }").replace("a:1", "b:1"),
        expect![[r#"
            error: `clusters.one.security.password` is written in the file, where everybody who reads the file reads it
             --> t.yaml:5:7
              |
            5 |       ***
              |       ^^^
              = help: write `password: { env: NAME }` for an environment variable, or `password: { file: PATH }` for a file with nothing else

            1 error
        "#]],
    );
}

#[test]
fn a_secret_from_the_environment_reaches_the_client_and_nobody_else() {
    let security =
        "security: { protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: u, password: { env: SET } }";
    let text = two(
        &format!("{{ bootstrap_servers: a:1, {security} }}"),
        "{ bootstrap_servers: b:1 }",
    );
    let topology = parse(&text).unwrap();
    let properties = topology.clusters[0]
        .security
        .as_ref()
        .unwrap()
        .client_properties();
    assert!(
        properties
            .iter()
            .any(|(name, value)| name == "sasl.password" && value.expose() == "hunter2")
    );
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
            error: `clusters.one.security` has no effect: without `sasl` a built-in cluster takes plain connections only
             --> t.yaml:4:37
              |
            4 |   one: { built_in: { port: 19092 }, security: { protocol: SSL } }
              |                                     ^^^^^^^^
              = help: leave `security` out, or add `sasl` to `built_in`

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
fn what_a_client_would_cut_off_is_refused() {
    let one = |user: &str, password: &str| {
        format!("{{ built_in: {{ port: 19092, sasl: {{ users: {{ {user}: {{ env: {password} }} }} }} }} }}")
    };
    let two = "{ bootstrap_servers: b:1, security: { protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: \" u\", password: { env: SET } } }";
    check_clusters(
        &one("app", "BLANK"),
        two,
        expect![[r#"
            error: the password with which the daemon connects begins with a space or a line break, and its Kafka client takes those away
             --> t.yaml:4:10
              |
            4 |   one: { built_in: { port: 19092, sasl: { users: { app: { env: BLANK } } } } }
              |          ^^^^^^^^
              = help: choose another one; spaces within it and behind it are no problem

            error: the user with which the daemon connects begins with a space or a line break, and its Kafka client takes those away
             --> t.yaml:5:34
              |
            5 |   two: { bootstrap_servers: b:1, security: { protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: ***
              |                                  ^^^^^^^^
              = help: choose another one; spaces within it and behind it are no problem

            2 errors
        "#]],
    );
    // A blank anywhere else is part of it.
    assert!(parse(&super::two(&one("'a b '", "SET"), "{ bootstrap_servers: b:1 }")).is_ok());
}

#[test]
fn broker_properties() {
    check_clusters(
        "{ built_in: { port: 19092, properties: { num.partitons: 3, log.retention.hours: soon, num.partitions: 6 } } }",
        "{ bootstrap_servers: b:1 }",
        expect![[r#"
            error: the built-in cluster has no broker config `num.partitons`
             --> t.yaml:4:49
              |
            4 |   one: { built_in: { port: 19092, properties: { num.partitons: 3, log.retention.hours: soon, num.partitions: 6
              |                                                 ^^^^^^^^^^^^^
              = help: did you mean `num.partitions`?

            error: the broker config `log.retention.hours` cannot be `soon`: expected a number of 32 bits
             --> t.yaml:4:88
              |
            4 | , properties: { num.partitons: 3, log.retention.hours: soon, num.partitions: 6 } } }
              |                                                        ^^^^
              = help: write a value that Kafka takes for it

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
            error: librdkafka has no property `socket.keepalive`
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

            error: librdkafka does not take `soon` for `socket.timeout.ms`
             --> t.yaml:5:67
              |
            5 |   two: { bootstrap_servers: b:1, properties: { socket.timeout.ms: soon, fetch.wait.max.ms: [1] } }
              |                                                                   ^^^^
              = help: librdkafka's CONFIGURATION.md says which values it takes

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

#[test]
fn a_place_behind_a_secret_has_no_carets() {
    check_clusters(
        "{ bootstrap_servers: a:1, properties: { sasl.password: hunter2, group.id: x } }",
        "{ bootstrap_servers: b:1 }",
        expect![[r#"
            error: `sasl.password` is not for `properties`: heliostat sets it itself
             --> t.yaml:4:48
              |
            4 |   one: { bootstrap_servers: a:1, properties: { sasl.password: ***
              |                                                ^^^^^^^^^^^^^
              = help: write `security: { password: { env: NAME } }` in the cluster

            error: `group.id` is not for `properties`: heliostat sets it itself
             --> t.yaml:4:72
              |
            4 |   one: { bootstrap_servers: a:1, properties: { sasl.password: ***
              = help: leave it out: where copying goes on must not depend on the file

            2 errors
        "#]],
    );
}

#[test]
fn a_broker_config_that_is_like_no_other() {
    check_clusters(
        "{ built_in: { port: 19092, properties: { bananas: 3 } } }",
        "{ bootstrap_servers: b:1 }",
        expect![[r#"
            error: the built-in cluster has no broker config `bananas`
             --> t.yaml:4:49
              |
            4 |   one: { built_in: { port: 19092, properties: { bananas: 3 } } }
              |                                                 ^^^^^^^
              = help: these are Kafka's broker configs, as far as they mean something to a built-in cluster

            1 error
        "#]],
    );
}

#[test]
fn users_of_a_built_in_cluster() {
    check_clusters(
        "{ built_in: { port: 1, sasl: { mechanisms: [], users: {} } } }",
        "{ built_in: { port: 2, sasl: { mechanisms: [GSSAPI], users: { u: hunter2, \"\": { env: SET } }, realm: x } } }",
        expect![[r#"
            error: `clusters.one.built_in.sasl.mechanisms` is an empty list: nobody could connect
             --> t.yaml:4:51
              |
            4 |   one: { built_in: { port: 1, sasl: { mechanisms: [], users: {} } } }
              |                                                   ^
              = help: write `mechanisms: [SCRAM-SHA-512]`, or leave the key out for all of them

            error: `clusters.one.built_in.sasl.users` has 0 users, and 1 to 100 are possible
             --> t.yaml:4:55
              |
            4 |   one: { built_in: { port: 1, sasl: { mechanisms: [], users: {} } } }
              |                                                       ^^^^^
              = help: write `users: { mirror: { env: NAME } }`; kafka-configs adds others while the cluster runs

            error: `clusters.two.built_in.sasl.mechanisms[0]` cannot be `GSSAPI`
             --> t.yaml:5:52
              |
            5 |   two: { built_in: { port: 2, sasl: { mechanisms: [GSSAPI], users: { u: ***
              |                                                    ^^^^^^
              = help: write `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`

            error: `clusters.two.built_in.sasl.users.u` is written in the file, where everybody who reads the file reads it
             --> t.yaml:5:73
              |
            5 |   two: { built_in: { port: 2, sasl: { mechanisms: [GSSAPI], users: { u: ***
              |                                                                         ^^^
              = help: write `u: { env: NAME }` for an environment variable, or `u: { file: PATH }` for a file with nothing else

            error: `clusters.two.built_in.sasl.users` has a user whose name is not possible
             --> t.yaml:5:82
              |
            5 |   two: { built_in: { port: 2, sasl: { mechanisms: [GSSAPI], users: { u: ***
              = help: a name has 1 to 1024 bytes, without control characters: `mirror`

            error: unknown key `***` in `clusters.two.built_in.sasl`
             --> t.yaml:5:102
              |
            5 |   two: { built_in: { port: 2, sasl: { mechanisms: [GSSAPI], users: { u: ***
              = help: the keys here are `mechanisms`, `users`

            6 errors
        "#]],
    );
    let secured = |security: &str| {
        format!(
            "{{ built_in: {{ port: 1, sasl: {{ mechanisms: [PLAIN], users: {{ u: {{ env: SET }} }} }} }}{security} }}"
        )
    };
    check_clusters(
        &secured(", security: { protocol: SASL_SSL, mechanism: PLAIN, username: u, password: { env: SET } }"),
        "{ built_in: { port: 2, sasl: {} } }",
        expect![[r#"
            error: `clusters.one.security.protocol` cannot be SASL_SSL: a built-in cluster with `sasl` takes SASL_PLAINTEXT
             --> t.yaml:4:92
              |
            4 | { mechanisms: [PLAIN], users: { u: { env: SET } } } }, security: { protocol: SASL_SSL, mechanism: PLAIN, usern
              |                                                        ^^^^^^^^
              = help: write `protocol: SASL_PLAINTEXT`, or leave `security` out: the first user is taken then

            error: `users` is missing in `clusters.two.built_in.sasl`
             --> t.yaml:5:31
              |
            5 |   two: { built_in: { port: 2, sasl: {} } }
              |                               ^^^^
              = help: write `users: { mirror: { env: NAME } }`

            2 errors
        "#]],
    );
    check_clusters(
        &secured(
            ", security: { protocol: SASL_PLAINTEXT, mechanism: SCRAM-SHA-256, username: u, password: { env: SET } }",
        ),
        "{ built_in: { port: 2 } }",
        expect![[r#"
            error: `clusters.one.security.mechanism` cannot be SCRAM-SHA-256: it is not among the cluster's own
             --> t.yaml:4:92
              |
            4 | { mechanisms: [PLAIN], users: { u: { env: SET } } } }, security: { protocol: SASL_PLAINTEXT, mechanism: SCRAM-
              |                                                        ^^^^^^^^
              = help: add it to `built_in.sasl.mechanisms`, or take one of those

            1 error
        "#]],
    );
    let topology = parse(&two(&secured(""), "{ built_in: { port: 2 } }")).unwrap();
    let own = topology.clusters[0].security.as_ref().unwrap();
    assert_eq!(own.protocol.to_string(), "SASL_PLAINTEXT");
    assert_eq!(own.sasl.as_ref().unwrap().username, "u");
    let shown = format!("{topology:?} {}", serde_json::to_string(&topology).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_engine_that_does_not_speak_what_a_cluster_asks_for() {
    check(
        &format!(
            "{}flows: [{{ name: one->two, engine: batches }}, {{ name: two->one }}]\n",
            two(
                "{ bootstrap_servers: a:1, security: { protocol: SSL } }",
                "{ bootstrap_servers: b:1 }"
            )
            .replace("active-active", "custom")
        ),
        expect![[r#"
            error: the engine `batches` has plain connections only so far, and `one` has security settings
             --> t.yaml:6:35
              |
            6 | flows: [{ name: one->two, engine: batches }, { name: two->one }]
              |                                   ^^^^^^^
              = help: write `engine: librdkafka`, or leave the key out

            1 error
        "#]],
    );
}

#[test]
fn keys_of_secrets_in_the_wrong_place_are_told_theirs() {
    check_clusters(
        "{ built_in: { port: 1, users: { u: { env: SET } } }, sasl: {} }",
        "{ bootstrap_servers: b:1, protocol: SSL, mechanisms: [PLAIN] }",
        expect![[r#"
            error: unknown key `users` in `clusters.one.built_in`
             --> t.yaml:4:31
              |
            4 |   one: { built_in: { port: 1, users: { u: { env: SET } } }, sasl: {} }
              |                               ^^^^^
              = help: `users` belongs in `sasl`: write `sasl: { users: { mirror: { env: NAME } } }`

            error: unknown key `sasl` in `clusters.one`
             --> t.yaml:4:61
              |
            4 |   one: { built_in: { port: 1, users: { u: { env: SET } } }, sasl: {} }
              |                                                             ^^^^
              = help: `sasl` belongs in `built_in`: write `built_in: { port: 19092, … }`

            error: unknown key `protocol` in `clusters.two`
             --> t.yaml:5:34
              |
            5 |   two: { bootstrap_servers: b:1, protocol: SSL, mechanisms: [PLAIN] }
              |                                  ^^^^^^^^
              = help: `protocol` belongs in `security`: write `security: { protocol: SASL_SSL, … }`

            error: unknown key `mechanisms` in `clusters.two`
             --> t.yaml:5:49
              |
            5 |   two: { bootstrap_servers: b:1, protocol: SSL, mechanisms: [PLAIN] }
              |                                                 ^^^^^^^^^^
              = help: `mechanisms` belongs in `sasl` of `built_in`: write `built_in: { port: 19092, sasl: { users: { mirror: { env: NAME } } } }`

            4 errors
        "#]],
    );
}
