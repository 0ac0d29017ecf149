//! Transactional ids that the target forgets, epochs that run out, and claims that are renewed before.

use std::sync::Arc;

use heliostat_wire::ErrorCode;
use heliostat_wire::builder::{BatchBuilder, NewRecord};
use heliostat_wire::client::{Client as Wire, Config, CoordinatorType, Error, Lane, Manner, Tcp};
use heliostat_wire::message::describe_producers::TopicRequest;
use heliostat_wire::message::produce::{PartitionProduceData, TopicProduceData};
use heliostat_wire::message::{
    DescribeProducersRequest, DescribeTransactionsRequest, InitProducerIdRequest, ProduceRequest,
};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{LIMIT, MIRROR, Rig, SOURCE, TARGET, TOPIC, finish, forget_members, load, sides, topology};
use super::{wait_copied, wait_mirrored, wait_more, write_odd};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::kafka::{Pair, available};
use crate::support::{wait_for, wait_until};

const MAP: &str = "heliostat.source.offset-map.internal";

/// The id of the only partition's owner.
const ID: &str = "heliostat.source.source.orders.0";

/// Records a second.
const RATE: u32 = 2_000;

/// The target forgets ids soon, and looks for them often.
const FORGETFUL: [&str; 2] = [
    "transactional.id.expiration.ms=1200",
    "transaction.remove.expired.transaction.cleanup.interval.ms=200",
];

/// Asks a cluster in its own words.
struct Raw {
    runtime: Runtime,
    client: Wire,
}

impl Raw {
    fn new(bootstrap: &str) -> Raw {
        let (host, port) = bootstrap.rsplit_once(':').expect("a host and a port");
        let config = Config::new("tests", vec![(host.to_owned(), port.parse().expect("a port"))]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Raw {
            runtime: runtime.expect("a runtime"),
            client: Wire::new(config, Arc::new(Tcp)),
        }
    }

    /// Takes the next epoch of the partition's owner.
    fn next_epoch(&self) -> (i64, i16) {
        self.runtime.block_on(async {
            let id = ID.to_owned();
            let node = self.client.coordinator(CoordinatorType::Transaction, ID);
            let request = InitProducerIdRequest {
                transactional_id: Some(id),
                transaction_timeout_ms: 10_000,
                ..Default::default()
            };
            let answer = self
                .client
                .to(node.await.expect("a coordinator"), Lane(1), request);
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.error_code, 0);
            (answer.producer_id, answer.producer_epoch)
        })
    }

    /// Whether the coordinator does not know the id of the partition's owner any more. To ask does not make it young again.
    fn is_forgotten(&self) -> bool {
        self.runtime.block_on(async {
            let node = self.client.coordinator(CoordinatorType::Transaction, ID);
            let request = DescribeTransactionsRequest {
                transactional_ids: vec![ID.to_owned()],
            };
            let answer = self
                .client
                .to(node.await.expect("a coordinator"), Lane(1), request);
            let state = &answer.await.expect("an answer").transaction_states[0];
            ErrorCode::from_code(state.error_code) == ErrorCode::TransactionalIdNotFound
        })
    }

    /// What the mirror's log knows of a producer: epoch and last sequence.
    fn producer(&self, producer_id: i64) -> Option<(i32, i32)> {
        self.runtime.block_on(async {
            let leader = self.client.leader(MIRROR, 0).await.expect("a leader");
            let request = DescribeProducersRequest {
                topics: vec![TopicRequest {
                    name: MIRROR.to_owned(),
                    partition_indexes: vec![0],
                }],
            };
            let answer = self
                .client
                .to(leader.node, Lane(1), request)
                .await
                .expect("an answer");
            let mut producers = answer.topics[0].partitions[0].active_producers.iter();
            let found = producers.find(|producer| producer.producer_id == producer_id)?;
            Some((found.producer_epoch, found.last_sequence))
        })
    }

    /// Writes a record to the mirror as an owner from before would, in the right sequence. Returns the answer.
    fn write_as(&self, (producer_id, epoch): (i64, i16), sequence: i32) -> ErrorCode {
        let mut batch = BatchBuilder::new().producer(producer_id, epoch, sequence);
        batch.push(NewRecord {
            timestamp: 1,
            key: None,
            value: Some(b"of a zombie"),
            headers: &[],
        });
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: MIRROR.to_owned(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: batch.build().expect("a batch").into(),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.runtime.block_on(async {
            let leader = self.client.leader(MIRROR, 0).await.expect("a leader");
            let connection = self
                .client
                .connection(leader.node, Lane(1))
                .await
                .expect("a connection");
            let manner = Manner {
                version_max: Some(9),
                ..Default::default()
            };
            let answer: Result<_, Error> = connection.start_as(request, manner).await.expect("sent").await;
            ErrorCode::from_code(answer.expect("an answer").responses[0].partition_responses[0].error_code)
        })
    }
}

/// Who wrote to the map, in order, each once.
fn owners(target: &Client) -> Vec<(i64, i64)> {
    let mut owners = Vec::new();
    for record in target.read(MAP) {
        let value = record.value.as_deref().unwrap_or_default();
        let Ok(value) = serde_json::from_slice::<Value>(value) else {
            continue;
        };
        if let (Some(id), Some(epoch)) = (value["producer_id"].as_i64(), value["producer_epoch"].as_i64())
            && owners.last() != Some(&(id, epoch))
        {
            owners.push((id, epoch));
        }
    }
    owners
}

/// A daemon is killed, its id is forgotten, and a second one gets another: what the first may have had on its way is refused.
fn an_id_that_is_forgotten(source: &Client, target: &Client, file: &str, bootstrap: &str) {
    let mut daemon = Daemon::start(file);
    let load = load(source, 1, RATE);
    wait_mirrored(target, 500);
    daemon.process().kill();
    let raw = Raw::new(bootstrap);
    let first = *owners(target).last().expect("the first owner is on record");
    wait_until(LIMIT, "the id is forgotten", || raw.is_forgotten());
    forget_members(bootstrap);
    daemon.restart();
    wait_more(&load, 500);
    load.stop();
    let sides = sides(source.clone(), target.clone());
    wait_copied(&sides, &daemon);
    wait_another(target, first.0);
    expect_refused(&raw, first.0);
    finish(&sides, vec![daemon]).expect_equal().expect_whole_map();
}

/// Waits until somebody with another id is on record.
#[track_caller]
fn wait_another(target: &Client, producer_id: i64) {
    wait_for(LIMIT, "an owner with another id is on record", || {
        let owners = owners(target);
        match owners.iter().any(|owner| owner.0 != producer_id) {
            true => Ok(()),
            false => Err(format!("{owners:?}")),
        }
    });
}

#[track_caller]
fn expect_refused(raw: &Raw, producer_id: i64) {
    let known = raw.producer(producer_id);
    // The newest that it ever had, as far as the log knows.
    let epoch = known.map_or(0, |(epoch, _)| epoch.min(i32::from(i16::MAX) - 1)) as i16;
    for sequence in [0, known.map_or(0, |(_, last)| last + 1), 7] {
        assert_eq!(
            raw.write_as((producer_id, epoch), sequence),
            ErrorCode::InvalidProducerEpoch,
            "the owner before may not write any more: {known:?}"
        );
    }
}

fn forgetful() -> BuiltIn {
    let forgetful = FORGETFUL.map(|config| ["--config", config]).concat();
    BuiltIn::start(1, &[TARGET, &forgetful].concat())
}

#[test]
fn an_owner_whose_id_was_forgotten_is_kept_out() {
    let rig = Rig::of(BuiltIn::start(1, SOURCE), forgetful(), 1);
    an_id_that_is_forgotten(
        &rig.source(),
        &rig.target(),
        &rig.topology(),
        &rig.target.bootstrap(),
    );
}

#[test]
fn an_owner_whose_id_was_forgotten_is_kept_out_on_apache_kafka() {
    if !available("ids that are forgotten") {
        return;
    }
    let properties = [
        "group.min.session.timeout.ms=1000",
        "group.initial.rebalance.delay.ms=0",
        FORGETFUL[0],
        FORGETFUL[1],
    ];
    let pair = Pair::start("forgotten", &properties);
    let (source, target) = (Client::new(pair.a.bootstrap()), Client::new(pair.b.bootstrap()));
    source.create_topic(TOPIC, 1, &[]);
    write_odd(&source, 1);
    let file = topology(&pair.a.bootstrap(), &pair.b.bootstrap(), "");
    an_id_that_is_forgotten(&source, &target, &file, &pair.b.bootstrap());
}

#[test]
fn an_owner_whose_epochs_are_used_up_is_kept_out() {
    let rig = Rig::start(1);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 500);
    daemon.process().kill();
    let raw = Raw::new(&rig.target.bootstrap());
    let first = raw.next_epoch();
    // Nobody has written with these: the log still takes what its first owner sends.
    let last = std::iter::repeat_with(|| raw.next_epoch()).find(|(_, epoch)| *epoch >= i16::MAX - 2);
    assert_eq!(last.map(|last| last.0), Some(first.0));
    for _ in 0..3 {
        forget_members(&rig.target.bootstrap());
        daemon.restart();
        wait_more(&load, 300);
        let mirrored = rig.target().end_offsets(MIRROR)[0];
        wait_mirrored(&rig.target(), mirrored + 100);
        daemon.process().kill();
    }
    forget_members(&rig.target.bootstrap());
    daemon.restart();
    wait_another(&rig.target(), first.0);
    expect_refused(&raw, first.0);
    rig.finish(load, vec![daemon]).expect_equal().expect_whole_map();
}

#[test]
fn claims_are_renewed_before_they_are_forgotten_and_nobody_notices() {
    let rig = Rig::of(BuiltIn::start(1, SOURCE), forgetful(), 1);
    let daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_for(LIMIT, "the partition was claimed some times", || {
        let owners = match rig.target().partitions(MAP) {
            Some(_) => owners(&rig.target()),
            None => Vec::new(),
        };
        if owners.len() > 8 {
            Ok(())
        } else {
            Err(format!("{owners:?}"))
        }
    });
    let owners = owners(&rig.target());
    assert!(
        owners.iter().all(|owner| owner.0 == owners[0].0),
        "one id: {owners:?}"
    );
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}
