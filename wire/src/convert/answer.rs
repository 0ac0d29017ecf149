//! The batches and messages of one answer, one after another.

use bytes::Bytes;

use super::{
    Body, ConvertError, ConvertReason, Converter, Counts, How, Ready, RunList,
    aborted::Aborted,
    legacy::{LOG_OVERHEAD, MIN_SIZE, Message, Messages},
    rebuild::rebuild,
    source::BatchItems,
};
use crate::{
    batch::{BatchHeader, BatchView, MAGIC, TimestampType},
    compression::Compression,
};

/// See [`Converter::convert`].
pub(super) fn convert(
    converter: &mut Converter,
    records: &Bytes,
    aborted: &[(i64, i64)],
    into: &mut Vec<Ready>,
) -> Result<Counts, ConvertError> {
    let begun = converter.position;
    let mut answer = Answer {
        first: into.len(),
        converter,
        records,
        at: 0,
        aborted: Aborted::new(aborted),
        into,
        counts: Counts::default(),
    };
    loop {
        match answer.entry()? {
            Entry::End => break,
            Entry::Partial { needed } => {
                if answer.converter.position == begun {
                    let available = records.len();
                    return Err(ConvertError::new(
                        begun,
                        ConvertReason::Partial { needed, available },
                    ));
                }
                break;
            }
            Entry::Batch => answer.batch()?,
            Entry::Message => answer.messages()?,
        }
    }
    Ok(answer.counts())
}

struct Answer<'a> {
    converter: &'a mut Converter,
    records: &'a Bytes,
    /// What of the answer was dealt with, in bytes.
    at: usize,
    aborted: Aborted,
    into: &'a mut Vec<Ready>,
    /// How many there were before.
    first: usize,
    counts: Counts,
}

/// What comes next in an answer.
enum Entry {
    Batch,
    Message,
    Partial {
        /// Bytes that the answer would have to have.
        needed: usize,
    },
    End,
}

/// Where the format is said, in all formats.
const MAGIC_AT: usize = 16;

impl Answer<'_> {
    fn rest(&self) -> &[u8] {
        self.records.get(self.at..).unwrap_or_default()
    }

    fn entry(&self) -> Result<Entry, ConvertError> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(Entry::End);
        }
        let needed = |size: usize| self.at.saturating_add(size);
        let Some(length) = rest.get(8..).and_then(|bytes| bytes.first_chunk()) else {
            return Ok(Entry::Partial {
                needed: needed(LOG_OVERHEAD + MIN_SIZE),
            });
        };
        let length = i32::from_be_bytes(*length);
        let failed = |reason| Err(ConvertError::new(self.converter.position, reason));
        let Some(size) = usize::try_from(length).ok().filter(|length| *length >= MIN_SIZE) else {
            return failed(ConvertReason::Size(length));
        };
        let size = LOG_OVERHEAD + size;
        if rest.len() < size {
            return Ok(Entry::Partial { needed: needed(size) });
        }
        match i8::from_be_bytes([rest[MAGIC_AT]]) {
            0 | 1 => Ok(Entry::Message),
            MAGIC => Ok(Entry::Batch),
            magic => failed(ConvertReason::UnknownFormat(magic)),
        }
    }

    fn batch(&mut self) -> Result<(), ConvertError> {
        let records = self.records.slice(self.at..);
        let position = self.converter.position;
        let batch = BatchView::parse(&records).map_err(|e| ConvertError::new(position, e))?;
        let header = *batch.header();
        let offset = header.base_offset.max(position);
        let failed = |reason: ConvertReason| ConvertError::new(offset, reason);
        let possible = header.base_offset >= 0 && header.next_offset() > header.last_offset();
        if !possible || header.last_offset_delta < 0 || header.records_count < 0 {
            return Err(failed(ConvertReason::Header {
                last_offset_delta: header.last_offset_delta,
                records: header.records_count,
            }));
        }
        let next = header.next_offset();
        let size = batch.bytes().len();
        if next > position {
            if self.converter.options.verify {
                batch.check_crc().map_err(|e| failed(e.into()))?;
            }
            let epoch = header.partition_leader_epoch;
            if epoch >= 0 && self.converter.epoch != Some(epoch) {
                self.converter.epoch = Some(epoch);
                self.converter.epochs.push((epoch, offset));
            }
            self.wanted_batch(&batch, records.slice(..size)).map_err(|e| {
                let e = e.before(next);
                ConvertError {
                    offset: e.offset.max(position),
                    ..e
                }
            })?;
            self.reached(next);
        } else if batch.check_crc().is_ok() {
            // Nobody asked for it, so nobody is told what is wrong with it; but it may be a marker.
            let _ = self.aborted.covers(&batch);
        }
        self.at += size;
        Ok(())
    }

    /// A batch that ends behind the position and whose checksum holds.
    fn wanted_batch(&mut self, batch: &BatchView<'_>, bytes: Bytes) -> Result<(), ConvertError> {
        let header = batch.header();
        if self.aborted.covers(batch)? {
            self.counts.aborted += 1;
            self.counts.aborted_records += u64::try_from(header.records_count).unwrap_or(0);
            return Ok(());
        }
        if header.is_control() {
            self.counts.control += 1;
            return Ok(());
        }
        if header.records_count == 0 {
            self.counts.empty += 1;
            return Ok(());
        }
        let offset = header.base_offset;
        let options = &self.converter.options;
        let codec = header.compression().map_err(|e| ConvertError::new(offset, e))?;
        let wanted = options.compression.unwrap_or(codec);
        if self.is_whole(header) {
            if wanted == codec && bytes.len() <= options.max_batch_bytes {
                self.into.push(whole(header, *header, bytes, How::Passed));
                return Ok(());
            }
            if wanted != codec {
                let bytes = batch.recompress(wanted, options.level, options.max_record_section);
                let bytes: Bytes = bytes.map_err(|e| ConvertError::new(offset, e))?.into();
                if bytes.len() <= options.max_batch_bytes {
                    let new = BatchHeader::parse(&bytes).map_err(|e| ConvertError::new(offset, e))?;
                    self.into.push(whole(header, new, bytes, How::Recompressed));
                    return Ok(());
                }
            }
        }
        let plain = batch
            .decompress(options.max_record_section)
            .map_err(|e| ConvertError::new(offset, e))?;
        let items = BatchItems::new(header, batch.records(&plain));
        self.rebuild(items, wanted)
    }

    /// Whether a broker would take all of a batch, and all of it is wanted.
    fn is_whole(&self, header: &BatchHeader) -> bool {
        let left_out = &self.converter.left_out;
        let alone = self.converter.alone;
        i64::from(header.records_count) == i64::from(header.last_offset_delta) + 1
            && header.timestamp_type() == TimestampType::CreateTime
            && header.delete_horizon().is_none()
            && header.base_offset >= self.converter.position
            && (header.records_count == 1
                || alone.is_none_or(|alone| !(header.base_offset..header.next_offset()).contains(&alone)))
            && left_out
                .range(header.base_offset..header.next_offset())
                .next()
                .is_none()
    }

    /// Messages of format 0 or 1: a compressed one, or as many as there are that are not.
    fn messages(&mut self) -> Result<(), ConvertError> {
        let options = self.converter.options;
        let records = self.records.clone();
        let begin = self.at;
        let mut last = None;
        while let Entry::Message = self.entry()? {
            let position = self.converter.position;
            let failed = |reason: ConvertReason| ConvertError::new(position, reason);
            let message =
                Message::parse(&records[self.at..], options.verify).map_err(|e| failed(e.into()))?;
            let codec = message.compression().map_err(|e| failed(e.into()))?;
            if codec == Compression::None {
                last = Some(message.offset);
                self.at += message.size;
                continue;
            }
            if last.is_some() {
                break;
            }
            self.at += message.size;
            if message.offset >= position {
                let inner = message.inner(options.max_record_section, options.verify)?;
                self.rebuild(inner.messages(), options.compression.unwrap_or(codec))?;
                self.reached(message.offset.saturating_add(1));
            }
            return Ok(());
        }
        if let Some(last) = last {
            let codec = options.compression.unwrap_or(Compression::None);
            self.rebuild(Messages::checked(&records[begin..self.at]), codec)?;
            self.reached(last.saturating_add(1));
        }
        Ok(())
    }

    fn rebuild<'i>(
        &mut self,
        items: impl Iterator<Item = Result<super::rebuild::Item<'i>, ConvertError>> + Clone,
        codec: Compression,
    ) -> Result<(), ConvertError> {
        let Converter {
            options,
            position,
            left_out,
            alone,
            ..
        } = &*self.converter;
        let parts = match *alone {
            None => vec![i64::MIN..=i64::MAX],
            Some(alone) => vec![
                i64::MIN..=alone.saturating_sub(1),
                alone..=alone,
                alone.saturating_add(1)..=i64::MAX,
            ],
        };
        let before = self.into.len();
        let mut outcome = Ok(());
        for part in parts {
            let wanted = |offset: i64| {
                offset >= *position
                    && part.contains(&offset)
                    && (left_out.is_empty() || !left_out.contains(&offset))
            };
            outcome = rebuild(items.clone(), codec, options, &wanted, self.into);
            if outcome.is_err() {
                break;
            }
        }
        if let Err(
            error @ ConvertError {
                reason: ConvertReason::RecordTooLarge { .. },
                ..
            },
        ) = &outcome
        {
            self.reached(error.offset);
        } else if outcome.is_err() {
            self.into.truncate(before);
        }
        outcome
    }

    /// Everything before `next` is accounted for.
    fn reached(&mut self, next: i64) {
        let converter = &mut *self.converter;
        if next <= converter.position {
            return;
        }
        converter.position = next;
        if !converter.left_out.is_empty() {
            converter.left_out = converter.left_out.split_off(&next);
        }
        converter.alone = converter.alone.filter(|alone| *alone >= next);
        if let Some(last) = self.into.get_mut(self.first..).and_then(<[_]>::last_mut) {
            last.next = next;
        }
    }

    fn counts(mut self) -> Counts {
        for ready in &self.into[self.first..] {
            let count = match ready.how {
                How::Passed => &mut self.counts.passed,
                How::Split => &mut self.counts.split,
                How::Recompressed => &mut self.counts.recompressed,
                How::Rebuilt | How::Merged => &mut self.counts.rebuilt,
            };
            *count += 1;
            self.counts.records += u64::try_from(ready.records).unwrap_or(0);
        }
        self.counts
    }
}

/// A batch of which every record is taken. `header` is that of the source, `new` that of `bytes`.
fn whole(header: &BatchHeader, new: BatchHeader, bytes: Bytes, how: How) -> Ready {
    Ready {
        source: RunList::one(header.base_offset, header.records_count),
        next: header.next_offset(),
        max_timestamp: header.max_timestamp,
        records: header.records_count,
        how,
        key_value_bytes: None,
        bytes: Body::new(new, bytes),
    }
}
