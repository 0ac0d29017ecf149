//! Forcing a log to disk: its batches, as soon as producers wait for that; indexes and producers too, now and then.
//!
//! Appends go on meanwhile. What a flush has proven counts only if the log's end was not moved back in between.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::checkpoint::{lock, sync_topic_id};
use super::error::{AtPath, StorageError};
use super::files::{remove_if_there, sync_dir};
use super::partition::{Inner, Log, Trouble};
use super::snapshot::{encode as encode_snapshot, snapshot_path, write_encoded};
use crate::clock::now_ms;

/// A commit under way: what it will have proven.
#[derive(Debug)]
pub(super) struct Commit {
    files: Vec<NamedFile>,
    end: i64,
    truncations: u64,
    directory_synced: bool,
    /// Indexes and producers too: what becomes the recovery point.
    whole: bool,
    /// The producers as they are before `end`, if there are any.
    snapshot: Option<Vec<u8>>,
    /// The base offset of the active segment, and whether the names up to it were on disk before.
    newest: i64,
    names_synced: bool,
}

/// An open file, and where it lies.
type NamedFile = (PathBuf, Arc<File>);

/// Which files of a segment are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// None: whoever forces the whole file system to disk needs no handles.
    None,
    /// What has the batches.
    Batches,
    /// The indexes too.
    All,
}

/// When so many bytes were appended since the recovery point, it is moved: about what is read and checked in the tenth of
/// a second, and seldom enough to cost nothing.
const TAIL_BYTES_MAX: u64 = 64 << 20;

/// Segments whose files are open at the same time while a log is flushed.
const SEGMENTS_PER_PORTION: usize = 32;

impl Log {
    /// Forces to disk what was appended before the call, with the indexes; returns the offset up to which everything
    /// is there. Appends go on meanwhile. After an error the log is read-only until [`Log::mend`] has found out
    /// what is on disk: the operating system may have dropped what it could not write.
    pub fn flush(&self, now_ms: i64) -> Result<i64, StorageError> {
        let _one_at_a_time = lock(&self.flushing);
        let end = {
            let mut inner = lock(&self.inner);
            inner.last_flush_ms = now_ms;
            inner.log_end_offset
        };
        loop {
            let begun = {
                let mut inner = lock(&self.inner);
                let from = inner.recovery_point;
                self.begin(&mut inner, from, Extent::All)?
            };
            let Some(commit) = begun else {
                return Ok(lock(&self.inner).recovery_point);
            };
            let flushed = self.finish(commit)?;
            // A truncation in between may have moved the end back.
            if flushed >= end.min(lock(&self.inner).log_end_offset) {
                return Ok(flushed);
            }
        }
    }

    /// Forces the batches to disk that were appended before the call; the indexes follow with [`Log::flush`].
    /// Returns the offset up to which batches are there.
    pub fn commit(&self) -> Result<i64, StorageError> {
        let end = lock(&self.inner).log_end_offset;
        loop {
            let Some(commit) = self.begin_commit(Extent::Batches)? else {
                return Ok(lock(&self.inner).durable);
            };
            let durable = self.finish(commit)?;
            if durable >= end.min(lock(&self.inner).log_end_offset) {
                return Ok(durable);
            }
        }
    }

    /// Notes what a commit that begins now will have proven; `None` if there is nothing to prove.
    pub(super) fn begin_commit(&self, extent: Extent) -> Result<Option<Commit>, StorageError> {
        let mut inner = lock(&self.inner);
        inner.commit_queued = false;
        inner.flush_timed = false;
        inner.last_commit = Some(Instant::now());
        // Now and then the indexes go with the batches, so that a recovery never has much to read.
        if inner.tail_is_long() {
            let from = inner.recovery_point;
            return self.begin(&mut inner, from, Extent::All);
        }
        let from = inner.durable;
        self.begin(&mut inner, from, extent)
    }

    /// Takes note of what a commit has proven that was forced to disk by other means.
    pub(super) fn prove(&self, commit: &Commit) {
        let mut inner = lock(&self.inner);
        self.note(&mut inner, commit);
    }

    /// The error that everybody gets until the log was looked at.
    pub(super) fn refused(&self, inner: &Inner) -> StorageError {
        let reason = inner.trouble.as_ref().map_or("", |trouble| &trouble.reason);
        StorageError {
            action: "write",
            path: self.dir.clone(),
            source: std::io::Error::other(format!(
                "the partition is read-only since a flush has failed: {reason}"
            )),
        }
    }

    /// Makes the log read-only; says so in the program's log only once.
    pub(super) fn note_trouble(&self, inner: &mut Inner, error: &StorageError, unproven: bool) {
        let before = inner.trouble.take();
        if before
            .as_ref()
            .is_none_or(|trouble| unproven && !trouble.unproven)
        {
            tracing::error!(topic = self.topic, partition = self.partition, %error, "the partition is read-only");
        }
        if !std::mem::replace(&mut inner.listed, true) {
            lock(&self.options.troubled).push(self.me.clone());
        }
        inner.trouble = Some(Trouble {
            reason: error.to_string(),
            since_ms: before.as_ref().map_or_else(now_ms, |trouble| trouble.since_ms),
            unproven: unproven || before.is_some_and(|trouble| trouble.unproven),
        });
        self.show_trouble(inner);
        self.publish(inner);
    }

    /// Makes a log writable again that a failed write had made read-only, since another one has succeeded.
    pub(super) fn note_success(&self, inner: &mut Inner) {
        if inner.trouble.take_if(|trouble| !trouble.unproven).is_some() {
            self.show_trouble(inner);
            tracing::info!(
                topic = self.topic,
                partition = self.partition,
                "the partition can be written again"
            );
        }
    }

    fn begin(&self, inner: &mut Inner, from: i64, extent: Extent) -> Result<Option<Commit>, StorageError> {
        if inner.is_unproven() {
            return Err(self.refused(inner));
        }
        if from >= inner.log_end_offset {
            return Ok(None);
        }
        inner.unflushed_records = 0;
        let (files, end) = inner.unflushed_files(from, extent)?;
        let whole = extent == Extent::All;
        let complete = whole && end == inner.log_end_offset;
        if complete {
            inner.unflushed_bytes = 0;
        }
        let wanted = complete && !inner.producers.is_empty() && inner.snapshot != Some(end);
        let newest = inner.segments.keys().next_back().copied().unwrap_or(i64::MAX);
        Ok(Some(Commit {
            files,
            end,
            truncations: inner.truncations,
            directory_synced: inner.directory_synced,
            whole,
            snapshot: wanted.then(|| encode_snapshot(&inner.producers)),
            newest,
            names_synced: inner.names_synced >= newest,
        }))
    }

    fn finish(&self, commit: Commit) -> Result<i64, StorageError> {
        let synced = self.sync(&commit);
        let mut inner = lock(&self.inner);
        let synced = synced.and_then(|removed| match removed.iter().find(|path| inner.lacks(path)) {
            None => Ok(()),
            Some(path) => {
                let kind = std::io::ErrorKind::NotFound;
                Err(std::io::Error::new(kind, "the file was removed under the broker")).at("sync", path)
            }
        });
        if let Err(error) = synced {
            self.note_trouble(&mut inner, &error, true);
            return Err(error);
        }
        self.note(&mut inner, &commit);
        Ok(if commit.whole {
            inner.recovery_point
        } else {
            inner.durable
        })
    }

    fn write_snapshot_of(&self, commit: &Commit) {
        if let Some(content) = &commit.snapshot
            && let Err(error) = write_encoded(&self.dir, commit.end, content, &self.options.disk)
        {
            // Without it a recovery reads more of the log, and finds the same.
            tracing::warn!(log = self.name(), %error, "producer snapshot left out");
        }
    }

    fn note(&self, inner: &mut Inner, commit: &Commit) {
        // A truncation in between may have put other batches at the same offsets. And a flush that has failed meanwhile
        // has told of an error that belongs to these batches too.
        if commit.truncations != inner.truncations || inner.is_unproven() {
            return;
        }
        inner.directory_synced = true;
        inner.names_synced = inner.names_synced.max(commit.newest);
        inner.durable = inner.durable.max(commit.end);
        if commit.whole {
            inner.recovery_point = inner.recovery_point.max(commit.end);
        }
        self.write_snapshot_of(commit);
        if commit.snapshot.is_some() {
            self.keep_snapshot(inner, commit.end);
        }
        self.advance(inner);
    }

    /// Forces to disk all that is not, while nothing else happens to the log.
    pub(super) fn sync_all(&self, inner: &mut Inner) -> Result<(), StorageError> {
        let mut from = inner.recovery_point;
        while from < inner.log_end_offset {
            let (files, end) = inner.unflushed_files(from, Extent::All)?;
            for (path, file) in files {
                self.options.disk.sync(&file, &path).at("sync", &path)?;
            }
            from = end;
        }
        sync_dir(&self.dir)?;
        sync_topic_id(&self.dir, &self.options.disk)
    }

    /// Takes note of the snapshot for the recovery point, and removes the one before it.
    fn keep_snapshot(&self, inner: &mut Inner, offset: i64) {
        let before = inner.snapshot.replace(offset).filter(|before| *before < offset);
        let Some(before) = before.filter(|before| !inner.segments.contains_key(before)) else {
            return;
        };
        if let Err(error) = remove_if_there(&snapshot_path(&self.dir, before)) {
            tracing::warn!(log = self.name(), %error, "an old producer snapshot stays behind until the next start");
        }
    }

    /// Returns the segments whose files have no names any more: what is in them is on disk only until they are closed.
    fn sync(&self, commit: &Commit) -> Result<Vec<PathBuf>, StorageError> {
        let mut removed = Vec::new();
        for (path, file) in &commit.files {
            self.options.disk.sync(file, path).at("sync", path)?;
            if file.metadata().at("examine", path)?.nlink() == 0 {
                removed.push(path.clone());
            }
        }
        if !commit.names_synced {
            sync_dir(&self.dir)?;
        }
        if !commit.directory_synced {
            sync_topic_id(&self.dir, &self.options.disk)?;
        }
        Ok(removed)
    }
}

impl Inner {
    /// Whether a recovery would have much to read.
    pub(super) fn tail_is_long(&self) -> bool {
        self.unflushed_bytes >= TAIL_BYTES_MAX
    }

    /// Whether a file without a name should have one. Retention may have removed it since, and compaction puts another in
    /// its place.
    fn lacks(&self, path: &Path) -> bool {
        self.segments.values().any(|segment| segment.path() == path) && !path.exists()
    }

    /// The files of the first segments from `from` on, and the offset up to which they reach.
    fn unflushed_files(&mut self, from: i64, extent: Extent) -> Result<(Vec<NamedFile>, i64), StorageError> {
        if extent == Extent::None {
            return Ok((Vec::new(), self.log_end_offset));
        }
        let first = self
            .segments
            .range(..=from)
            .next_back()
            .map_or(i64::MIN, |(base, _)| *base);
        let mut files = Vec::new();
        if extent == Extent::All {
            files.extend(
                self.epochs
                    .file_to_sync()?
                    .map(|(path, file)| (path, Arc::new(file))),
            );
        }
        let mut segments = self.segments.range(first..).map(|(_, segment)| segment);
        for segment in segments.by_ref().take(SEGMENTS_PER_PORTION) {
            match extent {
                Extent::All => files.extend(segment.files()?),
                _ => files.push((segment.path().to_owned(), segment.handle()?)),
            }
        }
        let end = segments
            .next()
            .map_or(self.log_end_offset, |segment| segment.base_offset);
        Ok((files, end))
    }
}
