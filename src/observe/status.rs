//! The status of a daemon, as one plain value.
//!
//! `/api/v1/status`, `heliostat status`, the live table of `heliostat run` and the metrics are all views of [`Status`],
//! so that they cannot disagree.
//! A reader of the JSON ignores fields that it does not know and fills in those that are missing, so that a
//! `heliostat status` of another version can still read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::events::EventKind;

/// Everything that a daemon knows of itself at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
#[serde(default)]
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
    /// Somebody has paused it.
    Paused,
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

impl State {
    /// Every state, the best first.
    pub const ALL: [State; 8] = [
        State::CaughtUp,
        State::Copying,
        State::Paused,
        State::Waiting,
        State::Gap,
        State::Stalled,
        State::Recreated,
        State::Quarantined,
    ];

    /// The name of the state in JSON and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::CaughtUp => "caught-up",
            State::Copying => "copying",
            State::Paused => "paused",
            State::Waiting => "waiting",
            State::Gap => "gap",
            State::Stalled => "stalled",
            State::Recreated => "recreated",
            State::Quarantined => "quarantined",
        }
    }

    /// Whether records arrive, or none are missing.
    pub fn is_healthy(self) -> bool {
        matches!(self, State::CaughtUp | State::Copying)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How far a mirror is behind its source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lag {
    /// Whether the source's log end is known now. If not, `records` is what was last known, and `seconds` goes on growing.
    pub known: bool,
    /// Source offsets between the position and the log end.
    pub records: u64,
    /// For how long the oldest record that is not on the target has been on the source.
    pub seconds: f64,
    /// Since when the log end is not known, in milliseconds since 1970; absent while it is known.
    pub unknown_since_ms: Option<i64>,
    /// `seconds` is only how long the record was seen there: it may have come before anybody looked.
    pub at_least: bool,
}

/// One flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// What would clear it; absent where nothing is wrong.
    pub clears: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// The sum of its partitions' records, and the worst of their seconds.
    pub lag: Lag,
    /// Records copied by this process since it started.
    pub records_total: u64,
    /// Bytes copied by this process since it started: of batches as they travel, or of keys and values where librdkafka copies.
    pub bytes_total: u64,
    /// Failed attempts by this process since it started: produce errors, fetch errors, lost connections.
    pub errors_total: u64,
    /// Batches copied by this process since it started, by what was done to them; all 0 where librdkafka copies, record by record.
    pub batches: BatchCounts,
    /// Its partitions, by topic and partition.
    pub partitions: Vec<PartitionStatus>,
    /// Source topics that match the patterns and are left out all the same, each with its reason.
    pub left_out: Vec<LeftOut>,
    /// Topics that were deleted on the source while this process ran, the last one last; their mirrors are kept.
    pub deleted: Vec<DeletedTopic>,
    /// What somebody has paused, the widest first.
    pub pauses: Vec<PauseStatus>,
    /// How many events there were of each kind since this process started.
    pub events_total: BTreeMap<EventKind, u64>,
}

/// Something that somebody has paused: a flow, a topic or a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PauseStatus {
    /// The source topic; absent for the whole flow.
    pub topic: Option<String>,
    /// The partition; absent for all.
    pub partition: Option<i32>,
    /// Who has paused it.
    pub by: String,
    /// Why, in the words of whoever has.
    pub reason: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// The command that resumes it.
    pub clears: String,
}

/// How many batches were written to the target, by what was done to them on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchCounts {
    /// The records are those bytes that the source gave.
    pub passed: u64,
    /// Put together again, record by record.
    pub rebuilt: u64,
    /// One of several that were made of one that was too large for the mirror.
    pub split: u64,
    /// Made of several small ones.
    pub merged: u64,
    /// The same records, compressed by another codec.
    pub recompressed: u64,
}

impl BatchCounts {
    /// Each count with its name in metrics.
    pub fn by_name(&self) -> [(&'static str, u64); 5] {
        [
            ("passed", self.passed),
            ("rebuilt", self.rebuilt),
            ("split", self.split),
            ("merged", self.merged),
            ("recompressed", self.recompressed),
        ]
    }
}

impl std::ops::AddAssign for BatchCounts {
    fn add_assign(&mut self, other: BatchCounts) {
        self.passed += other.passed;
        self.rebuilt += other.rebuilt;
        self.split += other.split;
        self.merged += other.merged;
        self.recompressed += other.recompressed;
    }
}

impl FlowStatus {
    /// Whether records arrive or none are missing, and whether that is known.
    pub fn is_healthy(&self) -> bool {
        self.state.is_healthy() && self.lag.known
    }

    /// How many of its partitions are in each state, in the order of [`State::ALL`].
    pub fn partitions_by_state(&self) -> [usize; State::ALL.len()] {
        let mut counts = [0; State::ALL.len()];
        for partition in &self.partitions {
            counts[partition.state as usize] += 1;
        }
        counts
    }

    /// Whether the log end of any of its partitions was ever known.
    pub fn was_ever_known(&self) -> bool {
        self.lag.known || self.partitions.iter().any(PartitionStatus::was_ever_known)
    }
}

impl PartitionStatus {
    /// Whether the source's log end was ever known. If not, the lag in records means nothing.
    pub fn was_ever_known(&self) -> bool {
        self.lag.known || self.source_end.is_some()
    }
}

impl Status {
    /// Why the daemon is not ready to be relied on, one reason to a line; empty when it is ready.
    ///
    /// Only the targets count. A source that is away is a reason for a state, not for taking the daemon out of
    /// service: what is mirrored already is needed most at that very moment.
    pub fn reasons_not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.started_at_ms.is_none() {
            reasons.push("the daemon has not started yet".to_string());
        }
        let mut seen: Vec<&str> = Vec::new();
        for flow in &self.flows {
            if seen.contains(&flow.target.as_str()) {
                continue;
            }
            seen.push(&flow.target);
            let target = format!("cluster {}, the target of {}", flow.target, flow.name);
            match self.clusters.iter().find(|cluster| cluster.alias == flow.target) {
                None => reasons.push(format!("{target}: it is not among the clusters of the status")),
                Some(cluster) if cluster.reachable => {}
                Some(cluster) => reasons.push(format!(
                    "{target}: not reachable: {}",
                    cluster.reason.as_deref().unwrap_or("it was not asked yet")
                )),
            }
        }
        reasons
    }
}

/// A source topic that is not mirrored although the patterns include it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// The source topic.
    pub topic: String,
    /// Why.
    pub reason: String,
}

/// A topic that was deleted on the source. What was copied of it stays in its mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeletedTopic {
    /// The source topic.
    pub topic: String,
    /// Its mirror.
    pub target_topic: String,
    /// When that was seen, in milliseconds since 1970.
    pub at_ms: i64,
    /// How many source offsets were not copied, as far as its log end was known.
    pub missing: u64,
}

/// One partition of a flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
    /// What would clear it; absent where nothing is wrong.
    pub clears: Option<String>,
    /// The source offsets that the state is about, the first and the last: a gap, or a record that is refused.
    pub offsets: Option<(i64, i64)>,
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
    /// Bytes copied by this process since it started: of batches as they travel, or of keys and values where librdkafka copies.
    pub bytes_total: u64,
    /// Failed attempts by this process since it started.
    pub errors_total: u64,
    /// Source offsets that were gone before they could be copied, since this process started.
    pub gap_records_total: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_state_is_its_json() {
        for (i, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(state).unwrap(), state.name());
            assert_eq!(state as usize, i, "ALL is in the order of the enum");
        }
    }

    #[test]
    fn a_status_of_another_version_can_be_read() {
        let status: Status =
            serde_json::from_str(r#"{"name": "x", "flows": [{"name": "a->b", "invented_later": 1}]}"#)
                .unwrap();
        assert_eq!(status.flows[0].name, "a->b");
        assert_eq!(status.flows[0].state, State::Waiting);
    }

    #[test]
    fn readiness_asks_for_the_targets_only() {
        let cluster = |alias: &str, reachable| ClusterStatus {
            alias: alias.into(),
            reachable,
            reason: (!reachable).then(|| "connection refused".into()),
            ..ClusterStatus::default()
        };
        let flow = FlowStatus {
            name: "a->b".into(),
            source: "a".into(),
            target: "b".into(),
            ..FlowStatus::default()
        };
        let mut status = Status {
            started_at_ms: Some(1),
            clusters: vec![cluster("a", false), cluster("b", true)],
            flows: vec![flow],
            ..Status::default()
        };
        assert_eq!(status.reasons_not_ready(), Vec::<String>::new());
        status.clusters = vec![cluster("a", true), cluster("b", false)];
        assert_eq!(
            status.reasons_not_ready(),
            ["cluster b, the target of a->b: not reachable: connection refused"]
        );
        status.clusters.pop();
        status.started_at_ms = None;
        assert_eq!(
            status.reasons_not_ready(),
            [
                "the daemon has not started yet",
                "cluster b, the target of a->b: it is not among the clusters of the status"
            ]
        );
    }
}
