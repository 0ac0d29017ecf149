//! The limit on what a flow copies in a second.

use std::time::Instant;

/// A limit on bytes a second, with a tenth of a second's worth of them at once.
pub(super) struct Budget {
    bytes_per_second: Option<u64>,
    left: f64,
    filled_at: Instant,
    /// The size of a record, as a moving average.
    record_bytes: f64,
}

impl Budget {
    /// No limit where there is none.
    pub(super) fn new(bytes_per_second: Option<u64>) -> Budget {
        Budget {
            bytes_per_second,
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
        self.left += now.duration_since(self.filled_at).as_secs_f64() * rate as f64;
        self.left = self.left.min(rate as f64 / 10.0);
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
