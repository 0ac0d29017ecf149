//! What Kafka checks in a batch before it may enter a log, in Kafka's order, and what it changes in it.

use heliostat_wire::batch::{
    BatchError, BatchHeader, BatchMut, BatchView, Batches, NO_TIMESTAMP, TimestampType,
};
use heliostat_wire::compression::CompressionError;

use super::error::{AppendError, RecordProblem};
use super::inflate::inflate;
use super::settings::LogConfig;

/// The most that a batch may grow to when it is decompressed. Kafka has no such limit; without one, a few bytes from
/// the network could take all memory.
pub const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

/// A few kilobytes may decompress to millions of bad records; not each of them needs a message.
const MAX_RECORD_PROBLEMS: usize = 1000;

/// A batch that may be appended once its producer's state allows it. Base offset and leader epoch are still to be set.
#[derive(Debug)]
pub(crate) struct ValidBatch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: BatchHeader,
}

/// Checks what a producer has sent, and brings it into the form in which the topic stores it.
pub(crate) fn validate(records: &[u8], config: &LogConfig, now_ms: i64) -> Result<ValidBatch, AppendError> {
    let batch = single_batch(records)?;
    let header = *batch.header();
    if header.base_offset != 0 {
        return Err(invalid(format!(
            "base offset of a produced batch must be 0, not {}",
            header.base_offset
        )));
    }
    check_size(batch.bytes(), config)?;
    batch.check_crc().map_err(AppendError::Corrupt)?;
    check_header(&header)?;
    let inflated = inflate(&batch).map_err(|error| match error {
        BatchError::Compression(CompressionError::TooLarge { .. }) => {
            AppendError::TooLarge(error.to_string())
        }
        other => invalid(other.to_string()),
    })?;
    let max_timestamp = check_records(&batch, &inflated, config, now_ms)?;
    let bytes = stored_form(&batch, config, max_timestamp)?;
    drop(inflated);
    let header = *BatchView::parse(&bytes).map_err(AppendError::Corrupt)?.header();
    Ok(ValidBatch { bytes, header })
}

fn invalid(reason: impl Into<String>) -> AppendError {
    AppendError::InvalidRecord(reason.into())
}

fn not_one(reason: impl Into<String>) -> AppendError {
    AppendError::NotOneBatch(reason.into())
}

/// Whether there is one batch, of a magic that can be written, as far as that shows without looking into it.
pub fn is_one_batch(records: &[u8]) -> bool {
    single_batch(records).is_ok()
}

/// Produce allows exactly one batch. The beginning of another one behind it is dropped, as Kafka does.
fn single_batch(records: &[u8]) -> Result<BatchView<'_>, AppendError> {
    let mut batches = Batches::new(records);
    let batch = match batches.next() {
        Some(Ok(batch)) => batch,
        Some(Err(error @ BatchError::Magic { magic: 0..=1, .. })) => return Err(not_one(error.to_string())),
        Some(Err(error)) => return Err(AppendError::Corrupt(error)),
        None => {
            return Err(not_one(
                "a produce request must hold a whole record batch per partition",
            ));
        }
    };
    match batches.next() {
        Some(_) => Err(not_one(
            "a produce request must hold no more than one record batch per partition",
        )),
        None => Ok(batch),
    }
}

fn check_size(batch: &[u8], config: &LogConfig) -> Result<(), AppendError> {
    if u64::try_from(batch.len()).unwrap_or(u64::MAX) > config.max_message_bytes {
        return Err(AppendError::TooLarge(format!(
            "record batch of {} bytes is larger than max.message.bytes, {}",
            batch.len(),
            config.max_message_bytes
        )));
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), AppendError> {
    let offsets = i64::from(header.last_offset_delta) + 1;
    if offsets <= 0 {
        return Err(invalid(format!(
            "record batch has a last offset delta of {}",
            header.last_offset_delta
        )));
    }
    if header.records_count <= 0 {
        return Err(invalid(format!(
            "record batch has a record count of {}",
            header.records_count
        )));
    }
    if offsets != i64::from(header.records_count) {
        return Err(invalid(format!(
            "record batch has a record count of {} for {offsets} offsets",
            header.records_count
        )));
    }
    if header.is_control() {
        return Err(invalid("clients must not write control batches"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(invalid(format!(
            "record batch of producer {} has the sequence number {}",
            header.producer_id, header.base_sequence
        )));
    }
    Ok(())
}

/// Looks at every record, and returns the largest timestamp. One bad record refuses the batch; all are named, within
/// reason.
fn check_records(
    batch: &BatchView<'_>,
    bytes: &[u8],
    config: &LogConfig,
    now_ms: i64,
) -> Result<i64, AppendError> {
    let header = batch.header();
    let mut max_timestamp = NO_TIMESTAMP;
    let mut count = 0i32;
    let (mut errors, mut timestamp_error) = (Vec::new(), false);
    for record in batch.records(bytes) {
        let record = record.map_err(|error| invalid(error.to_string()))?;
        let mut problem = |message: String| {
            if errors.len() < MAX_RECORD_PROBLEMS {
                errors.push(RecordProblem {
                    batch_index: count,
                    message,
                });
            }
        };
        if record.offset_delta != count {
            problem(format!(
                "its offset delta is {}, and {count} was expected",
                record.offset_delta
            ));
        }
        let keyless = config.compact && record.key.is_none();
        if keyless {
            problem("records of a compacted topic must have a key".to_owned());
        }
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        let create_time = config.timestamp_type == TimestampType::CreateTime;
        // Kafka does not look at the time of a record that is refused for its key.
        let looked_at = create_time && !keyless;
        if let Some(message) = timestamp_problem(timestamp, config, now_ms).filter(|_| looked_at) {
            timestamp_error = true;
            problem(message);
        }
        max_timestamp = max_timestamp.max(timestamp);
        count += 1;
    }
    if count != header.records_count {
        return Err(invalid(format!(
            "record batch holds {count} records and promises {}",
            header.records_count
        )));
    }
    if !errors.is_empty() {
        return Err(AppendError::InvalidRecords {
            timestamp: timestamp_error,
            errors,
        });
    }
    Ok(match config.timestamp_type {
        TimestampType::CreateTime => max_timestamp,
        TimestampType::LogAppendTime => now_ms,
    })
}

fn timestamp_problem(timestamp: i64, config: &LogConfig, now_ms: i64) -> Option<String> {
    if timestamp == NO_TIMESTAMP {
        return None;
    }
    let behind = now_ms.saturating_sub(timestamp) > config.timestamp_before_max_ms;
    let ahead = timestamp.saturating_sub(now_ms) > config.timestamp_after_max_ms;
    (behind || ahead).then(|| {
        format!(
            "its timestamp {timestamp} is out of range, which is {} ms before to {} ms after the broker's time {now_ms}",
            config.timestamp_before_max_ms, config.timestamp_after_max_ms
        )
    })
}

/// The topic's codec, its timestamp type, and the true largest timestamp.
fn stored_form(
    batch: &BatchView<'_>,
    config: &LogConfig,
    max_timestamp: i64,
) -> Result<Vec<u8>, AppendError> {
    let header = batch.header();
    let codec = header.compression().map_err(|error| invalid(error.to_string()))?;
    let mut bytes = match config.compression {
        Some(wanted) if wanted != codec => {
            let rebuilt = batch.recompress(wanted, config.level(wanted), MAX_DECOMPRESSED_BYTES);
            let rebuilt = rebuilt.map_err(|error| invalid(error.to_string()))?;
            check_size(&rebuilt, config)?;
            rebuilt
        }
        _ => batch.bytes().to_vec(),
    };
    let as_it_is = header.timestamp_type() == config.timestamp_type
        && header.max_timestamp == max_timestamp
        && header.delete_horizon().is_none();
    if !as_it_is {
        let mut batch = BatchMut::parse(&mut bytes).map_err(AppendError::Corrupt)?;
        batch.clear_delete_horizon();
        batch.set_max_timestamp(config.timestamp_type, max_timestamp);
        batch.seal();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use heliostat_wire::builder::{BatchBuilder, NewRecord};
    use heliostat_wire::compression::Compression;
    use proptest::prelude::*;

    const NOW: i64 = 1_700_000_000_000;

    fn builder(count: usize) -> BatchBuilder {
        let mut builder = BatchBuilder::new();
        for i in 0..count {
            let timestamp = NOW - i64::try_from(i).unwrap();
            builder.push(NewRecord {
                timestamp,
                key: Some(b"k"),
                value: Some(&[b'v'; 50]),
                headers: &[],
            });
        }
        builder
    }

    fn code(records: &[u8], config: &LogConfig) -> i16 {
        validate(records, config, NOW).map_or_else(|error| error.code().code(), |_| 0)
    }

    /// A valid batch with bytes overwritten, and sealed again.
    fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut batch = builder(3).build().unwrap();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        BatchMut::parse(&mut batch).unwrap().seal();
        batch
    }

    #[test]
    fn a_good_batch_passes_as_it_is() {
        let config = LogConfig::default();
        for codec in Compression::ALL {
            let batch = builder(3).compression(codec, None).build().unwrap();
            assert_eq!(validate(&batch, &config, NOW).unwrap().bytes, batch, "{codec}");
        }
    }

    #[test]
    fn each_defect_has_kafkas_error() {
        let config = LogConfig::default();
        let good = builder(3).build().unwrap();
        let two = [good.clone(), good.clone()].concat();
        let mut torn = good.clone();
        *torn.last_mut().unwrap() ^= 1;
        let mut old = good.clone();
        old[16] = 1;
        let cases: [(&str, Vec<u8>, i16); 13] = [
            ("no batch", Vec::new(), 87),
            ("two batches", two.clone(), 87),
            ("one and a half", two[..good.len() + 70].to_vec(), 0),
            ("half a batch", good[..70].to_vec(), 87),
            ("old format", old, 87),
            ("base offset", patched(0, &5i64.to_be_bytes()), 87),
            ("checksum", torn, 2),
            ("no records", patched(57, &0i32.to_be_bytes()), 87),
            ("count", patched(57, &2i32.to_be_bytes()), 87),
            ("last offset delta", patched(23, &(-1i32).to_be_bytes()), 87),
            ("count and delta", patched(23, &[0, 0, 0, 3, 0, 0]), 87),
            ("control", builder(3).control().build().unwrap(), 87),
            ("no sequence", builder(3).producer(4, 0, -1).build().unwrap(), 87),
        ];
        for (what, bytes, expected) in cases {
            assert_eq!(code(&bytes, &config), expected, "{what}");
        }
    }

    #[test]
    fn size_counts_as_it_is_compressed() {
        let plain = builder(100).build().unwrap();
        let packed = builder(100).compression(Compression::Zstd, None).build().unwrap();
        let limit = u64::try_from(packed.len()).unwrap();
        let config = LogConfig {
            max_message_bytes: limit,
            ..LogConfig::default()
        };
        assert_eq!((code(&packed, &config), code(&plain, &config)), (0, 10));
        let config = LogConfig {
            compression: Some(Compression::None),
            ..config
        };
        assert_eq!(
            code(&packed, &config),
            10,
            "too large once it is stored as the topic wants it"
        );
    }

    #[test]
    fn the_topics_codec_is_applied() {
        for wanted in Compression::ALL {
            let config = LogConfig {
                compression: Some(wanted),
                ..LogConfig::default()
            };
            for sent in Compression::ALL {
                let valid =
                    validate(&builder(9).compression(sent, None).build().unwrap(), &config, NOW).unwrap();
                assert_eq!(valid.header.compression(), Ok(wanted));
                let batch = BatchView::parse(&valid.bytes).unwrap();
                batch.check_crc().unwrap();
                let plain = builder(9).build().unwrap();
                assert_eq!(&*batch.decompress(10_000).unwrap(), &plain[61..]);
            }
        }
    }

    #[test]
    fn timestamps_are_kept_in_range_and_the_largest_is_true() {
        let config = LogConfig {
            timestamp_before_max_ms: 1000,
            ..LogConfig::default()
        };
        let at = |timestamp| {
            let mut builder = BatchBuilder::new();
            builder.push(NewRecord {
                timestamp,
                ..NewRecord::default()
            });
            code(&builder.build().unwrap(), &config)
        };
        assert_eq!(
            (
                at(NOW - 1000),
                at(NOW - 1001),
                at(NOW + 3_600_000),
                at(NOW + 3_600_001)
            ),
            (0, 32, 0, 32)
        );
        assert_eq!((at(-1), at(i64::MIN), at(i64::MAX)), (0, 32, 32));
        let lying = patched(35, &(NOW + 99).to_be_bytes());
        assert_eq!(validate(&lying, &config, NOW).unwrap().header.max_timestamp, NOW);
        let stamped = builder(3).log_append_time(5).build().unwrap();
        let valid = validate(&stamped, &config, NOW).unwrap();
        assert_eq!(
            (valid.header.timestamp_type(), valid.header.max_timestamp),
            (TimestampType::CreateTime, NOW)
        );
        BatchView::parse(&valid.bytes).unwrap().check_crc().unwrap();
    }

    #[test]
    fn log_append_time_stamps_the_batch_whatever_its_records_say() {
        let config = LogConfig {
            timestamp_type: TimestampType::LogAppendTime,
            timestamp_before_max_ms: 0,
            ..LogConfig::default()
        };
        let valid = validate(&builder(3).build().unwrap(), &config, NOW + 7_000_000).unwrap();
        assert_eq!(valid.header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(valid.header.max_timestamp, NOW + 7_000_000);
        BatchView::parse(&valid.bytes).unwrap().check_crc().unwrap();
    }

    #[test]
    fn every_record_without_a_key_is_named_on_a_compacted_topic() {
        let config = LogConfig {
            compact: true,
            ..LogConfig::default()
        };
        let mut batch = builder(2);
        batch.push(NewRecord {
            timestamp: NOW,
            ..NewRecord::default()
        });
        batch.push(NewRecord {
            timestamp: NOW,
            key: Some(b""),
            ..NewRecord::default()
        });
        batch.push(NewRecord {
            timestamp: NOW,
            ..NewRecord::default()
        });
        let Err(AppendError::InvalidRecords {
            timestamp: false,
            errors,
        }) = validate(&batch.build().unwrap(), &config, NOW)
        else {
            panic!("records without a key were taken");
        };
        assert_eq!(
            errors.iter().map(|error| error.batch_index).collect::<Vec<_>>(),
            [2, 4]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_panic(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
            codec in 0usize..5,
        ) {
            let mut bytes = builder(4).compression(Compression::ALL[codec], None).build().unwrap();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let _ = validate(&bytes, &LogConfig::default(), NOW);
            if let Ok(mut batch) = BatchMut::parse(&mut bytes) {
                batch.seal();
            }
            if let Ok(valid) = validate(&bytes, &LogConfig::default(), NOW) {
                BatchView::parse(&valid.bytes).unwrap().check_crc().unwrap();
            }
        }
    }
}
