//! What has happened to flows and partitions, the newest last: a bounded memory of it, and counts that go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::status::State;

/// So many events are kept: at a start of a thousand partitions there are some thousand, of a few hundred bytes each.
pub const EVENTS_KEPT: usize = 8_192;

/// A longer reason is cut: what a cluster says may be of any length.
const REASON_CHARS_MAX: usize = 1_000;

/// What kind of thing has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A state has become another one, neither of the three below.
    #[default]
    State,
    /// Source offsets were gone before they could be copied.
    Gap,
    /// A source topic is not the one that it was, or its log has moved backwards.
    Recreated,
    /// The target refuses a record for what it is.
    Quarantined,
    /// This daemon has taken a partition over.
    Taken,
    /// This daemon has given a partition up.
    Released,
    /// Somebody has paused something.
    Paused,
    /// Somebody has resumed something.
    Resumed,
    /// A topic was deleted on the source; its mirror is kept.
    Deleted,
}

/// Something that has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Its number: one more than that of the event before it. They begin with 1 when the daemon starts.
    pub sequence: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// The flow.
    pub flow: String,
    /// The source topic; absent where it is about the whole flow.
    pub topic: Option<String>,
    /// The partition; absent where it is about all of them.
    pub partition: Option<i32>,
    /// What kind of thing it is.
    pub kind: EventKind,
    /// The state before, if it has changed.
    pub from: Option<State>,
    /// The state from then on, if it has changed.
    pub to: Option<State>,
    /// The source offsets that it is about, the first and the last: a gap, or a record that is refused.
    pub offsets: Option<(i64, i64)>,
    /// Why, or what, in one line.
    pub reason: Option<String>,
    /// What would clear the state that it is in from then on.
    pub clears: Option<String>,
}

/// An answer to the question for events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventList {
    /// When the daemon began to count, in milliseconds since 1970: another one has other numbers.
    pub since_ms: i64,
    /// The number of the oldest event that is still kept, or of the next one if there is none.
    pub first: u64,
    /// The number of the next event: what to ask for the next time.
    pub next: u64,
    /// The events, the newest last.
    pub events: Vec<Event>,
}

/// The events of a daemon. A clone is the same memory.
#[derive(Clone, Debug)]
pub struct Events(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    since_ms: i64,
    next: u64,
    kept: VecDeque<Event>,
    /// By flow and kind.
    counts: BTreeMap<(String, EventKind), u64>,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 9] = [
        EventKind::State,
        EventKind::Gap,
        EventKind::Recreated,
        EventKind::Quarantined,
        EventKind::Taken,
        EventKind::Released,
        EventKind::Paused,
        EventKind::Resumed,
        EventKind::Deleted,
    ];

    /// Its name in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::State => "state",
            EventKind::Gap => "gap",
            EventKind::Recreated => "recreated",
            EventKind::Quarantined => "quarantined",
            EventKind::Taken => "taken",
            EventKind::Released => "released",
            EventKind::Paused => "paused",
            EventKind::Resumed => "resumed",
            EventKind::Deleted => "deleted",
        }
    }

    /// What it is that something gets into this state.
    pub fn of_change(to: State) -> EventKind {
        match to {
            State::Gap => EventKind::Gap,
            State::Recreated => EventKind::Recreated,
            State::Quarantined => EventKind::Quarantined,
            State::CaughtUp | State::Copying | State::Paused | State::Waiting | State::Stalled => {
                EventKind::State
            }
        }
    }
}

impl Events {
    /// None so far.
    pub fn new(now_ms: i64) -> Events {
        Events(Arc::new(Mutex::new(Inner {
            since_ms: now_ms,
            next: 1,
            kept: VecDeque::new(),
            counts: BTreeMap::new(),
        })))
    }

    /// Something has happened. Its number is given here.
    pub fn note(&self, mut event: Event) {
        for text in [&mut event.reason, &mut event.clears].into_iter().flatten() {
            if let Some((end, _)) = text.char_indices().nth(REASON_CHARS_MAX) {
                text.truncate(end);
                text.push('…');
            }
        }
        let mut inner = self.lock();
        event.sequence = inner.next;
        inner.next += 1;
        let count = inner.counts.entry((event.flow.clone(), event.kind)).or_default();
        *count += 1;
        if inner.kept.len() >= EVENTS_KEPT {
            inner.kept.pop_front();
        }
        inner.kept.push_back(event);
    }

    /// Those that are kept, from this number on.
    pub fn from(&self, sequence: u64) -> EventList {
        let inner = self.lock();
        let first = inner.next - inner.kept.len() as u64;
        let skip = usize::try_from(sequence.saturating_sub(first)).unwrap_or(usize::MAX);
        EventList {
            since_ms: inner.since_ms,
            first,
            next: inner.next,
            events: inner.kept.iter().skip(skip).cloned().collect(),
        }
    }

    /// How many there were of each kind of a flow since the start.
    pub fn counts(&self, flow: &str) -> BTreeMap<EventKind, u64> {
        let inner = self.lock();
        let count = |kind| {
            let count = inner.counts.get(&(flow.to_owned(), kind));
            (kind, count.copied().unwrap_or(0))
        };
        EventKind::ALL.into_iter().map(count).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(reason: &str) -> Event {
        Event {
            flow: "a->b".into(),
            reason: Some(reason.into()),
            ..Event::default()
        }
    }

    #[test]
    fn the_name_of_a_kind_is_its_json() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let events = Events::new(7);
        assert_eq!(
            events.from(0),
            EventList {
                since_ms: 7,
                first: 1,
                next: 1,
                events: Vec::new()
            }
        );
        for number in 0..EVENTS_KEPT + 10 {
            events.note(event(&number.to_string()));
        }
        let all = events.from(0);
        assert_eq!((all.first, all.events.len()), (11, EVENTS_KEPT));
        assert_eq!(all.next, EVENTS_KEPT as u64 + 11);
        assert!(
            all.events
                .windows(2)
                .all(|pair| pair[0].sequence + 1 == pair[1].sequence)
        );
        let last = events.from(all.next - 2);
        assert_eq!(last.events, all.events[EVENTS_KEPT - 2..]);
        assert_eq!(events.from(all.next).events, []);
        assert_eq!(events.from(u64::MAX).events, []);
        assert_eq!(events.counts("a->b")[&EventKind::State], EVENTS_KEPT as u64 + 10);
        assert_eq!(events.counts("other")[&EventKind::State], 0);
    }

    #[test]
    fn a_reason_of_any_length_takes_bounded_memory() {
        let events = Events::new(0);
        events.note(event(&"ä".repeat(1 << 20)));
        let reason = events.from(0).events.remove(0).reason.unwrap();
        assert_eq!(reason.chars().count(), REASON_CHARS_MAX + 1);
    }
}
