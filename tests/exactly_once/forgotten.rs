//! Transactional ids that the target forgets, epochs that run out, and claims that are renewed before.

use heliostat_wire::ErrorCode;
use serde_json::Value;

use super::raw::Raw;
use super::{LIMIT, MAP, MIRROR, Rig, SOURCE, TARGET, TOPIC, finish, forget_members, load, sides, topology};
use super::{wait_copied, wait_mirrored, wait_more, write_odd};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::kafka::{Pair, available};
use crate::support::{wait_for, wait_until};

/// Records a second.
const RATE: u32 = 2_000;

/// The target forgets ids soon, and looks for them often.
const FORGETFUL: [&str; 2] = [
    "transactional.id.expiration.ms=1200",
    "transaction.remove.expired.transaction.cleanup.interval.ms=200",
];

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
    // Renewed after a quarter of it, and of no use after half: a machine that does much else must not take that long.
    let soon = [
        "--config",
        "transactional.id.expiration.ms=4000",
        "--config",
        FORGETFUL[1],
    ];
    let target = BuiltIn::start(1, &[TARGET, &soon].concat());
    let rig = Rig::of(BuiltIn::start(1, SOURCE), target, 1);
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
