//! The segments that the cleaner works on, as they are when it begins. Retention, truncation and deletion go on
//! meanwhile: whatever has changed when its turn comes ends the round.

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::error::{AtPath, StorageError};
use super::super::partition::Log;
use super::CleanError;

/// One closed segment.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) base: i64,
    /// See [`Segment::id`](super::super::segment::Segment).
    pub(super) id: u64,
    pub(super) size: u64,
    pub(super) index_bytes: u64,
    pub(super) time_index_bytes: u64,
    /// Where the next segment starts.
    pub(super) end: i64,
}

impl Log {
    /// The closed segments that hold offsets from `from` to before `to`.
    pub(super) fn parts(&self, from: i64, to: i64) -> Result<Vec<Part>, CleanError> {
        let mut inner = self.open_inner().ok_or(CleanError::Overtaken)?;
        let first = inner
            .segments
            .range(..=from)
            .next_back()
            .map_or(from, |(base, _)| *base);
        let mut parts: Vec<Part> = Vec::new();
        for (base, segment) in inner.segments.range_mut(first..) {
            if let Some(last) = parts.last_mut() {
                last.end = *base;
            }
            if *base >= to {
                return Ok(parts);
            }
            if segment.is_swapped_half() {
                // Its names are taken by what would be made of it.
                return Err(CleanError::Overtaken);
            }
            parts.push(Part {
                base: *base,
                id: segment.id,
                size: segment.size(),
                index_bytes: segment.offsets.file().size(),
                time_index_bytes: segment.times.file().size(),
                end: i64::MAX,
            });
        }
        // The active segment, which is the last one, is never cleaned.
        parts.pop();
        Ok(parts)
    }

    /// The file of a part, and where to begin in it to find `offset`.
    pub(super) fn open_part(&self, part: &Part, offset: i64) -> Result<(Arc<File>, u64), CleanError> {
        let inner = self.open_inner().ok_or(CleanError::Overtaken)?;
        let segment = inner
            .segments
            .get(&part.base)
            .filter(|segment| segment.id == part.id);
        let segment = segment.ok_or(CleanError::Overtaken)?;
        Ok((segment.handle()?, segment.floor_position(offset)?))
    }
}

/// When the file was written to last.
pub(super) fn modified(file: &File, part: &Part) -> Result<SystemTime, StorageError> {
    let path = format!("{:020}.log", part.base);
    file.metadata()
        .and_then(|found| found.modified())
        .at("examine", path.as_ref())
}

/// Groups of neighbours that may become one segment, as Kafka forms them: together they hold no more bytes than
/// a segment may, and their offsets fit an index. `end` is where the last part ends.
pub(super) fn group(parts: Vec<Part>, segment_bytes: u64, index_bytes: u64, end: i64) -> Vec<Vec<Part>> {
    let mut groups: Vec<Vec<Part>> = Vec::new();
    let mut sums = [0u64; 3];
    for part in parts {
        let sizes = [part.size, part.index_bytes, part.time_index_bytes];
        let together = [0, 1, 2].map(|i| sums[i].saturating_add(sizes[i]));
        let last_offset = part.end.min(end.max(part.base + 1)) - 1;
        let fits = together[0] <= segment_bytes && together[1] <= index_bytes && together[2] <= index_bytes;
        let group = groups.last_mut().filter(|group| {
            let base = group.first().map_or(part.base, |first: &Part| first.base);
            fits && (part.size == 0 || last_offset - base <= i64::from(i32::MAX))
        });
        match group {
            Some(group) => {
                group.push(part);
                sums = together;
            }
            None => {
                groups.push(vec![part]);
                sums = sizes;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(base: i64, end: i64, size: u64) -> Part {
        Part {
            base,
            id: 0,
            size,
            index_bytes: size / 10,
            time_index_bytes: size / 10,
            end,
        }
    }

    fn bases(groups: &[Vec<Part>]) -> Vec<Vec<i64>> {
        groups
            .iter()
            .map(|group| group.iter().map(|part| part.base).collect())
            .collect()
    }

    #[test]
    fn neighbours_are_merged_as_far_as_a_segment_may_be_large() {
        let parts = || {
            vec![
                part(0, 10, 400),
                part(10, 20, 600),
                part(20, 30, 1),
                part(30, 40, 2_000),
                part(40, 50, 10),
            ]
        };
        assert_eq!(
            bases(&group(parts(), 1_000, 1_000, 50)),
            [vec![0, 10], vec![20], vec![30], vec![40]]
        );
        assert_eq!(
            bases(&group(parts(), 10_000, 99, 50)),
            [vec![0], vec![10, 20], vec![30], vec![40]]
        );
        assert_eq!(
            bases(&group(parts(), 10_000, 1_000, 50)),
            [vec![0, 10, 20, 30, 40]]
        );
    }

    #[test]
    fn offsets_of_a_group_fit_an_index() {
        let far = i64::from(i32::MAX);
        let parts = || vec![part(5, 10, 1), part(10, far + 6, 1), part(far + 6, far + 9, 1)];
        assert_eq!(
            bases(&group(parts(), 100, 100, far + 9)),
            [vec![5, 10], vec![far + 6]]
        );
        let empty = vec![part(5, 10, 1), part(10, far + 90, 0)];
        assert_eq!(bases(&group(empty, 100, 100, far + 90)), [vec![5, 10]]);
    }
}
