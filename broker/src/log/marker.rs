//! Transaction markers: the control batches with which a coordinator ends a transaction in a partition.

use heliostat_wire::batch::{BatchError, BatchView, NO_SEQUENCE, TimestampType};
use heliostat_wire::builder::{BatchBuilder, NewRecord};

/// The end of one producer's transaction, as a coordinator asks a partition to write it down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whose transaction it is.
    pub producer_id: i64,
    /// The producer's epoch. Since transaction version 2 it is larger than the epoch of the transaction's batches.
    pub producer_epoch: i16,
    /// Whether the transaction was committed; otherwise it was aborted.
    pub commit: bool,
    /// How often the coordinator has been moved or restarted; an older one is refused.
    pub coordinator_epoch: i32,
    /// What the producer's generation promises: from 2 on, every marker has a larger epoch than the batches before it
    /// (KIP-890), and one that has not is refused.
    pub transaction_version: i16,
}

/// What a marker in the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MarkerRecord {
    pub(crate) commit: bool,
    pub(crate) coordinator_epoch: i32,
}

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

impl Marker {
    /// The control batch, for offset 0.
    pub(crate) fn encode(&self, timestamp_type: TimestampType, now_ms: i64) -> Result<Vec<u8>, BatchError> {
        let kind = if self.commit { COMMIT } else { ABORT };
        let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
        let value = [
            &VERSION.to_be_bytes()[..],
            &self.coordinator_epoch.to_be_bytes()[..],
        ]
        .concat();
        let mut batch = BatchBuilder::new()
            .producer(self.producer_id, self.producer_epoch, NO_SEQUENCE)
            .transactional()
            .control();
        if timestamp_type == TimestampType::LogAppendTime {
            batch = batch.log_append_time(now_ms);
        }
        batch.push(NewRecord {
            timestamp: now_ms,
            key: Some(&key),
            value: Some(&value),
            headers: &[],
        });
        batch.build()
    }
}

impl MarkerRecord {
    /// Reads a control batch. `None` if it is no marker: there are other control records.
    pub(crate) fn decode(batch: &BatchView<'_>) -> Option<Self> {
        let bytes = batch.decompress(super::validate::MAX_DECOMPRESSED_BYTES).ok()?;
        let record = batch.records(&bytes).next()?.ok()?;
        let [version_high, version_low, kind_high, kind_low] = *record.key?.first_chunk::<4>()?;
        let commit = match i16::from_be_bytes([kind_high, kind_low]) {
            ABORT => false,
            COMMIT => true,
            _ => return None,
        };
        let value = record
            .value
            .filter(|_| i16::from_be_bytes([version_high, version_low]) >= 0)?;
        let coordinator_epoch = i32::from_be_bytes(*value.get(2..)?.first_chunk()?);
        Some(MarkerRecord {
            commit,
            coordinator_epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Apache Kafka 4.2 writes them at offset 5, with leader epoch 3.
    #[test]
    fn markers_have_kafkas_bytes() {
        let kafkas = [
            "0000000000000005000000420000000302253b5fdb0030000000000000018bcfe568000000018bcfe568000000000000000fa00007ffffffff000000012000000008000000000c00000000000c00",
            "0000000000000005000000420000000302d10589930030000000000000018bcfe568000000018bcfe568000000000000000fa00007ffffffff000000012000000008000000010c00000000000c00",
        ];
        for (commit, expected) in [false, true].into_iter().zip(kafkas) {
            let marker = Marker {
                producer_id: 4_000,
                producer_epoch: 7,
                commit,
                coordinator_epoch: 12,
                transaction_version: 0,
            };
            let mut bytes = marker
                .encode(TimestampType::CreateTime, 1_700_000_000_000)
                .unwrap();
            let mut batch = heliostat_wire::batch::BatchMut::parse(&mut bytes).unwrap();
            batch.set_base_offset(5);
            batch.set_partition_leader_epoch(3);
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        for commit in [true, false] {
            let marker = Marker {
                producer_id: 4_000,
                producer_epoch: 7,
                commit,
                coordinator_epoch: 12,
                transaction_version: 2,
            };
            for kind in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                let bytes = marker.encode(kind, 1_700_000_000_000).unwrap();
                let batch = BatchView::parse(&bytes).unwrap();
                batch.check_crc().unwrap();
                let header = batch.header();
                assert!(header.is_control() && header.is_transactional());
                assert_eq!((header.producer_id, header.producer_epoch), (4_000, 7));
                assert_eq!(
                    (header.base_sequence, header.max_timestamp),
                    (-1, 1_700_000_000_000)
                );
                assert_eq!(header.timestamp_type(), kind);
                let read = MarkerRecord::decode(&batch).unwrap();
                assert_eq!((read.commit, read.coordinator_epoch), (commit, 12));
            }
        }
    }
}
