//! What is paused, and what would clear each state, below the tables.

use super::{Layout, REASONS_SHOWN, fitted, seconds_since};
use crate::cli::table::Paint;
use crate::cli::text::{clean, duration, wrap};
use crate::observe::status::{FlowStatus, State, Status};

/// Pauses shown of each flow.
const PAUSES_SHOWN: usize = 10;

/// What somebody has paused of a flow.
pub(super) fn pause_lines(flow: &FlowStatus, now_ms: i64, layout: Layout) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for pause in flow.pauses.iter().take(PAUSES_SHOWN) {
        let what = match (&pause.topic, pause.partition) {
            (None, _) => "the whole flow".to_owned(),
            (Some(topic), None) => topic.clone(),
            (Some(topic), Some(partition)) => format!("{topic}-{partition}"),
        };
        let for_how_long = duration(seconds_since(pause.since_ms, now_ms).floor());
        let why = pause.reason.as_ref().map(|reason| format!(": {reason}"));
        let line = format!(
            "  paused: {what}, for {for_how_long}, by {}{}",
            pause.by,
            why.unwrap_or_default()
        );
        lines.push(clean(&line).into_owned());
    }
    if flow.pauses.len() > PAUSES_SHOWN {
        lines.push(format!(
            "  paused: … and {} more",
            flow.pauses.len() - PAUSES_SHOWN
        ));
    }
    lines
        .iter()
        .map(|line| fitted(line, Paint::Warn, layout))
        .collect()
}

/// What would clear the states that are shown, each once.
pub(super) fn clears_lines(status: &Status, layout: Layout) -> Vec<String> {
    let mut said: Vec<(State, &str)> = Vec::new();
    for flow in &status.flows {
        let of_flow = std::iter::once((flow.state, &flow.clears));
        let of_partitions = flow
            .partitions
            .iter()
            .map(|partition| (partition.state, &partition.clears));
        for (state, clears) in of_flow.chain(of_partitions) {
            let Some(clears) = clears.as_deref() else { continue };
            if said.len() < REASONS_SHOWN && !said.contains(&(state, clears)) {
                said.push((state, clears));
            }
        }
    }
    if said.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), fitted("CLEARED BY", Paint::Dim, layout)];
    for (state, clears) in said {
        lines.extend(wrap(&clean(&format!("{state}: {clears}")), layout.width, 2));
    }
    lines
}
