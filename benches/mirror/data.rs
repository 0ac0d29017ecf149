//! What is copied.

use clap::ValueEnum;

use crate::records::{Shape, write};
use crate::support::clients::Client;

/// What the source's batches are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Batches {
    /// Records of 256 bytes, lz4, up to 1 MB.
    Large,
    /// The same, not compressed.
    Uncompressed,
    /// Records of 256 bytes, lz4, 16 KB before compression: what producers make by default.
    Middle,
    /// Ten records of 100 bytes, lz4.
    Small,
}

impl Batches {
    /// How they are written.
    pub fn shape(self) -> Shape {
        match self {
            Batches::Large => Shape::LARGE,
            Batches::Uncompressed => Shape {
                compression: "none",
                ..Shape::LARGE
            },
            Batches::Middle => Shape {
                batch_bytes: 16_384,
                ..Shape::LARGE
            },
            Batches::Small => Shape {
                value_bytes: 100,
                batch_records: 10,
                turn: 10,
                ..Shape::LARGE
            },
        }
    }

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Batches::Large => "records of 256 bytes, lz4 batches of up to 1 MB",
            Batches::Uncompressed => "records of 256 bytes, uncompressed batches of up to 1 MB",
            Batches::Middle => "records of 256 bytes, lz4 batches of 16 KB",
            Batches::Small => "records of 100 bytes, lz4 batches of 10 records",
        }
    }
}

/// Creates `topic` and writes records to it.
pub fn make(client: &Client, topic: &str, partitions: i32, records: u64, batches: Batches) {
    client.create_topic(topic, partitions, &[("retention.ms", "-1")]);
    write(client, topic, partitions, records, batches.shape());
}
