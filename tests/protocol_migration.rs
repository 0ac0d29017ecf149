//! Consumers of the classic protocol and of KIP-848's in one group of the built-in cluster, and a group that changes from one
//! protocol to the other while it is in use: librdkafka's consumers and Java's.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::members::{GROUP, Member, QUICK, wait_assigned, wait_read};
use crate::support::mirrors::write_numbers;
use crate::support::process::{Process, temp_dir};
use crate::support::{kafka, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "work";
const PARTITIONS: i32 = 6;
const CLASSIC: &[(&str, &str)] = &[
    ("heartbeat.interval.ms", "200"),
    ("session.timeout.ms", "6000"),
    ("partition.assignment.strategy", "range,roundrobin"),
];
const CONSUMER: &[(&str, &str)] = &[("group.protocol", "consumer")];

#[test]
fn a_group_rolls_to_the_consumer_protocol_and_back_member_by_member() {
    let built_in = BuiltIn::start(1, &QUICK);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    let mut members: Vec<Member> = (0..3).map(|_| Member::join(&client, TOPIC, CLASSIC)).collect();
    // What members that are gone have read.
    let mut read = BTreeSet::new();
    let mut written = 0;
    for protocol in [CONSUMER, CLASSIC] {
        for _ in 0..3 {
            let mut all: Vec<&mut Member> = members.iter_mut().collect();
            wait_assigned(&mut all, &[2, 2, 2]);
            write_numbers(&client, TOPIC, PARTITIONS, 0..60);
            written += 60;
            wait_for(LIMIT, "everything is read", || {
                members.iter_mut().for_each(Member::poll);
                let now: BTreeSet<_> = members
                    .iter()
                    .flat_map(|member| &member.read)
                    .chain(&read)
                    .collect();
                if now.len() == written {
                    Ok(())
                } else {
                    Err(format!("{} of {written} are", now.len()))
                }
            });
            members.iter().for_each(Member::commit);
            let oldest = members.remove(0);
            read.extend(oldest.read.iter().copied());
            drop(oldest);
            members.push(Member::join(&client, TOPIC, protocol));
        }
    }
    let mut all: Vec<&mut Member> = members.iter_mut().collect();
    wait_assigned(&mut all, &[2, 2, 2]);
    // What was committed is not read again: members that came late have read nothing from before.
    let again: usize = members.iter().map(|member| member.read.len()).sum();
    assert!(
        again < written,
        "{again} of {written} were read by the last three"
    );
}

#[test]
fn members_of_both_protocols_go_on_after_a_restart() {
    let mut built_in = BuiltIn::start(1, &QUICK);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    let mut old = Member::join(&client, TOPIC, CLASSIC);
    wait_assigned(&mut [&mut old], &[6]);
    let mut new = Member::join(&client, TOPIC, CONSUMER);
    wait_assigned(&mut [&mut old, &mut new], &[3, 3]);
    let before = [old.assigned(), new.assigned()];
    for (round, kill) in [(1, false), (2, true)] {
        built_in.interrupt(kill);
        write_numbers(&client, TOPIC, PARTITIONS, 0..60);
        wait_read(&mut [&mut old, &mut new], round * 60);
        old.commit();
        new.commit();
        assert_eq!([old.assigned(), new.assigned()], before);
    }
    // One that vanishes without a word is given up after its own session.
    drop(new);
    wait_assigned(&mut [&mut old], &[6]);
}

/// Java's console consumer as a member.
fn java(built_in: &BuiltIn, directory: &std::path::Path, properties: &[&str]) -> Process {
    let bootstrap = built_in.bootstrap();
    let mut arguments = vec![
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        TOPIC,
        "--group",
        GROUP,
        "--from-beginning",
    ];
    for property in properties {
        arguments.extend(["--command-property", property]);
    }
    kafka::tool_running("kafka-console-consumer", &arguments, directory)
}

#[test]
fn javas_and_librdkafkas_consumers_of_both_protocols_in_one_group() {
    if !kafka::available("javas_and_librdkafkas_consumers_of_both_protocols_in_one_group") {
        return;
    }
    let built_in = BuiltIn::start(1, &QUICK);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    let directory = temp_dir("protocol-migration");
    let groups = |arguments: &[&str]| {
        let bootstrap = built_in.bootstrap();
        let all = [&["--bootstrap-server", &bootstrap], arguments].concat();
        let output = kafka::tool_on("kafka-consumer-groups", &all);
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let is_of_type = |kind: &str| {
        let types = groups(&["--list", "--type"]);
        let ours = types
            .lines()
            .find(|line| line.contains(GROUP))
            .unwrap_or_default();
        assert!(ours.contains(kind), "{types}");
    };
    let cooperative = [
        "heartbeat.interval.ms=200",
        "session.timeout.ms=6000",
        "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
    ];
    for (java_speaks, librdkafka_speaks, last) in [
        (&cooperative[..], CONSUMER, "Consumer"),
        (&["group.protocol=consumer"][..], CLASSIC, "Classic"),
    ] {
        let mut theirs = java(&built_in, directory.path(), java_speaks);
        wait_for(LIMIT, "Java's consumer has everything", || {
            let members = groups(&["--describe", "--group", GROUP, "--members"]);
            match members
                .lines()
                .any(|line| line.contains(GROUP) && line.trim_end().ends_with('6'))
            {
                true => Ok(()),
                false => Err(members + &theirs.stderr()),
            }
        });
        let mut ours = Member::join(&client, TOPIC, librdkafka_speaks);
        wait_assigned(&mut [&mut ours], &[3]);
        is_of_type("Consumer");
        let already = theirs.stdout().lines().count();
        let ours_already = ours.read.len();
        write_numbers(&client, TOPIC, PARTITIONS, 0..60);
        wait_for(LIMIT, "both read what is theirs", || {
            ours.poll();
            let read = (
                ours.read.len() - ours_already,
                theirs.stdout().lines().count() - already,
            );
            if read == (30, 30) {
                Ok(())
            } else {
                Err(format!("{read:?}\n{}", theirs.stderr()))
            }
        });
        ours.commit();
        theirs.signal(rustix::process::Signal::TERM);
        theirs.wait(LIMIT);
        wait_assigned(&mut [&mut ours], &[6]);
        is_of_type(last);
        write_numbers(&client, TOPIC, PARTITIONS, 0..60);
        let before = ours.read.len();
        wait_read(&mut [&mut ours], before + 60);
        ours.commit();
    }
}
