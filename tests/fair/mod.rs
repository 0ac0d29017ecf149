//! Fair and bounded: what one partition, node or cluster cannot do is no other's trouble, and limits are kept.

mod memory;
mod neighbours;
mod pace;
mod quick;
mod starts;

use std::time::Duration;

use heliostat::observe::status::PartitionStatus;

use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::rec::Rec;
use crate::support::wait_for;

/// How long anything may take that is waited for without being measured, on a machine that does much else at once.
const LIMIT: Duration = Duration::from_secs(60);

const FLOW: &str = "source->target";

const QUICK_GROUPS: &[(&str, &str)] = &[("group.min.session.timeout.ms", "1000")];

/// A topology of one flow between two clusters, with further settings of the flow.
fn topology(source: &str, target: &str, settings: &str) -> String {
    format!(
        "name: fair\nlayout: custom\nclusters:\n  \
           source: {{ bootstrap_servers: \"{source}\" }}\n  \
           target: {{ bootstrap_servers: \"{target}\" }}\n\
         flows: [{{ name: {FLOW}, session_timeout: 1s, discovery_interval: 200ms{settings} }}]\n"
    )
}

/// Writes `bytes` of values to each of these partitions, in batches of some hundred kilobytes.
#[track_caller]
fn fill(client: &Client, topic: &str, partitions: impl IntoIterator<Item = i32>, bytes: usize) {
    const VALUE_BYTES: usize = 10_000;
    let records: Vec<Rec> = partitions
        .into_iter()
        .flat_map(|partition| {
            let value = move |number| format!("{partition} {number} {:.<VALUE_BYTES$}", "");
            (0..bytes.div_ceil(VALUE_BYTES))
                .map(move |number| Rec::new(partition, None, Some(value(number).as_bytes())))
        })
        .collect();
    client.produce(topic, &records, Producing::default());
}

/// What the daemon says of the partitions of a topic.
#[track_caller]
fn partitions(daemon: &Daemon, topic: &str) -> Vec<PartitionStatus> {
    let mut found = daemon.flow(FLOW).partitions;
    found.retain(|partition| partition.topic == topic);
    found
}

/// Waits until what is on the source now has been copied of these partitions, as the daemon says.
#[track_caller]
fn wait_copied(daemon: &Daemon, limit: Duration, topic: &str, ends: &[(i32, i64)]) {
    let what = format!("partitions of {topic} are copied");
    wait_for(limit, &what, || {
        let found = partitions(daemon, topic);
        let is_copied = |&&(partition, end): &&(i32, i64)| {
            let of_it = |found: &&PartitionStatus| found.partition == partition;
            found.iter().find(of_it).and_then(|found| found.position) == Some(end)
        };
        let left: Vec<&(i32, i64)> = ends.iter().filter(|end| !is_copied(end)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let said =
            |found: &PartitionStatus| (found.partition, found.position, found.state, found.reason.clone());
        let said: Vec<_> = found.iter().map(said).collect();
        Err(format!("not {left:?}: {said:?}"))
    });
}

/// The ends of a topic's partitions.
#[track_caller]
fn ends(client: &Client, topic: &str) -> Vec<(i32, i64)> {
    (0..).zip(client.end_offsets(topic)).collect()
}
