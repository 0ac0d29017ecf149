//! The requests of a connection: those that are to be written, and those that wait for their answers.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{connection::deadline, error::Error};
use crate::message::{ApiKey, ResponseHeader};

/// What is done with an answer, or with the news that there is none. Returns for how long the broker takes no requests,
/// or why the answer cannot be used.
pub(super) type Complete = Box<dyn FnOnce(Result<Bytes, Error>) -> Result<Duration, Error> + Send>;

/// A request whose answer is waited for.
pub(super) struct Waiting {
    pub(super) correlation_id: i32,
    pub(super) api: ApiKey,
    pub(super) version: i16,
    /// How long the answer may take.
    pub(super) patience: Duration,
    /// When the writer began to write the request.
    pub(super) written: Option<Instant>,
    pub(super) complete: Complete,
    /// Free again when the answer is there.
    pub(super) _place: OwnedSemaphorePermit,
}

/// Both queues have as many entries as there are places on the connection, at most.
#[derive(Debug)]
pub(super) struct Queue {
    node: i32,
    next_correlation_id: AtomicI32,
    state: Mutex<State>,
    /// Tells the writer that there is something to write.
    pub(super) to_write: Notify,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    /// The encoded requests that were not written yet: those of the last entries of `waiting`.
    frames: VecDeque<Vec<Bytes>>,
    waiting: VecDeque<Waiting>,
    closed: Option<Arc<str>>,
    /// Until when the broker takes no requests.
    muted_until: Option<Instant>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("correlation_id", &self.correlation_id)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl Queue {
    pub(super) fn new(node: i32) -> Self {
        Queue {
            node,
            next_correlation_id: AtomicI32::new(0),
            state: Mutex::default(),
            to_write: Notify::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Cancelled when the connection ends.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    pub(super) fn next_correlation_id(&self) -> i32 {
        self.next_correlation_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a request, after all others.
    pub(super) fn push(&self, pieces: Vec<Bytes>, waiting: Waiting) -> Result<(), Error> {
        let mut state = self.state();
        if let Some(reason) = &state.closed {
            return Err(self.closed_by(reason.clone(), false));
        }
        state.frames.push_back(pieces);
        state.waiting.push_back(waiting);
        drop(state);
        self.to_write.notify_one();
        Ok(())
    }

    /// Takes requests that are to be written, up to about so many bytes: from here on they may have been sent.
    pub(super) fn take(&self, bytes_max: usize) -> VecDeque<Bytes> {
        let mut state = self.state();
        let state = &mut *state;
        let mut at = state.waiting.len().saturating_sub(state.frames.len());
        let mut pieces = VecDeque::new();
        let (now, mut bytes) = (Instant::now(), 0);
        while bytes < bytes_max
            && let Some(frame) = state.frames.pop_front()
        {
            if let Some(waiting) = state.waiting.get_mut(at) {
                waiting.written = Some(now);
            }
            at += 1;
            bytes += frame.iter().map(Bytes::len).sum::<usize>();
            pieces.extend(frame);
        }
        pieces
    }

    /// Hands an answer to whoever waits for it; an error ends the connection.
    pub(super) fn answer(&self, mut frame: Bytes) -> Result<Duration, Error> {
        let waiting = {
            let mut state = self.state();
            match state.waiting.front() {
                Some(first) if first.written.is_some() => state.waiting.pop_front(),
                _ => None,
            }
        };
        let Some(waiting) = waiting else {
            return Err(Error::Nonsense {
                api: "nothing",
                reason: "no request was out".to_owned(),
            });
        };
        let api = waiting.api.name();
        let header = ResponseHeader::decode(&mut frame, waiting.api, waiting.version);
        let outcome = match header {
            Err(source) => Err(Error::Protocol { api, source }),
            Ok(header) if header.correlation_id != waiting.correlation_id => Err(Error::Nonsense {
                api,
                reason: format!(
                    "it answers request {}, and {} is next",
                    header.correlation_id, waiting.correlation_id
                ),
            }),
            Ok(_) => Ok(frame),
        };
        (waiting.complete)(outcome)
    }

    /// When the first request that waits has waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.state().waiting.front().and_then(deadline)
    }

    /// Fails the first request because it has waited too long. Returns why the connection ends, then.
    pub(super) fn expire(&self, now: Instant) -> Option<String> {
        let expired = {
            let mut state = self.state();
            let first = state.waiting.front().and_then(deadline);
            first.filter(|deadline| *deadline <= now)?;
            state.waiting.pop_front()?
        };
        let error = Error::TimedOut {
            node: self.node,
            api: expired.api.name(),
            after: expired.patience,
            sent: true,
        };
        let reason = error.to_string();
        let _ = (expired.complete)(Err(error));
        Some(reason)
    }

    /// The broker takes no requests for this long.
    pub(super) fn mute(&self, how_long: Duration) {
        let until = Instant::now() + how_long;
        let mut state = self.state();
        state.muted_until = Some(state.muted_until.map_or(until, |before| before.max(until)));
    }

    /// Until when the broker takes no requests, if that is still to come.
    pub(super) fn muted_until(&self) -> Option<Instant> {
        let mut state = self.state();
        state.muted_until = state.muted_until.filter(|until| *until > Instant::now());
        state.muted_until
    }

    /// Fails everything that waits and all that comes later. Only the first call does anything.
    pub(super) fn close(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let waiting = {
            let mut state = self.state();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(reason.clone());
            state.frames.clear();
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting {
            let sent = waiting.written.is_some();
            let _ = (waiting.complete)(Err(self.closed_by(reason.clone(), sent)));
        }
        self.ended.cancel();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.ended.is_cancelled() || self.state().closed.is_some()
    }

    /// The error of whoever comes too late.
    pub(super) fn closed_error(&self, sent: bool) -> Error {
        let reason = self.state().closed.clone();
        self.closed_by(reason.unwrap_or_else(|| "it has ended".into()), sent)
    }

    fn closed_by(&self, reason: Arc<str>, sent: bool) -> Error {
        Error::Closed {
            node: self.node,
            reason,
            sent,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
