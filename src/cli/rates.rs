//! Rates of flows, from the totals of successive statuses.

use std::collections::{BTreeMap, VecDeque};

use crate::observe::status::Status;

/// A rate is the mean of this time: short enough to show a stop, long enough not to flicker.
const WINDOW_MS: i64 = 3_000;

/// Two statuses that are closer say nothing of a rate.
const APART_MS: i64 = 200;

/// Remembers the totals of the last few seconds.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    at_ms: i64,
    records: BTreeMap<String, u64>,
}

impl Rates {
    /// Takes note of a status. One that is not newer than the last is left out.
    pub fn note(&mut self, status: &Status) {
        if self
            .samples
            .back()
            .is_some_and(|last| status.at_ms - last.at_ms < APART_MS)
        {
            return;
        }
        let records = status
            .flows
            .iter()
            .map(|flow| (flow.name.clone(), flow.records_total))
            .collect();
        self.samples.push_back(Sample {
            at_ms: status.at_ms,
            records,
        });
        // The oldest sample that is kept is the last one outside the window, so that the window is always covered.
        while self
            .samples
            .get(1)
            .is_some_and(|second| status.at_ms - second.at_ms >= WINDOW_MS)
        {
            self.samples.pop_front();
        }
    }

    /// Records per second of a flow; unknown until there are two statuses, and after its daemon started anew.
    pub fn records_per_second(&self, flow: &str) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let seconds = (last.at_ms - first.at_ms) as f64 / 1000.0;
        let copied = last.records.get(flow)?.checked_sub(*first.records.get(flow)?)?;
        (seconds > 0.0).then(|| copied as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::samples;

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds() {
        let mut status = samples::healthy();
        let mut rates = Rates::default();
        assert_eq!(rates.records_per_second("primary->standby"), None);
        let mut seen = Vec::new();
        for (after_ms, records) in [
            (0, 0),
            (100, 50),
            (1000, 500),
            (2000, 1000),
            (5000, 1000),
            (6000, 1000),
            (9000, 0),
        ] {
            status.at_ms = samples::NOW_MS + after_ms;
            status.flows[0].records_total = records;
            rates.note(&status);
            seen.push(rates.records_per_second("primary->standby"));
        }
        assert_eq!(
            seen,
            [None, None, Some(500.0), Some(500.0), Some(0.0), Some(0.0), None]
        );
        assert_eq!(rates.records_per_second("another"), None);
        assert!(rates.samples.len() < 4);
    }
}
