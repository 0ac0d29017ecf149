//! What the built-in clusters of a process tell about themselves, for the metrics.

use std::sync::Arc;

/// Asks all built-in clusters of the process. It takes no time to speak of.
pub type BuiltInFn = Arc<dyn Fn() -> Vec<BuiltInFacts> + Send + Sync>;

/// One built-in cluster as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuiltInFacts {
    /// Its alias in the topology; `broker` for the cluster of `heliostat broker`.
    pub cluster: String,
    /// What clients with quotas use.
    pub quotas: Vec<QuotaFacts>,
    /// What the log cleaner has done.
    pub cleaner: CleanerFacts,
    /// Partitions that take no records for the time being.
    pub read_only: Vec<ReadOnlyFacts>,
    /// Clients that were not let in; `None` where everybody is.
    pub refused_clients: Option<RefusedFacts>,
}

/// A client, or those that share a quota, and what they use of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuotaFacts {
    /// Kafka's name of the quota, `producer_byte_rate` for example.
    pub quota: String,
    /// The user; empty if users share the quota.
    pub user: String,
    /// The client id; empty if client ids share the quota.
    pub client_id: String,
    /// What may be used in a second.
    pub limit: f64,
    /// What is used in a second, on average over the last samples.
    pub rate: f64,
    /// Answers that were followed by a wait.
    pub throttled: u64,
    /// The sum of these waits, in seconds.
    pub throttled_seconds: f64,
}

/// What the log cleaner has done since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CleanerFacts {
    /// Rounds that came to their end.
    pub rounds: u64,
    /// Rounds that did not.
    pub failed_rounds: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Records that were dropped.
    pub dropped_records: u64,
    /// Partitions that are damaged and therefore not cleaned any more.
    pub uncleanable_partitions: usize,
    /// Partitions that are cleaned right now.
    pub partitions_in_progress: usize,
}

/// Clients that were not let in since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedFacts {
    /// They could not prove who they are.
    pub refused: u64,
    /// They did not say who they are.
    pub without_credentials: u64,
}

/// A partition whose disk has failed or is full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOnlyFacts {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}
