//! Several small batches into one, so that a trickle of tiny batches does not become a trickle of tiny requests.

use super::{
    ConvertError, ConvertReason, How, Options, Ready,
    rebuild::{Item, Parts, Section},
};
use crate::{
    batch::{BatchView, HEADER_SIZE},
    compression,
};

/// Merges batches of one partition, in their order, into one. It is compressed as `options` say, or else as the first of
/// them is.
///
/// # Errors
/// [`ConvertReason::MergedTooLarge`] if they do not fit into one, which may happen though the sum of their sizes does:
/// what was small because of its codec may be larger in another.
pub fn merge(ready: &[Ready], options: &Options) -> Result<Ready, ConvertError> {
    let (first, last) = match ready {
        [] => return Err(ConvertError::new(0, ConvertReason::NothingToMerge)),
        [only] => return Ok(only.clone()),
        [first, .., last] => (first, last),
    };
    let codec = options.compression.unwrap_or(first.compression());
    let mut section = Section::default();
    for ready in ready {
        append(&mut section, ready, options)?;
    }
    let offset = first.source.first().unwrap_or(first.next);
    let failed = |reason: ConvertReason| ConvertError::new(offset, reason);
    let packed = compression::compress(codec, options.level, &section.bytes).map_err(|e| failed(e.into()))?;
    let size = HEADER_SIZE + packed.len();
    if size > options.max_batch_bytes {
        let limit = options.max_batch_bytes;
        return Err(failed(ConvertReason::MergedTooLarge { size, limit }));
    }
    let mut merged = section
        .ready(codec, &packed, How::Merged)
        .map_err(|e| failed(e.into()))?;
    merged.next = last.next;
    Ok(merged)
}

fn append(section: &mut Section, ready: &Ready, options: &Options) -> Result<(), ConvertError> {
    let offset = ready.source.first().unwrap_or(ready.next);
    let failed = |reason: ConvertReason| ConvertError::new(offset, reason).before(ready.next);
    let batch = BatchView::parse(ready.bytes.as_bytes()).map_err(|e| failed(e.into()))?;
    let limit = options.max_record_section.saturating_sub(section.bytes.len());
    let plain = batch.decompress(limit).map_err(|e| failed(e.into()))?;
    let mut records = batch.records(&plain);
    for offset in ready.source.offsets() {
        // A batch that was passed has not been looked into before.
        let (record, written) = records
            .next_raw()
            .transpose()
            .map_err(|e| failed(e.into()))?
            .ok_or_else(|| {
                failed(ConvertReason::Header {
                    last_offset_delta: batch.header().last_offset_delta,
                    records: batch.header().records_count,
                })
            })?;
        section.push(&Item {
            offset,
            timestamp: batch.header().timestamp(record.timestamp_delta),
            attributes: record.attributes,
            key_value_bytes: record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len),
            parts: Parts::Written(written),
        });
    }
    Ok(())
}
