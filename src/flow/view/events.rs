//! One line in the log for each event.

use tracing::Level;

use crate::observe::events::{Event, EventKind};
use crate::observe::status::State;

/// Logs an event. `all_wait`: the whole flow waits for a cluster that is away, which is said of the flow, and need not be said of each
/// partition again.
pub(super) fn log(flow: &str, event: &Event, all_wait: bool) {
    let (topic, partition) = (event.topic.as_deref(), event.partition);
    let reason = event.reason.as_deref().unwrap_or_default();
    if let Some(state) = event.to {
        // What a flow as a whole is in is the worst of its partitions, or is said where it comes about.
        let level = topic.map_or(Level::DEBUG, |_| level_of_state(state, all_wait));
        let what = if topic.is_some() { "partition" } else { "flow" };
        return match level {
            Level::DEBUG => tracing::debug!(flow, topic, partition, %state, reason, "{what}"),
            Level::INFO => tracing::info!(flow, topic, partition, %state, reason, "{what}"),
            _ => tracing::warn!(flow, topic, partition, %state, reason, "{what}"),
        };
    }
    let kind = event.kind.name();
    match (event.kind, event.offsets) {
        (EventKind::Gap, Some((first, last))) => {
            tracing::error!(flow, topic, partition, first, last, "gap: {reason}")
        }
        (EventKind::Gap | EventKind::Recreated | EventKind::Quarantined | EventKind::Deleted, _) => {
            tracing::warn!(flow, topic, partition, "{kind}: {reason}")
        }
        (EventKind::Paused | EventKind::Resumed, _) => {
            tracing::info!(flow, topic, partition, reason, "{kind}")
        }
        (EventKind::State | EventKind::Taken | EventKind::Released, _) => {
            tracing::debug!(flow, topic, partition, reason, "{kind}")
        }
    }
}

fn level_of_state(state: State, all_wait: bool) -> Level {
    match state {
        State::CaughtUp | State::Copying => Level::DEBUG,
        State::Waiting if all_wait => Level::DEBUG,
        State::Waiting | State::Paused => Level::INFO,
        State::Gap | State::Stalled | State::Recreated | State::Quarantined => Level::WARN,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of a partition that begins to wait.
    fn logged(all_wait: bool) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let event = Event {
                topic: Some("orders".into()),
                partition: Some(3),
                from: Some(State::Copying),
                to: Some(State::Waiting),
                reason: Some("why".into()),
                ..Event::default()
            };
            log("a->b", &event, all_wait);
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_partition_that_waits_is_logged_quietly_when_its_whole_flow_waits() {
        let line = "partition flow=\"a->b\" topic=\"orders\" partition=3 state=waiting reason=\"why\"\n";
        assert_eq!(logged(false), format!(" INFO {line}"));
        assert_eq!(logged(true), format!("DEBUG {line}"));
    }
}
