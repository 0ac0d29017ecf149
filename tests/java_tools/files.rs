//! The files behind a topic: `kafka-get-offsets`, `kafka-delete-records`, the perf tests, and `kafka-dump-log` on every kind of file.

use std::path::PathBuf;

use super::{LIMIT, Lab, assert_contains, single_spaces};
use crate::support::clients::{Client, Producing};
use crate::support::process::temp_dir;
use crate::support::rec::Rec;
use crate::support::transactional::Transactional;
use crate::support::{kafka, wait_for};

/// The files of partitions, which Kafka's own reader goes over.
struct Files(Vec<PathBuf>);

impl Files {
    fn of(lab: &Lab, partitions: &[&str]) -> Files {
        let of = |partition: &&str| {
            let entries =
                std::fs::read_dir(lab.0.data().join(partition)).expect("list the partition's files");
            entries.map(|entry| entry.expect("a directory entry").path())
        };
        let mut files: Vec<PathBuf> = partitions.iter().flat_map(of).collect();
        files.sort();
        Files(files)
    }

    /// Those with one of these extensions, of each of which there must be some; as the tool takes them.
    #[track_caller]
    fn with(&self, extensions: &[&str]) -> String {
        let of = |extension: &&str| {
            let of: Vec<String> = (self.0.iter())
                .filter(|path| path.extension().is_some_and(|found| found == *extension))
                .map(|path| path.to_string_lossy().into_owned())
                .collect();
            assert!(!of.is_empty(), "no {extension} among {:?}", self.0);
            of
        };
        extensions.iter().flat_map(of).collect::<Vec<_>>().join(",")
    }

    /// Checks logs, indexes and snapshots in every way that the tool has, and returns what is in them.
    #[track_caller]
    fn check(&self) -> String {
        let indexes = self.with(&["index", "timeindex"]);
        let sane = dump(&indexes, &["--index-sanity-check"]);
        let passed = sane.matches("passed sanity check").count() + sane.matches("is empty").count();
        assert_eq!(passed, indexes.split(',').count(), "{sane}");
        assert_contains(&dump(&indexes, &["--verify-index-only"]), &["Dumping "]);
        dump(
            &self.with(&["log", "index", "timeindex", "snapshot"]),
            &["--deep-iteration", "--print-data-log"],
        )
    }
}

#[track_caller]
fn dump(files: &str, arguments: &[&str]) -> String {
    let output = kafka::tool_on("kafka-dump-log", &[&["--files", files], arguments].concat());
    let printed = single_spaces(&output.stdout) + &single_spaces(&output.stderr);
    assert!(output.status.success(), "{printed}");
    for complaint in [
        "Mismatches",
        "Exception",
        "is invalid",
        "out of order",
        "isvalid: false",
    ] {
        assert!(!printed.contains(complaint), "{complaint} in {printed}");
    }
    printed
}

#[test]
fn offsets_and_the_files_behind_them() {
    let Some(mut lab) = Lab::start("offsets_and_the_files_behind_them") else {
        return;
    };
    let bootstrap = format!("bootstrap.servers={}", lab.0.bootstrap());
    lab.tool(
        "kafka-topics",
        &["--create", "--topic", "perf", "--config", "segment.bytes=1048576"],
    );
    let output = kafka::tool_on(
        "kafka-producer-perf-test",
        &[
            "--topic",
            "perf",
            "--num-records",
            "20000",
            "--record-size",
            "200",
            "--throughput",
            "-1",
            "--command-property",
            &bootstrap,
            "acks=all",
        ],
    );
    assert!(output.status.success(), "{output:?}");
    assert_contains(&single_spaces(&output.stdout), &["20000 records sent"]);
    let read = lab.tool(
        "kafka-consumer-perf-test",
        &["--topic", "perf", "--num-records", "20000"],
    );
    assert_contains(&read, &[", 20000, "]);
    assert_eq!(lab.offsets("perf", "earliest"), "perf:0:0\n");
    assert_eq!(lab.offsets("perf", "latest"), "perf:0:20000\n");
    assert_eq!(lab.offsets("perf", "1"), "perf:0:0\n");
    assert_contains(&lab.offsets("perf", "max-timestamp"), &["perf:0:"]);
    let directory = temp_dir("delete-records");
    let file = directory.path().join("offsets.json");
    let wanted = r#"{"version": 1, "partitions": [{"topic": "perf", "partition": 0, "offset": 123}]}"#;
    std::fs::write(&file, wanted).expect("write the offsets");
    let deleted = lab.tool(
        "kafka-delete-records",
        &["--offset-json-file", &file.to_string_lossy()],
    );
    assert_contains(&deleted, &["partition: perf-0 low_watermark: 123"]);
    assert_eq!(lab.offsets("perf", "earliest"), "perf:0:123\n");
    assert!(lab.0.stop().success());
    let files = Files::of(&lab, &["perf-0"]);
    let dumped = files.check();
    assert_eq!(dumped.matches("| offset: ").count(), 20_000);
    assert!(
        files.with(&["log"]).split(',').count() >= 4,
        "there are several segments"
    );
    assert_contains(
        &dumped,
        &[
            "isvalid: true",
            "producerId: ",
            "| offset: 19999 ",
            "lastSequence: 19999",
        ],
    );
}

#[test]
fn files_of_transactions_and_of_a_compacted_log() {
    let test = "files_of_transactions_and_of_a_compacted_log";
    let Some(mut lab) = Lab::start_with(test, 1, &["--config", "log.cleaner.backoff.ms=100"]) else {
        return;
    };
    let client = Client::new(lab.0.bootstrap());
    client.create_topic("ledger", 1, &[]);
    let compacted = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("segment.ms", "1"),
    ];
    client.create_topic("facts", 1, &compacted);
    let ledger = Transactional::new(&client, "ledger");
    ledger.write(&["a", "b"]).commit();
    ledger.write(&["taken back"]).abort();
    ledger.write(&["c"]).commit();
    ledger.write(&["left open"]);
    let facts = Transactional::new(&client, "facts");
    facts.write_keyed(&[("x", "old"), ("y", "old")]).commit();
    facts.write_keyed(&[("x", "aborted"), ("z", "aborted")]).abort();
    let how = Producing {
        compression: "gzip",
        ..Producing::default()
    };
    // Each of these is another segment, and what is left in the end is the last value of each key.
    for value in ["newer", "newest"].map(|value| value.repeat(50)) {
        let records = [b"x", b"y"].map(|key| Rec::new(0, Some(key), Some(value.as_bytes())));
        client.produce("facts", &records, how);
    }
    client.produce("facts", &[Rec::new(0, Some(b"w"), Some(b"head"))], how);
    wait_for(LIMIT, "the log is compacted", || {
        let left = client.read("facts").len();
        if left == 3 {
            Ok(())
        } else {
            Err(format!("{left} records"))
        }
    });
    assert!(lab.0.stop().success());
    let dumped = Files::of(&lab, &["ledger-0", "facts-0"]).check();
    // Two transactions were committed and one was not in one log, one each in the other.
    assert_contains(
        &dumped,
        &[
            "endTxnMarker: COMMIT",
            "endTxnMarker: ABORT",
            "payload: left open",
            "payload: newest",
            "payload: head",
            "compresscodec: gzip",
            "currentTxnFirstOffset: OptionalLong[7]",
            "currentTxnFirstOffset: OptionalLong.empty",
        ],
    );
    for gone in ["payload: old", "payload: newer", "payload: aborted"] {
        assert!(!dumped.contains(gone), "{gone} in {dumped}");
    }
    // What was taken back is the only entry of the index of aborted transactions.
    let aborted = dump(&Files::of(&lab, &["ledger-0"]).with(&["txnindex"]), &[]);
    assert_eq!(aborted.matches("version: 0 producerId: ").count(), 1, "{aborted}");
    assert_contains(&aborted, &["firstOffset: 3 lastOffset: 4 lastStableOffset: 5"]);
}
