//! The test support itself, on a real Apache Kafka: what it claims to do to brokers, lines and records.

use std::time::Duration;

use crate::support::clients::{Client, Producing};
use crate::support::load::{Load, Shape};
use crate::support::proxy::Proxy;
use crate::support::rec::{self, Rec};
use crate::support::{check, http, kafka, unique, wait_for, wait_still, wait_until};

/// Records of every kind that a client can write.
fn every_kind() -> Vec<Rec> {
    vec![
        Rec::new(0, Some(b"key"), Some(b"value")).at(1_700_000_000_000),
        Rec::new(0, None, Some(b"no key")),
        Rec::new(0, Some(b""), Some(b"an empty key")),
        Rec::new(0, Some(b"a tombstone"), None),
        Rec::new(1, Some(b"an empty value"), Some(b"")),
        Rec::new(1, None, None).at(1),
        Rec::new(1, Some(&[0, 0xff, 0xfe]), Some(&[0; 1_000_000])),
        Rec::with_every_kind_of_header(2),
    ]
}

#[test]
fn a_client_reads_what_it_wrote_byte_for_byte() {
    let Some(pair) = kafka::shared("a_client_reads_what_it_wrote_byte_for_byte") else {
        return;
    };
    let client = Client::new(pair.a.bootstrap());
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = unique(compression);
        // Kafka deletes records of 1970 at its next look.
        let configs = [("max.message.bytes", "2000000"), ("retention.ms", "-1")];
        client.create_topic(&topic, 3, &configs);
        let mut records = every_kind();
        let placed = client.produce(
            &topic,
            &records,
            Producing {
                compression,
                ..Producing::default()
            },
        );
        let read = client.read(&topic);
        // A timestamp of 0 stands for the moment of sending.
        for (record, read) in records
            .iter_mut()
            .zip(&read)
            .filter(|(record, _)| record.timestamp == 0)
        {
            record.timestamp = read.timestamp;
        }
        assert_eq!(
            placed,
            read.iter()
                .map(|record| (record.partition, record.offset))
                .collect::<Vec<_>>()
        );
        rec::assert_mirrored(&records, &read);
        assert_eq!(client.end_offsets(&topic), [4, 3, 1]);
    }
}

#[test]
fn a_broker_keeps_what_it_acknowledged_through_kill_stop_and_pause() {
    let Some(mut kafka) = kafka::Kafka::start("broker-life", &[]) else {
        return;
    };
    let client = Client::new(kafka.bootstrap());
    client.create_topic("life", 2, &[]);
    let load = Load::start(
        &client,
        "life",
        Shape {
            partitions: 2,
            ..Shape::default()
        },
    );
    let grows = |least: u64| {
        wait_for(Duration::from_secs(60), "records are acknowledged", || {
            let count = load.acknowledged();
            if count >= least { Ok(count) } else { Err(count) }
        })
    };
    let before = grows(500);
    kafka.kill();
    kafka.restart();
    let after_kill = grows(before + 500);
    kafka.pause();
    assert!(
        http::get(
            kafka.bootstrap().parse().expect("an address"),
            "/",
            Duration::from_millis(200)
        )
        .is_err()
    );
    kafka.resume();
    let after_pause = grows(after_kill + 500);
    kafka.stop();
    kafka.restart();
    grows(after_pause + 500);
    let written = load.stop();
    assert_eq!(written.failed, 0);
    check::judge(&written.name, &written.acknowledged, &client.read("life")).expect_exact();
}

#[test]
fn a_proxied_broker_is_reached_only_through_the_proxy() {
    let proxy = Proxy::new();
    let Some(kafka) = kafka::Kafka::start_behind("proxied-broker", proxy.port(), &[]) else {
        return;
    };
    proxy.open(kafka.proxied());
    let client = Client::new(proxy.address().to_string());
    client.create_topic("far", 1, &[]);
    let load = Load::start(&client, "far", Shape::default());
    let flows = || {
        let before = load.acknowledged();
        wait_until(Duration::from_secs(60), "records flow", || {
            load.acknowledged() > before + 100
        });
    };
    // What was on its way may still arrive.
    let stands = || {
        wait_still(Duration::from_secs(10), "nothing is acknowledged", || {
            load.acknowledged()
        })
    };
    flows();
    proxy.stall(true);
    stands();
    proxy.stall(false);
    flows();
    proxy.refuse();
    stands();
    proxy.accept();
    flows();
    proxy.cut();
    flows();
    proxy.delay(Duration::from_millis(50));
    flows();
    let written = load.stop();
    check::judge(&written.name, &written.acknowledged, &client.read("far")).expect_exact();
}

#[test]
fn kafkas_own_tools_run() {
    let Some(pair) = kafka::shared("kafkas_own_tools_run") else {
        return;
    };
    let topic = unique("tools");
    let output = pair.b.tool(
        "kafka-topics",
        &["--create", "--topic", &topic, "--partitions", "3"],
    );
    assert!(output.status.success(), "{output:?}");
    let client = Client::new(pair.b.bootstrap());
    assert_eq!(client.partitions(&topic), Some(3));
    client.create_partitions(&topic, 4);
    assert_eq!(
        client.topic_configs(&topic)["cleanup.policy"].as_deref(),
        Some("delete")
    );
    client.delete_topic(&topic);
    assert!(!client.topics().contains(&topic));
}
