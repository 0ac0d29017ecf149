//! Whatever a process was doing with a transaction when it was killed, the next one finishes it.

use std::path::Path;
use std::time::Instant;

use heliostat_broker::log::{LogConfig, LogManager, LogManagerOptions, Marker, OpenError};
use heliostat_broker::state::journal::Journal;
use heliostat_broker::{Cluster, ClusterConfig};
use serde_json::{Value, json};

use super::script::Session;
use crate::client::PATIENCE;

/// An open transaction in three partitions and a group.
const OPEN: &str = "init timeout=60000
    add 0 1 2
    put 0 0 v=9
    put 1 0 v=9
    put 2 0 v=9
    group
    commit 5 v=3";

const EVERYTHING: &str = "read 0
    read 1
    read 2
    offsets stable=true
    describe";

fn in_directory(path: &Path) -> ClusterConfig {
    ClusterConfig {
        data: Some(path.join("data")),
        ..Default::default()
    }
}

/// Starts on the data of a process that was killed, whose tasks may still be on their way out in this one.
async fn start(path: &Path) -> Cluster {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Cluster::start(in_directory(path)).await {
            Ok(cluster) => return cluster,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

fn logs(path: &Path) -> LogManager {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let options = LogManagerOptions::new(path.join("data"));
        match LogManager::open(options, 1, &|_| LogConfig::default()) {
            Ok(logs) => return logs,
            Err(OpenError::Locked(_)) if Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Changes what the journal holds about the transactional id.
fn change(path: &Path, id: &str, change: impl Fn(&mut Value)) -> Value {
    let (mut journal, content) = Journal::open(&path.join("data/transactions")).unwrap();
    let key = [b"t", id.as_bytes()].concat();
    let mut value: Value = serde_json::from_slice(&content[&key]).unwrap();
    change(&mut value);
    journal
        .put(&[(key, Some(value.to_string().into_bytes()))])
        .unwrap();
    value
}

/// What the journal holds when the decision has just been stored.
fn decide(value: &mut Value, commit: bool, bumps_epoch: bool) {
    value["state"] = json!(if commit { "PrepareCommit" } else { "PrepareAbort" });
    if bumps_epoch {
        let epoch = value["epoch"].as_i64().unwrap();
        (value["epoch"], value["last_epoch"]) = (json!(epoch + 1), json!(epoch));
        value["client_version"] = json!(2);
    }
}

/// Appends the decision's marker to the first logs, as the killed process may have done.
fn mark(path: &Path, topic: &str, decision: &Value, count: i32) {
    let logs = logs(path);
    for partition in 0..count {
        let marker = Marker {
            producer_id: decision["producer_id"].as_i64().unwrap(),
            producer_epoch: i16::try_from(decision["epoch"].as_i64().unwrap()).unwrap(),
            commit: decision["state"] == "PrepareCommit",
            coordinator_epoch: 0,
            transaction_version: i16::try_from(decision["client_version"].as_i64().unwrap()).unwrap(),
        };
        let log = logs.get(topic, partition).unwrap();
        log.append_marker(&marker, 0, 1).unwrap();
    }
}

/// Carries the decision out on the offsets that the groups' journal holds for the transaction, as the killed process may
/// have done without getting to note the transaction's end.
fn settle(path: &Path, commit: bool) {
    let (mut journal, content) = Journal::open(&path.join("data/groups")).unwrap();
    let mut changes = Vec::new();
    for (key, value) in content.iter().filter(|(key, _)| key[0] == b'p') {
        changes.push((key.clone(), None));
        if commit {
            // The key of what is pending has the producer's id between the group and the topic.
            let group = 1 + 4 + u32::from_be_bytes(key[1..5].try_into().unwrap()) as usize;
            let committed = [b"o", &key[1..group], &key[group + 8..]].concat();
            changes.push((committed, Some(value.clone())));
        }
    }
    assert!(!changes.is_empty(), "no offset is pending");
    journal.put(&changes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_carried_out_wherever_the_process_was_killed() {
    for (commit, bumps_epoch) in [(true, false), (false, false), (true, true), (false, true)] {
        for (markers, settled) in [(0, false), (1, false), (2, false), (3, false), (3, true)] {
            let case = format!(
                "commit {commit}, epoch bumped {bumps_epoch}, {markers} markers, offsets settled {settled}"
            );
            let directory = tempfile::tempdir().unwrap();
            let cluster = start(directory.path()).await;
            let mut session = Session::start(cluster.addresses()[0]).await;
            session.run_all(OPEN).await;
            drop(cluster);
            // Also waits for the directory's lock.
            drop(logs(directory.path()));
            let decision = change(directory.path(), session.id(), |value| {
                decide(value, commit, bumps_epoch);
            });
            mark(directory.path(), session.topic(), &decision, markers);
            if settled {
                settle(directory.path(), commit);
            }

            let cluster = start(directory.path()).await;
            session.reconnect(cluster.addresses()[0]).await;
            let epoch = i32::from(bumps_epoch);
            let aborted = if commit { "" } else { "  aborted: P1 from 0\n" };
            let said = session.run_all(EVERYTHING).await;
            for partition in 0..3 {
                // A marker that was written before is written again, which says nothing new.
                let end = if partition < markers { 3 } else { 2 };
                let expected =
                    format!("  NONE (0) stable {end} of {end}\n  0 to 0 transactional P1 epoch 0\n");
                assert!(
                    said.contains(&format!("> read {partition}\n{expected}")),
                    "{case}: {said}"
                );
                assert!(said.contains(aborted), "{case}: {said}");
            }
            let offset = if commit { 5 } else { -1 };
            assert!(
                said.contains(&format!("> offsets stable=true\n  NONE (0) {offset}\n")),
                "{case}: {said}"
            );
            let state = if commit { "CompleteCommit" } else { "CompleteAbort" };
            assert!(
                said.contains(&format!("  NONE (0) {state} P1 epoch {epoch} timeout 60000")),
                "{case}: {said}"
            );
            // Its client asks again, and goes on.
            let kind = if commit { "commit" } else { "abort" };
            let version = if bumps_epoch { 5 } else { 4 };
            let again = session
                .run_all(&format!(
                    "end {kind} v={version}\nput 0 0\nput 0 1 epoch=+0\nend commit"
                ))
                .await;
            assert!(
                again.starts_with(&format!("> end {kind} v={version}\n  NONE (0)")),
                "{case}: {again}"
            );
            cluster.shutdown(PATIENCE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_outlives_the_process_and_its_timeout_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let mut session = Session::start(cluster.addresses()[0]).await;
    session.run_all(OPEN).await;
    drop(cluster);
    let cluster = start(directory.path()).await;
    session.reconnect(cluster.addresses()[0]).await;
    let said = session
        .run_all("latest 0\nput 0 1 v=9\nend commit v=4\nlatest 0\noffsets stable=true")
        .await;
    assert_eq!(
        said,
        "> latest 0\n  1 0\n> put 0 1 v=9\n  NONE (0) at 1\n> end commit v=4\n  NONE (0)\n> latest 0\n  3 3\n\
         > offsets stable=true\n  NONE (0) 5\n"
    );
    session.run_all("add 0\nput 0 2 v=9").await;
    drop(cluster);
    drop(logs(directory.path()));
    // The process was away for longer than the timeout.
    change(directory.path(), session.id(), |value| {
        value["started_ms"] = json!(1)
    });
    let mut config = in_directory(directory.path());
    let soon = "transaction.abort.timed.out.transaction.cleanup.interval.ms";
    config.properties.insert(soon.to_owned(), "10".to_owned());
    let cluster = Cluster::start(config).await.unwrap();
    session.reconnect(cluster.addresses()[0]).await;
    let said = session.run_all("until CompleteAbort\nlatest 0").await;
    assert_eq!(said, "> until CompleteAbort\n> latest 0\n  5 5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_knows_does_not_hang() {
    // A power cut can take records and markers from a log without taking the end from the journal, or the reverse.
    for (state, bumps_epoch, marker) in [
        ("CompleteCommit", false, "stable 2 of 2"),
        ("CompleteCommit", true, "stable 2 of 2"),
        ("CompleteAbort", false, "aborted: P1 from 0"),
        ("Empty", false, "aborted: P1 from 0"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let cluster = start(directory.path()).await;
        let mut session = Session::start(cluster.addresses()[0]).await;
        session.run_all(OPEN).await;
        drop(cluster);
        drop(logs(directory.path()));
        change(directory.path(), session.id(), |value| {
            decide(value, true, bumps_epoch);
            value["state"] = json!(state);
            (value["partitions"], value["groups"]) = (json!({}), json!([]));
        });
        let cluster = start(directory.path()).await;
        session.reconnect(cluster.addresses()[0]).await;
        let said = session.run_all("read 1").await;
        assert!(
            said.contains(marker) && said.contains("stable 2 of 2"),
            "{state}: {said}"
        );
        let aborted = said.contains("aborted");
        assert_eq!(aborted, state != "CompleteCommit", "{state}: {said}");
        drop(cluster);
    }
}
