//! Messages of format 0 and 1, as logs from before Kafka 0.11 still hold them, as records.
//!
//! A message is `offset i64 | size i32 | crc u32 | magic i8 | attributes i8 | timestamp i64 (format 1) | key | value`, with
//! CRC-32 from the magic on, and key and value each behind a length of 32 bits, which is -1 for null. A compressed
//! message holds others in its value. Inner offsets are those of the log in format 0; in format 1 they count from
//! what makes the last of them the offset of the outer message.

use std::borrow::Cow;

use super::{
    ConvertError, MessageError, lz4,
    rebuild::{Item, Parts},
};
use crate::{
    batch::NO_TIMESTAMP,
    compression::{self, Compression},
};

/// Bytes of a message's offset and size.
pub(super) const LOG_OVERHEAD: usize = 12;
/// The smallest size that the size field can give: that of an empty message of format 0.
pub(super) const MIN_SIZE: usize = 14;

/// One whole message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) offset: i64,
    pub(super) magic: i8,
    /// Bytes that it takes, with its offset and size.
    pub(super) size: usize,
    attributes: u8,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
}

/// Messages, one after another, as records: those of an answer, or those of a compressed message.
#[derive(Debug, Clone)]
pub(super) struct Messages<'a> {
    bytes: &'a [u8],
    /// What is added to their offsets.
    base: i64,
    /// The outer message's timestamp, if a broker has stamped it: it holds for all of them.
    stamp: Option<i64>,
    /// The offset that the next must have at least, and the one that none may go beyond.
    from: i64,
    to: i64,
}

/// The messages within a compressed one, decompressed and checked.
#[derive(Debug)]
pub(super) struct Inner<'a> {
    bytes: Cow<'a, [u8]>,
    base: i64,
    stamp: Option<i64>,
    offset: i64,
}

impl<'a> Message<'a> {
    /// Takes the first message of `bytes`, which holds it whole.
    pub(super) fn parse(bytes: &'a [u8], verify: bool) -> Result<Message<'a>, MessageError> {
        let mut fields = Fields(bytes);
        let offset = i64::from_be_bytes(fields.array("offset")?);
        let size = fields.size("size")?;
        let mut fields = Fields(fields.0.get(..size).ok_or(MessageError::Length("size"))?);
        let stored = u32::from_be_bytes(fields.array("checksum")?);
        if verify {
            let computed = crc32(fields.0);
            if computed != stored {
                return Err(MessageError::Crc { stored, computed });
            }
        }
        let [magic, attributes] = fields.array("format")?;
        let timestamp = match magic {
            0 => NO_TIMESTAMP,
            _ => i64::from_be_bytes(fields.array("timestamp")?),
        };
        let key = fields.nullable("key")?;
        let value = fields.nullable("value")?;
        if !fields.0.is_empty() {
            return Err(MessageError::Length("end"));
        }
        Ok(Message {
            offset,
            magic: i8::from_be_bytes([magic]),
            size: LOG_OVERHEAD + size,
            attributes,
            timestamp,
            key,
            value,
        })
    }

    /// How what it holds is compressed; [`Compression::None`] if it is a record itself.
    pub(super) fn compression(&self) -> Result<Compression, compression::CompressionError> {
        Compression::from_attributes(i16::from(self.attributes & 0x07))
    }

    /// What a compressed message holds, decompressed to at most `limit` bytes.
    pub(super) fn inner(&self, limit: usize, verify: bool) -> Result<Inner<'a>, ConvertError> {
        let failed = |reason: super::ConvertReason| {
            ConvertError::new(self.offset, reason).before(self.offset.saturating_add(1))
        };
        let broken = |error: MessageError| failed(error.into());
        let codec = self.compression().map_err(|e| failed(e.into()))?;
        let value = self.value.ok_or_else(|| broken(MessageError::Empty))?;
        let bytes = match codec {
            Compression::Lz4 => {
                let mended = lz4::with_header_checksum(value);
                let plain = compression::decompress(codec, &mended, limit).map_err(|e| failed(e.into()))?;
                Cow::Owned(plain.into_owned())
            }
            codec => compression::decompress(codec, value, limit).map_err(|e| failed(e.into()))?,
        };
        let last = self.check_inner(&bytes, verify).map_err(broken)?;
        let base = match self.magic {
            0 => 0,
            _ => self.offset.saturating_sub(last),
        };
        Ok(Inner {
            bytes,
            base,
            stamp: (self.magic > 0 && self.attributes & STAMPED_BIT != 0).then_some(self.timestamp),
            offset: self.offset,
        })
    }

    /// The offset of the last inner message.
    fn check_inner(&self, mut bytes: &[u8], verify: bool) -> Result<i64, MessageError> {
        let mut last = None;
        while !bytes.is_empty() {
            let message = Message::parse(bytes, verify)?;
            if message.magic != self.magic {
                let (outer, inner) = (self.magic, message.magic);
                return Err(MessageError::Mixed { outer, inner });
            }
            if message.attributes & CODEC_BITS != 0 {
                return Err(MessageError::Nested);
            }
            last = Some(message.offset);
            bytes = &bytes[message.size..];
        }
        last.ok_or(MessageError::Empty)
    }
}

impl Inner<'_> {
    pub(super) fn messages(&self) -> Messages<'_> {
        Messages {
            bytes: &self.bytes,
            base: self.base,
            stamp: self.stamp,
            from: 0,
            to: self.offset.min(LAST_OFFSET),
        }
    }
}

impl<'a> Messages<'a> {
    /// Messages that are not compressed and that have been checked.
    pub(super) fn checked(bytes: &'a [u8]) -> Self {
        Messages {
            bytes,
            base: 0,
            stamp: None,
            from: 0,
            to: LAST_OFFSET,
        }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Item<'a>, ConvertError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let message = match Message::parse(self.bytes, false) {
            Ok(message) => message,
            Err(error) => {
                self.bytes = &[];
                return Some(Err(ConvertError::new(self.from, error)));
            }
        };
        self.bytes = &self.bytes[message.size..];
        let offset = self.base.saturating_add(message.offset);
        let (from, to) = (self.from, self.to);
        if !(from..=to).contains(&offset) {
            self.bytes = &[];
            let reason = super::ConvertReason::Disorder {
                found: offset,
                from,
                to,
            };
            return Some(Err(ConvertError::new(from, reason)));
        }
        self.from = offset.saturating_add(1);
        Some(Ok(Item {
            offset,
            timestamp: self.stamp.unwrap_or(message.timestamp),
            attributes: 0,
            key_value_bytes: message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len),
            parts: Parts::Plain(message.key, message.value),
        }))
    }
}

/// The last offset behind which there is another one.
const LAST_OFFSET: i64 = i64::MAX - 1;

/// Which attribute bits name the codec, and which says that a broker has stamped the message.
const CODEC_BITS: u8 = 0x07;
const STAMPED_BIT: u8 = 0x08;

/// What of a message has not been read yet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], MessageError> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(MessageError::Length(what))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn size(&mut self, what: &'static str) -> Result<usize, MessageError> {
        usize::try_from(i32::from_be_bytes(self.array(what)?)).map_err(|_| MessageError::Length(what))
    }

    fn nullable(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, MessageError> {
        let Ok(length) = usize::try_from(i32::from_be_bytes(self.array(what)?)) else {
            return Ok(None);
        };
        let (bytes, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(MessageError::Length(what))?;
        self.0 = rest;
        Ok(Some(bytes))
    }
}

/// CRC-32 as in gzip.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
