//! Producer state on disk: Kafka's `<offset>.snapshot` files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use heliostat_wire::batch::NO_SEQUENCE;

use super::error::StorageError;
use super::files::{Disk, read_if_there, remove_if_there, replace, replace_unsynced};
use super::producers::{AppendedBatch, Producer, Producers};
use super::segment::{file_path, offset_of};

/// Writes the state as it is before `offset`.
pub(crate) fn write_snapshot(
    dir: &Path,
    offset: i64,
    producers: &Producers,
    disk: &Disk,
) -> Result<(), StorageError> {
    replace(disk, &file_path(dir, offset, SUFFIX), &encode(producers))
}

/// As [`write_snapshot`], for a state that was encoded before. A power cut may leave a damaged one, which is recognised
/// and done without.
pub(crate) fn write_encoded(
    dir: &Path,
    offset: i64,
    content: &[u8],
    disk: &Disk,
) -> Result<(), StorageError> {
    replace_unsynced(disk, &snapshot_path(dir, offset), content)
}

/// As [`write_snapshot`], unless there is one for that offset: the state before an offset never changes.
pub(crate) fn ensure_snapshot(
    dir: &Path,
    offset: i64,
    producers: &Producers,
    disk: &Disk,
) -> Result<(), StorageError> {
    if snapshot_path(dir, offset).exists() {
        Ok(())
    } else {
        write_snapshot(dir, offset, producers, disk)
    }
}

/// Reads the newest snapshot that is not beyond `offset` and not before `first`. A snapshot that cannot be understood
/// is removed, and an older one is taken instead. `None`: the log must be read from its start.
pub(crate) fn read_snapshot(
    dir: &Path,
    first: i64,
    offset: i64,
    now_ms: i64,
) -> Result<Option<(i64, Producers)>, StorageError> {
    let mut offsets = list_snapshots(dir);
    offsets.retain(|snapshot| (first..=offset).contains(snapshot));
    while let Some(snapshot) = offsets.pop() {
        let path = file_path(dir, snapshot, SUFFIX);
        match decode(&read_if_there(&path)?.unwrap_or_default(), now_ms) {
            Some(producers) => return Ok(Some((snapshot, producers))),
            None => {
                tracing::warn!(file = %path.display(), "producer snapshot is damaged and will be done without");
                remove_if_there(&path)?;
            }
        }
    }
    Ok(None)
}

/// The offsets of all snapshots in the directory, in ascending order.
pub(crate) fn list_snapshots(dir: &Path) -> Vec<i64> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut offsets: Vec<i64> = entries
        .filter_map(|entry| offset_of(&name(entry)?, SUFFIX))
        .collect();
    offsets.sort_unstable();
    offsets
}

/// Removes the snapshots whose offsets `doomed` names.
pub(crate) fn remove_snapshots(dir: &Path, doomed: impl Fn(i64) -> bool) -> Result<(), StorageError> {
    let mut offsets = list_snapshots(dir).into_iter().filter(|offset| doomed(*offset));
    offsets.try_for_each(|offset| remove_if_there(&snapshot_path(dir, offset)))
}

/// Where the snapshot for `offset` lies.
pub(crate) fn snapshot_path(dir: &Path, offset: i64) -> PathBuf {
    file_path(dir, offset, SUFFIX)
}

const SUFFIX: &str = ".snapshot";
const VERSION: i16 = 1;
/// Version (i16), CRC-32C of what follows it (u32), and the number of entries (i32).
const CRC_END: usize = 6;
const ENTRY_SIZE: usize = 46;

/// The content of a snapshot.
pub(crate) fn encode(producers: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    let mut count = 0i32;
    for (id, producer) in producers.iter() {
        let none = AppendedBatch {
            last_sequence: NO_SEQUENCE,
            last_offset: -1,
            offset_delta: 0,
            timestamp: -1,
        };
        let last = producer.batches.back().copied().unwrap_or(none);
        body.extend_from_slice(&id.to_be_bytes());
        body.extend_from_slice(&producer.epoch.to_be_bytes());
        body.extend_from_slice(&last.last_sequence.to_be_bytes());
        body.extend_from_slice(&last.last_offset.to_be_bytes());
        body.extend_from_slice(&last.offset_delta.to_be_bytes());
        body.extend_from_slice(&producer.last_timestamp.to_be_bytes());
        body.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
        body.extend_from_slice(&producer.transaction_start.unwrap_or(-1).to_be_bytes());
        count += 1;
    }
    let checked = [&count.to_be_bytes()[..], &body].concat();
    let crc = crc32c::crc32c(&checked);
    [&VERSION.to_be_bytes()[..], &crc.to_be_bytes(), &checked].concat()
}

fn decode(content: &[u8], now_ms: i64) -> Option<Producers> {
    let (version, rest) = content.split_first_chunk::<2>()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    let checked = content.get(CRC_END..)?;
    let sound =
        i16::from_be_bytes(*version) == VERSION && u32::from_be_bytes(*crc) == crc32c::crc32c(checked);
    let (count, entries) = checked.split_first_chunk::<4>().filter(|_| sound)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if entries.len() / ENTRY_SIZE != count || entries.len() % ENTRY_SIZE != 0 {
        return None;
    }
    let mut producers = Producers::default();
    for entry in entries.chunks_exact(ENTRY_SIZE) {
        let (id, producer) = decode_entry(entry, now_ms)?;
        producers.insert(id, producer);
    }
    Some(producers)
}

fn decode_entry(entry: &[u8], now_ms: i64) -> Option<(i64, Producer)> {
    let (id, rest) = entry.split_first_chunk()?;
    let (epoch, rest) = rest.split_first_chunk()?;
    let (last_sequence, rest) = rest.split_first_chunk()?;
    let (last_offset, rest) = rest.split_first_chunk()?;
    let (offset_delta, rest) = rest.split_first_chunk()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (coordinator_epoch, rest) = rest.split_first_chunk()?;
    let (transaction_start, _) = rest.split_first_chunk()?;
    let last = AppendedBatch {
        last_sequence: i32::from_be_bytes(*last_sequence),
        last_offset: i64::from_be_bytes(*last_offset),
        offset_delta: i32::from_be_bytes(*offset_delta),
        timestamp: i64::from_be_bytes(*timestamp),
    };
    let batches = if last.last_offset >= 0 {
        VecDeque::from([last])
    } else {
        VecDeque::new()
    };
    let producer = Producer {
        epoch: i16::from_be_bytes(*epoch),
        batches,
        last_timestamp: last.timestamp,
        coordinator_epoch: i32::from_be_bytes(*coordinator_epoch),
        transaction_start: Some(i64::from_be_bytes(*transaction_start)).filter(|offset| *offset >= 0),
        // Snapshots do not say when; a producer gets its full time again rather than none.
        last_seen_ms: now_ms,
    };
    Some((i64::from_be_bytes(*id), producer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Apache Kafka 4.2 after its console producer had sent six records.
    const KAFKA_SNAPSHOT: [u8; 56] = [
        0, 1, 0xd5, 0x9b, 0x15, 0x4b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0,
        0, 5, 0, 0, 0, 5, 0, 0, 1, 0xa1, 0xfd, 0xff, 0x76, 0x0c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff,
    ];

    #[test]
    fn a_snapshot_that_kafka_wrote_is_read_and_written_alike() {
        let producers = decode(&KAFKA_SNAPSHOT, 0).unwrap();
        let (id, producer) = producers.iter().next().unwrap();
        assert_eq!((id, producer.epoch, producer.transaction_start), (0, 0, None));
        let last = producer.batches.back().unwrap();
        assert_eq!(
            (last.last_sequence, last.first_offset(), last.last_offset),
            (5, 0, 5)
        );
        assert_eq!(encode(&producers), KAFKA_SNAPSHOT);
    }

    #[test]
    fn a_damaged_snapshot_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let good = decode(&KAFKA_SNAPSHOT, 0).unwrap();
        write_snapshot(dir.path(), 10, &good, &Disk::default()).unwrap();
        write_snapshot(dir.path(), 20, &good, &Disk::default()).unwrap();
        write_snapshot(dir.path(), 30, &good, &Disk::default()).unwrap();
        for at in 0..KAFKA_SNAPSHOT.len() {
            let mut bytes = KAFKA_SNAPSHOT;
            bytes[at] ^= 1;
            assert!(decode(&bytes, 0).is_none(), "byte {at}");
            assert!(decode(&KAFKA_SNAPSHOT[..at], 0).is_none(), "length {at}");
        }
        std::fs::write(snapshot_path(dir.path(), 20), [0; 30]).unwrap();
        assert_eq!(read_snapshot(dir.path(), 0, 29, 0).unwrap().unwrap().0, 10);
        assert_eq!(list_snapshots(dir.path()), [10, 30]);
        assert!(read_snapshot(dir.path(), 11, 29, 0).unwrap().is_none());
        remove_snapshots(dir.path(), |offset| offset > 10).unwrap();
        assert_eq!(list_snapshots(dir.path()), [10]);
    }
}
