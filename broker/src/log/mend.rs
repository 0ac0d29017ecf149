//! Making a log writable again after its disk has failed it.
//!
//! After a flush that failed, what the page cache shows may never have reached the disk, and another flush would not say
//! so. Everything behind the last durable offset is therefore read and checked, written anew through a file that was
//! opened anew, flushed, and read back with the page cache out of the way. Where that fails, the log ends.

use std::fs::File;
use std::path::Path;

use heliostat_wire::batch::BatchView;

use super::checkpoint::lock;
use super::error::{AtPath, StorageError};
use super::files::{open_existing, sync_dir};
use super::load::producers_before;
use super::partition::{FlushPolicy, Inner, Log};
use super::scan::{Scan, ScanError, read_batch};
use super::snapshot::remove_snapshots;

/// What a disk that was full must take before a log is writable again: about what a small batch needs.
const PROBE: [u8; 4096] = [0; 4096];

impl Log {
    /// Tries to make a read-only log writable again. After an error it still is read-only, and readable.
    pub fn mend(&self, now_ms: i64) -> Result<(), StorageError> {
        let mut cuts = lock(&self.swapping);
        let _no_flush = lock(&self.flushing);
        let Some(mut inner) = self.open_inner() else {
            return Ok(());
        };
        match inner.trouble.as_ref().map(|trouble| trouble.unproven) {
            None => Ok(()),
            Some(false) => {
                if let Some(active) = inner.active() {
                    active.probe(&PROBE)?;
                }
                self.note_success(&mut inner);
                Ok(())
            }
            Some(true) => {
                *cuts += 1;
                self.prove_tail(&mut inner, now_ms)
            }
        }
    }

    /// Whether the log is still read-only. If not, it says so itself when it becomes so again.
    pub(super) fn stays_listed(&self) -> bool {
        let mut inner = lock(&self.inner);
        inner.listed = inner.trouble.is_some() && !inner.closed;
        inner.listed
    }

    fn prove_tail(&self, inner: &mut Inner, now_ms: i64) -> Result<(), StorageError> {
        let (durable, end_before) = (inner.durable, inner.log_end_offset);
        let proven = self.rewrite_tail(inner, durable)?;
        self.reindex_tail(inner, durable, proven)?;
        // Nobody must get an offset that consumers have seen. Where they see only what is durable, none of those is lost.
        let end = match self.options.flush_policy {
            FlushPolicy::Os => proven.max(inner.high_watermark),
            FlushPolicy::GroupCommit | FlushPolicy::Each => proven,
        };
        if proven < end_before {
            inner.epochs.truncate_from_end(proven)?;
            remove_snapshots(&self.dir, |snapshot| snapshot > proven)?;
            inner.producers = producers_before(&self.dir, &inner.segments, proven, now_ms)?;
            inner.producers.count_in(&self.options.census);
            inner.producers.replicated(end);
        }
        inner.log_end_offset = end;
        inner.recovery_point = inner.recovery_point.min(durable);
        (inner.directory_synced, inner.names_synced) = (false, i64::MIN);
        self.sync_all(inner)?;
        inner.truncations += 1;
        inner.durable = end;
        inner.recovery_point = end;
        inner.trouble = None;
        self.show_trouble(inner);
        tracing::warn!(
            topic = self.topic,
            partition = self.partition,
            durable,
            proven,
            end_before,
            "the partition can be written again: what was not known to be on disk was written anew"
        );
        self.advance(inner);
        Ok(())
    }

    /// Writes every good batch from `durable` on once more; returns where the good ones end. What lies behind is removed.
    fn rewrite_tail(&self, inner: &mut Inner, durable: i64) -> Result<i64, StorageError> {
        let disk = &self.options.disk;
        let first = inner.floor(durable);
        let bases: Vec<i64> = inner.segments.range(first..).map(|(base, _)| *base).collect();
        let mut end = durable;
        for base in bases {
            let Some(segment) = inner.segments.get_mut(&base) else {
                continue;
            };
            segment.release();
            let path = segment.path().to_owned();
            let file = open_existing(&path)?;
            let (from, to) = (segment.position_of(&file, durable)?, segment.size());
            let good = walk(&file, &path, from, to, |position, batch| {
                disk.write_all_at(&file, &path, batch.bytes(), position)
                    .at("write", &path)
            })?;
            disk.sync(&file, &path).at("sync", &path)?;
            forget_cached(&file, &path)?;
            let mut last = None;
            let good = walk(&file, &path, from, good, |_, batch| {
                last = Some(batch.header().next_offset());
                Ok(())
            })?;
            end = last.unwrap_or(end).max(end);
            if good < to {
                tracing::error!(file = %path.display(), bytes = to - good, "what is not on disk is cut off");
                // What lies behind goes first: a crash in between leaves a damaged batch, at which the next start ends the log,
                // and not a hole that nobody can tell from one that compaction has made.
                inner.remove_segments_behind(base)?;
                sync_dir(&self.dir)?;
                if let Some(segment) = inner.segments.get_mut(&base) {
                    segment.cut(good)?;
                }
                break;
            }
        }
        Ok(end)
    }

    /// Rebuilds the indexes of the segments that hold `durable` or later offsets: their flush may have failed as well.
    fn reindex_tail(&self, inner: &mut Inner, durable: i64, end: i64) -> Result<(), StorageError> {
        let interval = self.config().index_interval_bytes;
        let first = inner.floor(durable);
        for (_, segment) in inner.segments.range_mut(first..) {
            segment.truncate_to(end, interval)?;
            segment.release();
        }
        inner.release_files();
        Ok(())
    }
}

impl Inner {
    /// The base offset of the segment that `offset` falls into.
    fn floor(&self, offset: i64) -> i64 {
        let found = self.segments.range(..=offset).next_back();
        found.map_or(i64::MIN, |(base, _)| *base)
    }
}

/// Visits the good batches between two positions, and returns where they end.
fn walk(
    file: &File,
    path: &Path,
    from: u64,
    to: u64,
    mut visit: impl FnMut(u64, &BatchView<'_>) -> Result<(), StorageError>,
) -> Result<u64, StorageError> {
    let (mut good, mut buffer) = (from, Vec::new());
    for item in Scan::new(file, from, to) {
        let checked = item.and_then(|(position, header)| {
            let batch = read_batch(file, position, header.size(), &mut buffer)?;
            batch
                .check_crc()
                .map_err(|error| ScanError::Batch(position, error))?;
            Ok((position, batch))
        });
        match checked {
            Ok((position, batch)) => {
                visit(position, &batch)?;
                good = position + u64::try_from(batch.header().size()).unwrap_or(0);
            }
            Err(ScanError::Batch(..)) => break,
            Err(ScanError::Io(error)) => return Err(error).at("read", path),
        }
    }
    Ok(good)
}

/// Lets the next read come from the disk. The operating system drops what it believes to be on disk already, which
/// after a flush is all there is.
fn forget_cached(file: &File, path: &Path) -> Result<(), StorageError> {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)
        .map_err(std::io::Error::from)
        .at("drop cached pages of", path)
}
