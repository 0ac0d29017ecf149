//! Prometheus metrics: a view of a [`Status`] and of what built-in clusters tell, made anew for each scrape.
//!
//! Nothing is counted here. The totals come with the status and the facts, so a metric can never disagree with what
//! `heliostat status` shows, and a partition that is gone leaves no stale series behind.

mod catalogue;
mod collect;

use prometheus::{Result, TextEncoder};

pub use self::catalogue::{Kind, METRICS, MetricInfo};
use super::built_in::BuiltInFacts;
use super::process::Process;
use super::status::Status;

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics of a daemon, where there is one, and of the built-in clusters beside it as text. A metric whose value is not
/// known is absent.
pub fn render(status: Option<&Status>, built_in: &[BuiltInFacts], process: &Process) -> Result<String> {
    let mut text = String::new();
    for metric in METRICS {
        let family = collect::family(metric, status, built_in, process);
        TextEncoder::new().encode_utf8(family.as_slice(), &mut text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
