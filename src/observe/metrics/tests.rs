//! What is emitted, and that the guide, the dashboard and the alert rules know nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use expect_test::expect;
use regex::Regex;

use super::*;
use crate::observe::built_in::{CleanerFacts, QuotaFacts, ReadOnlyFacts, RefusedFacts};
use crate::observe::samples;
use crate::observe::status::{Lag, State};

const PROCESS: Process = Process {
    started_at_seconds: Some(900_000.5),
    cpu_seconds: Some(1.25),
    resident_bytes: Some(64 << 20),
};

fn text(status: &Status) -> String {
    render(Some(status), &[], &PROCESS).unwrap()
}

/// A built-in cluster of which everything is known.
fn built_in() -> BuiltInFacts {
    let quota = |client_id: &str, throttled: u64| QuotaFacts {
        quota: "producer_byte_rate".into(),
        user: String::new(),
        client_id: client_id.into(),
        limit: 1_000.0,
        rate: 1_234.5,
        throttled,
        throttled_seconds: throttled as f64 / 8.0,
    };
    BuiltInFacts {
        cluster: "primary".into(),
        quotas: vec![quota("slow", 2), quota("greedy", 20)],
        cleaner: CleanerFacts {
            rounds: 3,
            failed_rounds: 1,
            read_bytes: 4_096,
            written_bytes: 512,
            dropped_records: 77,
            uncleanable_partitions: 0,
            partitions_in_progress: 2,
        },
        read_only: vec![ReadOnlyFacts {
            topic: "orders".into(),
            partition: 7,
            since_ms: samples::NOW_MS - 1_500,
        }],
        refused_clients: Some(RefusedFacts {
            refused: 4,
            without_credentials: 5,
        }),
    }
}

/// The series of a metric, without its name and the labels that all series of the samples share.
fn series(text: &str, name: &str) -> String {
    let shared = Regex::new(r#"(flow|source|target|target_topic)="[^"]*",?"#).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(name)
            && rest.starts_with(['{', ' '])
        {
            lines.push(shared.replace_all(rest, "").into_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_healthy_flow() {
    let mut status = samples::healthy();
    status.flows[0].partitions.truncate(1);
    expect![[r##"
        # HELP heliostat_flow_info Always 1; the labels say how a flow copies.
        # TYPE heliostat_flow_info gauge
        heliostat_flow_info{flow="primary->standby",source="primary",target="standby",engine="librdkafka",delivery="at-least-once"} 1
        # HELP heliostat_flow_state 1 for the state that a flow is in, the worst of its partitions, and 0 for every other state.
        # TYPE heliostat_flow_state gauge
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="caught-up"} 1
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="copying"} 0
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="paused"} 0
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="waiting"} 0
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="gap"} 0
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="stalled"} 0
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="recreated"} 0
        heliostat_flow_state{flow="primary->standby",source="primary",target="standby",state="quarantined"} 0
        # HELP heliostat_flow_partitions Partitions of a flow in each state.
        # TYPE heliostat_flow_partitions gauge
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="caught-up"} 1
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="copying"} 0
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="paused"} 0
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="waiting"} 0
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="gap"} 0
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="stalled"} 0
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="recreated"} 0
        heliostat_flow_partitions{flow="primary->standby",source="primary",target="standby",state="quarantined"} 0
        # HELP heliostat_flow_lag_records Source offsets that are not on the target yet, all partitions of a flow together.
        # TYPE heliostat_flow_lag_records gauge
        heliostat_flow_lag_records{flow="primary->standby",source="primary",target="standby"} 0
        # HELP heliostat_flow_lag_seconds For how long the oldest record that is not on the target has been on the source, in the worst partition; it goes on growing while the lag is not known.
        # TYPE heliostat_flow_lag_seconds gauge
        heliostat_flow_lag_seconds{flow="primary->standby",source="primary",target="standby"} 0
        # HELP heliostat_flow_lag_known 1 while the source's log ends are known, 0 while the lag is only what was last known.
        # TYPE heliostat_flow_lag_known gauge
        heliostat_flow_lag_known{flow="primary->standby",source="primary",target="standby"} 1
        # HELP heliostat_flow_records_total Records that this process has copied.
        # TYPE heliostat_flow_records_total counter
        heliostat_flow_records_total{flow="primary->standby",source="primary",target="standby"} 3000
        # HELP heliostat_flow_bytes_total Bytes that this process has copied: of batches as they travel with the engine batches, of keys and values with the engine librdkafka.
        # TYPE heliostat_flow_bytes_total counter
        heliostat_flow_bytes_total{flow="primary->standby",source="primary",target="standby"} 768000
        # HELP heliostat_flow_batches_total Batches that this process has copied, by what was done to them: passed as they are, rebuilt record by record, split because they were too large for the mirror, merged because they were small, recompressed.
        # TYPE heliostat_flow_batches_total counter
        heliostat_flow_batches_total{flow="primary->standby",source="primary",target="standby",how="passed"} 40
        heliostat_flow_batches_total{flow="primary->standby",source="primary",target="standby",how="rebuilt"} 0
        heliostat_flow_batches_total{flow="primary->standby",source="primary",target="standby",how="split"} 0
        heliostat_flow_batches_total{flow="primary->standby",source="primary",target="standby",how="merged"} 2
        heliostat_flow_batches_total{flow="primary->standby",source="primary",target="standby",how="recompressed"} 0
        # HELP heliostat_flow_errors_total Attempts of this process that failed: produce errors, fetch errors, lost connections.
        # TYPE heliostat_flow_errors_total counter
        heliostat_flow_errors_total{flow="primary->standby",source="primary",target="standby"} 0
        # HELP heliostat_flow_left_out_topics Source topics that the patterns include and that are not mirrored all the same; the status says why.
        # TYPE heliostat_flow_left_out_topics gauge
        heliostat_flow_left_out_topics{flow="primary->standby",source="primary",target="standby"} 0
        # HELP heliostat_events_total Events of a flow since this process started, by kind.
        # TYPE heliostat_events_total counter
        heliostat_events_total{flow="primary->standby",kind="state"} 0
        heliostat_events_total{flow="primary->standby",kind="gap"} 0
        heliostat_events_total{flow="primary->standby",kind="recreated"} 0
        heliostat_events_total{flow="primary->standby",kind="quarantined"} 0
        heliostat_events_total{flow="primary->standby",kind="taken"} 0
        heliostat_events_total{flow="primary->standby",kind="released"} 0
        heliostat_events_total{flow="primary->standby",kind="paused"} 0
        heliostat_events_total{flow="primary->standby",kind="resumed"} 0
        heliostat_events_total{flow="primary->standby",kind="deleted"} 0
        # HELP heliostat_partition_state 1 for the state that a partition is in and 0 for every other state.
        # TYPE heliostat_partition_state gauge
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="caught-up"} 1
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="copying"} 0
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="paused"} 0
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="waiting"} 0
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="gap"} 0
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="stalled"} 0
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="recreated"} 0
        heliostat_partition_state{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0",state="quarantined"} 0
        # HELP heliostat_partition_state_since_seconds Since when a partition has been in its state, in seconds since 1970.
        # TYPE heliostat_partition_state_since_seconds gauge
        heliostat_partition_state_since_seconds{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 999940
        # HELP heliostat_partition_owned 1 if this daemon is the one that copies the partition, 0 if it is another one or none.
        # TYPE heliostat_partition_owned gauge
        heliostat_partition_owned{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 1
        # HELP heliostat_partition_lag_records Source offsets that are not on the target yet; absent if the source's log end was never known.
        # TYPE heliostat_partition_lag_records gauge
        heliostat_partition_lag_records{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 0
        # HELP heliostat_partition_lag_seconds For how long the oldest record that is not on the target has been on the source; it goes on growing while the lag is not known.
        # TYPE heliostat_partition_lag_seconds gauge
        heliostat_partition_lag_seconds{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 0
        # HELP heliostat_partition_lag_known 1 while the source's log end is known, 0 while the lag is only what was last known.
        # TYPE heliostat_partition_lag_known gauge
        heliostat_partition_lag_known{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 1
        # HELP heliostat_partition_position The next source offset to copy.
        # TYPE heliostat_partition_position gauge
        heliostat_partition_position{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 1000
        # HELP heliostat_partition_source_start_offset The first offset that the source still has.
        # TYPE heliostat_partition_source_start_offset gauge
        heliostat_partition_source_start_offset{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 0
        # HELP heliostat_partition_source_end_offset The source's log end as readers see it, when it was last known.
        # TYPE heliostat_partition_source_end_offset gauge
        heliostat_partition_source_end_offset{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 1000
        # HELP heliostat_partition_target_position The target offset that follows the last copied record.
        # TYPE heliostat_partition_target_position gauge
        heliostat_partition_target_position{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 1000
        # HELP heliostat_partition_records_total Records that this process has copied.
        # TYPE heliostat_partition_records_total counter
        heliostat_partition_records_total{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 1000
        # HELP heliostat_partition_bytes_total Bytes that this process has copied: of batches as they travel with the engine batches, of keys and values with the engine librdkafka.
        # TYPE heliostat_partition_bytes_total counter
        heliostat_partition_bytes_total{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 256000
        # HELP heliostat_partition_errors_total Attempts of this process that failed.
        # TYPE heliostat_partition_errors_total counter
        heliostat_partition_errors_total{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 0
        # HELP heliostat_partition_gap_records_total Source offsets that were gone before this process could copy them.
        # TYPE heliostat_partition_gap_records_total counter
        heliostat_partition_gap_records_total{flow="primary->standby",source="primary",target="standby",topic="orders",target_topic="primary.orders",partition="0"} 0
        # HELP heliostat_cluster_info Always 1; the labels say which cluster an alias stands for.
        # TYPE heliostat_cluster_info gauge
        heliostat_cluster_info{cluster="primary",cluster_id="primary-id",built_in="true"} 1
        heliostat_cluster_info{cluster="standby",cluster_id="standby-id",built_in="true"} 1
        # HELP heliostat_cluster_reachable 1 if the last call to the cluster succeeded, 0 if it failed.
        # TYPE heliostat_cluster_reachable gauge
        heliostat_cluster_reachable{cluster="primary"} 1
        heliostat_cluster_reachable{cluster="standby"} 1
        # HELP heliostat_build_info Always 1; the label is the version of the program.
        # TYPE heliostat_build_info gauge
        heliostat_build_info{version="0.1.0 (abc1234)"} 1
        # HELP heliostat_topology_info Always 1; the label is the name of the topology that the daemon runs.
        # TYPE heliostat_topology_info gauge
        heliostat_topology_info{topology="two-datacenters"} 1
        # HELP heliostat_uptime_seconds For how long the daemon has been running.
        # TYPE heliostat_uptime_seconds gauge
        heliostat_uptime_seconds 3723
        # HELP heliostat_process_start_time_seconds When the process started, in seconds since 1970.
        # TYPE heliostat_process_start_time_seconds gauge
        heliostat_process_start_time_seconds 900000.5
        # HELP heliostat_process_cpu_seconds_total Processor time that the process has used, in user code and in the kernel.
        # TYPE heliostat_process_cpu_seconds_total counter
        heliostat_process_cpu_seconds_total 1.25
        # HELP heliostat_process_resident_memory_bytes Memory that the process holds.
        # TYPE heliostat_process_resident_memory_bytes gauge
        heliostat_process_resident_memory_bytes 67108864
    "##]]
    .assert_eq(&text(&status));
}

#[test]
fn what_is_not_known_is_absent_and_lag_in_seconds_goes_on() {
    let text = text(&samples::source_unreachable());
    expect![[r#"
        {topic="orders",partition="0"} 120
        {topic="orders",partition="1"} 0
    "#]]
    .assert_eq(&series(&text, "heliostat_partition_lag_records"));
    expect![[r#"
        {topic="orders",partition="0"} 15.5
        {topic="orders",partition="1"} 12
        {topic="payments",partition="0"} 12
    "#]]
    .assert_eq(&series(&text, "heliostat_partition_lag_seconds"));
    expect![[r#"
        {topic="orders",partition="0"} 0
        {topic="orders",partition="1"} 0
        {topic="payments",partition="0"} 0
    "#]]
    .assert_eq(&series(&text, "heliostat_partition_lag_known"));
    expect![[r#"
        {topic="orders",partition="0"} 1120
        {topic="orders",partition="1"} 1000
    "#]]
    .assert_eq(&series(&text, "heliostat_partition_source_end_offset"));
    expect![[r#"
        {topic="orders",partition="0"} 1000
        {topic="orders",partition="1"} 1000
    "#]]
    .assert_eq(&series(&text, "heliostat_partition_position"));
    expect![[r#"
        {} 120
    "#]]
    .assert_eq(&series(&text, "heliostat_flow_lag_records"));
    expect![[r#"
        {cluster="primary"} 0
        {cluster="standby"} 1
    "#]]
    .assert_eq(&series(&text, "heliostat_cluster_reachable"));

    let mut never = samples::source_unreachable();
    never.flows[0].partitions.drain(..2);
    assert_eq!(
        series(
            &render(Some(&never), &[], &Process::default()).unwrap(),
            "heliostat_flow_lag_records"
        ),
        "\n"
    );
    never.started_at_ms = None;
    let text = render(Some(&never), &[], &Process::default()).unwrap();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "uptime_seconds",
    ] {
        assert!(!text.contains(&format!("heliostat_{name}")), "{name}");
    }
}

#[test]
fn states_and_gaps() {
    let text = text(&samples::truncated());
    expect![[r#"
        {state="caught-up"} 1
        {state="copying"} 0
        {state="paused"} 0
        {state="waiting"} 0
        {state="gap"} 1
        {state="stalled"} 0
        {state="recreated"} 1
        {state="quarantined"} 0
    "#]]
    .assert_eq(&series(&text, "heliostat_flow_partitions"));
    expect![[r#"
        {topic="orders",partition="0"} 0
        {topic="orders",partition="1"} 4000
        {topic="payments",partition="0"} 0
    "#]]
    .assert_eq(&series(&text, "heliostat_partition_gap_records_total"));
    expect![[r#"
        {} 1
    "#]]
    .assert_eq(&series(&text, "heliostat_flow_left_out_topics"));
}

#[test]
fn a_built_in_cluster_without_a_daemon() {
    let text = render(None, &[built_in()], &PROCESS).unwrap();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let samples = samples.join("\n").replace(crate::VERSION, "VERSION") + "\n";
    expect![[r#"
        heliostat_broker_quota_limit{cluster="primary",quota="producer_byte_rate",user="",client_id="greedy"} 1000
        heliostat_broker_quota_limit{cluster="primary",quota="producer_byte_rate",user="",client_id="slow"} 1000
        heliostat_broker_quota_rate{cluster="primary",quota="producer_byte_rate",user="",client_id="greedy"} 1234.5
        heliostat_broker_quota_rate{cluster="primary",quota="producer_byte_rate",user="",client_id="slow"} 1234.5
        heliostat_broker_quota_throttled_total{cluster="primary",quota="producer_byte_rate",user="",client_id="greedy"} 20
        heliostat_broker_quota_throttled_total{cluster="primary",quota="producer_byte_rate",user="",client_id="slow"} 2
        heliostat_broker_quota_throttled_seconds_total{cluster="primary",quota="producer_byte_rate",user="",client_id="greedy"} 2.5
        heliostat_broker_quota_throttled_seconds_total{cluster="primary",quota="producer_byte_rate",user="",client_id="slow"} 0.25
        heliostat_broker_cleaner_rounds_total{cluster="primary"} 3
        heliostat_broker_cleaner_failed_rounds_total{cluster="primary"} 1
        heliostat_broker_cleaner_read_bytes_total{cluster="primary"} 4096
        heliostat_broker_cleaner_written_bytes_total{cluster="primary"} 512
        heliostat_broker_cleaner_dropped_records_total{cluster="primary"} 77
        heliostat_broker_cleaner_uncleanable_partitions{cluster="primary"} 0
        heliostat_broker_cleaner_partitions_in_progress{cluster="primary"} 2
        heliostat_broker_read_only_partitions{cluster="primary"} 1
        heliostat_broker_partition_read_only_since_seconds{cluster="primary",topic="orders",partition="7"} 999998.5
        heliostat_broker_failed_authentications_total{cluster="primary",reason="refused"} 4
        heliostat_broker_failed_authentications_total{cluster="primary",reason="no-credentials"} 5
        heliostat_build_info{version="VERSION"} 1
        heliostat_process_start_time_seconds 900000.5
        heliostat_process_cpu_seconds_total 1.25
        heliostat_process_resident_memory_bytes 67108864
    "#]]
    .assert_eq(&samples);
}

#[test]
fn of_many_clients_those_that_wait_longest_are_shown() {
    let mut facts = built_in();
    let quota = facts.quotas[0].clone();
    facts.quotas = (0..3_000)
        .map(|number| QuotaFacts {
            client_id: format!("client-{number}"),
            throttled_seconds: f64::from(number),
            ..quota.clone()
        })
        .collect();
    let text = render(None, &[facts], &PROCESS).unwrap();
    let shown = series(&text, "heliostat_broker_quota_rate");
    assert_eq!(shown.lines().count(), 1_000);
    assert!(shown.contains("client-2999") && !shown.contains("client-1999\""));
}

#[test]
fn every_text_is_what_prometheus_reads() {
    let mut hostile = samples::healthy();
    hostile.flows[0].partitions[0].topic = "a\"b\\c\nd{}".into();
    hostile.flows[0].partitions[1].lag.seconds = f64::NAN;
    hostile.flows[0].lag.seconds = f64::INFINITY;
    hostile.name = String::new();
    let statuses = [
        Status::default(),
        samples::lagging(),
        samples::truncated(),
        samples::many(),
        hostile,
    ];
    let sample = Regex::new(
        r#"^(heliostat_[a-z_]+)(\{([a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (-?[0-9.]+(e[+-]?[0-9]+)?)$"#,
    )
    .unwrap();
    for status in statuses {
        let mut seen = BTreeSet::new();
        for line in text(&status).lines().filter(|line| !line.starts_with('#')) {
            assert!(sample.is_match(line), "{line}");
            let series = line.rsplit_once(' ').unwrap().0.to_string();
            assert!(seen.insert(series), "twice: {line}");
        }
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("heliostat_"), "{}", metric.name);
        assert_eq!(
            metric.name.ends_with("_total"),
            metric.kind == Kind::Counter,
            "{}",
            metric.name
        );
        assert!(
            metric.help.ends_with('.') && !metric.help.contains('|'),
            "{}",
            metric.name
        );
        assert!(
            !metric.name.contains("_ms") && !metric.name.contains("milli"),
            "{}",
            metric.name
        );
    }
}

#[test]
fn every_metric_has_a_series_in_a_full_status() {
    let text = render(Some(&samples::truncated()), &[built_in()], &PROCESS).unwrap();
    for metric in METRICS {
        assert_ne!(
            series(&text, metric.name),
            "\n",
            "{} is never emitted",
            metric.name
        );
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_guide_has_the_same_table() {
    let mut rows = vec![
        "| name | type | labels | says |".to_string(),
        "|---|---|---|---|".to_string(),
    ];
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        rows.push(format!(
            "| `{}` | {kind} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.help
        ));
    }
    let guide = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    let found: Vec<&str> = guide.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(
        found,
        rows,
        "docs/metrics.md should hold this table:\n{}\n",
        rows.join("\n")
    );
}

/// The names in a text that look like metrics of ours.
fn names_in(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"heliostat_[a-z0-9_]+").unwrap();
    name.find_iter(text)
        .map(|found| found.as_str().to_string())
        .collect()
}

#[test]
fn dashboards_and_alerts_read_only_what_is_emitted() {
    let known: BTreeMap<&str, &MetricInfo> = METRICS.iter().map(|metric| (metric.name, metric)).collect();
    let mut files = 0;
    let selector = Regex::new(r"(heliostat_[a-z0-9_]+)\{([^}]*)\}").unwrap();
    let label = Regex::new(r#"([a-z_]+)\s*(?:=~|!~|!=|=)"#).unwrap();
    for entry in std::fs::read_dir(repository().join("dashboards")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let names = names_in(&text);
        for name in &names {
            assert!(
                known.contains_key(name.as_str()),
                "{}: {name} is no metric",
                path.display()
            );
        }
        // Every label that a selector names must be one that the metric has.
        for found in selector.captures_iter(&text) {
            for label in label.captures_iter(&found[2]) {
                let labels = known[&found[1]].labels;
                assert!(
                    labels.contains(&&label[1]) || matches!(&label[1], "job" | "instance"),
                    "{}: {} has no label {}",
                    path.display(),
                    &found[1],
                    &label[1]
                );
            }
        }
        files += usize::from(!names.is_empty());
    }
    assert!(files >= 2, "a dashboard and alert rules");
}

#[test]
fn dashboards_and_alerts_can_be_read() {
    let read = |file| std::fs::read_to_string(repository().join("dashboards").join(file)).unwrap();
    let board: serde_json::Value = serde_json::from_str(&read("heliostat.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_i64().unwrap()),
            "two panels with id {}",
            panel["id"]
        );
        let place = &panel["gridPos"];
        assert!(
            place["x"].as_i64().unwrap() + place["w"].as_i64().unwrap() <= 24,
            "{}",
            panel["title"]
        );
    }

    let rules: serde_json::Value = serde_yaml::from_str(&read("alerts.yaml")).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        for key in ["alert", "expr"] {
            assert!(rule[key].is_string(), "{rule}: {key}");
        }
        assert!(
            rule["labels"]["severity"].is_string() && rule["annotations"]["summary"].is_string(),
            "{rule}"
        );
    }
}

#[test]
fn states_in_dashboards_and_alerts_exist() {
    let state = Regex::new(r#"state(?:=|=~|!=|!~)\\?"([a-z|-]+)\\?""#).unwrap();
    for file in ["heliostat.json", "alerts.yaml"] {
        let text = std::fs::read_to_string(repository().join("dashboards").join(file)).unwrap();
        assert!(state.is_match(&text), "{file} asks for no state");
        for found in state.captures_iter(&text) {
            for name in found[1].split('|') {
                assert!(
                    State::ALL.iter().any(|state| state.name() == name),
                    "{file}: no state {name}"
                );
            }
        }
    }
}

#[test]
fn a_scrape_of_many_partitions_is_cheap() {
    let mut status = samples::many();
    for partition in &mut status.flows[0].partitions {
        partition.lag = Lag {
            known: true,
            records: 123_456,
            seconds: 1.5,
            unknown_since_ms: None,
            at_least: false,
        };
    }
    text(&status);
    let runs: u32 = 20;
    let start = Instant::now();
    let bytes: usize = (0..runs).map(|_| text(&status).len()).sum();
    let each = start.elapsed() / runs;
    println!(
        "{} partitions: {each:?} a scrape, {} bytes",
        status.flows[0].partitions.len(),
        bytes / runs as usize
    );
    // About 4 ms and 600 KB: far from a scrape's time-out even on a machine that is busy.
    assert!(each.as_millis() < 250, "{each:?} a scrape");
}
