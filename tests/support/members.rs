//! Members of a group, of librdkafka: what they are assigned, and what they have read together.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::message::Message as _;

use super::clients::Client;
use super::wait_for;

/// The group that they are in.
pub const GROUP: &str = "workers";

/// Members notice changes sooner, and are given up sooner, than by default.
pub const QUICK: [&str; 4] = [
    "--config",
    "group.consumer.heartbeat.interval.ms=200",
    "--config",
    "group.consumer.session.timeout.ms=6000",
];

/// How long a group may take to settle.
const LIMIT: Duration = Duration::from_secs(60);

/// Counts what a group does to its member.
#[derive(Default)]
pub struct Counting {
    rebalances: AtomicUsize,
}

impl ClientContext for Counting {}

impl ConsumerContext for Counting {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, _: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::Relaxed);
    }
}

/// A member of [`GROUP`], and what it has read.
pub struct Member {
    /// The consumer itself.
    pub consumer: BaseConsumer<Counting>,
    /// Partitions and offsets.
    pub read: BTreeSet<(i32, i64)>,
}

impl Member {
    /// Joins with these properties besides those that all have.
    pub fn join(client: &Client, subscription: &str, properties: &[(&str, &str)]) -> Member {
        let mut config = client.with(properties).config();
        config
            .set("group.id", GROUP)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false");
        let consumer: BaseConsumer<Counting> = config
            .create_with_context(Counting::default())
            .expect("create a consumer");
        consumer.subscribe(&[subscription]).expect("subscribe");
        Member {
            consumer,
            read: BTreeSet::new(),
        }
    }

    /// Takes what has come, for a moment. While a broker is away librdkafka says so in place of records.
    pub fn poll(&mut self) {
        let mut wait = Duration::from_millis(5);
        while let Some(message) = self.consumer.poll(wait) {
            if let Ok(message) = message {
                self.read.insert((message.partition(), message.offset()));
            }
            wait = Duration::ZERO;
        }
    }

    /// What it has.
    pub fn assigned(&self) -> BTreeSet<(String, i32)> {
        let assignment = self.consumer.assignment().expect("the assignment");
        let elements = assignment.elements();
        elements
            .iter()
            .map(|element| (element.topic().to_owned(), element.partition()))
            .collect()
    }

    /// How often something was given to it or taken from it.
    pub fn rebalances(&self) -> usize {
        self.consumer.context().rebalances.load(Ordering::Relaxed)
    }

    /// Commits what it has read.
    #[track_caller]
    pub fn commit(&self) {
        self.consumer
            .commit_consumer_state(CommitMode::Sync)
            .expect("commit");
    }
}

/// Polls all members until they have so many partitions, each partition with one of them.
#[track_caller]
pub fn wait_assigned(members: &mut [&mut Member], counts: &[usize]) {
    wait_for(LIMIT, &format!("the members have {counts:?} partitions"), || {
        members.iter_mut().for_each(|member| member.poll());
        let assigned: Vec<_> = members.iter().map(|member| member.assigned()).collect();
        let mut now: Vec<usize> = assigned.iter().map(BTreeSet::len).collect();
        now.sort_unstable();
        let different: BTreeSet<_> = assigned.into_iter().flatten().collect();
        if now == counts && different.len() == counts.iter().sum::<usize>() {
            Ok(())
        } else {
            Err(format!("they have {now:?}"))
        }
    });
}

/// Polls all members until together they have read what was written.
#[track_caller]
pub fn wait_read(members: &mut [&mut Member], records: usize) {
    wait_for(LIMIT, &format!("{records} records are read"), || {
        members.iter_mut().for_each(|member| member.poll());
        let read: BTreeSet<_> = members.iter().flat_map(|member| &member.read).collect();
        if read.len() == records {
            Ok(())
        } else {
            Err(format!("{} are", read.len()))
        }
    });
}
