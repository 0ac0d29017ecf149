//! Topics that are not what they were: the map deleted, the mirror or the source made again, somebody else's records in
//! the mirror.

use std::time::Duration;

use heliostat::observe::status::State;
use heliostat_wire::ErrorCode;
use rand::RngExt as _;

use super::raw::Raw;
use super::{
    END, FLOW, LIMIT, MAP, MIRROR, Rig, TOPIC, finish, forget_members, let_pass, random, topology,
    wait_mirrored,
};
use crate::support::clients::Producing;
use crate::support::daemon::{Daemon, heliostat};
use crate::support::exact::{Exact, same};
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_until};

/// Records a second, over all partitions.
const RATE: u32 = 4_000;

#[test]
fn a_map_that_is_deleted_is_made_again_from_what_lies_on_both_sides() {
    let mut random = random("map deleted");
    let rig = Rig::start(3);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 1_000);
    let_pass(Duration::from_millis(random.random_range(0..800)));
    daemon.process().kill();
    rig.target().delete_topic(MAP);
    forget_members(&rig.target.bootstrap());
    daemon.restart();
    super::wait_more(&load, 1_000);
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn a_map_that_is_deleted_while_records_are_copied_costs_no_record() {
    let mut random = random("map deleted meanwhile");
    let rig = Rig::start(3);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 1_000);
    let_pass(Duration::from_millis(random.random_range(0..800)));
    // Who writes to a topic that is not there makes the broker create it: nobody may ever see that it was gone.
    rig.target().ask_to_delete(MAP);
    let_pass(Duration::from_millis(random.random_range(1_000..2_000)));
    daemon.process().kill();
    forget_members(&rig.target.bootstrap());
    daemon.restart();
    super::wait_more(&load, 1_000);
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_true_map();
}

/// Also of what nobody writes to any more: whoever comes later knows as much as before.
#[test]
fn a_map_that_is_deleted_is_compacted_and_knows_everything_again_while_the_daemons_go_on() {
    let rig = Rig::start(3);
    let mut daemons = vec![Daemon::start(&rig.topology())];
    super::wait_copied(&rig.sides(), &daemons[0]);
    let stays = match random("map told again").random_range(0..3) {
        0 => true,
        1 => {
            let status = daemons[0].stop(END);
            assert_eq!(status.code(), Some(0), "{}", daemons[0].process().stderr_tail());
            daemons[0].restart();
            false
        }
        _ => {
            daemons.push(Daemon::start(&rig.topology()));
            false
        }
    };
    let file = daemons[0]
        .topology()
        .to_str()
        .expect("a path that is UTF-8")
        .to_owned();
    let paused = heliostat(&["pause", &file, "--topic", TOPIC], None);
    assert_eq!(
        paused.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&paused.stderr)
    );
    wait_until(LIMIT, "it is on record", || {
        rig.target().partitions(MAP).is_some() && Exact::read(&rig.sides()).positions.len() == 3
    });
    let before = Exact::read(&rig.sides());
    rig.target().ask_to_delete(MAP);
    // As a broker makes it that hears its name.
    rig.target().ask_to_create(MAP, 1);
    wait_for(LIMIT, "the map knows what it knew, and is compacted", || {
        if rig.target().partitions(MAP).is_none() {
            return Err("it is not there".to_owned());
        }
        let policy = rig.target().topic_configs(MAP)["cleanup.policy"].clone();
        let now = Exact::read(&rig.sides());
        let keys = rig.target().read(MAP).into_iter().filter_map(|record| record.key);
        let keys: String = keys
            .map(|key| String::from_utf8_lossy(&key).into_owned())
            .collect();
        let is_told = keys.contains("paused") && keys.contains(r#"{"topic":"source.orders"}"#);
        // Where records landed is known to whoever has copied them.
        let knows = now.positions == before.positions && (now.runs == before.runs || !stays);
        if is_told && knows && policy.as_deref() == Some("compact") {
            Ok(())
        } else {
            Err(format!(
                "{policy:?} {keys} {:?}, before {:?}",
                now.runs, before.runs
            ))
        }
    });
    let exact = finish(&rig.sides(), daemons);
    exact.expect_equal().expect_same_offsets().expect_true_map();
}

#[test]
fn a_mirror_that_is_made_again_under_load_gets_all_that_the_source_has() {
    let mut random = random("mirror made again");
    let rig = Rig::start(3);
    let daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    for _ in 0..3 {
        wait_mirrored(&rig.target(), 1_000);
        let_pass(Duration::from_millis(random.random_range(0..400)));
        // The daemon makes it again, and what it has on its way finds a log that is new.
        rig.target().ask_to_delete(MIRROR);
    }
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_true_map();
}

#[test]
fn a_mirror_that_is_made_again_while_no_daemon_runs_gets_all_that_the_source_has() {
    let rig = Rig::start(3);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 1_000);
    daemon.process().kill();
    rig.target().delete_topic(MIRROR);
    rig.target().create_topic(MIRROR, 3, &[]);
    forget_members(&rig.target.bootstrap());
    daemon.restart();
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_true_map();
}

/// Whoever has not noticed yet that the mirror is another one goes on where it was, if it produces by name: what lies at the front of the new one
/// then is from the middle of the source's log.
#[test]
fn what_was_written_to_a_mirror_that_was_made_again_by_an_owner_who_had_not_noticed_does_not_count() {
    for killed in [false, true] {
        let rig = Rig::start(1);
        let mut daemon = Daemon::start(&rig.topology());
        wait_mirrored(&rig.target(), 4);
        let load = rig.load(RATE);
        super::wait_more(&load, 500);
        assert_eq!(load.stop().failed, 0);
        super::wait_copied(&rig.sides(), &daemon);
        if killed {
            daemon.process().kill();
        } else {
            let status = daemon.stop(END);
            assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        }
        let late: Vec<Rec> = (0..5)
            .map(|number: i32| Rec::new(0, Some(b"late"), Some(&number.to_be_bytes())))
            .collect();
        rig.source().produce(TOPIC, &late, Producing::default());
        let source = rig.source().read(TOPIC);
        rig.target().delete_topic(MIRROR);
        rig.target().create_topic(MIRROR, 1, &[]);
        let raw = Raw::new(&rig.target.bootstrap());
        let written = raw.write_records_as(raw.next_epoch(), 700, &source[source.len() - 5..]);
        assert_eq!(written, ErrorCode::None);
        forget_members(&rig.target.bootstrap());
        daemon.restart();
        super::wait_copied(&rig.sides(), &daemon);
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        let mirror = rig.target().read(MIRROR);
        assert!(
            mirror.len() == source.len() + 5
                && source
                    .iter()
                    .zip(&mirror[5..])
                    .all(|(wanted, found)| same(wanted, found)),
            "{} records on the source and {} on the mirror\n{}",
            source.len(),
            mirror.len(),
            daemon.log()
        );
    }
}

#[test]
fn a_mirror_that_was_made_again_is_filled_once_also_if_another_daemon_wakes_up_that_knows_the_old_one() {
    let mut random = random("mirror made again while asleep");
    let rig = Rig::start(2);
    let mut asleep = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 500);
    let mut awake = Daemon::start(&rig.topology());
    for _ in 0..2 {
        wait_mirrored(&rig.target(), 1_000);
        asleep.process().pause();
        rig.target().ask_to_delete(MIRROR);
        super::wait_more(&load, 1_000);
        let_pass(Duration::from_millis(random.random_range(1_000..2_500)));
        if random.random_bool(0.5) {
            awake.process().kill();
            forget_members(&rig.target.bootstrap());
            awake.respawn();
        }
        asleep.process().resume();
        std::mem::swap(&mut asleep, &mut awake);
    }
    awake.wait_ready();
    asleep.wait_ready();
    let exact = rig.finish(load, vec![asleep, awake]);
    exact.expect_equal().expect_true_map();
}

/// What the daemon copied, without what somebody else wrote.
fn without_foreign(mut exact: Exact) -> Exact {
    exact
        .mirror
        .retain(|record| record.key.as_deref() != Some(b"foreign"));
    exact
}

#[test]
fn records_of_somebody_else_in_a_mirror_are_stepped_over() {
    let mut random = random("foreign records");
    let rig = Rig::start(2);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 100);
    for turn in 0..super::kills(6) {
        let foreign: Vec<Rec> = (0..2)
            .map(|partition| Rec::new(partition, Some(b"foreign"), Some(b"of nobody")))
            .collect();
        let how = Producing {
            idempotent: turn % 2 == 0,
            ..Producing::default()
        };
        rig.target().produce(MIRROR, &foreign, how);
        let_pass(Duration::from_millis(random.random_range(0..600)));
        daemon.process().kill();
        rig.target().produce(MIRROR, &foreign, how);
        forget_members(&rig.target.bootstrap());
        daemon.respawn();
    }
    daemon.wait_ready();
    let exact = without_foreign(rig.finish(load, vec![daemon]));
    exact.expect_equal().expect_whole_map();
}

/// Makes the source topic again while a daemon with `settings` runs, or not, and returns the daemon.
fn source_made_again(rig: &Rig, settings: &str, runs: bool) -> (Daemon, Vec<Rec>) {
    let file = topology(&rig.source.bootstrap(), &rig.target.bootstrap(), settings);
    let mut daemon = Daemon::start(&file);
    super::wait_copied(&rig.sides(), &daemon);
    let before = Exact::read(&rig.sides()).mirror;
    if !runs {
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    }
    rig.source().delete_topic(TOPIC);
    rig.source().create_topic(TOPIC, 2, &[]);
    // More than there was before, so that the log's length tells nothing.
    let records: Vec<Rec> = (0..400)
        .map(|number: i32| Rec::new(number % 2, None, Some(&number.to_be_bytes())))
        .collect();
    rig.source().produce(TOPIC, &records, Producing::default());
    if !runs {
        daemon.restart();
    }
    (daemon, before)
}

#[test]
fn a_source_that_is_made_again_halts_its_mirror_unless_it_is_to_be_followed() {
    for runs in [true, false] {
        let rig = Rig::start(2);
        let (daemon, before) = source_made_again(&rig, "", runs);
        wait_for(LIMIT, "both partitions halt", || {
            let flow = daemon.flow(FLOW);
            let halted = |partition: &&heliostat::observe::status::PartitionStatus| {
                partition.state == State::Recreated
            };
            match flow.partitions.iter().filter(halted).count() {
                2 => Ok(()),
                _ => Err(format!("{:?}", flow.partitions)),
            }
        });
        assert_eq!(
            rig.target().read(MIRROR),
            before,
            "nothing was written over the old one"
        );
    }
}

#[test]
fn a_source_that_is_made_again_and_followed_is_copied_once_behind_the_old_one() {
    let mut random = random("followed");
    for runs in [true, false] {
        let rig = Rig::start(2);
        let (mut daemon, before) = source_made_again(&rig, ", on_recreated: follow", runs);
        for _ in 0..3 {
            let_pass(Duration::from_millis(random.random_range(0..600)));
            daemon.process().kill();
            forget_members(&rig.target.bootstrap());
            daemon.respawn();
        }
        daemon.wait_ready();
        let exact = finish(&rig.sides(), vec![daemon]);
        for partition in 0..2 {
            let of = |records: &[Rec]| -> Vec<Rec> {
                records
                    .iter()
                    .filter(|record| record.partition == partition)
                    .cloned()
                    .collect()
            };
            let wanted = [of(&before), of(&exact.source)].concat();
            let mirror = of(&exact.mirror);
            let equal = wanted
                .iter()
                .zip(&mirror)
                .all(|(wanted, found)| same(wanted, found));
            assert!(
                equal && wanted.len() == mirror.len(),
                "partition {partition}: {} of the old log and {} of the new one, and {} in the mirror",
                of(&before).len(),
                of(&exact.source).len(),
                mirror.len()
            );
        }
    }
}
