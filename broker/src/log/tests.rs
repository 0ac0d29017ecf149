//! Properties of whole logs, on real files.

pub(super) mod compact;
mod crash;
mod cut_short;
mod disk;
mod durable;
mod history;
mod idempotence;
mod in_file;
mod junk;
mod lookup;
mod model;
mod parallel;
mod shrink;
mod startup;
mod tail;
mod transactions;
mod wrong_index;

use std::path::PathBuf;
use std::sync::Arc;

use heliostat_wire::Uuid;
use heliostat_wire::batch::{BatchView, Batches};
use heliostat_wire::builder::{BatchBuilder, NewRecord};

use super::*;

const NOW: i64 = 1_700_000_000_000;
const TOPIC: &str = "orders";

/// A data directory with one log in it.
struct Bench {
    root: tempfile::TempDir,
    manager: Option<LogManager>,
    config: LogConfig,
    policy: FlushPolicy,
    open_files_max: usize,
}

impl Bench {
    fn new(config: LogConfig) -> Self {
        Self::with_policy(config, FlushPolicy::Os)
    }

    /// Where forcing to disk costs nothing, if the system has such a place: for tests of very many histories.
    fn in_memory(config: LogConfig) -> Self {
        Self::at(compact::in_memory(), config, FlushPolicy::Os)
    }

    fn with_policy(config: LogConfig, policy: FlushPolicy) -> Self {
        Self::at(tempfile::tempdir().unwrap(), config, policy)
    }

    fn at(root: tempfile::TempDir, config: LogConfig, policy: FlushPolicy) -> Self {
        let mut bench = Bench {
            root,
            manager: None,
            config,
            policy,
            open_files_max: 1024,
        };
        bench.start();
        let id = Uuid::from_bytes([7; 16]);
        bench
            .manager()
            .create(TOPIC, 0, id, bench.config.clone(), NOW)
            .unwrap();
        bench
    }

    fn start(&mut self) {
        let options = LogManagerOptions {
            flush_policy: self.policy,
            open_files_max: self.open_files_max,
            ..LogManagerOptions::new(self.root.path())
        };
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        self.manager = Some(loop {
            match LogManager::open(options.clone(), NOW, &|_| self.config.clone()) {
                // A test beside this one that starts a process holds every lock of this one for a moment, between fork and exec.
                Err(OpenError::Locked(_)) if std::time::Instant::now() < deadline => std::thread::yield_now(),
                opened => break opened.unwrap(),
            }
        });
    }

    fn manager(&self) -> &LogManager {
        self.manager.as_ref().unwrap()
    }

    fn log(&self) -> Arc<Log> {
        self.manager().get(TOPIC, 0).unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join(format!("{TOPIC}-0"))
    }

    /// Ends as a process does that is killed: nothing is closed, what was written is in the files.
    fn kill(&mut self) {
        self.manager = None;
    }

    fn restart(&mut self) {
        self.manager().close(NOW).unwrap();
        self.manager = None;
        self.start();
        assert!(self.manager().started_clean());
    }

    fn append(&self, batch: &[u8]) -> Appended {
        self.log().append(batch, 0, NOW).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Segments so small that a few batches fill one, and an index entry for nearly every batch.
fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 100,
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// A batch with one record per timestamp; each value names its place.
fn batch(timestamps: &[i64]) -> Vec<u8> {
    fill(BatchBuilder::new(), timestamps)
}

fn produced(id: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    fill(
        BatchBuilder::new().producer(id, epoch, sequence),
        &vec![NOW; count],
    )
}

fn fill(mut builder: BatchBuilder, timestamps: &[i64]) -> Vec<u8> {
    for (i, timestamp) in timestamps.iter().enumerate() {
        let value = format!("value {i} at {timestamp}");
        builder.push(NewRecord {
            timestamp: *timestamp,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[],
        });
    }
    builder.build().unwrap()
}

/// Everything from `offset` to the end, read as a consumer does.
fn read_all(log: &Log, offset: i64, max_bytes: usize) -> Vec<u8> {
    let (mut out, mut next) = (Vec::new(), offset);
    loop {
        let records = log.read(next, max_bytes, true).unwrap().records;
        if records.is_empty() {
            return out;
        }
        for batch in Batches::new(&records) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            assert!(batch.header().last_offset() >= next, "batches before the offset");
            next = batch.header().next_offset();
        }
        out.extend_from_slice(&records);
    }
}

fn first_batch(records: &[u8]) -> BatchView<'_> {
    BatchView::parse(records).unwrap()
}
