//! Answers as they come off a stream, each in memory of its own.

use std::{collections::VecDeque, io, ops::RangeInclusive};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads frames. Dropping [`Frames::next`] loses nothing: the next call goes on where it was.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    /// What was read beyond the frames so far.
    buffer: BytesMut,
    partial: Option<Partial>,
    /// Large frames that were given out: once nobody has them any more, their memory is used again. The system would have to
    /// clear new memory first, which costs as much as receiving into it.
    given_out: VecDeque<Bytes>,
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
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The correlation id, which every answer begins with.
const SIZE_MIN: usize = 4;

/// Small frames come several to a read; of a large one no more than this is copied once.
const BUFFER_BYTES: usize = 16 * 1024;

/// Memory of frames of these sizes is used again; of smaller ones it comes cheap, of larger ones too much would be held.
const KEPT_BYTES: RangeInclusive<usize> = 128 * 1024..=8 * 1024 * 1024;

/// For so many frames of a connection it is remembered that they were given out.
const KEPT: usize = 2;

impl<S: AsyncRead + Unpin> Frames<S> {
    /// Frames of at most `max_bytes`.
    pub(super) fn new(stream: S, max_bytes: usize) -> Self {
        Frames {
            stream,
            buffer: BytesMut::new(),
            partial: None,
            given_out: VecDeque::new(),
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
                    return Ok(self.give_out(whole.bytes));
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
            _ => return Err(FrameError::Size { size, max }),
        };
        self.buffer.advance(size_of::<i32>());
        let mut bytes = self.memory(size);
        bytes.extend_from_slice(&self.buffer[..size.min(self.buffer.len())]);
        self.buffer.advance(bytes.len());
        self.partial = Some(Partial { bytes, size });
        Ok(true)
    }

    /// Empty memory for a frame: some that was used before, if there is any that is large enough.
    fn memory(&mut self, size: usize) -> BytesMut {
        if !KEPT_BYTES.contains(&size) {
            return BytesMut::with_capacity(size);
        }
        let free = self.given_out.iter().position(Bytes::is_unique);
        let used = free.and_then(|place| self.given_out.remove(place));
        match used.map(Bytes::try_into_mut) {
            Some(Ok(mut bytes)) => {
                bytes.clear();
                bytes.reserve(size);
                bytes
            }
            _ => BytesMut::with_capacity(size),
        }
    }

    fn give_out(&mut self, frame: BytesMut) -> Bytes {
        let frame = frame.freeze();
        if KEPT_BYTES.contains(&frame.len()) {
            self.given_out.truncate(KEPT - 1);
            self.given_out.push_front(frame.clone());
        }
        frame
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
            let mut reader = Frames::new(far, 100_000);
            for frame in &frames {
                assert_eq!(reader.next().await.unwrap(), frame[..], "step {step}");
            }
            assert!(matches!(reader.next().await, Err(FrameError::Ended)));
        }
    }

    #[tokio::test]
    async fn the_memory_of_a_large_frame_is_used_again_when_nobody_has_it() {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let size = *KEPT_BYTES.start();
        tokio::spawn(async move {
            for number in 0..6u8 {
                near.write_all(&(size as i32).to_be_bytes()).await.unwrap();
                near.write_all(&vec![number; size]).await.unwrap();
            }
        });
        let mut reader = Frames::new(far, 1 << 20);
        let first = reader.next().await.unwrap();
        let second = reader.next().await.unwrap();
        assert_ne!(first.as_ptr(), second.as_ptr(), "somebody has it");
        let part = first.slice(5..);
        drop(first);
        let third = reader.next().await.unwrap();
        assert_ne!(
            part.as_ptr(),
            third.slice(5..).as_ptr(),
            "somebody has a part of it"
        );
        assert_eq!((part[0], second[0], third[0]), (0, 1, 2));
        let place = third.as_ptr();
        drop(third);
        let fourth = reader.next().await.unwrap();
        assert_eq!((fourth.as_ptr(), fourth[0]), (place, 3));
    }

    #[tokio::test]
    async fn sizes_that_cannot_be_are_refused_at_once() {
        for size in [-1, 0, 3, 101, i32::MAX, i32::MIN] {
            let (mut near, far) = tokio::io::duplex(64);
            near.write_all(&size.to_be_bytes()).await.unwrap();
            let outcome = Frames::new(far, 100).next().await;
            assert!(
                matches!(outcome, Err(FrameError::Size { .. })),
                "{size}: {outcome:?}"
            );
        }
    }
}
