//! Listeners and connections.
//!
//! Each node has a listener. A connection handles one request at a time and answers in order, as Kafka does: the
//! next request is not even read before the answer to the last one is written.

mod admission;
mod connection;
mod frame;
mod memory;
mod port;
mod transport;

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use heliostat_wire::socket;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    sync::Mutex,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{api::Peer, broker::Broker, sasl::Session, state::settings::Settings};
use admission::{Admission, Limits, Verdict};
use memory::FrameMemory;
use port::Port;

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
    admission: Arc<Admission>,
    memory: Arc<FrameMemory>,
    /// The runtime that listeners and connections live on, whoever opens a port again.
    runtime: Handle,
    /// The nodes' ports, by node.
    ports: Mutex<BTreeMap<i32, Port>>,
}

impl Server {
    /// A server on the current runtime, for at most `connections_max` connections at a time, over all of its listeners.
    pub(crate) fn new(connections_max: usize, settings: &Settings, drain: CancellationToken) -> Self {
        Server {
            tasks: TaskTracker::new(),
            drain,
            abort: CancellationToken::new(),
            memory: Arc::new(FrameMemory::new(settings.queued_max_request_bytes)),
            admission: Arc::new(Admission::new(connections_max)),
            runtime: Handle::current(),
            ports: Mutex::default(),
        }
    }

    /// Accepts connections for one node until shutdown, or until its port is closed.
    pub(crate) async fn listen(&self, listener: TcpListener, node_id: i32, broker: Arc<Broker>) {
        let mut ports = self.ports.lock().await;
        ports.insert(node_id, self.serve(listener, node_id, broker));
    }

    /// Closes a node's port, and cuts its connections. The port is kept, so that nobody else gets it meanwhile.
    pub(crate) async fn close(&self, node_id: i32) {
        if let Some(port) = self.ports.lock().await.get_mut(&node_id) {
            port.close().await;
        }
    }

    /// Opens a port that was closed.
    pub(crate) async fn open(&self, node_id: i32, broker: Arc<Broker>) -> io::Result<()> {
        let mut ports = self.ports.lock().await;
        let listener = {
            let _on_it = self.runtime.enter();
            ports.get_mut(&node_id).map(Port::listener).transpose()?.flatten()
        };
        if let Some(listener) = listener {
            ports.insert(node_id, self.serve(listener, node_id, broker));
        }
        Ok(())
    }

    fn serve(&self, listener: TcpListener, node_id: i32, broker: Arc<Broker>) -> Port {
        let address = listener.local_addr();
        let (drain, cut) = (self.drain.clone(), self.abort.child_token());
        let (tasks, admission) = (self.tasks.clone(), self.admission.clone());
        let memory = self.memory.clone();
        let ended = cut.clone();
        let accept = async move {
            loop {
                let accepted = tokio::select! {
                    () = drain.cancelled() => return,
                    () = cut.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (socket, address) = match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        pause_after(&error).await;
                        continue;
                    }
                };
                if broker.faults().refuses(node_id) {
                    continue;
                }
                let accept_max = Limits::of(&broker, node_id).accept_max;
                let pause = broker.quotas().record_accept(node_id, accept_max);
                if !pause.is_zero() {
                    tokio::select! {
                        () = drain.cancelled() => return,
                        () = cut.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                let place =
                    match admission.judge(address.ip(), &Limits::of(&broker, node_id), broker.quotas()) {
                        Verdict::Serve(place) => place,
                        Verdict::Delay(delay, permit) => {
                            let drain = drain.clone();
                            tasks.spawn(async move {
                                let (_permit, _socket) = (permit, socket);
                                let _ = tokio::time::timeout(delay, drain.cancelled()).await;
                            });
                            continue;
                        }
                        Verdict::Close(reason) => {
                            debug!(%address, reason, "connection refused");
                            continue;
                        }
                    };
                let send_buffer = broker.settings().socket_send_buffer_bytes;
                let session = broker.sasl().map(|_| Arc::default());
                let Some(peer) = peer_of(&socket, address, node_id, send_buffer, session) else {
                    continue;
                };
                let connection =
                    connection::Connection::new(broker.clone(), peer, drain.clone(), memory.clone());
                let cut = cut.clone();
                tasks.spawn(async move {
                    let _place = place;
                    tokio::select! {
                        () = cut.cancelled() => {}
                        () = connection.run(socket) => {}
                    }
                });
            }
        };
        let accepting = self.tasks.spawn_on(accept, &self.runtime);
        Port::open(address, ended, accepting)
    }

    /// The runtime that everything of the cluster lives on.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
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

fn peer_of(
    stream: &tokio::net::TcpStream,
    address: SocketAddr,
    node_id: i32,
    send_buffer: Option<usize>,
    session: Option<Arc<Session>>,
) -> Option<Peer> {
    socket::ready(stream).ok()?;
    if let Some(bytes) = send_buffer {
        rustix::net::sockopt::set_socket_send_buffer_size(stream, bytes).ok()?;
    }
    let local = stream.local_addr().ok()?;
    Some(Peer {
        address: address.ip(),
        port: address.port(),
        local_address: local.ip(),
        node_id,
        session,
    })
}
