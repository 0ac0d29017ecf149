//! One connection: requests are handled one at a time, and answered in their order.
//!
//! What was done may have to become durable before it is answered. The requests behind it begin meanwhile, if they are
//! of the same kind; all others wait until everything before them was answered.

use std::{collections::VecDeque, future::poll_fn, io, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    frame::{FrameReader, Pieces},
    memory::FrameMemory,
    transport::Transport,
};
use crate::{
    api::{self, Later, Peer, Reply},
    broker::Broker,
    fault,
};

/// How long a request that waits goes on after its client has closed its end: long enough to answer one that only has
/// nothing more to say.
const GONE_GRACE: Duration = Duration::from_secs(5);

/// So many answers may be waited for at the same time; the requests behind them stay in the socket. Producers have five
/// on their way, and those that fear no disorder a few more.
const UNANSWERED_MAX: usize = 64;

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
        while let Some(frame) = self.next_frame_or_answer(&mut reader, stream, &mut owed).await? {
            if !api::may_be_answered_later(&frame) {
                let throttle = owed.answer_all(stream, idle).await?;
                if !self.mute(throttle, &mut reader, stream).await {
                    return Ok(());
                }
            }
            let may_wait = api::may_wait(&frame);
            let handled = fault::handle(&self.broker, &self.peer, frame);
            let reply = if may_wait {
                // Such a request can take as long as its client likes; without a client it would be for nothing.
                tokio::select! {
                    reply = handled => reply,
                    () = leaves(&mut reader, stream) => return Ok(()),
                }
            } else {
                handled.await
            };
            match reply {
                Reply::Later(reply) => owed.0.push_back(reply),
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
        Reply::Frame(pieces) => write(Pieces::new(pieces), stream, idle).await?,
        Reply::Nothing => {}
        Reply::Close(reason) => return Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
        // A reply is waited for once, and throttled once; nothing makes another.
        Reply::Later(_) | Reply::Throttled(..) => return Err(io::Error::other("a reply was put off twice")),
    }
    Ok(throttle)
}

/// Returns a while after the client has closed its end.
async fn leaves(reader: &mut FrameReader, stream: &mut impl Transport) {
    reader.read_until_end(stream).await;
    tokio::time::sleep(GONE_GRACE).await;
}

async fn write(mut pieces: Pieces, stream: &mut impl Transport, idle: Duration) -> io::Result<()> {
    while !pieces.is_empty() {
        match timeout(idle, pieces.write_some(stream)).await {
            Ok(written) => written?,
            Err(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client does not read its answers",
                ));
            }
        }
    }
    Ok(())
}
