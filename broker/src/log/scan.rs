//! Walks through the batches of a segment file.

use std::fs::File;
use std::io;

use heliostat_wire::batch::{BatchError, BatchHeader, BatchView, HEADER_SIZE};

use super::files::read_up_to;

/// How much is read at once to look at headers. Most batches' records are skipped.
const WINDOW: usize = 8 * 1024;

/// Walks from batch to batch. After an error it yields nothing more.
pub(crate) struct Scan<'a> {
    file: &'a File,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_start: u64,
    failed: bool,
}

/// Why a walk ended before the end of the file.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The file could not be read.
    Io(io::Error),
    /// At this position there is no whole, well-formed batch.
    Batch(u64, BatchError),
}

impl<'a> Scan<'a> {
    /// Walks from `position`, where a batch starts, to `end`.
    pub(crate) fn new(file: &'a File, position: u64, end: u64) -> Self {
        Scan {
            file,
            position,
            end,
            window: Vec::new(),
            window_start: 0,
            failed: false,
        }
    }

    /// The first batch that ends at or after `offset`, with its position.
    pub(crate) fn find_offset(&mut self, offset: i64) -> Result<Option<(u64, BatchHeader)>, ScanError> {
        for item in self {
            let (position, header) = item?;
            if header.last_offset() >= offset {
                return Ok(Some((position, header)));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> Result<(u64, BatchHeader), ScanError> {
        let position = self.position;
        let left = self.end.saturating_sub(position);
        let available = usize::try_from(left).unwrap_or(usize::MAX);
        let malformed = |error| ScanError::Batch(position, error);
        if available < HEADER_SIZE {
            return Err(malformed(BatchError::Truncated {
                needed: HEADER_SIZE,
                available,
            }));
        }
        let header = BatchHeader::parse(self.header_bytes()?).map_err(malformed)?;
        if header.size() > available {
            return Err(malformed(BatchError::Truncated {
                needed: header.size(),
                available,
            }));
        }
        self.position += u64::try_from(header.size()).unwrap_or(u64::MAX);
        Ok((position, header))
    }

    fn header_bytes(&mut self) -> Result<&[u8], ScanError> {
        let within = self
            .position
            .checked_sub(self.window_start)
            .and_then(|at| usize::try_from(at).ok());
        let fits = within.is_some_and(|at| at.saturating_add(HEADER_SIZE) <= self.window.len());
        if let (true, Some(at)) = (fits, within) {
            return Ok(&self.window[at..at + HEADER_SIZE]);
        }
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.window.resize(WINDOW.min(left), 0);
        let filled = read_up_to(self.file, &mut self.window, self.position).map_err(ScanError::Io)?;
        self.window.truncate(filled);
        self.window_start = self.position;
        Ok(&self.window[..filled.min(HEADER_SIZE)])
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(u64, BatchHeader), ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.position >= self.end {
            return None;
        }
        let item = self.step();
        self.failed = item.is_err();
        Some(item)
    }
}

/// Reads the whole batch whose header a [`Scan`] has found at `position`, and checks that it is still the same.
pub(crate) fn read_batch<'b>(
    file: &File,
    position: u64,
    size: usize,
    buffer: &'b mut Vec<u8>,
) -> Result<BatchView<'b>, ScanError> {
    buffer.resize(size, 0);
    let filled = read_up_to(file, buffer, position).map_err(ScanError::Io)?;
    BatchView::parse(&buffer[..filled]).map_err(|error| ScanError::Batch(position, error))
}
