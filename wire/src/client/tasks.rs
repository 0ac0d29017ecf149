//! The two tasks of a connection: one writes requests, the other reads answers and looks at the clock.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{connection::Shared, frames::Frames};

/// A broker that throttles us for more than so many times what an answer may take is asked again after that: it must not
/// be able to silence us for good.
const MUTE_MAX_TIMEOUTS: u32 = 2;

/// Requests of about this size together go to the system at once.
const WRITE_BYTES: usize = 1 << 20;

/// How many pieces go to the system at once.
const PIECES_MAX: usize = 64;

/// How often the clock is looked at while no request is out. A request that is sent meanwhile is noticed late by no more
/// than that, and by no more than a quarter of what it may take.
const IDLE_LOOK: Duration = Duration::from_secs(1);

const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// Reads answers until the connection ends, and ends it when the broker does, or when it is too late.
pub(super) async fn read<R: AsyncRead + Unpin>(shared: Arc<Shared>, mut frames: Frames<R>) {
    let look = shared.look();
    let clock = sleep_until(Instant::now() + look);
    tokio::pin!(clock);
    let reason = loop {
        tokio::select! {
            biased;
            () = shared.queue.ended().cancelled() => break "nobody uses it any more".to_owned(),
            frame = frames.next() => match frame {
                Ok(frame) => match shared.queue.answer(frame) {
                    Ok(Duration::ZERO) => {}
                    Ok(throttled) => shared.queue.mute(throttled.min(shared.mute_max())),
                    Err(error) => break error.to_string(),
                },
                Err(error) => break error.to_string(),
            },
            () = &mut clock => {
                let now = Instant::now();
                if let Some(reason) = shared.queue.expire(now) {
                    break reason;
                }
                let next = shared.queue.deadline().map_or(now + look, |deadline| deadline.min(now + look));
                clock.as_mut().reset(next);
            }
        }
    };
    debug!(node = shared.node, reason, "a connection ended");
    shared.close(&reason);
}

/// Writes requests until the connection ends, and ends it when they cannot be written.
pub(super) async fn write<W: AsyncWrite + Unpin>(shared: Arc<Shared>, mut writer: W) {
    let reason = tokio::select! {
        biased;
        () = shared.queue.ended().cancelled() => return,
        Err(error) = write_all(&shared, &mut writer) => error.to_string(),
    };
    shared.close(&reason);
}

async fn write_all<W: AsyncWrite + Unpin>(shared: &Shared, writer: &mut W) -> io::Result<()> {
    loop {
        while let Some(until) = shared.queue.muted_until() {
            sleep_until(until).await;
        }
        let pieces = shared.queue.take(WRITE_BYTES);
        if pieces.is_empty() {
            shared.queue.to_write.notified().await;
            continue;
        }
        write_pieces(writer, pieces).await?;
    }
}

async fn write_pieces<W: AsyncWrite + Unpin>(writer: &mut W, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
    while !pieces.is_empty() {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let mut written = writer.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut()
            && first.len() <= written
        {
            written -= first.len();
            pieces.pop_front();
        }
        if let Some(first) = pieces.front_mut() {
            first.advance(written);
        }
    }
    writer.flush().await
}

impl Shared {
    /// For how long the broker may take no requests at most.
    pub(super) fn mute_max(&self) -> Duration {
        self.request_timeout.saturating_mul(MUTE_MAX_TIMEOUTS)
    }

    /// How long the reader may go without a look at the clock.
    fn look(&self) -> Duration {
        IDLE_LOOK.min(self.request_timeout / 4).max(SHORTEST_LOOK)
    }
}
