//! Cleaned segments take the place of those that they were made from, so that a crash at any moment leaves either.
//!
//! The files are Kafka's: a cleaned segment is written under names that end with `.cleaned`, and forced to disk. Once
//! all of its files are renamed to `.swap`, and that is on disk, it counts: the old segments are renamed to `.deleted`,
//! and when that is on disk too, the new one gets its final names. A start in between drops a `.cleaned` and finishes
//! a `.swap`. The `.log` is always renamed last, so that it stands for the others, and the `.index` first: while it is
//! called `.swap`, nothing under the final names is the new segment's.
//!
//! Any of these steps can fail while the process goes on. The segment is then part of the log as `.swap`, and remembers
//! what it replaces. It gets its final names before it, or anything beside it, is cleaned, cut or removed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::super::checkpoint::lock;
use super::super::error::{AtPath, StorageError};
use super::super::files::{Disk, open_if_there, with_suffix};
use super::super::partition::Log;
use super::super::scan::{Scan, ScanError};
use super::super::segment::{SUFFIXES, Segment, file_path, offset_of};
use super::super::snapshot::remove_snapshots;
use super::parts::Part;
use super::{CleanError, at_step, before_step};

const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
/// The `.log` comes last.
const RENAME_ORDER: [&str; 4] = [".index", ".timeindex", ".txnindex", ".log"];

impl Segment {
    /// An empty segment that is no part of the log yet.
    pub(super) fn create_cleaned(dir: &Path, base_offset: i64, disk: &Disk) -> Result<Self, StorageError> {
        remove_unused(dir, base_offset)?;
        Self::open_fresh_named(dir, base_offset, CLEANED, disk)
    }

    /// One of the segment's files, as it is named now.
    pub(in super::super) fn file_path(&self, kind: &str) -> PathBuf {
        with_suffix(&self.final_path(kind), self.suffix)
    }

    /// One of the segment's files, as it is named when nothing is going on.
    pub(in super::super) fn final_path(&self, kind: &str) -> PathBuf {
        file_path(
            self.path.parent().unwrap_or(Path::new("")),
            self.base_offset,
            kind,
        )
    }

    /// Forces all files to disk.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        SUFFIXES.into_iter().try_for_each(|kind| {
            let path = self.file_path(kind);
            let file = open_if_there(&path)?;
            file.map_or(Ok(()), |file| self.disk.sync(&file, &path).at("sync", &path))
        })
    }

    /// Removes the files of a cleaned segment that is no part of the log.
    pub(super) fn discard(&self) {
        let dir = self.path.parent().unwrap_or(Path::new(""));
        if let Err(error) = remove_unused(dir, self.base_offset) {
            tracing::warn!(%error, "a cleaned segment that is not used stays behind until the next start");
        }
    }

    /// Whether the segment still lacks its final names.
    pub(in super::super) fn is_swapped_half(&self) -> bool {
        self.suffix == SWAP
    }

    /// Gives a `.swap` segment its final names; that what it replaces has lost them must be on disk. Returns the base
    /// offsets of what it has replaced. After an error it has some of them, can be read, and this may be called again.
    pub(in super::super) fn put_in_place(&mut self) -> Result<Vec<i64>, StorageError> {
        if !self.is_swapped_half() {
            return Ok(Vec::new());
        }
        let dir = self.path.parent().unwrap_or(Path::new("")).to_owned();
        remove_left(&dir, self.base_offset, &self.replaces)?;
        self.rename("")?;
        Ok(std::mem::take(&mut self.replaces))
    }

    /// Retires the segment, and sees to it that nothing the cleaner has left comes back in its place at the next start.
    pub(in super::super) fn retire_for_good(&mut self) -> Result<Vec<PathBuf>, StorageError> {
        let dir = self.path.parent().unwrap_or(Path::new("")).to_owned();
        if self.is_swapped_half() {
            sync_dir(&dir)?;
            self.put_in_place()?;
        } else {
            SUFFIXES.into_iter().try_for_each(|kind| {
                remove_if_there(&with_suffix(&file_path(&dir, self.base_offset, kind), SWAP))
            })?;
        }
        self.retire()
    }

    /// Renames the files. After an error some have their new names, which the segment knows.
    fn rename(&mut self, suffix: &'static str) -> Result<(), StorageError> {
        for kind in RENAME_ORDER {
            let (from, to) = (self.file_path(kind), with_suffix(&self.final_path(kind), suffix));
            if !rename_if_there(&from, &to)? && kind != ".txnindex" && !to.exists() {
                return Err(std::io::ErrorKind::NotFound.into()).at("rename", &from);
            }
            match kind {
                ".index" => self.offsets.file().set_path(to),
                ".timeindex" => self.times.file().set_path(to),
                ".txnindex" => self.aborted.set_path(to),
                _ => self.path = to,
            }
        }
        self.suffix = suffix;
        Ok(())
    }
}

impl Log {
    /// Puts a cleaned segment, whose files are on disk and closed, in the place of `parts`. Readers go on meanwhile, and
    /// so do appends. `cuts` is [`Log::cuts`] from before the round began. After an error the log is as before, or the segment
    /// is part of it, but lacks its final names: see [`Log::finish_swaps`].
    pub(super) fn replace(
        &self,
        mut cleaned: Segment,
        parts: &[Part],
        cuts: u64,
        now_ms: i64,
    ) -> Result<(), CleanError> {
        let alone = lock(&self.swapping);
        if *alone != cuts || !self.has_parts(parts) {
            cleaned.discard();
            return Err(CleanError::Overtaken);
        }
        let counts = cleaned.rename(SWAP).and_then(|()| sync_dir(&self.dir));
        if let Err(error) = counts {
            cleaned.discard();
            return Err(error.into());
        }
        let base = cleaned.base_offset;
        cleaned.replaces = parts.iter().map(|part| part.base).collect();
        let due = now_ms.saturating_add(self.config().file_delete_delay_ms);
        {
            let mut inner = lock(&self.inner);
            let mut retired = Vec::new();
            // From the last to the first: whatever is left after a crash then lies within what the new one covers.
            for part in parts.iter().rev() {
                if let Some(mut old) = inner.segments.remove(&part.base) {
                    retired.extend(old.retire().map_err(|error| {
                        tracing::error!(%error, "a segment that was cleaned cannot be renamed; it is removed later");
                        error
                    }));
                }
            }
            inner.segments.insert(base, cleaned);
            inner
                .retired
                .extend(retired.into_iter().flatten().map(|path| (path, due)));
        }
        Ok(self.finish_swap(base)?)
    }

    /// Finishes what [`Log::replace`] could not finish. To be called with the right to replace segments, before anything
    /// is done to closed segments: names of a segment that is only half in its place may not be given anew.
    pub(in super::super) fn finish_swaps(&self) -> Result<(), StorageError> {
        let half = {
            // Of a log that was deleted, the directory may belong to another by now.
            let Some(inner) = self.open_inner() else {
                return Ok(());
            };
            let half = inner
                .segments
                .values()
                .filter(|segment| segment.is_swapped_half());
            half.map(|segment| segment.base_offset).collect::<Vec<_>>()
        };
        half.into_iter().try_for_each(|base| self.finish_swap(base))
    }

    /// As [`Log::finish_swaps`], for a round that is about to begin.
    pub(super) fn finish_swaps_alone(&self) -> Result<(), StorageError> {
        let _alone = lock(&self.swapping);
        self.finish_swaps()
    }

    fn finish_swap(&self, base: i64) -> Result<(), StorageError> {
        sync_dir(&self.dir)?;
        let replaced = match lock(&self.inner).segments.get_mut(&base) {
            Some(segment) => segment.put_in_place()?,
            None => Vec::new(),
        };
        remove_snapshots(&self.dir, |offset| offset != base && replaced.contains(&offset))?;
        sync_dir(&self.dir)
    }

    /// How often the log was truncated.
    pub(super) fn cuts(&self) -> u64 {
        *lock(&self.swapping)
    }

    fn has_parts(&self, parts: &[Part]) -> bool {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return false;
        };
        let Some(inner) = self.open_inner() else {
            return false;
        };
        let now = inner.segments.range(first.base..=last.base);
        now.map(|(base, segment)| (*base, segment.id))
            .eq(parts.iter().map(|part| (part.base, part.id)))
    }
}

/// Brings a directory in order in which a process has died while it replaced segments.
pub(in super::super) fn finish_swaps(dir: &Path) -> Result<(), StorageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).at("list", dir)? {
        names.extend(entry.at("list", dir)?.file_name().into_string().ok());
    }
    let base_of = |name: &str, suffix: &str| {
        let name = name.strip_suffix(suffix)?;
        SUFFIXES.iter().find_map(|kind| offset_of(name, kind))
    };
    let mut bases: Vec<i64> = names.iter().filter_map(|name| base_of(name, SWAP)).collect();
    bases.sort_unstable();
    bases.dedup();
    for base in bases {
        let incomplete = names.iter().any(|name| base_of(name, CLEANED) == Some(base));
        let log = with_suffix(&file_path(dir, base, ".log"), SWAP);
        if incomplete {
            tracing::info!(file = %log.display(), "dropping a cleaned segment that was not complete");
            for kind in SUFFIXES {
                remove_if_there(&with_suffix(&file_path(dir, base, kind), SWAP))?;
            }
            continue;
        }
        if !log.exists() {
            // Their segment has its final name already, or was dropped: nobody knows to which they belong.
            tracing::warn!(file = %log.display(), "the indexes of a cleaned segment lack it; they are made anew");
            for kind in [".index", ".timeindex", ".txnindex"] {
                remove_if_there(&with_suffix(&file_path(dir, base, kind), SWAP))?;
            }
            remove_if_there(&file_path(dir, base, ".index"))?;
            continue;
        }
        tracing::info!(file = %log.display(), "putting a cleaned segment in its place");
        let end = end_of(&log, base)?;
        let mut old: Vec<i64> = names.iter().filter_map(|name| offset_of(name, ".log")).collect();
        old.retain(|offset| *offset != base && (base..end).contains(offset));
        old.push(base);
        old.sort_unstable();
        remove_left(dir, base, &old)?;
        // That the others are gone must be on disk.
        sync_dir(dir)?;
        for kind in RENAME_ORDER {
            let path = file_path(dir, base, kind);
            rename_if_there(&with_suffix(&path, SWAP), &path)?;
        }
        sync_dir(dir)?;
    }
    Ok(())
}

/// The offset after the last batch of a segment that was complete before it got its name.
fn end_of(log: &Path, base: i64) -> Result<i64, StorageError> {
    let file = File::open(log).at("open", log)?;
    let size = file.metadata().at("examine", log)?.len();
    let mut end = base;
    for item in Scan::new(&file, 0, size) {
        match item {
            Ok((_, header)) => end = header.next_offset(),
            Err(ScanError::Io(error)) => return Err(error).at("read", log),
            Err(ScanError::Batch(position, error)) => {
                tracing::error!(file = %log.display(), position, %error, "a cleaned segment is damaged");
                break;
            }
        }
    }
    Ok(end)
}

/// Removes what is left of the segments that a cleaned one replaces, and returns when that is on disk. The cleaned one is
/// called `.swap`, and that is on disk too.
fn remove_left(dir: &Path, base: i64, replaced: &[i64]) -> Result<(), StorageError> {
    // Once the first file has its final name, so may others, which must not be taken for the old segment's.
    let is_whole = with_suffix(&file_path(dir, base, RENAME_ORDER[0]), SWAP).exists();
    let mut left = Vec::new();
    for offset in replaced
        .iter()
        .rev()
        .filter(|offset| is_whole || **offset != base)
    {
        left.extend(SUFFIXES.map(|kind| file_path(dir, *offset, kind)));
    }
    left.retain(|path| path.exists());
    if left.is_empty() {
        return Ok(());
    }
    left.iter().try_for_each(|path| remove_if_there(path))?;
    sync_dir(dir)
}

/// Removes the files of a cleaned segment that is no part of the log, whatever they are called by now.
fn remove_unused(dir: &Path, base: i64) -> Result<(), StorageError> {
    for kind in SUFFIXES {
        let path = file_path(dir, base, kind);
        remove_if_there(&with_suffix(&path, SWAP))?;
        remove_if_there(&with_suffix(&path, CLEANED))?;
    }
    Ok(())
}

/// Returns whether there was such a file.
fn rename_if_there(from: &Path, to: &Path) -> Result<bool, StorageError> {
    match before_step(from).and_then(|()| fs::rename(from, to)) {
        Ok(()) => {
            at_step(to);
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("rename", from),
    }
}

fn remove_if_there(path: &Path) -> Result<(), StorageError> {
    if !path.exists() {
        return Ok(());
    }
    before_step(path).at("remove", path)?;
    super::super::files::remove_if_there(path)?;
    at_step(path);
    Ok(())
}

fn sync_dir(dir: &Path) -> Result<(), StorageError> {
    before_step(dir).at("sync", dir)?;
    super::super::files::sync_dir(dir)
}
