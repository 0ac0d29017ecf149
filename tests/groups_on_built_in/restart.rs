//! A group of the classic protocol whose broker ends, cleanly and by kill -9, under its members: librdkafka's, static and
//! dynamic, and Java's.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::members::{GROUP, Member};
use crate::support::mirrors::write_numbers;
use crate::support::process::{Process, temp_dir};
use crate::support::{kafka, wait_for, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "work";
const PARTITIONS: i32 = 6;
/// Records of a round.
const ROUND: usize = 60;

/// Member ids with instance ids, of a group that is stable. A member keeps its id as long as it is the same member.
fn members(client: &Client) -> Result<BTreeSet<String>, String> {
    let groups = client.consumer().fetch_group_list(Some(GROUP), LIMIT);
    let groups = groups.map_err(|error| error.to_string())?;
    let group = groups.groups().first().ok_or("there is no such group")?;
    if group.state() != "Stable" {
        return Err(format!("the group is {}", group.state()));
    }
    Ok(group
        .members()
        .iter()
        .map(|member| member.id().to_owned())
        .collect())
}

/// What `kafka-verifiable-consumer` has said: the events of this name.
fn events(java: &Process, name: &str) -> Vec<serde_json::Value> {
    java.stdout()
        .lines()
        // The last line may not be whole yet.
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["name"] == name)
        .collect()
}

/// The partitions and offsets that Java's member has read.
fn java_read(java: &Process) -> BTreeSet<(i32, i64)> {
    let number = |event: &serde_json::Value, key: &str| event[key].as_i64().expect("a number");
    events(java, "record_data")
        .iter()
        .map(|event| (number(event, "partition") as i32, number(event, "offset")))
        .collect()
}

#[test]
fn members_go_on_after_their_broker_has_ended_without_a_rebalance() {
    if !kafka::available("members_go_on_after_their_broker_has_ended_without_a_rebalance") {
        return;
    }
    let mut built_in = BuiltIn::start(1, &["--config", "group.initial.rebalance.delay.ms=0"]);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    let directory = temp_dir("members");
    let bootstrap = built_in.bootstrap();
    let arguments = [
        ["--bootstrap-server", &bootstrap],
        ["--topic", TOPIC],
        ["--group-id", GROUP],
        ["--session-timeout", "20000"],
        ["--reset-policy", "earliest"],
    ];
    let arguments = [&arguments.concat()[..], &["--verbose"]].concat();
    let mut java = kafka::tool_running("kafka-verifiable-consumer", &arguments, directory.path());
    let join = |instance: &[(&str, &str)]| {
        let common = [
            ("partition.assignment.strategy", "range"),
            ("session.timeout.ms", "20000"),
            ("heartbeat.interval.ms", "200"),
        ];
        Member::join(&client, TOPIC, &[&common[..], instance].concat())
    };
    let mut fixed = join(&[("group.instance.id", "fixed")]);
    let mut dynamic = join(&[]);
    wait_until(LIMIT, "each of the three has two partitions", || {
        fixed.poll();
        dynamic.poll();
        let assigned = events(&java, "partitions_assigned");
        let last = assigned.last().and_then(|event| event["partitions"].as_array());
        let counts = [fixed.assigned().len(), dynamic.assigned().len()];
        counts == [2, 2] && last.is_some_and(|partitions| partitions.len() == 2)
    });
    let before = members(&client).expect("the members");
    let assigned = [fixed.assigned(), dynamic.assigned()];
    let rebalances = |fixed: &Member, dynamic: &Member, java: &Process| {
        let java = events(java, "partitions_assigned").len();
        [fixed.rebalances(), dynamic.rebalances(), java]
    };
    let so_far = rebalances(&fixed, &dynamic, &java);
    for (round, kill) in [(1, false), (2, true)] {
        built_in.interrupt(kill);
        write_numbers(&client, TOPIC, PARTITIONS, 0..ROUND as i32);
        wait_for(LIMIT, "the three have read everything", || {
            fixed.poll();
            dynamic.poll();
            let mut read = java_read(&java);
            read.extend(fixed.read.iter().chain(&dynamic.read));
            (read.len() == round * ROUND)
                .then_some(())
                .ok_or_else(|| format!("{} records\n{}", read.len(), java.stderr_tail()))
        });
        // A commit names the generation: with another one it would be refused.
        fixed.commit();
        dynamic.commit();
        let now = wait_for(LIMIT, "the group is stable", || members(&client));
        assert_eq!(now, before, "members have changed");
        assert_eq!([fixed.assigned(), dynamic.assigned()], assigned);
    }
    // Nobody was asked to join again: the generation is the same one.
    assert_eq!(rebalances(&fixed, &dynamic, &java), so_far);
    // A static member that ends while the broker is away has its partitions when it comes back, and nobody else notices.
    built_in.process().kill();
    drop(fixed);
    built_in.restart();
    let mut fixed = join(&[("group.instance.id", "fixed")]);
    wait_until(LIMIT, "the static member has its partitions", || {
        fixed.poll();
        dynamic.poll();
        fixed.assigned() == assigned[0]
    });
    let now = rebalances(&fixed, &dynamic, &java);
    assert_eq!(now[1..], so_far[1..], "the others were asked to join again");
    assert_eq!(dynamic.assigned(), assigned[1]);
    java.signal(rustix::process::Signal::TERM);
    java.wait(LIMIT);
}
