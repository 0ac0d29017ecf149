//! What happens to partitions is remembered, counted and told, over HTTP and on the command line.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use heliostat::observe::events::{Event, EventKind, EventList};
use heliostat::observe::status::State;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, binary, heliostat};
use crate::support::http;
use crate::support::mirrors::{CATCH_UP, FLOW, Pair, write_numbers};
use crate::support::wait_for;

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

fn events(daemon: &Daemon, since: u64) -> EventList {
    let answer = daemon.get(&format!("/api/v1/events?since={since}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error} in {}", answer.body))
}

/// Waits for an event, and returns it.
#[track_caller]
fn wait_event(daemon: &Daemon, since: u64, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
    wait_for(CATCH_UP, what, || {
        let list = events(daemon, since);
        list.events
            .iter()
            .find(|event| is_it(event))
            .cloned()
            .ok_or_else(|| format!("{list:?}"))
    })
}

#[track_caller]
fn post(daemon: &Daemon, path: &str, body: Value) -> (u16, Value) {
    let answer = http::post(daemon.http(), path, &body.to_string(), ANSWER).expect("an answer");
    let body = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
    (answer.status, body)
}

/// What is written there, line by line; it ends with whoever writes.
fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (heard, lines) = std::sync::mpsc::channel();
    let told = BufReader::new(from).lines();
    std::thread::spawn(move || told.map_while(Result::ok).try_for_each(|line| heard.send(line)));
    lines
}

/// `heliostat events --follow`, until it is dropped.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn what_happens_to_a_partition_is_told_in_order_with_states_and_exact_offsets() {
    let pair = Pair::start();
    pair.primary.create_topic("orders", 1, &[]);
    write_numbers(&pair.primary, "orders", 1, 0..100);
    let mut daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("orders");
    let of_orders = |event: &Event| event.topic.as_deref() == Some("orders") && event.partition == Some(0);
    wait_event(&daemon, 0, "it is caught up", |event| {
        of_orders(event) && event.to == Some(State::CaughtUp)
    });
    let first = events(&daemon, 0);
    assert_eq!(first.first, 1);
    let numbers: Vec<u64> = first.events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, (1..first.next).collect::<Vec<_>>());
    assert!(first.events.iter().all(|event| event.flow == FLOW));
    let taken = first.events.iter().filter(|event| event.kind == EventKind::Taken);
    assert_eq!(taken.filter(|event| of_orders(event)).count(), 1);

    let url = format!("http://{}", daemon.http());
    let mut follower: Command = binary();
    follower
        .args([
            "events", "--url", &url, "--follow", "-o", "json", "--kind", "paused",
        ])
        .args(["--kind", "resumed"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut follower = Follower(follower.spawn().expect("heliostat events"));
    let lines = lines_of(follower.0.stdout.take().expect("its output"));
    let notes = lines_of(follower.0.stderr.take().expect("its notes"));

    let (status, answer) = post(
        &daemon,
        "/api/v1/pause",
        json!({ "topic": "orders", "reason": "why not" }),
    );
    assert_eq!(
        (status, &answer["changed"]),
        (200, &json!([{ "topic": "orders", "partition": null }]))
    );
    let paused = wait_event(&daemon, first.next, "it is paused", |event| {
        event.kind == EventKind::Paused
    });
    assert_eq!(
        (paused.topic.as_deref(), paused.reason.as_deref()),
        (Some("orders"), Some("by HTTP: why not"))
    );
    wait_event(&daemon, first.next, "its partition is", |event| {
        of_orders(event) && (event.from, event.to) == (Some(State::CaughtUp), Some(State::Paused))
    });
    let next = || -> Event {
        let line = lines
            .recv_timeout(CATCH_UP)
            .expect("the follower hears of it in time");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    };
    assert_eq!(next(), paused);

    // Records that are gone when it is resumed are a gap, which is named exactly.
    write_numbers(&pair.primary, "orders", 1, 100..200);
    pair.primary.delete_records("orders", 0, 150);
    for (path, body, expected) in [
        ("/api/v1/resume", json!({ "topic": "ordres" }), 404),
        (
            "/api/v1/resume",
            json!({ "topic": "orders", "partition": 0 }),
            409,
        ),
        ("/api/v1/resume", json!({ "topic": "orders", "reason": "x" }), 400),
        ("/api/v1/pause", json!({ "partition": 0 }), 400),
        ("/api/v1/pause", json!({ "topik": "orders" }), 400),
        ("/api/v1/resume", json!({ "topic": "orders" }), 200),
    ] {
        let (status, answer) = post(&daemon, path, body);
        assert_eq!(status, expected, "{path}: {answer}");
    }
    assert_eq!(next().kind, EventKind::Resumed);
    let gap = wait_event(&daemon, first.next, "the gap", |event| {
        event.kind == EventKind::Gap
    });
    assert_eq!((of_orders(&gap), gap.offsets), (true, Some((100, 149))));
    let count = |kind: &str| {
        daemon.metric(&format!(
            r#"heliostat_events_total{{flow="{FLOW}",kind="{kind}"}}"#
        ))
    };
    assert_eq!((count("gap"), count("paused")), (Some(1.0), Some(1.0)));
    assert_eq!(count("quarantined"), Some(0.0));
    daemon.wait_log("gap: source offsets were deleted before they could be copied");

    let output = heliostat(&["events", "--url", &url, "--kind", "gap"], None);
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(
        said.contains("orders-0  gap  source offsets 100 to 149 were deleted"),
        "{said}"
    );
    let answer = daemon.get("/api/v1/events?until=1");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (400, "\"until=1\" is not understood; write ?since=NUMBER\n")
    );

    // A daemon that is started anew counts from 1 again, and whoever follows hears of it.
    assert!(daemon.stop(Duration::from_secs(15)).success());
    daemon.restart();
    // What was paused before a daemon started is a state, and nothing that happened.
    wait_event(&daemon, 0, "it is caught up again", |event| {
        of_orders(event) && event.to == Some(State::CaughtUp)
    });
    post(&daemon, "/api/v1/pause", json!({}));
    let again = next();
    assert_eq!((again.kind, again.topic), (EventKind::Paused, None));
    let note = || notes.recv_timeout(CATCH_UP).expect("a note on the daemon");
    while !note().starts_with("note: the daemon was started anew at 2") {}
}

#[test]
fn a_flow_that_is_not_there_is_the_same_error_of_every_command_that_looks_at_one() {
    let pair = Pair::start();
    let daemon = Daemon::start(&pair.topology(""));
    let url = format!("http://{}", daemon.http());
    for arguments in [
        &["status", "--flow", "nope"][..],
        &["status", "--flow", "nope", "--watch"],
        &["events", "--flow", "nope"],
        &["events", "--flow", "nope", "--follow"],
    ] {
        let output = heliostat(&[arguments, &["--url", &url]].concat(), None);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), error.as_ref(), output.stdout.as_slice()),
            (
                Some(2),
                format!("error: there is no flow nope; there are: {FLOW}\n").as_str(),
                &b""[..]
            ),
            "{arguments:?}"
        );
    }
}
