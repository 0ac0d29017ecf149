//! How much was used of late: the arithmetic of Kafka's quotas.
//!
//! Kafka counts in samples of `quota.window.size.seconds`, keeps `quota.window.num` of them and one more, and divides
//! by the time that they span, which is never taken to be less than all full samples together. So a client may use in
//! a burst what it may use in all samples but one, and is then kept waiting until the average is right again.

use std::time::Duration;

/// The length and number of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Windows {
    /// `quota.window.num`.
    pub(crate) samples: usize,
    /// `quota.window.size.seconds`.
    pub(crate) length: Duration,
}

/// What was used in the last samples. Times are milliseconds since any fixed moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    samples: Vec<Sample>,
    current: usize,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    began_ms: u64,
    last_ms: u64,
    amount: f64,
}

impl Windows {
    fn length_ms(self) -> u64 {
        (self.length.as_millis() as u64).max(1)
    }

    /// The time that all samples span, after which nothing of what was used is remembered.
    pub(super) fn span_ms(self) -> u64 {
        self.length_ms() * self.samples as u64
    }

    /// The seconds for which a quota may be used up in a burst.
    pub(super) fn burst_seconds(self) -> f64 {
        self.samples.saturating_sub(1) as f64 * self.length.as_secs_f64()
    }
}

impl Rate {
    /// Takes note of an amount; a negative one takes back what was noted before.
    pub(super) fn record(&mut self, amount: f64, now_ms: u64, windows: Windows) {
        if self.samples.is_empty() {
            self.samples.push(Sample::new(now_ms));
        }
        if now_ms.saturating_sub(self.samples[self.current].began_ms) >= windows.length_ms() {
            self.current = (self.current + 1) % (windows.samples + 1);
            match self.samples.get_mut(self.current) {
                Some(sample) => *sample = Sample::new(now_ms),
                None => self.samples.push(Sample::new(now_ms)),
            }
        }
        let sample = &mut self.samples[self.current];
        sample.amount += amount;
        sample.last_ms = now_ms;
    }

    /// The average in a second.
    pub(super) fn per_second(&mut self, now_ms: u64, windows: Windows) -> f64 {
        let span_ms = self.span_ms(now_ms, windows);
        let total: f64 = self.samples.iter().map(|sample| sample.amount).sum();
        total * 1000.0 / span_ms as f64
    }

    /// For how long nothing more may be used until the average is down to the limit, which must be positive.
    pub(super) fn excess(&mut self, limit: f64, now_ms: u64, windows: Windows) -> Duration {
        let rate = self.per_second(now_ms, windows);
        if rate <= limit {
            return Duration::ZERO;
        }
        let wait_ms = (rate - limit) / limit * self.span_ms(now_ms, windows) as f64;
        Duration::from_millis(wait_ms.round().min(WAIT_MAX_MS) as u64)
    }

    fn span_ms(&mut self, now_ms: u64, windows: Windows) -> u64 {
        for sample in &mut self.samples {
            if now_ms.saturating_sub(sample.last_ms) >= windows.span_ms() {
                *sample = Sample::new(now_ms);
            }
        }
        let oldest_ms = self.samples.iter().map(|sample| sample.began_ms).min();
        let elapsed_ms = now_ms.saturating_sub(oldest_ms.unwrap_or(now_ms));
        let full = elapsed_ms / windows.length_ms();
        let missing = (windows.samples as u64).saturating_sub(1).saturating_sub(full);
        (elapsed_ms + missing * windows.length_ms()).max(1)
    }
}

impl Sample {
    fn new(now_ms: u64) -> Self {
        Sample {
            began_ms: now_ms,
            last_ms: now_ms,
            amount: 0.0,
        }
    }
}

/// A response has 31 bits for the time that a client is kept waiting.
const WAIT_MAX_MS: f64 = i32::MAX as f64;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows {
        samples: 11,
        length: Duration::from_secs(1),
    };

    #[test]
    fn a_burst_of_all_samples_but_one_is_free_and_more_is_waited_for() {
        let mut rate = Rate::default();
        rate.record(10_000.0, 5, WINDOWS);
        assert_eq!(rate.excess(1000.0, 5, WINDOWS), Duration::ZERO);
        rate.record(1000.0, 5, WINDOWS);
        assert_eq!(rate.excess(1000.0, 5, WINDOWS), Duration::from_secs(1));
        rate.record(-1000.0, 5, WINDOWS);
        assert_eq!(rate.excess(1000.0, 5, WINDOWS), Duration::ZERO);
    }

    #[test]
    fn who_waits_for_as_long_as_it_is_told_stays_at_the_limit() {
        let (mut rate, mut now_ms, mut used) = (Rate::default(), 0, 0.0);
        while now_ms < 100_000 {
            rate.record(5000.0, now_ms, WINDOWS);
            used += 5000.0;
            now_ms += 1 + rate.excess(1000.0, now_ms, WINDOWS).as_millis() as u64;
        }
        let average = used * 1000.0 / now_ms as f64;
        assert!((950.0..1200.0).contains(&average), "{average}");
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut rate = Rate::default();
        rate.record(100_000.0, 0, WINDOWS);
        assert!(rate.per_second(10_999, WINDOWS) > 9000.0);
        assert_eq!(rate.per_second(11_000, WINDOWS), 0.0);
    }
}
