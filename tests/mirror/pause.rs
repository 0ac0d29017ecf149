//! What is paused stands still, for every daemon and over restarts, until it is resumed; its neighbours go on.

use std::process::Output;
use std::time::Duration;

use heliostat::observe::status::{PartitionStatus, State};
use serde_json::Value;

use crate::support::clients::Client;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::mirrors::{CATCH_UP, FLOW, Pair, wait_ends, wait_quiet, write_numbers};
use crate::support::{hold, wait_for, wait_until};

/// How long a daemon may take to drain and end.
const END: Duration = Duration::from_secs(15);

/// How long something paused is watched.
const WATCHED: Duration = Duration::from_secs(2);

/// Runs a command on the daemon's file.
#[track_caller]
fn on(daemon: &Daemon, command: &str, arguments: &[&str]) -> Output {
    let file = daemon.topology().to_str().expect("a path that is UTF-8");
    let arguments: Vec<&str> = [command, file]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    heliostat(&arguments, None)
}

/// The same, which has to work, and what it prints.
#[track_caller]
fn done(daemon: &Daemon, command: &str, arguments: &[&str]) -> String {
    let output = on(daemon, command, arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

/// The same, which has to be refused with this code, and what it says.
#[track_caller]
fn refused(daemon: &Daemon, command: &str, arguments: &[&str], code: i32) -> String {
    let output = on(daemon, command, arguments);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn partition(daemon: &Daemon, topic: &str, number: i32) -> Option<PartitionStatus> {
    let flow = daemon.flow(FLOW);
    flow.partitions
        .into_iter()
        .find(|found| found.topic == topic && found.partition == number)
}

/// Waits until a partition is in a state, and returns what it looks like then.
#[track_caller]
fn wait_state(daemon: &Daemon, topic: &str, number: i32, state: State) -> PartitionStatus {
    wait_for(
        CATCH_UP,
        &format!("{topic}-{number} is {state}"),
        || match partition(daemon, topic, number) {
            Some(found) if found.state == state => Ok(found),
            found => Err(format!("{found:?}")),
        },
    )
}

/// The offset map's last word on a partition of a mirror.
fn last_block(standby: &Client, mirror: &str) -> Option<Value> {
    let json = |bytes: &Option<Vec<u8>>| -> Option<Value> { serde_json::from_slice(bytes.as_deref()?).ok() };
    let records = standby.read("heliostat.primary.offset-map.internal");
    records.iter().rev().find_map(|record| {
        let key = json(&record.key)?;
        (key["topic"] == mirror && key["partition"] == 0)
            .then(|| json(&record.value))
            .flatten()
    })
}

#[test]
fn a_topic_that_is_paused_stands_still_until_the_command_that_the_status_names() {
    let pair = Pair::start();
    for topic in ["orders", "payments"] {
        pair.primary.create_topic(topic, 2, &[]);
        write_numbers(&pair.primary, topic, 2, 0..100);
    }
    let mut daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("orders");
    pair.wait_mirrored("payments");
    done(
        &daemon,
        "pause",
        &["--topic", "orders", "--reason", "wrong\tnumbers"],
    );
    let paused = wait_state(&daemon, "orders", 0, State::Paused);
    let since = paused.since_ms;
    assert!(paused.mine, "it stays this daemon's: {paused:?}");
    let reason = paused.reason.unwrap_or_default();
    assert!(
        reason.starts_with("paused with topic orders by ") && reason.ends_with(": wrong\tnumbers"),
        "{reason}"
    );
    let command = paused.clears.expect("the command that clears it");
    wait_for(CATCH_UP, "its last facts are marked", || {
        let last = last_block(&pair.standby, "primary.orders").ok_or("there is none")?;
        match (last["position"].as_i64(), last["released"].as_bool()) {
            (Some(50), Some(true)) => Ok(()),
            _ => Err(last.to_string()),
        }
    });
    // Once more changes nothing, and says so.
    assert!(done(&daemon, "pause", &["--topic", "orders"]).contains("is paused already"));

    for topic in ["orders", "payments"] {
        write_numbers(&pair.primary, topic, 2, 100..200);
    }
    pair.wait_mirrored("payments");
    let lagging = wait_for(CATCH_UP, "the lag is seen", || {
        let found = partition(&daemon, "orders", 1).ok_or("it is not there")?;
        match found.lag.records {
            50 if found.lag.known => Ok(found),
            _ => Err(format!("{found:?}")),
        }
    });
    assert_eq!(lagging.state, State::Paused);
    let state = r#"state="paused""#;
    let labels = r#"flow="primary->standby",partition="1",source="primary",target="standby",target_topic="primary.orders",topic="orders""#;
    let metrics = daemon.get("/metrics").body;
    let shown = metrics.lines().any(|line| {
        let of_it = line.starts_with("heliostat_partition_state{") && line.ends_with(" 1");
        of_it && line.contains(state) && labels.split(',').all(|label| line.contains(label))
    });
    assert!(shown, "{metrics}");

    // A restart does not forget it, and a partition that is new is paused as well.
    assert!(daemon.stop(END).success());
    daemon.restart();
    pair.primary.create_partitions("orders", 3);
    let new = wait_state(&daemon, "orders", 2, State::Paused);
    assert_eq!((new.since_ms, new.position), (since, None), "{new:?}");
    let again = wait_state(&daemon, "orders", 0, State::Paused);
    assert_eq!((again.since_ms, again.position), (since, Some(50)), "{again:?}");
    // Lines are made to fit.
    let human = done(&daemon, "status", &[])
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for expected in ["paused: orders, for ", command.as_str()] {
        assert!(human.contains(expected), "{expected:?} is not in\n{human}");
    }
    let asked = done(&daemon, "status", &["--clusters", "-o", "json"]);
    let asked: heliostat::observe::status::Status = serde_json::from_str(&asked).expect("a status");
    assert_eq!(asked.flows[0].pauses, daemon.flow(FLOW).pauses);
    assert_eq!(asked.flows[0].partitions[0].state, State::Paused);
    hold(WATCHED, "nothing of it is copied", || {
        pair.standby.end_offsets("primary.orders")[..2] == [50, 50]
    });

    let words: Vec<&str> = command.split(' ').map(|word| word.trim_matches('\'')).collect();
    assert_eq!(words[0], "heliostat");
    let output = heliostat(&words[1..], None);
    assert!(output.status.success(), "{output:?}");
    pair.wait_mirrored("orders");
    wait_state(&daemon, "orders", 0, State::CaughtUp);
    wait_quiet(&[&pair.standby]);
    pair.wait_mirrored("orders");
}

#[test]
fn a_flow_is_paused_before_it_ever_ran_and_with_topics_that_are_still_to_come() {
    let pair = Pair::start();
    let mut daemon = Daemon::spawn(&pair.topology(""), &[]);
    daemon.process().kill();
    let said = done(&daemon, "pause", &[]);
    assert!(
        said.starts_with("paused the whole flow of primary->standby"),
        "{said}"
    );
    pair.primary.create_topic("early", 1, &[]);
    write_numbers(&pair.primary, "early", 1, 0..10);
    daemon.restart();
    wait_state(&daemon, "early", 0, State::Paused);
    pair.primary.create_topic("late", 1, &[]);
    write_numbers(&pair.primary, "late", 1, 0..10);
    wait_state(&daemon, "late", 0, State::Paused);
    assert_eq!(daemon.flow(FLOW).state, State::Paused);
    hold(WATCHED, "nothing is copied", || {
        ["primary.early", "primary.late"].map(|topic| pair.standby.end_offsets(topic)) == [[0], [0]]
    });

    // A part of what is paused is not resumed by itself, and a pause of its own stays when the rest is resumed.
    let said = refused(&daemon, "resume", &["--topic", "late"], 3);
    assert!(
        said.contains("is not paused by itself but with the whole flow"),
        "{said}"
    );
    done(
        &daemon,
        "pause",
        &["--topic", "late", "--partition", "0", "--reason", "other"],
    );
    let said = done(&daemon, "resume", &[]);
    assert!(
        said.contains("still paused: partition late-0") && said.contains("--partition 0"),
        "{said}"
    );
    pair.wait_mirrored("early");
    wait_state(&daemon, "late", 0, State::Paused);
    assert!(done(&daemon, "resume", &[]).contains("is not paused"));
    done(&daemon, "resume", &["--all"]);
    pair.wait_mirrored("late");
    assert_eq!(daemon.flow(FLOW).pauses, []);
    assert!(done(&daemon, "resume", &["--topic", "late"]).contains("is not paused"));
}

#[test]
fn a_partition_that_is_paused_stands_still_alone() {
    let pair = Pair::start();
    pair.primary.create_topic("orders", 3, &[]);
    write_numbers(&pair.primary, "orders", 3, 0..30);
    let daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("orders");
    done(&daemon, "pause", &["--topic", "orders", "--partition", "1"]);
    wait_state(&daemon, "orders", 1, State::Paused);
    write_numbers(&pair.primary, "orders", 3, 30..60);
    wait_ends(&pair.standby, "primary.orders", &[20, 10, 20]);
    for sibling in [0, 2] {
        wait_state(&daemon, "orders", sibling, State::CaughtUp);
    }
    hold(WATCHED, "only the siblings go on", || {
        pair.standby.end_offsets("primary.orders") == [20, 10, 20]
    });
    done(&daemon, "resume", &["--topic", "orders", "--partition", "1"]);
    wait_state(&daemon, "orders", 1, State::CaughtUp);
    pair.wait_mirrored("orders");
}

#[test]
fn a_pause_moves_with_its_partitions_and_counts_for_each_daemon() {
    let pair = Pair::start();
    pair.primary.create_topic("shared", 4, &[]);
    write_numbers(&pair.primary, "shared", 4, 0..100);
    let mut first = Daemon::start(&pair.topology(""));
    let second = Daemon::start(&pair.topology(""));
    let owned = |daemon: &Daemon| {
        let flow = daemon.flow(FLOW);
        flow.partitions.iter().filter(|partition| partition.mine).count()
    };
    wait_until(CATCH_UP, "each has half of the partitions", || {
        (owned(&first), owned(&second)) == (2, 2)
    });
    pair.wait_mirrored("shared");
    done(&first, "pause", &["--topic", "shared"]);
    for number in 0..4 {
        wait_state(&first, "shared", number, State::Paused);
        wait_state(&second, "shared", number, State::Paused);
    }
    // A marker where the second daemon took them over counts too.
    let ends = pair.standby.end_offsets("primary.shared");
    write_numbers(&pair.primary, "shared", 4, 100..200);
    assert!(first.stop(END).success());
    wait_until(CATCH_UP, "the one that is left has them all", || {
        owned(&second) == 4
    });
    hold(WATCHED, "nothing is copied", || {
        pair.standby.end_offsets("primary.shared") == ends
    });
    done(&second, "resume", &["--topic", "shared"]);
    pair.wait_mirrored("shared");
    wait_quiet(&[&pair.standby]);
    pair.wait_mirrored("shared");
}

#[test]
fn what_is_not_there_is_not_paused() {
    let pair = Pair::start();
    for topic in ["orders", "payments"] {
        pair.primary.create_topic(topic, 2, &[]);
    }
    let daemon = Daemon::start(&pair.topology(""));
    wait_ends(&pair.standby, "primary.orders", &[0, 0]);
    for (arguments, expected) in [
        (
            &["--topic", "ordres"][..],
            "flow primary->standby has no topic ordres; it has: orders, payments",
        ),
        (
            &["--topic", "primary.orders"],
            "primary.orders is a mirror of flow primary->standby: name the topic on the source, orders",
        ),
        (
            &["--topic", "orders", "--partition", "2"],
            "orders has no partition 2: it has 2, from 0 on",
        ),
        (
            &["--flow", "a->b"],
            "there is no flow a->b; there are: primary->standby",
        ),
    ] {
        for command in ["pause", "resume"] {
            let said = refused(&daemon, command, arguments, 2);
            assert!(said.contains(expected), "{said}");
        }
    }
    assert_eq!(daemon.flow(FLOW).pauses, []);
}

#[test]
fn nothing_of_a_mirror_that_was_deleted_is_said_to_be_in_the_one_of_the_same_name() {
    let pair = Pair::start();
    pair.primary.create_topic("orders", 1, &[]);
    write_numbers(&pair.primary, "orders", 1, 0..20);
    let mut daemon = Daemon::start(&pair.topology(""));
    wait_state(&daemon, "orders", 0, State::CaughtUp);
    pair.wait_mirrored("orders");
    // Paused, the partition stays as the clusters and the offset map describe it.
    done(&daemon, "pause", &["--topic", "orders"]);
    wait_state(&daemon, "orders", 0, State::Paused);
    assert!(daemon.stop(END).success());
    pair.standby.delete_topic("primary.orders");

    let nothing = |partition: &PartitionStatus| {
        let copied = (partition.position, partition.target_position);
        if (copied, partition.lag.records) == ((None, None), 20) {
            Ok(())
        } else {
            Err(format!("{partition:?}"))
        }
    };
    daemon.restart();
    wait_for(CATCH_UP, "the mirror is made again, and nothing is in it", || {
        assert!(
            pair.standby
                .partitions("primary.orders")
                .is_none_or(|_| pair.standby.end_offsets("primary.orders") == [0])
        );
        match &daemon.flow(FLOW).partitions[..] {
            [partition] if partition.state == State::Paused => nothing(partition),
            partitions => Err(format!("{partitions:?}")),
        }
    });
    let asked = done(&daemon, "status", &["--clusters", "-o", "json"]);
    let asked: heliostat::observe::status::Status = serde_json::from_str(&asked).expect("a status");
    assert_eq!(nothing(&asked.flows[0].partitions[0]), Ok(()));
    done(&daemon, "resume", &["--topic", "orders"]);
    wait_state(&daemon, "orders", 0, State::CaughtUp);
    pair.wait_mirrored("orders");
}
