//! One connection to a broker: requests go out in the order of the calls, answers come back in the same order.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{ReadHalf, WriteHalf},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, timeout},
};
use tokio_util::sync::DropGuard;

use super::{
    config::Config,
    error::Error,
    frames::Frames,
    kept::Kept,
    queue::{Queue, Waiting},
    tasks,
    transport::Stream,
    versions::{self, Versions},
};
use crate::message::{ApiKey, Request, ThrottleTime, decode_message, encode_request};

/// Connections of different lanes do not hold each other up, also if they go to the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u16);

/// A connection to a node. It ends when the last clone of it is dropped and nothing that it was asked is pending.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    alive: Arc<DropGuard>,
}

/// How one request differs from others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner {
    /// The highest version to use, if not the highest that both sides speak.
    pub version_max: Option<i16>,
    /// For how long the broker was asked to wait with its answer: that long more is waited for it.
    pub broker_waits: Duration,
}

/// An answer to come. Dropping it leaves the connection as it is.
#[derive(Debug)]
#[must_use = "an answer that is not waited for tells nothing"]
pub struct Pending<T> {
    answer: oneshot::Receiver<Result<T, Error>>,
    node: i32,
    /// The connection stays as long as somebody waits for it.
    _alive: Arc<DropGuard>,
}

/// What the tasks of a connection and those who use it have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: i32,
    pub(super) queue: Queue,
    /// A place for each request that may be out.
    places: Arc<Semaphore>,
    versions: Versions,
    client_id: String,
    pub(super) request_timeout: Duration,
}

impl Connection {
    /// Finds out what the broker speaks, and starts to work.
    pub(super) async fn open(
        node: i32,
        stream: Box<dyn Stream>,
        config: &Config,
        kept: Arc<Kept>,
    ) -> Result<Connection, String> {
        let (reader, mut writer): (ReadHalf<_>, WriteHalf<_>) = tokio::io::split(stream);
        let mut frames = Frames::new(reader, config.max_response_bytes, kept);
        let versions = versions::negotiate(&mut frames, &mut writer, &config.client_id)
            .await
            .map_err(|refusal| refusal.0)?;
        let shared = Arc::new(Shared {
            node,
            queue: Queue::new(node),
            places: Arc::new(Semaphore::new(config.in_flight_requests.max(1))),
            versions,
            client_id: config.client_id.clone(),
            request_timeout: config.request_timeout,
        });
        let alive = Arc::new(shared.queue.ended().clone().drop_guard());
        tokio::spawn(tasks::read(shared.clone(), frames));
        tokio::spawn(tasks::write(shared.clone(), writer));
        Ok(Connection { shared, alive })
    }

    /// Sends a request, after those of earlier calls. Waits while as many requests are out as may be; returns when the
    /// request is queued for the wire, which it goes to when the broker takes requests: not while it throttles us (KIP-219).
    ///
    /// # Errors
    /// If the connection has ended, if the broker does not speak the request, if it cannot be encoded, or if no place
    /// becomes free within the time that an answer may take. Nothing was sent then.
    pub async fn start<R: Request>(&self, request: R) -> Result<Pending<R::Response>, Error> {
        self.start_as(request, Manner::default()).await
    }

    /// As [`Connection::start`], in a manner of its own.
    ///
    /// # Errors
    /// As [`Connection::start`].
    pub async fn start_as<R: Request>(
        &self,
        request: R,
        manner: Manner,
    ) -> Result<Pending<R::Response>, Error> {
        let version = self.version(R::KEY, manner.version_max)?;
        let place = self.place(R::KEY).await?;
        let correlation_id = self.shared.queue.next_correlation_id();
        let pieces = encode_request(&request, version, correlation_id, Some(&self.shared.client_id));
        let pieces = pieces.map_err(|source| Error::Request {
            api: R::KEY.name(),
            source,
        })?;
        let (answered, answer) = oneshot::channel();
        let waiting = Waiting {
            correlation_id,
            api: R::KEY,
            version,
            patience: self.shared.request_timeout.saturating_add(manner.broker_waits),
            written: None,
            complete: Box::new(move |outcome| complete::<R>(outcome, version, answered)),
            _place: place,
        };
        self.shared.queue.push(pieces, waiting)?;
        Ok(Pending {
            answer,
            node: self.shared.node,
            _alive: self.alive.clone(),
        })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// As [`Connection::start`], and if there is no answer, none in time, or none that can be read.
    pub async fn send<R: Request>(&self, request: R) -> Result<R::Response, Error> {
        self.start(request).await?.await
    }

    /// As [`Connection::send`], in a manner of its own.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn send_as<R: Request>(&self, request: R, manner: Manner) -> Result<R::Response, Error> {
        self.start_as(request, manner).await?.await
    }

    /// The versions of an API that both sides speak.
    pub fn supports(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.shared.versions.common(api)
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    /// The node; below zero for an address of the configuration.
    pub fn node(&self) -> i32 {
        self.shared.node
    }

    /// Ends it: all that is pending fails.
    pub fn close(&self, reason: &str) {
        self.shared.close(reason);
    }

    fn version(&self, api: ApiKey, max: Option<i16>) -> Result<i16, Error> {
        let (from, to) = self.supports(api).ok_or_else(|| Error::Unsupported {
            api,
            broker: self.shared.versions.of_broker(api),
        })?;
        let version = max.map_or(to, |max| to.min(max));
        if version < from {
            let broker = self.shared.versions.of_broker(api);
            return Err(Error::Unsupported { api, broker });
        }
        Ok(version)
    }

    async fn place(&self, api: ApiKey) -> Result<OwnedSemaphorePermit, Error> {
        let shared = &self.shared;
        let patience = shared.request_timeout.saturating_add(shared.mute_max());
        match timeout(patience, shared.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_closed)) => Err(shared.queue.closed_error(false)),
            Err(_elapsed) => Err(Error::TimedOut {
                node: shared.node,
                api: api.name(),
                after: patience,
                sent: false,
            }),
        }
    }
}

impl Shared {
    /// Ends the connection: all that is pending fails, and the tasks end.
    pub(super) fn close(&self, reason: &str) {
        self.places.close();
        self.queue.close(reason);
    }
}

/// Decodes an answer and hands it over; tells for how long the broker is going to take no requests.
fn complete<R: Request>(
    outcome: Result<bytes::Bytes, Error>,
    version: i16,
    answered: oneshot::Sender<Result<R::Response, Error>>,
) -> Result<Duration, Error> {
    let unreadable = |source| Error::Protocol {
        api: R::KEY.name(),
        source,
    };
    let answer = outcome.and_then(|body| decode_message::<R::Response>(body, version).map_err(unreadable));
    let result = match &answer {
        Ok(answer) => Ok(Duration::from_millis(
            answer.throttle_time_ms().try_into().unwrap_or(0),
        )),
        Err(error) => Err(error.clone()),
    };
    // Whoever asked may have lost interest.
    let _ = answered.send(answer);
    result
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let node = self.node;
        Pin::new(&mut self.answer).poll(context).map(|received| {
            received.unwrap_or_else(|_gone| {
                Err(Error::Closed {
                    node,
                    reason: "its task died".into(),
                    sent: true,
                })
            })
        })
    }
}

/// When a request that was written has waited too long, if it has waited at all.
pub(super) fn deadline(waiting: &Waiting) -> Option<Instant> {
    waiting.written.map(|written| written + waiting.patience)
}
