//! Whole applications of Apache Kafka, unchanged, on built-in clusters: Connect, MirrorMaker 2 and Streams.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::kafka;
use crate::support::ports::Ports;
use crate::support::process::{Process, temp_dir};
use crate::support::rec::{Rec, assert_mirrored};
use crate::support::{http, wait_for};

/// How long something may take that an application has to do, which begins with the start of a JVM.
const LIMIT: Duration = Duration::from_secs(120);
/// How long an answer of a worker may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Waits until a file has exactly these lines.
#[track_caller]
fn wait_lines(file: &Path, wanted: &str, application: &Process) {
    wait_for(LIMIT, &format!("{} has {wanted:?}", file.display()), || {
        let found = fs::read_to_string(file).unwrap_or_default();
        let same = found == wanted;
        same.then_some(())
            .ok_or_else(|| format!("{found:?}\n{}", application.stderr_tail()))
    });
}

/// What every Connect worker here begins with.
fn worker(cluster: &BuiltIn, rest: &Ports) -> String {
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    format!(
        "bootstrap.servers={}\nkey.converter={converter}\nvalue.converter={converter}\n\
         listeners=http://{}\noffset.flush.interval.ms=500\n",
        cluster.bootstrap(),
        rest.address()
    )
}

/// A source that reads lines from `from`, and a sink that writes them to `to`, as names with configs.
fn connectors(from: &Path, to: &Path) -> [(&'static str, Vec<(&'static str, String)>); 2] {
    let path = |path: &Path| path.display().to_string();
    let class = |kind| format!("org.apache.kafka.connect.file.FileStream{kind}Connector");
    let source = vec![
        ("connector.class", class("Source")),
        ("tasks.max", "1".to_owned()),
        ("file", path(from)),
        ("topic", "lines".to_owned()),
    ];
    let sink = vec![
        ("connector.class", class("Sink")),
        ("tasks.max", "1".to_owned()),
        ("file", path(to)),
        ("topics", "lines".to_owned()),
    ];
    [("lines-in", source), ("lines-out", sink)]
}

#[test]
fn connect_standalone_carries_lines_from_file_to_file() {
    if !kafka::available("connect_standalone_carries_lines_from_file_to_file") {
        return;
    }
    let cluster = BuiltIn::start(1, &[]);
    let (directory, rest) = (temp_dir("connect"), Ports::reserve(1));
    let at = |name: &str| directory.path().join(name);
    fs::write(at("from.txt"), "one\ntwo\n").expect("write lines");
    let offsets = format!("offset.storage.file.filename={}\n", at("offsets").display());
    fs::write(at("worker.properties"), worker(&cluster, &rest) + &offsets).expect("write the worker's file");
    let mut arguments = vec![at("worker.properties")];
    for (name, configs) in connectors(&at("from.txt"), &at("to.txt")) {
        let lines: String = configs
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        let file = at(&format!("{name}.properties"));
        fs::write(&file, format!("name={name}\n{lines}")).expect("write a connector's file");
        arguments.push(file);
    }
    let arguments: Vec<_> = arguments.iter().map(|path| path.to_string_lossy()).collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    let connect = kafka::tool_running("connect-standalone", &arguments, directory.path());
    wait_lines(&at("to.txt"), "one\ntwo\n", &connect);
    fs::write(at("from.txt"), "one\ntwo\nthree\n").expect("write lines");
    wait_lines(&at("to.txt"), "one\ntwo\nthree\n", &connect);
}

#[test]
fn connect_distributed_keeps_its_state_in_the_cluster() {
    if !kafka::available("connect_distributed_keeps_its_state_in_the_cluster") {
        return;
    }
    let cluster = BuiltIn::start(3, &[]);
    let (directory, rest) = (temp_dir("connect"), Ports::reserve(1));
    let at = |name: &str| directory.path().join(name);
    fs::write(at("from.txt"), "one\ntwo\n").expect("write lines");
    let storage: String = ["config", "offset", "status"]
        .iter()
        .map(|kind| format!("{kind}.storage.topic=connect-{kind}\n{kind}.storage.replication.factor=3\n"))
        .collect();
    let own = format!("group.id=connect\nexactly.once.source.support=enabled\n{storage}");
    fs::write(at("worker.properties"), worker(&cluster, &rest) + &own).expect("write the worker's file");
    let start = || {
        let file = at("worker.properties");
        kafka::tool_running(
            "connect-distributed",
            &[&file.to_string_lossy()],
            directory.path(),
        )
    };
    let mut connect = start();
    for (name, configs) in connectors(&at("from.txt"), &at("to.txt")) {
        let configs: serde_json::Map<_, _> = configs
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        let json = serde_json::json!({ "name": name, "config": configs }).to_string();
        wait_for(LIMIT, &format!("the worker takes {name}"), || {
            let answer = http::post(rest.address(), "/connectors", &json, ANSWER)
                .map_err(|error| format!("{error}\n{}", connect.stderr_tail()))?;
            // 409 while it joins its group, and when it has taken the connector but could not say so.
            match (answer.status, answer.body.contains("already exists")) {
                (201, _) | (409, true) => Ok(()),
                _ => Err(format!("{answer:?}")),
            }
        });
    }
    wait_lines(&at("to.txt"), "one\ntwo\n", &connect);
    // Another worker goes on where this one was: connectors and offsets are in the cluster.
    connect.kill();
    fs::write(at("from.txt"), "one\ntwo\nthree\n").expect("write lines");
    let connect = start();
    wait_for(LIMIT, "the new line has arrived", || {
        let found = fs::read_to_string(at("to.txt")).unwrap_or_default();
        let there = found.ends_with("three\n");
        there
            .then_some(())
            .ok_or_else(|| format!("{found:?}\n{}", connect.stderr_tail()))
    });
    // A sink may write twice what it had not committed; the source has read each line once.
    let client = Client::new(cluster.bootstrap());
    let lines = client
        .with(&[("isolation.level", "read_committed")])
        .read("lines");
    let values: Vec<_> = lines.into_iter().filter_map(|rec| rec.value).collect();
    assert_eq!(values, [&b"one"[..], b"two", b"three"]);
    let compacted = client.topic_configs("connect-config");
    assert_eq!(compacted["cleanup.policy"].as_deref(), Some("compact"));
}

/// A MirrorMaker 2 from `source` to `target`, which looks for news often.
fn mirror_maker(source: &BuiltIn, target: &BuiltIn, more: &str, directory: &Path) -> Process {
    let factors: String = [
        "",
        "checkpoints.topic.",
        "heartbeats.topic.",
        "offset-syncs.topic.",
        "offset.storage.",
        "status.storage.",
        "config.storage.",
    ]
    .iter()
    .map(|of| format!("{of}replication.factor = 1\n"))
    .collect();
    let properties = format!(
        "clusters = source, target\nsource.bootstrap.servers = {}\ntarget.bootstrap.servers = {}\n\
         source->target.enabled = true\nsource->target.topics = orders\n\
         source->target.sync.group.offsets.enabled = true\n\
         sync.group.offsets.interval.seconds = 1\nemit.checkpoints.interval.seconds = 1\n\
         refresh.topics.interval.seconds = 1\nrefresh.groups.interval.seconds = 1\n\
         {factors}{more}",
        source.bootstrap(),
        target.bootstrap()
    );
    kafka::mirror_maker(&properties, directory)
}

/// Lets MirrorMaker 2 mirror between two built-in clusters, and compares both sides.
#[track_caller]
fn mirror_with_mirror_maker(more: &str) {
    let (source, target) = (BuiltIn::start(1, &[]), BuiltIn::start(1, &[]));
    let (from, to) = (Client::new(source.bootstrap()), Client::new(target.bootstrap()));
    from.create_topic("orders", 2, &[("retention.ms", "3600000")]);
    let records: Vec<Rec> = (0..200)
        .map(|number| Rec::new(number % 2, Some(b"key"), Some(number.to_string().as_bytes())))
        .collect();
    from.produce("orders", &records, Default::default());
    let directory = temp_dir("mm2");
    let mut mm2 = mirror_maker(&source, &target, more, directory.path());
    wait_for(LIMIT, "all records are in the mirror", || {
        if let Some(status) = mm2.ended() {
            panic!("MirrorMaker ended ({status}): {}", mm2.stderr_tail());
        }
        let there = to.partitions("source.orders") == Some(2);
        let read = if there {
            to.read("source.orders")
        } else {
            Vec::new()
        };
        let complete = read.len() >= records.len();
        complete
            .then_some(())
            .ok_or_else(|| format!("{} records\n{}", read.len(), mm2.stderr_tail()))
    });
    assert_mirrored(&from.read("orders"), &to.read("source.orders"));
    let configs = to.topic_configs("source.orders");
    assert_eq!(configs["retention.ms"].as_deref(), Some("3600000"));
}

#[test]
fn mirror_maker_mirrors_between_two_built_in_clusters() {
    if kafka::available("mirror_maker_mirrors_between_two_built_in_clusters") {
        mirror_with_mirror_maker("");
    }
}

#[test]
fn mirror_maker_mirrors_exactly_once_between_two_built_in_clusters() {
    if kafka::available("mirror_maker_mirrors_exactly_once_between_two_built_in_clusters") {
        mirror_with_mirror_maker(
            "exactly.once.source.support = enabled\ntarget.exactly.once.source.support = enabled\n",
        );
    }
}

#[test]
fn streams_counts_words_exactly_once() {
    if !kafka::available("streams_counts_words_exactly_once") {
        return;
    }
    let cluster = BuiltIn::start(1, &[]);
    let client = Client::new(cluster.bootstrap());
    let (input, output) = ("streams-plaintext-input", "streams-wordcount-output");
    client.create_topic(input, 2, &[]);
    client.create_topic(output, 2, &[("cleanup.policy", "compact")]);
    let lines = [
        "all streams lead to kafka",
        "hello kafka streams",
        "join kafka summit",
    ];
    let records: Vec<Rec> = lines
        .iter()
        .zip([0, 1].iter().cycle())
        .map(|(line, &partition)| Rec::new(partition, None, Some(line.as_bytes())))
        .collect();
    client.produce(input, &records, Default::default());
    let directory = temp_dir("streams");
    let file = directory.path().join("streams.properties");
    let state = directory.path().join("state");
    let properties = format!(
        "bootstrap.servers={}\nprocessing.guarantee=exactly_once_v2\ncommit.interval.ms=100\nstate.dir={}\n\
         replication.factor=1\n",
        cluster.bootstrap(),
        state.display()
    );
    fs::write(&file, properties).expect("write the application's file");
    let streams = kafka::tool_running("streams-wordcount", &[&file.to_string_lossy()], directory.path());
    let committed = client.with(&[("isolation.level", "read_committed")]);
    wait_for(LIMIT, "kafka is counted three times", || {
        let counts = committed.read(output);
        let last = |word: &str| {
            let of = counts
                .iter()
                .rfind(|rec| rec.key.as_deref() == Some(word.as_bytes()))?;
            Some(i64::from_be_bytes(of.value.as_deref()?.try_into().ok()?))
        };
        let words = ["all", "streams", "lead", "to", "kafka", "hello", "join", "summit"];
        let found: Vec<_> = words.iter().map(|word| last(word).unwrap_or(0)).collect();
        let complete = found == [1, 2, 1, 1, 3, 1, 1, 1];
        complete
            .then_some(())
            .ok_or_else(|| format!("{found:?}\n{}", streams.stderr_tail()))
    });
}
