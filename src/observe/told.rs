//! Events as a daemon of any version tells them: what this version does not know is kept as it is, and shown.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Something that has happened, as [`Event`](super::events::Event); kinds and states have any name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// Its number.
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
    pub kind: String,
    /// The state before, if it has changed.
    pub from: Option<String>,
    /// The state from then on, if it has changed.
    pub to: Option<String>,
    /// The source offsets that it is about, the first and the last.
    pub offsets: Option<(i64, i64)>,
    /// Why, or what, in one line.
    pub reason: Option<String>,
    /// What would clear the state that it is in from then on.
    pub clears: Option<String>,
    /// What else it says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An answer to the question for events, as [`EventList`](super::events::EventList).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ToldList {
    /// When the daemon began to count, in milliseconds since 1970: another one has other numbers.
    pub since_ms: i64,
    /// The number of the oldest event that is still kept, or of the next one if there is none.
    pub first: u64,
    /// The number of the next event: what to ask for the next time.
    pub next: u64,
    /// The events, the newest last.
    pub events: Vec<Told>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::observe::events::{Event, EventKind, EventList};
    use crate::observe::status::State;

    #[test]
    fn what_this_version_says_is_told_as_it_is() {
        let event = Event {
            sequence: 12,
            at_ms: 7,
            flow: "a->b".into(),
            topic: Some("orders".into()),
            partition: Some(3),
            kind: EventKind::Quarantined,
            from: Some(State::CaughtUp),
            to: Some(State::Quarantined),
            offsets: Some((17, 18)),
            reason: Some("too large".into()),
            clears: Some("raise the limit".into()),
        };
        let list = EventList {
            since_ms: 1,
            first: 2,
            next: 13,
            events: vec![event, Event::default()],
        };
        let said = serde_json::to_value(&list).unwrap();
        let told: ToldList = serde_json::from_value(said.clone()).unwrap();
        assert!(told.events.iter().all(|told| told.more.is_empty()));
        assert_eq!(serde_json::to_value(&told).unwrap(), said);
    }

    #[test]
    fn what_a_later_version_says_is_kept() {
        let said = json!({
            "sequence": 1, "at_ms": 7, "flow": "a->b", "topic": null, "partition": null, "kind": "moved-on",
            "from": "copying", "to": "resting", "offsets": null, "reason": "why not", "clears": null, "by": { "whom": "ada" },
        });
        let told: Told = serde_json::from_value(said.clone()).unwrap();
        assert_eq!(
            (told.kind.as_str(), told.to.as_deref()),
            ("moved-on", Some("resting"))
        );
        assert_eq!(serde_json::to_value(&told).unwrap(), said);
    }
}
