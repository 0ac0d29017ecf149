//! Clusters that answer with errors, late, or not at all, at every step of a claim and of a copy.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::{Value, json};

use super::pair::Pair;
use super::{finish, let_pass, load, log, random, sides, topology_from, wait_mirrored, write_odd};
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, Sides};
use crate::support::rec::Rec;

/// What a broker may say to a produce request, the same one may take a moment later.
const RETRIABLE: &[&str] = &[
    "CORRUPT_MESSAGE",
    "FENCED_LEADER_EPOCH",
    "KAFKA_STORAGE_ERROR",
    "LEADER_NOT_AVAILABLE",
    "NETWORK_EXCEPTION",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "NOT_LEADER_OR_FOLLOWER",
    "REQUEST_TIMED_OUT",
    "THROTTLING_QUOTA_EXCEEDED",
    "UNKNOWN_LEADER_EPOCH",
    "UNKNOWN_TOPIC_ID",
    "UNKNOWN_TOPIC_OR_PARTITION",
];

/// What it may say if the request makes no sense to it.
const FATAL: &[&str] = &[
    "CLUSTER_AUTHORIZATION_FAILED",
    "DUPLICATE_SEQUENCE_NUMBER",
    "INVALID_PRODUCER_EPOCH",
    "INVALID_RECORD",
    "INVALID_REQUEST",
    "INVALID_REQUIRED_ACKS",
    "INVALID_TIMESTAMP",
    "INVALID_TXN_STATE",
    "MESSAGE_TOO_LARGE",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "POLICY_VIOLATION",
    "PRODUCER_FENCED",
    "RECORD_LIST_TOO_LARGE",
    "TOPIC_AUTHORIZATION_FAILED",
    "UNKNOWN_PRODUCER_ID",
    "UNKNOWN_SERVER_ERROR",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT",
];

/// Batches of a topic that the copier does not merge.
const BATCHES: usize = 24;

/// Fills a topic with batches that are too large to be merged.
#[track_caller]
fn fill(source: &Client, topic: &str) {
    const RECORDS_PER_BATCH: usize = 40;
    source.create_topic(topic, 1, &[]);
    let records: Vec<Rec> = (0..BATCHES * RECORDS_PER_BATCH)
        .map(|number| Rec::new(0, Some(b"key"), Some(format!("{number:.<1000}").as_bytes())))
        .collect();
    let per_batch = RECORDS_PER_BATCH.to_string();
    let source = source.with(&[("batch.num.messages", &per_batch)]);
    source.produce(topic, &records, Producing::default());
}

pub(super) fn sides_of(clients: &(Client, Client), topic: &str) -> Sides {
    Sides {
        topic: topic.to_owned(),
        mirror: format!("source.{topic}"),
        ..sides(clients.0.clone(), clients.1.clone())
    }
}

/// Each error has a topic and a daemon of its own, where it is the answer to some request.
#[track_caller]
fn each_answer_to_produce(name: &str, errors: &[&str]) {
    let mut random = random(name);
    let pair = Pair::start();
    let clients = pair.clients();
    let mut copies: Vec<(&str, Sides, Daemon)> = Vec::new();
    for (number, error) in errors.iter().enumerate() {
        let (topic, alias) = (error.to_lowercase(), format!("s{number}"));
        let mirror = format!("{alias}.{topic}");
        fill(&clients.0, &topic);
        // The first request of all, or any of those that are on their way together.
        let skip = if random.random_bool(0.3) {
            0
        } else {
            random.random_range(0..BATCHES as u64 / 2)
        };
        let count = random.random_range(1..=2);
        pair.target.add_fault(json!({ "kind": "error", "api": "Produce", "error": error, "topic": mirror, "skip": skip, "count": count }),
        );
        let only = format!(", topics: {{ include: [{topic}] }}");
        let file = topology_from(&alias, &pair.source.bootstrap(), &pair.target.bootstrap(), &only);
        let sides = Sides {
            mirror,
            alias,
            ..sides_of(&clients, &topic)
        };
        copies.push((error, sides, Daemon::spawn(&file, &log())));
    }
    for (_, _, daemon) in &mut copies {
        daemon.wait_ready();
    }
    for ((error, sides, daemon), number) in copies.into_iter().zip(0..) {
        let exact = finish(&sides, vec![daemon]);
        let fault = pair.target.cluster().control().faults().swap_remove(number);
        eprintln!("{error}: {} hits", fault.hit);
        assert!(fault.hit > 0, "{error} was never an answer: {fault:?}");
        exact.expect_equal().expect_whole_map();
    }
}

#[test]
fn each_retriable_answer_to_a_produce_request_costs_nothing_and_repeats_nothing() {
    each_answer_to_produce("retriable", RETRIABLE);
}

#[test]
fn each_fatal_answer_to_a_produce_request_costs_nothing_and_repeats_nothing() {
    each_answer_to_produce("fatal", FATAL);
}

#[test]
fn nothing_overtakes_the_first_batch_of_all_when_it_is_refused() {
    let pair = Pair::start();
    let clients = pair.clients();
    fill(&clients.0, TOPIC_OF_FIRST);
    // A log that has never seen a producer takes a batch of it with any sequence number.
    pair.target.add_fault(
        json!({ "kind": "error", "api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER",
                "topic": format!("source.{TOPIC_OF_FIRST}"), "count": 1 }),
    );
    let daemon = pair.daemon("");
    let sides = sides_of(&clients, TOPIC_OF_FIRST);
    finish(&sides, vec![daemon]).expect_equal().expect_whole_map();
}

const TOPIC_OF_FIRST: &str = "first";

/// A request of each step, at which side, and what its answer may be.
const STEPS: &[(bool, &str, &[&str])] = &[
    (
        false,
        "Fetch",
        &[
            "NOT_LEADER_OR_FOLLOWER",
            "UNKNOWN_TOPIC_ID",
            "KAFKA_STORAGE_ERROR",
            "UNKNOWN_SERVER_ERROR",
            "OFFSET_NOT_AVAILABLE",
            "FENCED_LEADER_EPOCH",
        ],
    ),
    (
        false,
        "ListOffsets",
        &[
            "NOT_LEADER_OR_FOLLOWER",
            "LEADER_NOT_AVAILABLE",
            "OFFSET_NOT_AVAILABLE",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    (
        false,
        "Metadata",
        &["LEADER_NOT_AVAILABLE", "UNKNOWN_SERVER_ERROR"],
    ),
    (
        true,
        "Fetch",
        &[
            "NOT_LEADER_OR_FOLLOWER",
            "UNKNOWN_TOPIC_ID",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    (
        true,
        "ListOffsets",
        &[
            "NOT_LEADER_OR_FOLLOWER",
            "LEADER_NOT_AVAILABLE",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    (
        true,
        "Produce",
        &[
            "NOT_LEADER_OR_FOLLOWER",
            "REQUEST_TIMED_OUT",
            "OUT_OF_ORDER_SEQUENCE_NUMBER",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    (
        true,
        "InitProducerId",
        &[
            "COORDINATOR_LOAD_IN_PROGRESS",
            "NOT_COORDINATOR",
            "CONCURRENT_TRANSACTIONS",
            "COORDINATOR_NOT_AVAILABLE",
            "UNKNOWN_SERVER_ERROR",
            "INVALID_PRODUCER_EPOCH",
        ],
    ),
    (
        true,
        "AddPartitionsToTxn",
        &[
            "CONCURRENT_TRANSACTIONS",
            "NOT_COORDINATOR",
            "COORDINATOR_LOAD_IN_PROGRESS",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "INVALID_PRODUCER_EPOCH",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    (
        true,
        "EndTxn",
        &[
            "CONCURRENT_TRANSACTIONS",
            "NOT_COORDINATOR",
            "COORDINATOR_NOT_AVAILABLE",
            "INVALID_TXN_STATE",
            "PRODUCER_FENCED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    (
        true,
        "FindCoordinator",
        &["COORDINATOR_NOT_AVAILABLE", "UNKNOWN_SERVER_ERROR"],
    ),
    (true, "DescribeConfigs", &["UNKNOWN_SERVER_ERROR"]),
    (
        true,
        "Metadata",
        &["LEADER_NOT_AVAILABLE", "UNKNOWN_SERVER_ERROR"],
    ),
];

/// A fault of the kinds that pass by, drawn at random: an error, a cut before or after the request took effect, a delay.
fn any_fault(random: &mut rand::rngs::StdRng) -> (bool, Value) {
    let (on_target, api, errors) = STEPS[random.random_range(0..STEPS.len())];
    let mut fault =
        json!({ "api": api, "skip": random.random_range(0..4), "count": random.random_range(1..4) });
    match random.random_range(0..6) {
        0 => {
            fault["kind"] = "cut".into();
            fault["takes_effect"] = random.random_bool(0.7).into();
        }
        1 => {
            fault["kind"] = "delay".into();
            fault["delay_ms"] = random.random_range(1..400).into();
        }
        _ => {
            fault["kind"] = "error".into();
            fault["error"] = errors[random.random_range(0..errors.len())].into();
        }
    }
    (on_target, fault)
}

#[test]
fn any_step_may_fail_in_any_way_while_daemons_are_killed() {
    let mut random = random("any step");
    let pair = Pair::start();
    let clients = pair.clients();
    clients.0.create_topic(super::TOPIC, 4, &[]);
    write_odd(&clients.0, 4);
    let mut daemon = pair.daemon("");
    let load = load(&clients.0, 4, 4_000);
    wait_mirrored(&clients.1, 16);
    let rounds = super::kills(12);
    for _ in 0..rounds {
        for cluster in [&pair.source, &pair.target] {
            cluster.cluster().control().clear_faults();
        }
        for _ in 0..3 {
            let (on_target, fault) = any_fault(&mut random);
            let met = if on_target { &pair.target } else { &pair.source };
            met.add_fault(fault);
        }
        if random.random_bool(0.8) {
            daemon.process().kill();
            super::forget_members(&pair.target.bootstrap());
            daemon.respawn();
        }
        let_pass(Duration::from_millis(random.random_range(200..900)));
    }
    for cluster in [&pair.source, &pair.target] {
        cluster.cluster().control().clear_faults();
    }
    daemon.wait_ready();
    load.stop();
    let exact = finish(&sides(clients.0, clients.1), vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn a_partition_is_not_given_up_as_clear_while_something_may_yet_arrive() {
    let pair = Pair::start();
    let clients = pair.clients();
    clients.0.create_topic(super::TOPIC, 1, &[]);
    write_odd(&clients.0, 1);
    let mut daemon = pair.daemon("");
    let sides = sides(clients.0.clone(), clients.1.clone());
    super::wait_copied(&sides, &daemon);
    // The broker may have it all the same, or append it later.
    pair.target.add_fault(
        json!({ "kind": "error", "api": "Produce", "error": "REQUEST_TIMED_OUT", "topic": super::MIRROR }),
    );
    write_odd(&clients.0, 1);
    daemon.wait_log("REQUEST_TIMED_OUT");
    let status = daemon.stop(super::END);
    assert_eq!(status.code(), Some(1), "{}", daemon.process().stderr_tail());
    let exact = Exact::read(&sides);
    assert_eq!(exact.mirror.len(), 4);
    assert!(!exact.released[&0], "whoever comes next would fence nobody");
    pair.target.cluster().control().clear_faults();
    daemon.restart();
    finish(&sides, vec![daemon]).expect_equal().expect_whole_map();
}
