//! Brokers of a built-in cluster that stop, start and are isolated, and faults on demand: clients and Heliostat carry on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::time::{Duration, Instant};

use heliostat_broker::{Control, Isolation};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::Message as _;

use crate::support::built_in::{BuiltIn, InProcess};
use crate::support::check::judge;
use crate::support::clients::Client;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::load::{Load, Shape};
use crate::support::mirrors::{LOOK_OFTEN, topics, wait_ends, write_numbers};
use crate::support::ports::Ports;
use crate::support::{hold, kafka, wait_until};

const LIMIT: Duration = Duration::from_secs(90);
const TOPIC: &str = "orders";

/// The seed of what is done to the brokers; print it to do the same again.
fn seed() -> u64 {
    let seed = std::env::var("HELIOSTAT_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("HELIOSTAT_TEST_SEED={seed}");
    seed
}

/// Does something to a broker or a leader, so that at least one of three brokers is always up.
async fn disturb(control: &Control, random: &mut StdRng, partitions: i32) {
    let node = random.random_range(1..=3);
    let others_up = {
        let nodes = control.nodes().await;
        nodes
            .iter()
            .filter(|other| other.id != node && other.live && is_up(other))
            .count()
    };
    // What is not possible just now is not done.
    let _ = match random.random_range(0..6) {
        0 if others_up > 0 => control.stop_node(node).await,
        1 if others_up > 0 => {
            let isolation = [Isolation::Silent, Isolation::Refuses][random.random_range(0..2)];
            let noticed = Some(Duration::from_millis(random.random_range(1..200)));
            control.isolate_node(node, isolation, noticed).await
        }
        2 | 3 => control.start_node(node).await,
        _ => {
            control
                .move_leader(TOPIC, random.random_range(0..partitions), node)
                .await
        }
    };
}

fn is_up(node: &heliostat_broker::NodeStatus) -> bool {
    node.state == heliostat_broker::NodeState::Up
}

/// Disturbs the brokers for a while, then brings all of them back.
fn disturb_for(cluster: &InProcess, seed: u64, duration: Duration, partitions: i32) {
    let control = cluster.cluster().control().clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut random = StdRng::seed_from_u64(seed);
        let began = Instant::now();
        while began.elapsed() < duration {
            disturb(&control, &mut random, partitions).await;
            let pause = Duration::from_millis(random.random_range(20..300));
            let _ = tokio::time::timeout(pause, std::future::pending::<()>()).await;
        }
        for node in 1..=3 {
            // It may be up already.
            let _ = control.start_node(node).await;
        }
    });
}

/// A client that comes back quickly from a broker that answers nothing.
fn client(bootstrap: String) -> Client {
    Client::new(bootstrap).with(&[
        ("socket.timeout.ms", "2000"),
        ("reconnect.backoff.max.ms", "200"),
        ("retry.backoff.ms", "50"),
        ("topic.metadata.refresh.interval.ms", "1000"),
    ])
}

fn create(client: &Client, partitions: i32, replicas: i32) {
    let admin: AdminClient<DefaultClientContext> = client.config().create().expect("an admin client");
    let topic = NewTopic::new(TOPIC, partitions, TopicReplication::Fixed(replicas));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let created = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new()));
    created.expect("create a topic")[0]
        .as_ref()
        .expect("create a topic");
}

fn member(client: &Client) -> BaseConsumer {
    let mut config = client.config();
    config
        .set("group.id", "workers")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200");
    let consumer: BaseConsumer = config.create().expect("create a consumer");
    consumer.subscribe(&[TOPIC]).expect("subscribe");
    consumer
}

/// Takes what has come, and commits it.
fn take(consumer: &BaseConsumer, read: &mut BTreeMap<(i32, i64), usize>) {
    let mut took = false;
    while let Some(message) = consumer.poll(Duration::from_millis(5)) {
        // Brokers that are away are told of as errors, and are no reason to stop.
        if let Ok(message) = message {
            *read.entry((message.partition(), message.offset())).or_default() += 1;
            took = true;
        }
    }
    if took {
        let _ = consumer.commit_consumer_state(CommitMode::Async);
    }
}

#[test]
fn producers_and_groups_carry_on_while_brokers_come_and_go() {
    let seed = seed();
    let cluster = InProcess::start(3, &[("default.replication.factor", "3")]);
    let client = client(cluster.bootstrap());
    create(&client, 6, 3);
    let shape = Shape {
        partitions: 6,
        ..Shape::default()
    };
    let load = Load::start(&client, TOPIC, shape);
    let mut read = BTreeMap::new();
    let members = [member(&client), member(&client)];
    std::thread::scope(|scope| {
        let disturbing = scope.spawn(|| disturb_for(&cluster, seed, Duration::from_secs(8), 6));
        while !disturbing.is_finished() {
            members.iter().for_each(|member| take(member, &mut read));
        }
        disturbing.join().expect("disturb the brokers");
    });
    let written = load.stop();
    let verdict = judge(&written.name, &written.acknowledged, &client.read(TOPIC));
    assert!(verdict.acknowledged > 0 && written.failed == 0, "{verdict:?}");
    assert_eq!(
        (verdict.lost, verdict.duplicated, verdict.out_of_order),
        (0, 0, 0),
        "{verdict:?}"
    );

    // The group reads on to the end.
    let ends = client.end_offsets(TOPIC);
    let expected: BTreeSet<(i32, i64)> = (0..)
        .zip(&ends)
        .flat_map(|(partition, end)| (0..*end).map(move |offset| (partition, offset)))
        .collect();
    wait_until(LIMIT, "the group has read everything", || {
        members.iter().for_each(|member| take(member, &mut read));
        read.len() >= expected.len()
    });
    assert_eq!(read.into_keys().collect::<BTreeSet<_>>(), expected);
}

fn succeed(output: Output) -> String {
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}{error}");
    out.into_owned()
}

#[test]
fn commands_stop_and_break_brokers_and_say_what_is_wrong() {
    let ports = Ports::reserve(1);
    let http = ports.address().to_string();
    let url = format!("http://{http}");
    let cluster = BuiltIn::start(2, &["--http", &http, "--config", "default.replication.factor=2"]);
    let run = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().expect("a command");
        heliostat(&[&[*command, "--url", &url], rest].concat(), None)
    };
    let client = client(cluster.bootstrap());
    create(&client, 2, 2);

    let said = succeed(run(&["cluster", "stop", "2"]));
    assert_eq!(
        said,
        "broker 2 is stopped; others lead the 1 partition that it led\n"
    );
    let brokers: serde_json::Value =
        serde_json::from_str(&succeed(run(&["cluster", "brokers", "-o", "json"]))).expect("JSON");
    assert_eq!(
        (&brokers[0]["leads"], &brokers[1]["state"]),
        (&2.into(), &"stopped".into())
    );
    assert!(succeed(run(&["cluster", "brokers"])).contains("stopped"));
    let refused = run(&["cluster", "move-leader", TOPIC, "0", "2"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{error}");
    assert!(error.contains("broker 2 is not up: start it first"), "{error}");
    for (arguments, expected) in [
        (&["start", "2"][..], "broker 2 is up, and leads no partition"),
        (
            &["move-leader", TOPIC, "0", "2"],
            "broker 2 leads orders-0; in sync: 1, 2",
        ),
        (
            &["shrink-isr", TOPIC, "0", "1"],
            "broker 2 leads orders-0; in sync: 2",
        ),
        (
            &["restore-isr", TOPIC, "0"],
            "broker 2 leads orders-0; in sync: 2, 1",
        ),
        (
            &["isolate", "1", "--refuse", "--noticed-after", "never"],
            "broker 1 refuses connections until it is started; the rest of the cluster never notices",
        ),
        (&["start", "1"], "broker 1 is up, and leads 1 partition"),
    ] {
        let said = succeed(run(&[&["cluster"], arguments].concat()));
        assert_eq!(said, format!("{expected}\n"), "{arguments:?}");
        if arguments[0] == "shrink-isr" {
            let refused = run(&["cluster", "move-leader", TOPIC, "0", "1"]);
            let error = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(
                error,
                "error: broker 1 is not in sync with orders-0; in sync are 2\n"
            );
        }
    }
    assert_eq!(
        succeed(run(&["fault", "add", "delay", "--delay", "1ms", "--count", "5"])).trim(),
        "1"
    );
    assert!(succeed(run(&["fault", "list"])).contains("--delay 1ms --count 5"));
    assert_eq!(succeed(run(&["fault", "remove", "1"])), "fault 1 is removed\n");
    assert_eq!(succeed(run(&["fault", "list"])).trim(), "no faults");

    for (arguments, code, text) in [
        (&["cluster", "stop", "9"][..], 2, "there is no broker 9"),
        (&["cluster", "start", "1"], 3, "broker 1 is up already"),
        (
            &["cluster", "move-leader", "other", "0", "1"],
            2,
            "there is no partition 0 of a topic",
        ),
        (
            &["cluster", "--cluster", "west", "brokers"],
            2,
            "no built-in cluster \"west\"",
        ),
        (&["fault", "add", "fire"], 2, "there are no faults of the kind"),
        (
            &["fault", "add", "error", "--error", "6"],
            2,
            "a fault of the kind error needs an --api",
        ),
        (&["fault", "add", "delay"], 2, "needs --delay"),
        (&["fault", "add", "dealy"], 2, "did you mean delay?"),
        (
            &[
                "fault",
                "add",
                "error",
                "--error",
                "NOT_LEADER_OF_FOLLOWER",
                "--api",
                "Produce",
            ],
            2,
            "did you mean NOT_LEADER_OR_FOLLOWER?",
        ),
        (
            &["fault", "add", "cut", "--api", "Fetsch"],
            2,
            "did you mean Fetch?",
        ),
        (
            &["fault", "add", "cut", "--broker", "7"],
            2,
            "there is no broker 7",
        ),
        (&["fault", "remove", "77"], 2, "there is no fault 77"),
        (&["fault", "add", "delay", "--delay", "5"], 2, "unit"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(text), "{arguments:?}: {error}");
    }
    let nobody = Ports::reserve(1).address().to_string();
    let output = heliostat(&["cluster", "--url", &nobody, "brokers"], None);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// Kafka's own tools tell the truth about brokers that are away, and elect and move.
#[test]
fn java_tools_see_what_is_offline_and_mend_it() {
    if !kafka::available("java_tools_see_what_is_offline_and_mend_it") {
        return;
    }
    let cluster = InProcess::start(3, &[]);
    let bootstrap = cluster.bootstrap();
    let control = cluster.cluster().control().clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let tool = |tool: &str, arguments: &[&str]| {
        succeed(kafka::tool_on(
            tool,
            &[&["--bootstrap-server", bootstrap.as_str()], arguments].concat(),
        ))
    };
    let (two, one) = ("1:2,1:3", "1");
    tool(
        "kafka-topics",
        &["--create", "--topic", "moved", "--replica-assignment", two],
    );
    tool(
        "kafka-topics",
        &["--create", "--topic", "single", "--replica-assignment", one],
    );
    runtime.block_on(control.stop_node(1)).expect("stop a broker");
    let under = tool("kafka-topics", &["--describe", "--under-replicated-partitions"]);
    assert!(under.contains("moved") && under.contains("single"), "{under}");
    let offline = tool("kafka-topics", &["--describe", "--unavailable-partitions"]);
    assert!(
        offline.contains("single") && !offline.contains("moved"),
        "{offline}"
    );
    runtime.block_on(control.start_node(1)).expect("start it again");
    assert_eq!(
        tool("kafka-topics", &["--describe", "--under-replicated-partitions"]).trim(),
        ""
    );
    let elected = tool(
        "kafka-leader-election",
        &["--election-type", "preferred", "--all-topic-partitions"],
    );
    assert!(elected.contains("moved-0"), "{elected}");
    assert_eq!(control.partition("moved", 0).expect("a partition").0, Some(1));

    let directory = tempfile::tempdir().expect("a directory");
    let plan = directory.path().join("plan.json");
    let text = r#"{"version":1,"partitions":[{"topic":"moved","partition":1,"replicas":[3,2]}]}"#;
    std::fs::write(&plan, text).expect("write a plan");
    let plan = plan.display().to_string();
    tool(
        "kafka-reassign-partitions",
        &["--reassignment-json-file", &plan, "--execute"],
    );
    let verified = tool(
        "kafka-reassign-partitions",
        &["--reassignment-json-file", &plan, "--verify"],
    );
    assert!(verified.contains("moved-1 is completed"), "{verified}");
    assert!(tool("kafka-reassign-partitions", &["--list"]).contains("No partition reassignments"));
    assert_eq!(control.partition("moved", 1).expect("a partition").0, Some(3));
}

/// Heliostat's own mirroring meets stopped brokers and faults, and ends with a mirror that has everything.
#[test]
fn mirroring_carries_on_while_brokers_come_and_go() {
    let ports = Ports::reserve(4);
    let (source, target) = (ports.port(0), ports.port(2));
    let topology = format!(
        "name: t\nlayout: active-standby\nclusters:\n  a: {{ built_in: {{ port: {source}, brokers: 2, properties: {{ default.replication.factor: 2 }} }} }}\n  b: {{ built_in: {{ port: {target}, brokers: 2, properties: {{ default.replication.factor: 2 }} }} }}\nprimary: a\nstandby: b\ndefaults: {{ {LOOK_OFTEN} }}\n"
    );
    let daemon = Daemon::start(&topology);
    let url = format!("http://{}", daemon.http());
    let at = |cluster: &str, arguments: &[&str]| {
        let (command, rest) = arguments.split_first().expect("a command");
        succeed(heliostat(
            &[&[*command, "--url", &url, "--cluster", cluster], rest].concat(),
            None,
        ))
    };
    let from = client(format!("127.0.0.1:{source},127.0.0.1:{}", source + 1));
    let to = client(format!("127.0.0.1:{target},127.0.0.1:{}", target + 1));
    create(&from, 4, 2);
    let shape = Shape {
        partitions: 4,
        ..Shape::default()
    };
    let load = Load::start(&from, TOPIC, shape);
    for (cluster, broker) in [("a", "1"), ("b", "2"), ("a", "2"), ("b", "1")] {
        let before = load.acknowledged();
        at(
            cluster,
            &[
                "fault",
                "add",
                "error",
                "--api",
                "Produce",
                "--error",
                "NOT_ENOUGH_REPLICAS",
                "--count",
                "2",
            ],
        );
        at(cluster, &["cluster", "stop", broker]);
        wait_until(LIMIT, "the producer goes on", || {
            load.acknowledged() > before + 100
        });
        at(cluster, &["cluster", "start", broker]);
        at(cluster, &["fault", "remove", "--all"]);
    }
    let written = load.stop();
    assert_eq!(written.failed, 0);
    wait_until(LIMIT, "the mirror has everything", || {
        let is_there = to.topics().contains(&"a.orders".to_owned());
        let records = if is_there { to.read("a.orders") } else { Vec::new() };
        judge(&written.name, &written.acknowledged, &records).lost == 0
    });
}

#[test]
fn a_look_for_topics_that_fails_is_repeated_long_before_the_interval_is_over() {
    let ports = Ports::reserve(1);
    let http = ports.address().to_string();
    let source = InProcess::start(1, &[]);
    let target = BuiltIn::start(1, &["--http", &http]);
    let client = client(source.bootstrap());
    create(&client, 1, 1);
    write_numbers(&client, TOPIC, 1, 0..10);
    // The first topic that the daemon makes is the offset map, and the next one the mirror.
    let fault = "fault add error --api CreateTopics --error NOT_CONTROLLER --skip 1 --count 1 --url";
    let url = format!("http://{http}");
    let arguments: Vec<&str> = fault.split(' ').chain([url.as_str()]).collect();
    succeed(heliostat(&arguments, None));
    let topology = format!(
        "name: failed\nlayout: active-standby\nprimary: primary\nstandby: standby\nclusters:\n  \
         primary: {{ bootstrap_servers: \"{}\" }}\n  standby: {{ bootstrap_servers: \"{}\" }}\n\
         defaults: {{ discovery_interval: 1h }}\n",
        source.bootstrap(),
        target.bootstrap(),
    );
    let _daemon = Daemon::spawn(&topology, &[]);
    let mirror = Client::new(target.bootstrap());
    wait_until(LIMIT, "the mirror is made and filled", || {
        topics(&mirror).contains(&format!("primary.{TOPIC}"))
    });
    wait_ends(&mirror, &format!("primary.{TOPIC}"), &[10]);
    let hit = succeed(heliostat(&["fault", "list", "--url", &url], None));
    assert!(hit.contains("done"), "the fault has not struck: {hit}");
}

#[test]
fn a_source_that_takes_its_time_to_tell_its_log_ends_is_known_all_the_time() {
    let ports = Ports::reserve(1);
    let url = format!("http://{}", ports.address());
    let source = BuiltIn::start(1, &["--http", &ports.address().to_string()]);
    let target = InProcess::start(1, &[]);
    let client = client(source.bootstrap());
    create(&client, 6, 1);
    write_numbers(&client, TOPIC, 6, 0..60);
    let daemon = Daemon::start(&format!(
        "name: slow\nlayout: active-standby\nprimary: primary\nstandby: standby\nclusters:\n  \
         primary: {{ bootstrap_servers: \"{}\" }}\n  standby: {{ bootstrap_servers: \"{}\" }}\n",
        source.bootstrap(),
        target.bootstrap(),
    ));
    let lag = || daemon.status().flows[0].lag;
    let is_copied = || daemon.status().flows[0].partitions.len() == 6 && lag().known && lag().records == 0;
    wait_until(LIMIT, "all is copied", is_copied);
    let fault = "fault add delay --api ListOffsets --delay 1200ms --url";
    let arguments: Vec<&str> = fault.split(' ').chain([url.as_str()]).collect();
    succeed(heliostat(&arguments, None));
    // Longer than it takes until the starts of all logs are asked for, with the ends.
    hold(Duration::from_secs(15), "the lag is known", || lag().known);
}

mod faults;
mod kinds;
