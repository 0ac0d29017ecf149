//! Words, sizes, durations, numbers, addresses and names.

use expect_test::expect;

use super::{check, check_clusters, check_with, two};

#[test]
fn a_word_that_is_none_of_the_possible() {
    check(
        "name: t\nlayout: active_standby\n",
        expect![[r#"
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
    "#]],
    );
    check_with(
        "defaults: { on_gap: ignore, on_recreated: folow, engine: librdkafka, delivery: exactly-once }\n",
        expect![[r#"
            error: `defaults.on_gap` cannot be `ignore`
             --> t.yaml:8:21
              |
            8 | defaults: { on_gap: ignore, on_recreated: folow, engine: librdkafka, delivery: exactly-once }
              |                     ^^^^^^
              = help: write `record` or `halt`

            error: `defaults.on_recreated` cannot be `folow`
             --> t.yaml:8:43
              |
            8 | defaults: { on_gap: ignore, on_recreated: folow, engine: librdkafka, delivery: exactly-once }
              |                                           ^^^^^
              = help: did you mean `on_recreated: follow`?

            error: `defaults.delivery`: the engine `librdkafka`, which this flow has, copies at least once
             --> t.yaml:8:80
              |
            8 | defaults: { on_gap: ignore, on_recreated: folow, engine: librdkafka, delivery: exactly-once }
              |                                                                                ^^^^^^^^^^^^
              = help: write `delivery: at-least-once`, or leave the key out; after a crash the records of the last second or so
                      may be there twice, and none is lost

            3 errors
        "#]],
    );
    check_with(
        "defaults: { compression: zst, engine: librdkafka }\n",
        expect![[r#"
            error: `defaults.compression` cannot be `zst`
             --> t.yaml:8:26
              |
            8 | defaults: { compression: zst, engine: librdkafka }
              |                          ^^^
              = help: did you mean `compression: zstd`?

            1 error
        "#]],
    );
    check_with(
        "defaults: { compression: producer, engine: librdkafka }\n",
        expect![[r#"
            error: `defaults.compression`: the engine `librdkafka`, which this flow has, compresses anew and does not keep what the producer has chosen
             --> t.yaml:8:26
              |
            8 | defaults: { compression: producer, engine: librdkafka }
              |                          ^^^^^^^^
              = help: write `lz4`, or another codec, or leave the key out

            1 error
        "#]],
    );
    check_with(
        "defaults: { delivery: at-most-once, engine: kafka }\n",
        expect![[r#"
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
              = help: write `batches` or `librdkafka`

            2 errors
        "#]],
    );
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
              = help: did you mean `discovery_interval: 10s`?

            error: `defaults.limits.in_flight_bytes`: `1.5GB` is not a whole number: take a smaller unit; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
              --> t.yaml:10:30
               |
            10 |   limits: { in_flight_bytes: 1.5GB, bytes_per_second: 50mb }
               |                              ^^^^^
               = help: did you mean `in_flight_bytes: 1500MB`?

            error: `defaults.limits.bytes_per_second`: there is no unit `mb`; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
              --> t.yaml:10:55
               |
            10 |   limits: { in_flight_bytes: 1.5GB, bytes_per_second: 50mb }
               |                                                       ^^^^
               = help: did you mean `bytes_per_second: 50MB`?

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
               = help: write `in_flight_bytes: 16MB`

            error: `defaults.limits.bytes_per_second` must be a size, not a list
              --> t.yaml:10:52
               |
            10 |   limits: { in_flight_bytes: 10, bytes_per_second: [1] }
               |                                                    ^
               = help: write `bytes_per_second: 50MB`

            3 errors
        "#]],
    );
    check_with(
        "defaults: { discovery_interval: 5 minutes, limits: { bytes_per_second: -1 } }\n",
        expect![[r#"
            error: `defaults.discovery_interval`: there is no unit `minutes`; durations have the units ms, s, m and h
             --> t.yaml:8:33
              |
            8 | defaults: { discovery_interval: 5 minutes, limits: { bytes_per_second: -1 } }
              |                                 ^^^^^^^^^
              = help: did you mean `discovery_interval: 5m`?

            error: `defaults.limits.bytes_per_second`: `-1` is not a number of bytes
             --> t.yaml:8:72
              |
            8 | defaults: { discovery_interval: 5 minutes, limits: { bytes_per_second: -1 } }
              |                                                                        ^
              = help: write a whole number and a unit, such as `bytes_per_second: 50MB`

            2 errors
        "#]],
    );
}

#[test]
fn a_wrong_quantity_is_mended() {
    check_with(
        "defaults:\n  discovery_interval: 1.5s\n  limits: { in_flight_bytes: 0.5MB, bytes_per_second: 50 MBit }\n",
        expect![[r#"
            error: `defaults.discovery_interval`: `1.5s` is not a whole number: take a smaller unit; durations have the units ms, s, m and h
             --> t.yaml:9:23
              |
            9 |   discovery_interval: 1.5s
              |                       ^^^^
              = help: did you mean `discovery_interval: 1500ms`?

            error: `defaults.limits.in_flight_bytes`: `0.5MB` is not a whole number: take a smaller unit; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
              --> t.yaml:10:30
               |
            10 |   limits: { in_flight_bytes: 0.5MB, bytes_per_second: 50 MBit }
               |                              ^^^^^
               = help: write a whole number and a unit, such as `in_flight_bytes: 16MB`

            error: `defaults.limits.bytes_per_second`: `50 MBit` is in bits, and 8 bits are a byte; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
              --> t.yaml:10:55
               |
            10 |   limits: { in_flight_bytes: 0.5MB, bytes_per_second: 50 MBit }
               |                                                       ^^^^^^^
               = help: did you mean `bytes_per_second: 6250KB`?

            3 errors
        "#]],
    );
    check_with(
        "defaults: { limits: { bytes_per_second: 1.5GB/s, in_flight_bytes: 50 bananas } }\n",
        expect![[r#"
            error: `defaults.limits.bytes_per_second`: `1.5GB/s` is not a whole number: take a smaller unit; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
             --> t.yaml:8:41
              |
            8 | defaults: { limits: { bytes_per_second: 1.5GB/s, in_flight_bytes: 50 bananas } }
              |                                         ^^^^^^^
              = help: did you mean `bytes_per_second: 1500MB`?

            error: `defaults.limits.in_flight_bytes`: there is no unit `bananas`; sizes have the units B, kB, MB, GB, TB, KiB, MiB and GiB
             --> t.yaml:8:67
              |
            8 | defaults: { limits: { bytes_per_second: 1.5GB/s, in_flight_bytes: 50 bananas } }
              |                                                                   ^^^^^^^^^^
              = help: write a whole number and a unit, such as `in_flight_bytes: 16MB`

            2 errors
        "#]],
    );
}

#[test]
fn numbers_out_of_range() {
    check_with(
        "defaults: { replication_factor: 0 }\n",
        expect![[r#"
        error: `defaults.replication_factor` is 0, and must be from 1 to 32767
         --> t.yaml:8:33
          |
        8 | defaults: { replication_factor: 0 }
          |                                 ^
          = help: write `replication_factor: 3`

        1 error
    "#]],
    );
    check_clusters(
        "{ built_in: { port: 0, brokers: 0 } }",
        "{ built_in: { port: 65530, brokers: 9 } }",
        expect![[r#"
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
    "#]],
    );
    check_clusters(
        "{ built_in: { port: 65536, brokers: 10 } }",
        "{ built_in: { port: 29092 } }",
        expect![[r#"
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
    "#]],
    );
}

#[test]
fn a_replication_factor_that_a_built_in_cluster_cannot_give() {
    check(
        &format!(
            "{}defaults: {{ replication_factor: 3 }}\n",
            two(
                "{ built_in: { port: 19092, brokers: 3 } }",
                "{ built_in: { port: 29092 } }"
            )
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
    check_with(
        "http: { listen: localhost }\n",
        expect![[r#"
        error: `http.listen` must be an IP address with a port, and `localhost` is none
         --> t.yaml:8:17
          |
        8 | http: { listen: localhost }
          |                 ^^^^^^^^^
          = help: write `listen: 127.0.0.1:8080` for this machine only, or `listen: 0.0.0.0:8080` for all its addresses

        1 error
    "#]],
    );
    check_clusters(
        "{ bootstrap_servers: \"kafka,a:0,,b:9092\" }",
        "{ bootstrap_servers: [] }",
        expect![[r#"
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

            error: `clusters.one.bootstrap_servers`: there is nothing before or after a comma
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
        "#]],
    );
    check_clusters(
        "{ bootstrap_servers: [\"SSL://a:9093\", \"a b:1\", \"[::1]:9092\", \"::1:9092\"] }",
        "{ built_in: { port: 29092, host: localhost } }",
        expect![[r#"
            error: `clusters.one.bootstrap_servers[0]`: `SSL://a:9093` has a protocol in front, which belongs in `security: { protocol: … }`
             --> t.yaml:4:30
              |
            4 |   one: { bootstrap_servers: ["SSL://a:9093", "a b:1", "[::1]:9092", "::1:9092"] }
              |                              ^^^^^^^^^^^^^^
              = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

            error: `clusters.one.bootstrap_servers[1]`: `a b` is no host name or address; an IPv6 address stands in brackets
             --> t.yaml:4:46
              |
            4 |   one: { bootstrap_servers: ["SSL://a:9093", "a b:1", "[::1]:9092", "::1:9092"] }
              |                                              ^^^^^^^
              = help: write `host:port`, separated by commas: `kafka-1:9092,kafka-2:9092`

            error: `clusters.one.bootstrap_servers[3]`: `::1` is no host name or address; an IPv6 address stands in brackets
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
    check_with(
        "",
        expect![[r#"
        0 errors
    "#]],
    );
    check(
        "name: two datacenters\nlayout: active-active\n",
        expect![[r#"
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
    "#]],
    );
}
