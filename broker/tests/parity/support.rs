//! What starts a real Kafka, shared with the tests of the daemon.

#![allow(
    dead_code,
    unused_imports,
    reason = "the tests of the daemon use the rest of it"
)]

#[path = "../../../tests/support/http.rs"]
pub mod http;
#[path = "../../../tests/support/kafka.rs"]
pub mod kafka;
#[path = "../../../tests/support/ports.rs"]
pub mod ports;
#[path = "../../../tests/support/process.rs"]
pub mod process;
#[path = "../../../tests/support/waiting.rs"]
mod waiting;

pub use waiting::{wait_for, wait_until};

/// The script that fetches and starts real Kafkas.
const KAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kafka/kafka");
