//! A checked reader and a writer for Kafka's primitive types.
//!
//! No length or count is believed before it is compared with the bytes that are there, and what a message may
//! take in memory is bounded by a multiple of its size: a few bytes that promise two thousand million elements
//! are an error, not an allocation.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    Payload, Uuid,
    error::{DecodeError, EncodeError, STRING_BYTES_MAX},
};

/// How many bytes of memory a message may take for each byte that it has on the wire.
const MEMORY_PER_WIRE_BYTE: usize = 24;

/// What any message may take, however short it is.
const MEMORY_ALLOWANCE: usize = 64 * 1024;

/// What any message may take, however long it is. Byte fields such as records are slices of the message, and do not
/// count.
const MEMORY_MAX: usize = 128 << 20;

/// How many elements all arrays of a request may have together. What is answered is in proportion to what was asked for,
/// and one element may take four bytes of a request and hundreds of the answer. A cluster of 10,000 partitions needs no
/// more than some tens of thousands.
pub const REQUEST_ELEMENTS_MAX: usize = 1 << 18;

/// Payloads of at least this many bytes are chained to a frame instead of being copied into it.
const CHAIN_BYTES_MIN: usize = 4 * 1024;

/// Reads values of one message from bytes. Strings are copied; byte fields are slices of the input.
#[derive(Debug)]
pub struct Reader {
    buf: Bytes,
    version: i16,
    flexible: bool,
    memory_left: usize,
    elements_left: usize,
}

/// Writes values of one message. Large byte fields are kept as they are, beside the rest: see [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    chunks: Vec<Payload>,
    chunked_bytes: usize,
    tail: BytesMut,
    version: i16,
    flexible: bool,
    error: Option<EncodeError>,
}

/// A value with a form on the wire; the form depends on the version, and on whether the version is flexible.
pub trait Wire: Sized {
    /// Appends the value.
    fn encode(&self, w: &mut Writer);

    /// Reads one value.
    fn decode(r: &mut Reader) -> Result<Self, DecodeError>;

    /// Appends a value that may be null. Structs have a marker byte; types with a length override this.
    fn encode_nullable(value: Option<&Self>, w: &mut Writer) {
        match value {
            None => w.put_i8(-1),
            Some(value) => {
                w.put_i8(1);
                value.encode(w);
            }
        }
    }

    /// Reads a value that may be null.
    fn decode_nullable(r: &mut Reader) -> Result<Option<Self>, DecodeError> {
        match i8::decode(r)? {
            ..0 => Ok(None),
            _ => Self::decode(r).map(Some),
        }
    }
}

impl Reader {
    /// A reader of one message, or of one part of it.
    pub fn new(buf: Bytes, version: i16, flexible: bool) -> Self {
        let memory_left = buf
            .len()
            .saturating_mul(MEMORY_PER_WIRE_BYTE)
            .saturating_add(MEMORY_ALLOWANCE)
            .min(MEMORY_MAX);
        Reader {
            buf,
            version,
            flexible,
            memory_left,
            elements_left: usize::MAX,
        }
    }

    /// The same, of a request: its arrays have at most [`REQUEST_ELEMENTS_MAX`] elements.
    pub fn of_request(buf: Bytes, version: i16, flexible: bool) -> Self {
        Reader {
            elements_left: REQUEST_ELEMENTS_MAX,
            ..Self::new(buf, version, flexible)
        }
    }

    /// The version of the message that is read.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether lengths are compact and structs end with tagged fields.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.buf.len()
    }

    /// What has not been read yet.
    pub fn into_rest(self) -> Bytes {
        self.buf
    }

    /// The next `n` bytes, without copying them.
    pub fn take(&mut self, n: usize) -> Result<Bytes, DecodeError> {
        if n > self.buf.len() {
            return Err(DecodeError::Truncated {
                wanted: n,
                left: self.buf.len(),
            });
        }
        Ok(self.buf.split_to(n))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(&bytes) = self.buf.first_chunk::<N>() else {
            return Err(DecodeError::Truncated {
                wanted: N,
                left: self.buf.len(),
            });
        };
        self.buf.advance(N);
        Ok(bytes)
    }

    /// An unsigned number of at most 32 bits, seven to a byte, least significant first.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadVarint)
    }

    /// Takes note of memory that the caller is about to use for what it reads.
    pub fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory_left = self
            .memory_left
            .checked_sub(bytes)
            .ok_or(DecodeError::TooMuchMemory)?;
        Ok(())
    }

    fn string_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            self.compact_length()
        } else {
            Ok(signed_length(i16::decode(self)?.into()))
        }
    }

    fn bytes_length(&mut self) -> Result<Option<usize>, DecodeError> {
        if self.flexible {
            self.compact_length()
        } else {
            Ok(signed_length(i32::decode(self)?))
        }
    }

    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.unsigned_varint()? as usize).checked_sub(1))
    }

    fn string(&mut self, length: usize) -> Result<String, DecodeError> {
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong { length });
        }
        let bytes = self.take(length)?;
        self.charge(length)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(DecodeError::NotUtf8),
        }
    }

    fn elements<T: Wire>(&mut self, count: usize) -> Result<Vec<T>, DecodeError> {
        // Every element takes at least one byte on the wire.
        if count > self.remaining() {
            return Err(DecodeError::Truncated {
                wanted: count,
                left: self.remaining(),
            });
        }
        self.elements_left = self
            .elements_left
            .checked_sub(count)
            .ok_or(DecodeError::TooManyElements)?;
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::decode(self)?);
        }
        Ok(elements)
    }

    /// Reads the tagged fields that end a struct. `known` is called with each tag and reads the field if it knows
    /// the tag; what it leaves unread is skipped, so unknown tags are passed over.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Reader) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            if size > self.buf.len() {
                return Err(DecodeError::Truncated {
                    wanted: size,
                    left: self.buf.len(),
                });
            }
            let rest = self.buf.split_off(size);
            let outcome = known(tag, self);
            self.buf = rest;
            outcome?;
        }
        Ok(())
    }
}

/// Classic lengths are signed: negative means null.
fn signed_length(length: i32) -> Option<usize> {
    usize::try_from(length).ok()
}

impl Writer {
    /// A writer of one message, or of one part of it.
    pub fn new(version: i16, flexible: bool) -> Self {
        Writer {
            chunks: Vec::new(),
            chunked_bytes: 0,
            tail: BytesMut::new(),
            version,
            flexible,
            error: None,
        }
    }

    /// The version of the message that is written.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether lengths are compact and structs end with tagged fields.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Changes between the flexible form and the classic one: the header of a frame may differ from its body.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        self.chunked_bytes + self.tail.len()
    }

    /// What was written, in order, in one or more pieces.
    pub fn finish(mut self) -> Result<Vec<Payload>, EncodeError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.freeze().into());
        }
        Ok(self.chunks)
    }

    /// Appends bytes as they are.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    /// Appends one byte.
    pub fn put_i8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    /// Appends a 32-bit number.
    pub fn put_i32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    /// Appends an unsigned number, seven bits to a byte, least significant first.
    pub fn put_unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    pub(crate) fn put_payload(&mut self, payload: &Payload) {
        match payload {
            Payload::Memory(bytes) if bytes.len() < CHAIN_BYTES_MIN => return self.tail.put_slice(bytes),
            payload if payload.is_empty() => return,
            _ => {}
        }
        if !self.tail.is_empty() {
            let head = self.tail.split().freeze();
            self.chunked_bytes += head.len();
            self.chunks.push(head.into());
        }
        self.chunked_bytes += payload.len();
        self.chunks.push(payload.clone());
    }

    fn put_string_length(&mut self, length: Option<usize>) {
        if self.flexible {
            return self.put_compact_length(length);
        }
        match length.map_or(Ok(-1), i16::try_from) {
            Ok(length) => self.tail.put_i16(length),
            Err(_) => self.fail(EncodeError::StringTooLong {
                length: length.unwrap_or_default(),
            }),
        }
    }

    pub(crate) fn put_bytes_length(&mut self, length: Option<usize>) {
        if self.flexible {
            return self.put_compact_length(length);
        }
        match length.map_or(Ok(-1), i32::try_from) {
            Ok(length) => self.tail.put_i32(length),
            Err(_) => self.fail(EncodeError::TooLarge {
                length: length.unwrap_or_default(),
            }),
        }
    }

    fn put_compact_length(&mut self, length: Option<usize>) {
        match length.map_or(Ok(0), |length| u32::try_from(length + 1)) {
            Ok(length) if length <= i32::MAX as u32 => self.put_unsigned_varint(length),
            _ => self.fail(EncodeError::TooLarge {
                length: length.unwrap_or_default(),
            }),
        }
    }

    fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// Writes one tagged field's value to a buffer of its own, since its size comes before it.
    pub fn tagged_field<T: Wire>(&mut self, fields: &mut Vec<(u32, Vec<Payload>)>, tag: u32, value: &T) {
        let mut inner = Writer::new(self.version, self.flexible);
        value.encode(&mut inner);
        match inner.finish() {
            Ok(chunks) => fields.push((tag, chunks)),
            Err(error) => self.fail(error),
        }
    }

    /// Appends the tagged fields that end a struct, in the order of their tags.
    pub fn put_tagged_fields(&mut self, mut fields: Vec<(u32, Vec<Payload>)>) {
        fields.sort_by_key(|(tag, _)| *tag);
        self.put_unsigned_varint(fields.len() as u32);
        for (tag, chunks) in fields {
            self.put_unsigned_varint(tag);
            self.put_unsigned_varint(chunks.iter().map(Payload::len).sum::<usize>() as u32);
            for chunk in chunks {
                self.put_payload(&chunk);
            }
        }
    }
}

macro_rules! fixed_width {
    ($($ty:ty),*) => { $(
        impl Wire for $ty {
            fn encode(&self, w: &mut Writer) {
                w.put_slice(&self.to_be_bytes());
            }

            fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
                r.array().map(<$ty>::from_be_bytes)
            }
        }
    )* };
}

fixed_width!(i8, i16, i32, i64, u16, f64);

impl Wire for bool {
    fn encode(&self, w: &mut Writer) {
        w.put_i8((*self).into());
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(i8::decode(r)? != 0)
    }
}

impl Wire for Uuid {
    fn encode(&self, w: &mut Writer) {
        w.put_slice(self.as_bytes());
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        r.array().map(Uuid::from_bytes)
    }
}

impl Wire for String {
    fn encode(&self, w: &mut Writer) {
        Self::encode_nullable(Some(self), w);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Self::decode_nullable(r)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn encode_nullable(value: Option<&Self>, w: &mut Writer) {
        w.put_string_length(value.map(String::len));
        w.put_slice(value.map_or(&[], |text| text.as_bytes()));
    }

    fn decode_nullable(r: &mut Reader) -> Result<Option<Self>, DecodeError> {
        match r.string_length()? {
            None => Ok(None),
            Some(length) => r.string(length).map(Some),
        }
    }
}

/// Records and other opaque bytes. A null is read as empty, and empty is never written as null, because clients
/// take a null record set for a broken response.
impl Wire for Bytes {
    fn encode(&self, w: &mut Writer) {
        Self::encode_nullable(Some(self), w);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self::decode_nullable(r)?.unwrap_or_default())
    }

    fn encode_nullable(value: Option<&Self>, w: &mut Writer) {
        w.put_bytes_length(value.map(Bytes::len));
        if let Some(value) = value {
            w.put_payload(&Payload::Memory(value.clone()));
        }
    }

    fn decode_nullable(r: &mut Reader) -> Result<Option<Self>, DecodeError> {
        match r.bytes_length()? {
            None => Ok(None),
            Some(length) => r.take(length).map(Some),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn encode(&self, w: &mut Writer) {
        Self::encode_nullable(Some(self), w);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Self::decode_nullable(r)?.ok_or(DecodeError::UnexpectedNull)
    }

    fn encode_nullable(value: Option<&Self>, w: &mut Writer) {
        w.put_bytes_length(value.map(Vec::len));
        for element in value.into_iter().flatten() {
            element.encode(w);
        }
    }

    fn decode_nullable(r: &mut Reader) -> Result<Option<Self>, DecodeError> {
        match r.bytes_length()? {
            None => Ok(None),
            Some(count) => r.elements(count).map(Some),
        }
    }
}

impl<T: Wire> Wire for Option<T> {
    fn encode(&self, w: &mut Writer) {
        T::encode_nullable(self.as_ref(), w);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        T::decode_nullable(r)
    }
}

#[cfg(test)]
mod tests;
