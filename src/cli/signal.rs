//! Being asked to end: SIGTERM and Ctrl-C, and ending in order before a deadline.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::exit;

/// Who asked the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A person at the terminal: SIGINT.
    Interrupt,
    /// A supervisor: SIGTERM.
    Terminate,
}

/// Listens for the signals, from when it is made: none that comes later is lost.
#[derive(Debug)]
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. It may be cancelled: a signal that has come is then seen by the next call.
    pub async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }

    /// Ends in order after `stop`, and gives the exit code: 0 after SIGTERM, 130 after Ctrl-C.
    ///
    /// A second signal, or the deadline, ends the wait; `ending` is then dropped where it stands.
    pub async fn end(&mut self, stop: Stop, deadline: Duration, ending: impl Future<Output = ()>) -> u8 {
        tokio::select! {
            biased;
            () = ending => match stop {
                Stop::Interrupt => exit::INTERRUPTED,
                Stop::Terminate => exit::OK,
            },
            _ = self.next() => {
                tracing::warn!("told to stop a second time: ending at once");
                exit::INTERRUPTED
            }
            () = tokio::time::sleep(deadline) => {
                tracing::error!(deadline_s = deadline.as_secs(), "not everything has ended before the deadline");
                exit::FAILURE
            }
        }
    }
}
