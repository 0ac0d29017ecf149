//! One connection: requests are read, handled and answered one at a time.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{io::AsyncRead, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    frame::{FrameReader, Pieces},
    memory::FrameMemory,
    transport::Transport,
};
use crate::{
    api::{self, Peer, Reply},
    broker::Broker,
    fault,
};

/// How long a request that waits goes on after its client has closed its end: long enough to answer one that only has
/// nothing more to say.
const GONE_GRACE: Duration = Duration::from_secs(5);

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
        while let Some(frame) = self.next_frame(&mut reader, stream, idle).await? {
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
            let (reply, throttle) = match reply {
                Reply::Throttled(reply, throttle) => (*reply, Some(throttle)),
                reply => (reply, None),
            };
            match reply {
                Reply::Frame(pieces) => write(Pieces::new(pieces), stream, idle).await?,
                Reply::Nothing | Reply::Throttled(..) => {}
                Reply::Close(reason) => return Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
            }
            if let Some(throttle) = throttle {
                // The answer is out already: clients that know quotas wait as long, the others are made to (KIP-219).
                tokio::select! {
                    () = tokio::time::sleep(throttle) => {}
                    () = self.drain.cancelled() => {}
                    () = leaves(&mut reader, stream) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// The next frame; `None` at the end of the stream and at shutdown.
    async fn next_frame(
        &self,
        reader: &mut FrameReader,
        stream: &mut (impl AsyncRead + Unpin),
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
