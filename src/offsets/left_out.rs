//! Saying that records of a map topic are left out, without a line for each of them: a topic may be full of them.

use std::time::{Duration, Instant};

/// A line comes at most so often.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Records that were left out.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    said_at: Option<Instant>,
    /// How many since then.
    unsaid: u64,
}

impl LeftOut {
    /// One more. If it is time for a line: how many it is about.
    pub(super) fn note(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        let is_time = self
            .said_at
            .is_none_or(|said_at| now.saturating_duration_since(said_at) >= SAID_EVERY);
        is_time.then(|| {
            self.said_at = Some(now);
            std::mem::take(&mut self.unsaid)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_are_counted() {
        let mut left_out = LeftOut::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(left_out.note(begin), Some(1));
        for second in 0..59 {
            assert_eq!(left_out.note(after(second)), None);
        }
        assert_eq!(left_out.note(after(60)), Some(60));
        assert_eq!(left_out.note(after(61)), None);
        assert_eq!(left_out.note(after(120)), Some(2));
    }
}
