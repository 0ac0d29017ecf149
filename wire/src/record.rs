//! The records within a batch, borrowed from its decompressed bytes.
//!
//! Every length is checked before a slice is taken, and no count from the bytes decides how much memory is taken.

use thiserror::Error;

/// One record, as it lies in its batch. Keys, values and headers are slices of the batch's decompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Unused by Kafka so far; always 0 from its own clients.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp; may be negative.
    pub timestamp_delta: i64,
    /// Offsets after the batch's base offset.
    pub offset_delta: i32,
    /// The key; null is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; null (a tombstone, on a compacted topic) is not the same as empty.
    pub value: Option<&'a [u8]>,
    /// The headers, in the order in which they were written.
    pub headers: Headers<'a>,
}

/// One header of a record. Clients are asked to use UTF-8 keys, but nothing enforces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// The key. The same key may occur more than once in a record.
    pub key: &'a [u8],
    /// The value; may be null.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record: an iterator over bytes that were checked when the record was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    rest: &'a [u8],
    count: usize,
}

/// The records of one batch. After the first error it yields nothing more.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    remaining: u32,
    index: u32,
    failed: bool,
}

/// What is wrong with a record's bytes.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum RecordError {
    /// The batch ends before the record does, or before the number of records that it promises.
    #[error("record {index} is cut short")]
    Truncated {
        /// The record's place within the batch, from 0.
        index: u32,
    },
    /// A variable-length integer goes on for longer than its type can.
    #[error("record {index} holds a variable-length integer that does not end")]
    Varint {
        /// The record's place within the batch, from 0.
        index: u32,
    },
    /// A length or a count is negative where it must not be, or reaches beyond the record.
    #[error("record {index} holds a {what} that does not fit in it")]
    Length {
        /// The record's place within the batch, from 0.
        index: u32,
        /// Which length.
        what: &'static str,
    },
    /// The record's parts do not fill the length that it gives for itself.
    #[error("record {index} holds {extra} bytes more than its parts")]
    Padded {
        /// The record's place within the batch, from 0.
        index: u32,
        /// How many bytes are left over.
        extra: usize,
    },
    /// Bytes follow after the last record.
    #[error("{extra} bytes follow after the last of {count} records")]
    Trailing {
        /// How many records the batch promises.
        count: u32,
        /// How many bytes are left over.
        extra: usize,
    },
}

impl<'a> Records<'a> {
    /// Reads `count` records (the batch header's count) from decompressed bytes. A negative count is taken as 0.
    pub fn new(decompressed: &'a [u8], count: i32) -> Self {
        Records {
            rest: decompressed,
            remaining: u32::try_from(count).unwrap_or(0),
            index: 0,
            failed: false,
        }
    }

    /// How many bytes `count` records take at least, of which these are the first and at least one more follows.
    ///
    /// # Errors
    /// What is wrong with them, whatever follows.
    pub fn least_size(beginning: &'a [u8], count: i32) -> Result<u64, RecordError> {
        let mut records = Records::new(beginning, count);
        loop {
            let (index, size) = (records.index, as_u64(beginning.len() - records.rest.len()));
            if records.remaining == 0 {
                let (count, extra) = (index, records.rest.len() + 1);
                return Err(RecordError::Trailing { count, extra });
            }
            let further = u64::from(records.remaining - 1) * MIN_RECORD_SIZE;
            let mut next = Cursor {
                bytes: records.rest,
                index,
            };
            let length = match next.length("length") {
                Err(RecordError::Truncated { .. }) => 0,
                length => length?,
            };
            if length == 0 && next.bytes.is_empty() || length > next.bytes.len() {
                let claimed = size + as_u64(records.rest.len() - next.bytes.len()) + as_u64(length);
                return Ok(claimed.max(as_u64(beginning.len()) + 1) + further);
            }
            records.parse()?;
        }
    }

    /// The next record, and those of its bytes that do not depend on its place in a batch: key, value and headers.
    pub(crate) fn next_raw(&mut self) -> Option<Result<(RecordView<'a>, &'a [u8]), RecordError>> {
        if self.failed {
            return None;
        }
        if self.remaining == 0 {
            if self.index == 0 && !self.rest.is_empty() {
                self.failed = true;
                return Some(Err(RecordError::Trailing {
                    count: 0,
                    extra: self.rest.len(),
                }));
            }
            return None;
        }
        let item = self.parse();
        self.failed = item.is_err();
        Some(item)
    }

    fn parse(&mut self) -> Result<(RecordView<'a>, &'a [u8]), RecordError> {
        let index = self.index;
        let mut outer = Cursor {
            bytes: self.rest,
            index,
        };
        let length = outer.length("length")?;
        let body = outer.take(length).map_err(|_| RecordError::Truncated { index })?;
        self.rest = outer.bytes;
        let record = parse_body(&mut Cursor { bytes: body, index })?;
        self.index += 1;
        self.remaining -= 1;
        if self.remaining == 0 && !self.rest.is_empty() {
            return Err(RecordError::Trailing {
                count: self.index,
                extra: self.rest.len(),
            });
        }
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_raw()?.map(|(record, _)| record))
    }
}

impl Headers<'_> {
    /// How many headers are left.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no header is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor {
            bytes: self.rest,
            index: 0,
        };
        let header = parse_header(&mut cursor).ok()?;
        self.rest = cursor.bytes;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Appends a signed variable-length integer (zig-zag, 7 bits to a byte), as records use them.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    #[expect(clippy::cast_sign_loss, reason = "zig-zag keeps the bits, not the number")]
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low 7 bits are what is wanted"
        )]
        out.push((bits as u8 & 0x7f) | 0x80);
        bits >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80")]
    out.push(bits as u8);
}

/// How many bytes [`put_varint`] takes for a number.
pub(crate) fn varint_size(value: i64) -> usize {
    let zig_zag = (value << 1) ^ (value >> 63);
    let bits = u64::BITS - (zig_zag | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Seven parts of a byte each: length, attributes, timestamp, offset, key, value and number of headers.
const MIN_RECORD_SIZE: u64 = 7;

fn as_u64(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// What the headers' count is at most worth checking against: a header takes two bytes at the least.
const MIN_HEADER_SIZE: usize = 2;

struct Cursor<'a> {
    bytes: &'a [u8],
    index: u32,
}

impl<'a> Cursor<'a> {
    fn truncated(&self) -> RecordError {
        RecordError::Truncated { index: self.index }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| self.truncated())?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        let (first, rest) = self.bytes.split_first().ok_or_else(|| self.truncated())?;
        self.bytes = rest;
        Ok(*first)
    }

    /// `max_bytes` is 5 for an int and 10 for a long.
    #[inline]
    fn unsigned(&mut self, max_bytes: u32) -> Result<u64, RecordError> {
        // Nearly all numbers take one byte or two.
        match *self.bytes {
            [low @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(low))
            }
            [low, high @ 0..0x80, ref rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.unsigned_of_many(max_bytes),
        }
    }

    fn unsigned_of_many(&mut self, max_bytes: u32) -> Result<u64, RecordError> {
        let mut bits = 0u64;
        for place in 0..max_bytes {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << (place * 7);
            if byte & 0x80 == 0 {
                return Ok(bits);
            }
        }
        Err(RecordError::Varint { index: self.index })
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "bits beyond 32 are dropped, as Kafka does"
    )]
    fn varint(&mut self) -> Result<i32, RecordError> {
        let bits = self.unsigned(5)? as u32;
        Ok((bits >> 1) as i32 ^ -((bits & 1) as i32))
    }

    #[expect(clippy::cast_possible_wrap, reason = "zig-zag keeps the bits, not the number")]
    fn varlong(&mut self) -> Result<i64, RecordError> {
        let bits = self.unsigned(10)?;
        Ok((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    fn length(&mut self, what: &'static str) -> Result<usize, RecordError> {
        usize::try_from(self.varint()?).map_err(|_| RecordError::Length {
            index: self.index,
            what,
        })
    }

    fn slice(&mut self, what: &'static str) -> Result<&'a [u8], RecordError> {
        let length = self.length(what)?;
        self.take(length).map_err(|_| RecordError::Length {
            index: self.index,
            what,
        })
    }

    /// Any negative length means null, as in Kafka's own reader.
    fn nullable(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Err(_) => Ok(None),
            Ok(length) => self.take(length).map(Some).map_err(|_| RecordError::Length {
                index: self.index,
                what,
            }),
        }
    }
}

fn parse_body<'a>(cursor: &mut Cursor<'a>) -> Result<(RecordView<'a>, &'a [u8]), RecordError> {
    let index = cursor.index;
    let attributes = i8::from_be_bytes([cursor.byte()?]);
    let timestamp_delta = cursor.varlong()?;
    let offset_delta = cursor.varint()?;
    let placeless = cursor.bytes;
    let key = cursor.nullable("key length")?;
    let value = cursor.nullable("value length")?;
    let count = cursor.length("header count")?;
    if count > cursor.bytes.len() / MIN_HEADER_SIZE {
        return Err(RecordError::Length {
            index,
            what: "header count",
        });
    }
    let headers = Headers {
        rest: cursor.bytes,
        count,
    };
    for _ in 0..count {
        parse_header(cursor)?;
    }
    if !cursor.bytes.is_empty() {
        return Err(RecordError::Padded {
            index,
            extra: cursor.bytes.len(),
        });
    }
    let record = RecordView {
        attributes,
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
    };
    Ok((record, placeless))
}

fn parse_header<'a>(cursor: &mut Cursor<'a>) -> Result<HeaderView<'a>, RecordError> {
    let key = cursor.slice("header key length")?;
    let value = cursor.nullable("header value length")?;
    Ok(HeaderView { key, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(size: usize) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 1];
        put_varint(&mut body, i64::try_from(size).unwrap());
        body.resize(body.len() + size + 1, 0);
        let mut record = Vec::new();
        put_varint(&mut record, i64::try_from(body.len()).unwrap());
        [record, body].concat()
    }

    #[test]
    fn a_beginning_that_is_wrong_is_wrong_whatever_follows() {
        let padded = [8, 0, 0, 0, 1];
        assert!(matches!(
            Records::least_size(&padded, 3),
            Err(RecordError::Truncated { index: 0 })
        ));
        // As many as were promised end where more follows.
        let all = record(3);
        assert_eq!(
            Records::least_size(&all, 1),
            Err(RecordError::Trailing { count: 1, extra: 1 })
        );
        assert_eq!(
            Records::least_size(&[0; 9], 0),
            Err(RecordError::Trailing { count: 0, extra: 10 })
        );
    }

    #[test]
    fn promises_count() {
        let mut huge = Vec::new();
        put_varint(&mut huge, 1 << 30);
        assert_eq!(Records::least_size(&huge, 1), Ok((1 << 30) + 5));
        let all = record(3);
        let least = Records::least_size(&all, i32::MAX).unwrap();
        assert!(least > u64::from(i32::MAX.unsigned_abs()) * 6);
    }

    proptest! {
        #[test]
        fn a_good_beginning_promises_no_more_than_there_is(
            sizes in proptest::collection::vec(0usize..300, 1..20),
            cut in any::<proptest::sample::Index>(),
        ) {
            let all: Vec<u8> = sizes.iter().flat_map(|size| record(*size)).collect();
            let cut = cut.index(all.len());
            let least = Records::least_size(&all[..cut], i32::try_from(sizes.len()).unwrap()).unwrap();
            prop_assert!((as_u64(cut) + 1..=as_u64(all.len())).contains(&least));
        }
    }
}
