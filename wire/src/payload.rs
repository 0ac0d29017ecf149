//! Bytes of a message that are passed on without being looked at: in memory, or a part of a file.

use std::{any::Any, fs::File, io, os::unix::fs::FileExt, sync::Arc};

use bytes::Bytes;

use crate::{
    buf::{Reader, Wire, Writer},
    error::DecodeError,
};

/// Opaque bytes, such as the records of an answer. What was decoded is always in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// In memory.
    Memory(Bytes),
    /// In a file, to be read when it is sent, so that the system can move it without this process ever holding it.
    File(FileSlice),
}

/// A part of a file, which must not change as long as this is there.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where the part begins.
    pub position: u64,
    /// How many bytes it has.
    pub len: usize,
    /// Whatever is to be kept as long as this is.
    pub keeps: Option<Arc<dyn Any + Send + Sync>>,
}

impl Payload {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match self {
            Payload::Memory(bytes) => bytes.len(),
            Payload::File(slice) => slice.len,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes themselves; reads them if they are in a file.
    ///
    /// # Errors
    /// If the file cannot be read, or has become shorter.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        match self {
            Payload::Memory(bytes) => Ok(bytes),
            Payload::File(slice) => slice.read(),
        }
    }

    /// Several of them, one after the other.
    ///
    /// # Errors
    /// As [`Payload::into_bytes`].
    pub fn join(pieces: Vec<Payload>) -> io::Result<Bytes> {
        let pieces: io::Result<Vec<Bytes>> = pieces.into_iter().map(Payload::into_bytes).collect();
        Ok(pieces?.concat().into())
    }
}

impl Default for Payload {
    fn default() -> Self {
        Payload::Memory(Bytes::new())
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Payload::Memory(bytes)
    }
}

impl FileSlice {
    /// Reads all of it.
    ///
    /// # Errors
    /// If the file cannot be read, or has become shorter.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut buffer = vec![0; self.len];
        self.file.read_exact_at(&mut buffer, self.position)?;
        Ok(buffer.into())
    }

    /// Leaves out the first `bytes` of it, which must not be more than there are.
    pub fn advance(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.len -= bytes;
    }
}

/// The same part of the same open file.
impl PartialEq for FileSlice {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && (self.position, self.len) == (other.position, other.len)
    }
}

impl Eq for FileSlice {}

/// As [`Bytes`]: empty is never written as null.
impl Wire for Payload {
    fn encode(&self, w: &mut Writer) {
        Self::encode_nullable(Some(self), w);
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        Bytes::decode(r).map(Payload::Memory)
    }

    fn encode_nullable(value: Option<&Self>, w: &mut Writer) {
        w.put_bytes_length(value.map(Payload::len));
        if let Some(value) = value {
            w.put_payload(value);
        }
    }

    fn decode_nullable(r: &mut Reader) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::decode_nullable(r)?.map(Payload::Memory))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_part_of_a_file_is_written_as_its_bytes() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let slice = FileSlice {
            file: Arc::new(file),
            position: 3,
            len: 4,
            keeps: None,
        };
        let mut w = Writer::new(0, true);
        Payload::File(slice.clone()).encode(&mut w);
        w.put_i8(9);
        assert_eq!(w.written(), 6);
        assert_eq!(Payload::join(w.finish().unwrap()).unwrap(), b"\x053456\x09"[..]);
        let mut later = slice.clone();
        later.advance(3);
        assert_eq!(later.read().unwrap(), b"6"[..]);
        assert_ne!(later, slice);
    }

    #[test]
    fn a_file_that_has_become_shorter_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        let slice = FileSlice {
            file: Arc::new(file),
            position: 0,
            len: 4,
            keeps: None,
        };
        assert!(Payload::File(slice).into_bytes().is_err());
    }
}
