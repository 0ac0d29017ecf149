//! The connections of a client, one for each node and lane, made when they are needed.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    config::Config,
    connection::{Connection, Lane},
    error::Error,
    kept::Kept,
    metadata::Endpoint,
    together::doubled,
    transport::Transport,
};

/// All connections. There are at most as many as nodes times lanes.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Mutex<HashMap<(i32, Lane), Arc<Link>>>,
    kept: Arc<Kept>,
}

/// A connection that is there, or was, or will be.
#[derive(Debug, Default)]
pub(super) struct Link {
    current: Mutex<Option<Arc<Connection>>>,
    /// Whether the last attempt failed.
    failing: AtomicBool,
    /// Held by the one who connects.
    attempts: tokio::sync::Mutex<Attempts>,
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Attempts {
    /// How many failed in a row, or ended soon.
    failures: u32,
    last: Option<Instant>,
    error: Option<(Instant, Error)>,
}

impl Links {
    pub(super) fn get(&self, node: i32, lane: Lane) -> Arc<Link> {
        let new = || {
            Arc::new(Link {
                kept: self.kept.clone(),
                ..Link::default()
            })
        };
        self.links().entry((node, lane)).or_insert_with(new).clone()
    }

    /// Ends all connections.
    pub(super) fn close(&self) {
        for link in self.links().values() {
            if let Some(connection) = link.slot().take() {
                connection.close("the client was closed");
            }
        }
    }

    fn links(&self) -> MutexGuard<'_, HashMap<(i32, Lane), Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// The connection, if it is there.
    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        let mut slot = self.slot();
        // What has ended is let go of.
        *slot = slot.take().filter(|connection| !connection.is_closed());
        slot.clone()
    }

    /// Whether the last attempt to connect failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The node takes too long: others are asked first, until it has answered again.
    pub(super) fn suspect(&self) {
        self.failing.store(true, Ordering::Relaxed);
    }

    /// The node has answered.
    pub(super) fn absolve(&self) {
        self.failing.store(false, Ordering::Relaxed);
    }

    /// The connection, made if it is not there: one attempt for all who want it meanwhile.
    pub(super) async fn connect(
        &self,
        node: i32,
        endpoint: &Endpoint,
        config: &Config,
        transport: &dyn Transport,
    ) -> Result<Arc<Connection>, Error> {
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let since = Instant::now();
        let mut attempts = self.attempts.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        if let Some((at, error)) = &attempts.error
            && *at > since
        {
            return Err(error.clone());
        }
        attempts.pause(config).await;
        attempts.last = Some(Instant::now());
        let outcome = open(node, endpoint, config, transport, self.kept.clone()).await;
        self.failing.store(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Ok(connection) => {
                let connection = Arc::new(connection);
                attempts.error = None;
                *self.slot() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                attempts.error = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempts {
    /// Waits before the next attempt, longer after each that failed. A connection that ended soon counts as one that
    /// failed: a broker that accepts and closes must not be asked again and again without a pause.
    async fn pause(&mut self, config: &Config) {
        let Some(last) = self.last else { return };
        let soon = last.elapsed() < config.reconnect_backoff_max;
        if self.error.is_none() && !soon {
            self.failures = 0;
            return;
        }
        let wait = doubled(
            config.reconnect_backoff,
            config.reconnect_backoff_max,
            self.failures,
        );
        self.failures = self.failures.saturating_add(1);
        let from = self.error.as_ref().map_or(last, |(at, _)| *at);
        sleep_until(from + wait).await;
    }
}

async fn open(
    node: i32,
    endpoint: &Endpoint,
    config: &Config,
    transport: &dyn Transport,
    kept: Arc<Kept>,
) -> Result<Connection, Error> {
    let failed = |reason: String| Error::Connect {
        address: endpoint.to_string(),
        reason,
    };
    let attempt = async {
        let stream = transport.connect(&endpoint.host, endpoint.port).await;
        let stream = stream.map_err(|error| error.to_string())?;
        Connection::open(node, stream, config, kept).await
    };
    match timeout(config.connect_timeout, attempt).await {
        Ok(outcome) => outcome.map_err(failed),
        Err(_elapsed) => Err(failed(format!(
            "nothing came of it in {:?}",
            config.connect_timeout
        ))),
    }
}
