//! `heliostat check --connect`: what the clusters of a file answer, before anything runs.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::ports::Ports;
use crate::support::process::temp_dir;
use crate::support::proxy::Proxy;
use crate::support::{wait_for, wait_until};

/// How long a flow may take to create its mirror topics, on a machine that compiles beside it.
const FLOW: Duration = Duration::from_secs(60);

struct Checked {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs `heliostat check --connect` on a file with this content.
#[track_caller]
fn check(topology: &str, arguments: &[&str]) -> Checked {
    let directory = temp_dir("check");
    let path = directory.path().join("t.yaml");
    std::fs::write(&path, topology).expect("write a topology");
    let mut all = vec!["check", "t.yaml", "--connect"];
    all.extend(arguments);
    let output = heliostat(&all, Some(directory.path()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Checked {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// The same with `-o json`: the exit code and what it printed.
#[track_caller]
fn check_json(topology: &str) -> (Option<i32>, Value) {
    let checked = check(topology, &["-o", "json"]);
    let report = serde_json::from_str(&checked.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}\n{}", checked.stdout, checked.stderr));
    (checked.code, report)
}

fn pair(first: &str, second: &str) -> String {
    format!(
        "name: pair\nlayout: active-active\nclusters:\n  east:\n    bootstrap_servers: {first}\n  west:\n    bootstrap_servers: {second}\n"
    )
}

fn no_such_server() -> (Ports, String) {
    let ports = Ports::reserve(1);
    let address = ports.address().to_string();
    (ports, address)
}

#[test]
fn it_shows_what_becomes_of_real_topics() {
    let (east, west) = (InProcess::start(1, &[]), InProcess::start(2, &[]));
    let client = Client::new(east.bootstrap());
    client.create_topic("sales", 3, &[]);
    client.create_topic("west.sales", 1, &[]);
    client.create_topic("local-x", 1, &[]);
    let on_west = Client::new(west.bootstrap());
    on_west.create_topic("east.sales", 1, &[]);
    let file =
        pair(&east.bootstrap(), &west.bootstrap()) + "defaults: { topics: { exclude: [\"local.*\"] } }\n";

    let human = check(&file, &[]);
    assert_eq!(
        (human.code, human.stderr.as_str()),
        (Some(0), ""),
        "{}",
        human.stdout
    );
    for line in [
        "  east  answers: 1 broker, 3 topics, cluster id ",
        "  west  answers: 2 brokers, 1 topic, cluster id ",
        "Flow east->west, 1 topic to mirror, 2 not\n",
        "  sales, 3 partitions  becomes east.sales, which is there and not known as a mirror: the flow would write to it\n",
        "    local-x     excluded by the pattern `local.*`\n",
        "    west.sales  it would come back in a circle: its name says that its records come from west\n",
        "Flow west->east, 0 topics to mirror, 1 not\n",
    ] {
        assert!(human.stdout.contains(line), "{line}\nis not in\n{}", human.stdout);
    }
    assert!(
        !human.stdout.contains("orders"),
        "an example stands there too:\n{}",
        human.stdout
    );

    let (code, report) = check_json(&file);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)));
    let connected = &report["connected"];
    assert_eq!(connected["clusters"][1]["state"], "reachable");
    assert_eq!(connected["clusters"][1]["brokers"], 2);
    let flow = &connected["flows"][0];
    assert_eq!(flow["name"], "east->west");
    assert_eq!(flow["topics"][0]["topic"], "sales");
    assert_eq!(flow["topics"][0]["mirror"], "east.sales");
    assert_eq!(flow["topics"][0]["state"], "taken");
    assert_eq!(flow["left_out"][0]["topic"], "local-x");
    // It looked, and made nothing.
    assert_eq!(on_west.topics(), ["east.sales"]);
}

#[test]
fn it_knows_mirrors_by_the_offset_map_whatever_the_clusters_are_called() {
    let (east, west) = (InProcess::start(1, &[]), InProcess::start(1, &[]));
    Client::new(east.bootstrap()).create_topic("sales", 2, &[]);
    let file = pair(&east.bootstrap(), &west.bootstrap());
    let _daemon = Daemon::start(&file);
    let on_west = Client::new(west.bootstrap());
    wait_until(FLOW, "the mirror is there", || {
        on_west.partitions("east.sales") == Some(2)
    });
    let (_, report) = check_json(&file);
    let flow = &report["connected"]["flows"][0];
    assert_eq!(flow["topics"][0]["mirror"], "east.sales");
    assert_eq!(flow["topics"][0]["state"], "mirror", "{flow:#}");

    // Another file gives the clusters other names, so that the name of the mirror says nothing.
    let renamed = pair(&east.bootstrap(), &west.bootstrap())
        .replace("east", "lisbon")
        .replace("west", "porto");
    let back = wait_for(FLOW, "the circle is seen", || {
        let (_, report) = check_json(&renamed);
        let flow = report["connected"]["flows"][1].clone();
        match flow["left_out"].as_array() {
            Some(left_out) if left_out.iter().any(|topic| topic["topic"] == "east.sales") => Ok(flow),
            _ => Err(flow.to_string()),
        }
    });
    assert_eq!(back["name"], "porto->lisbon");
    let reason = back["left_out"]
        .as_array()
        .and_then(|left_out| left_out.iter().find(|topic| topic["topic"] == "east.sales"))
        .map(|topic| topic["reason"].clone());
    assert_eq!(
        reason.expect("it is left out"),
        "it would come back in a circle: its records have passed lisbon before"
    );
}

#[test]
fn two_aliases_for_one_cluster_are_an_error_with_a_place() {
    let cluster = InProcess::start(2, &[]);
    let bootstrap = cluster.bootstrap();
    let (first, second) = bootstrap.split_once(',').unwrap_or((&bootstrap, &bootstrap));
    let file = pair(first, second);
    let human = check(&file, &[]);
    assert_eq!(human.code, Some(2), "{}", human.stderr);
    assert!(
        human
            .stderr
            .starts_with("error: `east` and `west` are one cluster: both have the id ")
            && human.stderr.contains("--> t.yaml:6:3\n")
            && human.stderr.contains("\n6 |   west:\n  |   ^^^^\n"),
        "{}",
        human.stderr
    );
    assert!(
        human
            .stdout
            .contains("Flow east->west: east and west are one cluster\n"),
        "{}",
        human.stdout
    );

    let (code, report) = check_json(&file);
    assert_eq!((code, &report["ok"]), (Some(2), &Value::Bool(false)));
    let problem = &report["problems"][0];
    assert_eq!(problem["kind"], "same-cluster");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&Value::from(6), &Value::from(3))
    );
}

#[test]
fn a_cluster_that_is_away_is_named_with_the_reason_and_exit_code_3() {
    let east = InProcess::start(1, &[]);
    Client::new(east.bootstrap()).create_topic("sales", 1, &[]);
    let (_ports, away) = no_such_server();
    let checked = check(&pair(&east.bootstrap(), &away), &[]);
    assert_eq!(checked.code, Some(3), "{}", checked.stdout);
    let line = checked
        .stdout
        .lines()
        .find(|line| line.starts_with("  west  does not answer: "));
    assert!(
        line.is_some_and(|line| line.contains("refused")),
        "{}",
        checked.stdout
    );
    for line in [
        "  sales, 1 partition  becomes east.sales, of which it is not known whether it is there\n",
        "Flow west->east: the topics of west are not known\n",
    ] {
        assert!(
            checked.stdout.contains(line),
            "{line}\nis not in\n{}",
            checked.stdout
        );
    }
}

#[test]
fn a_cluster_that_accepts_and_says_nothing_is_given_up_in_time() {
    let east = InProcess::start(1, &[]);
    let proxy = Proxy::new();
    proxy.open(east.bootstrap().parse().expect("an address"));
    proxy.stall(true);
    let west = InProcess::start(1, &[]);
    let started = Instant::now();
    let (code, report) = check_json(&pair(&west.bootstrap(), &proxy.address().to_string()));
    // 10 s for the answers, a second for the end of the process, the rest for a machine with other work.
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(code, Some(3));
    let cluster = &report["connected"]["clusters"][1];
    assert_eq!(cluster["state"], "unreachable");
    assert!(cluster["reason"].is_string(), "{cluster}");
}

#[test]
fn built_in_clusters_that_do_not_run_are_no_obstacle_before_the_first_run() {
    let ports = Ports::reserve(2);
    let file = format!(
        "name: idle\nlayout: active-standby\nclusters:\n  a: {{ built_in: {{ port: {} }} }}\n  b: {{ built_in: {{ port: {} }} }}\nprimary: a\nstandby: b\n",
        ports.port(0),
        ports.port(1)
    );
    let started = Instant::now();
    let checked = check(&file, &["--topic", "sales"]);
    assert_eq!(
        (checked.code, checked.stderr.as_str()),
        (Some(0), ""),
        "{}",
        checked.stdout
    );
    // Nobody waits for what can be seen at once.
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    let line = format!(
        "  a  does not run: nothing listens on 127.0.0.1:{}; `heliostat run t.yaml` starts it\n",
        ports.port(0)
    );
    assert!(checked.stdout.contains(&line), "{}", checked.stdout);
    assert!(
        checked.stdout.contains("sales becomes a.sales\n"),
        "{}",
        checked.stdout
    );
    let (code, report) = check_json(&file);
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)));
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    assert_eq!(report["connected"]["clusters"][0]["state"], "not-running");

    // The other half of getting started: a cluster that exists and answers, and a standby that is still to be started.
    let existing = InProcess::start(1, &[]);
    Client::new(existing.bootstrap()).create_topic("sales", 1, &[]);
    let mixed = |bootstrap: &str| {
        format!(
            "name: first-mirror\nlayout: active-standby\nclusters:\n  primary: {{ bootstrap_servers: \"{bootstrap}\" }}\n  standby: {{ built_in: {{ port: {} }} }}\nprimary: primary\nstandby: standby\n",
            ports.port(1)
        )
    };
    let checked = check(&mixed(&existing.bootstrap()), &[]);
    assert_eq!(
        (checked.code, checked.stderr.as_str()),
        (Some(0), ""),
        "{}",
        checked.stdout
    );
    assert!(
        checked.stdout.contains("becomes primary.sales"),
        "{}",
        checked.stdout
    );
    // A cluster that should be there and is not remains one.
    let (_nobody, away) = no_such_server();
    assert_eq!(check(&mixed(&away), &[]).code, Some(3));
}
