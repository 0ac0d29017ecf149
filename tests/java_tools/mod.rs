//! Apache Kafka's own command-line tools, unchanged, on built-in clusters.

mod admin;
mod files;
mod transactions;

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::process::temp_dir;
use crate::support::{kafka, wait_until};

/// How long something may take that a tool has set in motion.
const LIMIT: Duration = Duration::from_secs(60);

/// A built-in cluster, and tools to use on it.
struct Lab(BuiltIn);

impl Lab {
    /// None where there is no Java.
    fn start(test: &str) -> Option<Lab> {
        Lab::start_with(test, 3, &[])
    }

    /// The same with as many nodes and with further arguments to `heliostat broker`.
    fn start_with(test: &str, brokers: u16, arguments: &[&str]) -> Option<Lab> {
        kafka::available(test).then(|| Lab(BuiltIn::start(brokers, arguments)))
    }

    /// Runs a tool that must succeed, and returns what it printed with single spaces.
    #[track_caller]
    fn tool(&self, tool: &str, arguments: &[&str]) -> String {
        self.tool_reading(tool, arguments, "")
    }

    /// The same with something to read.
    #[track_caller]
    fn tool_reading(&self, tool: &str, arguments: &[&str], input: &str) -> String {
        let bootstrap = self.0.bootstrap();
        let all = [&["--bootstrap-server", &bootstrap], arguments].concat();
        let output = kafka::tool_reading(tool, &all, input);
        assert!(output.status.success(), "{tool} {arguments:?}: {output:?}");
        single_spaces(&output.stdout)
    }

    /// Runs a tool that must complain, and returns everything that it printed.
    #[track_caller]
    fn complaint(&self, tool: &str, arguments: &[&str]) -> String {
        let bootstrap = self.0.bootstrap();
        let output = kafka::tool_on(tool, &[&["--bootstrap-server", &bootstrap], arguments].concat());
        single_spaces(&output.stdout) + &single_spaces(&output.stderr)
    }

    /// Writes lines of `key:value`.
    #[track_caller]
    fn produce(&self, topic: &str, lines: &str) {
        let keyed = [
            "--reader-property",
            "parse.key=true",
            "--reader-property",
            "key.separator=:",
        ];
        let arguments = [&["--topic", topic], keyed.as_slice()].concat();
        self.tool_reading("kafka-console-producer", &arguments, lines);
    }

    /// The offsets of a topic as `kafka-get-offsets` shows them.
    #[track_caller]
    fn offsets(&self, topic: &str, time: &str) -> String {
        self.tool("kafka-get-offsets", &["--topic", topic, "--time", time])
    }

    /// Resets the offsets of the group `readers` on every partition of `letters`, and returns the new ones.
    #[track_caller]
    fn reset(&self, how: &[&str]) -> Vec<String> {
        let which = [
            "--group",
            "readers",
            "--topic",
            "letters",
            "--reset-offsets",
            "--execute",
        ];
        let printed = self.tool("kafka-consumer-groups", &[&which, how].concat());
        let mut offsets: Vec<String> = printed
            .lines()
            .filter_map(|line| line.strip_prefix("readers letters "))
            .map(str::to_owned)
            .collect();
        offsets.sort();
        offsets
    }
}

fn single_spaces(printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
        .collect()
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn topics_and_their_configs() {
    let Some(lab) = Lab::start("topics_and_their_configs") else {
        return;
    };
    let topics = |arguments: &[&str]| lab.tool("kafka-topics", arguments);
    let configs = |arguments: &[&str]| {
        lab.tool(
            "kafka-configs",
            &[&["--entity-type", "topics", "--entity-name", "ten"], arguments].concat(),
        )
    };
    topics(&[
        "--create",
        "--topic",
        "ten",
        "--partitions",
        "10",
        "--replication-factor",
        "1",
        "--config",
        "retention.ms=3600000",
    ]);
    topics(&[
        "--create",
        "--topic",
        "two",
        "--partitions",
        "2",
        "--replication-factor",
        "2",
    ]);
    assert_eq!(topics(&["--list"]), "ten\ntwo\n");
    assert_contains(
        &lab.complaint("kafka-topics", &["--create", "--topic", "two"]),
        &["TopicExistsException"],
    );
    assert_contains(
        &lab.complaint(
            "kafka-topics",
            &["--create", "--topic", "four", "--replication-factor", "4"],
        ),
        &["InvalidReplicationFactorException"],
    );
    let described = topics(&["--describe"]);
    assert_contains(
        &described,
        &[
            "PartitionCount: 10 ReplicationFactor: 1 Configs: min.insync.replicas=1,retention.ms=3600000",
            "PartitionCount: 2 ReplicationFactor: 2",
        ],
    );
    // Leaders are spread over the nodes.
    for node in 1..=3 {
        assert_contains(
            &described,
            &[&format!("Leader: {node} Replicas: {node} Isr: {node} ")],
        );
    }
    topics(&["--alter", "--topic", "two", "--partitions", "5"]);
    assert_contains(
        &topics(&["--describe", "--topic", "two"]),
        &["PartitionCount: 5 ReplicationFactor: 2"],
    );
    assert_contains(
        &lab.complaint(
            "kafka-topics",
            &["--alter", "--topic", "two", "--partitions", "5"],
        ),
        &["InvalidPartitionsException"],
    );
    configs(&[
        "--alter",
        "--add-config",
        "retention.ms=7200000,cleanup.policy=[compact,delete]",
    ]);
    assert_contains(
        &configs(&["--describe"]),
        &[
            "cleanup.policy=compact,delete sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:",
            "retention.ms=7200000",
        ],
    );
    configs(&["--alter", "--delete-config", "retention.ms,cleanup.policy"]);
    assert_eq!(configs(&["--describe"]), "Dynamic configs for topic ten are:\n");
    assert_contains(
        &configs(&["--describe", "--all"]),
        &[
            "cleanup.policy=delete",
            "max.message.bytes=1048588",
            "retention.ms=604800000",
            "segment.bytes=1073741824",
        ],
    );
    topics(&["--delete", "--topic", "ten"]);
    assert_eq!(topics(&["--list"]), "two\n");
}

#[test]
fn brokers_and_their_configs() {
    let Some(lab) = Lab::start("brokers_and_their_configs") else {
        return;
    };
    let versions = lab.tool("kafka-broker-api-versions", &[]);
    for node in 1..=3 {
        assert_contains(
            &versions,
            &[&format!("(id: {node} rack: null isFenced: false) -> (")],
        );
    }
    // What the tool calls unsupported on one side or the other is not usable; these are.
    for api in [
        "Produce(0): 0 to 13 [usable: 13]",
        "Fetch(1): 4 to 18 [usable: 18]",
        "JoinGroup(11): 0 to 9 [usable: 9]",
    ] {
        assert_eq!(versions.matches(api).count(), 3, "{api} in {versions}");
    }
    let configs = |arguments: &[&str]| {
        lab.tool(
            "kafka-configs",
            &[&["--entity-type", "brokers"], arguments].concat(),
        )
    };
    assert_contains(
        &configs(&["--entity-name", "2", "--describe", "--all"]),
        &["node.id=2 ", "num.partitions=1 ", "message.max.bytes=1048588 "],
    );
    // One broker's own value counts more than the default of all, and no other broker has it.
    let own = [
        "--entity-name",
        "2",
        "--alter",
        "--add-config",
        "log.retention.ms=50000",
    ];
    configs(&own);
    assert_contains(
        &configs(&["--entity-name", "2", "--describe"]),
        &["log.retention.ms=50000 sensitive=false synonyms={DYNAMIC_BROKER_CONFIG:log.retention.ms=50000"],
    );
    assert!(!configs(&["--entity-name", "1", "--describe"]).contains("log.retention.ms"));
    // The nodes share one storage, so what is true of it is set for all of them.
    let cleaner = [
        "--entity-name",
        "2",
        "--alter",
        "--add-config",
        "log.cleaner.threads=2",
    ];
    assert_contains(
        &lab.complaint(
            "kafka-configs",
            &[["--entity-type", "brokers"].as_slice(), &cleaner].concat(),
        ),
        &["InvalidRequestException"],
    );
    let alter = ["--alter", "--add-config", "log.retention.ms=100000"];
    configs(&[["--entity-default"].as_slice(), &alter].concat());
    assert_contains(
        &configs(&["--entity-default", "--describe"]),
        &["log.retention.ms=100000 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:"],
    );
    configs(&[
        "--entity-default",
        "--alter",
        "--delete-config",
        "log.retention.ms",
    ]);
    assert!(!configs(&["--entity-default", "--describe"]).contains("log.retention.ms"));
}

#[test]
fn console_producer_and_consumer() {
    let Some(lab) = Lab::start("console_producer_and_consumer") else {
        return;
    };
    lab.tool(
        "kafka-topics",
        &["--create", "--topic", "letters", "--partitions", "2"],
    );
    lab.produce("letters", "a:1\nb:2\nc:3\n");
    let with_headers = [
        "parse.key=true",
        "key.separator=|",
        "parse.headers=true",
        "headers.delimiter=;",
    ];
    let mut arguments = vec!["--topic", "letters", "--compression-codec", "zstd"];
    arguments.extend(
        with_headers
            .iter()
            .flat_map(|property| ["--reader-property", property]),
    );
    lab.tool_reading("kafka-console-producer", &arguments, "one:1,two:2;d|4\n");
    let consume = |arguments: &[&str]| lab.tool("kafka-console-consumer", arguments);
    let shown = ["print.key=true", "print.headers=true", "print.partition=true"];
    let mut arguments = vec!["--topic", "letters", "--from-beginning", "--max-messages", "4"];
    arguments.extend(
        shown
            .iter()
            .flat_map(|property| ["--formatter-property", property]),
    );
    let all = consume(&arguments);
    let mut values: Vec<&str> = all
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, rest)| rest)
        .collect();
    values.sort_unstable();
    assert_eq!(
        values,
        [
            "NO_HEADERS a 1",
            "NO_HEADERS b 2",
            "NO_HEADERS c 3",
            "one:1,two:2 d 4"
        ]
    );
    // The topic comes into being as it is written to.
    let plain = ["--topic", "lines", "--command-property", "acks=1", "--sync"];
    lab.tool_reading("kafka-console-producer", &plain, "first\nsecond\nthird\n");
    // A group goes on where it was.
    let group = ["--topic", "lines", "--group", "g", "--from-beginning"];
    assert_eq!(
        consume(&[&group, ["--max-messages", "2"].as_slice()].concat()),
        "first\nsecond\n"
    );
    assert_eq!(
        consume(&[&group, ["--max-messages", "1"].as_slice()].concat()),
        "third\n"
    );
    let from = [
        "--topic",
        "lines",
        "--partition",
        "0",
        "--offset",
        "1",
        "--max-messages",
        "2",
        "--isolation-level",
        "read_committed",
        "--formatter-property",
        "print.offset=true",
        "--formatter-property",
        "print.timestamp=true",
        "--formatter-property",
        "print.key=true",
    ];
    let from = consume(&from);
    for (line, end) in from.lines().zip(["Offset:1 null second", "Offset:2 null third"]) {
        assert!(line.starts_with("CreateTime:") && line.ends_with(end), "{line}");
    }
    assert_eq!(from.lines().count(), 2);
}

#[test]
fn consumer_groups() {
    let Some(lab) = Lab::start("consumer_groups") else {
        return;
    };
    let groups = |arguments: &[&str]| lab.tool("kafka-consumer-groups", arguments);
    lab.tool(
        "kafka-topics",
        &["--create", "--topic", "letters", "--partitions", "2"],
    );
    lab.produce("letters", "a:1\nb:2\nc:3\nd:4\ne:5\nf:6\n");
    let (bootstrap, directory) = (lab.0.bootstrap(), temp_dir("consumer"));
    let arguments = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "letters",
        "--group",
        "readers",
        "--from-beginning",
        "--command-property",
        "group.instance.id=static",
        "--command-property",
        "session.timeout.ms=6000",
    ];
    let mut consumer = kafka::tool_running("kafka-console-consumer", &arguments, directory.path());
    kafka::wait_lines(&mut consumer, 6);
    assert_eq!(groups(&["--list", "--state"]), "GROUP STATE\nreaders Stable\n");
    assert_contains(
        &groups(&["--describe", "--group", "readers"]),
        &["readers letters 0 ", "readers letters 1 ", "static-"],
    );
    assert_contains(
        &groups(&["--describe", "--group", "readers", "--members", "--verbose"]),
        &[" static /127.0.0.1 console-consumer 2 - letters:0,1 "],
    );
    assert_contains(
        &groups(&["--describe", "--group", "readers", "--state"]),
        &[" range Stable 1"],
    );
    let of = |verb: &str| {
        lab.complaint(
            "kafka-consumer-groups",
            &["--group", "readers", verb, "--topic", "letters"],
        )
    };
    assert_contains(
        &lab.complaint("kafka-consumer-groups", &["--group", "readers", "--delete"]),
        &["GroupNotEmptyException"],
    );
    assert_contains(&of("--delete-offsets"), &["GroupSubscribedToTopicException"]);
    // A static member does not leave; its session has to end before the offsets can be reset.
    consumer.signal(rustix::process::Signal::TERM);
    consumer.wait(LIMIT);
    // librdkafka asks without the start of a JVM.
    let asking: BaseConsumer = Client::new(bootstrap)
        .config()
        .create()
        .expect("create a consumer");
    wait_until(LIMIT, "the group is empty", || {
        let found = asking.fetch_group_list(Some("readers"), LIMIT);
        found.is_ok_and(|found| found.groups().iter().any(|group| group.state() == "Empty"))
    });
    assert_contains(&groups(&["--list", "--state"]), &["readers Empty"]);
    let ends = sorted(&lab.offsets("letters", "latest")).join(" ");
    let ends: Vec<String> = ends
        .split(' ')
        .map(|end| end.replace("letters:", "").replace(':', " "))
        .collect();
    assert_eq!(
        lab.reset(&["--to-current"]),
        ends,
        "what the consumer has committed"
    );
    assert_eq!(lab.reset(&["--to-earliest"]), ["0 0", "1 0"]);
    assert_eq!(lab.reset(&["--by-duration", "PT0S"]), ends);
    assert_eq!(
        lab.reset(&["--to-datetime", "2020-01-01T00:00:00.000"]),
        ["0 0", "1 0"]
    );
    assert_eq!(lab.reset(&["--shift-by", "1"]), ["0 1", "1 1"]);
    assert_eq!(lab.reset(&["--to-offset", "2"]), ["0 2", "1 2"]);
    assert_eq!(lab.reset(&["--to-latest"]), ends);
    // A plan that one run exports is carried out by the next.
    let plan = groups(&[
        "--group",
        "readers",
        "--all-topics",
        "--reset-offsets",
        "--shift-by",
        "-1",
        "--export",
        "--dry-run",
    ]);
    let file = directory.path().join("plan.csv");
    std::fs::write(&file, &plan).expect("write the plan");
    let planned: Vec<String> = sorted(plan.trim())
        .iter()
        .map(|line| line.replace("letters,", "").replace(',', " "))
        .collect();
    assert_eq!(planned.len(), 2, "{plan}");
    assert_ne!(planned, ends);
    let from_file = ["--from-file", &file.to_string_lossy()];
    let executed = ["--group", "readers", "--reset-offsets", "--execute"];
    let executed = groups(&[executed.as_slice(), &from_file].concat());
    assert_contains(&executed, &planned.iter().map(String::as_str).collect::<Vec<_>>());
    assert_contains(
        &groups(&["--group", "readers", "--delete-offsets", "--topic", "letters:0"]),
        &["letters 0 Successful"],
    );
    let left = groups(&["--describe", "--all-groups", "--offsets"]);
    assert_contains(&left, &[&format!("readers letters {} ", planned[1])]);
    groups(&["--group", "readers", "--delete"]);
    assert_eq!(groups(&["--list"]).trim(), "");
    assert_contains(
        &lab.complaint("kafka-consumer-groups", &["--describe", "--group", "readers"]),
        &["GroupIdNotFoundException"],
    );
}
