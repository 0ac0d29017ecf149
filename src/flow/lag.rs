//! How far a partition is behind, in records and in seconds, also when the source is idle or out of sight.

use std::collections::VecDeque;

use crate::observe::status::Lag;

/// How many log ends are remembered. When there are more, every other one goes: the past gets coarser, its beginning stays.
const SAMPLES: usize = 256;

/// The source's log end without a fresh look for longer than this counts as unknown.
pub const FRESH_MS: i64 = 5_000;

/// The log ends of one source partition, as they were seen over time.
#[derive(Clone, Debug, Default)]
pub struct LogEnds {
    /// When each log end was first seen. The front is the last one that is wholly copied, if there was one.
    samples: VecDeque<(i64, i64)>,
    /// When the log end was last asked for successfully.
    known_at_ms: Option<i64>,
    /// The front sample was the first look at all: how long its records had been there is not known.
    front_is_first: bool,
    start: Option<i64>,
    /// The timestamp of the record at an offset, which was read because nobody knew how long it had been there.
    read: Option<(i64, i64)>,
    /// How far the copy was when the end was noted last. Whoever asks for the next end asks after that.
    position_noted: i64,
    /// The copy was beyond the end before the end was asked for: the log has moved backwards.
    moved_back: bool,
}

impl LogEnds {
    /// The log end was `end` at `now_ms`; `position` is how far the copy is.
    pub fn note(&mut self, now_ms: i64, end: i64, position: i64) {
        self.moved_back = self.known_at_ms.is_some() && end < self.position_noted;
        self.position_noted = position;
        self.known_at_ms = Some(now_ms);
        match self.samples.back_mut() {
            None => {
                self.front_is_first = true;
                self.samples.push_back((now_ms, end));
            }
            // Still the same end: if it is all copied, the next record will have come after now.
            Some(last) if last.1 == end => {
                if end <= position {
                    last.0 = now_ms;
                }
            }
            Some(last) if end < last.1 => {
                // The log moved backwards: what was seen before says nothing of this one.
                self.samples.clear();
                self.front_is_first = true;
                self.samples.push_back((now_ms, end));
            }
            Some(_) => self.samples.push_back((now_ms, end)),
        }
        while self.samples.len() > 1 && self.samples[1].1 <= position {
            self.samples.pop_front();
            self.front_is_first = false;
        }
        if self.samples.len() > SAMPLES {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index <= 2 || index % 2 == 0
            });
        }
    }

    /// The first offset that the source still has.
    pub fn note_start(&mut self, start: i64) {
        self.start = Some(start);
    }

    /// The first offset that the source still has, when it was last known.
    pub fn start(&self) -> Option<i64> {
        self.start
    }

    /// Another log is there from now on: nothing that was seen before is true of it.
    pub fn forget(&mut self) {
        *self = LogEnds::default();
    }

    /// The record at `offset`, which nobody had a timestamp of, has this one.
    pub fn note_timestamp(&mut self, offset: i64, timestamp: i64) {
        self.read = Some((offset, timestamp));
    }

    /// Whether nothing says how long the record at `position` has been on the source, so that reading its timestamp would help.
    pub fn wants_timestamp(&self, now_ms: i64, position: i64) -> bool {
        let is_read = self.read.is_some_and(|(offset, _)| offset == position);
        !is_read && self.lag(now_ms, position, None).at_least
    }

    /// The log end to show beside a position. One that was asked for before the copy got there is out of date: the log reaches at least
    /// as far as it was copied, unless it has moved backwards.
    pub fn end_beside(&self, position: Option<i64>) -> Option<i64> {
        let end = self.end()?;
        Some(match position {
            Some(position) if !self.moved_back => end.max(position),
            _ => end,
        })
    }

    /// The log end, when it was last known.
    pub fn end(&self) -> Option<i64> {
        self.samples.back().map(|&(_, end)| end)
    }

    /// How long ago the log end was last known, in milliseconds.
    pub fn age_ms(&self, now_ms: i64) -> Option<i64> {
        self.known_at_ms.map(|known| (now_ms - known).max(0))
    }

    /// The lag of a copy that is at `position`, whose oldest record on its way has the timestamp `oldest`.
    pub fn lag(&self, now_ms: i64, position: i64, oldest: Option<i64>) -> Lag {
        let (Some(end), Some(age)) = (self.end(), self.age_ms(now_ms)) else {
            return Lag::default();
        };
        let known = age <= FRESH_MS;
        // While the end is unknown, records may have come that nobody here has seen: the age of the last look counts as lag.
        let unseen = if known { 0 } else { age };
        let records = u64::try_from(end - position).unwrap_or(0);
        let (waited, at_least) = match records {
            0 => (0, false),
            _ => self.waited_ms(now_ms, position, oldest),
        };
        let unknown_since_ms = (!known).then_some(now_ms - age);
        Lag {
            known,
            records,
            seconds: waited.max(unseen) as f64 / 1000.0,
            unknown_since_ms,
            at_least,
        }
    }

    /// For how long the record at `position` has been on the source, and whether it may be longer.
    fn waited_ms(&self, now_ms: i64, position: i64, oldest: Option<i64>) -> (i64, bool) {
        let Some(index) = self.samples.iter().position(|&(_, end)| end > position) else {
            return (0, false);
        };
        let read = self.read.filter(|&(offset, _)| offset == position);
        let oldest = oldest.or(read.map(|(_, timestamp)| timestamp));
        // It was there when this end was seen, and was not there yet when the one before was: between these two it came.
        let at_least = now_ms - self.samples[index].0;
        let by_timestamp = oldest.map(|timestamp| (now_ms - timestamp).max(0));
        if index == 0 && self.front_is_first {
            return (
                by_timestamp.unwrap_or(at_least).max(at_least),
                by_timestamp.is_none(),
            );
        }
        let at_most = if index == 0 {
            at_least
        } else {
            now_ms - self.samples[index - 1].0
        };
        let waited = by_timestamp.unwrap_or(at_least);
        (waited.clamp(at_least, at_most.max(at_least)), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(records: u64, seconds: f64) -> Lag {
        Lag {
            known: true,
            records,
            seconds,
            unknown_since_ms: None,
            at_least: false,
        }
    }

    fn unknown(seconds: f64) -> Lag {
        Lag {
            known: false,
            records: 0,
            seconds,
            unknown_since_ms: Some(100_000),
            at_least: false,
        }
    }

    fn ends(samples: &[(i64, i64)], position: i64) -> LogEnds {
        let mut ends = LogEnds::default();
        for &(at, end) in samples {
            ends.note(at, end, position);
        }
        ends
    }

    #[test]
    fn an_idle_source_that_is_all_copied_has_no_lag_however_old_its_records_are() {
        let lag = ends(&[(1_000, 50), (2_000, 50), (900_000, 50)], 50).lag(900_500, 50, None);
        assert_eq!(lag, known(0, 0.0));
    }

    #[test]
    fn seconds_count_from_when_the_record_came_not_from_its_timestamp() {
        // A record with a timestamp of 1970 that came two seconds ago.
        let lag =
            ends(&[(100_000, 50), (101_000, 51), (102_000, 51), (103_000, 51)], 50).lag(103_000, 50, Some(0));
        assert_eq!(lag, known(1, 3.0));
    }

    #[test]
    fn a_backlog_from_before_the_start_is_as_old_as_its_oldest_record() {
        let lag = ends(&[(100_000, 500)], 10).lag(101_000, 10, Some(40_000));
        assert_eq!(lag, known(490, 61.0));
    }

    #[test]
    fn a_backlog_of_unknown_age_says_so_until_its_oldest_record_was_read() {
        let mut ends = ends(&[(100_000, 500)], 10);
        let lag = ends.lag(101_000, 10, None);
        assert_eq!((lag.seconds, lag.at_least), (1.0, true));
        assert!(ends.wants_timestamp(101_000, 10));
        ends.note_timestamp(10, 40_000);
        assert_eq!(ends.lag(101_000, 10, None), known(490, 61.0));
        assert!(!ends.wants_timestamp(101_000, 10));
        // It says nothing of the records behind it.
        assert!(ends.lag(101_000, 20, None).at_least);
        // What came after the first look was seen to come.
        ends.note(102_000, 500, 500);
        ends.note(103_000, 501, 500);
        assert_eq!(ends.lag(105_000, 500, None), known(1, 2.0));
    }

    #[test]
    fn no_end_is_shown_in_front_of_a_position_unless_the_log_moved_backwards() {
        let mut ends = ends(&[(100_000, 50)], 40);
        // Copied meanwhile, up to a record that came after the question.
        assert_eq!(ends.end_beside(Some(60)), Some(60));
        ends.note(101_000, 55, 60);
        assert_eq!(ends.end_beside(Some(60)), Some(60));
        assert_eq!(ends.end_beside(None), Some(55));
        // The copy was there before the question.
        ends.note(102_000, 55, 60);
        assert_eq!(ends.end_beside(Some(60)), Some(55));
        ends.note(103_000, 70, 60);
        assert_eq!(ends.end_beside(Some(65)), Some(70));
    }

    #[test]
    fn a_source_out_of_sight_makes_the_lag_unknown_and_growing() {
        let ends = ends(&[(100_000, 50)], 50);
        assert_eq!(ends.lag(104_000, 50, None), known(0, 0.0));
        assert_eq!(ends.lag(130_000, 50, None), unknown(30.0));
        assert_eq!(ends.lag(160_000, 50, None), unknown(60.0));
    }

    #[test]
    fn a_truncated_source_has_no_negative_lag() {
        let lag = ends(&[(100_000, 500), (101_000, 20)], 500).lag(101_000, 500, None);
        assert_eq!(lag, known(0, 0.0));
    }

    #[test]
    fn a_steady_flow_is_as_late_as_its_oldest_record_on_the_way() {
        let mut ends = LogEnds::default();
        for second in 0..60 {
            ends.note(second * 1_000, 1_000 * (second + 1), 1_000 * (second + 1) - 5);
        }
        let lag = ends.lag(59_010, 59_998, Some(59_005));
        assert_eq!(lag, known(2, 0.01));
    }

    #[test]
    fn memory_is_bounded_and_the_beginning_of_a_backlog_is_kept() {
        let mut ends = LogEnds::default();
        for second in 0..100_000 {
            ends.note(second * 1_000, 10 * (second + 1), 10);
        }
        assert!(ends.samples.len() <= SAMPLES);
        assert_eq!(ends.lag(100_000_000, 10, None).seconds.round(), 99_999.0);
    }
}
