//! Topics that are deleted and made again while nobody looks: what is copied of the new one comes behind all of the old one, once, or not at all.

use heliostat::observe::status::{State, Status};
use tokio::runtime::Runtime;

use super::pair::{Pair, QUICK_GROUPS};
use super::{FLOW, LIMIT, MAP, MIRROR, TOPIC, log};
use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::{Daemon, heliostat};
use crate::support::rec::Rec;
use crate::support::wait_for;

/// So many records lie in the first topic, and so many in the second: more, so that its log does not look cut back.
const FIRST: usize = 15;
const SECOND: usize = 20;

fn named(generation: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{generation} {number}"))
        .collect()
}

#[track_caller]
fn write(client: &Client, values: &[String]) {
    let records: Vec<Rec> = values
        .iter()
        .map(|value| Rec::new(0, None, Some(value.as_bytes())))
        .collect();
    client.produce(TOPIC, &records, Producing::default());
}

#[track_caller]
fn make_again(client: &Client, topic: &str) {
    client.delete_topic(topic);
    client.create_topic(topic, 1, &[]);
}

fn mirrored(client: &Client) -> Vec<String> {
    let text = |record: Rec| String::from_utf8(record.value.unwrap_or_default()).expect("UTF-8");
    if !client.topics().contains(&MIRROR.to_owned()) {
        return Vec::new();
    }
    client.read(MIRROR).into_iter().map(text).collect()
}

#[track_caller]
fn wait_mirrored(client: &Client, wanted: &[String]) {
    wait_for(LIMIT, "the mirror has it", || {
        let found = mirrored(client);
        // What is there too often comes later than what is there.
        match found.len() >= wanted.len() {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
    assert_eq!(mirrored(client), wanted);
}

/// Waits until all partitions, of which there are some, are in a state.
#[track_caller]
fn wait_state(daemon: &Daemon, state: State) {
    wait_for(LIMIT, &format!("all are {state:?}"), || {
        let found = daemon.flow(FLOW).partitions;
        match found.iter().all(|partition| partition.state == state) && !found.is_empty() {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    });
}

/// A daemon that has copied the first topic, and then stands still until `meanwhile` is done.
fn after(settings: &str, meanwhile: impl FnOnce(&Client, &Client)) -> (Pair, Daemon) {
    let (pair, _) = Pair::with_topic(1);
    let (source, target) = pair.clients();
    let first = named("first", FIRST);
    write(&source, &first);
    // The next look would come long after what is wrong could have been copied.
    let file = pair.topology(settings);
    let rarely = file.replace("discovery_interval: 200ms", "discovery_interval: 10s");
    assert_ne!(rarely, file);
    let mut daemon = Daemon::spawn(&rarely, &log());
    daemon.wait_ready();
    wait_mirrored(&target, &first);
    daemon.process().pause();
    meanwhile(&source, &target);
    daemon.process().resume();
    (pair, daemon)
}

#[test]
fn a_source_topic_that_is_made_again_unseen_comes_whole_behind_the_one_before() {
    let second = named("second", SECOND);
    let (pair, daemon) = after(", on_recreated: follow", |source, _| {
        make_again(source, TOPIC);
        write(source, &second);
    });
    let (source, target) = pair.clients();
    let all = [named("first", FIRST), second].concat();
    wait_mirrored(&target, &all);
    // What would come twice has come before what is written now.
    let more = named("more", 1);
    write(&source, &more);
    wait_mirrored(&target, &[all, more].concat());
    drop(daemon);
}

#[test]
fn a_source_topic_that_is_made_again_unseen_is_not_copied_if_it_is_to_halt() {
    let (pair, daemon) = after("", |source, _| {
        make_again(source, TOPIC);
        write(source, &named("second", SECOND));
    });
    wait_state(&daemon, State::Recreated);
    assert_eq!(mirrored(&pair.clients().1), named("first", FIRST));
    // Who asks the clusters hears the same as who asks the daemon.
    let file = daemon.topology().to_str().expect("UTF-8");
    let output = heliostat(&["status", file, "-o", "json", "--clusters"], None);
    let status: Status = serde_json::from_slice(&output.stdout).expect("JSON");
    let [partition] = &status.flows[0].partitions[..] else {
        panic!("{status:?}");
    };
    let found = (partition.state, partition.lag.records);
    assert_eq!(found, (State::Recreated, SECOND as u64), "{partition:?}");
}

#[test]
fn a_mirror_that_is_made_again_unseen_gets_everything_once() {
    let more = named("more", 5);
    let (pair, daemon) = after("", |source, target| {
        make_again(target, MIRROR);
        write(source, &more);
    });
    let (source, target) = pair.clients();
    let all = [named("first", FIRST), more].concat();
    wait_mirrored(&target, &all);
    let last = named("last", 1);
    write(&source, &last);
    wait_mirrored(&target, &[all, last].concat());
    drop(daemon);
}

/// A client that remembers the leader epoch of the topic before takes what it hears of the new one for old.
#[test]
fn a_map_that_is_made_again_is_told_everything_and_heard_also_if_its_leader_had_moved() {
    let on_both = [QUICK_GROUPS, &[("default.replication.factor", "2")]].concat();
    let pair = Pair {
        source: InProcess::start(1, &[]),
        target: InProcess::start(2, &on_both),
    };
    let (source, target) = pair.clients();
    source.create_topic(TOPIC, 1, &[]);
    write(&source, &named("first", FIRST));
    let mut daemon = pair.daemon("");
    wait_mirrored(&target, &named("first", FIRST));
    let runtime = Runtime::new().expect("build a runtime");
    for node in [2, 1, 2, 1] {
        let moved = pair.target.cluster().control().move_leader(MAP, 0, node);
        runtime.block_on(moved).expect("both nodes run");
    }
    // Until now it has heard of the leader that there is: it starts with that.
    assert!(daemon.stop(LIMIT).success());
    daemon.restart();
    wait_state(&daemon, State::CaughtUp);
    // It is there again sooner than one could see that it is gone.
    target.ask_to_delete(MAP);
    daemon.wait_log("the offset map was deleted and made again");
    wait_for(LIMIT, "the map is told again", || {
        let is_there = target.topics().contains(&MAP.to_owned());
        match is_there && target.end_offsets(MAP)[0] > 0 {
            true => Ok(()),
            false => Err("it is empty"),
        }
    });
    let file = daemon.topology().to_str().expect("UTF-8").to_owned();
    let output = heliostat(&["pause", &file], None);
    assert!(output.status.success(), "{output:?}");
    wait_state(&daemon, State::Paused);
}
