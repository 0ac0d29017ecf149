//! Logs that lose their end in an unclean election of their leader, and grow again past where it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use heliostat::observe::status::State;
use heliostat_wire::ErrorCode;
use heliostat_wire::client::{Client as Wire, Config, CoordinatorType, Lane, Manner, Tcp};
use heliostat_wire::message::add_partitions_to_txn::AddPartitionsToTxnTopic;
use heliostat_wire::message::{AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest};
use serde_json::json;

use super::pair::{QUICK_GROUPS, wait_hit};
use super::raw::Raw;
use super::{
    END, FLOW, LIMIT, MIRROR, Rig, SOURCE, TARGET, TOPIC, forget_members, let_pass, random, topology,
    wait_copied,
};
use crate::support::built_in::{BuiltIn, InProcess};
use crate::support::clients::{Client, Producing};
use crate::support::cut_back::cut_back;
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, Sides, same};
use crate::support::kafka::{Kafka, Pair, available};
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_until};

use rand::RngExt as _;

/// How many records are written before.
pub(super) const BEFORE: i64 = 60;

/// How many go together: a log is cut between batches.
pub(super) const BATCH: usize = 8;

/// How many the log loses, at least.
pub(super) const LOST: i64 = 25;

/// Records that are unlike all others.
pub(super) fn write(client: &Client, name: &str, count: i64) {
    let records: Vec<Rec> = (0..count)
        .map(|number| Rec::new(0, Some(b"key"), Some(format!("{name} {number}").as_bytes())))
        .collect();
    client.produce_in_batches(TOPIC, &records, BATCH, Producing::default());
}

/// Two clusters whose logs can be cut.
trait Cuttable {
    fn sides(&self) -> Sides;
    fn file(&self) -> String;
    fn target(&self) -> String;
    /// Stops the source, cuts its log, and starts it again. Returns where the log ended then.
    fn cut(&mut self, offset: i64) -> i64;
    /// The same with the target and the log of the mirror.
    fn cut_mirror(&mut self, offset: i64) -> i64;
}

impl Cuttable for Rig {
    fn sides(&self) -> Sides {
        Rig::sides(self)
    }

    fn file(&self) -> String {
        topology(&self.source.bootstrap(), &self.target.bootstrap(), "")
    }

    fn target(&self) -> String {
        self.target.bootstrap()
    }

    fn cut(&mut self, offset: i64) -> i64 {
        cut_built_in(&mut self.source, TOPIC, offset)
    }

    fn cut_mirror(&mut self, offset: i64) -> i64 {
        cut_built_in(&mut self.target, MIRROR, offset)
    }
}

pub(super) fn cut_built_in(cluster: &mut BuiltIn, topic: &str, offset: i64) -> i64 {
    cluster.stop();
    let end = cut_back(&cluster.data(), topic, 0, offset);
    cluster.restart();
    end
}

impl Cuttable for Pair {
    fn sides(&self) -> Sides {
        super::sides(Client::new(self.a.bootstrap()), Client::new(self.b.bootstrap()))
    }

    fn file(&self) -> String {
        topology(&self.a.bootstrap(), &self.b.bootstrap(), "")
    }

    fn target(&self) -> String {
        self.b.bootstrap()
    }

    fn cut(&mut self, offset: i64) -> i64 {
        cut_kafka(&mut self.a, TOPIC, offset)
    }

    fn cut_mirror(&mut self, offset: i64) -> i64 {
        cut_kafka(&mut self.b, MIRROR, offset)
    }
}

fn cut_kafka(cluster: &mut Kafka, topic: &str, offset: i64) -> i64 {
    cluster.stop();
    let end = cut_back(&cluster.data(), topic, 0, offset);
    cluster.restart();
    end
}

/// When a log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemons {
    /// After the daemon was stopped as planned.
    Stopped,
    /// After it was killed.
    Killed,
    /// While it sleeps, and does not see a log that is too short.
    Asleep,
    /// While it copies.
    Awake,
}

impl Daemons {
    /// Before the log is cut.
    #[track_caller]
    pub(super) fn interrupt(self, daemon: &mut Daemon) {
        match self {
            Daemons::Stopped => {
                let status = daemon.stop(END);
                assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
            }
            Daemons::Killed => daemon.process().kill(),
            Daemons::Asleep => daemon.process().pause(),
            Daemons::Awake => {}
        }
    }

    /// When it was cut.
    #[track_caller]
    pub(super) fn go_on(self, daemon: &mut Daemon, target: &str) {
        match self {
            Daemons::Stopped => daemon.restart(),
            Daemons::Killed => {
                forget_members(target);
                daemon.restart();
            }
            Daemons::Asleep => daemon.process().resume(),
            Daemons::Awake => {}
        }
    }
}

/// All that was copied, and behind it all that the source has from where its log was cut; killed on the way as often.
fn a_source_that_was_cut_back(rig: &mut dyn Cuttable, daemons: Daemons, kills: usize) {
    let mut random = random("cut back");
    let sides = rig.sides();
    write(&sides.source, "before", BEFORE);
    let mut daemon = Daemon::start(&rig.file());
    wait_copied(&sides, &daemon);
    wait_until(LIMIT, "what was copied is on record", || {
        Some(Exact::read(&sides).positions[&0].0) == sides.source.end_offsets(TOPIC).first().copied()
    });
    let before = Exact::read(&sides);
    daemons.interrupt(&mut daemon);
    let end = sides.source.end_offsets(TOPIC)[0];
    let cut = rig.cut(end - LOST);
    assert!(cut <= end - LOST && cut > 0, "cut from {end} to {cut}");
    write(&sides.source, "after", LOST + 40);
    daemons.go_on(&mut daemon, &rig.target());
    wait_copied(&sides, &daemon);
    let log = daemon.log();
    let said = format!("{cut}");
    assert!(
        log.lines()
            .any(|line| line.contains("cut back") && line.contains(&said)),
        "the log names the offsets that were replaced:\n{log}"
    );
    wait_for(LIMIT, "the status names the offsets that were replaced", || {
        let found = daemon.flow(FLOW).partitions.swap_remove(0);
        let reason = found.reason.as_deref().unwrap_or_default();
        match found.state {
            State::CaughtUp if reason.contains(&format!("offsets {cut} to {}", end - 1)) => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    });
    for _ in 0..kills {
        write(&sides.source, "more", random.random_range(1..20));
        daemon.process().kill();
        forget_members(&rig.target());
        daemon.restart();
    }
    wait_copied(&sides, &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let exact = Exact::read(&sides);
    expect_both(&before, &exact, cut);
}

/// The mirror has all of before, and then all that the source has from an offset on; and the newest word of the map on each source
/// offset is true.
pub(super) fn expect_both(before: &Exact, exact: &Exact, cut: i64) {
    let replacing = exact.source.iter().filter(|record| record.offset >= cut);
    let wanted: Vec<&Rec> = before.mirror.iter().chain(replacing).collect();
    let values = |records: &[&Rec]| -> Vec<String> {
        let value =
            |record: &&Rec| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        records.iter().map(value).collect()
    };
    let found: Vec<&Rec> = exact.mirror.iter().collect();
    assert!(
        wanted.len() == found.len()
            && wanted
                .iter()
                .zip(&found)
                .all(|(wanted, found)| same(wanted, found)),
        "wanted {:?}\nfound {:?}",
        values(&wanted),
        values(&found)
    );
    let mut newest: HashMap<i64, i64> = HashMap::new();
    for &(source, target, length) in &exact.runs[&0] {
        newest.extend((0..length).map(|step| (source + step, target + step)));
    }
    for record in &exact.source {
        let target = newest.get(&record.offset).expect("the map knows each record");
        let mirrored = exact.mirror.iter().find(|mirrored| mirrored.offset == *target);
        assert!(
            mirrored.is_some_and(|mirrored| same(record, mirrored)),
            "source offset {} is not at {target}: {:?}",
            record.offset,
            exact.runs
        );
    }
}

#[test]
fn what_a_source_has_where_its_log_was_cut_back_is_copied_behind_what_it_had() {
    for daemons in [Daemons::Stopped, Daemons::Killed, Daemons::Asleep, Daemons::Awake] {
        eprintln!("{daemons:?}");
        let mut rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
        a_source_that_was_cut_back(&mut rig, daemons, 2);
    }
}

/// Who has seen the cut, and takes its time to claim, finds what its successor has copied behind it; by books of its own or by the map.
#[test]
fn what_a_source_has_where_its_log_was_cut_back_is_copied_once_by_two_owners() {
    for has_books in [false, true] {
        eprintln!("with books of its own: {has_books}");
        let mut source = BuiltIn::start(1, SOURCE);
        let target = InProcess::start(1, QUICK_GROUPS);
        let sides = super::sides(Client::new(source.bootstrap()), Client::new(target.bootstrap()));
        sides.source.create_topic(TOPIC, 1, &[]);
        write(&sides.source, "before", BEFORE);
        let file = topology(&source.bootstrap(), &target.bootstrap(), "");
        let mut slow = Daemon::spawn(&file, &super::log());
        slow.wait_ready();
        wait_copied(&sides, &slow);
        wait_until(LIMIT, "what was copied is on record", || {
            Some(Exact::read(&sides).positions[&0].0) == sides.source.end_offsets(TOPIC).first().copied()
        });
        let before = Exact::read(&sides);
        if !has_books {
            slow.stop(END);
        }
        let delay = target.add_fault(
            json!({ "kind": "delay", "api": "InitProducerId", "client_id": "heliostat/source->target/writer",
                    "delay_ms": 6000, "count": 1 }),
        );
        let end = sides.source.end_offsets(TOPIC)[0];
        let cut = cut_built_in(&mut source, TOPIC, end - LOST);
        write(&sides.source, "after", LOST + 40);
        if !has_books {
            slow.respawn();
        }
        wait_hit(&target, delay);
        forget_members(&target.bootstrap());
        let mut quick = Daemon::start(&file);
        wait_copied(&sides, &quick);
        slow.wait_ready();
        write(&sides.source, "more", 8);
        // Until the claim is answered, and what comes of it is on record.
        let_pass(Duration::from_secs(8));
        quick.process().kill();
        forget_members(&target.bootstrap());
        let exact = super::finish(&sides, vec![slow]);
        expect_both(&before, &exact, cut);
    }
}

#[test]
fn the_same_on_apache_kafka() {
    for daemons in [Daemons::Killed, Daemons::Asleep] {
        if let Some(mut pair) = kafkas("sources that were cut back") {
            a_source_that_was_cut_back(&mut pair, daemons, 1);
        }
    }
}

/// Two Apache Kafkas, the source with an empty topic.
fn kafkas(test: &str) -> Option<Pair> {
    let properties = [
        "group.min.session.timeout.ms=1000",
        "group.initial.rebalance.delay.ms=0",
    ];
    let pair = available(test).then(|| Pair::start("cut-back", &properties))?;
    Client::new(pair.a.bootstrap()).create_topic(TOPIC, 1, &[]);
    Some(pair)
}

/// Records of somebody else, more than the log has lost.
fn write_foreign(target: &Client) {
    let foreign: Vec<Rec> = (0..3 * LOST)
        .map(|number| Rec::new(0, Some(b"foreign"), Some(&number.to_be_bytes())))
        .collect();
    target.produce(MIRROR, &foreign, Producing::default());
}

/// What a mirror has lost is copied again, also where its log has grown since: by markers of those who have only claimed it, or by others.
fn a_mirror_that_lost_its_end(rig: &mut dyn Cuttable, foreign: bool) {
    let sides = rig.sides();
    let mut daemon = Daemon::start(&rig.file());
    for turn in 0..8 {
        write(&sides.source, &format!("before {turn}"), 8);
        // Each in a batch of its own, so that there is something between them to cut.
        wait_copied(&sides, &daemon);
    }
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let end = sides.target.end_offsets(MIRROR)[0];
    let cut = rig.cut_mirror(end - LOST);
    assert!(cut <= end - LOST && cut > 0, "cut from {end} to {cut}");
    if foreign {
        write_foreign(&sides.target);
    } else {
        write_markers(&rig.target(), end);
    }
    for _ in 0..3 {
        daemon.restart();
        wait_copied(&sides, &daemon);
        daemon.process().kill();
        forget_members(&rig.target());
        write(&sides.source, "more", 5);
    }
    daemon.restart();
    wait_copied(&sides, &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let mut exact = Exact::read(&sides);
    exact
        .mirror
        .retain(|record| record.key.as_deref() != Some(b"foreign"));
    exact.expect_equal();
}

#[test]
fn what_a_mirror_has_lost_is_copied_again_whatever_lies_there_now() {
    for foreign in [true, false] {
        let mut rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
        a_mirror_that_lost_its_end(&mut rig, foreign);
    }
}

#[test]
fn what_a_mirror_on_apache_kafka_has_lost_is_copied_again() {
    if let Some(mut pair) = kafkas("mirrors that lost their ends") {
        a_mirror_that_lost_its_end(&mut pair, false);
    }
}

/// A log that has lost everything knows no producer, and takes what comes next in its turn as if it were the first: the daemon that copies has
/// to see that it lies where it cannot be.
#[test]
fn what_a_mirror_has_lost_while_nothing_was_copied_is_copied_again() {
    let mut rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let mut daemon = Daemon::start(&rig.topology());
    write(&rig.source(), "before", BEFORE);
    wait_copied(&rig.sides(), &daemon);
    assert_eq!(cut_built_in(&mut rig.target, MIRROR, 0), 0);
    write(&rig.source(), "after", 5);
    wait_copied(&rig.sides(), &daemon);
    let source = rig.source().read(TOPIC);
    wait_for(LIMIT, "all is on the mirror again", || {
        match rig.target().read(MIRROR).len() {
            count if count >= source.len() => Ok(()),
            count => Err(format!("{count} of {} records\n{}", source.len(), daemon.log())),
        }
    });
    // What is known to be lost is on record: whoever comes next goes on behind it.
    write(&rig.source(), "more", 5);
    wait_copied(&rig.sides(), &daemon);
    daemon.process().kill();
    forget_members(&rig.target.bootstrap());
    write(&rig.source(), "last", 5);
    daemon.restart();
    wait_copied(&rig.sides(), &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let exact = Exact::read(&rig.sides());
    // What has shown the loss lies before all the others.
    let (shown, mirror) = exact
        .mirror
        .split_at(exact.mirror.len().saturating_sub(exact.source.len()));
    assert!(
        shown.len() <= 5 && mirror.len() == exact.source.len(),
        "{} records before {} of {}",
        shown.len(),
        mirror.len(),
        exact.source.len()
    );
    let values = |records: &[Rec]| -> Vec<String> {
        let value =
            |record: &Rec| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        records.iter().map(value).collect()
    };
    assert!(
        exact
            .source
            .iter()
            .zip(mirror)
            .all(|(wanted, found)| same(wanted, found)),
        "wanted {:?}\nfound {:?}\nbehind {:?}\n{}",
        values(&exact.source),
        values(mirror),
        values(shown),
        daemon.log()
    );
}

/// An owner that is killed after it has written behind such a loss, and before that is on record: what it wrote is not taken for what was there.
#[test]
fn what_a_killed_owner_wrote_behind_a_loss_is_not_what_was_copied_before() {
    let mut rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let mut daemon = Daemon::start(&rig.topology());
    write(&rig.source(), "before", BEFORE);
    wait_copied(&rig.sides(), &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    assert_eq!(cut_built_in(&mut rig.target, MIRROR, 0), 0);
    write(&rig.source(), "after", 5);
    let source = rig.source().read(TOPIC);
    let after = &source[source.len() - 5..];
    let raw = Raw::new(&rig.target.bootstrap());
    assert_eq!(
        raw.write_records_as(raw.next_epoch(), source.len() as i32 - 5, after),
        ErrorCode::None
    );
    daemon.restart();
    wait_copied(&rig.sides(), &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let mirror = rig.target().read(MIRROR);
    assert!(
        mirror.len() == source.len() + 5
            && source
                .iter()
                .zip(&mirror[5..])
                .all(|(wanted, found)| same(wanted, found)),
        "{mirror:?}\n{}",
        daemon.log()
    );
}

/// Claims the mirror's partition and fences it, again and again, until its log is longer than `end`, as owners do that die before they copy.
fn write_markers(bootstrap: &str, end: i64) {
    let target = Client::new(bootstrap);
    let (host, port) = bootstrap.rsplit_once(':').expect("a host and a port");
    let config = Config::new("tests", vec![(host.to_owned(), port.parse().expect("a port"))]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = Wire::new(config, Arc::new(Tcp));
    while target.end_offsets(MIRROR)[0] <= end {
        runtime.block_on(claim_and_fence(&client));
    }
}

async fn claim_and_fence(client: &Wire) {
    let id = "heliostat.source.source.orders.0".to_owned();
    let node = client
        .coordinator(CoordinatorType::Transaction, &id)
        .await
        .expect("a coordinator");
    let connection = client.connection(node, Lane(1)).await.expect("a connection");
    let old = |version| Manner {
        version_max: Some(version),
        ..Default::default()
    };
    let init = InitProducerIdRequest {
        transactional_id: Some(id.clone()),
        transaction_timeout_ms: 10_000,
        ..Default::default()
    };
    let claim = connection.send(init).await.expect("an answer");
    let add = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.clone(),
        v3_and_below_producer_id: claim.producer_id,
        v3_and_below_producer_epoch: claim.producer_epoch,
        v3_and_below_topics: vec![AddPartitionsToTxnTopic {
            name: MIRROR.to_owned(),
            partitions: vec![0],
        }],
        ..Default::default()
    };
    connection
        .start_as(add, old(3))
        .await
        .expect("sent")
        .await
        .expect("an answer");
    let end = EndTxnRequest {
        transactional_id: id,
        producer_id: claim.producer_id,
        producer_epoch: claim.producer_epoch,
        committed: false,
    };
    connection
        .start_as(end, old(4))
        .await
        .expect("sent")
        .await
        .expect("an answer");
}
