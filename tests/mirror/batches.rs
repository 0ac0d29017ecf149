//! What becomes of batches on their way: how they are compressed on the mirror, and what the metrics say was done to them.

use std::path::Path;

use heliostat_wire::batch::Batches;
use heliostat_wire::compression::Compression;

use crate::support::built_in::InProcess;
use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::mirrors::{FLOW, Pair, wait_mirrored};
use crate::support::process::temp_dir;
use crate::support::rec::Rec;
use crate::support::wait_until;

/// Records that take some kilobytes, and less when they are compressed.
fn records(count: usize) -> Vec<Rec> {
    (0..count)
        .map(|n| {
            Rec::new(
                0,
                None,
                Some(format!("record {n} {}", "of many ".repeat(50)).as_bytes()),
            )
        })
        .collect()
}

fn as_one_batch(compression: &'static str) -> Producing {
    Producing {
        compression,
        linger_ms: 100,
        ..Producing::default()
    }
}

/// The codecs of the batches that lie in a partition's first segment.
fn codecs(data: &Path, topic: &str) -> Vec<Compression> {
    let segment = data.join(format!("{topic}-0/00000000000000000000.log"));
    let bytes = std::fs::read(&segment).unwrap_or_else(|error| panic!("{}: {error}", segment.display()));
    Batches::new(&bytes)
        .map(|batch| batch.expect("a whole batch").header().compression())
        .map(|codec| codec.expect("a known codec"))
        .collect()
}

/// Mirrors one topic, whose producer compresses with gzip, and returns the codecs on the mirror.
fn mirrored_with(defaults: &str) -> Vec<Compression> {
    let (one, other) = (temp_dir("source"), temp_dir("target"));
    let source = InProcess::start_in(1, &[], one.path());
    let target = InProcess::start_in(1, &[], other.path());
    let [from, to] = [&source, &target].map(|cluster| Client::new(cluster.bootstrap()));
    from.create_topic("orders", 1, &[]);
    from.produce("orders", &records(500), as_one_batch("gzip"));
    let [primary, standby] = [&source, &target].map(InProcess::bootstrap);
    let daemon = Daemon::start(&format!(
        "name: pair\nlayout: active-standby\nprimary: primary\nstandby: standby\nclusters:\n  \
         primary: {{ bootstrap_servers: \"{primary}\" }}\n  standby: {{ bootstrap_servers: \"{standby}\" }}\n\
         defaults: {{ {defaults} }}\n"
    ));
    wait_mirrored(&from, "orders", &to, "primary.orders");
    drop(daemon);
    codecs(other.path(), "primary.orders")
}

#[test]
fn batches_have_the_compression_that_the_flow_says() {
    for (defaults, codec) in [
        ("engine: batches", Compression::Gzip),
        ("compression: producer", Compression::Gzip),
        ("compression: zstd", Compression::Zstd),
        ("compression: none", Compression::None),
        ("engine: librdkafka", Compression::Lz4),
        ("engine: librdkafka, compression: zstd", Compression::Zstd),
    ] {
        let found = mirrored_with(defaults);
        assert!(!found.is_empty(), "{defaults}");
        assert!(found.iter().all(|found| *found == codec), "{defaults}: {found:?}");
    }
}

/// So many batches of a kind were copied.
fn count(daemon: &Daemon, how: &str) -> f64 {
    let series = format!(
        "heliostat_flow_batches_total{{flow=\"{FLOW}\",source=\"primary\",target=\"standby\",how=\"{how}\"}}"
    );
    daemon.metric(&series).unwrap_or_default()
}

#[track_caller]
fn wait_counted(daemon: &Daemon, how: &str, at_least: f64) {
    let what = format!("{at_least} batches are {how}");
    wait_until(std::time::Duration::from_secs(20), &what, || {
        count(daemon, how) >= at_least
    });
}

#[test]
fn what_was_done_to_batches_is_counted() {
    let pair = Pair::start();
    let topics = pair.topology("topics: { include: [\"t-.*\"] }");
    let daemon = Daemon::start(&topics);

    pair.primary.create_topic("t-passed", 1, &[]);
    pair.primary
        .produce("t-passed", &records(2_000), as_one_batch("none"));
    pair.wait_mirrored("t-passed");
    wait_counted(&daemon, "passed", 1.0);
    assert_eq!(count(&daemon, "rebuilt"), 0.0);

    pair.standby
        .create_topic("primary.t-split", 1, &[("max.message.bytes", "20000")]);
    pair.primary.create_topic("t-split", 1, &[]);
    pair.primary
        .produce("t-split", &records(500), as_one_batch("none"));
    pair.wait_mirrored("t-split");
    wait_counted(&daemon, "split", 10.0);

    pair.primary
        .create_topic("t-rebuilt", 1, &[("message.timestamp.type", "LogAppendTime")]);
    pair.primary
        .produce("t-rebuilt", &records(100), as_one_batch("none"));
    pair.wait_mirrored("t-rebuilt");
    wait_counted(&daemon, "rebuilt", 1.0);

    assert_eq!(count(&daemon, "recompressed"), 0.0);
    let passed = daemon.flow(FLOW).batches.passed;
    assert_eq!(
        passed as f64,
        count(&daemon, "passed"),
        "status and metrics say the same"
    );
    drop(daemon);

    // They wait on the source when the flow begins, and come together.
    pair.primary.create_topic("u-merged", 1, &[]);
    for _ in 0..50 {
        pair.primary
            .produce("u-merged", &records(1), Producing::default());
    }
    let daemon = Daemon::start(&pair.topology("topics: { include: [\"u-.*\"] }, compression: zstd"));
    pair.wait_mirrored("u-merged");
    wait_counted(&daemon, "merged", 1.0);
    assert!(count(&daemon, "merged") + count(&daemon, "recompressed") < 50.0);
    pair.primary.create_topic("u-recompressed", 1, &[]);
    pair.primary
        .produce("u-recompressed", &records(2_000), as_one_batch("lz4"));
    pair.wait_mirrored("u-recompressed");
    wait_counted(&daemon, "recompressed", 1.0);
}
