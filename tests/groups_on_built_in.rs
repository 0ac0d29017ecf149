//! Clients of librdkafka on the built-in broker: groups, idempotent producers and the admin client do real work.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::built_in::{BuiltIn, InProcess};
use crate::support::check::judge;
use crate::support::clients::Client;
use crate::support::load::{Load, Shape};
use crate::support::mirrors::write_numbers;
use crate::support::{wait_for, wait_still, wait_until};

const LIMIT: Duration = Duration::from_secs(60);
const TOPIC: &str = "work";
const PARTITIONS: i32 = 6;

/// Counts what a group does to its member.
#[derive(Default)]
struct Counting {
    assigned: AtomicUsize,
    revoked: AtomicUsize,
}

impl ClientContext for Counting {}

impl ConsumerContext for Counting {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => self.assigned.fetch_add(list.count(), Ordering::Relaxed),
            Rebalance::Revoke(list) => self.revoked.fetch_add(list.count(), Ordering::Relaxed),
            Rebalance::Error(_) => 0,
        };
    }
}

/// A member of the group `workers`, and what it has read.
struct Member {
    consumer: BaseConsumer<Counting>,
    read: Vec<(i32, i64)>,
}

impl Member {
    fn join(client: &Client, properties: &[(&str, &str)]) -> Member {
        let mut config = client.with(properties).config();
        config
            .set("group.id", "workers")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "200");
        let consumer: BaseConsumer<Counting> = config
            .create_with_context(Counting::default())
            .expect("create a consumer");
        consumer.subscribe(&[TOPIC]).expect("subscribe");
        Member {
            consumer,
            read: Vec::new(),
        }
    }

    /// Takes what has come, for a moment.
    fn poll(&mut self) {
        let mut wait = Duration::from_millis(5);
        while let Some(message) = self.consumer.poll(wait) {
            let message = message.expect("read a record");
            self.read.push((message.partition(), message.offset()));
            wait = Duration::ZERO;
        }
    }

    fn assigned(&self) -> BTreeSet<i32> {
        let assignment = self.consumer.assignment().expect("the assignment");
        assignment
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect()
    }

    /// Partitions that it was given and that were taken away, since it joined.
    fn counts(&self) -> (usize, usize) {
        let counting = self.consumer.context();
        (
            counting.assigned.load(Ordering::Relaxed),
            counting.revoked.load(Ordering::Relaxed),
        )
    }

    fn commit(&self) {
        self.consumer
            .commit_consumer_state(CommitMode::Sync)
            .expect("commit");
    }
}

/// Polls all members until they have so many partitions, each partition with one of them.
#[track_caller]
fn wait_assigned(members: &mut [&mut Member], counts: &[usize]) {
    wait_for(LIMIT, &format!("the members have {counts:?} partitions"), || {
        members.iter_mut().for_each(|member| member.poll());
        let assigned: Vec<BTreeSet<i32>> = members.iter().map(|member| member.assigned()).collect();
        let now: Vec<usize> = assigned.iter().map(BTreeSet::len).collect();
        let different: BTreeSet<i32> = assigned.into_iter().flatten().collect();
        if now == counts && different.len() == PARTITIONS as usize {
            Ok(())
        } else {
            Err(format!("they have {now:?}"))
        }
    });
}

fn started() -> (InProcess, Client) {
    let cluster = InProcess::start(3, &[("group.initial.rebalance.delay.ms", "0")]);
    let client = Client::new(cluster.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    (cluster, client)
}

/// Two members share a topic while it is written; then one leaves, and a new one takes over.
fn share(strategy: &str) -> [(usize, usize); 2] {
    let (_cluster, client) = started();
    let shape = Shape {
        rate: Some(1_000),
        partitions: PARTITIONS,
        ..Shape::default()
    };
    let load = Load::start(&client, TOPIC, shape);
    let strategy = [("partition.assignment.strategy", strategy)];
    let mut first = Member::join(&client, &strategy);
    wait_assigned(&mut [&mut first], &[6]);
    let mut second = Member::join(&client, &strategy);
    wait_assigned(&mut [&mut first, &mut second], &[3, 3]);
    let shared = [first.counts(), second.counts()];
    // Both commit what they have, one leaves, the other goes on where it was.
    let before = first.read.len();
    wait_until(LIMIT, "both have read what they share", || {
        first.poll();
        second.poll();
        first.read.len() > before + 100 && second.read.len() > 100
    });
    first.commit();
    second.commit();
    let Member { consumer, read } = second;
    consumer.unsubscribe();
    drop(consumer);
    wait_assigned(&mut [&mut first], &[6]);
    let written = load.stop();
    let ends = client.end_offsets(TOPIC);
    wait_until(LIMIT, "the one that is left has read the rest", || {
        first.poll();
        (0..PARTITIONS).all(|partition| first.read.contains(&(partition, ends[partition as usize] - 1)))
    });
    let all: BTreeSet<(i32, i64)> = first.read.iter().chain(&read).copied().collect();
    let written: usize = written.acknowledged.values().map(Vec::len).sum();
    assert_eq!(all.len(), written, "every record was read by one of them");
    shared
}

#[test]
fn an_eager_group_shares_its_topic_and_takes_over_from_a_member_that_leaves() {
    let [(assigned, revoked), second] = share("range");
    // Everything was taken away, and half was given back.
    assert_eq!((assigned, revoked, second), (6 + 3, 6, (3, 0)));
}

#[test]
fn a_cooperative_group_only_takes_away_what_moves() {
    let shared = share("cooperative-sticky");
    assert_eq!(shared, [(6, 3), (3, 0)]);
}

#[test]
fn a_static_member_that_comes_back_disturbs_nobody() {
    let (_cluster, client) = started();
    let as_static = |name| {
        [
            ("group.instance.id", name),
            ("partition.assignment.strategy", "range"),
        ]
    };
    let mut stays = Member::join(&client, &as_static("stays"));
    wait_assigned(&mut [&mut stays], &[6]);
    let mut goes = Member::join(&client, &as_static("goes"));
    wait_assigned(&mut [&mut stays, &mut goes], &[3, 3]);
    let (before, counts) = (goes.assigned(), stays.counts());
    drop(goes);
    let mut back = Member::join(&client, &as_static("goes"));
    wait_assigned(&mut [&mut stays, &mut back], &[3, 3]);
    assert_eq!(back.assigned(), before);
    assert_eq!(
        stays.counts(),
        counts,
        "the other one was not asked to join again"
    );
}

#[test]
fn a_member_that_is_gone_without_a_word_is_replaced_when_its_session_ends() {
    let (_cluster, client) = started();
    let mut stays = Member::join(&client, &[]);
    wait_assigned(&mut [&mut stays], &[6]);
    let mut vanishes = Member::join(&client, &[("group.instance.id", "vanishes")]);
    wait_assigned(&mut [&mut stays, &mut vanishes], &[3, 3]);
    // A static member says nothing when it ends.
    drop(vanishes);
    wait_assigned(&mut [&mut stays], &[6]);
}

#[test]
fn committed_offsets_outlive_a_clean_end_and_kill_minus_9() {
    let mut built_in = BuiltIn::start(1, &["--config", "group.initial.rebalance.delay.ms=0"]);
    let client = Client::new(built_in.bootstrap());
    client.create_topic(TOPIC, PARTITIONS, &[]);
    write_numbers(&client, TOPIC, PARTITIONS, 0..600);
    for (round, kill) in [(1, false), (2, true), (3, false)] {
        let mut offsets = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            offsets
                .add_partition_offset(
                    TOPIC,
                    partition,
                    Offset::Offset(round * 10 + i64::from(partition)),
                )
                .expect("a valid offset");
        }
        let consumer = grouped(&client);
        consumer.commit(&offsets, CommitMode::Sync).expect("commit");
        drop(consumer);
        if kill {
            built_in.process().kill();
        } else {
            assert!(built_in.stop().success());
        }
        built_in.restart();
        let committed = grouped(&client)
            .committed_offsets(topic(), LIMIT)
            .expect("the committed offsets");
        assert_eq!(committed, offsets, "after end {round}");
    }
    // A member goes on from there.
    let mut member = Member::join(&client, &[]);
    wait_until(LIMIT, "the rest is read", || {
        member.poll();
        member.read.len() == 6 * 70 - (1..6).sum::<usize>()
    });
    let firsts: BTreeSet<(i32, i64)> = (0..PARTITIONS)
        .map(|partition| (partition, 30 + i64::from(partition)))
        .collect();
    assert!(
        firsts.iter().all(|first| member.read.contains(first)),
        "{:?}",
        member.read
    );
    wait_still(LIMIT, "nothing else comes", || {
        member.poll();
        member.read.len()
    });
    assert_eq!(member.read.len(), 405);
}

fn topic() -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(TOPIC, 0, PARTITIONS - 1);
    list
}

/// A consumer with the group's name that does not join it.
fn grouped(client: &Client) -> BaseConsumer {
    let mut config = client.config();
    config
        .set("group.id", "workers")
        .set("enable.auto.commit", "false");
    config.create().expect("create a consumer")
}

#[test]
fn an_idempotent_producer_writes_every_record_once_while_the_broker_restarts() {
    let mut built_in = BuiltIn::start(1, &[]);
    let client = Client::new(built_in.bootstrap());
    let shape = Shape {
        rate: Some(2_000),
        partitions: 3,
        ..Shape::default()
    };
    client.create_topic("once", shape.partitions, &[]);
    let load = Load::start(&client, "once", shape);
    for kill in [false, true] {
        let before = load.acknowledged();
        wait_until(LIMIT, "records are acknowledged", || {
            load.acknowledged() > before + 1_000
        });
        if kill {
            built_in.process().kill();
        } else {
            assert!(built_in.stop().success());
        }
        built_in.restart();
    }
    let before = load.acknowledged();
    wait_until(LIMIT, "records are acknowledged again", || {
        load.acknowledged() > before + 1_000
    });
    let written = load.stop();
    assert_eq!(written.failed, 0);
    judge(&written.name, &written.acknowledged, &client.read("once")).expect_exact();
}

mod admin;
mod restart;
