//! What tests and benchmarks stand on: processes that always end, real Kafkas, clients that show every byte, faults.
//!
//! Everything here that waits has a deadline, and says what it waited for.

#![allow(
    dead_code,
    unused_imports,
    reason = "the tests and the benchmarks each use a part of it"
)]

pub mod built_in;
pub mod check;
pub mod clients;
pub mod cut_back;
pub mod daemon;
pub mod exact;
pub mod http;
pub mod kafka;
pub mod load;
pub mod members;
pub mod mirrors;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod raw_headers;
pub mod rec;
pub mod transactional;
mod waiting;

pub use waiting::{hold, wait_for, wait_still, wait_until};

/// The script that fetches and starts real Kafkas.
const KAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka");

/// A name that no other test, and no other run, uses.
pub fn unique(name: &str) -> String {
    format!("{name}-{:016x}", rand::random::<u64>())
}
