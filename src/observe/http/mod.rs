//! The HTTP server: metrics, probes, the status as JSON, and what is done to built-in clusters.
//!
//! It is made for two kinds of clients, a scraper and a probe, and has to answer them while everything else is in
//! trouble. So it trusts neither side: a client gets a bounded time for its request head and for taking the answer, the
//! number of connections is bounded by closing the oldest (never by refusing the newest, which may be the probe), and
//! the status is asked for on a thread where it may block. `/livez` needs none of it and always answers.

mod control;
mod routes;
mod stall;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub use self::control::{
    CLUSTERS_PATH, Control, ControlAnswer, ControlFn, ControlRequest, PAUSE_PATH, RESUME_PATH,
};
use self::routes::Routes;
pub use self::routes::{EVENTS_PATH, PATHS};
use self::stall::StallGuard;
use super::built_in::BuiltInFn;
use super::events::Events;
use super::status::Status;

/// Makes the status of the daemon at the moment it is called. It may block, and is called at most twice at a time.
pub type StatusFn = Arc<dyn Fn() -> Status + Send + Sync>;

/// What the server has to tell. What is not there has no path.
#[derive(Clone, Default)]
pub struct Sources {
    /// The status of the daemon.
    pub status: Option<StatusFn>,
    /// What the built-in clusters tell about themselves.
    pub built_in: Option<BuiltInFn>,
    /// What is done to the built-in clusters.
    pub control: Option<Control>,
    /// What has happened to the flows.
    pub events: Option<Events>,
    /// Pausing and resuming.
    pub pauses: Option<Control>,
}

/// The bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; with one more, the oldest is closed.
    pub connections: usize,
    /// How long a connection may take for a request head, and how long it may be idle between two requests.
    pub head: Duration,
    /// How long an answer may wait for a client that takes none of it.
    pub stall: Duration,
    /// How long an answer waits for the status.
    pub status: Duration,
    /// The age at which a connection is closed after its current request.
    pub age: Duration,
    /// How long requests under way may take to finish once the server is stopping.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 128,
            head: Duration::from_secs(30),
            stall: Duration::from_secs(10),
            status: Duration::from_secs(5),
            age: Duration::from_secs(600),
            drain: Duration::from_secs(3),
        }
    }
}

/// A request head that is longer is answered with 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Waited after a failed accept, so that running out of file descriptors does not become a busy loop.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves on a listener until `shutdown`, with the default [`Limits`]. The task ends once every connection has ended,
/// which takes no longer than [`Limits::drain`].
pub fn serve(listener: TcpListener, sources: Sources, shutdown: CancellationToken) -> JoinHandle<()> {
    serve_within(listener, sources, shutdown, Limits::default())
}

/// The same with other limits.
pub fn serve_within(
    listener: TcpListener,
    sources: Sources,
    shutdown: CancellationToken,
    limits: Limits,
) -> JoinHandle<()> {
    let routes = Routes::new(sources, limits.status);
    tokio::spawn(async move {
        let mut connections = Connections::new(limits, shutdown.clone());
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                _ = shutdown.cancelled() => break,
                Some(_) = connections.tasks.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    failing = false;
                    connections.start(stream, client.ip(), routes.clone());
                }
                Err(error) => {
                    if !failing {
                        warn!(%error, "the HTTP server cannot accept connections; it goes on trying");
                    }
                    failing = true;
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
        drop(listener);
        connections.drain().await;
    })
}

/// The open connections, the oldest first.
struct Connections {
    limits: Limits,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn new(limits: Limits, shutdown: CancellationToken) -> Self {
        Connections {
            limits,
            shutdown,
            tasks: JoinSet::new(),
            by_age: VecDeque::new(),
        }
    }

    fn start(&mut self, stream: TcpStream, client: IpAddr, routes: Routes) {
        if self.by_age.len() >= self.limits.connections {
            self.by_age.retain(|handle| !handle.is_finished());
        }
        if self.by_age.len() >= self.limits.connections
            && let Some(oldest) = self.by_age.pop_front()
        {
            debug!("too many HTTP connections; the oldest is closed");
            oldest.abort();
        }
        let task = connection(stream, client, routes, self.limits, self.shutdown.clone());
        self.by_age.push_back(self.tasks.spawn(task));
    }

    async fn drain(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.limits.drain, all).await.is_err() {
            debug!(
                connections = self.tasks.len(),
                "HTTP connections are cut off at the end of the drain"
            );
            self.tasks.shutdown().await;
        }
    }
}

/// Serves one connection until it ends, grows too old, or the server stops. Dropping it closes the socket.
async fn connection(
    stream: TcpStream,
    client: IpAddr,
    routes: Routes,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let io = TokioIo::new(StallGuard::new(stream, limits.stall));
    let service = hyper::service::service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, std::convert::Infallible>(routes.answer(request, client).await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
    );
    tokio::select! {
        result = &mut connection => return ended(result),
        _ = shutdown.cancelled() => {}
        _ = sleep(limits.age) => {}
    }
    // The current request may finish; there is no next one. A server that stops cuts this short by its own deadline.
    connection.as_mut().graceful_shutdown();
    if let Ok(result) = timeout(limits.head, &mut connection).await {
        ended(result);
    }
}

fn ended(result: hyper::Result<()>) {
    if let Err(error) = result {
        debug!(%error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests;
