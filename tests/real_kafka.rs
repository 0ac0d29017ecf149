//! The daemon on real Apache Kafka: as source, as target, and on both sides.

use std::collections::HashMap;
use std::time::Duration;

use heliostat::observe::status::{FlowStatus, State};
use heliostat::offsets::record::{self, Block, MapRecord};

use crate::support::built_in::BuiltIn;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape};
use crate::support::rec::{self, Rec};
use crate::support::transactional::Transactional;
use crate::support::{check, kafka, unique, wait_for};

/// How long anything may take, on a machine that compiles beside it and runs several JVMs.
const LIMIT: Duration = Duration::from_secs(60);

/// A daemon with one flow, under names that no other test uses on the clusters that tests share.
struct Mirror {
    daemon: Daemon,
    source: Client,
    target: Client,
    /// The source's alias, which is also the prefix of mirror topics.
    alias: String,
    flow: String,
}

impl Mirror {
    /// Mirrors the topics whose names begin with `topics`.
    fn start(source: &str, target: &str, topics: &str) -> Mirror {
        let alias = unique("source");
        let topology = format!(
            "name: real-kafka\n\
             layout: active-standby\n\
             clusters:\n  \
               {alias}: {{ bootstrap_servers: \"{source}\" }}\n  \
               standby: {{ bootstrap_servers: \"{target}\" }}\n\
             primary: {alias}\n\
             standby: standby\n\
             defaults:\n  \
               topics: {{ include: [\"{topics}.*\"] }}\n  \
               discovery_interval: 500ms\n  \
               session_timeout: 6s\n"
        );
        Mirror {
            daemon: Daemon::start(&topology),
            source: Client::new(source),
            target: Client::new(target),
            flow: format!("{alias}->standby"),
            alias,
        }
    }

    fn topic(&self, source_topic: &str) -> String {
        format!("{}.{source_topic}", self.alias)
    }

    fn status(&self) -> FlowStatus {
        self.daemon.flow(&self.flow)
    }

    /// Waits until the mirror of a topic ends at these offsets.
    #[track_caller]
    fn wait_ends(&self, topic: &str, expected: &[i64]) {
        let mirror = self.topic(topic);
        wait_for(LIMIT, &format!("{mirror} ends at {expected:?}"), || {
            if self.target.partitions(&mirror) != Some(expected.len() as i32) {
                return Err("it does not have these partitions yet".to_owned());
            }
            let ends = self.target.end_offsets(&mirror);
            if ends == expected {
                Ok(())
            } else {
                Err(format!("it ends at {ends:?}"))
            }
        });
    }

    /// Waits until a partition of `topic` is in a state, and returns why it is.
    #[track_caller]
    fn wait_state(&self, topic: &str, state: State) -> Option<String> {
        wait_for(LIMIT, &format!("{topic} is {state}"), || {
            let status = self.status();
            let partitions = status
                .partitions
                .iter()
                .filter(|partition| partition.topic == topic);
            let states: Vec<_> = partitions
                .map(|partition| (partition.state, partition.reason.clone()))
                .collect();
            match states.iter().find(|(now, _)| *now == state) {
                Some((_, reason)) => Ok(reason.clone()),
                None => Err(format!("its partitions are {states:?}")),
            }
        })
    }

    /// Waits until the flow says that nothing is missing on the target.
    #[track_caller]
    fn wait_caught_up(&self) {
        wait_for(LIMIT, "the flow is caught up", || {
            let status = self.status();
            let lag = status.lag;
            if status.state == State::CaughtUp && lag.known && lag.records == 0 {
                Ok(())
            } else {
                Err(format!(
                    "it is {} ({:?}), {} records behind",
                    status.state, status.reason, lag.records
                ))
            }
        });
    }

    /// Waits until everything that `topic` holds now is in its mirror, and compares.
    #[track_caller]
    fn expect_equal(&self, topic: &str) {
        let source = self.source.read(topic);
        self.wait_ends(topic, &self.source.end_offsets(topic));
        rec::assert_mirrored(&source, &self.target.read(&self.topic(topic)));
    }

    /// What the offset map says last of each partition of a topic.
    fn blocks(&self, topic: &str) -> HashMap<i32, Block> {
        let mirror = self.topic(topic);
        let records = self.target.read(&record::topic_name(&self.alias));
        let read = |rec: &Rec| MapRecord::read(rec.key.as_deref().unwrap_or_default(), rec.value.as_deref());
        let of_topic = |record| match record {
            MapRecord::Block(topic, partition, _, Some(block)) if topic == mirror => Some((partition, block)),
            _ => None,
        };
        records.iter().filter_map(read).filter_map(of_topic).collect()
    }
}

/// Records of every kind that a client can write, in two partitions.
fn every_kind() -> Vec<Rec> {
    vec![
        Rec::new(0, Some(b"key"), Some(b"value")).at(1_700_000_000_000),
        Rec::new(0, None, Some(b"no key")),
        Rec::new(0, Some(b""), Some(b"an empty key")),
        Rec::new(0, Some(b"a tombstone"), None),
        Rec::new(0, Some(b"an empty value"), Some(b"")),
        Rec::new(1, None, None).at(1),
        Rec::new(1, Some(&[0, 0xff, 0xfe]), Some(&[0x5a; 1_000_000])),
        Rec::with_every_kind_of_header(1),
    ]
}

/// Mirrors records of every kind in every compression from one cluster to another, and compares byte for byte.
#[track_caller]
fn mirrors_every_kind(source: &str, target: &str) {
    let (tag, client) = (unique("kinds"), Client::new(source));
    let topics = ["none", "gzip", "snappy", "lz4", "zstd"].map(|compression| {
        let topic = format!("{tag}-{compression}");
        // Retention would soon take the record of 1970, in the mirror before it does so on the source.
        client.create_topic(
            &topic,
            2,
            &[("max.message.bytes", "2000000"), ("retention.ms", "-1")],
        );
        let how = Producing {
            compression,
            ..Producing::default()
        };
        client.produce(&topic, &every_kind(), how);
        topic
    });
    let mirror = Mirror::start(source, target, &tag);
    for topic in &topics {
        mirror.expect_equal(topic);
        // The same again while the flow runs, behind what it has copied.
        client.produce(topic, &every_kind(), Producing::default());
        mirror.expect_equal(topic);
    }
    mirror.wait_caught_up();
}

#[test]
fn kafka_to_kafka_is_a_mirror_byte_for_byte() {
    let Some(pair) = kafka::shared("kafka_to_kafka_is_a_mirror_byte_for_byte") else {
        return;
    };
    mirrors_every_kind(&pair.a.bootstrap(), &pair.b.bootstrap());
}

#[test]
fn kafka_to_built_in_is_a_mirror_byte_for_byte() {
    let Some(pair) = kafka::shared("kafka_to_built_in_is_a_mirror_byte_for_byte") else {
        return;
    };
    let built_in = BuiltIn::start(3, &[]);
    mirrors_every_kind(&pair.a.bootstrap(), &built_in.bootstrap());
}

#[test]
fn built_in_to_kafka_is_a_mirror_byte_for_byte() {
    let Some(pair) = kafka::shared("built_in_to_kafka_is_a_mirror_byte_for_byte") else {
        return;
    };
    let built_in = BuiltIn::start(3, &[]);
    mirrors_every_kind(&built_in.bootstrap(), &pair.b.bootstrap());
}

#[test]
fn kill_9_between_kafkas_loses_nothing_and_repeats_nothing() {
    let Some(pair) = kafka::shared("kill_9_between_kafkas_loses_nothing_and_repeats_nothing") else {
        return;
    };
    const RATE: u32 = 1_000;
    const KILLS: usize = 2;
    let (topic, source) = (unique("killed"), Client::new(pair.a.bootstrap()));
    source.create_topic(&topic, 2, &[]);
    let shape = Shape {
        rate: Some(RATE),
        partitions: 2,
        ..Shape::default()
    };
    let load = Load::start(&source, &topic, shape);
    let mut mirror = Mirror::start(&pair.a.bootstrap(), &pair.b.bootstrap(), &topic);
    let copied = |mirror: &Mirror| match mirror.target.partitions(&mirror.topic(&topic)) {
        Some(_) => mirror
            .target
            .end_offsets(&mirror.topic(&topic))
            .iter()
            .sum::<i64>(),
        None => 0,
    };
    for _ in 0..KILLS {
        let before = copied(&mirror);
        wait_for(LIMIT, "the flow copies under load", || {
            let now = copied(&mirror);
            if now > before + 1_500 {
                Ok(())
            } else {
                Err(format!("{before} records, then {now}"))
            }
        });
        mirror.daemon.process().kill();
        mirror.daemon.restart();
    }
    let written = load.stop();
    mirror.wait_caught_up();
    let read = mirror.target.read(&mirror.topic(&topic));
    let verdict = check::judge(&written.name, &written.acknowledged, &read);
    assert_eq!(written.failed, 0);
    verdict.expect_exact();
}

#[test]
fn aborted_records_are_not_copied() {
    let Some(pair) = kafka::shared("aborted_records_are_not_copied") else {
        return;
    };
    let (topic, source) = (unique("transactions"), Client::new(pair.a.bootstrap()));
    source.create_topic(&topic, 1, &[]);
    let mirror = Mirror::start(&pair.a.bootstrap(), &pair.b.bootstrap(), &topic);
    let producer = Transactional::new(&source, &topic);
    producer.write(&["committed 1", "committed 2"]).commit();
    producer.write(&["aborted 1", "aborted 2"]).abort();
    source.produce(
        &topic,
        &[Rec::new(0, None, Some(b"without a transaction"))],
        Producing::default(),
    );
    producer.write(&["aborted 3"]).abort();
    producer.write(&["open"]);
    mirror.wait_ends(&topic, &[3]);
    // What is open holds back what comes after it, and neither counts as lag: no reader can have it yet.
    source.produce(
        &topic,
        &[Rec::new(0, None, Some(b"behind"))],
        Producing::default(),
    );
    mirror.wait_caught_up();
    assert_eq!(mirror.target.end_offsets(&mirror.topic(&topic)), [3]);
    producer.commit();
    mirror.wait_ends(&topic, &[5]);
    producer.write(&["aborted at the end"]).abort();
    // The position is beyond what was aborted, and beyond its marker.
    let end = source.end_offsets(&topic)[0];
    wait_for(LIMIT, "the position is at the log end", || {
        let position = mirror
            .status()
            .partitions
            .first()
            .and_then(|partition| partition.position);
        if position == Some(end) {
            Ok(())
        } else {
            Err(format!("{position:?} of {end}"))
        }
    });
    mirror.wait_caught_up();
    let values: Vec<String> = mirror
        .target
        .read(&mirror.topic(&topic))
        .iter()
        .map(|rec| String::from_utf8_lossy(rec.value.as_deref().unwrap_or_default()).into_owned())
        .collect();
    assert_eq!(
        values,
        [
            "committed 1",
            "committed 2",
            "without a transaction",
            "open",
            "behind"
        ]
    );
}

#[test]
fn topics_grow_and_are_made_anew_on_kafka() {
    let Some(pair) = kafka::shared("topics_grow_and_are_made_anew_on_kafka") else {
        return;
    };
    let (tag, source) = (unique("growing"), Client::new(pair.a.bootstrap()));
    let topic = format!("{tag}-1");
    let mirror = Mirror::start(&pair.a.bootstrap(), &pair.b.bootstrap(), &tag);
    // A topic that was not there when the daemon started.
    source.create_topic(
        &topic,
        2,
        &[
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "2000000"),
            ("message.timestamp.type", "LogAppendTime"),
        ],
    );
    let at = |partition| Rec::new(partition, Some(b"k"), Some(b"v"));
    source.produce(&topic, &[at(0), at(1)], Producing::default());
    mirror.expect_equal(&topic);
    let configs = mirror.target.topic_configs(&mirror.topic(&topic));
    assert_eq!(configs["cleanup.policy"].as_deref(), Some("compact"));
    assert_eq!(configs["max.message.bytes"].as_deref(), Some("2000000"));
    // The mirror keeps the timestamps that the source gave, so it must not give its own.
    assert_eq!(configs["message.timestamp.type"].as_deref(), Some("CreateTime"));
    // Partitions that were not there either, with a record in one before the flow can have seen it.
    source.create_partitions(&topic, 4);
    source.produce(&topic, &[at(3), at(2), at(0)], Producing::default());
    mirror.expect_equal(&topic);
    mirror.wait_caught_up();
    let log = mirror.daemon.log();
    assert!(
        !log.contains("cannot be written"),
        "the writer did not know the new partitions: {log}"
    );
    let first = wait_for(LIMIT, "the offset map knows the partition", || {
        mirror.blocks(&topic).remove(&3).ok_or("it has no block of it")
    });
    let ids = (first.source_topic_id.clone(), first.target_topic_id.clone());
    assert!(
        matches!(&ids, (Some(source), Some(target)) if source != target),
        "{ids:?}"
    );
    // The same name, another topic.
    source.delete_topic(&topic);
    source.create_topic(&topic, 4, &[]);
    source.produce(&topic, &[at(3)], Producing::default());
    let reason = mirror.wait_state(&topic, State::Recreated).unwrap_or_default();
    assert!(reason.contains("made again"), "{reason}");
    assert_eq!(mirror.target.end_offsets(&mirror.topic(&topic)), [2, 1, 1, 1]);
}

/// A broker shows a topic to nobody who may not describe it, and says that it is there to whoever would make it.
#[test]
fn a_mirror_that_may_not_be_described_waits_and_is_copied_once_it_may() {
    let authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let properties = [authorizer, "allow.everyone.if.no.acl.found=true"];
    let Some(target) = kafka::Kafka::start("hidden-mirror", &properties) else {
        return;
    };
    let source = BuiltIn::start(1, &[]);
    let client = Client::new(source.bootstrap());
    let give = |topic: &str, value: &str| {
        let record = Rec::new(0, None, Some(value.as_bytes()));
        client.produce(topic, &[record], Producing::default());
    };
    client.create_topic("payments", 1, &[]);
    give("payments", "one");
    let mirror = Mirror::start(&source.bootstrap(), &target.bootstrap(), "");
    mirror.wait_ends("payments", &[1]);
    let hidden = mirror.topic("orders");
    let deny = |action| {
        let acl = [
            "--deny-principal",
            "User:ANONYMOUS",
            "--operation",
            "Describe",
            "--topic",
            &hidden,
        ];
        let output = target.tool("kafka-acls", &[&[action, "--force"], &acl[..]].concat());
        assert!(output.status.success(), "{output:?}");
    };
    mirror.target.create_topic(&hidden, 1, &[]);
    deny("--add");
    client.create_topic("orders", 1, &[]);
    give("orders", "one");
    let reason = mirror.wait_state("orders", State::Waiting).unwrap_or_default();
    assert!(reason.contains(&format!("does not show {hidden}")), "{reason}");
    assert_ne!(mirror.status().state, State::CaughtUp, "one topic is not copied");
    give("payments", "two");
    mirror.wait_ends("payments", &[2]);
    deny("--remove");
    mirror.wait_ends("orders", &[1]);
    mirror.wait_caught_up();
}
