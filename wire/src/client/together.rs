//! One question for many who want to know: what they ask while a question is out goes into the next one, together.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::error::Error;

/// Those who want to know. A key leaves when a question with it goes out, so there are as many as there are askers.
#[derive(Debug)]
pub(super) struct Together<K> {
    wanted: Mutex<BTreeSet<K>>,
    /// Held by the one who asks; what went wrong last, and when.
    turn: tokio::sync::Mutex<Option<(Instant, Error)>>,
}

impl<K: Ord> Default for Together<K> {
    fn default() -> Self {
        Together {
            wanted: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<K: Ord + Clone> Together<K> {
    /// Sees to it that a question with this key is asked after now. `answered` tells whether one was, that went out
    /// since the given moment; `ask` asks one. If who asks is dropped, the next one who waits asks again.
    pub(super) async fn ask<F>(
        &self,
        key: K,
        answered: impl Fn(Instant) -> bool,
        ask: impl FnOnce(Vec<K>) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let since = Instant::now();
        self.wanted().insert(key.clone());
        let mut failure = self.turn.lock().await;
        if answered(since) {
            return Ok(());
        }
        if let Some((at, error)) = &*failure
            && *at > since
        {
            // Whoever had the turn has just found out that nobody answers.
            return Err(error.clone());
        }
        let mut keys = std::mem::take(&mut *self.wanted());
        keys.insert(key);
        let outcome = ask(keys.into_iter().collect()).await;
        *failure = outcome
            .as_ref()
            .err()
            .map(|error| (Instant::now(), error.clone()));
        outcome
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, BTreeSet<K>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for again and again is asked for after this, doubled each time, and after no more than a second.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long to wait after a question that brought nothing new so many times. The first time it is asked again at once.
pub(super) fn backoff(tries: u32) -> Duration {
    match tries {
        0 => Duration::ZERO,
        tries => doubled(BACKOFF, BACKOFF_MAX, tries - 1),
    }
}

/// A wait that doubles up to a limit, and differs by a fifth so that many clients do not come at once.
pub(super) fn doubled(first: Duration, max: Duration, times: u32) -> Duration {
    let wait = first.saturating_mul(1 << times.min(16)).min(max);
    wait.mul_f64(rand::random_range(0.8..1.2))
}
