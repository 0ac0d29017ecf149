//! Each error at each step: brokers answer every request of a flow once with every code that it may meet there, and a record costs
//! nothing and is repeated nowhere. What produce requests to the mirror are answered with is in [`super::refused`].
//!
//! Each code is a fault of its own that hits once. Those of one request lie in a row, and what follows a refusal meets the next: partitions that are
//! claimed at the same time, or one and the same that tries again.

use serde_json::json;

use super::pair::Pair;
use super::raw::Raw;
use super::{
    LIMIT, MAP, MIRROR, TOPIC, finish, forget_members, load, log, sides, tail, topology_from, wait_mirrored,
    write_odd,
};
use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, Sides};
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_until};

/// A request of a step: on the target or on the source, which of the flow's clients sends it, about which topic, and what may be the answer.
struct Step {
    on_target: bool,
    client: &'static str,
    api: &'static str,
    topic: Option<&'static str>,
    codes: &'static [&'static str],
}

const fn source(client: &'static str, api: &'static str, codes: &'static [&'static str]) -> Step {
    Step {
        on_target: false,
        client,
        api,
        topic: None,
        codes,
    }
}

const fn target(client: &'static str, api: &'static str, codes: &'static [&'static str]) -> Step {
    Step {
        on_target: true,
        ..source(client, api, codes)
    }
}

const fn about(topic: &'static str, step: Step) -> Step {
    Step {
        topic: Some(topic),
        ..step
    }
}

/// Before a flow begins it is tried whether its target fences. None of these says that it does not.
const TRIED: &[Step] = &[
    target(
        "probe",
        "FindCoordinator",
        &[
            "COORDINATOR_NOT_AVAILABLE",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        ],
    ),
    target(
        "probe",
        "InitProducerId",
        &[
            "CONCURRENT_TRANSACTIONS",
            "COORDINATOR_LOAD_IN_PROGRESS",
            "NOT_COORDINATOR",
            "PRODUCER_FENCED",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
        ],
    ),
    about(
        MAP,
        target(
            "probe",
            "Produce",
            &[
                "CORRUPT_MESSAGE",
                "KAFKA_STORAGE_ERROR",
                "LEADER_NOT_AVAILABLE",
                "NOT_ENOUGH_REPLICAS",
                "NOT_LEADER_OR_FOLLOWER",
                "UNKNOWN_TOPIC_OR_PARTITION",
                "OUT_OF_ORDER_SEQUENCE_NUMBER",
                "TOPIC_AUTHORIZATION_FAILED",
                "UNKNOWN_SERVER_ERROR",
            ],
        ),
    ),
];

/// Before anything is copied: topics are made, partitions are claimed for the first time.
const FIRST: &[Step] = &[
    about(
        MAP,
        target(
            "target-admin",
            "CreateTopics",
            &["NOT_CONTROLLER", "TOPIC_AUTHORIZATION_FAILED"],
        ),
    ),
    about(
        MIRROR,
        target(
            "target-admin",
            "CreateTopics",
            &[
                "NOT_CONTROLLER",
                "REQUEST_TIMED_OUT",
                "THROTTLING_QUOTA_EXCEEDED",
                "TOPIC_ALREADY_EXISTS",
                "INVALID_REPLICATION_FACTOR",
                "POLICY_VIOLATION",
                "TOPIC_AUTHORIZATION_FAILED",
                "UNKNOWN_SERVER_ERROR",
            ],
        ),
    ),
    target(
        "writer",
        "FindCoordinator",
        &[
            "COORDINATOR_LOAD_IN_PROGRESS",
            "COORDINATOR_NOT_AVAILABLE",
            "INVALID_REQUEST",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    target(
        "writer",
        "InitProducerId",
        &[
            "COORDINATOR_LOAD_IN_PROGRESS",
            "COORDINATOR_NOT_AVAILABLE",
            "NOT_COORDINATOR",
            "CONCURRENT_TRANSACTIONS",
            "CLUSTER_AUTHORIZATION_FAILED",
            "INVALID_PRODUCER_EPOCH",
            "INVALID_PRODUCER_ID_MAPPING",
            "INVALID_REQUEST",
            "INVALID_TRANSACTION_TIMEOUT",
            "PRODUCER_FENCED",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    target(
        "writer",
        "DescribeConfigs",
        &[
            "CLUSTER_AUTHORIZATION_FAILED",
            "TOPIC_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    source("reader", "DescribeConfigs", &["TOPIC_AUTHORIZATION_FAILED"]),
];

/// After a daemon was killed: each partition is fenced, what its mirror and its source hold is read.
const TAKEN_OVER: &[Step] = &[
    target(
        "writer",
        "AddPartitionsToTxn",
        &[
            "CONCURRENT_TRANSACTIONS",
            "COORDINATOR_LOAD_IN_PROGRESS",
            "COORDINATOR_NOT_AVAILABLE",
            "NOT_COORDINATOR",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "INVALID_PRODUCER_EPOCH",
            "INVALID_PRODUCER_ID_MAPPING",
            "INVALID_TXN_STATE",
            "OPERATION_NOT_ATTEMPTED",
            "PRODUCER_FENCED",
            "TOPIC_AUTHORIZATION_FAILED",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    target(
        "writer",
        "EndTxn",
        &[
            "CONCURRENT_TRANSACTIONS",
            "COORDINATOR_LOAD_IN_PROGRESS",
            "COORDINATOR_NOT_AVAILABLE",
            "NOT_COORDINATOR",
            "INVALID_PRODUCER_EPOCH",
            "INVALID_PRODUCER_ID_MAPPING",
            "INVALID_TXN_STATE",
            "PRODUCER_FENCED",
            "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    target("writer", "Fetch", FETCH),
    target("writer", "ListOffsets", LIST_OFFSETS),
    source("reader", "Fetch", FETCH),
    source("reader", "ListOffsets", LIST_OFFSETS),
    source(
        "reader",
        "OffsetForLeaderEpoch",
        &[
            "FENCED_LEADER_EPOCH",
            "KAFKA_STORAGE_ERROR",
            "LEADER_NOT_AVAILABLE",
            "NOT_LEADER_OR_FOLLOWER",
            "UNKNOWN_LEADER_EPOCH",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "TOPIC_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
];

/// After the target has forgotten the ids: the producers that wrote before are kept out past the coordinator.
const FORGOTTEN: &[Step] = &[
    target(
        "writer",
        "DescribeProducers",
        &[
            "KAFKA_STORAGE_ERROR",
            "LEADER_NOT_AVAILABLE",
            "NOT_LEADER_OR_FOLLOWER",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "INVALID_TOPIC_EXCEPTION",
            "TOPIC_AUTHORIZATION_FAILED",
            "UNKNOWN_SERVER_ERROR",
        ],
    ),
    target(
        "writer",
        "WriteTxnMarkers",
        &[
            "KAFKA_STORAGE_ERROR",
            "NOT_ENOUGH_REPLICAS",
            "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            "NOT_LEADER_OR_FOLLOWER",
            "REQUEST_TIMED_OUT",
            "UNKNOWN_TOPIC_OR_PARTITION",
            "CLUSTER_AUTHORIZATION_FAILED",
            "INVALID_PRODUCER_EPOCH",
            "TRANSACTION_COORDINATOR_FENCED",
            "UNKNOWN_SERVER_ERROR",
            "UNSUPPORTED_FOR_MESSAGE_FORMAT",
        ],
    ),
];

/// After the source topic has grown.
const GROWN: &[Step] = &[target(
    "target-admin",
    "CreatePartitions",
    &[
        "NOT_CONTROLLER",
        "REASSIGNMENT_IN_PROGRESS",
        "REQUEST_TIMED_OUT",
        "THROTTLING_QUOTA_EXCEEDED",
        "INVALID_PARTITIONS",
        "POLICY_VIOLATION",
        "TOPIC_AUTHORIZATION_FAILED",
        "UNKNOWN_SERVER_ERROR",
    ],
)];

/// While records are copied.
const COPYING: &[Step] = &[
    source("reader", "Fetch", FETCH),
    source("reader", "ListOffsets", LIST_OFFSETS),
    source("reader", "Metadata", METADATA),
    target("writer", "ListOffsets", LIST_OFFSETS),
    target("writer", "Metadata", METADATA),
    about(
        MAP,
        target(
            "map-writer",
            "Produce",
            &[
                "KAFKA_STORAGE_ERROR",
                "LEADER_NOT_AVAILABLE",
                "NETWORK_EXCEPTION",
                "NOT_ENOUGH_REPLICAS",
                "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
                "NOT_LEADER_OR_FOLLOWER",
                "REQUEST_TIMED_OUT",
                "UNKNOWN_TOPIC_OR_PARTITION",
                "CORRUPT_MESSAGE",
                "CLUSTER_AUTHORIZATION_FAILED",
                "INVALID_RECORD",
                "MESSAGE_TOO_LARGE",
                "RECORD_LIST_TOO_LARGE",
                "TOPIC_AUTHORIZATION_FAILED",
                "UNKNOWN_SERVER_ERROR",
            ],
        ),
    ),
    about(
        MAP,
        target(
            "target-maps",
            "Fetch",
            &[
                "NOT_LEADER_OR_FOLLOWER",
                "TOPIC_AUTHORIZATION_FAILED",
                "UNKNOWN_SERVER_ERROR",
            ],
        ),
    ),
];

const FETCH: &[&str] = &[
    "FENCED_LEADER_EPOCH",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INCONSISTENT_TOPIC_ID",
    "INVALID_FETCH_SESSION_EPOCH",
    "KAFKA_STORAGE_ERROR",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "OFFSET_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "UNKNOWN_LEADER_EPOCH",
    "UNKNOWN_TOPIC_ID",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "CLUSTER_AUTHORIZATION_FAILED",
    "CORRUPT_MESSAGE",
    "INVALID_REQUEST",
    "OFFSET_OUT_OF_RANGE",
    "TOPIC_AUTHORIZATION_FAILED",
    "UNKNOWN_SERVER_ERROR",
];

const LIST_OFFSETS: &[&str] = &[
    "FENCED_LEADER_EPOCH",
    "KAFKA_STORAGE_ERROR",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "OFFSET_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "TOPIC_AUTHORIZATION_FAILED",
    "UNKNOWN_SERVER_ERROR",
];

const METADATA: &[&str] = &[
    "LEADER_NOT_AVAILABLE",
    "REQUEST_TIMED_OUT",
    "CLUSTER_AUTHORIZATION_FAILED",
    "UNKNOWN_SERVER_ERROR",
];

/// What a group's coordinator may say to its members.
const OF_GROUP: &[&str] = &[
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "ILLEGAL_GENERATION",
    "REBALANCE_IN_PROGRESS",
    "UNKNOWN_MEMBER_ID",
    "GROUP_AUTHORIZATION_FAILED",
    "UNKNOWN_SERVER_ERROR",
];

/// What it may say to those who would become members.
const OF_JOINING: &[&str] = &[
    "GROUP_MAX_SIZE_REACHED",
    "INCONSISTENT_GROUP_PROTOCOL",
    "INVALID_GROUP_ID",
    "INVALID_SESSION_TIMEOUT",
];

/// Each of these has a flow of its own, whose member is answered so.
const GROUPS: &[(&str, &str, &[&str])] = &[
    ("found", "FindCoordinator", OF_GROUP),
    ("refused", "JoinGroup", OF_JOINING),
    ("joined", "JoinGroup", OF_GROUP),
    ("synced", "SyncGroup", OF_GROUP),
    ("alive", "Heartbeat", OF_GROUP),
];

/// As many as are claimed at once and more than there are codes that let a claim fail.
const PARTITIONS: i32 = 24;

/// Records a second, over all partitions.
const RATE: u32 = 1_500;

/// The target forgets an id after this time, but nothing within the test.
const FORGETFUL: &[(&str, &str)] = &[
    ("group.min.session.timeout.ms", "1000"),
    ("transactional.id.expiration.ms", "600000"),
    (
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "100",
    ),
];

/// Adds each code of each step as a fault that hits once.
fn arm(pair: &Pair, steps: &[Step]) {
    for step in steps {
        for (number, code) in (0..).zip(step.codes) {
            let mut fault = json!({
                "kind": "error", "api": step.api, "error": code, "count": 1,
                "client_id": format!("heliostat/{}/{}", super::FLOW, step.client),
            });
            // A partition that gets on in between does not wait longer and longer.
            if (step.client, step.api) == ("reader", "Fetch") {
                fault["skip"] = (2 * i32::from(number > 0)).into();
            }
            if let Some(topic) = step.topic {
                fault["topic"] = topic.into();
            }
            let met = if step.on_target {
                &pair.target
            } else {
                &pair.source
            };
            met.add_fault(fault);
        }
    }
}

/// Waits until each fault was an answer, and takes them away.
#[track_caller]
fn wait_all_hit(pair: &Pair, daemons: &[Daemon]) {
    wait_for(LIMIT, "each code was an answer", || {
        let missing: Vec<String> = [&pair.source, &pair.target]
            .iter()
            .flat_map(|cluster| cluster.cluster().control().faults())
            .filter(|status| !status.done)
            .map(|status| format!("{}: seen {}", status.fault, status.seen))
            .collect();
        let logs = || daemons.iter().map(|daemon| tail(&daemon.log()));
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("{missing:#?}\n{}", logs().collect::<Vec<_>>().join("\n"))),
        }
    });
    clear(pair);
}

fn clear(pair: &Pair) {
    for cluster in [&pair.source, &pair.target] {
        cluster.cluster().control().clear_faults();
    }
}

fn start() -> (Pair, (Client, Client)) {
    let pair = Pair {
        source: InProcess::start(1, &[]),
        target: InProcess::start(1, FORGETFUL),
    };
    let clients = pair.clients();
    (pair, clients)
}

/// Waits until all that was written so far is copied: the daemon has got over whatever it met.
#[track_caller]
fn wait_caught_up(clients: &(Client, Client)) {
    let wanted: i64 = clients.0.end_offsets(TOPIC).iter().sum();
    wait_mirrored(&clients.1, wanted);
}

#[test]
fn each_answer_to_each_request_of_a_claim_costs_nothing_and_repeats_nothing() {
    let (pair, clients) = start();
    clients.0.create_topic(TOPIC, PARTITIONS, &[]);
    write_odd(&clients.0, PARTITIONS);
    arm(&pair, FIRST);
    let mut daemon = Daemon::spawn(&pair.topology(""), &log());
    wait_all_hit(&pair, std::slice::from_ref(&daemon));
    daemon.wait_ready();
    let load = load(&clients.0, PARTITIONS, RATE);
    super::wait_more(&load, 500);
    wait_caught_up(&clients);

    daemon.process().kill();
    arm(&pair, TAKEN_OVER);
    forget_members(&pair.target.bootstrap());
    daemon.respawn();
    wait_all_hit(&pair, std::slice::from_ref(&daemon));
    wait_caught_up(&clients);

    daemon.process().kill();
    pair.target
        .add_fault(json!({ "kind": "clock", "ahead_ms": 1_200_000 }));
    let raw = Raw::new(&pair.target.bootstrap());
    wait_until(LIMIT, "the ids are forgotten", || raw.is_forgotten());
    clear(&pair);
    arm(&pair, FORGOTTEN);
    forget_members(&pair.target.bootstrap());
    daemon.respawn();
    wait_all_hit(&pair, std::slice::from_ref(&daemon));
    wait_caught_up(&clients);

    arm(&pair, GROWN);
    clients.0.create_partitions(TOPIC, PARTITIONS + 1);
    let new = Rec::new(PARTITIONS, Some(b"key"), Some(b"of a new partition"));
    clients.0.produce(TOPIC, &[new], Producing::default());
    wait_all_hit(&pair, std::slice::from_ref(&daemon));
    load.stop();
    let exact = finish(&sides(clients.0, clients.1), vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn no_error_is_taken_for_a_target_that_does_not_fence() {
    let (pair, clients) = start();
    clients.0.create_topic(TOPIC, 2, &[]);
    write_odd(&clients.0, 2);
    arm(&pair, TRIED);
    let daemon = Daemon::spawn(&pair.topology(""), &log());
    wait_all_hit(&pair, std::slice::from_ref(&daemon));
    daemon.wait_log("allow Write and Describe on the transactional ids heliostat.*");
    let exact = finish(&sides(clients.0, clients.1), vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

#[test]
fn each_answer_to_each_request_of_a_copy_costs_nothing_and_repeats_nothing() {
    let (pair, clients) = start();
    clients.0.create_topic(TOPIC, 2, &[]);
    write_odd(&clients.0, 2);
    let daemon = pair.daemon("");
    let load = load(&clients.0, 2, RATE);
    wait_mirrored(&clients.1, 500);
    arm(&pair, COPYING);
    wait_all_hit(&pair, std::slice::from_ref(&daemon));
    load.stop();
    let exact = finish(&sides(clients.0, clients.1), vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn each_answer_of_the_group_costs_nothing_and_repeats_nothing() {
    let (pair, clients) = start();
    clients.0.create_topic(TOPIC, 2, &[]);
    write_odd(&clients.0, 2);
    let mut copies: Vec<(Sides, Daemon)> = Vec::new();
    for (alias, api, codes) in GROUPS {
        for code in *codes {
            let client_id = format!("heliostat/{alias}->target/member");
            let fault =
                json!({ "kind": "error", "api": api, "error": code, "count": 1, "client_id": client_id });
            pair.target.add_fault(fault);
        }
        let file = topology_from(alias, &pair.source.bootstrap(), &pair.target.bootstrap(), "");
        let mirror = format!("{alias}.{TOPIC}");
        let both = sides(clients.0.clone(), clients.1.clone());
        let alias = (*alias).to_owned();
        copies.push((
            Sides {
                mirror,
                alias,
                ..both
            },
            Daemon::spawn(&file, &log()),
        ));
    }
    let load = load(&clients.0, 2, 200);
    let (both, daemons): (Vec<Sides>, Vec<Daemon>) = copies.into_iter().unzip();
    wait_all_hit(&pair, &daemons);
    load.stop();
    for (sides, daemon) in both.iter().zip(daemons) {
        let exact: Exact = finish(sides, vec![daemon]);
        exact.expect_equal().expect_whole_map();
    }
}
