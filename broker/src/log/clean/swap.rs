//! Cleaned segments take the place of those that they were made from, so that a crash at any moment leaves either.
//!
//! The files are Kafka's: a cleaned segment is written under names that end with `.cleaned`, and forced to disk. Once
//! all of its files are renamed to `.swap`, and that is on disk, it counts: the old segments are renamed to `.deleted`,
//! and when that is on disk too, the new one gets its final names. A start in between drops a `.cleaned` and finishes
//! a `.swap`. The `.log` is always renamed last, so that it stands for the others.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::super::checkpoint::lock;
use super::super::error::{AtPath, StorageError};
use super::super::files::{Disk, open_if_there, remove_if_there, sync_dir, with_suffix};
use super::super::partition::Log;
use super::super::scan::{Scan, ScanError};
use super::super::segment::{SUFFIXES, Segment, file_path, offset_of};
use super::super::snapshot::remove_snapshots;
use super::parts::Part;
use super::{CleanError, at_step};

const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
/// The `.log` comes last.
const RENAME_ORDER: [&str; 4] = [".index", ".timeindex", ".txnindex", ".log"];

impl Segment {
    /// An empty segment that is no part of the log yet.
    pub(super) fn create_cleaned(dir: &Path, base_offset: i64, disk: &Disk) -> Result<Self, StorageError> {
        for kind in SUFFIXES {
            remove_if_there(&with_suffix(&file_path(dir, base_offset, kind), CLEANED))?;
        }
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

    /// Removes the files.
    pub(super) fn discard(&self) {
        for kind in SUFFIXES {
            if let Err(error) = remove_if_there(&self.file_path(kind)) {
                tracing::warn!(%error, "a cleaned segment that is not used stays behind until the next start");
            }
        }
    }

    /// Renames the files. After an error they have their old names again, as far as that is possible.
    fn rename(&mut self, suffix: &'static str) -> Result<(), StorageError> {
        let mut renamed: Vec<&str> = Vec::new();
        for kind in RENAME_ORDER {
            let (from, to) = (self.file_path(kind), with_suffix(&self.final_path(kind), suffix));
            match fs::rename(&from, &to).at("rename", &from) {
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound && kind == ".txnindex" => {}
                Err(error) => {
                    for kind in renamed {
                        let now = with_suffix(&self.final_path(kind), suffix);
                        if let Err(error) = fs::rename(&now, self.file_path(kind)).at("rename", &now) {
                            tracing::error!(%error, "a segment's files have different suffixes now");
                        }
                    }
                    return Err(error);
                }
                Ok(()) => renamed.push(kind),
            }
            at_step(&to);
        }
        self.suffix = suffix;
        self.path = self.file_path(".log");
        let (offsets, times) = (self.file_path(".index"), self.file_path(".timeindex"));
        self.offsets.file().set_path(offsets);
        self.times.file().set_path(times);
        let aborted = self.file_path(".txnindex");
        self.aborted.set_path(aborted);
        Ok(())
    }
}

impl Log {
    /// Puts a cleaned segment, whose files are on disk and closed, in the place of `parts`. Readers go on meanwhile, and
    /// so do appends. `cuts` is [`Log::cuts`] from before the round began. After an error the log is as before, unless the disk refuses to rename what was replaced: then the
    /// next start finishes it.
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
        let due = now_ms.saturating_add(self.config().file_delete_delay_ms);
        {
            let mut inner = lock(&self.inner);
            let mut retired = Vec::new();
            // From the last to the first: whatever is left after a crash then lies within what the new one covers.
            for part in parts.iter().rev() {
                if let Some(mut old) = inner.segments.remove(&part.base) {
                    retired.extend(old.retire().map_err(|error| {
                        tracing::error!(%error, "a segment that was cleaned cannot be renamed; the next start removes it");
                        error
                    }));
                }
            }
            inner.segments.insert(base, cleaned);
            inner
                .retired
                .extend(retired.into_iter().flatten().map(|path| (path, due)));
        }
        let result = self.finish_swap(base, parts);
        result.map_err(CleanError::Storage)
    }

    fn finish_swap(&self, base: i64, parts: &[Part]) -> Result<(), StorageError> {
        sync_dir(&self.dir)?;
        for part in parts.iter().filter(|part| part.base != base) {
            let left = file_path(&self.dir, part.base, ".log");
            if left.exists() {
                // Under its final name the new segment would overlap with this one after a restart.
                return Err(std::io::Error::other("it was replaced and cannot be renamed"))
                    .at("rename", &left);
            }
        }
        if let Some(segment) = lock(&self.inner).segments.get_mut(&base) {
            segment.rename("")?;
        }
        remove_snapshots(&self.dir, |offset| {
            offset != base && parts.iter().any(|part| part.base == offset)
        })?;
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
        if log.exists() {
            tracing::info!(file = %log.display(), "putting a cleaned segment in its place");
            remove_replaced(dir, base, end_of(&log, base)?, &names)?;
            sync_dir(dir)?;
        }
        for kind in RENAME_ORDER {
            let path = file_path(dir, base, kind);
            let swap = with_suffix(&path, SWAP);
            if swap.exists() {
                fs::rename(&swap, &path).at("rename", &swap)?;
                at_step(&path);
            }
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

/// Removes the segments that a cleaned one replaces, the first of which has its name.
fn remove_replaced(dir: &Path, base: i64, end: i64, names: &[String]) -> Result<(), StorageError> {
    let mut old: Vec<i64> = names.iter().filter_map(|name| offset_of(name, ".log")).collect();
    old.retain(|offset| *offset == base || (base..end).contains(offset));
    old.sort_unstable();
    for offset in old.into_iter().rev() {
        for kind in SUFFIXES {
            remove_if_there(&file_path(dir, offset, kind))?;
            at_step(dir);
        }
    }
    Ok(())
}
