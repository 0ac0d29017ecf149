//! The limit on what a flow copies in a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// All of it, in the parts that a share is counted in.
const WHOLE: u64 = 1 << 20;

/// How much of what a flow may copy is this daemon's: as much as it has of the flow's partitions. So all daemons together keep the limit.
#[derive(Debug)]
pub struct Share(AtomicU64);

impl Default for Share {
    fn default() -> Share {
        Share(AtomicU64::new(WHOLE))
    }
}

impl Share {
    /// This daemon has so many of the flow's partitions.
    pub fn set(&self, mine: usize, all: usize) {
        // With none of them there is nothing to limit.
        let part = match (mine as u64, all as u64) {
            (0, _) | (_, 0) => WHOLE,
            (mine, all) => (WHOLE * mine / all).clamp(1, WHOLE),
        };
        self.0.store(part, Ordering::Relaxed);
    }

    fn of(&self, bytes_per_second: u64) -> f64 {
        bytes_per_second as f64 * (self.0.load(Ordering::Relaxed) as f64 / WHOLE as f64)
    }
}

/// A limit on bytes a second, with a tenth of a second's worth of them at once.
pub(super) struct Budget {
    bytes_per_second: Option<u64>,
    share: Arc<Share>,
    left: f64,
    filled_at: Instant,
    /// The size of a record, as a moving average.
    record_bytes: f64,
}

impl Budget {
    /// No limit where there is none.
    pub(super) fn new(bytes_per_second: Option<u64>, share: Arc<Share>) -> Budget {
        Budget {
            bytes_per_second,
            share,
            left: 0.0,
            filled_at: Instant::now(),
            record_bytes: 1_000.0,
        }
    }

    /// How many records, of `most`, may be taken at once, so that all of them can be sent.
    pub(super) fn records_at_once(&self, most: usize) -> usize {
        match self.bytes_per_second {
            None => most,
            Some(_) => ((self.left / self.record_bytes) as usize).clamp(1, most),
        }
    }

    /// Whether more may be sent now. A record larger than the allowance is sent, and paid for by a longer wait.
    pub(super) fn is_open(&mut self) -> bool {
        let Some(rate) = self.bytes_per_second else {
            return true;
        };
        let now = Instant::now();
        let rate = self.share.of(rate);
        self.left += now.duration_since(self.filled_at).as_secs_f64() * rate;
        self.left = self.left.min(rate / 10.0);
        self.filled_at = now;
        self.left > 0.0
    }

    /// Note that this much was sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        if self.bytes_per_second.is_some() {
            self.left -= bytes as f64;
            self.record_bytes += (bytes as f64 - self.record_bytes) / 16.0;
            // Empty records cost nothing, and must not make everything that follows look small.
            self.record_bytes = self.record_bytes.max(1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_all_daemons_are_the_whole_together() {
        let share = Share::default();
        let of = |mine, all| {
            share.set(mine, all);
            share.of(1_000_000)
        };
        assert_eq!(of(4, 4), 1e6);
        assert!(of(1, 3) + of(2, 3) <= 1e6 && of(1, 3) > 333_300.0);
        assert_eq!((of(0, 4), of(0, 0)), (1e6, 1e6), "nothing is limited then");
        assert_eq!(of(5, 4), 1e6, "the source has lost partitions");
        assert!(of(1, usize::MAX) > 0.0);
    }
}
