//! Frames: four bytes of size, then as many bytes.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use heliostat_wire::Payload;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    memory::{FREE_BYTES, FrameMemory, Room, SILENCE_MAX},
    transport::Transport,
};

const SIZE_BYTES: usize = 4;

/// What is read at once while little is expected. It goes through the stack, so that a client that sends nothing, or
/// only the beginning of a frame, takes no buffer.
const READ_BYTES: usize = 16 * 1024;

/// Bytes that are read ahead while a request is in progress.
const READ_AHEAD_BYTES_MAX: usize = 4 * 1024;

/// Splits a stream into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buf: BytesMut,
    size_max: usize,
    memory: Arc<FrameMemory>,
    /// The room for the frame that is being read, if it is large.
    room: Option<Room>,
}

impl FrameReader {
    /// A reader that refuses frames of more than `size_max` bytes, and reads large ones when there is room for them.
    pub(crate) fn new(size_max: usize, memory: Arc<FrameMemory>) -> Self {
        FrameReader {
            buf: BytesMut::new(),
            size_max,
            memory,
            room: None,
        }
    }

    /// Refuses frames of more than `size_max` bytes from now on.
    pub(crate) fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
    }

    /// Reads once from the stream. `None` at its end.
    ///
    /// Cancel safe: what was read is kept.
    pub(crate) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<()>> {
        let missing = match self.frame_bytes()? {
            Some(bytes) => {
                if bytes > FREE_BYTES && self.room.is_none() {
                    self.room = Some(self.memory.reserve(bytes).await?);
                }
                (SIZE_BYTES + bytes).saturating_sub(self.buf.len())
            }
            None => 0,
        };
        // Only a client that takes room has to be looked after; the others cost no timer.
        while self.room.is_some() {
            match timeout(SILENCE_MAX, self.read(stream, missing)).await {
                Ok(read) => {
                    let read = read?;
                    self.give_way(false)?;
                    return Ok((read > 0).then_some(()));
                }
                Err(_) => self.give_way(true)?,
            }
        }
        Ok((self.read(stream, missing).await? > 0).then_some(()))
    }

    /// Reads once; where much is missing, into a buffer that grows with what arrives, never with what a frame claims.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin), missing: usize) -> io::Result<usize> {
        if missing > READ_BYTES {
            self.buf.reserve(missing.min(self.buf.len().max(READ_BYTES)));
            return stream.read_buf(&mut self.buf).await;
        }
        poll_fn(|context| {
            let mut stack = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut read = ReadBuf::uninit(&mut stack);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            self.buf.extend_from_slice(read.filled());
            Poll::Ready(Ok(read.filled().len()))
        })
        .await
    }

    /// An error if others wait for the room that this frame takes, and its client is too slow.
    fn give_way(&self, is_silent: bool) -> io::Result<()> {
        match &self.room {
            Some(room) if self.memory.has_to_give_way(room, self.buf.len(), is_silent) => {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client sends its request too slowly while others wait for memory",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Reads until the stream ends or breaks. What comes beyond a little is left where it is; the stream itself then
    /// says when its other end is closed.
    ///
    /// Cancel safe: what was read is kept.
    pub(crate) async fn read_until_end(&mut self, stream: &mut impl Transport) {
        while self.buf.len() < READ_AHEAD_BYTES_MAX {
            match self.read(stream, 0).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            }
        }
        stream.closed().await;
    }

    /// Takes the next frame, without its size, if all of it has arrived.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self.frame_bytes()? {
            Some(bytes) if self.buf.len() >= SIZE_BYTES + bytes => {
                self.buf.advance(SIZE_BYTES);
                let frame = self.buf.split_to(bytes).freeze();
                if self.buf.is_empty() {
                    // What is left of the buffer is not kept for a client that may never say anything again.
                    self.buf = BytesMut::new();
                }
                Ok(Some(match self.room.take() {
                    Some(room) => room.with(frame),
                    None => frame,
                }))
            }
            _ => Ok(None),
        }
    }

    /// Whether part of a frame has arrived.
    pub(crate) fn is_within_frame(&self) -> bool {
        !self.buf.is_empty()
    }

    fn frame_bytes(&self) -> io::Result<Option<usize>> {
        let Some(&size) = self.buf.first_chunk::<SIZE_BYTES>() else {
            return Ok(None);
        };
        match usize::try_from(i32::from_be_bytes(size)) {
            Ok(size) if size <= self.size_max => Ok(Some(size)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "a frame of {} bytes was announced, more than {}",
                    u32::from_be_bytes(size),
                    self.size_max
                ),
            )),
        }
    }
}

/// The pieces of a frame, written one after the other without joining them.
#[derive(Debug)]
pub(crate) struct Pieces(VecDeque<Payload>);

/// The first pieces, as far as they are in memory.
struct InMemory<'a>(&'a mut VecDeque<Payload>);

impl Pieces {
    /// The pieces, in order.
    pub(crate) fn new(pieces: Vec<Payload>) -> Self {
        Pieces(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }

    /// Whether all of it has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes once to the stream, and returns how many bytes that were.
    ///
    /// Cancel safe: what was written is not written again.
    pub(crate) async fn write_some(&mut self, stream: &mut impl Transport) -> io::Result<usize> {
        let written = match self.0.front_mut() {
            None => return Ok(0),
            Some(Payload::Memory(_)) => stream.write_buf(&mut InMemory(&mut self.0)).await?,
            Some(Payload::File(slice)) => {
                let sent = stream.send_file(slice).await?;
                slice.advance(sent);
                if slice.len == 0 {
                    self.0.pop_front();
                }
                sent
            }
        };
        match written {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(written),
        }
    }
}

impl InMemory<'_> {
    fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter().map_while(|piece| match piece {
            Payload::Memory(bytes) => Some(bytes),
            Payload::File(_) => None,
        })
    }
}

impl Buf for InMemory<'_> {
    fn remaining(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces().next().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(self.pieces()) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(Payload::Memory(piece)) = self.0.front_mut() {
            if bytes < piece.len() {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.0.pop_front();
        }
        assert_eq!(bytes, 0, "more bytes were written than there are");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use heliostat_wire::FileSlice;

    use super::*;

    async fn frames(mut input: &[u8], size_max: usize) -> io::Result<Vec<Bytes>> {
        let mut reader = FrameReader::new(size_max, Arc::new(FrameMemory::new(1 << 20)));
        let mut frames = Vec::new();
        loop {
            while let Some(frame) = reader.next()? {
                frames.push(frame);
            }
            if reader.fill(&mut input).await?.is_none() {
                return Ok(frames);
            }
        }
    }

    #[tokio::test]
    async fn a_stream_is_split_into_frames() {
        let input = [
            &[0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9][..],
            &[0, 0, 0, 9, 1],
        ]
        .concat();
        let frames = frames(&input, 100).await.unwrap();
        assert_eq!(frames, [&[1u8, 2, 3][..], &[], &[9]]);
    }

    #[tokio::test]
    async fn a_size_that_is_negative_or_too_large_is_refused() {
        for input in [[0xff, 0xff, 0xff, 0xff], [0, 0, 0, 101]] {
            let error = frames(&input, 100).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn the_buffer_grows_with_what_arrives() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(&[0x05, 0, 0, 0, 1, 2, 3]).await.unwrap();
        let mut reader = FrameReader::new(100 << 20, Arc::new(FrameMemory::new(1 << 30)));
        reader.fill(&mut server).await.unwrap();
        assert_eq!(reader.next().unwrap(), None);
        client.write_all(&[4]).await.unwrap();
        reader.fill(&mut server).await.unwrap();
        assert!(
            reader.buf.capacity() < 4 * READ_BYTES,
            "{}",
            reader.buf.capacity()
        );
    }

    async fn written(pieces: Vec<Payload>) -> Vec<u8> {
        let (mut client, mut server) = tokio::io::duplex(5);
        let mut pieces = Pieces::new(pieces);
        let writer = tokio::spawn(async move {
            while !pieces.is_empty() {
                pieces.write_some(&mut server).await.unwrap();
            }
        });
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        writer.await.unwrap();
        all
    }

    #[tokio::test]
    async fn pieces_are_written_in_order() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"0123456789").unwrap();
        let file = Arc::new(file);
        let slice = |position, len| {
            let file = file.clone();
            Payload::File(FileSlice {
                file,
                position,
                len,
                keeps: None,
            })
        };
        let memory = |bytes: &'static [u8]| Payload::Memory(Bytes::from_static(bytes));
        let pieces = vec![
            memory(b"abc"),
            memory(b""),
            memory(b"defgh"),
            slice(1, 8),
            slice(3, 0),
            memory(b"ij"),
            slice(0, 2),
        ];
        assert_eq!(written(pieces).await, b"abcdefgh12345678ij01");
    }

    #[tokio::test]
    async fn a_file_that_has_become_shorter_is_an_error() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut pieces = Pieces::new(vec![Payload::File(FileSlice {
            file,
            position: 0,
            len: 4,
            keeps: None,
        })]);
        let (_client, mut server) = tokio::io::duplex(5);
        assert!(pieces.write_some(&mut server).await.is_err());
    }
}
