//! The memory that requests take, over all connections, from the moment in which their size is known until nobody needs
//! their bytes any more.
//!
//! Small frames are free: a connection may hold one of them whatever the others do. A larger one is not read before
//! there is room for all of it, so that each that was begun can be finished, and a client that then dawdles gives way
//! when others wait.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Frames up to this size, in bytes, take no room.
pub(super) const FREE_BYTES: usize = 16 * 1024;

/// How long a frame waits for room before its connection is closed.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long a client that takes room may send nothing while others wait for it.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long it may take its time at first, and for how long it may take room at all, while others wait for it: they are to
/// get it before they have waited for too long.
const PATIENCE: Duration = Duration::from_secs(10);
const SENDING_MAX: Duration = Duration::from_secs(20);

/// Room is counted in units of this many bytes.
const UNIT_BYTES: usize = 1024;

/// Room for the requests of all connections.
#[derive(Debug)]
pub(super) struct FrameMemory {
    room: Arc<Semaphore>,
    units: u32,
    waiting: AtomicUsize,
}

/// The room of one frame.
#[derive(Debug)]
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    bytes: usize,
    since: Instant,
}

/// Bytes that keep their room until the last reference to them is dropped.
struct Counted {
    bytes: Bytes,
    _room: Room,
}

struct Waiting<'a>(&'a AtomicUsize);

impl FrameMemory {
    /// Room for this many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        FrameMemory {
            room: Arc::new(Semaphore::new(units as usize)),
            units,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Waits for room for a frame. One that is larger than all room gets all of it.
    ///
    /// # Errors
    /// If there is none for a long time.
    pub(super) async fn reserve(&self, bytes: usize) -> io::Result<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES))
            .unwrap_or(u32::MAX)
            .min(self.units);
        let _waiting = Waiting::new(&self.waiting);
        match timeout(WAIT_MAX, self.room.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Room {
                _permit: permit,
                bytes,
                since: Instant::now(),
            }),
            Ok(Err(_)) | Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "there was no room for a request of {bytes} bytes: queued.max.request.bytes is reached"
                ),
            )),
        }
    }

    /// Whether a client that has sent so many bytes of its frame has to give way to others. `is_silent` says that
    /// nothing came for [`SILENCE_MAX`].
    pub(super) fn has_to_give_way(&self, room: &Room, received: usize, is_silent: bool) -> bool {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let elapsed = room.since.elapsed();
        let expected = room.bytes as f64 * elapsed.as_secs_f64() / SENDING_MAX.as_secs_f64();
        is_silent || (elapsed > PATIENCE && (received as f64) < expected)
    }
}

impl Room {
    /// The bytes of the frame, which hold the room from now on.
    pub(super) fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Counted { bytes, _room: self })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_gets_the_room_of_who_has_finished() {
        let memory = FrameMemory::new(1 << 20);
        let first = memory.reserve(usize::MAX).await.unwrap();
        assert!(!memory.has_to_give_way(&first, 0, true), "nobody waits");
        let frame = first.with(Bytes::from_static(b"frame"));
        let part = frame.slice(1..3);
        let second = memory.reserve(600 << 10);
        tokio::pin!(second);
        let is_ready = |polled: Poll<_>| polled.is_ready();
        assert!(!is_ready(
            std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context))).await
        ));
        drop(frame);
        assert!(!is_ready(
            std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context))).await
        ));
        drop(part);
        let second = second.await.unwrap();
        let third = memory.reserve(600 << 10);
        tokio::pin!(third);
        assert!(!is_ready(
            std::future::poll_fn(|context| Poll::Ready(third.as_mut().poll(context))).await
        ));
        assert!(
            memory.has_to_give_way(&second, 0, true),
            "others wait and nothing comes"
        );
        assert!(!memory.has_to_give_way(&second, 0, false), "it has just begun");
        let later = Room {
            since: Instant::now().checked_sub(SENDING_MAX * 3 / 4).unwrap(),
            ..second
        };
        assert!(memory.has_to_give_way(&later, 300 << 10, false), "half of it");
        assert!(!memory.has_to_give_way(&later, 500 << 10, false), "most of it");
    }
}
