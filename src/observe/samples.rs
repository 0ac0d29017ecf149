//! Status values that tests of several views share.

use super::status::*;

/// The moment at which the samples were made: 1,000,000 s after 1970.
pub(crate) const NOW_MS: i64 = 1_000_000_000;

/// A flow `primary->standby` with these partitions; state and sums are those of the partitions.
pub(crate) fn flow(partitions: Vec<PartitionStatus>) -> FlowStatus {
    let worst = partitions.iter().max_by_key(|p| p.state);
    let sum = |field: fn(&PartitionStatus) -> u64| partitions.iter().map(field).sum();
    FlowStatus {
        name: "primary->standby".into(),
        source: "primary".into(),
        target: "standby".into(),
        engine: "librdkafka".into(),
        delivery: "at-least-once".into(),
        state: worst.map_or(State::CaughtUp, |p| p.state),
        reason: worst.and_then(|p| p.reason.clone()),
        clears: worst.and_then(|p| p.clears.clone()),
        since_ms: worst.map_or(NOW_MS, |p| p.since_ms),
        lag: Lag {
            known: partitions.iter().all(|p| p.lag.known),
            records: sum(|p| p.lag.records),
            seconds: partitions.iter().map(|p| p.lag.seconds).fold(0.0, f64::max),
            unknown_since_ms: partitions.iter().filter_map(|p| p.lag.unknown_since_ms).min(),
            at_least: partitions.iter().any(|p| p.lag.at_least),
        },
        records_total: sum(|p| p.records_total),
        bytes_total: sum(|p| p.bytes_total),
        errors_total: sum(|p| p.errors_total),
        batches: BatchCounts {
            passed: 40,
            merged: 2,
            ..BatchCounts::default()
        },
        partitions,
        left_out: Vec::new(),
        deleted: Vec::new(),
        pauses: Vec::new(),
        events_total: Default::default(),
    }
}

/// A partition that has everything, up to offset 1,000.
pub(crate) fn partition(topic: &str, number: i32) -> PartitionStatus {
    PartitionStatus {
        topic: topic.into(),
        target_topic: format!("primary.{topic}"),
        partition: number,
        mine: true,
        state: State::CaughtUp,
        reason: None,
        clears: None,
        offsets: None,
        since_ms: NOW_MS - 60_000,
        position: Some(1_000),
        source_start: Some(0),
        source_end: Some(1_000),
        target_position: Some(1_000),
        lag: Lag {
            known: true,
            ..Lag::default()
        },
        records_total: 1_000,
        bytes_total: 256_000,
        errors_total: 0,
        gap_records_total: 0,
    }
}

/// A daemon with two built-in clusters and one flow.
pub(crate) fn status(partitions: Vec<PartitionStatus>) -> Status {
    let cluster = |alias: &str, port: u16| ClusterStatus {
        alias: alias.into(),
        built_in: true,
        bootstrap_servers: format!("127.0.0.1:{port}"),
        cluster_id: Some(format!("{alias}-id")),
        reachable: true,
        reason: None,
    };
    Status {
        version: "0.1.0 (abc1234)".into(),
        name: "two-datacenters".into(),
        source: StatusSource::Daemon,
        at_ms: NOW_MS,
        started_at_ms: Some(NOW_MS - 3_723_000),
        clusters: vec![cluster("primary", 19092), cluster("standby", 19192)],
        flows: vec![flow(partitions)],
    }
}

/// Two topics with everything copied.
pub(crate) fn healthy() -> Status {
    status(vec![
        partition("orders", 0),
        partition("orders", 1),
        partition("payments", 0),
    ])
}

/// One partition is behind.
pub(crate) fn lagging() -> Status {
    let mut behind = partition("orders", 1);
    behind.state = State::Copying;
    behind.since_ms = NOW_MS - 2_000;
    behind.source_end = Some(13_345);
    behind.lag = Lag {
        known: true,
        records: 12_345,
        seconds: 1.72,
        unknown_since_ms: None,
        at_least: false,
    };
    status(vec![partition("orders", 0), behind, partition("payments", 0)])
}

/// The source has been away for 12 s; of one partition nothing was ever known.
pub(crate) fn source_unreachable() -> Status {
    let reason = "primary cannot be reached: connection refused";
    let away = |mut p: PartitionStatus| {
        p.state = State::Waiting;
        p.reason = Some(reason.into());
        p.since_ms = NOW_MS - 12_000;
        p.lag = Lag {
            known: false,
            records: 0,
            seconds: 12.0,
            unknown_since_ms: Some(NOW_MS - 12_000),
            at_least: false,
        };
        p
    };
    let mut behind = away(partition("orders", 0));
    behind.source_end = Some(1_120);
    behind.lag.records = 120;
    behind.lag.seconds = 15.5;
    behind.errors_total = 7;
    let mut unseen = away(partition("payments", 0));
    unseen.position = None;
    unseen.source_start = None;
    unseen.source_end = None;
    unseen.target_position = None;
    unseen.records_total = 0;
    unseen.bytes_total = 0;
    let mut status = status(vec![behind, away(partition("orders", 1)), unseen]);
    status.clusters[0].reachable = false;
    status.clusters[0].reason = Some("connection refused".into());
    status
}

/// Retention took records of one partition before they were copied, and another topic was made again.
pub(crate) fn truncated() -> Status {
    let mut gap = partition("orders", 1);
    gap.state = State::Gap;
    gap.reason = Some("offsets 1000 to 4999 were deleted on primary before they were copied".into());
    gap.since_ms = NOW_MS - 90_000;
    gap.source_start = Some(5_000);
    gap.source_end = Some(6_000);
    gap.lag = Lag {
        known: true,
        records: 5_000,
        seconds: 90.0,
        unknown_since_ms: None,
        at_least: false,
    };
    gap.gap_records_total = 4_000;
    let mut recreated = partition("payments", 0);
    recreated.state = State::Recreated;
    recreated.reason = Some("payments was deleted and made again on primary".into());
    recreated.since_ms = NOW_MS - 7_400_000;
    let mut status = status(vec![partition("orders", 0), gap, recreated]);
    status.flows[0].left_out.push(LeftOut {
        topic: "standby.orders".into(),
        reason: "it comes from standby, and would go back there".into(),
    });
    status
}

/// 200 partitions of one topic: some copying, one stalled, the others caught up.
pub(crate) fn many() -> Status {
    let partitions = (0..200).map(|number| {
        let mut p = partition("clicks", number);
        if number % 50 == 7 {
            p.state = State::Copying;
            p.source_end = Some(1_000 + i64::from(number));
            p.lag = Lag {
                known: true,
                records: number as u64,
                seconds: 0.25,
                unknown_since_ms: None,
                at_least: false,
            };
        }
        if number == 42 {
            p.state = State::Stalled;
            p.reason = Some("nothing was acknowledged by standby for 30 s".into());
            p.lag = Lag {
                known: true,
                records: 9,
                seconds: 31.0,
                unknown_since_ms: None,
                at_least: false,
            };
        }
        p
    });
    status(partitions.collect())
}
