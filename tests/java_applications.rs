//! Whole applications of Apache Kafka, unchanged, on built-in clusters: Connect, MirrorMaker 2 and Streams.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::built_in::BuiltIn;
use crate::support::check::judge;
use crate::support::clients::Client;
use crate::support::kafka;
use crate::support::load::{Load, Shape};
use crate::support::ports::Ports;
use crate::support::process::{Process, temp_dir};
use crate::support::rec::{Rec, assert_mirrored};
use crate::support::{http, wait_for, wait_until};

/// How long something may take that an application has to do, which begins with the start of a JVM.
const LIMIT: Duration = Duration::from_secs(120);
/// How long an answer of a worker may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Waits until a file has exactly these lines.
#[track_caller]
fn wait_lines(file: &Path, wanted: &str, application: &mut Process) {
    wait_for(LIMIT, &format!("{} has {wanted:?}", file.display()), || {
        if let Some(status) = application.ended() {
            panic!("it ended ({status}): {}", application.stderr_tail());
        }
        let found = fs::read_to_string(file).unwrap_or_default();
        let same = found == wanted;
        same.then_some(())
            .ok_or_else(|| format!("{found:?}\n{}", application.stderr_tail()))
    });
}

/// What every Connect worker here begins with. It finds its plugins by their manifests alone, which halves the time that
/// its start takes.
fn worker(cluster: &BuiltIn, rest: &Ports) -> String {
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    format!(
        "bootstrap.servers={}\nkey.converter={converter}\nvalue.converter={converter}\n\
         listeners=http://{}\noffset.flush.interval.ms=500\nplugin.discovery=service_load\n",
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
    let mut connect = kafka::tool_running("connect-standalone", &arguments, directory.path());
    wait_lines(&at("to.txt"), "one\ntwo\n", &mut connect);
    fs::write(at("from.txt"), "one\ntwo\nthree\n").expect("write lines");
    wait_lines(&at("to.txt"), "one\ntwo\nthree\n", &mut connect);
}

/// What makes a worker distributed and exactly once. One that was killed is soon missed, and nobody gets its work sooner;
/// then its work is not kept for its return.
fn distributed() -> String {
    let storage: String = ["config", "offset", "status"]
        .iter()
        .map(|kind| format!("{kind}.storage.topic=connect-{kind}\n{kind}.storage.replication.factor=3\n"))
        .collect();
    format!(
        "group.id=connect\nexactly.once.source.support=enabled\nsession.timeout.ms=6000\n\
         heartbeat.interval.ms=2000\nscheduled.rebalance.max.delay.ms=0\n{storage}"
    )
}

/// Gives a connector to the worker at `rest`, as soon as it takes one.
#[track_caller]
fn post_connector(rest: &Ports, name: &str, configs: &[(&str, String)], connect: &mut Process) {
    let configs: serde_json::Map<_, _> = configs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone().into()))
        .collect();
    let json = serde_json::json!({ "name": name, "config": configs }).to_string();
    wait_for(LIMIT, &format!("the worker takes {name}"), || {
        if let Some(status) = connect.ended() {
            panic!("the worker ended ({status}): {}", connect.stderr_tail());
        }
        let answer = http::post(rest.address(), "/connectors", &json, ANSWER)
            .map_err(|error| format!("{error}\n{}", connect.stderr_tail()))?;
        // 409 while it joins its group, and when it has taken the connector but could not say so.
        match (answer.status, answer.body.contains("already exists")) {
            (201, _) | (409, true) => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    });
}

/// Waits until a sink has committed so many records of the only partition of a topic.
#[track_caller]
fn wait_committed(client: &Client, sink: &str, topic: &str, records: i64) {
    let consumer = client.with(&[("group.id", &format!("connect-{sink}"))]).config();
    let consumer: BaseConsumer = consumer.create().expect("create a consumer");
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    wait_for(LIMIT, &format!("{sink} has committed {records} records"), || {
        let found = consumer.committed_offsets(asked.clone(), ANSWER);
        let found = found.map_err(|error| error.to_string())?;
        match found.elements()[0].offset() {
            Offset::Offset(offset) if offset >= records => Ok(()),
            other => Err(format!("it is at {other:?}")),
        }
    });
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
    fs::write(at("worker.properties"), worker(&cluster, &rest) + &distributed()).expect("write its file");
    let start = || {
        let file = at("worker.properties");
        kafka::tool_running(
            "connect-distributed",
            &[&file.to_string_lossy()],
            directory.path(),
        )
    };
    let mut connect = start();
    for (name, mut configs) in connectors(&at("from.txt"), &at("to.txt")) {
        if name == "lines-out" {
            // A line in the file is committed then: no transaction is open when the worker is killed, for whose timeout
            // the next worker would have to wait, and the topic has what the file has.
            configs.push(("consumer.override.isolation.level", "read_committed".to_owned()));
            // Its next consumer is the same member of its group, which need not wait until this one is missed.
            configs.push(("consumer.override.group.instance.id", name.to_owned()));
        }
        post_connector(&rest, name, &configs, &mut connect);
    }
    wait_lines(&at("to.txt"), "one\ntwo\n", &mut connect);
    let client = Client::new(cluster.bootstrap());
    // Until it has committed what it wrote, a sink may write it twice.
    wait_committed(&client, "lines-out", "lines", 2);
    // Another worker goes on where this one was: connectors and offsets are in the cluster.
    connect.kill();
    fs::write(at("from.txt"), "one\ntwo\nthree\n").expect("write lines");
    let mut connect = start();
    wait_lines(&at("to.txt"), "one\ntwo\nthree\n", &mut connect);
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
         target->source.enabled = false\ntarget->source.emit.heartbeats.enabled = false\n\
         source->target.sync.group.offsets.enabled = true\n\
         sync.group.offsets.interval.seconds = 1\nemit.checkpoints.interval.seconds = 1\n\
         refresh.topics.interval.seconds = 1\nrefresh.groups.interval.seconds = 1\n\
         {factors}{more}",
        source.bootstrap(),
        target.bootstrap()
    );
    kafka::mirror_maker(&properties, directory)
}

/// Commits an offset of partition 0 for a group that nobody is in.
#[track_caller]
fn commit(client: &Client, group: &str, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset))
        .expect("a valid offset");
    let consumer: BaseConsumer = grouped(client, group);
    consumer.commit(&list, CommitMode::Sync).expect("commit");
}

/// Where a group stands in partition 0.
fn committed(client: &Client, group: &str, topic: &str) -> Option<i64> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let committed = grouped(client, group).committed_offsets(list, ANSWER).ok()?;
    match committed.elements().first()?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// A consumer with the group's name that does not join it.
fn grouped(client: &Client, group: &str) -> BaseConsumer {
    let mut config = client.config();
    config.set("group.id", group).set("enable.auto.commit", "false");
    config.create().expect("create a consumer")
}

#[test]
fn mirror_maker_mirrors_records_configs_and_offsets_between_two_built_in_clusters() {
    if !kafka::available("mirror_maker_mirrors_records_configs_and_offsets_between_two_built_in_clusters") {
        return;
    }
    let (source, target) = (BuiltIn::start(1, &[]), BuiltIn::start(1, &[]));
    let (from, to) = (Client::new(source.bootstrap()), Client::new(target.bootstrap()));
    from.create_topic("orders", 2, &[("retention.ms", "3600000")]);
    let records: Vec<Rec> = (0..200)
        .map(|number| Rec::new(number % 2, Some(b"key"), Some(number.to_string().as_bytes())))
        .collect();
    from.produce("orders", &records, Default::default());
    commit(&from, "readers", "orders", 100);
    let directory = temp_dir("mm2");
    let mut mm2 = mirror_maker(&source, &target, "offset.lag.max = 0\n", directory.path());
    wait_for(LIMIT, "all records are in the mirror", || {
        if let Some(status) = mm2.ended() {
            panic!("MirrorMaker ended ({status}): {}", mm2.stderr_tail());
        }
        let read = mirrored(&to);
        let complete = read.len() >= records.len();
        complete
            .then_some(())
            .ok_or_else(|| format!("{} records\n{}", read.len(), mm2.stderr_tail()))
    });
    assert_mirrored(&from.read("orders"), &to.read("source.orders"));
    let configs = to.topic_configs("source.orders");
    assert_eq!(configs["retention.ms"].as_deref(), Some("3600000"));
    // Offsets are the same on both sides here. MirrorMaker keeps some pairs of them only, and does not translate too far.
    let translated = wait_for(LIMIT, "the group has a position in the mirror", || {
        committed(&to, "readers", "source.orders").ok_or_else(|| mm2.stderr_tail())
    });
    assert!((1..=100).contains(&translated), "{translated}");
    assert!(!to.read("source.checkpoints.internal").is_empty());
}

/// What is in the mirror, if it is there, of what was committed.
fn mirrored(to: &Client) -> Vec<Rec> {
    if to.partitions("source.orders") == Some(2) {
        to.with(&[("isolation.level", "read_committed")])
            .read("source.orders")
    } else {
        Vec::new()
    }
}

#[test]
fn mirror_maker_mirrors_exactly_once_between_two_built_in_clusters_and_is_killed() {
    if !kafka::available("mirror_maker_mirrors_exactly_once_between_two_built_in_clusters_and_is_killed") {
        return;
    }
    let (source, target) = (BuiltIn::start(1, &[]), BuiltIn::start(1, &[]));
    let (from, to) = (Client::new(source.bootstrap()), Client::new(target.bootstrap()));
    from.create_topic("orders", 2, &[]);
    let shape = Shape {
        rate: Some(200),
        partitions: 2,
        ..Shape::default()
    };
    let load = Load::start(&from, "orders", shape);
    let directory = temp_dir("mm2");
    // The member that was killed is given up soon, so that the next one gets its work.
    let more = "exactly.once.source.support = enabled\ntarget.exactly.once.source.support = enabled\n\
                target.session.timeout.ms = 6000\ntarget.heartbeat.interval.ms = 1000\n\
                target.scheduled.rebalance.max.delay.ms = 0\n";
    let mut mm2 = mirror_maker(&source, &target, more, directory.path());
    wait_for(LIMIT, "MirrorMaker is in the middle of its work", || {
        if let Some(status) = mm2.ended() {
            panic!("MirrorMaker ended ({status}): {}", mm2.stderr_tail());
        }
        let count = mirrored(&to).len();
        (count > 300)
            .then_some(())
            .ok_or_else(|| format!("{count} records\n{}", mm2.stderr_tail()))
    });
    mm2.kill();
    let mm2 = mirror_maker(&source, &target, more, directory.path());
    let before = load.acknowledged();
    wait_until(LIMIT, "records come meanwhile", || {
        load.acknowledged() > before + 200
    });
    let written = load.stop();
    let verdict = wait_for(LIMIT, "all records are in the mirror", || {
        let verdict = judge(&written.name, &written.acknowledged, &mirrored(&to));
        if verdict.lost == 0 {
            Ok(verdict)
        } else {
            Err(format!("{verdict}\n{}", mm2.stderr_tail()))
        }
    });
    assert_eq!(written.failed, 0);
    verdict.expect_exact();
}

#[test]
fn streams_counts_words_at_least_and_exactly_once() {
    if !kafka::available("streams_counts_words_at_least_and_exactly_once") {
        return;
    }
    std::thread::scope(|scope| {
        let other = scope.spawn(|| count_words("at_least_once", "read_uncommitted"));
        count_words("exactly_once_v2", "read_committed");
        other.join().expect("words are counted at least once");
    });
}

/// Counts the words of three lines with this guarantee, and reads the counts with this isolation.
#[track_caller]
fn count_words(guarantee: &str, isolation: &str) {
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
        "bootstrap.servers={}\nprocessing.guarantee={guarantee}\ncommit.interval.ms=100\nstate.dir={}\n\
         replication.factor=1\n",
        cluster.bootstrap(),
        state.display()
    );
    fs::write(&file, properties).expect("write the application's file");
    let streams = kafka::tool_running("streams-wordcount", &[&file.to_string_lossy()], directory.path());
    let committed = client.with(&[("isolation.level", isolation)]);
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
