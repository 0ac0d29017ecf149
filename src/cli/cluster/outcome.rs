//! What is so after a command has done something to a built-in cluster, in one line.

use std::time::Duration;

use serde_json::Value;

use crate::cli::control::ClusterView;
use crate::topology::units::format_duration;

/// A broker was stopped. `before` and `after` are the cluster around that.
pub(super) fn stopped(id: i32, before: &ClusterView, after: &ClusterView) -> String {
    let led = leads(before, id);
    // Partitions do not come and go in that moment, as a rule: what somebody led and nobody leads now has lost its leader.
    let orphans = all_leads(before).saturating_sub(all_leads(after)).min(led);
    let rest = match (led, orphans) {
        (0, _) => "it led no partition".to_owned(),
        (led, 0) => format!("others lead the {} that it led", partitions(led)),
        (led, orphans) if orphans == led => format!("nobody leads the {} that it led", partitions(led)),
        (led, orphans) => format!(
            "of the {} that it led, others lead {} and nobody leads {orphans}",
            partitions(led),
            led - orphans
        ),
    };
    format!("broker {id} is stopped; {rest}")
}

/// A broker was started, or reconnected.
pub(super) fn started(id: i32, after: &ClusterView) -> String {
    format!("broker {id} is up, and leads {}", partitions(leads(after, id)))
}

/// A broker was isolated.
pub(super) fn isolated(id: i32, refuse: bool, noticed_after: Option<Duration>) -> String {
    let does = match refuse {
        true => "refuses connections",
        false => "answers nothing",
    };
    let noticed = match noticed_after {
        Some(after) => format!("notices in {}", format_duration(after)),
        None => "never notices".to_owned(),
    };
    format!("broker {id} {does} until it is started; the rest of the cluster {noticed}")
}

/// The leader or the replicas of a partition were changed; `answer` says how they are now.
pub(super) fn partition(topic: &str, partition: i32, answer: &Value) -> String {
    let leader = match answer["leader"].as_i64() {
        Some(leader) => format!("broker {leader} leads {topic}-{partition}"),
        None => format!("nobody leads {topic}-{partition}"),
    };
    let in_sync: Vec<String> = answer["in_sync"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    match in_sync.is_empty() {
        true => format!("{leader}; no replica is in sync"),
        false => format!("{leader}; in sync: {}", in_sync.join(", ")),
    }
}

fn leads(cluster: &ClusterView, id: i32) -> usize {
    let broker = cluster.brokers.iter().find(|broker| broker.id == id);
    broker.map_or(0, |broker| broker.leads)
}

fn all_leads(cluster: &ClusterView) -> usize {
    cluster.brokers.iter().map(|broker| broker.leads).sum()
}

fn partitions(count: usize) -> String {
    match count {
        0 => "no partition".to_owned(),
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    }
}
