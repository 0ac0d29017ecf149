//! A TCP proxy on the loopback interface that can refuse, cut, stall and delay: the line between two sites.
//!
//! Kafka's clients connect to the addresses that brokers advertise, so a broker must advertise the proxy's port: see
//! [`super::kafka::Kafka::start_behind`]. A built-in cluster advertises where it listens; there the proxy writes its own
//! address in place of the cluster's: see [`super::built_in::BuiltIn::start_behind`].

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ports::Ports;

/// Bytes taken at once from one side.
const CHUNK: usize = 64 * 1024;
/// Chunks on the line in one direction of one connection: enough that a delay does not become a limit on the rate.
const ON_THE_LINE: usize = 1024;

/// A proxy. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    // Held so that nobody else binds the port while it refuses.
    _ports: Ports,
    line: Arc<Line>,
    listener: Mutex<Option<CancellationToken>>,
    runtime: Option<Runtime>,
}

/// What every connection looks at.
#[derive(Debug)]
struct Line {
    target: Mutex<SocketAddr>,
    stands_for: Mutex<Option<Hosts>>,
    rewritten: Mutex<Option<(Vec<u8>, Vec<u8>)>>,
    stalled: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
    cut: Mutex<CancellationToken>,
    accepted: AtomicU64,
}

/// A host that answers name, and the one that clients shall go to: texts of one length, so that frames stay as they are.
#[derive(Clone, Debug)]
struct Hosts {
    told: String,
    meant: String,
}

impl Proxy {
    /// Starts a proxy on a port of its own that refuses connections until [`Proxy::open`] names a target.
    pub fn new() -> Proxy {
        let ports = Ports::reserve(1);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build();
        let line = Line {
            target: Mutex::new(ports.address()),
            stands_for: Mutex::new(None),
            rewritten: Mutex::default(),
            stalled: watch::Sender::new(false),
            delay: watch::Sender::new(Duration::ZERO),
            cut: Mutex::new(CancellationToken::new()),
            accepted: AtomicU64::new(0),
        };
        Proxy {
            address: ports.address(),
            _ports: ports,
            line: Arc::new(line),
            listener: Mutex::new(None),
            runtime: Some(runtime.expect("build a runtime")),
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where clients connect, to be advertised by the broker behind.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Passes connections on to `target` from now on.
    pub fn open(&self, target: SocketAddr) {
        *lock(&self.line.target) = target;
        self.accept();
    }

    /// Passes connections on to a cluster that listens at the same port of another address, and has its clients come
    /// through here again when they go where its answers send them.
    pub fn stand_for(&self, cluster: SocketAddr) {
        let (told, meant) = (cluster.ip().to_string(), self.address.ip().to_string());
        assert_eq!((told.len(), cluster.port()), (meant.len(), self.port()));
        *lock(&self.line.stands_for) = Some(Hosts { told, meant });
        self.open(cluster);
    }

    /// Accepts connections again after [`Proxy::refuse`].
    pub fn accept(&self) {
        let mut listener = lock(&self.listener);
        if listener.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        let bound = self.runtime().block_on(TcpListener::bind(self.address));
        let bound = bound.unwrap_or_else(|error| panic!("listen at {}: {error}", self.address));
        self.runtime()
            .spawn(accept(bound, Arc::clone(&self.line), stop.clone()));
        *listener = Some(stop);
    }

    /// Cuts every connection and refuses new ones, as a machine does whose server is not running.
    pub fn refuse(&self) {
        if let Some(stop) = lock(&self.listener).take() {
            stop.cancel();
            super::wait_until(Duration::from_secs(10), "the proxy refuses connections", || {
                super::http::connects(self.address).is_err()
            });
        }
        self.cut();
    }

    /// Cuts every connection; new ones are accepted.
    pub fn cut(&self) {
        std::mem::take(&mut *lock(&self.line.cut)).cancel();
    }

    /// While true, connections are kept and accepted, and no byte passes in either direction.
    pub fn stall(&self, stalled: bool) {
        self.line.stalled.send_replace(stalled);
    }

    /// How long each byte takes from now on, one way. The rate is not limited.
    pub fn delay(&self, one_way: Duration) {
        self.line.delay.send_replace(one_way);
    }

    /// From now on these bytes of answers are replaced by others, as many, where they come in one piece.
    pub fn rewrite(&self, bytes: Option<(&[u8], &[u8])>) {
        *lock(&self.line.rewritten) = bytes.map(|(old, new)| (old.to_vec(), new.to_vec()));
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> u64 {
        self.line.accepted.load(Ordering::Relaxed)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken only on drop")
    }
}

impl Default for Proxy {
    fn default() -> Proxy {
        Proxy::new()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Without waiting: the drop may happen within an async test.
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no panic while it was held")
}

async fn accept(listener: TcpListener, line: Arc<Line>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        if let Ok((client, _)) = accepted {
            line.accepted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(connection(client, Arc::clone(&line)));
        }
    }
}

async fn connection(client: TcpStream, line: Arc<Line>) {
    let cut = lock(&line.cut).clone();
    let target = *lock(&line.target);
    let relay = async {
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let hosts = lock(&line.stands_for).clone();
        tokio::try_join!(
            pump(from_client, to_server, &line, None),
            pump(from_server, to_client, &line, hosts)
        )?;
        io::Result::Ok(())
    };
    // Either end closes both: dropping the relay drops the sockets.
    tokio::select! {
        _ = relay => {}
        () = cut.cancelled() => {}
    }
}

/// One direction: takes what comes, and hands it on when its time has come and the line is not stalled.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: &Line,
    hosts: Option<Hosts>,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_LINE);
    let read = async {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if from.read_buf(&mut chunk).await? == 0 {
                break;
            }
            if let Some(hosts) = &hosts {
                replace(&mut chunk, hosts.told.as_bytes(), hosts.meant.as_bytes());
                if let Some((old, new)) = &*lock(&line.rewritten) {
                    replace(&mut chunk, old, new);
                }
            }
            let due = Instant::now() + *line.delay.borrow();
            if sender.send((due, chunk)).await.is_err() {
                break;
            }
        }
        drop(sender);
        io::Result::Ok(())
    };
    let write = async {
        let mut stalled = line.stalled.subscribe();
        while let Some((due, chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            // The sender lives in `line`, so this waits for a change and cannot fail.
            let _ = stalled.wait_for(|stalled| !stalled).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}

/// Replaces every occurrence of a text by another one of the same length. An answer that names hosts is short and written
/// at once, so that no text lies across two chunks.
fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(old.len()).position(|window| window == old) {
        bytes[at + found..at + found + old.len()].copy_from_slice(new);
        at += found + old.len();
    }
}
