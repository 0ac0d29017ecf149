//! The consumer protocol of KIP-848 on the built-in cluster: librdkafka's and Java's consumers with
//! `group.protocol=consumer`, and Kafka's tools on their groups.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::message::Message as _;

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::mirrors::write_numbers;
use crate::support::process::temp_dir;
use crate::support::{kafka, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "work";
const PARTITIONS: i32 = 6;
/// Members notice changes sooner, and are given up sooner, than by default.
const QUICK: [&str; 4] = [
    "--config",
    "group.consumer.heartbeat.interval.ms=200",
    "--config",
    "group.consumer.session.timeout.ms=6000",
];

/// Counts what a group does to its member.
#[derive(Default)]
struct Counting {
    rebalances: AtomicUsize,
}

impl ClientContext for Counting {}

impl ConsumerContext for Counting {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }
}

/// A member of the group `workers`, and what it has read.
struct Member {
    consumer: BaseConsumer<Counting>,
    read: BTreeSet<(i32, i64)>,
}

impl Member {
    fn join(client: &Client, subscription: &str, properties: &[(&str, &str)]) -> Member {
        let mut config = client.with(properties).config();
        config
            .set("group.id", "workers")
            .set("group.protocol", "consumer")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer<Counting> = config
            .create_with_context(Counting::default())
            .expect("create a consumer");
        consumer.subscribe(&[subscription]).expect("subscribe");
        Member {
            consumer,
            read: BTreeSet::new(),
        }
    }

    /// Takes what has come, for a moment. While a broker is away librdkafka says so in place of records.
    fn poll(&mut self) {
        let mut wait = Duration::from_millis(5);
        while let Some(message) = self.consumer.poll(wait) {
            if let Ok(message) = message {
                self.read.insert((message.partition(), message.offset()));
            }
            wait = Duration::ZERO;
        }
    }

    fn assigned(&self) -> BTreeSet<(String, i32)> {
        let assignment = self.consumer.assignment().expect("the assignment");
        let elements = assignment.elements();
        elements
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect()
    }

    fn rebalances(&self) -> usize {
        self.consumer.context().rebalances.load(Ordering::Relaxed)
    }
}

/// Polls all members until they have so many partitions, each partition with one of them.
#[track_caller]
fn wait_assigned(members: &mut [&mut Member], counts: &[usize]) {
    wait_for(LIMIT, &format!("the members have {counts:?} partitions"), || {
        members.iter_mut().for_each(|member| member.poll());
        let assigned: Vec<_> = members.iter().map(|member| member.assigned()).collect();
        let now: Vec<usize> = assigned.iter().map(BTreeSet::len).collect();
        let different: BTreeSet<_> = assigned.into_iter().flatten().collect();
        if now == counts && different.len() == counts.iter().sum::<usize>() {
            Ok(())
        } else {
            Err(format!("they have {now:?}"))
        }
    });
}

/// Polls all members until together they have read what was written.
#[track_caller]
fn wait_read(members: &mut [&mut Member], records: usize) {
    wait_for(LIMIT, &format!("{records} records are read"), || {
        members.iter_mut().for_each(|member| member.poll());
        let read: BTreeSet<_> = members.iter().flat_map(|member| &member.read).collect();
        if read.len() == records {
            Ok(())
        } else {
            Err(format!("{} are", read.len()))
        }
    });
}

#[test]
fn librdkafkas_members_share_a_topic_take_over_and_follow_its_growth() {
    let built_in = BuiltIn::start(3, &QUICK);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    write_numbers(&client, TOPIC, PARTITIONS, 0..600);
    let mut first = Member::join(&client, TOPIC, &[]);
    wait_assigned(&mut [&mut first], &[6]);
    let mut second = Member::join(&client, TOPIC, &[("group.remote.assignor", "range")]);
    wait_assigned(&mut [&mut first, &mut second], &[3, 3]);
    let mut third = Member::join(&client, "^wor.*", &[]);
    wait_assigned(&mut [&mut first, &mut second, &mut third], &[2, 2, 2]);
    // Now each of them has something to read.
    write_numbers(&client, TOPIC, PARTITIONS, 0..600);
    wait_read(&mut [&mut first, &mut second, &mut third], 1200);
    for member in [&first, &second, &third] {
        member
            .consumer
            .commit_consumer_state(CommitMode::Sync)
            .expect("commit");
    }
    drop(second);
    wait_assigned(&mut [&mut first, &mut third], &[3, 3]);
    client.create_partitions(TOPIC, 8);
    wait_assigned(&mut [&mut first, &mut third], &[4, 4]);
    // Only one of them reads what its expression means.
    client.create_topic("worries", 2, &[]);
    wait_assigned(&mut [&mut first, &mut third], &[5, 5]);
    client.delete_topic("worries");
    wait_assigned(&mut [&mut first, &mut third], &[4, 4]);
}

#[test]
fn members_go_on_after_a_restart_without_a_rebalance() {
    let mut built_in = BuiltIn::start(1, &QUICK);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    let mut first = Member::join(&client, TOPIC, &[]);
    let mut second = Member::join(&client, TOPIC, &[("group.instance.id", "static")]);
    wait_assigned(&mut [&mut first, &mut second], &[3, 3]);
    let before = [first.assigned(), second.assigned()];
    let rebalances = first.rebalances();
    for (round, kill) in [(1, false), (2, true)] {
        if kill {
            built_in.process().kill();
        } else {
            assert!(built_in.stop().success());
        }
        built_in.restart();
        write_numbers(&client, TOPIC, PARTITIONS, 0..600);
        wait_read(&mut [&mut first, &mut second], round * 600);
        // Both find their coordinator again, so that a member that leaves can say so.
        for member in [&first, &second] {
            member
                .consumer
                .commit_consumer_state(CommitMode::Sync)
                .expect("commit after the restart");
        }
        assert_eq!([first.assigned(), second.assigned()], before);
    }
    assert_eq!(
        first.rebalances(),
        rebalances,
        "it was not asked to give anything up"
    );
    // A static member that ends comes back to the same partitions, and the other one does not notice.
    drop(second);
    let mut second = Member::join(&client, TOPIC, &[("group.instance.id", "static")]);
    wait_until(LIMIT, "the static member has its partitions", || {
        second.poll();
        second.assigned() == before[1]
    });
    first.poll();
    assert_eq!(
        (first.assigned(), first.rebalances()),
        (before[0].clone(), rebalances)
    );
}

#[test]
fn javas_consumer_and_tools() {
    if !kafka::available("javas_consumer_and_tools") {
        return;
    }
    let built_in = BuiltIn::start(1, &QUICK);
    let bootstrap = built_in.bootstrap();
    let client = Client::new(&bootstrap);
    client.create_topic(TOPIC, 2, &[]);
    write_numbers(&client, TOPIC, 2, 0..6);
    let directory = temp_dir("consumer-protocol");
    let arguments = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        TOPIC,
        "--group",
        "workers",
        "--from-beginning",
        "--command-property",
        "group.protocol=consumer",
    ];
    let mut consumer = kafka::tool_running("kafka-console-consumer", &arguments, directory.path());
    wait_for(LIMIT, "the consumer has read everything", || {
        let read = consumer.stdout();
        if read.lines().count() == 6 {
            Ok(())
        } else {
            Err(read + &consumer.stderr())
        }
    });
    let tool = |tool: &str, arguments: &[&str]| {
        let all = [&["--bootstrap-server", &bootstrap], arguments].concat();
        let output = kafka::tool_on(tool, &all);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let groups = |arguments: &[&str]| tool("kafka-consumer-groups", arguments);
    let contains = |text: &str, parts: &[&str]| {
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    };
    contains(&groups(&["--list", "--state"]), &["workers Stable"]);
    contains(&groups(&["--list", "--type"]), &["workers Consumer"]);
    let one = |what: &[&str]| groups(&[&["--describe", "--group", "workers"], what].concat());
    contains(&one(&["--offsets"]), &["workers work 0 ", "workers work 1 "]);
    contains(&one(&["--state"]), &["uniform Stable 1"]);
    contains(&one(&["--members", "--verbose"]), &["work:0,1"]);
    contains(
        &groups(&["--delete", "--group", "workers"]),
        &["GroupNotEmptyException"],
    );
    let which = ["--entity-type", "groups", "--entity-name", "workers"];
    let configs = |arguments: &[&str]| tool("kafka-configs", &[&which, arguments].concat());
    configs(&["--alter", "--add-config", "consumer.session.timeout.ms=50000"]);
    contains(&configs(&["--describe"]), &["consumer.session.timeout.ms=50000"]);
    configs(&["--alter", "--delete-config", "consumer.session.timeout.ms"]);
    consumer.signal(rustix::process::Signal::TERM);
    consumer.wait(LIMIT);
    wait_for(LIMIT, "the group is empty", || {
        let state = groups(&["--list", "--state"]);
        if state.contains("workers Empty") {
            Ok(())
        } else {
            Err(state)
        }
    });
    let reset = [
        "--group",
        "workers",
        "--topic",
        TOPIC,
        "--reset-offsets",
        "--execute",
    ];
    let reset = |how: &[&str]| groups(&[&reset, how].concat());
    contains(
        &reset(&["--to-current"]),
        &["workers work 0 3", "workers work 1 3"],
    );
    contains(
        &reset(&["--to-earliest"]),
        &["workers work 0 0", "workers work 1 0"],
    );
    contains(
        &reset(&["--shift-by", "2"]),
        &["workers work 0 2", "workers work 1 2"],
    );
    contains(
        &groups(&["--group", "workers", "--delete-offsets", "--topic", "work:0"]),
        &["work 0 Successful"],
    );
    groups(&["--delete", "--group", "workers"]);
    assert!(!groups(&["--list"]).contains("workers"));
}
