//! The consumer protocol of KIP-848 on the built-in cluster: librdkafka's and Java's consumers with
//! `group.protocol=consumer`, and Kafka's tools on their groups.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{CommitMode, Consumer as _};

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::members::{Member, QUICK, wait_assigned, wait_read};
use crate::support::mirrors::write_numbers;
use crate::support::process::{Process, temp_dir};
use crate::support::{kafka, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "work";
const PARTITIONS: i32 = 6;

/// Joins with the consumer protocol.
fn join(client: &Client, subscription: &str, properties: &[(&str, &str)]) -> Member {
    let mut all = vec![("group.protocol", "consumer")];
    all.extend(properties);
    Member::join(client, subscription, &all)
}

#[test]
fn librdkafkas_members_share_a_topic_take_over_and_follow_its_growth() {
    let built_in = BuiltIn::start(3, &QUICK);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    write_numbers(&client, TOPIC, PARTITIONS, 0..600);
    let mut first = join(&client, TOPIC, &[]);
    wait_assigned(&mut [&mut first], &[6]);
    let mut second = join(&client, TOPIC, &[("group.remote.assignor", "range")]);
    wait_assigned(&mut [&mut first, &mut second], &[3, 3]);
    let mut third = join(&client, "^wor.*", &[]);
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
    let mut first = join(&client, TOPIC, &[]);
    let mut second = join(&client, TOPIC, &[("group.instance.id", "static")]);
    wait_assigned(&mut [&mut first, &mut second], &[3, 3]);
    let before = [first.assigned(), second.assigned()];
    let rebalances = first.rebalances();
    for (round, kill) in [(1, false), (2, true)] {
        built_in.interrupt(kill);
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
    let mut second = join(&client, TOPIC, &[("group.instance.id", "static")]);
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
    kafka::wait_lines(&mut consumer, 6);
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

/// Two of Java's members in one group, with this assignor.
fn javas_members(bootstrap: &str, assignor: &str, directory: &Path) -> [Process; 2] {
    ["first", "second"].map(|name| {
        let arguments = [
            ["--bootstrap-server", bootstrap],
            ["--topic", TOPIC],
            ["--group-id", assignor],
            ["--group-protocol", "consumer"],
            ["--group-remote-assignor", assignor],
        ];
        let directory = directory.join(format!("{assignor}-{name}"));
        fs::create_dir(&directory).expect("make a directory");
        kafka::tool_running("kafka-verifiable-consumer", &arguments.concat(), &directory)
    })
}

/// What one of Java's members has, by all that it was given and that was taken from it.
fn has(member: &Process) -> BTreeSet<i64> {
    let mut has = BTreeSet::new();
    for line in member.stdout().lines() {
        // The last line may not be whole yet.
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let partitions = event["partitions"].as_array().into_iter().flatten();
        let partitions = partitions.filter_map(|partition| partition["partition"].as_i64());
        match event["name"].as_str() {
            Some("partitions_assigned") => has.extend(partitions),
            Some("partitions_revoked") => partitions.for_each(|partition| {
                has.remove(&partition);
            }),
            _ => {}
        }
    }
    has
}

#[test]
fn javas_members_share_a_topic_with_either_assignor() {
    if !kafka::available("javas_members_share_a_topic_with_either_assignor") {
        return;
    }
    let built_in = BuiltIn::start(1, &QUICK);
    let bootstrap = built_in.bootstrap();
    let client = Client::new(&bootstrap);
    client.create_topic(TOPIC, 5, &[]);
    let directory = temp_dir("assignors");
    let mut groups =
        ["range", "uniform"].map(|assignor| javas_members(&bootstrap, assignor, directory.path()));
    for members in &groups {
        wait_for(LIMIT, "the two share the topic", || {
            let [one, other] = [has(&members[0]), has(&members[1])];
            let sizes = [one.len(), other.len()];
            let shared = [[2, 3], [3, 2]].contains(&sizes) && one.is_disjoint(&other);
            shared
                .then_some(())
                .ok_or_else(|| format!("{one:?} {other:?}\n{}", members[1].stderr_tail()))
        });
    }
    // Ranges are neighbours, and the first one is the larger one.
    let mut ranges = [has(&groups[0][0]), has(&groups[0][1])];
    ranges.sort();
    assert_eq!(ranges, [[0, 1, 2].into(), [3, 4].into()]);
    let arguments = [
        "--bootstrap-server",
        &bootstrap,
        "--describe",
        "--all-groups",
        "--state",
    ];
    let described = kafka::tool_on("kafka-consumer-groups", &arguments);
    let described = String::from_utf8_lossy(&described.stdout).into_owned();
    for assignor in ["range", "uniform"] {
        let line = described.lines().find(|line| line.starts_with(assignor));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let found = words.get(3..6).unwrap_or_default();
        assert_eq!(found, [assignor, "Stable", "2"], "{described}");
    }
    // One goes, and the other takes over.
    for members in &mut groups {
        members[0].signal(rustix::process::Signal::TERM);
        members[0].wait(LIMIT);
        wait_until(LIMIT, "the one that is left has everything", || {
            has(&members[1]).len() == 5
        });
    }
}
