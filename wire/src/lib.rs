//! Kafka on the wire: frames, messages and the record batch v2 view.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod record;
