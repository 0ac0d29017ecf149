//! What is copied.

use crate::records::write;
pub use crate::records::{PARTITIONS, gigabytes, records};
use crate::support::clients::Client;

/// How long records wait for others, in milliseconds: so long that batches become full.
const LINGER_MS: u32 = 100;

/// Creates `topic` and writes records to it.
pub fn make(client: &Client, topic: &str, records: u64) {
    client.create_topic(topic, PARTITIONS, &[("retention.ms", "-1")]);
    write(client, topic, records, LINGER_MS);
}
