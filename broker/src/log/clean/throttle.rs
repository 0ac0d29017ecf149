//! How fast cleaning may go, over all threads, and how it is told to stop.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::super::checkpoint::lock;
use super::CleanError;

/// Shared by all that clean.
#[derive(Debug)]
pub(super) struct Throttle {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Debug)]
struct State {
    bytes_per_second: f64,
    /// When what was read and written so far is paid off.
    free_at: Instant,
    stop: bool,
}

/// Debts of less are not waited for, so that small batches do not each cost a switch of threads.
const LEAST_WAIT: Duration = Duration::from_millis(20);

impl Default for Throttle {
    fn default() -> Self {
        Throttle {
            state: Mutex::new(State {
                bytes_per_second: f64::MAX,
                free_at: Instant::now(),
                stop: false,
            }),
            stopped: Condvar::new(),
        }
    }
}

impl Throttle {
    /// log.cleaner.io.max.bytes.per.second
    pub(super) fn set_rate(&self, bytes_per_second: f64) {
        lock(&self.state).bytes_per_second = bytes_per_second.max(1.0);
    }

    /// Ends all rounds that are under way, and all that come.
    pub(super) fn stop(&self) {
        lock(&self.state).stop = true;
        self.stopped.notify_all();
    }

    pub(super) fn check(&self) -> Result<(), CleanError> {
        if lock(&self.state).stop {
            Err(CleanError::Stopped)
        } else {
            Ok(())
        }
    }

    /// Waits until so many bytes more may be read or written.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), CleanError> {
        let mut state = lock(&self.state);
        #[expect(clippy::cast_precision_loss, reason = "batches are far below 2^53 bytes")]
        let cost =
            Duration::try_from_secs_f64(bytes as f64 / state.bytes_per_second).unwrap_or(Duration::MAX);
        let now = Instant::now();
        let free_at = state.free_at.max(now).checked_add(cost);
        state.free_at = free_at.unwrap_or(now);
        let wait = state.free_at.saturating_duration_since(now);
        if wait < LEAST_WAIT {
            return Ok(());
        }
        let waited = self.stopped.wait_timeout_while(state, wait, |state| !state.stop);
        let (state, _) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.stop {
            Err(CleanError::Stopped)
        } else {
            Ok(())
        }
    }
}
