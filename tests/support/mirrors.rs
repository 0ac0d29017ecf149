//! Pairs of built-in clusters with a mirror between them, and what a mirror has to show.

use std::time::Duration;

use super::built_in::InProcess;
use super::clients::{Client, Producing};
use super::rec::{self, Rec};
use super::{wait_for, wait_still};

/// How long a mirror may take to catch up, on a machine that compiles beside it.
pub const CATCH_UP: Duration = Duration::from_secs(60);

/// The flow between the two clusters of a [`Pair`].
pub const FLOW: &str = "primary->standby";

/// A setting for `defaults`, where a test waits for topics to be found.
pub const LOOK_OFTEN: &str = "discovery_interval: 500ms";

/// Two built-in clusters within the test.
pub struct Pair {
    /// What is mirrored.
    pub primary: Client,
    /// Where it goes.
    pub standby: Client,
    _clusters: [InProcess; 2],
}

impl Pair {
    /// Starts both.
    #[track_caller]
    pub fn start() -> Pair {
        let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
        let [primary, standby] = clusters
            .each_ref()
            .map(|cluster| Client::new(cluster.bootstrap()));
        Pair {
            primary,
            standby,
            _clusters: clusters,
        }
    }

    /// A topology with the flow `primary->standby` and these `defaults`, such as `on_gap: halt`. It looks for topics more
    /// often than by default, so that tests end sooner.
    pub fn topology(&self, defaults: &str) -> String {
        let [primary, standby] = [&self.primary, &self.standby].map(bootstrap);
        format!(
            "name: pair\nlayout: active-standby\nprimary: primary\nstandby: standby\nclusters:\n  \
             primary: {{ bootstrap_servers: \"{primary}\" }}\n  standby: {{ bootstrap_servers: \"{standby}\" }}\n\
             defaults: {{ {LOOK_OFTEN}, {defaults} }}\n"
        )
    }

    /// Waits until the mirror of `topic`, under its default name, holds the same records.
    #[track_caller]
    pub fn wait_mirrored(&self, topic: &str) -> Vec<Rec> {
        wait_mirrored(&self.primary, topic, &self.standby, &format!("primary.{topic}"))
    }
}

/// Where a client connects.
pub fn bootstrap(client: &Client) -> String {
    let config = client.config();
    config
        .get("bootstrap.servers")
        .expect("every client has it")
        .to_owned()
}

/// Waits until `mirror` has as many records as `topic`, panics unless they are the same records, and returns them.
/// Neither topic may have lost records.
#[track_caller]
pub fn wait_mirrored(from: &Client, topic: &str, to: &Client, mirror: &str) -> Vec<Rec> {
    let source = from.end_offsets(topic);
    wait_ends(to, mirror, &source);
    let mirrored = to.read(mirror);
    rec::assert_mirrored(&from.read(topic), &mirrored);
    mirrored
}

/// Waits until each partition of a topic ends where it should, or beyond.
#[track_caller]
pub fn wait_ends(client: &Client, topic: &str, ends: &[i64]) {
    wait_for(CATCH_UP, &format!("{topic} ends at {ends:?}"), || {
        if client.partitions(topic) != i32::try_from(ends.len()).ok() {
            return Err(format!("it has {:?} partitions", client.partitions(topic)));
        }
        let now = client.end_offsets(topic);
        if now.iter().zip(ends).all(|(now, end)| now >= end) {
            Ok(())
        } else {
            Err(format!("it ends at {now:?}"))
        }
    });
}

/// The topics of a cluster that hold somebody's records, sorted: neither Kafka's own nor ours.
#[track_caller]
pub fn topics(client: &Client) -> Vec<String> {
    let mut topics = client.topics();
    topics.retain(|topic| !topic.starts_with("__") && !topic.ends_with(".internal"));
    topics.sort();
    topics
}

/// Waits until no topic of these clusters, the internal ones left out, grows or appears any more.
#[track_caller]
pub fn wait_quiet(clusters: &[&Client]) {
    wait_still(CATCH_UP, "all logs stand still", || {
        let ends = |client: &&Client| -> Vec<(String, Vec<i64>)> {
            let ends = |topic: String| {
                let ends = client.end_offsets(&topic);
                (topic, ends)
            };
            topics(client).into_iter().map(ends).collect()
        };
        clusters.iter().map(ends).collect::<Vec<_>>()
    });
}

/// Writes records with the values `range`, in turn to each of `partitions` partitions.
#[track_caller]
pub fn write_numbers(client: &Client, topic: &str, partitions: i32, range: std::ops::Range<i32>) {
    let records: Vec<Rec> = range
        .map(|number| {
            Rec::new(
                number % partitions,
                Some(b"key"),
                Some(number.to_string().as_bytes()),
            )
        })
        .collect();
    client.produce(topic, &records, Producing::default());
}

/// The numbers in one partition of a topic that [`write_numbers`] wrote, in the order in which they lie there.
#[track_caller]
pub fn numbers(client: &Client, topic: &str, partition: i32) -> Vec<i32> {
    let records = client.read(topic);
    let of_it = records.iter().filter(|record| record.partition == partition);
    let number = |record: &Rec| {
        let value = record.value.as_deref().map(String::from_utf8_lossy);
        value
            .and_then(|value| value.parse().ok())
            .expect("a record of write_numbers")
    };
    of_it.map(number).collect()
}
