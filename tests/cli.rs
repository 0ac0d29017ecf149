//! The command line, as a user meets it: what each command prints, and its exit code.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use expect_test::{Expect, expect};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::built_in::BuiltIn;
use crate::support::ports::Ports;
use crate::support::process::{Process, temp_dir};
use crate::support::wait_until;

/// How long a command may take that waits for a cluster, on a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(30);

fn heliostat(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_heliostat"));
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("HELIOSTAT_LOG");
    command
}

pub fn run(arguments: &[&str]) -> Output {
    heliostat(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("run heliostat")
}

/// Exit code, standard output and standard error.
pub fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn expect_stdout(arguments: &[&str], expected: Expect) {
    let (code, stdout, stderr) = text(&run(arguments));
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
    expected.assert_eq(&stdout);
}

pub fn file(content: &str) -> (tempfile::TempDir, String) {
    let directory = temp_dir("cli");
    let path = directory.path().join("t.yaml");
    std::fs::write(&path, content).expect("write a topology");
    let path = path.to_str().expect("a path that is UTF-8").to_owned();
    (directory, path)
}

#[test]
fn the_version_names_the_commit() {
    let (code, stdout, _) = text(&run(&["--version"]));
    assert_eq!(code, Some(0));
    let (version, commit) = stdout.trim().split_once(" (").expect("a commit");
    assert_eq!(version, concat!("heliostat ", env!("CARGO_PKG_VERSION")));
    assert!(commit.len() > 7 && commit.ends_with(')'), "{stdout}");
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    for arguments in [
        &["statsu"][..],
        &[],
        &["check"],
        &["broker", "--brokers", "10"],
        &["broker", "--config", "num.partitions"],
        &["broker", "--config", "a=1", "--config", "a=2"],
        &["broker", "--mechanism", "PLAIN"],
        &["consume", "--topic", "t", "--mechanism", "PLAIN"],
        &["broker", "--config", "num.partitons=1", "--port", "0"],
        &["check", "topologies/active-standby.yaml", "-o", "xml"],
        &["check", "topologies/active-standby.yaml", "--log-level", "inof"],
        &["status", "--clusters"],
        &["check", "no-such-file.yaml"],
        &["run", "no-such-file.yaml"],
        &["status", "no-such-file.yaml"],
    ] {
        let (code, stdout, stderr) = text(&run(arguments));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}: {stderr}");
        assert!(
            !stderr.is_empty() && !stderr.contains("panicked"),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn a_wrong_broker_config_is_told_the_right_one() {
    for (config, expected) in [
        (
            "num.partition=3",
            expect![[r#"
            error: the built-in cluster has no broker config num.partition: did you mean num.partitions?
        "#]],
        ),
        (
            "bananas=3",
            expect![[r#"
            error: the built-in cluster has no broker config bananas
        "#]],
        ),
        (
            "sasl.enabled.mechanisms=PLAIN",
            expect![[r#"
            error: the built-in cluster has no broker config sasl.enabled.mechanisms; who may connect, and how, is said with --user and --mechanism
        "#]],
        ),
    ] {
        let (code, stdout, stderr) = text(&run(&["broker", "--port", "0", "--config", config]));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{config}");
        expected.assert_eq(&stderr);
    }
}

#[test]
fn check_shows_what_a_file_means() {
    expect_stdout(
        &["check", "topologies/active-standby.yaml"],
        expect![[r#"
        active-standby: active-standby, 2 clusters, 1 flow

        Clusters
          primary  built in, 1 broker on 127.0.0.1:19092, data in ./data/active-standby/primary
          standby  built in, 1 broker on 127.0.0.1:29092, data in ./data/active-standby/standby

        Flows
          primary->standby  as by default

        HTTP
          http://127.0.0.1:8080

        Topic orders, produced to every cluster
          primary->standby  orders becomes primary.orders
    "#]],
    );
    expect_stdout(
        &["check", "topologies/hub-and-spoke.yaml", "--topic", "sales"],
        expect![[r#"
            hub-and-spoke: hub-and-spoke, 4 clusters, 6 flows

            Clusters
              hub      built in, 3 brokers on 127.0.0.1:19092-19094, data in ./data/hub-and-spoke/hub
              spoke-1  built in, 1 broker on 127.0.0.1:29092, data in ./data/hub-and-spoke/spoke-1
              spoke-2  built in, 1 broker on 127.0.0.1:29192, data in ./data/hub-and-spoke/spoke-2
              spoke-3  built in, 1 broker on 127.0.0.1:29292, data in ./data/hub-and-spoke/spoke-3

            Flows
              spoke-1->hub  as by default
              hub->spoke-1  as by default
              spoke-2->hub  as by default
              hub->spoke-2  as by default
              spoke-3->hub  as by default
              hub->spoke-3  as by default

            HTTP
              http://127.0.0.1:8080

            Topic sales, produced to every cluster
              hub->spoke-1  sales becomes hub.sales
              hub->spoke-2  sales becomes hub.sales
              hub->spoke-3  sales becomes hub.sales
              spoke-1->hub  sales becomes spoke-1.sales
              spoke-2->hub  sales becomes spoke-2.sales
              spoke-3->hub  sales becomes spoke-3.sales
              hub->spoke-2  spoke-1.sales becomes hub.spoke-1.sales
              hub->spoke-3  spoke-1.sales becomes hub.spoke-1.sales
              hub->spoke-1  spoke-2.sales becomes hub.spoke-2.sales
              hub->spoke-3  spoke-2.sales becomes hub.spoke-2.sales
              hub->spoke-1  spoke-3.sales becomes hub.spoke-3.sales
              hub->spoke-2  spoke-3.sales becomes hub.spoke-3.sales
              Not copied
                spoke-1->hub  hub.sales: it came from hub: it would come back in a circle
                spoke-2->hub  hub.sales: it came from hub: it would come back in a circle
                spoke-3->hub  hub.sales: it came from hub: it would come back in a circle
                hub->spoke-1  spoke-1.sales: it came from spoke-1: it would come back in a circle
                hub->spoke-2  spoke-2.sales: it came from spoke-2: it would come back in a circle
                hub->spoke-3  spoke-3.sales: it came from spoke-3: it would come back in a circle
                spoke-2->hub  hub.spoke-1.sales: it came from hub: it would come back in a circle
                spoke-3->hub  hub.spoke-1.sales: it came from hub: it would come back in a circle
                spoke-1->hub  hub.spoke-2.sales: it came from hub: it would come back in a circle
                spoke-3->hub  hub.spoke-2.sales: it came from hub: it would come back in a circle
                spoke-1->hub  hub.spoke-3.sales: it came from hub: it would come back in a circle
                spoke-2->hub  hub.spoke-3.sales: it came from hub: it would come back in a circle
        "#]],
    );
    expect_stdout(
        &[
            "check",
            "topologies/active-active.yaml",
            "--topic",
            "local-x",
            "--topic",
            "east.orders",
            "--topic",
            "a b",
        ],
        expect![[r#"
            active-active: active-active, 2 clusters, 2 flows

            Clusters
              east  built in, 1 broker on 127.0.0.1:19092, data in ./data/active-active/east
              west  built in, 1 broker on 127.0.0.1:29092, data in ./data/active-active/west

            Flows
              east->west  topics.exclude ["__.*", ".*[-.]internal", "local-.*"]
              west->east  topics.exclude ["__.*", ".*[-.]internal", "local-.*"], limits.bytes_per_second 50MB

            HTTP
              http://127.0.0.1:8080

            Topic local-x, produced to every cluster
              Not copied
                east->west  local-x: excluded by the pattern `local-.*`
                west->east  local-x: excluded by the pattern `local-.*`

            Topic east.orders, produced to every cluster
              east->west  east.orders becomes east.east.orders
              Not copied
                west->east  east.orders: it came from east: it would come back in a circle
                west->east  east.east.orders: it came from east: it would come back in a circle

            Topic a b, produced to every cluster
              Not copied
                east->west  a b: the mirror's name `east.a b` has ` `, which Kafka takes in no topic name
                west->east  a b: the mirror's name `west.a b` has ` `, which Kafka takes in no topic name
        "#]],
    );
    expect_stdout(
        &["check", "topologies/existing-clusters.yaml"],
        expect![[r#"
        existing-clusters: active-standby, 2 clusters, 1 flow

        Clusters
          primary  127.0.0.1:9092
          standby  127.0.0.1:9093

        Flows
          primary->standby  as by default

        HTTP
          http://127.0.0.1:8080

        Topic orders, produced to every cluster
          primary->standby  orders becomes primary.orders
    "#]],
    );
}

/// Of each cluster the security settings, and of each flow that touches one which engine copies it and what it promises.
#[test]
fn check_says_that_a_cluster_with_security_settings_runs_on_librdkafka() {
    let (_directory, path) = file(
        "name: t\nlayout: custom\nclusters:\n  \
         a: { bootstrap_servers: a:9092, security: { protocol: SSL } }\n  \
         b: { bootstrap_servers: b:9092 }\n  c: { bootstrap_servers: c:9092 }\n\
         flows: [{ name: a->b }, { name: b->c }]\n",
    );
    expect_stdout(
        &["check", &path],
        expect![[r#"
        t: custom, 3 clusters, 2 flows

        Clusters
          a  a:9092, SSL
          b  b:9092
          c  c:9092

        Flows
          a->b  delivery at-least-once, engine librdkafka, compression lz4
          b->c  as by default

        HTTP
          http://127.0.0.1:8080

        Topic orders, produced to every cluster
          a->b  orders becomes a.orders
          b->c  orders becomes b.orders
          b->c  a.orders becomes b.a.orders
    "#]],
    );
}

#[test]
fn check_follows_a_chain() {
    let (_directory, path) = file(
        "name: chain\nlayout: custom\nclusters:\n  a: { bootstrap_servers: a:1 }\n  b: { bootstrap_servers: b:1 }\n  \
         c: { bootstrap_servers: c:1 }\nflows:\n  - { name: a->b, topics: { include: [orders, payments] } }\n  \
         - { name: b->c, naming: { policy: template, template: \"from-{source}.{topic}\" }, replication_factor: 3 }\n",
    );
    expect_stdout(
        &[
            "check",
            &path,
            "--topic",
            "orders",
            "--topic",
            "__consumer_offsets",
        ],
        expect![[r#"
            chain: custom, 3 clusters, 2 flows

            Clusters
              a  a:1
              b  b:1
              c  c:1

            Flows
              a->b  topics.include ["orders", "payments"]
              b->c  naming template `from-{source}.{topic}`, replication_factor 3

            HTTP
              http://127.0.0.1:8080

            Topic orders, produced to every cluster
              a->b  orders becomes a.orders
              b->c  orders becomes from-b.orders
              b->c  a.orders becomes from-b.a.orders

            Topic __consumer_offsets, produced to every cluster
              Not copied
                a->b  __consumer_offsets: an internal topic of Kafka or Heliostat, which is never copied
                b->c  __consumer_offsets: an internal topic of Kafka or Heliostat, which is never copied
        "#]],
    );
}

#[test]
fn check_gives_json() {
    let (code, stdout, _) = text(&run(&[
        "check",
        "topologies/hub-and-spoke.yaml",
        "-o",
        "json",
        "--topic",
        "sales",
    ]));
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(report["ok"], true);
    assert_eq!(report["topology"]["flows"].as_array().map(Vec::len), Some(6));
    assert_eq!(report["topology"]["flows"][0]["discovery_interval_ms"], 2000);
    let steps = report["topics"][0]["steps"].as_array().expect("steps");
    let mirrors = steps
        .iter()
        .filter_map(|step| step["outcome"]["copied"]["mirror"].as_str());
    assert!(
        mirrors.clone().any(|mirror| mirror == "hub.spoke-1.sales"),
        "{mirrors:?}"
    );
}

#[test]
fn check_of_a_wrong_file_gives_all_problems_and_exit_code_2() {
    let (_directory, path) =
        file("name: t\nlayout: active-active\nclusters: { a: { bootstrap_servers: a:1, x: 1 } }\n");
    let (code, stdout, stderr) = text(&run(&["check", &path]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    expect![[r#"
        error: `clusters` has one cluster, and a flow needs two
         --> t.yaml:3:1
          |
        3 | clusters: { a: { bootstrap_servers: a:1, x: 1 } }
          | ^^^^^^^^
          = help: add a cluster with an alias of its own

        error: unknown key `x` in `clusters.a`
         --> t.yaml:3:42
          |
        3 | clusters: { a: { bootstrap_servers: a:1, x: 1 } }
          |                                          ^
          = help: the keys here are `built_in`, `bootstrap_servers`, `security`, `properties`

        2 errors
    "#]]
    .assert_eq(&stderr.replace(&path, "t.yaml"));
    let (code, stdout, stderr) = text(&run(&["check", &path, "-o", "json"]));
    assert_eq!(code, Some(2));
    assert!(stderr.ends_with("2 errors\n"), "{stderr}");
    let report: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(report["ok"], false);
    assert_eq!(report["problems"][0]["line"], 3);
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(2));
}

#[test]
fn warnings_are_shown_and_leave_the_exit_code_at_0() {
    let (_directory, path) = file(
        "name: t\nlayout: custom\nclusters: { a: { bootstrap_servers: a:1 }, b: { bootstrap_servers: b:1 },\n  \
         c: { bootstrap_servers: c:1 } }\nflows: [{ name: a->b }]\n",
    );
    let (code, stdout, stderr) = text(&run(&["check", &path]));
    assert_eq!(code, Some(0));
    assert!(
        stderr.starts_with("warning: no flow uses the cluster `c`\n"),
        "{stderr}"
    );
    assert!(stdout.contains("a->b  as by default"), "{stdout}");
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let mut command = heliostat(&["check", "topologies/hub-and-spoke.yaml"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run heliostat");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wait for heliostat");
    assert_eq!(text(&output), (Some(0), String::new(), String::new()));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, _) = text(&run(&["completions", shell]));
        assert_eq!(code, Some(0), "{shell}");
        for word in ["run", "check", "status", "broker", "bootstrap-server", "brokers"] {
            assert!(stdout.contains(word), "{shell}: no {word}");
        }
    }
}

#[test]
fn records_that_nobody_takes_are_said_to_be_lost() {
    let ports = Ports::reserve(1);
    let server = ports.address().to_string();
    let mut producer = heliostat(&["produce", "--bootstrap-server", &server, "--topic", "hello"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run heliostat");
    let mut input = producer.stdin.take().expect("a pipe");
    input.write_all(b"first\nsecond\n").expect("write");
    drop(input);
    let (code, _, stderr) = text(&producer.wait_with_output().expect("wait for the producer"));
    assert_eq!(code, Some(1), "{stderr}");
    let said = format!("2 of 2 records were not acknowledged by {server}");
    assert!(stderr.contains(&said), "{stderr}");
}

/// As `kafka-console-producer` does: the line is named, and nothing is guessed.
#[test]
fn a_line_without_the_key_separator_is_an_error_that_names_it() {
    let broker = BuiltIn::start(1, &["--config", "num.partitions=1"]);
    let server = broker.bootstrap();
    let at = ["--bootstrap-server", server.as_str(), "--topic", "keyed"];
    let mut producer = heliostat(&[&["produce", "--key-separator", ":"], &at[..]].concat())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run heliostat");
    let mut input = producer.stdin.take().expect("a pipe");
    input.write_all(b"k1:first\nsecond\nk3:third\n").expect("write");
    drop(input);
    let (code, _, stderr) = text(&producer.wait_with_output().expect("wait for the producer"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.starts_with("error: line 2 has no key separator \":\": \"second\"; "),
        "{stderr}"
    );
    let consume = ["consume", "--from-beginning", "--max-messages", "1", "--verbose"];
    let read = heliostat(&[&consume, &at[..]].concat())
        .output()
        .expect("run heliostat");
    assert_eq!(text(&read).1, "0-0\tk1\tfirst\n");
}

#[test]
fn a_broker_takes_records_and_gives_them_back_after_a_restart() {
    let mut broker = BuiltIn::start(3, &["--config", "num.partitions=1"]);
    let server = broker.bootstrap();
    let produce = [
        "produce",
        "--bootstrap-server",
        &server,
        "--topic",
        "hello",
        "--key-separator",
        ":",
    ];
    let mut producer = heliostat(&produce)
        .stdin(Stdio::piped())
        .spawn()
        .expect("run heliostat");
    producer
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"k1:first\nk2:second\n")
        .expect("write");
    assert!(producer.wait().expect("wait for the producer").success());
    assert_eq!(broker.stop().code(), Some(0), "SIGTERM ends it in order");
    broker.restart();
    let consume = [
        "consume",
        "--bootstrap-server",
        &server,
        "--topic",
        "hello",
        "--from-beginning",
        "--max-messages",
        "2",
    ];
    let (code, stdout, stderr) = text(&run(&consume));
    assert_eq!((code, stdout.as_str()), (Some(0), "first\nsecond\n"), "{stderr}");
    let (code, stdout, _) = text(&run(&[&consume[..], &["--verbose"]].concat()));
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "0-0\tk1\tfirst\n0-1\tk2\tsecond\n")
    );
}

#[test]
fn a_broker_says_where_it_listens_and_what_to_try_and_ends_by_ctrl_c() {
    let directory = temp_dir("broker");
    let mut broker = Process::start("broker", heliostat(&["broker", "--port", "0"]), directory.path());
    wait_until(PATIENCE, "the broker says how to end it", || {
        broker.stdout().contains("Ctrl-C ends it.")
    });
    let stdout = broker.stdout();
    let server = stdout
        .lines()
        .next()
        .and_then(|line| line.rsplit(' ').next())
        .expect("an address")
        .to_owned();
    let stdout = stdout
        .replace(&server, "SERVER")
        .replace(env!("CARGO_BIN_EXE_heliostat"), "heliostat");
    expect![[r#"
        A Kafka cluster with 1 broker listens on SERVER
        Its data goes with it: --data DIR keeps it

        Try, in another terminal:
          echo hello | heliostat produce --bootstrap-server SERVER --topic hello
          heliostat consume --bootstrap-server SERVER --topic hello --from-beginning
          kafka-topics.sh --bootstrap-server SERVER --describe

        Ctrl-C ends it.
    "#]]
    .assert_eq(&stdout);
    broker.signal(Signal::INT);
    assert_eq!(broker.wait(PATIENCE).code(), Some(130));
    assert!(!broker.stderr().contains("ERROR"), "{}", broker.stderr());
}

#[test]
fn a_port_that_is_taken_is_a_precondition() {
    let ports = Ports::reserve(1);
    let port = ports.port(0).to_string();
    let _taken = std::net::TcpListener::bind(ports.address()).expect("take the port");
    let (code, stdout, stderr) = text(&run(&["broker", "--port", &port]));
    assert_eq!((code, stdout.as_str()), (Some(3), ""));
    assert!(
        stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{stderr}"
    );
    assert!(stderr.contains("--port"), "{stderr}");
}

#[test]
fn a_log_can_be_json() {
    let directory = temp_dir("broker");
    let arguments = ["broker", "--port", "0", "--log-format", "json"];
    let mut broker = Process::start("broker", heliostat(&arguments), directory.path());
    wait_until(PATIENCE, "the broker says how to end it", || {
        broker.stdout().contains("Ctrl-C ends it.")
    });
    broker.signal(Signal::TERM);
    assert_eq!(broker.wait(PATIENCE).code(), Some(0));
    let log = broker.stderr();
    assert!(!log.is_empty());
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

/// A path that a test names is there, whatever the working directory of the test is.
#[test]
fn topologies_are_where_the_tests_look_for_them() {
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("topologies/active-standby.yaml")
            .is_file()
    );
}
