//! The built-in Kafka cluster.

pub mod log;
