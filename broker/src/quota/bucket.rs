//! Tokens for changes of topics (KIP-599): they come back at the rate of the quota, and a change may go through as
//! long as any are left, so that one large change is possible now and then.

use std::time::Duration;

use super::rate::Windows;

/// Tokens left. Times are milliseconds since any fixed moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    tokens: f64,
    filled_ms: Option<u64>,
}

impl Bucket {
    /// Takes an amount out, also one that is not there.
    pub(super) fn take(&mut self, amount: f64, limit: f64, now_ms: u64, windows: Windows) {
        self.fill(limit, now_ms, windows);
        self.tokens = (self.tokens - amount).min(burst(limit, windows));
    }

    /// For how long nothing more may be taken.
    pub(super) fn excess(&mut self, limit: f64, now_ms: u64, windows: Windows) -> Duration {
        self.fill(limit, now_ms, windows);
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_millis((-self.tokens / limit * 1000.0).round().min(f64::from(i32::MAX)) as u64)
    }

    fn fill(&mut self, limit: f64, now_ms: u64, windows: Windows) {
        let burst = burst(limit, windows);
        self.tokens = match self.filled_ms {
            None => burst,
            Some(before) => {
                let elapsed = now_ms.saturating_sub(before) as f64 / 1000.0;
                (self.tokens + elapsed * limit).min(burst)
            }
        };
        self.filled_ms = Some(now_ms);
    }
}

fn burst(limit: f64, windows: Windows) -> f64 {
    limit * windows.samples as f64 * windows.length.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_change_goes_through_once_and_is_paid_for_afterwards() {
        let windows = Windows {
            samples: 11,
            length: Duration::from_secs(1),
        };
        let mut bucket = Bucket::default();
        assert_eq!(bucket.excess(2.0, 0, windows), Duration::ZERO);
        bucket.take(32.0, 2.0, 0, windows);
        assert_eq!(bucket.excess(2.0, 0, windows), Duration::from_secs(5));
        assert_eq!(bucket.excess(2.0, 4000, windows), Duration::from_secs(1));
        assert_eq!(bucket.excess(2.0, 5000, windows), Duration::ZERO);
    }
}
