//! The port of one node, which can be closed and opened again.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A node's port.
#[derive(Debug)]
pub(super) struct Port {
    address: Option<SocketAddr>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Connections are accepted until the token is cancelled, which cuts them too.
    Open {
        cut: CancellationToken,
        accepting: JoinHandle<()>,
    },
    /// Nobody listens. The socket, if it could be had, keeps the port from being given to somebody else.
    Closed(Option<TcpSocket>),
}

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

impl Port {
    /// A port on which a task accepts connections.
    pub(super) fn open(
        address: io::Result<SocketAddr>,
        cut: CancellationToken,
        accepting: JoinHandle<()>,
    ) -> Port {
        Port {
            address: address.ok(),
            state: State::Open { cut, accepting },
        }
    }

    /// Stops listening and cuts all connections.
    pub(super) async fn close(&mut self) {
        let State::Open { cut, accepting } = &mut self.state else {
            return;
        };
        cut.cancel();
        if let Err(error) = accepting.await {
            warn!(%error, "accepting connections was interrupted");
        }
        let held = match self.address {
            Some(address) => bind(address)
                .inspect_err(|error| warn!(%error, %address, "the port of a stopped node is not kept")),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        self.state = State::Closed(held.ok());
    }

    /// Listens again; `None` if nobody had stopped. After an error the port is closed still.
    pub(super) fn listener(&mut self) -> io::Result<Option<TcpListener>> {
        let State::Closed(held) = &mut self.state else {
            return Ok(None);
        };
        let socket = match (held.take(), self.address) {
            (Some(socket), _) => socket,
            (None, Some(address)) => bind(address)?,
            (None, None) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        socket.listen(BACKLOG).map(Some)
    }
}

/// A socket that has the address and does not listen, so that connections to it are refused.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections that were cut may still be around for a while.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
