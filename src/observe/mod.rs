//! What others may see: status, metrics, the HTTP server. It reaches into nobody.

pub mod built_in;
pub mod client;
pub mod events;
pub mod http;
pub mod metrics;
pub mod process;
pub mod status;
pub mod told;

#[cfg(test)]
pub(crate) mod samples;
