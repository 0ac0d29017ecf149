//! One segment: a file of batches, named after its first offset, and the two indexes beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use heliostat_wire::batch::{BatchHeader, NO_TIMESTAMP};

use super::aborted::{AbortedIndex, AbortedTransaction};
use super::error::{AtPath, StorageError};
use super::files::{Disk, open_existing, open_or_create, remove_if_there, with_suffix};
use super::index::{OffsetEntry, OffsetIndex, TimeEntry, TimeIndex, remove_damaged};
use super::scan::{Scan, ScanError};
use super::settings::LogConfig;

/// One segment of a log. Only the last one, the active segment, is written to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: i64,
    /// No two segments of a process have the same, nor does one before and after something was cut off from it.
    pub(super) id: u64,
    pub(super) path: PathBuf,
    /// What the names of its files end with: nothing, except while the cleaner is at it.
    pub(super) suffix: &'static str,
    /// What the cleaner has made it from, while files of those may still have their names: their base offsets.
    pub(super) replaces: Vec<i64>,
    pub(super) disk: Disk,
    pub(super) size: u64,
    open: Option<Arc<File>>,
    /// A failed write may have left bytes behind the end, which could not be cut off yet.
    torn: bool,
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
    /// An entry of an index was found to be wrong; [`Segment::mend_indexes`] writes them anew.
    pub(super) suspect: AtomicBool,
    pub(super) aborted: AbortedIndex,
    /// The largest timestamp so far, with the last offset of the first batch that has it.
    pub(super) largest: Option<TimeEntry>,
    /// The first batch's largest timestamp, once it is known: what segment.ms counts from.
    pub(super) first_timestamp: Option<i64>,
    pub(super) since_index_entry: u64,
    created_ms: i64,
}

/// What asks a segment whether it must be closed before a batch is appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollQuestion {
    pub(crate) batch_size: u64,
    pub(crate) batch_max_timestamp: i64,
    pub(crate) last_offset: i64,
    pub(crate) now_ms: i64,
    pub(crate) jitter_ms: i64,
}

impl Segment {
    /// Creates an empty segment that is ready for appends.
    pub(crate) fn create(
        dir: &Path,
        base_offset: i64,
        config: &LogConfig,
        disk: &Disk,
        now_ms: i64,
    ) -> Result<Self, StorageError> {
        // Whatever lies there under the same names is the rest of a roll that failed half way.
        for suffix in SUFFIXES {
            remove_if_there(&file_path(dir, base_offset, suffix))?;
        }
        let mut segment = Self::open_fresh(dir, base_offset, disk)?;
        segment.created_ms = now_ms;
        if config.preallocate {
            let file = segment.handle()?;
            let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
            let taken = rustix::fs::fallocate(&*file, flags, 0, config.segment_bytes);
            taken
                .map_err(std::io::Error::from)
                .at("allocate", &segment.path)?;
        }
        Ok(segment)
    }

    /// Opens a segment as its files are, which holds no offset from `end` on. `None` if an index is damaged or missing, and
    /// must be rebuilt.
    pub(crate) fn open(
        dir: &Path,
        base_offset: i64,
        end: i64,
        disk: &Disk,
    ) -> Result<Option<Self>, StorageError> {
        Self::open_named(dir, base_offset, end, "", disk)
    }

    /// As [`Segment::open`], of files whose names end with `suffix`.
    pub(super) fn open_named(
        dir: &Path,
        base_offset: i64,
        end: i64,
        suffix: &'static str,
        disk: &Disk,
    ) -> Result<Option<Self>, StorageError> {
        let path = with_suffix(&file_path(dir, base_offset, ".txnindex"), suffix);
        let Some(aborted) = AbortedIndex::open(&path, base_offset, end)? else {
            // It stays where it is until another takes its place: without it, the segment would pass for one in which
            // nothing was aborted.
            tracing::warn!(file = %path.display(), "index is damaged and will be rebuilt from its segment");
            return Ok(None);
        };
        Self::open_beside(aborted, dir, base_offset, suffix, disk)
    }

    /// Opens what lies beside the index of aborted transactions.
    fn open_beside(
        aborted: AbortedIndex,
        dir: &Path,
        base_offset: i64,
        suffix: &'static str,
        disk: &Disk,
    ) -> Result<Option<Self>, StorageError> {
        let file_path = |kind| with_suffix(&file_path(dir, base_offset, kind), suffix);
        let path = file_path(".log");
        let metadata = fs::metadata(&path).at("examine", &path)?;
        let size = metadata.len();
        let indexes = [file_path(".index"), file_path(".timeindex")];
        if size > 0 && indexes.iter().any(|path| !path.exists()) {
            return Ok(None);
        }
        let Some(offsets) = OffsetIndex::open(&indexes[0], base_offset, size)? else {
            return remove_damaged(&indexes[0]).map(|()| None);
        };
        let Some(times) = TimeIndex::open(&indexes[1], base_offset)? else {
            return remove_damaged(&indexes[1]).map(|()| None);
        };
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mut segment = Segment {
            base_offset,
            id: next_id(),
            path,
            suffix,
            replaces: Vec::new(),
            disk: disk.clone(),
            size,
            open: None,
            torn: false,
            largest: times.last(),
            offsets,
            times,
            suspect: AtomicBool::new(false),
            aborted,
            first_timestamp: None,
            since_index_entry: 0,
            created_ms: modified
                .and_then(|age| i64::try_from(age.as_millis()).ok())
                .unwrap_or(0),
        };
        segment.release();
        if !segment.is_last_time_right()? {
            return remove_damaged(&indexes[1]).map(|()| None);
        }
        Ok(Some(segment))
    }

    /// Opens a segment whose indexes are not to be trusted: they start empty. [`Segment::recover`] fills them, and
    /// [`Segment::set_aborted`] the one of aborted transactions.
    pub(crate) fn open_fresh(dir: &Path, base_offset: i64, disk: &Disk) -> Result<Self, StorageError> {
        Self::open_fresh_named(dir, base_offset, "", disk)
    }

    /// As [`Segment::open_fresh`], of files whose names end with `suffix`.
    pub(super) fn open_fresh_named(
        dir: &Path,
        base_offset: i64,
        suffix: &'static str,
        disk: &Disk,
    ) -> Result<Self, StorageError> {
        let file_path = |kind| with_suffix(&file_path(dir, base_offset, kind), suffix);
        for kind in [".index", ".timeindex"] {
            let path = file_path(kind);
            remove_if_there(&path)?;
            open_or_create(&path)?;
        }
        open_or_create(&file_path(".log"))?;
        let path = file_path(".index");
        // The old file keeps its name until the walk through the segment has come to its end.
        let aborted = AbortedIndex::empty(&file_path(".txnindex"));
        let mut segment = Self::open_beside(aborted, dir, base_offset, suffix, disk)?
            .ok_or_else(|| super::checkpoint::damaged(&path))?;
        segment.hold()?;
        Ok(segment)
    }

    /// Bytes of its batches.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The log file, open for reading and writing.
    pub(crate) fn handle(&self) -> Result<Arc<File>, StorageError> {
        match &self.open {
            Some(file) => Ok(Arc::clone(file)),
            // Somebody may have removed it: an empty one in its place would pass for a log that has lost its records.
            None => Ok(Arc::new(open_existing(&self.path)?)),
        }
    }

    /// Keeps the files open, for an active segment.
    pub(crate) fn hold(&mut self) -> Result<(), StorageError> {
        self.open = Some(self.handle()?);
        self.offsets.file().hold()?;
        self.times.file().hold()
    }

    /// Appends one batch, whose offsets are final. After an error the segment is as before.
    pub(crate) fn append(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        index_interval: u64,
    ) -> Result<(), StorageError> {
        let file = self.handle()?;
        if self.torn {
            file.set_len(self.size).at("truncate", &self.path)?;
            self.torn = false;
        }
        if let Err(error) = self.disk.write_all_at(&file, &self.path, batch, self.size) {
            self.torn = file.set_len(self.size).is_err();
            return Err(error).at("write", &self.path);
        }
        let position = self.size;
        self.size += len(batch);
        self.note_timestamp(header);
        if self.first_timestamp.is_none() && position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if self.since_index_entry > index_interval {
            self.index(OffsetEntry {
                offset: header.last_offset(),
                position,
            });
        }
        self.since_index_entry += len(batch);
        Ok(())
    }

    /// As [`Segment::append`], for a marker, with the transaction that it aborts. The index comes first: a marker
    /// without its entry would make aborted records look committed.
    pub(crate) fn append_marker(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        aborted: Option<&AbortedTransaction>,
        index_interval: u64,
    ) -> Result<(), StorageError> {
        if let Some(aborted) = aborted {
            self.aborted.append(&self.disk, aborted)?;
        }
        let written = self.append(batch, header, index_interval);
        if written.is_err() && aborted.is_some() {
            self.aborted.take_back();
        }
        written
    }

    /// The aborted transactions whose markers lie in this segment.
    pub(crate) fn aborted(&self) -> &AbortedIndex {
        &self.aborted
    }

    /// Replaces what is known of aborted transactions, as after a walk through the segment.
    pub(crate) fn set_aborted(&mut self, aborted: &[AbortedTransaction]) -> Result<(), StorageError> {
        self.aborted.rebuild(&self.disk, aborted)
    }

    /// As [`Segment::set_aborted`], where the first `kept` come from the index itself and not from the segment.
    pub(crate) fn extend_aborted(
        &mut self,
        aborted: &[AbortedTransaction],
        kept: usize,
    ) -> Result<(), StorageError> {
        self.aborted.rebuild(&self.disk, aborted)?;
        self.aborted.doubt(kept);
        Ok(())
    }

    /// Whether this segment must be closed before that batch is appended.
    pub(crate) fn should_roll(
        &mut self,
        config: &LogConfig,
        question: &RollQuestion,
    ) -> Result<bool, StorageError> {
        if self.size == 0 {
            return Ok(question.last_offset - self.base_offset > i64::from(i32::MAX));
        }
        let waited = match self.first_timestamp()? {
            Some(first) if first >= 0 => question.batch_max_timestamp.saturating_sub(first),
            _ => question.now_ms.saturating_sub(self.created_ms),
        };
        Ok(self.size + question.batch_size > config.segment_bytes
            || waited > config.roll_ms().saturating_sub(question.jitter_ms)
            || self.offsets.is_full(config.segment_index_bytes)
            || self.times.is_full(config.segment_index_bytes)
            || question.last_offset - self.base_offset > i64::from(i32::MAX))
    }

    /// The largest timestamp of its batches, with the last offset of the first batch that has it.
    pub(crate) fn largest(&self) -> Option<TimeEntry> {
        self.largest
    }

    /// What retention by time goes by: the largest timestamp, or the time of the last write where there is none.
    pub(crate) fn age_timestamp(&self) -> i64 {
        let written = || {
            fs::metadata(&self.path)
                .ok()?
                .modified()
                .ok()?
                .duration_since(UNIX_EPOCH)
                .ok()
        };
        match self.largest {
            Some(largest) => largest.timestamp,
            None => written()
                .and_then(|time| i64::try_from(time.as_millis()).ok())
                .unwrap_or(self.created_ms),
        }
    }

    /// Completes the time index, gives unused space back and releases the files: no append follows.
    pub(crate) fn seal(&mut self) -> Result<(), StorageError> {
        if let Some(largest) = self.largest {
            self.times.maybe_append(&self.disk, largest)?;
        }
        self.handle()?.set_len(self.size).at("truncate", &self.path)?;
        self.torn = false;
        self.offsets.file().trim()?;
        self.times.file().trim()?;
        self.aborted.trim()
    }

    /// Gives the file handles back.
    pub(crate) fn release(&mut self) {
        self.open = None;
        self.offsets.file().release();
        self.times.file().release();
        self.aborted.release();
    }

    /// The files that must be forced to disk for the segment to be there after a power cut.
    pub(crate) fn files(&self) -> Result<impl Iterator<Item = (PathBuf, Arc<File>)>, StorageError> {
        let index = |suffix: &str| self.path.with_extension(suffix);
        let files = [
            (self.path.clone(), self.handle()?),
            (index("index"), self.offsets.handle()?),
            (index("timeindex"), self.times.handle()?),
        ];
        let aborted = self.aborted.file()?.map(|file| (index("txnindex"), file));
        Ok(files.into_iter().chain(aborted))
    }

    /// Where the batches lie.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the batch that holds `offset` and all behind it; returns the offset after the last one left.
    pub(crate) fn truncate_to(&mut self, offset: i64, index_interval: u64) -> Result<i64, StorageError> {
        let file = self.handle()?;
        self.cut(self.position_of(&file, offset)?)?;
        let next_offset = self.recover(index_interval, &mut |_| ())?.next_offset;
        self.aborted.truncate_to(&self.disk, next_offset)?;
        Ok(next_offset)
    }

    /// Where the batch starts that holds `offset`, or the next one.
    pub(crate) fn position_of(&self, file: &File, offset: i64) -> Result<u64, StorageError> {
        match Scan::new(file, self.floor_position(offset)?, self.size).find_offset(offset) {
            Ok(Some((position, _))) | Err(ScanError::Batch(position, _)) => Ok(position),
            Ok(None) => Ok(self.size),
            Err(ScanError::Io(error)) => Err(error).at("read", &self.path),
        }
    }

    /// Tries whether the disk takes so many bytes more. Nothing is left of them.
    pub(crate) fn probe(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let file = self.handle()?;
        let written = self.disk.write_all_at(&file, &self.path, bytes, self.size);
        self.torn = true;
        file.set_len(self.size).at("truncate", &self.path)?;
        self.torn = false;
        written.at("write", &self.path)
    }

    /// Removes everything from `position` on. The indexes must be rebuilt after it.
    pub(crate) fn cut(&mut self, position: u64) -> Result<(), StorageError> {
        self.handle()?.set_len(position).at("truncate", &self.path)?;
        super::clean::at_step(&self.path);
        self.size = position;
        self.id = next_id();
        Ok(())
    }

    /// Renames the files, so that they are no part of the log after a crash; returns their new names. After an error
    /// the segment is still there.
    pub(crate) fn retire(&mut self) -> Result<Vec<PathBuf>, StorageError> {
        self.release();
        let mut retired = Vec::new();
        for kind in SUFFIXES {
            let path = self.file_path(kind);
            let renamed = with_suffix(&self.final_path(kind), DELETED_SUFFIX);
            let allowed = super::clean::before_step(&path);
            match allowed
                .and_then(|()| fs::rename(&path, &renamed))
                .at("rename", &path)
            {
                Ok(()) => {
                    super::clean::at_step(&renamed);
                    retired.push(renamed);
                }
                Err(error) if retired.is_empty() => return Err(error),
                Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {}
                // An index without its segment is removed at the next start.
                Err(error) => tracing::warn!(%error, "index of a deleted segment stays behind"),
            }
        }
        Ok(retired)
    }

    pub(super) fn follows(&self, header: &BatchHeader, next_offset: i64) -> bool {
        header.base_offset >= next_offset
            && header.last_offset_delta >= 0
            && header.last_offset() - self.base_offset <= i64::from(i32::MAX)
    }

    pub(super) fn note_timestamp(&mut self, header: &BatchHeader) {
        let largest = self.largest.map_or(NO_TIMESTAMP, |largest| largest.timestamp);
        if header.max_timestamp > largest {
            self.largest = Some(TimeEntry {
                timestamp: header.max_timestamp,
                offset: header.last_offset(),
            });
        }
    }

    fn index(&mut self, entry: OffsetEntry) {
        let mut written = self.offsets.append(&self.disk, entry);
        if let (Ok(()), Some(largest)) = (&written, self.largest) {
            written = self.times.maybe_append(&self.disk, largest);
        }
        match written {
            Ok(()) => self.since_index_entry = 0,
            // The batch itself is in the log; without the entry only look-ups take longer. The next batch tries again.
            Err(error) => tracing::warn!(%error, "index entry left out"),
        }
    }

    /// What segment.ms and max.compaction.lag.ms count from: the largest timestamp of the first batch.
    pub(super) fn first_timestamp(&mut self) -> Result<Option<i64>, StorageError> {
        if self.first_timestamp.is_none() && self.size > 0 {
            let file = self.handle()?;
            if let Some(Ok((_, header))) = Scan::new(&file, 0, self.size).next() {
                self.first_timestamp = Some(header.max_timestamp);
            }
        }
        Ok(self.first_timestamp)
    }
}

/// What ends the names of files that are to be removed.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

pub(super) const SUFFIXES: [&str; 4] = [".log", ".index", ".timeindex", ".txnindex"];

/// A file of the segment that starts at `base_offset`.
pub(crate) fn file_path(dir: &Path, base_offset: i64, suffix: &str) -> PathBuf {
    dir.join(format!("{base_offset:020}{suffix}"))
}

/// The offset in the name of a file with that suffix, such as `00000000000000000042.log`.
pub(crate) fn offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
