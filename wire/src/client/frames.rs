//! Answers as they come off a stream, each in memory of its own.

use std::{io, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::kept::Kept;

/// Reads frames. Dropping [`Frames::next`] loses nothing: the next call goes on where it was.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    /// What was read beyond the frames so far.
    buffer: BytesMut,
    partial: Option<Partial>,
    kept: Arc<Kept>,
    max_bytes: usize,
}

/// A frame that is not all there.
#[derive(Debug)]
struct Partial {
    bytes: BytesMut,
    size: usize,
}

/// Why there is no further frame.
#[derive(Debug, Error)]
pub(super) enum FrameError {
    #[error("the broker closed it")]
    Ended,
    #[error("an answer of {size} bytes was announced, where {SIZE_MIN} to {max} are possible")]
    Size { size: i32, max: usize },
    #[error(
        "its answer is a text that begins with {0}, so that it is no Kafka broker: see whether the port is the right one"
    )]
    Text(String),
    #[error(
        "it speaks TLS, and was not spoken to in TLS: see whether the port and the security settings are the right ones"
    )]
    Tls,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The correlation id, which every answer begins with.
const SIZE_MIN: usize = 4;

/// Small frames come several to a read; of a large one no more than this is copied once.
const BUFFER_BYTES: usize = 16 * 1024;

impl<S: AsyncRead + Unpin> Frames<S> {
    /// Frames of at most `max_bytes`, in memory that others of the client have used before.
    pub(super) fn new(stream: S, max_bytes: usize, kept: Arc<Kept>) -> Self {
        Frames {
            stream,
            buffer: BytesMut::new(),
            partial: None,
            kept,
            max_bytes,
        }
    }

    /// The next frame, without its size.
    pub(super) async fn next(&mut self) -> Result<Bytes, FrameError> {
        loop {
            if let Some(partial) = &mut self.partial {
                let left = partial.size - partial.bytes.len();
                if left > 0 {
                    let mut room = (&mut partial.bytes).limit(left);
                    if self.stream.read_buf(&mut room).await? == 0 {
                        return Err(FrameError::Ended);
                    }
                    continue;
                }
                if let Some(whole) = self.partial.take() {
                    return Ok(self.kept.give_out(whole.bytes));
                }
            }
            if self.begin()? {
                continue;
            }
            self.buffer.reserve(BUFFER_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(FrameError::Ended);
            }
        }
    }

    /// Starts the next frame, if its size is known. No memory is taken before the size is checked; what is taken then
    /// is not touched before the bytes arrive.
    fn begin(&mut self) -> Result<bool, FrameError> {
        let Some(size) = self.buffer.first_chunk().copied().map(i32::from_be_bytes) else {
            return Ok(false);
        };
        let max = self.max_bytes;
        let size = match usize::try_from(size) {
            Ok(size) if (SIZE_MIN..=max).contains(&size) => size,
            _ => return Err(FrameError::of(size, max)),
        };
        self.buffer.advance(size_of::<i32>());
        let mut bytes = self.kept.memory(size);
        bytes.extend_from_slice(&self.buffer[..size.min(self.buffer.len())]);
        self.buffer.advance(bytes.len());
        self.partial = Some(Partial { bytes, size });
        Ok(true)
    }
}

impl FrameError {
    /// Why a size cannot be one: mostly because it is none.
    fn of(size: i32, max: usize) -> Self {
        match size.to_be_bytes() {
            // A web server, say.
            text if text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
                FrameError::Text(String::from_utf8_lossy(&text).into_owned())
            }
            // An alert (RFC 8446, 5.1).
            [21, 3, ..] => FrameError::Tls,
            _ => FrameError::Size { size, max },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn frames_come_whole_however_they_are_cut() {
        let frames: Vec<Vec<u8>> = [4usize, 5, 20_000, 4, 70_000, 16_384, 9]
            .iter()
            .enumerate()
            .map(|(number, size)| vec![number as u8; *size])
            .collect();
        let mut wire = Vec::new();
        for frame in &frames {
            wire.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            wire.extend_from_slice(frame);
        }
        for step in [1, 3, 1000, 100_000] {
            let (mut near, far) = tokio::io::duplex(step);
            let wire = wire.clone();
            tokio::spawn(async move { near.write_all(&wire).await });
            let mut reader = Frames::new(far, 100_000, Arc::default());
            for frame in &frames {
                assert_eq!(reader.next().await.unwrap(), frame[..], "step {step}");
            }
            assert!(matches!(reader.next().await, Err(FrameError::Ended)));
        }
    }

    #[tokio::test]
    async fn other_protocols_are_named() {
        for (answer, words) in [
            (
                b"HTTP/1.1 400 Bad Request\r\n".as_slice(),
                "its answer is a text that begins with HTTP,",
            ),
            (b"<!DOCTYPE HTML>", "its answer is a text that begins with <!DO,"),
            (&[21, 3, 1, 0, 2, 2, 22], "it speaks TLS"),
        ] {
            let (mut near, far) = tokio::io::duplex(64);
            near.write_all(answer).await.unwrap();
            let error = Frames::new(far, 1 << 20, Arc::default())
                .next()
                .await
                .unwrap_err();
            assert!(error.to_string().starts_with(words), "{error}");
        }
    }

    #[tokio::test]
    async fn sizes_that_cannot_be_are_refused_at_once() {
        for size in [-1, 0, 3, 101, i32::MAX, i32::MIN] {
            let (mut near, far) = tokio::io::duplex(64);
            near.write_all(&size.to_be_bytes()).await.unwrap();
            let outcome = Frames::new(far, 100, Arc::default()).next().await;
            assert!(
                matches!(outcome, Err(FrameError::Size { .. })),
                "{size}: {outcome:?}"
            );
        }
    }
}
