//! A status becomes lines for a person.
//!
//! Everything is a function of the status, so a test can show every case; the moment that durations count to is the
//! status' own.

mod clears;

use std::borrow::Cow;

use self::clears::{clears_lines, pause_lines};
use super::rates::Rates;
use super::table::{Align, Cell, Column, Paint, Table, painted};
use super::text::{clean, duration, fit, thousands, wrap};
use crate::observe::status::{ClusterStatus, FlowStatus, Lag, PartitionStatus, State, Status, StatusSource};

/// Partitions shown of each flow where nothing else is said.
pub const PARTITIONS_SHOWN: usize = 12;

/// Topics that are left out, shown of each flow.
const LEFT_OUT_SHOWN: usize = 3;

/// Deleted topics shown of each flow, the last ones.
const DELETED_SHOWN: usize = 5;

/// Partitions shown of each flow in the live table, and only those in trouble.
const LIVE_PARTITIONS_SHOWN: usize = 4;

/// Different reasons looked at: many partitions tend to have the same few.
const REASONS_SHOWN: usize = 10;

/// How lines are made.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// No line is wider, in character cells.
    pub width: usize,
    /// Whether colours are wanted.
    pub color: bool,
    /// Partitions shown of each flow, the worst first.
    pub partitions: usize,
}

/// The whole status: who says so, clusters, flows, partitions.
pub fn full(status: &Status, rates: &Rates, layout: Layout) -> Vec<String> {
    let mut lines = vec![headline(status, layout)];
    lines.push(String::new());
    lines.extend(cluster_table(status.clusters.iter(), layout));
    lines.push(String::new());
    if status.flows.is_empty() {
        lines.push("no flows".to_string());
    }
    lines.extend(flow_table(status, rates, layout));
    for flow in &status.flows {
        lines.extend(flow_lines(status, flow, layout));
    }
    lines.extend(cut_reasons(status, &lines, layout));
    lines.extend(clears_lines(status, layout));
    lines
}

/// What fits on a terminal while the daemon runs: flows, and what is wrong.
pub fn live(status: &Status, rates: &Rates, layout: Layout, height: usize) -> Vec<String> {
    let mut lines = flow_table(status, rates, layout);
    lines.extend(cluster_table(
        status.clusters.iter().filter(|cluster| !cluster.reachable),
        layout,
    ));
    for flow in &status.flows {
        let mut bad: Vec<&PartitionStatus> =
            flow.partitions.iter().filter(|p| !p.state.is_healthy()).collect();
        // One reason for all of them stands in the flow's own line already.
        if bad.is_empty()
            || bad
                .iter()
                .all(|p| p.state == flow.state && p.reason == flow.reason)
        {
            continue;
        }
        sort_worst_first(&mut bad);
        if status.flows.len() > 1 {
            lines.push(flow_title(flow, layout));
        }
        let shown = bad.len().min(LIVE_PARTITIONS_SHOWN);
        lines.extend(partition_table(status, &bad[..shown], layout));
        if shown < bad.len() {
            lines.push(more(&bad[shown..], layout));
        }
    }
    cut_to_height(&mut lines, layout.width, height);
    lines
}

/// Leaves what fits; the last line then says that there is more.
pub fn cut_to_height(lines: &mut Vec<String>, width: usize, height: usize) {
    if lines.len() > height && height > 0 {
        let left_out = lines.len() + 1 - height;
        lines.truncate(height - 1);
        let text = format!("… {left_out} more lines; `heliostat status` shows all");
        lines.push(fit(&text, width).into_owned());
    }
}

/// A flow in one line, for a log.
pub fn flow_line(flow: &FlowStatus, now_ms: i64) -> String {
    let mut line = format!("flow {}: {}", flow.name, flow.state);
    if flow.lag.known && flow.lag.records == 0 {
        if flow.state != State::CaughtUp {
            line += ", nothing to copy";
        }
    } else {
        let noun = if flow.lag.records == 1 {
            "record"
        } else {
            "records"
        };
        line += &match flow.lag.known {
            true => format!(", {} {noun} behind", thousands(flow.lag.records)),
            false => format!(", lag {}", unknown(&flow.lag, now_ms)),
        };
        if !flow.lag.known && flow.lag.records > 0 && flow.was_ever_known() {
            line += &format!(", at least {} {noun}", thousands(flow.lag.records));
        }
        if flow.lag.known || flow.lag.seconds > 0.0 {
            line += &format!(", {}", lag_time(&flow.lag));
        }
    }
    if let Some(reason) = &flow.reason {
        line += &format!(": {reason}");
    }
    clean(&line).into_owned()
}

/// `12,345`, `≥ 120 (unknown for 12 s)`, `unknown`.
fn lag_records(lag: &Lag, ever_known: bool, now_ms: i64) -> String {
    if lag.known {
        return thousands(lag.records);
    }
    // What was last known to be missing is still missing, whatever came on top of it.
    if ever_known && lag.records > 0 {
        format!("≥ {} ({})", thousands(lag.records), unknown(lag, now_ms))
    } else {
        unknown(lag, now_ms)
    }
}

fn unknown(lag: &Lag, now_ms: i64) -> String {
    match lag.unknown_since_ms {
        Some(since) => format!("unknown for {}", duration(seconds_since(since, now_ms))),
        None => "unknown".to_string(),
    }
}

/// `16 s`, `unknown`, or `≥ 16 s` where nobody knows how long the oldest missing record was there before it was seen.
fn lag_time(lag: &Lag) -> String {
    if !lag.known && lag.seconds == 0.0 {
        return "unknown".to_string();
    }
    let time = duration(lag.seconds);
    if lag.at_least { format!("≥ {time}") } else { time }
}

fn lag_paint(lag: &Lag) -> Paint {
    if lag.known { Paint::Plain } else { Paint::Warn }
}

fn seconds_since(since_ms: i64, now_ms: i64) -> f64 {
    now_ms.saturating_sub(since_ms).max(0) as f64 / 1000.0
}

/// How long something has been so; nothing where that is not known. Clusters know only how things are now.
fn since(since_ms: i64, status: &Status) -> Cell {
    if since_ms <= 0 || status.source == StatusSource::Clusters {
        return Cell::default();
    }
    Cell::new(
        duration(seconds_since(since_ms, status.at_ms).floor()),
        Paint::Dim,
    )
}

fn state_cell(state: State) -> Cell {
    let paint = match state {
        State::CaughtUp | State::Copying => Paint::Good,
        State::Paused | State::Waiting => Paint::Warn,
        State::Gap | State::Stalled | State::Recreated | State::Quarantined => Paint::Bad,
    };
    Cell::new(state.name(), paint)
}

fn count_cell(count: u64, paint: Paint) -> Cell {
    if count == 0 {
        Cell::default()
    } else {
        Cell::new(thousands(count), paint)
    }
}

fn offset_cell(offset: Option<i64>) -> Cell {
    match offset {
        Some(offset) => Cell::from(offset.to_string()),
        None => Cell::new("-", Paint::Dim),
    }
}

fn reason_cell(reason: &Option<String>) -> Cell {
    Cell::from(reason.as_deref().unwrap_or_default())
}

fn text_column(header: &'static str, shrinks_to: usize, goes: u8) -> Column {
    Column {
        header,
        align: Align::Left,
        shrinks_to,
        goes,
    }
}

fn number_column(header: &'static str, goes: u8) -> Column {
    Column {
        header,
        align: Align::Right,
        shrinks_to: 0,
        goes,
    }
}

fn headline(status: &Status, layout: Layout) -> String {
    let name = clean(&status.name);
    let source = match (status.source, status.started_at_ms) {
        (StatusSource::Daemon, Some(start)) => {
            let up = duration(seconds_since(start, status.at_ms).floor());
            format!("heliostat {}, running for {up}", clean(&status.version))
        }
        (StatusSource::Daemon, None) => format!("heliostat {}, starting", clean(&status.version)),
        // Whether a daemon was asked before them is not known here; a note says so where one was.
        (StatusSource::Clusters, _) => "the clusters themselves were asked".to_string(),
    };
    let paint = if status.source == StatusSource::Clusters {
        Paint::Warn
    } else {
        Paint::Plain
    };
    let whole = format!("{name}  {source}");
    let shown = fit(&whole, layout.width);
    match shown.strip_prefix(name.as_ref()) {
        Some(rest) => {
            painted(&name, Paint::Bold, layout.color).into_owned() + &painted(rest, paint, layout.color)
        }
        None => painted(&shown, Paint::Bold, layout.color).into_owned(),
    }
}

fn cluster_table<'a>(clusters: impl Iterator<Item = &'a ClusterStatus>, layout: Layout) -> Vec<String> {
    let columns = vec![
        text_column("CLUSTER", 10, 0),
        text_column("KIND", 0, 1),
        text_column("REACHABLE", 0, 0),
        text_column("BOOTSTRAP", 20, 2),
        text_column("REASON", 20, 0),
    ];
    let row = |cluster: &ClusterStatus| {
        let reachable = if cluster.reachable {
            Cell::new("yes", Paint::Good)
        } else {
            Cell::new("no", Paint::Bad)
        };
        vec![
            Cell::from(&cluster.alias),
            Cell::from(if cluster.built_in { "built-in" } else { "existing" }),
            reachable,
            Cell::from(&cluster.bootstrap_servers),
            reason_cell(&cluster.reason),
        ]
    };
    Table {
        columns,
        rows: clusters.map(row).collect(),
        indent: 0,
    }
    .lines(layout.width, layout.color)
}

fn flow_table(status: &Status, rates: &Rates, layout: Layout) -> Vec<String> {
    let columns = vec![
        text_column("FLOW", 20, 0),
        text_column("STATE", 0, 0),
        number_column("FOR", 2),
        number_column("PARTITIONS", 1),
        number_column("LAG RECORDS", 0),
        number_column("LAG TIME", 7),
        number_column("COPIED", 4),
        number_column("RATE", 5),
        number_column("ERRORS", 3),
        text_column("REASON", 40, 9),
    ];
    let row = |flow: &FlowStatus| {
        let lag = lag_records(&flow.lag, flow.was_ever_known(), status.at_ms);
        let rate = rates.records_per_second(&flow.name);
        vec![
            Cell::from(&flow.name),
            state_cell(flow.state),
            since(flow.since_ms, status),
            Cell::from(thousands(flow.partitions.len() as u64)),
            Cell::new(lag, lag_paint(&flow.lag)),
            Cell::new(lag_time(&flow.lag), lag_paint(&flow.lag)),
            // Only a daemon counts what it copies.
            Cell::from(match status.source {
                StatusSource::Daemon => thousands(flow.records_total),
                StatusSource::Clusters => String::new(),
            }),
            Cell::from(
                rate.map(|rate| format!("{}/s", thousands(rate.round() as u64)))
                    .unwrap_or_default(),
            ),
            count_cell(flow.errors_total, Paint::Warn),
            reason_cell(&flow.reason),
        ]
    };
    let rows = status.flows.iter().map(row).collect();
    Table {
        columns,
        rows,
        indent: 0,
    }
    .lines(layout.width, layout.color)
}

fn partition_table(status: &Status, partitions: &[&PartitionStatus], layout: Layout) -> Vec<String> {
    let columns = vec![
        text_column("TOPIC", 12, 0),
        number_column("PARTITION", 9),
        text_column("STATE", 0, 0),
        number_column("FOR", 3),
        number_column("POSITION", 5),
        number_column("SOURCE END", 4),
        number_column("LAG RECORDS", 8),
        number_column("LAG TIME", 7),
        number_column("GAP RECORDS", 6),
        number_column("ERRORS", 2),
        text_column("COPIED BY", 0, 1),
        text_column("REASON", 40, 10),
    ];
    let row = |partition: &&PartitionStatus| {
        let lag = &partition.lag;
        // Of what nobody has copied anything, nobody is said to have it.
        let elsewhere =
            status.source == StatusSource::Daemon && !partition.mine && partition.position.is_some();
        vec![
            Cell::from(&partition.topic),
            Cell::from(partition.partition.to_string()),
            state_cell(partition.state),
            since(partition.since_ms, status),
            offset_cell(partition.position),
            offset_cell(partition.source_end),
            Cell::new(
                lag_records(lag, partition.was_ever_known(), status.at_ms),
                lag_paint(lag),
            ),
            Cell::new(lag_time(lag), lag_paint(lag)),
            count_cell(partition.gap_records_total, Paint::Bad),
            count_cell(partition.errors_total, Paint::Warn),
            Cell::from(if elsewhere { "another" } else { "" }),
            reason_cell(&partition.reason),
        ]
    };
    let rows = partitions.iter().map(row).collect();
    Table {
        columns,
        rows,
        indent: 2,
    }
    .lines(layout.width, layout.color)
}

/// The worst state first, then what is furthest behind, then by name.
fn sort_worst_first(partitions: &mut [&PartitionStatus]) {
    partitions.sort_by(|a, b| {
        let names = || (&a.topic, a.partition).cmp(&(&b.topic, b.partition));
        b.state
            .cmp(&a.state)
            .then_with(|| b.lag.seconds.total_cmp(&a.lag.seconds))
            .then_with(|| b.lag.records.cmp(&a.lag.records))
            .then_with(names)
    });
}

fn flow_title(flow: &FlowStatus, layout: Layout) -> String {
    fitted(&clean(&flow.name), Paint::Bold, layout)
}

/// A line of its own; a cut shows.
fn fitted(text: &str, paint: Paint, layout: Layout) -> String {
    painted(&fit(text, layout.width), paint, layout.color).into_owned()
}

/// A flow's partitions and the topics that it leaves out, under its name; nothing if there are neither.
fn flow_lines(status: &Status, flow: &FlowStatus, layout: Layout) -> Vec<String> {
    let nothing_else = flow.left_out.is_empty() && flow.pauses.is_empty() && flow.deleted.is_empty();
    if flow.partitions.is_empty() && nothing_else {
        return Vec::new();
    }
    let mut partitions: Vec<&PartitionStatus> = flow.partitions.iter().collect();
    sort_worst_first(&mut partitions);
    let shown = partitions.len().min(layout.partitions);
    let mut lines = vec![String::new(), flow_title(flow, layout)];
    lines.extend(partition_table(status, &partitions[..shown], layout));
    if shown < partitions.len() {
        lines.push(more(&partitions[shown..], layout));
    }
    lines.extend(pause_lines(flow, status.at_ms, layout));
    lines.extend(deleted_lines(flow, status.at_ms, layout));
    lines.extend(left_out_lines(flow, layout));
    lines
}

/// What is to be said of partitions that are not shown.
fn more(partitions: &[&PartitionStatus], layout: Layout) -> String {
    let name = |state: State| state.name().replace('-', " ");
    let count = |state| {
        partitions
            .iter()
            .filter(|partition| partition.state == state)
            .count()
    };
    let states: Vec<(State, usize)> = State::ALL
        .into_iter()
        .rev()
        .map(|state| (state, count(state)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let what = match states[..] {
        [(state, _)] => format!(", all {}", name(state)),
        _ => {
            let counts: Vec<String> = states
                .iter()
                .map(|(state, n)| format!("{n} {}", name(*state)))
                .collect();
            format!(": {}", counts.join(", "))
        }
    };
    let text = format!("  … and {} more{what}", thousands(partitions.len() as u64));
    fitted(&text, Paint::Dim, layout)
}

/// The reasons that a table had no room for, in full: they are what a person came for.
fn cut_reasons(status: &Status, lines: &[String], layout: Layout) -> Vec<String> {
    let clusters = status.clusters.iter().map(|cluster| &cluster.reason);
    // A flow's reason is often that of a partition, with its name in front: it is enough to read it once.
    let own = status
        .flows
        .iter()
        .filter(|flow| !says_what_a_partition_says(flow));
    let flows = own.map(|flow| &flow.reason);
    let partitions = status
        .flows
        .iter()
        .flat_map(|flow| flow.partitions.iter().map(|partition| &partition.reason));
    let mut different: Vec<Cow<'_, str>> = Vec::new();
    for reason in clusters.chain(flows).chain(partitions).flatten() {
        let reason = clean(reason);
        if different.len() < REASONS_SHOWN && !different.contains(&reason) {
            different.push(reason);
        }
    }
    let within = |reason: &str, line: &str| line.contains(reason);
    different.retain(|reason| !lines.iter().any(|line| within(reason, line)));
    let is_repeated = |reason: &Cow<'_, str>| {
        let others = different.iter().filter(|other| other.len() > reason.len());
        others.into_iter().any(|other| within(reason, other))
    };
    let mut cut = Vec::new();
    for reason in different.iter().filter(|reason| !is_repeated(reason)) {
        cut.extend(wrap(reason, layout.width, 2));
    }
    if !cut.is_empty() {
        let title = fitted("REASONS IN FULL", Paint::Dim, layout);
        cut.splice(0..0, [String::new(), title]);
    }
    cut
}

/// Whether the reason of a flow is that of one of its partitions.
fn says_what_a_partition_says(flow: &FlowStatus) -> bool {
    let Some(reason) = &flow.reason else { return false };
    let mut partitions = flow.partitions.iter();
    partitions.any(|partition| {
        let name = format!("{}-{}", partition.topic, partition.partition);
        let of_it = partition.reason.as_deref();
        of_it.is_some_and(|of_it| reason.starts_with(&name) && reason.ends_with(&format!(": {of_it}")))
    })
}

/// The topics that were deleted on the source.
fn deleted_lines(flow: &FlowStatus, now_ms: i64, layout: Layout) -> Vec<String> {
    let shown = flow.deleted.iter().rev().take(DELETED_SHOWN);
    let mut lines: Vec<String> = shown
        .map(|deleted| {
            let ago = duration(seconds_since(deleted.at_ms, now_ms).floor());
            let without = match deleted.missing {
                0 => String::new(),
                missing => format!(
                    ", without {} source offsets that were not copied yet",
                    thousands(missing)
                ),
            };
            format!(
                "  deleted on {}: {}, {ago} ago; its mirror {} is kept{without}",
                flow.source, deleted.topic, deleted.target_topic
            )
        })
        .collect();
    if flow.deleted.len() > DELETED_SHOWN {
        let more = flow.deleted.len() - DELETED_SHOWN;
        lines.push(format!("  deleted on {}: … and {more} more topics", flow.source));
    }
    lines
        .iter()
        .map(|line| fitted(&clean(line), Paint::Dim, layout))
        .collect()
}

fn left_out_lines(flow: &FlowStatus, layout: Layout) -> Vec<String> {
    let mut lines: Vec<String> = flow
        .left_out
        .iter()
        .take(LEFT_OUT_SHOWN)
        .map(|topic| format!("  left out: {}: {}", clean(&topic.topic), clean(&topic.reason)))
        .collect();
    if flow.left_out.len() > LEFT_OUT_SHOWN {
        lines.push(format!(
            "  left out: … and {} more topics",
            flow.left_out.len() - LEFT_OUT_SHOWN
        ));
    }
    lines
        .iter()
        .map(|line| fitted(line, Paint::Dim, layout))
        .collect()
}

#[cfg(test)]
mod tests;
