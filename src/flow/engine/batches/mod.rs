//! The engine that passes whole batches on, on Heliostat's own client.
//!
//! One task takes what was fetched, makes of it batches that the target takes, and gives them to the sender; the answers settle in
//! the accounts. It is idempotent producing in order: a batch is sent once. After a failure a partition starts anew with a claim, which reads in
//! the target's log what has arrived, instead of guessing.

mod neighbours;
mod nodes;
mod pump;
mod slot;
mod spare;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use heliostat_wire::client::{Client, Fetcher};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::budget::Share;
use super::{Engine, Event, Side, Start};
use pump::Pump;

/// A leader that has answered within this time would have said where its log ends if that were not as before: it is polled twice a second.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What the engine needs to know of its flow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The flow's name, for logs.
    pub flow: String,
    /// At most this many bytes that were fetched and are not acknowledged by the target.
    pub in_flight_bytes: u64,
    /// At most this many bytes a second, if set.
    pub bytes_per_second: Option<u64>,
    /// How much of that is this daemon's.
    pub share: Arc<Share>,
}

/// The engine.
pub struct Batches {
    commands: mpsc::UnboundedSender<Command>,
    fetcher: Arc<Fetcher>,
    complaints: Arc<Complaints>,
    stop: CancellationToken,
}

enum Command {
    Start(Box<Start>),
    Stop(u32),
}

/// What each side last complained of.
#[derive(Debug, Default)]
struct Complaints {
    source: Mutex<Option<String>>,
    target: Mutex<Option<String>>,
}

impl Batches {
    /// An engine between two clusters. What it has to say goes to `events`.
    #[allow(
        clippy::disallowed_methods,
        reason = "a command for each partition that is started or stopped"
    )]
    pub fn new(
        settings: Settings,
        source: Client,
        target: Client,
        events: mpsc::UnboundedSender<Event>,
    ) -> Batches {
        let (commands, inbox) = mpsc::unbounded_channel();
        let complaints = Arc::new(Complaints::default());
        let stop = CancellationToken::new();
        let pump = Pump::new(settings, source, target, events.clone(), complaints.clone());
        let fetcher = pump.fetcher.clone();
        let work = tokio::spawn(pump.run(inbox, stop.clone()));
        tokio::spawn(async move {
            // Its panic has been reported; the flow gets a new engine, and claims its partitions anew.
            if let Err(error) = work.await {
                let _ = events.send(Event::Broken(error.to_string()));
            }
        });
        Batches {
            commands,
            fetcher,
            complaints,
            stop,
        }
    }
}

impl Engine for Batches {
    fn start(&self, partition: Start) {
        // The task lives as long as `self`.
        let _ = self.commands.send(Command::Start(Box::new(partition)));
    }

    fn stop(&self, id: u32) {
        let _ = self.commands.send(Command::Stop(id));
    }

    fn refresh(&self, _: &str) {
        // The client asks about a partition that it does not know when it is first used.
    }

    fn last_error(&self, side: Side) -> Option<String> {
        self.complaints.of(side).clone()
    }

    fn log_ends(&self, id: u32) -> Option<(i64, i64)> {
        let ends = self.fetcher.log_ends(id, HEARD_WITHIN)?;
        let is_told = ends.log_start_offset >= 0 && ends.last_stable_offset >= 0;
        is_told.then_some((ends.log_start_offset, ends.last_stable_offset))
    }

    fn sends_again(&self) -> bool {
        false
    }

    fn refused(&self, _: &str, _: i32) -> Option<String> {
        // What is refused is reported at once, and not sent again by the engine.
        None
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Complaints {
    fn of(&self, side: Side) -> std::sync::MutexGuard<'_, Option<String>> {
        let complaint = match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        };
        complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
