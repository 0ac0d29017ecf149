//! Every metric that there is. Nothing else can be emitted.

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until the process starts anew.
    Counter,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name, with the unit, in Prometheus' base units.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The labels of each of its series, in order.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

const NONE: &[&str] = &[];
const TOPOLOGY: &[&str] = &["topology"];
const VERSION: &[&str] = &["version"];
const CLUSTER: &[&str] = &["cluster"];
const CLUSTER_INFO: &[&str] = &["cluster", "cluster_id", "built_in"];
const QUOTA: &[&str] = &["cluster", "quota", "user", "client_id"];
const CLUSTER_PARTITION: &[&str] = &["cluster", "topic", "partition"];
const CLUSTER_REASON: &[&str] = &["cluster", "reason"];
const FLOW: &[&str] = &["flow", "source", "target"];
const FLOW_INFO: &[&str] = &["flow", "source", "target", "engine", "delivery"];
const FLOW_STATE: &[&str] = &["flow", "source", "target", "state"];
const FLOW_HOW: &[&str] = &["flow", "source", "target", "how"];
const FLOW_EVENT: &[&str] = &["flow", "kind"];
const PARTITION: &[&str] = &["flow", "source", "target", "topic", "target_topic", "partition"];
const PARTITION_STATE: &[&str] = &[
    "flow",
    "source",
    "target",
    "topic",
    "target_topic",
    "partition",
    "state",
];

/// Declares the metrics once, as an enum whose variants are the only things that can be emitted, and as a table.
macro_rules! catalogue {
    ($($id:ident: $kind:ident $name:literal $labels:ident $help:literal;)*) => {
        /// Names a metric of [`METRICS`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Id { $($id),* }

        /// Every metric, in the order in which they are shown.
        pub const METRICS: &[MetricInfo] = &[$(MetricInfo {
            name: $name,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
        }),*];
    };
}

impl Id {
    pub(super) fn info(self) -> &'static MetricInfo {
        &METRICS[self as usize]
    }
}

catalogue! {
    FlowInfo: Gauge "heliostat_flow_info" FLOW_INFO
        "Always 1; the labels say how a flow copies.";
    FlowState: Gauge "heliostat_flow_state" FLOW_STATE
        "1 for the state that a flow is in, the worst of its partitions, and 0 for every other state.";
    FlowPartitions: Gauge "heliostat_flow_partitions" FLOW_STATE
        "Partitions of a flow in each state.";
    FlowLagRecords: Gauge "heliostat_flow_lag_records" FLOW
        "Source offsets that are not on the target yet, all partitions of a flow together.";
    FlowLagSeconds: Gauge "heliostat_flow_lag_seconds" FLOW
        "For how long the oldest record that is not on the target has been on the source, in the worst partition; it goes on growing while the lag is not known.";
    FlowLagKnown: Gauge "heliostat_flow_lag_known" FLOW
        "1 while the source's log ends are known, 0 while the lag is only what was last known.";
    FlowRecords: Counter "heliostat_flow_records_total" FLOW
        "Records that this process has copied.";
    FlowBytes: Counter "heliostat_flow_bytes_total" FLOW
        "Bytes that this process has copied: of batches as they travel with the engine batches, of keys and values with the engine librdkafka.";
    FlowBatches: Counter "heliostat_flow_batches_total" FLOW_HOW
        "Batches that this process has copied, by what was done to them: passed as they are, rebuilt record by record, split because they were too large for the mirror, merged because they were small, recompressed.";
    FlowErrors: Counter "heliostat_flow_errors_total" FLOW
        "Attempts of this process that failed: produce errors, fetch errors, lost connections.";
    FlowLeftOut: Gauge "heliostat_flow_left_out_topics" FLOW
        "Source topics that the patterns include and that are not mirrored all the same; the status says why.";
    Events: Counter "heliostat_events_total" FLOW_EVENT
        "Events of a flow since this process started, by kind.";

    PartitionState: Gauge "heliostat_partition_state" PARTITION_STATE
        "1 for the state that a partition is in and 0 for every other state.";
    PartitionStateSince: Gauge "heliostat_partition_state_since_seconds" PARTITION
        "Since when a partition has been in its state, in seconds since 1970.";
    PartitionOwned: Gauge "heliostat_partition_owned" PARTITION
        "1 if this daemon is the one that copies the partition, 0 if it is another one or none.";
    PartitionLagRecords: Gauge "heliostat_partition_lag_records" PARTITION
        "Source offsets that are not on the target yet; absent if the source's log end was never known.";
    PartitionLagSeconds: Gauge "heliostat_partition_lag_seconds" PARTITION
        "For how long the oldest record that is not on the target has been on the source; it goes on growing while the lag is not known.";
    PartitionLagKnown: Gauge "heliostat_partition_lag_known" PARTITION
        "1 while the source's log end is known, 0 while the lag is only what was last known.";
    PartitionPosition: Gauge "heliostat_partition_position" PARTITION
        "The next source offset to copy.";
    PartitionSourceStart: Gauge "heliostat_partition_source_start_offset" PARTITION
        "The first offset that the source still has.";
    PartitionSourceEnd: Gauge "heliostat_partition_source_end_offset" PARTITION
        "The source's log end as readers see it, when it was last known.";
    PartitionTargetPosition: Gauge "heliostat_partition_target_position" PARTITION
        "The target offset that follows the last copied record.";
    PartitionRecords: Counter "heliostat_partition_records_total" PARTITION
        "Records that this process has copied.";
    PartitionBytes: Counter "heliostat_partition_bytes_total" PARTITION
        "Bytes that this process has copied: of batches as they travel with the engine batches, of keys and values with the engine librdkafka.";
    PartitionErrors: Counter "heliostat_partition_errors_total" PARTITION
        "Attempts of this process that failed.";
    PartitionGapRecords: Counter "heliostat_partition_gap_records_total" PARTITION
        "Source offsets that were gone before this process could copy them.";

    ClusterInfo: Gauge "heliostat_cluster_info" CLUSTER_INFO
        "Always 1; the labels say which cluster an alias stands for.";
    ClusterReachable: Gauge "heliostat_cluster_reachable" CLUSTER
        "1 if the last call to the cluster succeeded, 0 if it failed.";

    QuotaLimit: Gauge "heliostat_broker_quota_limit" QUOTA
        "What clients of a built-in cluster may use in a second, in the unit of the quota: bytes, percent of a thread's time, or partitions.";
    QuotaRate: Gauge "heliostat_broker_quota_rate" QUOTA
        "What they use in a second, on average over the quota's window.";
    QuotaThrottled: Counter "heliostat_broker_quota_throttled_total" QUOTA
        "Requests after which they were kept waiting.";
    QuotaThrottledSeconds: Counter "heliostat_broker_quota_throttled_seconds_total" QUOTA
        "For how long they were kept waiting, all these requests together.";
    CleanerRounds: Counter "heliostat_broker_cleaner_rounds_total" CLUSTER
        "Partitions of a built-in cluster that the log cleaner has compacted, each round counted.";
    CleanerFailedRounds: Counter "heliostat_broker_cleaner_failed_rounds_total" CLUSTER
        "Rounds of the log cleaner that did not come to their end.";
    CleanerReadBytes: Counter "heliostat_broker_cleaner_read_bytes_total" CLUSTER
        "Bytes that the log cleaner has read.";
    CleanerWrittenBytes: Counter "heliostat_broker_cleaner_written_bytes_total" CLUSTER
        "Bytes that the log cleaner has written.";
    CleanerDroppedRecords: Counter "heliostat_broker_cleaner_dropped_records_total" CLUSTER
        "Records that compaction has dropped.";
    CleanerUncleanable: Gauge "heliostat_broker_cleaner_uncleanable_partitions" CLUSTER
        "Partitions that are damaged and therefore not compacted any more.";
    CleanerInProgress: Gauge "heliostat_broker_cleaner_partitions_in_progress" CLUSTER
        "Partitions that are compacted right now.";
    ReadOnlyPartitions: Gauge "heliostat_broker_read_only_partitions" CLUSTER
        "Partitions of a built-in cluster that take no records because their disk is full or has failed.";
    ReadOnlySince: Gauge "heliostat_broker_partition_read_only_since_seconds" CLUSTER_PARTITION
        "Since when such a partition takes no records, in seconds since 1970; absent for all others.";
    FailedAuthentications: Counter "heliostat_broker_failed_authentications_total" CLUSTER_REASON
        "Connections that a built-in cluster with SASL has closed because its client could not prove who it is, or did not say it.";

    BuildInfo: Gauge "heliostat_build_info" VERSION
        "Always 1; the label is the version of the program.";
    TopologyInfo: Gauge "heliostat_topology_info" TOPOLOGY
        "Always 1; the label is the name of the topology that the daemon runs.";
    Uptime: Gauge "heliostat_uptime_seconds" NONE
        "For how long the daemon has been running.";
    ProcessStart: Gauge "heliostat_process_start_time_seconds" NONE
        "When the process started, in seconds since 1970.";
    ProcessCpu: Counter "heliostat_process_cpu_seconds_total" NONE
        "Processor time that the process has used, in user code and in the kernel.";
    ProcessResident: Gauge "heliostat_process_resident_memory_bytes" NONE
        "Memory that the process holds.";
}
