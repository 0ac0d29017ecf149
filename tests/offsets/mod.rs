//! `heliostat offsets`: what it says of each offset is held against what lies on both clusters, record by record.

mod kafka;
mod kept;

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::{Daemon, heliostat};
use crate::support::process::temp_dir;
use crate::support::rec::Rec;
use crate::support::transactional::Transactional;
use crate::support::wait_for;

/// How long anything may take, on a machine that does much else at once.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a daemon may take to drain and end.
const END: Duration = Duration::from_secs(20);

const TOPIC: &str = "orders";
const MIRROR: &str = "primary.orders";

/// Members of a group are missed soon, and a group does not wait for more of them.
const PROPERTIES: &[(&str, &str)] = &[
    ("group.min.session.timeout.ms", "1000"),
    ("group.initial.rebalance.delay.ms", "0"),
];

/// Two clusters, and a file with a flow between them.
struct Rig {
    primary: Client,
    standby: Client,
    file: String,
    directory: tempfile::TempDir,
    clusters: [InProcess; 2],
}

impl Rig {
    #[track_caller]
    fn start(settings: &str) -> Rig {
        let clusters = [InProcess::start(1, PROPERTIES), InProcess::start(1, PROPERTIES)];
        let [primary, standby] = clusters
            .each_ref()
            .map(|cluster| Client::new(cluster.bootstrap()));
        let [from, to] = clusters.each_ref().map(InProcess::bootstrap);
        let file = format!(
            "name: offsets\nlayout: custom\nclusters:\n  primary: {{ bootstrap_servers: \"{from}\" }}\n  \
             standby: {{ bootstrap_servers: \"{to}\" }}\n\
             flows: [{{ name: primary->standby, session_timeout: 1s, discovery_interval: 200ms{settings} }}]\n"
        );
        let directory = temp_dir("offsets");
        std::fs::write(directory.path().join("t.yaml"), &file).expect("write a topology");
        Rig {
            primary,
            standby,
            file,
            directory,
            clusters,
        }
    }

    /// Waits until a daemon has copied all of a topic, and ends it.
    #[track_caller]
    fn copy(&self, daemon: &mut Daemon, topic: &str) {
        self.wait_copied(daemon, topic);
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    }

    #[track_caller]
    fn wait_copied(&self, daemon: &Daemon, topic: &str) {
        wait_for(LIMIT, &format!("{topic} is copied"), || {
            let ends = self.primary.end_offsets(topic).into_iter().map(Some);
            let flow = daemon.flow("primary->standby");
            let of_topic = flow
                .partitions
                .iter()
                .filter(|partition| partition.topic == topic);
            let positions: Vec<Option<i64>> = of_topic.map(|partition| partition.position).collect();
            if positions == ends.collect::<Vec<_>>() {
                Ok(())
            } else {
                Err(format!("{positions:?} {:?}", flow.reason))
            }
        });
    }

    /// Runs `heliostat offsets` on the file: exit code, standard output and standard error.
    #[track_caller]
    fn offsets(&self, arguments: &[&str]) -> (i32, String, String) {
        let all = [&["offsets", "t.yaml", "--log-level", "error"], arguments].concat();
        let output = heliostat(&all, Some(self.directory.path()));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text in UTF-8");
        let code = output.status.code().expect("an exit code");
        (code, text(output.stdout), text(output.stderr))
    }

    /// Each offset of a topic's partition up to one, with state and offset on the other side.
    #[track_caller]
    fn all(&self, topic: &str, partition: i32, end: i64, direction: &[&str]) -> BTreeMap<i64, (String, i64)> {
        let lines: String = (0..=end)
            .map(|offset| format!("{topic},{partition},{offset}\n"))
            .collect();
        std::fs::write(self.directory.path().join("all.csv"), lines).expect("write a file of offsets");
        let arguments = [&["--from-file", "all.csv", "-o", "json"], direction].concat();
        let (code, out, err) = self.offsets(&arguments);
        assert_eq!((code, err.as_str()), (0, ""));
        let report: Value = serde_json::from_str(&out).expect("JSON");
        let rows = report["offsets"].as_array().expect("offsets").iter();
        let read = |row: &Value| {
            let state = row["state"].as_str().expect("a state").to_owned();
            let there = row["to_offset"].as_i64().expect("an offset");
            (row["offset"].as_i64().expect("an offset"), (state, there))
        };
        rows.map(read).collect()
    }

    /// Where each value of a partition lies on both sides, by its place on the source; the mirror may have lost some.
    #[track_caller]
    fn pairs(&self, partition: i32) -> Vec<(i64, Option<i64>)> {
        let committed = self.primary.with(&[("isolation.level", "read_committed")]);
        let of = |records: Vec<Rec>| -> Vec<Rec> {
            records
                .into_iter()
                .filter(|record| record.partition == partition)
                .collect()
        };
        let mirror = of(self.standby.read(MIRROR));
        let place = |value: &Option<Vec<u8>>| {
            let found = mirror.iter().find(|record| record.value == *value)?;
            Some(found.offset)
        };
        of(committed.read(TOPIC))
            .iter()
            .map(|record| (record.offset, place(&record.value)))
            .collect()
    }

    /// Panics unless each offset is translated as the records lie, in both directions.
    #[track_caller]
    fn expect_true(&self, partition: i32) {
        let pairs = self.pairs(partition);
        let (_, source_end) = self.primary.watermarks(TOPIC)[partition as usize];
        let (start, target_end) = self.standby.watermarks(MIRROR)[partition as usize];
        let last = pairs
            .iter()
            .filter_map(|pair| pair.1)
            .next_back()
            .map_or(start, |last| last + 1);
        for (source, (state, there)) in self.all(TOPIC, partition, source_end + 1, &[]) {
            let next = pairs.iter().find(|pair| pair.0 >= source && pair.1.is_some());
            let next = next.and_then(|pair| pair.1).unwrap_or(last);
            let first = pairs.iter().find(|pair| pair.1.is_some());
            let said = format!("source offset {source}: {state}, {there}");
            assert_eq!(there, next, "{said}");
            let expected = match source {
                _ if source > source_end => "beyond what is copied",
                _ if source == source_end || pairs.contains(&(source, Some(there))) => "exact",
                _ if first.is_none_or(|first| source < first.0) => "before the mirror",
                _ => "inside a gap",
            };
            assert_eq!(state, expected, "{said}");
        }
        let first = pairs.iter().find_map(|pair| pair.1);
        for (target, (state, there)) in self.all(MIRROR, partition, target_end + 1, &["--reverse"]) {
            let next = pairs
                .iter()
                .find(|pair| pair.1.is_some_and(|there| there >= target));
            let next = next.map_or(source_end, |pair| pair.0);
            let said = format!("target offset {target}: {state}, {there}");
            let expected = match target {
                // Where markers lie before the first record, they are no record, and before the mirror as well.
                _ if target < start => "before the mirror",
                _ if first.is_some_and(|first| target < first) && state != "inside a gap" => {
                    "before the mirror"
                }
                _ if target > target_end => "beyond what is copied",
                _ if target == target_end || pairs.contains(&(there, Some(target))) => "exact",
                _ => "inside a gap",
            };
            assert_eq!(state, expected, "{said}");
            // What the mirror has lost may be on the source still.
            let is_next = there == next || expected == "before the mirror" && there < next;
            assert!(is_next, "{said}, {next}");
        }
    }
}

/// Commits offsets of a topic for a group, by partition.
#[track_caller]
fn commit(client: &Client, group: &str, topic: &str, offsets: &[(i32, i64)]) {
    let consumer: BaseConsumer = client
        .config()
        .set("group.id", group)
        .create()
        .expect("create a consumer");
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
            .expect("a valid offset");
    }
    wait_for(LIMIT, "offsets are committed", || {
        consumer.commit(&list, CommitMode::Sync)
    });
}

/// Values that no other call gives, to one partition.
fn values(name: &str, partition: i32, count: usize) -> Vec<Rec> {
    let value = |number| format!("{name}-{number}");
    (0..count)
        .map(|number| Rec::new(partition, None, Some(value(number).as_bytes())))
        .collect()
}

#[test]
fn every_offset_is_translated_as_the_records_lie_and_a_group_with_them() {
    let rig = Rig::start("");
    rig.primary.create_topic(TOPIC, 2, &[]);
    let transactional = Transactional::new(&rig.primary, TOPIC);
    for turn in 0..12 {
        let values: Vec<String> = (0..1 + turn % 3).map(|n| format!("t-{turn}-{n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        transactional.write(&values);
        match turn % 4 {
            3 => transactional.abort(),
            _ => transactional.commit(),
        }
    }
    rig.primary
        .produce(TOPIC, &values("plain", 1, 20), Producing::default());
    // The mirror begins later than the topic did.
    rig.primary.delete_records(TOPIC, 0, 3);
    rig.primary.delete_records(TOPIC, 1, 5);
    let mut daemon = Daemon::start(&rig.file);
    rig.wait_copied(&daemon, TOPIC);
    // Who comes after it finds out what arrived, and writes a marker.
    daemon.process().kill();
    rig.primary
        .produce(TOPIC, &values("later", 1, 20), Producing::default());
    transactional.write(&["t-last"]).commit();
    daemon.restart();
    rig.copy(&mut daemon, TOPIC);
    for partition in 0..2 {
        rig.expect_true(partition);
    }

    let [here, there] = [0, 1].map(|partition| rig.pairs(partition));
    let first = here[here.len() / 2];
    let second = there[there.len() / 2];
    commit(&rig.primary, "billing", TOPIC, &[(0, first.0), (1, second.0)]);
    let (code, csv, err) = rig.offsets(&["--group", "billing", "-o", "csv"]);
    let line = |partition: i32, pair: (i64, Option<i64>)| {
        format!("{MIRROR},{partition},{}\n", pair.1.expect("it is copied"))
    };
    assert_eq!(
        (code, csv.as_str(), err.as_str()),
        (0, (line(0, first) + &line(1, second)).as_str(), "")
    );
    // And back.
    std::fs::write(rig.directory.path().join("billing.csv"), &csv).expect("write a file of offsets");
    let (_, back, _) = rig.offsets(&["--from-file", "billing.csv", "--reverse", "-o", "csv"]);
    assert_eq!(back, format!("{TOPIC},0,{}\n{TOPIC},1,{}\n", first.0, second.0));
}

#[test]
fn what_cannot_be_translated_is_named_with_what_there_is() {
    let rig = Rig::start("");
    let (code, _, err) = rig.offsets(&["--topic", TOPIC, "--partition", "0", "--offset", "1"]);
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("nothing was ever mirrored from primary"), "{err}");

    rig.primary.create_topic(TOPIC, 1, &[]);
    rig.primary
        .produce(TOPIC, &values("v", 0, 10), Producing::default());
    let mut daemon = Daemon::start(&rig.file);
    rig.copy(&mut daemon, TOPIC);

    let one = |topic, more: &[&str]| {
        rig.offsets(&[&["--topic", topic, "--partition", "0", "--offset", "4"], more].concat())
    };
    let (code, out, err) = one(TOPIC, &[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("exact") && out.contains(MIRROR), "{out}");
    let (code, _, err) = one("order", &[]);
    assert_eq!(code, 2);
    assert!(
        err.contains("order has no mirror in the flow primary->standby; there are: orders -> primary.orders"),
        "{err}"
    );
    let (code, _, err) = one(MIRROR, &[]);
    assert_eq!(code, 2);
    assert!(err.contains("--reverse"), "{err}");
    let (code, _, err) = one(TOPIC, &["--flow", "standby->primary"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("there is no flow standby->primary; there are: primary->standby"),
        "{err}"
    );
    let (code, _, err) = rig.offsets(&["--group", "nobody"]);
    assert_eq!(code, 3);
    assert!(err.contains("has committed nothing on primary"), "{err}");

    // What is known is said, and what is not is left out and named.
    let lines = format!("{TOPIC},0,7\n{TOPIC},9,1\nother,0,1\n");
    std::fs::write(rig.directory.path().join("some.csv"), lines).expect("write a file of offsets");
    let (code, csv, err) = rig.offsets(&["--from-file", "some.csv", "-o", "csv"]);
    assert_eq!((code, csv.as_str()), (7, "primary.orders,0,7\n"), "{err}");
    assert!(err.contains("orders 9: primary.orders has 1 partitions"), "{err}");
    assert!(
        err.contains("other 0: the flow primary->standby has no mirror of it"),
        "{err}"
    );
    std::fs::write(rig.directory.path().join("wrong.csv"), "orders,0\n").expect("write a file of offsets");
    let (code, _, err) = rig.offsets(&["--from-file", "wrong.csv"]);
    assert_eq!(code, 2);
    assert!(err.contains("wrong.csv: line 1"), "{err}");
}
