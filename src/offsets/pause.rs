//! What somebody has paused: a whole flow, a topic of it, or one partition. It is kept in the map topic on the target, so that it holds for every
//! daemon of the flow, survives restarts, and moves with the partitions.
//!
//! Each pause stands by itself: a partition is paused as long as any of them covers it, and resuming takes back exactly the one that is named.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Stands for all topics in the key of a pause; no topic can be called so.
const WHOLE_FLOW: &str = "*";

/// What a pause covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything, also topics that are still to come.
    Flow,
    /// A source topic, with partitions that are still to come.
    Topic(String),
    /// One partition of a source topic.
    Partition(String, i32),
}

/// Who paused something, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// [`VERSION`](super::record::VERSION).
    pub v: u8,
    /// Who did it, as far as that is known.
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Everything that is paused of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses(BTreeMap<Scope, Pause>);

/// The key of a record in the map topic that says what is paused.
#[derive(Serialize, Deserialize)]
pub(super) struct PauseKey {
    paused: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
}

impl Scope {
    /// Whether this covers a partition of a source topic.
    pub fn covers(&self, topic: &str, partition: i32) -> bool {
        match self {
            Scope::Flow => true,
            Scope::Topic(name) => name == topic,
            Scope::Partition(name, number) => name == topic && *number == partition,
        }
    }

    /// Whether all that `other` covers is covered by this, and more.
    pub fn is_wider_than(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::Flow, other) => *other != Scope::Flow,
            (Scope::Topic(name), Scope::Partition(of, _)) => name == of,
            _ => false,
        }
    }

    /// The source topic, if it is about one.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Scope::Flow => None,
            Scope::Topic(name) | Scope::Partition(name, _) => Some(name),
        }
    }

    /// The partition, if it is about one.
    pub fn partition(&self) -> Option<i32> {
        match self {
            Scope::Partition(_, number) => Some(*number),
            Scope::Flow | Scope::Topic(_) => None,
        }
    }

    pub(super) fn key(&self) -> PauseKey {
        PauseKey {
            paused: self.topic().unwrap_or(WHOLE_FLOW).to_owned(),
            partition: self.partition(),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Flow => f.write_str("the whole flow"),
            Scope::Topic(name) => write!(f, "topic {name}"),
            Scope::Partition(name, number) => write!(f, "partition {name}-{number}"),
        }
    }
}

impl PauseKey {
    /// What it covers; `None` for what this version does not know.
    pub(super) fn scope(self) -> Option<Scope> {
        match (self.paused.as_str(), self.partition) {
            ("", _) | (WHOLE_FLOW, Some(_)) => None,
            (WHOLE_FLOW, None) => Some(Scope::Flow),
            (_, None) => Some(Scope::Topic(self.paused)),
            (_, Some(number)) => Some(Scope::Partition(self.paused, number)),
        }
    }
}

impl Pauses {
    /// Whether nothing is paused.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, the widest first.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &Pause)> {
        self.0.iter()
    }

    /// The pause of exactly this.
    pub fn get(&self, scope: &Scope) -> Option<&Pause> {
        self.0.get(scope)
    }

    /// Those that cover a partition, the widest first.
    pub fn of(&self, topic: &str, partition: i32) -> impl Iterator<Item = (&Scope, &Pause)> {
        self.0
            .iter()
            .filter(move |(scope, _)| scope.covers(topic, partition))
    }

    /// Those that are wider than this, the widest first.
    pub fn above<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = (&'a Scope, &'a Pause)> {
        self.0.iter().filter(move |(other, _)| other.is_wider_than(scope))
    }

    /// Those that are narrower than this.
    pub fn below<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = (&'a Scope, &'a Pause)> {
        self.0.iter().filter(move |(other, _)| scope.is_wider_than(other))
    }

    /// This is not paused any more.
    pub fn resumed(&mut self, scope: &Scope) {
        self.0.remove(scope);
    }

    pub(super) fn note(&mut self, scope: Scope, pause: Option<Pause>) {
        match pause {
            Some(pause) => drop(self.0.insert(scope, pause)),
            None => drop(self.0.remove(&scope)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::record::{MapRecord, VERSION, bytes};
    use expect_test::expect;

    fn pause() -> Pause {
        Pause {
            v: VERSION,
            by: "ada@host".into(),
            at_ms: 1_700_000_000_000,
            reason: Some("maintenance".into()),
        }
    }

    fn all() -> [Scope; 3] {
        [
            Scope::Flow,
            Scope::Topic("orders".into()),
            Scope::Partition("orders".into(), 3),
        ]
    }

    #[test]
    fn keys_and_values_are_json_that_a_person_can_read() {
        let keys = all().map(|scope| String::from_utf8(bytes(&scope.key())).unwrap());
        expect![[r#"{"paused":"*"} {"paused":"orders"} {"paused":"orders","partition":3}"#]]
            .assert_eq(&keys.join(" "));
        expect![[r#"{"v":1,"by":"ada@host","at_ms":1700000000000,"reason":"maintenance"}"#]]
            .assert_eq(&String::from_utf8(bytes(&pause())).unwrap());
    }

    #[test]
    fn what_is_written_is_read_and_a_tombstone_takes_it_back() {
        for scope in all() {
            let key = bytes(&scope.key());
            assert_eq!(
                MapRecord::read(&key, Some(&bytes(&pause()))),
                Some(MapRecord::Pause(scope.clone(), Some(pause())))
            );
            assert_eq!(
                MapRecord::read(&key, None),
                Some(MapRecord::Pause(scope.clone(), None))
            );
            let later = Pause { v: 2, ..pause() };
            assert_eq!(MapRecord::read(&key, Some(&bytes(&later))), None);
        }
        for unknown in [
            r#"{"paused":""}"#,
            r#"{"paused":"*","partition":1}"#,
            r#"{"paused":7}"#,
        ] {
            assert_eq!(MapRecord::read(unknown.as_bytes(), None), None, "{unknown}");
        }
    }

    #[test]
    fn each_pause_stands_by_itself() {
        let mut pauses = Pauses::default();
        for scope in all() {
            pauses.note(scope, Some(pause()));
        }
        assert_eq!(pauses.of("orders", 3).count(), 3);
        assert_eq!(pauses.of("orders", 4).count(), 2);
        assert_eq!(pauses.of("other", 3).count(), 1);
        let topic = Scope::Topic("orders".into());
        assert_eq!(
            (pauses.above(&topic).count(), pauses.below(&topic).count()),
            (1, 1)
        );
        pauses.note(Scope::Flow, None);
        assert_eq!(pauses.of("other", 3).count(), 0);
        assert_eq!(pauses.of("orders", 3).count(), 2);
    }
}
