//! The records of a batch of format 2, with the offsets and timestamps that a consumer sees.

use super::{
    ConvertError, ConvertReason,
    rebuild::{Item, Parts},
};
use crate::{batch::BatchHeader, record::Records};

/// The records of one batch. Refuses offsets that are not within the batch and in order.
#[derive(Debug, Clone)]
pub(super) struct BatchItems<'a> {
    header: &'a BatchHeader,
    records: Records<'a>,
    from: i64,
}

impl<'a> BatchItems<'a> {
    /// `records` are those of the batch with this header.
    pub(super) fn new(header: &'a BatchHeader, records: Records<'a>) -> Self {
        BatchItems {
            header,
            records,
            from: header.base_offset,
        }
    }
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = Result<Item<'a>, ConvertError>;

    fn next(&mut self) -> Option<Self::Item> {
        let failed = |reason: ConvertReason| {
            let error = ConvertError::new(self.header.base_offset, reason);
            Some(Err(error.before(self.header.next_offset())))
        };
        let (record, written) = match self.records.next_raw()? {
            Ok(record) => record,
            Err(error) => return failed(error.into()),
        };
        let offset = self.header.offset(record.offset_delta);
        let (from, to) = (self.from, self.header.last_offset());
        if !(from..=to).contains(&offset) {
            return failed(ConvertReason::Disorder {
                found: offset,
                from,
                to,
            });
        }
        self.from = offset.saturating_add(1);
        Some(Ok(Item {
            offset,
            timestamp: self.header.timestamp(record.timestamp_delta),
            attributes: record.attributes,
            key_value_bytes: record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len),
            parts: Parts::Written(written),
        }))
    }
}
