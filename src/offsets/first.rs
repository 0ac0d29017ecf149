//! Which of several daemons begins, where none of them finds anybody in the group: the first one that says so in the map topic.
//!
//! The topic's order is the same for all who read it, so they agree. The first one says it again and again for as long as it copies what the group has
//! not given to anybody, and says that it is over when it has released what the group has given to others. They wait for that, and nobody has to be
//! fenced. That costs no offset of the mirror, and without exactly-once no duplicates. What keeps two owners apart is the claim, here as everywhere: where
//! this is not kept, by a daemon that was killed or by clocks that differ, nothing but that is lost. So nothing that is written here is believed for long.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::record::VERSION;

/// For how long it holds at most that a daemon begins, if it does not say so again: one that is killed then is not waited for any longer.
pub const HOLDS: Duration = Duration::from_secs(3);

/// The only thing that a key of this kind says.
const DAEMON: &str = "daemon";

/// The key of a record in the map topic that says which daemon begins.
#[derive(Serialize, Deserialize)]
pub(super) struct FirstKey {
    first: String,
}

impl FirstKey {
    /// The one key of this kind.
    pub(super) fn known() -> FirstKey {
        FirstKey {
            first: DAEMON.to_owned(),
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.first == DAEMON
    }
}

/// A daemon says that it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// [`VERSION`].
    pub v: u8,
    /// A name that it has given itself, which no other has.
    pub daemon: String,
    /// When it said so, in milliseconds since 1970.
    pub at_ms: i64,
    /// For how long that holds, if it does not say so again. 0 says that it is over.
    pub for_ms: i64,
}

impl Start {
    /// `daemon` begins now, or says so again.
    pub fn new(daemon: &str, at_ms: i64, holds: Duration) -> Start {
        Start {
            v: VERSION,
            daemon: daemon.to_owned(),
            at_ms,
            for_ms: i64::try_from(holds.as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn is_over_at(&self, at_ms: i64) -> bool {
        self.at_ms.saturating_add(self.holds_ms()) <= at_ms || self.for_ms <= 0
    }

    /// What anybody may have written of it is not believed.
    fn holds_ms(&self) -> i64 {
        let most = i64::try_from(HOLDS.as_millis()).unwrap_or(i64::MAX);
        self.for_ms.clamp(0, most)
    }
}

/// Who begins, as the records in the order of the topic say.
#[derive(Clone, Debug, Default)]
pub struct First(Option<(Start, Instant)>);

impl First {
    /// The next record; absent where it was taken back.
    pub fn note(&mut self, said: Option<Start>, now: Instant) {
        let Some(start) = said else {
            self.0 = None;
            return;
        };
        let known = self.0.as_ref().map(|(known, _)| known);
        if known.is_none_or(|known| known.daemon == start.daemon || known.is_over_at(start.at_ms)) {
            self.0 = Some((start, now));
        }
    }

    /// Whether it is this daemon.
    pub fn is(&self, daemon: &str) -> bool {
        self.0
            .as_ref()
            .is_some_and(|(start, _)| start.daemon == daemon && start.for_ms > 0)
    }

    /// Whether it is another one, which said so not long ago: neither by the clock of who reads it now, nor since it was read.
    pub fn is_other(&self, daemon: &str, (now_ms, now): (i64, Instant)) -> bool {
        self.0.as_ref().is_some_and(|(start, heard)| {
            let holds = Duration::from_millis(start.holds_ms().unsigned_abs());
            let is_heard_lately = now.saturating_duration_since(*heard) < holds;
            start.daemon != daemon && is_heard_lately && !start.is_over_at(now_ms)
        })
    }

    /// Whether another one has said so, and not that it is over.
    pub fn is_left_by_another(&self, daemon: &str) -> bool {
        let left = |(start, _): &(Start, Instant)| start.daemon != daemon && start.for_ms > 0;
        self.0.as_ref().is_some_and(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::record::{MapRecord, bytes};

    const SECOND: Duration = Duration::from_secs(1);

    fn start(daemon: &str, at_ms: i64) -> Option<Start> {
        Some(Start::new(daemon, at_ms, HOLDS))
    }

    #[test]
    fn the_first_that_says_so_is_the_first_until_it_is_over() {
        let now = Instant::now();
        let mut first = First::default();
        assert!(!first.is("a") && !first.is_other("a", (0, now)));
        first.note(start("a", 0), now);
        first.note(start("b", 1), now);
        assert!(first.is("a") && !first.is("b"));
        assert!(first.is_other("b", (0, now)) && !first.is_other("a", (0, now)));
        first.note(Some(Start::new("b", 2, Duration::ZERO)), now);
        assert!(first.is("a"), "what b says of itself ends nothing of a's");
        first.note(start("a", 2_500), now);
        first.note(start("b", 5_000), now);
        assert!(first.is("a"), "it was said again");
        first.note(Some(Start::new("a", 5_100, Duration::ZERO)), now);
        assert!(!first.is("a") && !first.is_other("b", (5_100, now)) && !first.is_left_by_another("b"));
        first.note(start("b", 5_101), now);
        assert!(first.is("b"));
    }

    #[test]
    fn who_says_nothing_more_is_not_waited_for() {
        let now = Instant::now();
        let mut first = First::default();
        first.note(start("a", 0), now);
        assert!(first.is_other("b", (2_999, now + 2 * SECOND)));
        assert!(!first.is_other("b", (1_000, now + HOLDS)), "it was read long ago");
        assert!(!first.is_other("b", (3_000, now)), "it was written long ago");
        assert!(first.is_other("b", (-60_000, now)), "a clock that is ahead");
        assert!(first.is_left_by_another("b") && !first.is_left_by_another("a"));
        first.note(start("b", 3_000), now);
        assert!(first.is("b"), "the other one had time enough");
        first.note(None, now);
        assert!(!first.is("b"));
    }

    #[test]
    fn what_anybody_may_write_holds_nobody_up_for_long() {
        let now = Instant::now();
        for (at_ms, for_ms) in [
            (0, i64::MAX),
            (i64::MAX, i64::MAX),
            (i64::MIN, i64::MAX),
            (i64::MAX, i64::MIN),
        ] {
            let mut first = First::default();
            let start = Start {
                at_ms,
                for_ms,
                ..Start::new("a", 0, SECOND)
            };
            first.note(Some(start), now);
            assert!(!first.is_other("b", (0, now + HOLDS)), "{at_ms} {for_ms}");
        }
        let mut first = First::default();
        first.note(
            Some(Start {
                for_ms: i64::MAX,
                ..Start::new("a", 0, SECOND)
            }),
            now,
        );
        first.note(start("b", 3_000), now);
        assert!(first.is("b"));
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let key = bytes(&FirstKey::known());
        assert_eq!(String::from_utf8_lossy(&key), r#"{"first":"daemon"}"#);
        let said = start("a", 5);
        assert_eq!(
            MapRecord::read(&key, Some(&bytes(&said))),
            Some(MapRecord::First(said))
        );
        assert_eq!(MapRecord::read(&key, None), Some(MapRecord::First(None)));
        assert_eq!(MapRecord::read(br#"{"first":"other"}"#, None), None);
        let later = Start {
            v: VERSION + 1,
            ..Start::new("a", 0, SECOND)
        };
        assert_eq!(MapRecord::read(&key, Some(&bytes(&later))), None);
    }
}
