//! The answers of the clusters, for people.

use std::fmt::Write;

use super::preview::{FlowPreview, MirrorPreview, MirrorState};
use super::{Connection, Reachable, Report};
use crate::cli::text::{clean, columns, thousands};

/// More topics of one flow than this are for a program to read.
const TOPICS_SHOWN: usize = 60;

/// The report as text, each section with an empty line in front.
pub fn describe(report: &Report, file: &str) -> String {
    let mut text = String::from("\nConnections\n");
    let connections: Vec<[String; 2]> = report
        .clusters
        .iter()
        .map(|cluster| [cluster.alias.clone(), describe_connection(cluster, file)])
        .collect();
    columns(&mut text, "  ", &connections);
    for flow in &report.flows {
        describe_flow(&mut text, flow);
    }
    text
}

fn describe_connection(cluster: &Connection, file: &str) -> String {
    let reason = cluster.reason.as_deref().unwrap_or("the reason is not known");
    match cluster.state {
        Reachable::Reachable => {
            let mut text = format!(
                "answers: {}, {}, cluster id {}",
                count(cluster.brokers.unwrap_or(0), "broker"),
                count(cluster.topics.unwrap_or(0), "topic"),
                cluster.cluster_id.as_deref().unwrap_or("unknown")
            );
            if let Some(reason) = &cluster.reason {
                let _ = write!(text, "; {reason}");
            }
            text
        }
        Reachable::Unreachable if cluster.refused => format!("does not let us in: {reason}"),
        Reachable::Unreachable => format!("does not answer: {reason}"),
        Reachable::NotRunning => {
            format!("does not run: {reason}; `heliostat run {file}` starts it")
        }
    }
}

fn describe_flow(text: &mut String, flow: &FlowPreview) {
    let _ = write!(text, "\nFlow {}", flow.name);
    if let Some(reason) = &flow.unknown {
        let _ = writeln!(text, ": {reason}");
        return;
    }
    let _ = writeln!(
        text,
        ", {} to mirror, {} not",
        count(flow.topics.len(), "topic"),
        thousands(flow.left_out.len() as u64)
    );
    let topics = flow.topics.iter().map(|topic| {
        [
            format!(
                "{}, {}",
                clean(&topic.topic),
                count(topic.partitions, "partition")
            ),
            describe_mirror(topic),
        ]
    });
    some(text, "  ", topics);
    if !flow.left_out.is_empty() {
        let _ = writeln!(text, "  Not copied");
        let left_out = flow
            .left_out
            .iter()
            .map(|topic| [clean(&topic.topic).into_owned(), topic.reason.clone()]);
        some(text, "    ", left_out);
    }
}

fn describe_mirror(topic: &MirrorPreview) -> String {
    let state = match topic.state {
        MirrorState::New => ", which will be created",
        MirrorState::Mirror => "",
        MirrorState::Taken => ", which is there and not known as a mirror: the flow would write to it",
        MirrorState::Unknown => ", of which it is not known whether it is there",
    };
    format!("becomes {}{state}", topic.mirror)
}

fn some(text: &mut String, indent: &str, rows: impl ExactSizeIterator<Item = [String; 2]>) {
    let hidden = rows.len().saturating_sub(TOPICS_SHOWN);
    columns(text, indent, &rows.take(TOPICS_SHOWN).collect::<Vec<_>>());
    if hidden > 0 {
        let _ = writeln!(
            text,
            "{indent}and {} more, which -o json shows",
            thousands(hidden as u64)
        );
    }
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number as u64))
}
