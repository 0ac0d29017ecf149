//! Listeners and connections.
//!
//! Each node has a listener. A connection handles one request at a time and answers in order, as Kafka does: the
//! next request is not even read before the answer to the last one is written.

mod connection;
mod frame;
mod transport;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{api::Peer, broker::Broker};

/// How long to pause when the system refuses another connection, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running listeners of a cluster.
#[derive(Debug)]
pub(crate) struct Server {
    tasks: TaskTracker,
    /// Asks connections to end after the request that they are working on.
    drain: CancellationToken,
    /// Ends connections wherever they are.
    abort: CancellationToken,
    connections: Arc<Semaphore>,
}

impl Server {
    /// A server for at most `connections_max` connections at a time, over all of its listeners.
    pub(crate) fn new(connections_max: usize, drain: CancellationToken) -> Self {
        Server {
            tasks: TaskTracker::new(),
            drain,
            abort: CancellationToken::new(),
            connections: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Accepts connections for one node until shutdown.
    pub(crate) fn listen(&self, listener: TcpListener, node_id: i32, broker: Arc<Broker>) {
        let (drain, abort) = (self.drain.clone(), self.abort.clone());
        let (tasks, connections) = (self.tasks.clone(), self.connections.clone());
        self.tasks.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = drain.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (socket, address) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        pause_after(&error).await;
                        continue;
                    }
                };
                // Closing at once tells a client more than a connection on which nothing ever happens.
                let Ok(permit) = connections.clone().try_acquire_owned() else {
                    debug!(%address, "connection refused: max.connections is reached");
                    continue;
                };
                let Some(peer) = peer_of(&socket, address, node_id) else {
                    continue;
                };
                let connection = connection::Connection::new(broker.clone(), peer, drain.clone());
                let abort = abort.clone();
                tasks.spawn(async move {
                    let _permit = permit;
                    tokio::select! {
                        () = abort.cancelled() => {}
                        () = connection.run(socket) => {}
                    }
                });
            }
        });
    }

    /// Stops accepting, lets requests in progress finish until the deadline, then cuts what is left.
    pub(crate) async fn shutdown(&self, deadline: Instant) {
        self.drain.cancel();
        self.tasks.close();
        if timeout_at(deadline, self.tasks.wait()).await.is_err() {
            warn!(
                connections = self.tasks.len(),
                "connections are cut: they did not finish before the deadline"
            );
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

async fn pause_after(error: &io::Error) {
    // A peer that gave up while it waited is no reason to keep the others waiting.
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        return;
    }
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn peer_of(socket: &tokio::net::TcpStream, address: SocketAddr, node_id: i32) -> Option<Peer> {
    socket.set_nodelay(true).ok()?;
    let local = socket.local_addr().ok()?;
    Some(Peer {
        address: address.ip(),
        local_address: local.ip(),
        node_id,
    })
}
