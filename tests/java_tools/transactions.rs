//! `kafka-transactions`: to look at transactions and producers, to search for hanging ones, to end one, and to abort one in one partition.

use super::{Lab, assert_contains};
use crate::support::clients::Client;
use crate::support::transactional::Transactional;

#[test]
fn transactions() {
    let Some(lab) = Lab::start_with("transactions", 1, &[]) else {
        return;
    };
    let client = Client::new(lab.0.bootstrap());
    client.create_topic("ledger", 1, &[]);
    let tool = |arguments: &[&str]| lab.tool("kafka-transactions", arguments);
    let find = [
        "find-hanging",
        "--broker-id",
        "1",
        "--max-transaction-timeout",
        "0",
    ];
    let producers = ["describe-producers", "--topic", "ledger", "--partition", "0"];
    let ledger = Transactional::new(&client, "ledger");
    ledger.write(&["a"]).commit();
    ledger.write(&["b", "c"]);
    assert_contains(&tool(&["list"]), &["\nledger 1 ", " Ongoing"]);
    let described = tool(&["describe", "--transactional-id", "ledger"]);
    assert_contains(&described, &["\n1 ledger ", " Ongoing 60000 ", " ledger-0\n"]);
    // After the first record and its marker.
    let open = tool(&producers);
    assert!(open.ends_with(" 2\n"), "{open}");
    assert_eq!(tool(&find).lines().count(), 1, "its coordinator knows it");
    tool(&["forceTerminateTransaction", "--transactionalId", "ledger"]);
    assert_contains(&tool(&["list"]), &["\nledger 1 ", " Empty"]);
    assert!(ledger.try_commit().is_err(), "it is fenced");
    drop(ledger);
    // A single partition's part of a transaction is aborted while the coordinator still waits for the rest, which is
    // what an administrator does where the coordinator has forgotten it. That cannot be had here: a start ends such.
    let stuck = Transactional::new(&client, "ledger");
    stuck.write(&["d"]);
    let start = client.end_offsets("ledger")[0] - 1;
    assert!(tool(&producers).ends_with(&format!(" {start}\n")));
    lab.tool_reading("kafka-console-producer", &["--topic", "ledger"], "e\n");
    let start = start.to_string();
    tool(&[
        "abort",
        "--topic",
        "ledger",
        "--partition",
        "0",
        "--start-offset",
        &start,
    ]);
    let open = tool(&producers);
    assert_eq!(
        open.matches(" None\n").count(),
        open.lines().count() - 1,
        "{open}"
    );
    let read = [
        "--topic",
        "ledger",
        "--from-beginning",
        "--max-messages",
        "2",
        "--isolation-level",
        "read_committed",
    ];
    assert_eq!(lab.tool("kafka-console-consumer", &read), "a\ne\n");
}
