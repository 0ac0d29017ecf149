//! Compaction: what stays, what goes, and what a crash in the middle leaves.

mod crash;
mod keep;
mod limits;
mod refused;
mod together;
mod transactions;

use std::cell::RefCell;
use std::path::Path;

use heliostat_wire::batch::BatchHeader;
use heliostat_wire::compression::Compression;

use super::*;

/// A record as a consumer sees it: offset, timestamp, key, value.
pub(super) type Seen = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

pub(super) type Watcher = Box<dyn FnMut(&Path)>;

/// Whether the disk refuses this step.
pub(super) type Refusal = Box<dyn FnMut(&Path) -> bool>;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    static REFUSAL: RefCell<Option<Refusal>> = const { RefCell::new(None) };
}

/// Called where a process may die while it replaces segments.
pub(in super::super) fn at_step(path: &Path) {
    // A watcher that opens a log comes by here too, and is not asked about that.
    let watcher = WATCHER.with(|watcher| watcher.borrow_mut().take());
    if let Some(mut watcher) = watcher {
        watcher(path);
        WATCHER.with(|place| *place.borrow_mut() = Some(watcher));
    }
}

/// Called before each step, which fails if this does.
pub(in super::super) fn before_step(path: &Path) -> std::io::Result<()> {
    let refused = REFUSAL.with(|refusal| refusal.borrow_mut().as_mut().is_some_and(|refuses| refuses(path)));
    if refused {
        return Err(std::io::Error::other("refused by the test"));
    }
    Ok(())
}

pub(super) fn refuse(refusal: Option<Refusal>) {
    REFUSAL.with(|place| *place.borrow_mut() = refusal);
}

pub(super) fn watch(watcher: Option<Watcher>) {
    WATCHER.with(|place| *place.borrow_mut() = watcher);
}

/// Compacted, in small segments, and dirty with the first byte.
pub(super) fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 1_000,
        ..small()
    }
}

/// A batch of keys with values; an empty value is a tombstone.
pub(super) fn keyed(builder: BatchBuilder, records: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = builder;
    for (key, value) in records {
        builder.push(NewRecord {
            timestamp: NOW,
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()).filter(|value| !value.is_empty()),
            headers: &[],
        });
    }
    builder.build().unwrap()
}

pub(super) fn put(bench: &Bench, records: &[(&str, &str)]) -> Appended {
    bench.append(&keyed(BatchBuilder::new(), records))
}

/// Ends the active segment.
pub(super) fn roll(bench: &Bench) {
    let log = bench.log();
    let config = log.config();
    let mut inner = log.open_inner().unwrap();
    log.roll(&mut inner, &config, NOW).unwrap();
}

pub(super) fn clean_at(bench: &Bench, now_ms: i64) -> Result<CleanReport, CleanError> {
    clean_with(bench, &CleanerOptions::default(), now_ms)
}

pub(super) fn clean_with(
    bench: &Bench,
    options: &CleanerOptions,
    now_ms: i64,
) -> Result<CleanReport, CleanError> {
    let cleaner = bench.manager().cleaner();
    let turn = cleaner.turn(&bench.log(), now_ms).expect("the log is not dirty");
    cleaner.clean(&turn, options, now_ms)
}

pub(super) fn clean(bench: &Bench) -> CleanReport {
    clean_at(bench, NOW).unwrap()
}

pub(super) fn headers(log: &Log) -> Vec<BatchHeader> {
    let bytes = read_all(log, log.log_start_offset(), 1 << 20);
    Batches::new(&bytes)
        .map(|batch| *batch.unwrap().header())
        .collect()
}

pub(super) fn records(log: &Log) -> Vec<Seen> {
    let bytes = read_all(log, log.log_start_offset(), 1 << 20);
    let mut seen = Vec::new();
    for batch in Batches::new(&bytes) {
        let batch = batch.unwrap();
        let plain = batch.decompress(1 << 20).unwrap();
        for record in batch.records(&plain) {
            let record = record.unwrap();
            let at = (
                batch.header().offset(record.offset_delta),
                batch.header().timestamp(record.timestamp_delta),
            );
            seen.push((
                at.0,
                at.1,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
            ));
        }
    }
    seen.retain(|(offset, ..)| *offset >= log.log_start_offset());
    seen
}

pub(super) fn read_committed(log: &Log, offset: i64, max_bytes: usize) -> ReadResult {
    let read = log.read_some(ReadRequest {
        offset,
        max_bytes,
        min_one_batch: true,
        isolation: Isolation::ReadCommitted,
        in_file_from: usize::MAX,
    });
    read.unwrap()
}

/// Offset, key and value as text; a tombstone is empty.
pub(super) fn texts(log: &Log) -> Vec<(i64, String, String)> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
    records(log)
        .into_iter()
        .map(|(offset, _, key, value)| (offset, text(key), text(value)))
        .collect()
}

pub(super) fn expect(log: &Log, expected: &[(i64, &str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(o, k, v)| (*o, (*k).to_owned(), (*v).to_owned()))
        .collect();
    assert_eq!(texts(log), expected);
}

/// Where forcing to disk costs nothing, if the system has such a place: there are hundreds of copies.
pub(super) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
