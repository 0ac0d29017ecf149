//! Every config of topics that the guide says takes effect: altered while the topic is there, and seen.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use heliostat_broker::ClusterConfig;
use heliostat_broker::log::{DiskFault, DiskOperation, DiskRefusal};
use heliostat_wire::batch::Batches;
use heliostat_wire::builder::NewRecord;
use heliostat_wire::compression::Compression;
use heliostat_wire::message::produce::PartitionProduceResponse;

use super::*;
use crate::configs::TOPIC;
use crate::records::{NOW, fetch, list};

/// The timestamp that asks for the first offset.
const EARLIEST: i64 = -2;

const HOUR_MS: i64 = 3_600_000;

/// Alters the config, and shows what comes of it; false where nothing here does.
async fn see(config: &str) -> bool {
    match config {
        "cleanup.policy" => policy().await,
        "compression.gzip.level" => levels(config, "gzip", "1", "9").await,
        "compression.zstd.level" => levels(config, "zstd", "1", "19").await,
        "compression.type" => compression_type().await,
        "delete.retention.ms" => tombstones().await,
        "file.delete.delay.ms" | "retention.bytes" => deletion_by_size().await,
        "flush.messages" => flushed(config, "1", true).await,
        "flush.ms" => flushed(config, "200", false).await,
        "index.interval.bytes" => entries().await,
        "segment.index.bytes" => full_index().await,
        "max.compaction.lag.ms" => compacted(&[("min.cleanable.dirty.ratio", "1.0")], config, "1").await,
        "min.cleanable.dirty.ratio" => compacted(&[(config, "1.0")], config, "0.0").await,
        "min.compaction.lag.ms" => compacted(&[(config, "900000000000")], config, "0").await,
        "max.message.bytes" => too_large().await,
        "message.timestamp.type" => append_time().await,
        "message.timestamp.before.max.ms" => refused_timestamp(config, NOW).await,
        "message.timestamp.after.max.ms" => refused_timestamp(config, 4_000_000_000_000).await,
        "min.insync.replicas" => in_sync().await,
        "unclean.leader.election.enable" => unclean().await,
        "preallocate" => preallocated().await,
        "retention.ms" => deletion_by_time().await,
        "segment.bytes" => segments_by_size().await,
        "segment.ms" => segments_by_time().await,
        "segment.jitter.ms" => segments_at_random().await,
        _ => return false,
    }
    true
}

/// A cluster whose files can be looked at, with one topic `t`.
struct Bench {
    data: tempfile::TempDir,
    cluster: Cluster,
    client: Client,
}

impl Bench {
    async fn new(partitions: i32, configs: &[(&str, &str)]) -> Bench {
        Self::looked_after("20", partitions, configs).await
    }

    /// Its logs are looked after so often.
    async fn looked_after(every_ms: &str, partitions: i32, configs: &[(&str, &str)]) -> Bench {
        let data = tempfile::tempdir().unwrap();
        let properties = [
            ("log.flush.policy", "os"),
            ("log.retention.check.interval.ms", every_ms),
            ("log.cleaner.backoff.ms", "5"),
            // The records are of years ago.
            ("log.retention.ms", "-1"),
        ];
        let config = ClusterConfig {
            data: Some(data.path().to_owned()),
            properties: properties
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Default::default()
        };
        let cluster = Cluster::start(config).await.unwrap();
        let mut client = Client::of(&cluster).await;
        client.create_topic("t", partitions, configs).await;
        Bench {
            data,
            cluster,
            client,
        }
    }

    async fn alter(&mut self, name: &str, value: &str) {
        let altered = alter(&mut self.client, TOPIC, "t", &[(name, SET, Some(value))]).await;
        assert_eq!(altered, 0, "{name}={value}");
    }

    async fn put(&mut self, partition: i32, records: Bytes) -> PartitionProduceResponse {
        let response = produce(&mut self.client, "t", partition, records).await;
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        response
    }

    /// Files of a partition whose names end so.
    fn files(&self, partition: i32, suffix: &str) -> Vec<PathBuf> {
        let directory = self.data.path().join(format!("t-{partition}"));
        let files = std::fs::read_dir(directory)
            .unwrap()
            .map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files
            .filter(|path| path.to_string_lossy().ends_with(suffix))
            .collect();
        files.sort();
        files
    }

    async fn log_start(&mut self) -> i64 {
        list(&mut self.client, "t", 5, EARLIEST).await.offset
    }

    async fn until(&mut self, what: &str, mut seen: impl AsyncFnMut(&mut Bench) -> bool) {
        let began = Instant::now();
        while !seen(self).await {
            assert!(began.elapsed() < PATIENCE, "{what} is not seen");
        }
    }

    async fn end(self) -> tempfile::TempDir {
        self.cluster.shutdown(PATIENCE).await;
        self.data
    }
}

fn record(timestamp: i64, key: Option<&str>, value: Option<&[u8]>) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.push(NewRecord {
        timestamp,
        key: key.map(str::as_bytes),
        value,
        headers: &[],
    });
    builder.build().unwrap().into()
}

/// A batch of this size, more or less, and of this time.
fn sized(timestamp: i64, size: usize) -> Bytes {
    record(timestamp, None, Some(&vec![b'x'; size]))
}

async fn levels(config: &str, codec: &str, low: &str, high: &str) {
    let mut bench = Bench::new(1, &[("compression.type", codec), (config, low)]).await;
    let text: String = (0..20_000u64)
        .map(|number| format!("{} ", number.wrapping_mul(2_654_435_761) % 9973))
        .collect();
    let batch = record(NOW, None, Some(text.as_bytes()));
    bench.put(0, batch.clone()).await;
    bench.alter(config, high).await;
    bench.put(0, batch).await;
    let (first, second) = (
        fetch(&mut bench.client, "t", 0).await,
        fetch(&mut bench.client, "t", 1).await,
    );
    let second = second.records.len();
    let first = first.records.len() - second;
    assert!(second < first, "{config}: {first} bytes, and then {second}");
    bench.end().await;
}

async fn compression_type() {
    let mut bench = Bench::new(1, &[]).await;
    bench.put(0, sized(NOW, 1000)).await;
    bench.alter("compression.type", "lz4").await;
    bench.put(0, sized(NOW, 1000)).await;
    let records = fetch(&mut bench.client, "t", 0)
        .await
        .records
        .into_bytes()
        .unwrap();
    let codecs: Vec<_> = Batches::new(&records)
        .map(|batch| batch.unwrap().header().compression().unwrap())
        .collect();
    assert_eq!(codecs, [Compression::None, Compression::Lz4]);
    bench.end().await;
}

/// Some 60 bytes of log, so that a segment has four.
const SMALL_SEGMENTS: (&str, &str) = ("internal.segment.bytes", "300");

async fn keyed(bench: &mut Bench, keys: std::ops::Range<usize>) {
    for key in keys {
        let batch = record(NOW, Some(&format!("k{}", key % 2)), Some(b"v"));
        bench.put(0, batch).await;
    }
}

/// The offsets of all records that are left.
async fn offsets(bench: &mut Bench) -> Vec<i64> {
    let (mut offsets, mut next) = (Vec::new(), 0);
    loop {
        // An answer ends with a segment.
        let partition = fetch(&mut bench.client, "t", next).await;
        let records = partition.records.into_bytes().unwrap();
        for batch in Batches::new(&records) {
            let batch = batch.unwrap();
            let header = batch.header();
            next = header.next_offset();
            let bytes = batch.decompress(1 << 20).unwrap();
            let kept = batch.records(&bytes).map(|record| record.unwrap().offset_delta);
            offsets.extend(kept.map(|delta| header.base_offset + i64::from(delta)));
        }
        if next >= partition.high_watermark {
            return offsets;
        }
    }
}

/// Twenty records of two keys, which nothing compacts.
async fn dirty(configs: &[(&str, &str)]) -> Bench {
    let mut bench = Bench::new(1, &[&[SMALL_SEGMENTS], configs].concat()).await;
    keyed(&mut bench, 0..20).await;
    // The cleaner has been there again and again, which is seen by another topic that it cleans meanwhile.
    let other = [
        ("cleanup.policy", "compact"),
        SMALL_SEGMENTS,
        ("min.cleanable.dirty.ratio", "0.0"),
    ];
    bench.client.create_topic("other", 1, &other).await;
    for _ in 0..20 {
        let batch = record(NOW, Some("k"), Some(b"v"));
        let response = produce(&mut bench.client, "other", 0, batch).await;
        assert_eq!(response.error_code, 0);
    }
    let is_cleaned = async |bench: &mut Bench| bench.cluster.cleaner_facts().rounds > 0;
    bench.until("a round of the cleaner", is_cleaned).await;
    assert_eq!(offsets(&mut bench).await.len(), 20);
    bench
}

/// What is not compacted is, when the config has changed.
async fn compacted(first: &[(&str, &str)], config: &str, value: &str) {
    let mut bench = dirty(&[&[("cleanup.policy", "compact")], first].concat()).await;
    bench.alter(config, value).await;
    let is_less = async |bench: &mut Bench| offsets(bench).await.len() < 20;
    bench.until(config, is_less).await;
    bench.end().await;
}

async fn policy() {
    let mut bench = dirty(&[]).await;
    bench.alter("cleanup.policy", "compact").await;
    let is_less = async |bench: &mut Bench| offsets(bench).await.len() < 20;
    bench.until("cleanup.policy", is_less).await;
    bench.end().await;
}

async fn tombstones() {
    let configs = [
        ("cleanup.policy", "compact"),
        SMALL_SEGMENTS,
        ("min.cleanable.dirty.ratio", "1.0"),
    ];
    let mut bench = Bench::new(1, &configs).await;
    bench.put(0, record(NOW, Some("gone"), None)).await;
    keyed(&mut bench, 0..20).await;
    bench.alter("delete.retention.ms", "0").await;
    bench.alter("min.cleanable.dirty.ratio", "0.0").await;
    let began = Instant::now();
    while offsets(&mut bench).await.contains(&0) {
        assert!(began.elapsed() < PATIENCE, "the tombstone stays");
        // The round that marks it is followed by another one only where something is dirty.
        keyed(&mut bench, 0..4).await;
    }
    bench.end().await;
}

async fn deletion_by_size() {
    let mut bench = Bench::new(1, &[SMALL_SEGMENTS]).await;
    for _ in 0..9 {
        bench.put(0, sized(NOW, 100)).await;
    }
    assert_eq!(bench.log_start().await, 0);
    bench.alter("retention.bytes", "700").await;
    bench
        .until("retention.bytes", async |bench| bench.log_start().await > 0)
        .await;
    // The files go later, unless they are to go at once.
    let delayed = bench.files(0, ".deleted").len();
    assert!(delayed > 0);
    bench.alter("file.delete.delay.ms", "0").await;
    bench.alter("retention.bytes", "0").await;
    let start = bench.log_start().await;
    bench
        .until("retention.bytes", async |bench| bench.log_start().await > start)
        .await;
    bench
        .until("file.delete.delay.ms", async |bench| {
            bench.files(0, ".deleted").len() == delayed
        })
        .await;
    bench.end().await;
}

async fn deletion_by_time() {
    let mut bench = Bench::new(1, &[]).await;
    bench.put(0, sized(NOW, 100)).await;
    assert_eq!(bench.log_start().await, 0);
    bench.alter("retention.ms", "1000").await;
    bench
        .until("retention.ms", async |bench| bench.log_start().await == 1)
        .await;
    bench.end().await;
}

/// Notes what is forced to disk.
#[derive(Debug, Default)]
struct Forced(Mutex<BTreeSet<PathBuf>>);

impl DiskFault for Forced {
    fn before(&self, operation: DiskOperation<'_>) -> Result<(), DiskRefusal> {
        if let DiskOperation::Sync { path } = operation {
            self.0.lock().unwrap().insert(path.to_owned());
        }
        Ok(())
    }
}

impl Forced {
    fn on(cluster: &Cluster) -> Arc<Forced> {
        let forced = Arc::new(Forced::default());
        cluster.disk().inject(Some(forced.clone()));
        forced
    }

    fn has(&self, path: &Path) -> bool {
        self.0.lock().unwrap().contains(path)
    }
}

/// What was appended is forced to disk: with the append, or some time after it, also one from before the change.
async fn flushed(config: &str, value: &str, with_append: bool) {
    let mut bench = Bench::looked_after("300000", 1, &[]).await;
    let forced = Forced::on(&bench.cluster);
    bench.put(0, sized(NOW, 100)).await;
    let log = bench.files(0, ".log").remove(0);
    assert!(!forced.has(&log), "{config}");
    bench.alter(config, value).await;
    if with_append {
        bench.put(0, sized(NOW, 100)).await;
        assert!(forced.has(&log), "{config}");
        bench.end().await;
        return;
    }
    for _ in 0..3 {
        let began = Instant::now();
        bench.until(config, async |_| forced.has(&log)).await;
        // What looks after logs now and then, because retention does, would take 30 s.
        assert!(began.elapsed() < Duration::from_secs(10), "{config}");
        forced.0.lock().unwrap().clear();
        bench.put(0, sized(NOW, 100)).await;
    }
    bench.end().await;
}

async fn entries() {
    let mut bench = Bench::new(1, &[]).await;
    for _ in 0..5 {
        bench.put(0, sized(NOW, 100)).await;
    }
    bench.alter("index.interval.bytes", "1").await;
    for _ in 0..5 {
        bench.put(0, sized(NOW, 100)).await;
    }
    let data = bench.end().await;
    let index = data.path().join("t-0/00000000000000000000.index");
    // Entries of 8 bytes, of those only that came after the change.
    let size = std::fs::metadata(index).unwrap().len();
    assert!((24..=48).contains(&size), "{size}");
}

async fn full_index() {
    let mut bench = Bench::new(1, &[("index.interval.bytes", "1")]).await;
    for _ in 0..10 {
        bench.put(0, sized(NOW, 100)).await;
    }
    assert_eq!(bench.files(0, ".log").len(), 1);
    bench.alter("segment.index.bytes", "24").await;
    bench.put(0, sized(NOW, 100)).await;
    assert_eq!(bench.files(0, ".log").len(), 2);
    bench.end().await;
}

async fn too_large() {
    let mut bench = Bench::new(1, &[]).await;
    bench.put(0, sized(NOW, 1000)).await;
    bench.alter("max.message.bytes", "1000").await;
    let response = produce(&mut bench.client, "t", 0, sized(NOW, 1000)).await;
    assert_eq!(response.error_code, ErrorCode::MessageTooLarge.code());
    bench.end().await;
}

async fn append_time() {
    let mut bench = Bench::new(1, &[]).await;
    assert_eq!(bench.put(0, sized(NOW, 1)).await.log_append_time_ms, -1);
    bench.alter("message.timestamp.type", "LogAppendTime").await;
    assert!(bench.put(0, sized(NOW, 1)).await.log_append_time_ms > NOW);
    bench.end().await;
}

async fn refused_timestamp(config: &str, timestamp: i64) {
    // Both are without a limit at first.
    let configs = [("message.timestamp.after.max.ms", "9223372036854775807")];
    let mut bench = Bench::new(1, &configs).await;
    bench.put(0, sized(timestamp, 1)).await;
    bench.alter(config, "1000").await;
    let response = produce(&mut bench.client, "t", 0, sized(timestamp, 1)).await;
    assert_eq!(
        response.error_code,
        ErrorCode::InvalidTimestamp.code(),
        "{config}"
    );
    bench.end().await;
}

/// Two nodes, and a topic that is led by the first of them.
async fn two_nodes() -> (Cluster, Client) {
    let properties = [("default.replication.factor", "2")];
    let cluster = start_nodes(2, &properties).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 1, &[]).await;
    cluster.control().move_leader("t", 0, 1).await.unwrap();
    (cluster, client)
}

async fn in_sync() {
    let (cluster, mut client) = two_nodes().await;
    cluster.control().stop_node(2).await.unwrap();
    let fits = produce(&mut client, "t", 0, sized(NOW, 1)).await;
    assert_eq!(fits.error_code, 0);
    let change = [("min.insync.replicas", SET, Some("2"))];
    assert_eq!(alter(&mut client, TOPIC, "t", &change).await, 0);
    let refused = produce(&mut client, "t", 0, sized(NOW, 1)).await;
    assert_eq!(refused.error_code, ErrorCode::NotEnoughReplicas.code());
    cluster.shutdown(PATIENCE).await;
}

async fn unclean() {
    let (cluster, mut client) = two_nodes().await;
    cluster.control().shrink_isr("t", 0, 2).await.unwrap();
    let change = [("unclean.leader.election.enable", SET, Some("true"))];
    assert_eq!(alter(&mut client, TOPIC, "t", &change).await, 0);
    cluster.control().stop_node(1).await.unwrap();
    let mut other = Client::connect(cluster.addresses()[1]).await;
    assert_eq!(other.metadata(&["t"]).await.topics[0].partitions[0].leader_id, 2);
    cluster.shutdown(PATIENCE).await;
}

async fn preallocated() {
    const SEGMENT: &str = "1048576";
    let allocated = |path: &Path| std::fs::metadata(path).unwrap().blocks() * 512;
    let mut bench = Bench::new(1, &[("segment.bytes", SEGMENT)]).await;
    bench.put(0, sized(NOW, 600_000)).await;
    bench.alter("preallocate", "true").await;
    bench.put(0, sized(NOW, 600_000)).await;
    bench.put(0, sized(NOW, 600_000)).await;
    let logs = bench.files(0, ".log");
    assert_eq!(logs.len(), 3);
    assert!(allocated(&logs[2]) >= 1 << 20, "{}", allocated(&logs[2]));
    // What a segment did not need comes back when it is closed.
    assert!(allocated(&logs[1]) < 1 << 20, "{}", allocated(&logs[1]));
    let data = bench.end().await;
    let config = ClusterConfig {
        data: Some(data.path().to_owned()),
        ..Default::default()
    };
    let cluster = Cluster::start(config).await.unwrap();
    let mut client = Client::of(&cluster).await;
    assert_eq!(fetch(&mut client, "t", 2).await.high_watermark, 3);
    let next = produce(&mut client, "t", 0, sized(NOW, 1)).await;
    assert_eq!((next.error_code, next.base_offset), (0, 3));
    cluster.shutdown(PATIENCE).await;
}

async fn segments_by_size() {
    let mut bench = Bench::new(1, &[]).await;
    for _ in 0..2 {
        bench.put(0, sized(NOW, 600_000)).await;
    }
    assert_eq!(bench.files(0, ".log").len(), 1);
    bench.alter("segment.bytes", "1048576").await;
    bench.put(0, sized(NOW, 100)).await;
    assert_eq!(bench.files(0, ".log").len(), 2);
    bench.end().await;
}

async fn segments_by_time() {
    let mut bench = Bench::new(1, &[]).await;
    for time in [NOW, NOW + 1000] {
        bench.put(0, sized(time, 100)).await;
    }
    assert_eq!(bench.files(0, ".log").len(), 1);
    bench.alter("segment.ms", "500").await;
    bench.put(0, sized(NOW + 1000, 100)).await;
    assert_eq!(bench.files(0, ".log").len(), 2);
    bench.end().await;
}

/// Half of the new segments are closed after half of their time, more or less.
async fn segments_at_random() {
    const PARTITIONS: i32 = 40;
    let hour = HOUR_MS.to_string();
    let mut bench = Bench::new(PARTITIONS, &[("segment.ms", &hour)]).await;
    let (second, third) = (NOW + HOUR_MS + 1, NOW + HOUR_MS + 1 + HOUR_MS / 2);
    for partition in 0..PARTITIONS {
        bench.put(partition, sized(NOW, 1)).await;
    }
    bench.alter("segment.jitter.ms", &hour).await;
    for time in [second, third] {
        for partition in 0..PARTITIONS {
            bench.put(partition, sized(time, 1)).await;
        }
    }
    let counts: Vec<usize> = (0..PARTITIONS)
        .map(|partition| bench.files(partition, ".log").len())
        .collect();
    assert!(counts.iter().all(|count| (2..=3).contains(count)), "{counts:?}");
    let early = counts.iter().filter(|count| **count == 3).count();
    assert!((1..PARTITIONS as usize).contains(&early), "{counts:?}");
    bench.end().await;
}

/// The configs of the guide's table that take effect.
fn in_the_guide() -> Vec<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/built-in-cluster.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let table = guide
        .split("| topic config | default | takes effect |")
        .nth(1)
        .unwrap();
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|') || line.is_empty());
    let yes = rows.filter(|line| line.ends_with("| yes |"));
    yes.map(|line| line.split('`').nth(1).unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_config_of_topics_that_the_guide_says_takes_effect_does_so_at_once() {
    let configs = in_the_guide();
    assert!(configs.len() > 20, "{configs:?}");
    for config in &configs {
        assert!(see(config).await, "nothing shows that {config} takes effect");
    }
}
