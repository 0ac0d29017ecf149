//! A status becomes families of metrics.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalogue::{Id, Kind, MetricInfo};
use crate::observe::built_in::{BuiltInFacts, QuotaFacts};
use crate::observe::events::EventKind;
use crate::observe::process::Process;
use crate::observe::status::{FlowStatus, PartitionStatus, State, Status};

/// The most clients of one cluster that are shown with their quotas. Whoever may connect chooses client ids, and each
/// would be four series more; those that were kept waiting longest come first.
const QUOTA_CLIENTS_MAX: usize = 1_000;

/// The family of one metric, if it has at least one series.
pub(super) fn family(
    metric: &MetricInfo,
    status: Option<&Status>,
    built_in: &[BuiltInFacts],
    process: &Process,
) -> Option<MetricFamily> {
    let mut series = Series::of(metric);
    if let Some(status) = status {
        for flow in &status.flows {
            series.flow(flow);
            for partition in &flow.partitions {
                series.partition(flow, partition);
            }
        }
        series.clusters(status);
        series.daemon(status);
    }
    for cluster in built_in {
        series.built_in(cluster);
    }
    series.process(status.map_or(crate::VERSION, |status| &status.version), process);
    series.into_family()
}

/// The series of one metric. What is added to others is passed over: with thousands of partitions all of them at a time would take tens of
/// megabytes.
struct Series<'a> {
    metric: &'a MetricInfo,
    found: Vec<Metric>,
}

impl<'a> Series<'a> {
    fn of(metric: &'a MetricInfo) -> Self {
        Series {
            metric,
            found: Vec::new(),
        }
    }

    /// Adds one series. What is not a number cannot be drawn and would hide that the value is not known.
    fn add(&mut self, id: Id, labels: &[&str], value: f64) {
        let info = id.info();
        debug_assert_eq!(labels.len(), info.labels.len(), "labels of {}", info.name);
        if info.name != self.metric.name || !value.is_finite() {
            return;
        }
        let pairs = info.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_string());
            pair.set_value((*value).to_string());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
        match info.kind {
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
        }
        self.found.push(metric);
    }

    /// Adds one series if its value is known.
    fn add_known(&mut self, id: Id, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.add(id, labels, value);
        }
    }

    fn flow(&mut self, flow: &FlowStatus) {
        let labels = [flow.name.as_str(), &flow.source, &flow.target];
        let [name, source, target] = labels;
        self.add(
            Id::FlowInfo,
            &[name, source, target, &flow.engine, &flow.delivery],
            1.0,
        );
        for (state, count) in State::ALL.into_iter().zip(flow.partitions_by_state()) {
            let labels = [name, source, target, state.name()];
            self.add(Id::FlowState, &labels, flag(flow.state == state));
            self.add(Id::FlowPartitions, &labels, count as f64);
        }
        self.add_known(
            Id::FlowLagRecords,
            &labels,
            flow.was_ever_known().then_some(flow.lag.records as f64),
        );
        self.add(Id::FlowLagSeconds, &labels, flow.lag.seconds);
        self.add(Id::FlowLagKnown, &labels, flag(flow.lag.known));
        self.add(Id::FlowRecords, &labels, flow.records_total as f64);
        self.add(Id::FlowBytes, &labels, flow.bytes_total as f64);
        self.add(Id::FlowErrors, &labels, flow.errors_total as f64);
        for (how, count) in flow.batches.by_name() {
            self.add(Id::FlowBatches, &[name, source, target, how], count as f64);
        }
        self.add(Id::FlowLeftOut, &labels, flow.left_out.len() as f64);
        for kind in EventKind::ALL {
            let count = flow.events_total.get(&kind).copied().unwrap_or(0);
            self.add(Id::Events, &[name, kind.name()], count as f64);
        }
    }

    fn partition(&mut self, flow: &FlowStatus, partition: &PartitionStatus) {
        let number = partition.partition.to_string();
        let labels = [
            flow.name.as_str(),
            &flow.source,
            &flow.target,
            &partition.topic,
            &partition.target_topic,
            &number,
        ];
        let [name, source, target, topic, target_topic, _] = labels;
        for state in State::ALL {
            let labels = [name, source, target, topic, target_topic, &number, state.name()];
            self.add(Id::PartitionState, &labels, flag(partition.state == state));
        }
        self.add(
            Id::PartitionStateSince,
            &labels,
            partition.since_ms as f64 / 1000.0,
        );
        let offset = |value: Option<i64>| value.map(|offset| offset as f64);
        let lag = &partition.lag;
        self.add(Id::PartitionOwned, &labels, flag(partition.mine));
        self.add_known(
            Id::PartitionLagRecords,
            &labels,
            partition.was_ever_known().then_some(lag.records as f64),
        );
        self.add(Id::PartitionLagSeconds, &labels, lag.seconds);
        self.add(Id::PartitionLagKnown, &labels, flag(lag.known));
        self.add_known(Id::PartitionPosition, &labels, offset(partition.position));
        self.add_known(Id::PartitionSourceStart, &labels, offset(partition.source_start));
        self.add_known(Id::PartitionSourceEnd, &labels, offset(partition.source_end));
        self.add_known(
            Id::PartitionTargetPosition,
            &labels,
            offset(partition.target_position),
        );
        self.add(Id::PartitionRecords, &labels, partition.records_total as f64);
        self.add(Id::PartitionBytes, &labels, partition.bytes_total as f64);
        self.add(Id::PartitionErrors, &labels, partition.errors_total as f64);
        self.add(
            Id::PartitionGapRecords,
            &labels,
            partition.gap_records_total as f64,
        );
    }

    fn clusters(&mut self, status: &Status) {
        for cluster in &status.clusters {
            let id = cluster.cluster_id.as_deref().unwrap_or_default();
            let built_in = if cluster.built_in { "true" } else { "false" };
            self.add(Id::ClusterInfo, &[&cluster.alias, id, built_in], 1.0);
            self.add(Id::ClusterReachable, &[&cluster.alias], flag(cluster.reachable));
        }
    }

    fn built_in(&mut self, facts: &BuiltInFacts) {
        let name = facts.cluster.as_str();
        let mut quotas: Vec<&QuotaFacts> = facts.quotas.iter().collect();
        quotas.sort_by(|a, b| b.throttled_seconds.total_cmp(&a.throttled_seconds));
        for quota in quotas.into_iter().take(QUOTA_CLIENTS_MAX) {
            let labels = [name, quota.quota.as_str(), &quota.user, &quota.client_id];
            self.add(Id::QuotaLimit, &labels, quota.limit);
            self.add(Id::QuotaRate, &labels, quota.rate);
            self.add(Id::QuotaThrottled, &labels, quota.throttled as f64);
            self.add(Id::QuotaThrottledSeconds, &labels, quota.throttled_seconds);
        }
        let cleaner = &facts.cleaner;
        let counts = [
            (Id::CleanerRounds, cleaner.rounds),
            (Id::CleanerFailedRounds, cleaner.failed_rounds),
            (Id::CleanerReadBytes, cleaner.read_bytes),
            (Id::CleanerWrittenBytes, cleaner.written_bytes),
            (Id::CleanerDroppedRecords, cleaner.dropped_records),
            (Id::CleanerUncleanable, cleaner.uncleanable_partitions as u64),
            (Id::CleanerInProgress, cleaner.partitions_in_progress as u64),
            (Id::ReadOnlyPartitions, facts.read_only.len() as u64),
        ];
        for (id, count) in counts {
            self.add(id, &[name], count as f64);
        }
        if let Some(clients) = &facts.refused_clients {
            let counts = [
                ("refused", clients.refused),
                ("no-credentials", clients.without_credentials),
            ];
            for (reason, count) in counts {
                self.add(Id::FailedAuthentications, &[name, reason], count as f64);
            }
        }
        for partition in &facts.read_only {
            let number = partition.partition.to_string();
            let labels = [name, partition.topic.as_str(), &number];
            self.add(Id::ReadOnlySince, &labels, partition.since_ms as f64 / 1000.0);
        }
    }

    fn daemon(&mut self, status: &Status) {
        self.add(Id::TopologyInfo, &[&status.name], 1.0);
        let uptime = status
            .started_at_ms
            .map(|start| status.at_ms.saturating_sub(start).max(0) as f64 / 1000.0);
        self.add_known(Id::Uptime, &[], uptime);
    }

    fn process(&mut self, version: &str, process: &Process) {
        self.add(Id::BuildInfo, &[version], 1.0);
        self.add_known(Id::ProcessStart, &[], process.started_at_seconds);
        self.add_known(Id::ProcessCpu, &[], process.cpu_seconds);
        self.add_known(
            Id::ProcessResident,
            &[],
            process.resident_bytes.map(|bytes| bytes as f64),
        );
    }

    fn into_family(self) -> Option<MetricFamily> {
        let info = self.metric;
        // The encoder refuses a family without series.
        if self.found.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(info.name.to_string());
        family.set_help(info.help.to_string());
        family.set_field_type(match info.kind {
            Kind::Gauge => MetricType::GAUGE,
            Kind::Counter => MetricType::COUNTER,
        });
        family.set_metric(self.found);
        Some(family)
    }
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}
