//! What a request costs its client: bytes of produce requests, and the time that answering takes.
//!
//! Bytes of answers to fetches are counted where they are read, because a client that is over its quota gets none.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::{Duration, Instant},
};

use heliostat_wire::message::ApiKey;

use super::{Call, Context};
use crate::{
    broker::Broker,
    quota::{Mutations, QuotaKind},
};

tokio::task_local! {
    /// Nanoseconds that threads have spent on the request of this task.
    static SPENT_NANOS: Arc<AtomicU64>;
}

/// Counts one request. Without quotas it does nothing.
pub(super) struct Meter(Option<Metered>);

struct Metered {
    broker: Arc<Broker>,
    user: String,
    client_id: String,
    api: ApiKey,
    request_bytes: usize,
    spent_nanos: Arc<AtomicU64>,
}

/// Adds the time in which a future is polled.
struct Timed<F> {
    future: Pin<Box<F>>,
    spent_nanos: Arc<AtomicU64>,
}

impl Meter {
    pub(super) fn new(call: &Call, api: ApiKey) -> Self {
        let broker = &call.context.broker;
        // Nobody is charged for saying who they are.
        let counts = broker.quotas().is_active() && call.context.is_known();
        Meter(counts.then(|| Metered {
            broker: broker.clone(),
            user: call.context.user().to_owned(),
            client_id: call.context.client_id.clone(),
            api,
            request_bytes: call.request_bytes,
            spent_nanos: Arc::default(),
        }))
    }

    /// Counts the time that threads spend on this.
    pub(super) async fn run<F: Future>(&self, handler: F) -> F::Output {
        match &self.0 {
            Some(metered) if metered.broker.quotas().has(QuotaKind::Request) => {
                let spent_nanos = metered.spent_nanos.clone();
                let timed = Timed {
                    future: Box::pin(handler),
                    spent_nanos: spent_nanos.clone(),
                };
                SPENT_NANOS.scope(spent_nanos, timed).await
            }
            _ => handler.await,
        }
    }

    /// For how long the client is to be kept waiting, at least for the time that the handler has found.
    pub(super) fn throttle_time_ms(&self, found_ms: i32) -> i32 {
        let Some(metered) = &self.0 else {
            return found_ms;
        };
        let quotas = metered.broker.quotas();
        let record = |kind, amount| quotas.record(kind, &metered.user, &metered.client_id, amount);
        let bytes = match metered.api {
            ApiKey::Produce => record(QuotaKind::Produce, metered.request_bytes as f64),
            _ => Duration::ZERO,
        };
        let time = record(QuotaKind::Request, percent_seconds(&metered.spent_nanos));
        // A fetch has asked before it answered, and answered without records if it took too long.
        let time = if metered.api == ApiKey::Fetch {
            Duration::ZERO
        } else {
            time
        };
        found_ms.max(as_ms(bytes)).max(as_ms(time))
    }
}

impl Context {
    /// What the client may still change in topics: refused since a version that knows of it.
    pub(super) fn mutations(&self, strict_since: i16) -> Mutations<'_> {
        let strict = self.api_version >= strict_since;
        Mutations::new(self.broker.quotas(), (self.user(), &self.client_id), strict)
    }

    /// For how long the client is to be kept waiting for the time that its request has taken so far.
    pub(super) fn request_throttle_ms(&self) -> i32 {
        let spent = SPENT_NANOS.try_with(|spent_nanos| percent_seconds(spent_nanos));
        spent.map_or(0, |spent| as_ms(self.record(QuotaKind::Request, spent)))
    }

    /// Takes note of what the client has used, or takes it back; returns for how long it is to be kept waiting.
    pub(super) fn record(&self, kind: QuotaKind, amount: f64) -> Duration {
        self.broker
            .quotas()
            .record(kind, self.user(), &self.client_id, amount)
    }

    /// The most that the client may use at once, if there is a limit.
    pub(super) fn burst(&self, kind: QuotaKind) -> Option<f64> {
        self.broker.quotas().burst(kind, self.user(), &self.client_id)
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<F::Output> {
        let began = Instant::now();
        let polled = self.future.as_mut().poll(context);
        add(&self.spent_nanos, began);
        polled
    }
}

/// Work for another thread, whose time counts as the request's.
pub(super) fn counted<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let spent_nanos = SPENT_NANOS.try_with(Arc::clone).ok();
    move || {
        let Some(spent_nanos) = spent_nanos else {
            return work();
        };
        let began = Instant::now();
        let done = work();
        add(&spent_nanos, began);
        done
    }
}

/// As the field of a response.
pub(super) fn as_ms(throttle: Duration) -> i32 {
    i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX)
}

fn add(spent_nanos: &AtomicU64, began: Instant) {
    let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    spent_nanos.fetch_add(nanos, Ordering::Relaxed);
}

/// What has not been counted yet, in percent of a second.
fn percent_seconds(spent_nanos: &AtomicU64) -> f64 {
    spent_nanos.swap(0, Ordering::Relaxed) as f64 * 100.0 / 1e9
}
