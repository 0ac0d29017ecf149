//! A consumer group that moves from one Apache Kafka to another and back, with Kafka's own tool: no record is read twice, none is missed.

use std::collections::BTreeSet;

use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;

use super::*;
use crate::support::kafka::{self, Kafka};
use crate::support::unique;

const PARTITIONS: i32 = 2;

/// A group's consumer of a topic that goes on where the group has committed.
struct Member(BaseConsumer);

impl Member {
    #[track_caller]
    fn new(client: &Client, group: &str, topic: &str) -> Member {
        let consumer: BaseConsumer = client
            .config()
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("create a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition_offset(topic, partition, Offset::Stored)
                .expect("a valid offset");
        }
        consumer.assign(&list).expect("assign partitions");
        Member(consumer)
    }

    /// Reads so many records, or as many as there are, and commits. Returns their values.
    #[track_caller]
    fn read(&self, at_most: usize) -> Vec<String> {
        let mut values = Vec::new();
        let mut ended = BTreeSet::new();
        wait_for(LIMIT, "the group has read", || {
            match self.0.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    ended.remove(&message.partition());
                    let value = message.payload().expect("a value");
                    values.push(String::from_utf8(value.to_vec()).expect("text in UTF-8"));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
                Some(Err(error)) => return Err(error.to_string()),
                None => {}
            }
            if values.len() >= at_most || ended.len() == PARTITIONS as usize {
                Ok(())
            } else {
                Err(format!("{} records, {ended:?} at their ends", values.len()))
            }
        });
        self.0
            .commit_consumer_state(CommitMode::Sync)
            .expect("commit what was read");
        values
    }
}

/// Sets a group's offsets as a file says.
#[track_caller]
fn reset(cluster: &Kafka, group: &str, file: &str) {
    let arguments = [
        "--group",
        group,
        "--reset-offsets",
        "--from-file",
        file,
        "--execute",
    ];
    let output = cluster.tool("kafka-consumer-groups", &arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("NEW-OFFSET") && !err.contains("Error"),
        "{out}{err}"
    );
}

/// Records in both partitions: plain ones, and committed and aborted transactions among them.
#[track_caller]
fn write(client: &Client, topic: &str, transactional: &Transactional, name: &str) -> Vec<String> {
    let mut written = Vec::new();
    for turn in 0..10 {
        let values: Vec<String> = (0..1 + turn % 4)
            .map(|n| format!("{name}-t-{turn}-{n}"))
            .collect();
        transactional.write(&values.iter().map(String::as_str).collect::<Vec<_>>());
        if turn % 3 == 1 {
            transactional.abort();
        } else {
            transactional.commit();
            written.extend(values);
        }
        for partition in 0..PARTITIONS {
            let value = format!("{name}-p-{turn}-{partition}");
            let record = Rec::new(partition, None, Some(value.as_bytes()));
            client.produce(topic, &[record], Producing::default());
            written.push(value);
        }
    }
    written
}

#[test]
fn a_group_moves_between_apache_kafkas_and_back_and_reads_each_record_once() {
    let Some(pair) = kafka::shared("a_group_moves_between_apache_kafkas_and_back_and_reads_each_record_once")
    else {
        return;
    };
    let (topic, alias, group) = (unique("moves"), unique("west"), unique("billing"));
    let mirror = format!("{alias}.{topic}");
    let [west, east] = [&pair.a, &pair.b].map(|kafka| Client::new(kafka.bootstrap()));
    let file = format!(
        "name: moves\nlayout: custom\nclusters:\n  {alias}: {{ bootstrap_servers: \"{}\" }}\n  \
         east: {{ bootstrap_servers: \"{}\" }}\n\
         flows: [{{ name: {alias}->east, session_timeout: 6s, discovery_interval: 500ms, topics: {{ include: [{topic}] }} }}]\n",
        pair.a.bootstrap(),
        pair.b.bootstrap()
    );
    west.create_topic(&topic, PARTITIONS, &[]);
    let transactional = Transactional::new(&west, &topic);
    let mut written = write(&west, &topic, &transactional, "first");
    let mut daemon = Daemon::start(&file);
    let is_copied = |daemon: &Daemon| {
        wait_for(LIMIT, "all is copied", || {
            let ends: Vec<Option<i64>> = west.end_offsets(&topic).into_iter().map(Some).collect();
            let flow = daemon.flow(&format!("{alias}->east"));
            let positions: Vec<Option<i64>> = flow.partitions.iter().map(|found| found.position).collect();
            if positions == ends {
                Ok(())
            } else {
                Err(format!("{positions:?} of {ends:?}"))
            }
        });
    };
    is_copied(&daemon);
    // Its successor leaves a marker in the mirror.
    daemon.process().kill();
    written.extend(write(&west, &topic, &transactional, "second"));
    daemon.restart();
    is_copied(&daemon);
    assert_eq!(
        daemon.stop(END).code(),
        Some(0),
        "{}",
        daemon.process().stderr_tail()
    );

    let third = written.len() / 3;
    let mut read = Member::new(&west, &group, &topic).read(third);
    assert_eq!(read.len(), third);
    for (direction, here, cluster, client, there, most) in [
        (&[][..], &topic, &pair.b, &east, &mirror, third),
        (&["--reverse"][..], &mirror, &pair.a, &west, &topic, usize::MAX),
    ] {
        let arguments = ["offsets", "--log-level", "error", "--group", &group, "-o", "csv"];
        let path = daemon.topology().to_str().expect("a path in UTF-8").to_owned();
        let all = [&arguments[..], &["--topic", here, &path], direction].concat();
        let output = heliostat(&all, None);
        let csv = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && err.is_empty(), "{err}");
        // A partition of which nothing was read yet has no offset, and begins at the beginning.
        assert!((1..=PARTITIONS as usize).contains(&csv.lines().count()), "{csv}");
        let offsets = daemon.directory().join("offsets.csv");
        std::fs::write(&offsets, &csv).expect("write a file of offsets");
        reset(cluster, &group, offsets.to_str().expect("a path in UTF-8"));
        read.extend(Member::new(client, &group, there).read(most));
    }
    read.sort();
    written.sort();
    assert_eq!(read, written);
}
