//! A daemon gets into each state and out again, and says of each why, since when, and what would clear it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heliostat::observe::events::{EventKind, EventList};
use heliostat::observe::status::{PartitionStatus, State};
use heliostat_broker::Isolation;
use serde_json::json;

use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::{Daemon, binary, heliostat};
use crate::support::mirrors::{CATCH_UP, FLOW, LOOK_OFTEN, wait_mirrored, write_numbers};
use crate::support::rec::Rec;
use crate::support::wait_for;

const END: Duration = Duration::from_secs(20);

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_millis() as i64
}

fn topology([primary, standby]: &[InProcess; 2], defaults: &str) -> String {
    format!(
        "name: states\nlayout: active-standby\nprimary: primary\nstandby: standby\nclusters:\n  \
         primary: {{ bootstrap_servers: \"{}\" }}\n  standby: {{ bootstrap_servers: \"{}\" }}\n\
         defaults: {{ {LOOK_OFTEN}, {defaults} }}\n",
        primary.bootstrap(),
        standby.bootstrap()
    )
}

/// Waits until the only partition is in a state that this would clear, and returns what it looks like then: a state with a reason has what clears it, and each has
/// the time since when it holds, its metric, and an event.
#[track_caller]
fn wait_state(daemon: &Daemon, state: State, after_ms: i64, clears: &str) -> PartitionStatus {
    let found = wait_for(CATCH_UP, &format!("it is {state}"), || {
        let flow = daemon.flow(FLOW);
        match flow.partitions.first() {
            // What is tried may fail first for another reason of the same state.
            Some(found)
                if found.state == state && found.clears.as_deref().unwrap_or_default().contains(clears) =>
            {
                Ok(found.clone())
            }
            found => Err(format!("{found:?}")),
        }
    });
    assert!(
        (after_ms..=now_ms()).contains(&found.since_ms),
        "since when: {found:?}, after {after_ms}"
    );
    assert_eq!(found.clears.is_some(), !state.is_healthy(), "{found:?}");
    assert!(found.reason.is_some() || state.is_healthy(), "{found:?}");
    let metrics = daemon.get("/metrics").body;
    let is_it = |line: &str| {
        let of_state = format!(r#"state="{state}""#);
        line.starts_with("heliostat_partition_state{") && line.contains(&of_state) && line.ends_with(" 1")
    };
    assert!(metrics.lines().any(is_it), "{metrics}");
    let since = metrics.lines().find_map(|line| {
        let series = line.strip_prefix("heliostat_partition_state_since_seconds{")?;
        series.rsplit_once(' ')?.1.parse::<f64>().ok()
    });
    let since_ms = since.map(|seconds| (seconds * 1000.0).round() as i64);
    assert_eq!(since_ms, Some(found.since_ms), "{found:?}");
    let list: EventList = serde_json::from_str(&daemon.get("/api/v1/events").body).expect("events");
    let changed = list
        .events
        .iter()
        .rev()
        .find(|event| event.partition == Some(0) && event.to.is_some())
        .expect("a change of its state");
    assert_eq!(
        (changed.to, changed.offsets, changed.clears.is_some()),
        (Some(state), found.offsets, found.clears.is_some()),
        "{changed:?}"
    );
    found
}

/// What goes into a pipe is not made to fit anything: the reason stands in the rows of the flow and of the partition, and so nowhere else.
#[track_caller]
fn assert_printed_whole(daemon: &Daemon, reason: &str) {
    let url = format!("http://{}", daemon.http());
    let mut status = binary();
    status.args(["status", "--url", &url]).env("COLUMNS", "40");
    let output = status.output().expect("heliostat status");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.matches(reason).count(), 2, "{text}");
    assert!(!text.contains('…') && !text.contains("REASONS IN FULL"), "{text}");
}

/// Waits until the only topic is shown as deleted, and sees that this is no trouble of the flow: for `status --check`, for the log and for who
/// counts what was copied.
#[track_caller]
fn wait_deleted(daemon: &Daemon, after_ms: i64) {
    let copied = daemon.flow(FLOW).records_total;
    let flow = wait_for(CATCH_UP, "it is shown as deleted", || {
        let flow = daemon.flow(FLOW);
        if flow.partitions.is_empty() && !flow.deleted.is_empty() {
            Ok(flow)
        } else {
            Err(format!("{flow:?}"))
        }
    });
    assert!(flow.is_healthy(), "{flow:?}");
    let [deleted] = &flow.deleted[..] else {
        panic!("{flow:?}")
    };
    assert_eq!(
        (
            deleted.topic.as_str(),
            deleted.target_topic.as_str(),
            deleted.missing
        ),
        ("orders", "primary.orders", 0)
    );
    assert!((after_ms..=now_ms()).contains(&deleted.at_ms), "{deleted:?}");
    assert!(flow.records_total >= copied, "{flow:?}");
    let list: EventList = serde_json::from_str(&daemon.get("/api/v1/events").body).expect("events");
    let event = list.events.iter().find(|event| event.kind == EventKind::Deleted);
    let event = event.expect("an event");
    assert_eq!((event.topic.as_deref(), event.partition), (Some("orders"), None));
    let url = format!("http://{}", daemon.http());
    let shown = heliostat(&["status", "--url", &url, "--check"], None);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{shown:?}");
    assert!(
        text.contains("deleted on primary: orders, ") && text.contains("its mirror primary.orders is kept"),
        "{text}"
    );
}

#[test]
fn each_state_says_why_since_when_and_what_would_clear_it_and_that_does() {
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
    let [primary, standby] = clusters
        .each_ref()
        .map(|cluster| Client::new(cluster.bootstrap()));
    primary.create_topic("orders", 1, &[]);
    write_numbers(&primary, "orders", 1, 0..100);
    let begun = now_ms();
    let mut daemon = Daemon::start(&topology(&clusters, "on_gap: halt"));
    wait_mirrored(&primary, "orders", &standby, "primary.orders");
    let found = wait_state(&daemon, State::CaughtUp, begun, "");
    assert_eq!((found.reason, found.offsets), (None, None));

    // Stalled: the target refuses the daemon.
    let stalled = now_ms();
    clusters[1].add_fault(json!({
        "kind": "error", "api": "Produce", "error": "TOPIC_AUTHORIZATION_FAILED", "topic": "primary.orders"
    }));
    write_numbers(&primary, "orders", 1, 100..200);
    let found = wait_state(&daemon, State::Stalled, stalled, "what the reason says is mended");
    assert_printed_whole(&daemon, found.reason.as_deref().expect("a reason"));
    clusters[1].cluster().control().clear_faults();
    wait_state(&daemon, State::CaughtUp, found.since_ms, "");

    // Paused, and then a gap: records are gone when it is resumed.
    let paused = now_ms();
    let file = daemon.topology().to_str().expect("UTF-8").to_owned();
    let run = |command: &str| {
        let output = heliostat(&[command, &file], None);
        assert!(output.status.success(), "{output:?}");
    };
    run("pause");
    wait_state(&daemon, State::Paused, paused, "heliostat resume ");
    write_numbers(&primary, "orders", 1, 200..300);
    primary.delete_records("orders", 0, 250);
    run("resume");
    let found = wait_state(&daemon, State::Gap, paused, "set on_gap: record");
    assert_eq!(found.offsets, Some((200, 249)));
    assert!(daemon.stop(END).success());
    let text = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, text.replace("on_gap: halt", "on_gap: record")).expect("write the file");
    daemon.restart();
    wait_state(&daemon, State::CaughtUp, found.since_ms, "");

    // The source topic is gone: its mirror is kept, and nothing waits for it. Recreated: it is there again, and is not the one of before.
    let deleted = now_ms();
    primary.delete_topic("orders");
    wait_deleted(&daemon, deleted);
    primary.create_topic("orders", 1, &[]);
    write_numbers(&primary, "orders", 1, 0..10);
    let found = wait_state(
        &daemon,
        State::Recreated,
        deleted,
        "delete primary.orders on the target",
    );
    assert_eq!(daemon.flow(FLOW).deleted, []);
    // Nothing of what is there now is on the target.
    wait_for(CATCH_UP, "the lag is all of the new log", || {
        let found = daemon.flow(FLOW).partitions.remove(0);
        if found.lag.known && found.lag.records == 10 && found.source_end == Some(10) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    standby.ask_to_delete("primary.orders");
    wait_state(&daemon, State::CaughtUp, found.since_ms, "");
    wait_mirrored(&primary, "orders", &standby, "primary.orders");
}

#[test]
fn what_is_copied_waits_or_is_refused_says_so_and_goes_on() {
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
    let [primary, standby] = clusters
        .each_ref()
        .map(|cluster| Client::new(cluster.bootstrap()));
    primary.create_topic("orders", 1, &[]);
    standby.create_topic("primary.orders", 1, &[("cleanup.policy", "compact")]);
    let daemon = Daemon::start(&topology(&clusters, "limits: { bytes_per_second: 50kB }"));
    let idle = wait_state(&daemon, State::CaughtUp, 0, "");

    // Copying: it takes some seconds, and there is nothing to be done about it.
    let large = |number: i32| Rec::new(0, Some(&number.to_be_bytes()), Some(&[b'.'; 1_000]));
    let records: Vec<Rec> = (0..200).map(large).collect();
    let small_batches = primary.with(&[("batch.num.messages", "5")]);
    small_batches.produce("orders", &records, Producing::default());
    let found = wait_state(&daemon, State::Copying, idle.since_ms, "");
    assert_eq!((found.reason, found.clears), (None, None));
    wait_state(&daemon, State::CaughtUp, found.since_ms, "");
    wait_mirrored(&primary, "orders", &standby, "primary.orders");

    // Waiting: the source is away.
    let away = now_ms();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let control = clusters[0].cluster().control();
    let isolated = runtime.block_on(control.isolate_node(1, Isolation::Refuses, None));
    isolated.expect("isolate the only node");
    let found = wait_state(&daemon, State::Waiting, away, "the cluster answers again");
    assert_eq!(found.offsets, None, "{found:?}");
    runtime.block_on(control.start_node(1)).expect("start it");
    wait_state(&daemon, State::CaughtUp, found.since_ms, "");

    // Quarantined: a record without a key, for a mirror that is compacted.
    let refused = now_ms();
    primary.produce(
        "orders",
        &[Rec::new(0, None, Some(b"without a key"))],
        Producing::default(),
    );
    let found = wait_state(&daemon, State::Quarantined, refused, "cleanup.policy=compact");
    assert_eq!(found.offsets, Some((200, 200)));
    let reason = found.reason.expect("a reason");
    assert!(reason.contains("source offset 200"), "{reason}");
    standby.alter_topic("primary.orders", &[("cleanup.policy", "delete")]);
    wait_state(&daemon, State::CaughtUp, found.since_ms, "");
    wait_mirrored(&primary, "orders", &standby, "primary.orders");
}
