//! One connection: requests are handled one at a time, and answered in their order.
//!
//! What was done may have to become durable before it is answered. The requests behind it begin meanwhile, if they are
//! of the same kind; all others wait until everything before them was answered.

use std::{collections::VecDeque, future::poll_fn, io, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    frame::{FrameReader, Pieces},
    memory::FrameMemory,
    transport::Transport,
};
use crate::{
    api::{self, Held, Later, Peer, Reply},
    broker::Broker,
    fault,
    sasl::Session,
};

/// How long a request that waits goes on after its client has closed its end: long enough to answer one that only has
/// nothing more to say.
const GONE_GRACE: Duration = Duration::from_secs(5);

/// So many answers may be waited for at the same time; the requests behind them stay in the socket. Producers have five
/// on their way, and those that fear no disorder a few more.
const UNANSWERED_MAX: usize = 64;

/// Less of an answer than this, in bytes, within `connections.max.idle.ms` counts as nothing.
const PROGRESS_BYTES_MIN: usize = 64 * 1024;

/// How often it is looked at whether others wait for the room that an answer takes.
const ROOM_CHECK: Duration = Duration::from_secs(1);

/// The server's end of a connection. Whatever reads and writes bytes can carry it.
#[derive(Debug)]
pub(crate) struct Connection {
    broker: Arc<Broker>,
    peer: Peer,
    drain: CancellationToken,
    memory: Arc<FrameMemory>,
}

impl Connection {
    pub(super) fn new(
        broker: Arc<Broker>,
        peer: Peer,
        drain: CancellationToken,
        memory: Arc<FrameMemory>,
    ) -> Self {
        Connection {
            broker,
            peer,
            drain,
            memory,
        }
    }

    /// Serves requests until the client leaves, breaks the protocol or is idle for too long, or until shutdown.
    pub(crate) async fn run(self, mut stream: impl Transport) {
        if let Err(error) = self.serve(&mut stream).await {
            debug!(address = %self.peer.address, node = self.peer.node_id, %error, "connection closed");
        }
    }

    async fn serve(&self, stream: &mut impl Transport) -> io::Result<()> {
        let settings = self.broker.settings();
        let mut reader = FrameReader::new(settings.socket_request_max_bytes, self.memory.clone());
        let idle = settings.connections_max_idle;
        let mut owed = Owed::default();
        loop {
            self.limit(&mut reader);
            let Some(frame) = self.next_frame_or_answer(&mut reader, stream, &mut owed).await? else {
                break;
            };
            if !api::may_be_answered_later(&frame) {
                let throttle = owed.answer_all(stream, idle).await?;
                if !self.mute(throttle, &mut reader, stream).await {
                    return Ok(());
                }
            }
            let Some(reply) = self.reply_to(frame, &mut reader, stream).await else {
                return Ok(());
            };
            match reply {
                Reply::Later(reply) => owed.0.push_back(reply),
                Reply::Refused {
                    answer,
                    delay,
                    reason,
                } => {
                    return self.refuse(answer, delay, reason, stream).await;
                }
                // What is said at once must not overtake what is still owed.
                reply if owed.0.is_empty() => {
                    let throttle = answer(reply, stream, idle).await?;
                    if !self.mute(throttle, &mut reader, stream).await {
                        return Ok(());
                    }
                }
                reply => owed.0.push_back(Box::pin(std::future::ready(reply))),
            }
        }
        owed.answer_all(stream, idle).await.map(drop)
    }

    /// What is to be answered; `None` if the client has left while it was not known yet.
    async fn reply_to(
        &self,
        frame: Bytes,
        reader: &mut FrameReader,
        stream: &mut impl Transport,
    ) -> Option<Reply> {
        // Nothing is owed then: the handshake before it has waited for all answers.
        if let Some(session) = self.session().filter(|session| session.takes_bare_tokens()) {
            return Some(api::take_token(&self.broker, session, &frame));
        }
        let may_wait = api::may_wait(&frame);
        let handled = fault::handle(&self.broker, &self.peer, frame);
        if !may_wait {
            return Some(handled.await);
        }
        // Such a request can take as long as its client likes; without a client it would be for nothing.
        tokio::select! {
            reply = handled => Some(reply),
            () = leaves(reader, stream) => None,
        }
    }

    fn session(&self) -> Option<&Session> {
        self.peer.session.as_deref()
    }

    /// Takes only small frames from a client as long as it is not known who it is.
    fn limit(&self, reader: &mut FrameReader) {
        let settings = self.broker.settings();
        if let Some(session) = self.session() {
            let max = settings.socket_request_max_bytes;
            reader.set_size_max(match session.is_open() {
                true => max,
                false => max.min(settings.sasl_max_receive_bytes),
            });
        }
    }

    /// Lets a client wait that could not say who it is, so that guessing takes time, and answers it then.
    async fn refuse(
        &self,
        refusal: Option<Box<Reply>>,
        delay: Duration,
        reason: String,
        stream: &mut impl Transport,
    ) -> io::Result<()> {
        if let Some(sasl) = self.broker.sasl() {
            sasl.note_refused(&self.broker, &self.peer, &reason);
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.drain.cancelled() => {}
        }
        match refusal {
            Some(refusal) => {
                let idle = self.broker.settings().connections_max_idle;
                answer(*refusal, stream, idle).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Reads nothing from the client for a while. `false` if it has left meanwhile.
    async fn mute(
        &self,
        throttle: Option<Duration>,
        reader: &mut FrameReader,
        stream: &mut impl Transport,
    ) -> bool {
        let Some(throttle) = throttle else { return true };
        // The answer is out already: clients that know quotas wait as long, the others are made to (KIP-219).
        tokio::select! {
            () = tokio::time::sleep(throttle) => true,
            () = self.drain.cancelled() => true,
            () = leaves(reader, stream) => false,
        }
    }

    /// The next frame. Until it comes, answers are written as they become ready; it is not waited for while too many
    /// are owed.
    async fn next_frame_or_answer(
        &self,
        reader: &mut FrameReader,
        stream: &mut impl Transport,
        owed: &mut Owed,
    ) -> io::Result<Option<Bytes>> {
        let idle = self.broker.settings().connections_max_idle;
        loop {
            if owed.0.is_empty() {
                return self.next_frame(reader, stream, idle).await;
            }
            let reply = tokio::select! {
                biased;
                reply = owed.next() => reply,
                frame = self.next_frame(reader, stream, idle), if owed.0.len() < UNANSWERED_MAX => return frame,
            };
            let throttle = answer(reply, stream, idle).await?;
            if !self.mute(throttle, reader, stream).await {
                return Ok(None);
            }
        }
    }

    /// The next frame; `None` at the end of the stream and at shutdown.
    async fn next_frame(
        &self,
        reader: &mut FrameReader,
        stream: &mut impl Transport,
        idle: Duration,
    ) -> io::Result<Option<Bytes>> {
        loop {
            if self.drain.is_cancelled() {
                return Ok(None);
            }
            if let Some(frame) = reader.next()? {
                return Ok(Some(frame));
            }
            let filled = tokio::select! {
                () = self.drain.cancelled() => return Ok(None),
                filled = timeout(idle, reader.fill(stream)) => filled,
            };
            match filled {
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "connections.max.idle.ms passed",
                    ));
                }
                Ok(filled) => match filled? {
                    Some(()) => {}
                    None if reader.is_within_frame() => return Err(io::ErrorKind::UnexpectedEof.into()),
                    None => return Ok(None),
                },
            }
        }
    }
}

/// Replies that are not ready yet, in the order of their requests.
#[derive(Default)]
struct Owed(VecDeque<Later<Reply>>);

impl Owed {
    /// The first reply, when it is ready. There must be one.
    ///
    /// Cancel safe: a reply that was not returned is still owed.
    async fn next(&mut self) -> Reply {
        let reply = poll_fn(|context| match self.0.front_mut() {
            Some(first) => first.as_mut().poll(context),
            None => Poll::Ready(Reply::Nothing),
        })
        .await;
        self.0.pop_front();
        reply
    }

    /// Answers all, and returns the longest time for which nothing is to be read then.
    async fn answer_all(
        &mut self,
        stream: &mut impl Transport,
        idle: Duration,
    ) -> io::Result<Option<Duration>> {
        let mut longest = None;
        while !self.0.is_empty() {
            let reply = self.next().await;
            longest = longest.max(answer(reply, stream, idle).await?);
        }
        Ok(longest)
    }
}

/// Writes a reply. Returns for how long nothing is to be read then, if the client is over its quota.
async fn answer(reply: Reply, stream: &mut impl Transport, idle: Duration) -> io::Result<Option<Duration>> {
    let (reply, throttle) = match reply {
        Reply::Throttled(reply, throttle) => (*reply, Some(throttle)),
        reply => (reply, None),
    };
    match reply {
        Reply::Frame(pieces) => write(Pieces::new(pieces), None, stream, idle).await?,
        Reply::Large(pieces, room) => write(Pieces::new(pieces), Some(&room), stream, idle).await?,
        Reply::Nothing => {}
        Reply::Close(reason) => return Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
        // A reply is waited for once, and throttled once; nothing makes another.
        Reply::Later(_) | Reply::Throttled(..) | Reply::Refused { .. } => {
            return Err(io::Error::other("a reply was put off twice"));
        }
    }
    Ok(throttle)
}

/// Returns a while after the client has closed its end.
async fn leaves(reader: &mut FrameReader, stream: &mut impl Transport) {
    reader.read_until_end(stream).await;
    tokio::time::sleep(GONE_GRACE).await;
}

/// Writes an answer. A client has to take all of it, or a good part, within `idle`, and while others wait for the room
/// that it takes sooner than that.
async fn write(
    mut pieces: Pieces,
    room: Option<&Held>,
    stream: &mut impl Transport,
    idle: Duration,
) -> io::Result<()> {
    let begun = Instant::now();
    let (mut last, mut taken) = (begun, 0);
    let (mut since, mut taken_since) = (begun, 0);
    while !pieces.is_empty() {
        let left = idle.saturating_sub(since.elapsed());
        let patience = room.map_or(left, |_| left.min(ROOM_CHECK));
        match timeout(patience, pieces.write_some(stream)).await {
            Ok(written) => {
                let written = written?;
                (last, taken) = (Instant::now(), taken + written);
                taken_since += written;
            }
            Err(_) if left <= patience => {
                return Err(too_slow("the client does not read its answers"));
            }
            Err(_) => {}
        }
        if taken_since >= PROGRESS_BYTES_MIN {
            (since, taken_since) = (last, 0);
        }
        if room.is_some_and(|room| room.has_to_give_way(taken, begun.elapsed(), last.elapsed())) {
            return Err(too_slow(
                "the client reads its answer too slowly while others wait for memory",
            ));
        }
    }
    Ok(())
}

fn too_slow(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

#[cfg(test)]
mod tests {
    use heliostat_wire::Payload;
    use tokio::{io::AsyncReadExt, time::interval};

    use super::*;

    const IDLE: Duration = Duration::from_secs(1);

    /// What becomes of an answer of which so many bytes are taken four times in the time in which all may be silent.
    async fn taken(bytes: usize) -> io::Result<()> {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let reader = tokio::spawn(async move {
            let (mut buf, mut turns) = (vec![0; bytes], interval(IDLE / 4));
            loop {
                turns.tick().await;
                if client.read_exact(&mut buf).await.is_err() {
                    return;
                }
            }
        });
        let pieces = Pieces::new(vec![Payload::Memory(vec![0; 6 * PROGRESS_BYTES_MIN].into())]);
        let written = write(pieces, None, &mut server, IDLE).await;
        reader.abort();
        written
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_byte_by_byte_ends_when_a_silent_connection_would() {
        let begun = Instant::now();
        let error = taken(1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < 5 * IDLE, "{:?}", begun.elapsed());
        let begun = Instant::now();
        taken(PROGRESS_BYTES_MIN).await.unwrap();
        assert!(begun.elapsed() > IDLE, "it takes its time");
    }
}
