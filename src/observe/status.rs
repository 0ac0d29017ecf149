//! The status of a daemon, as one plain value.
//!
//! `/api/v1/status`, `heliostat status`, the live table of `heliostat run` and the metrics are all views of [`Status`],
//! so that they cannot disagree.

use serde::{Deserialize, Serialize};

/// Everything that a daemon knows of itself at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the program, with its commit.
    pub version: String,
    /// The topology's name.
    pub name: String,
    /// Who made this: the daemon, or a look at the clusters where no daemon answered.
    pub source: StatusSource,
    /// When it was made, in milliseconds since 1970.
    pub at_ms: i64,
    /// When the daemon started, in milliseconds since 1970; absent where no daemon answered.
    pub started_at_ms: Option<i64>,
    /// The clusters, in the order of the file.
    pub clusters: Vec<ClusterStatus>,
    /// The flows, in the order of the file.
    pub flows: Vec<FlowStatus>,
}

/// Where a [`Status`] comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusSource {
    /// A running daemon answered.
    #[default]
    Daemon,
    /// No daemon answered; the clusters themselves were asked.
    Clusters,
}

/// One cluster as a daemon sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Its name in the topology file.
    pub alias: String,
    /// Whether this process runs it.
    pub built_in: bool,
    /// Where clients connect.
    pub bootstrap_servers: String,
    /// The id that the cluster gives itself, once it was reached.
    pub cluster_id: Option<String>,
    /// Whether the last call to it succeeded.
    pub reachable: bool,
    /// Why it is not reachable.
    pub reason: Option<String>,
}

/// What a partition, or a flow as a whole, is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Every record of the source is on the target.
    CaughtUp,
    /// Records are being copied.
    Copying,
    /// Nothing can be copied yet: a cluster is away, or the partition has no owner; it is retried.
    #[default]
    Waiting,
    /// Records were gone from the source before they could be copied.
    Gap,
    /// It should be moving, and is not.
    Stalled,
    /// The source topic was deleted and made again, or its log moved backwards.
    Recreated,
    /// A record that the target refuses stops this partition.
    Quarantined,
}

/// How far a mirror is behind its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Whether the source's log end is known now. If not, `records` is what was last known, and `seconds` goes on growing.
    pub known: bool,
    /// Source offsets between the position and the log end.
    pub records: u64,
    /// For how long the oldest record that is not on the target has been on the source.
    pub seconds: f64,
}

/// One flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// `source->target`.
    pub name: String,
    /// The source cluster's alias.
    pub source: String,
    /// The target cluster's alias.
    pub target: String,
    /// The engine that copies.
    pub engine: String,
    /// The delivery guarantee.
    pub delivery: String,
    /// The worst state of its partitions, or of the flow itself.
    pub state: State,
    /// Why, in one line.
    pub reason: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// The sum of its partitions' records, and the worst of their seconds.
    pub lag: Lag,
    /// Records copied by this process since it started.
    pub records_total: u64,
    /// Bytes of keys and values copied by this process since it started.
    pub bytes_total: u64,
    /// Failed attempts by this process since it started: produce errors, fetch errors, lost connections.
    pub errors_total: u64,
    /// Its partitions, by topic and partition.
    pub partitions: Vec<PartitionStatus>,
    /// Source topics that match the patterns and are left out all the same, each with its reason.
    pub left_out: Vec<LeftOut>,
}

/// A source topic that is not mirrored although the patterns include it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The source topic.
    pub topic: String,
    /// Why.
    pub reason: String,
}

/// One partition of a flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The source topic.
    pub topic: String,
    /// The mirror topic.
    pub target_topic: String,
    /// The partition, the same number on both sides.
    pub partition: i32,
    /// Whether this daemon is the one that copies it.
    pub mine: bool,
    /// What it is doing.
    pub state: State,
    /// Why, in one line.
    pub reason: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// The next source offset to copy.
    pub position: Option<i64>,
    /// The first offset that the source still has.
    pub source_start: Option<i64>,
    /// The source's log end as readers see it, when it was last known.
    pub source_end: Option<i64>,
    /// The offset on the target that follows the last copied record.
    pub target_position: Option<i64>,
    /// How far it is behind.
    pub lag: Lag,
    /// Records copied by this process since it started.
    pub records_total: u64,
    /// Bytes of keys and values copied by this process since it started.
    pub bytes_total: u64,
    /// Failed attempts by this process since it started.
    pub errors_total: u64,
    /// Source offsets that were gone before they could be copied, since this process started.
    pub gap_records_total: u64,
}
