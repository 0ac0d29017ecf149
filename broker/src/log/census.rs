//! How many producers all logs of a data directory remember together.
//!
//! Whoever writes one record with each of a million producer ids would otherwise be remembered a million times, for a day.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most producers that one log remembers, whatever the others do: some 3 MB. Those that have been silent for the longest
/// time are forgotten, and are new producers when they come back.
pub const PRODUCERS_PER_LOG_MAX: usize = 10_000;

/// The most producers that all logs remember together, some 60 MB, except that each log may have
/// [`PRODUCERS_PER_LOG_MIN`].
pub const PRODUCERS_MAX: usize = 200_000;

/// So many producers of a log are never forgotten because of other logs.
pub const PRODUCERS_PER_LOG_MIN: usize = 16;

/// The number of producers of all logs. Clones count the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Census(Arc<AtomicUsize>);

impl Census {
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one log has of it, until it is dropped. Without a census only the log's own limit holds.
#[derive(Debug, Default)]
pub(crate) struct Share {
    census: Option<Census>,
    counted: usize,
}

impl Share {
    pub(crate) fn of(census: &Census) -> Self {
        Share {
            census: Some(census.clone()),
            counted: 0,
        }
    }

    /// Whether a log of so many producers has to forget some before another comes.
    pub(crate) fn is_used_up(&self, producers: usize) -> bool {
        let all = || {
            self.census
                .as_ref()
                .map_or(0, |census| census.0.load(Ordering::Relaxed))
        };
        producers >= PRODUCERS_PER_LOG_MAX || producers >= PRODUCERS_PER_LOG_MIN && all() >= PRODUCERS_MAX
    }

    pub(crate) fn add(&mut self, more: usize) {
        self.set(self.counted + more);
    }

    /// The log has so many now.
    pub(crate) fn set(&mut self, producers: usize) {
        if let Some(census) = &self.census {
            // Others see the two halves one after the other, which is never less than there are.
            census.0.fetch_add(producers, Ordering::Relaxed);
            census.0.fetch_sub(self.counted, Ordering::Relaxed);
        }
        self.counted = producers;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use heliostat_wire::batch::{BatchHeader, BatchView};
    use heliostat_wire::builder::{BatchBuilder, NewRecord};

    use super::super::producers::Producers;
    use super::*;

    fn header(id: i64, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new().base_offset(offset).producer(id, 0, 0);
        builder.push(NewRecord::default());
        *BatchView::parse(&builder.build().unwrap()).unwrap().header()
    }

    fn ids(producers: &Producers) -> Vec<i64> {
        producers.list().iter().map(|info| info.producer_id).collect()
    }

    #[test]
    fn the_most_silent_are_forgotten_when_there_are_too_many() {
        const TRANSACTIONAL: i16 = 0x10;
        let max = i64::try_from(PRODUCERS_PER_LOG_MAX).unwrap();
        let (mut producers, census) = (Producers::default(), Census::default());
        producers.count_in(&census);
        for id in 0..max {
            producers.update(&header(id, id), 5);
        }
        // One is heard of again, and one, though that was long ago, has a transaction open.
        producers.update(&header(7, max), 5);
        let open = BatchHeader {
            attributes: TRANSACTIONAL,
            ..header(8, max + 1)
        };
        producers.update(&open, 1);
        assert_eq!(census.count(), PRODUCERS_PER_LOG_MAX);
        let one_more = max + 2;
        producers.update(&header(one_more, one_more), 5);
        let known = ids(&producers);
        assert!(known.len() > PRODUCERS_PER_LOG_MAX * 9 / 10 && known.len() <= PRODUCERS_PER_LOG_MAX);
        assert_eq!(known[..2], [7, 8]);
        assert_eq!(known.last(), Some(&one_more));
        for id in one_more + 1..one_more + 2_000 {
            producers.update(&header(id, id), 5);
        }
        let known = ids(&producers);
        assert!(known.len() <= PRODUCERS_PER_LOG_MAX && known.contains(&8));
        assert_eq!(census.count(), known.len());
    }

    #[test]
    fn a_log_keeps_a_few_where_others_have_used_up_what_there_is() {
        let census = Census::default();
        let mut others = Share::of(&census);
        others.set(PRODUCERS_MAX);
        let mut producers = Producers::default();
        producers.count_in(&census);
        for id in 0..100 {
            producers.update(&header(id, id), 5);
        }
        assert_eq!(ids(&producers), (84..100).collect::<Vec<_>>());
        drop((producers, others));
        assert_eq!(census.count(), 0);
    }
}
