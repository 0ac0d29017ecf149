//! Several daemons on one flow: zombies, two at the same moment, handovers as planned.

use std::time::Duration;

use heliostat::offsets::record::Block;
use heliostat_wire::ErrorCode;
use rand::RngExt as _;
use serde_json::json;

use super::pair::Pair;
use super::raw::Raw;
use super::{
    END, FLOW, LIMIT, MAP, MIRROR, Rig, SOURCE, TARGET, TOPIC, let_pass, random, topology, wait_mirrored,
    wait_more,
};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::exact::Exact;
use crate::support::rec::Rec;
use crate::support::wait_for;

/// Records a second, over all partitions.
const RATE: u32 = 8_000;

/// The session time-out of the topology, a second, and what the rest of the group may take to hear of it, join again, and claim, on a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(6);

/// The partitions that a daemon says it copies, without asking one that stands still.
fn owned(daemon: &Daemon) -> usize {
    let flow = daemon.flow(FLOW);
    let copied = flow
        .partitions
        .iter()
        .filter(|partition| partition.mine && partition.state.is_healthy());
    copied.count()
}

/// Waits until a daemon copies everything.
#[track_caller]
fn wait_owns_all(daemon: &Daemon, partitions: i32) {
    wait_owns_all_within(LIMIT, daemon, partitions);
}

#[track_caller]
fn wait_owns_all_within(limit: Duration, daemon: &Daemon, partitions: i32) {
    wait_for(limit, "one daemon copies everything", || match owned(daemon) {
        count if count == partitions as usize => Ok(()),
        count => Err(format!(
            "it copies {count} of {partitions}: {:?}",
            daemon.flow(FLOW)
        )),
    });
}

/// Waits until two daemons have some partitions each.
#[track_caller]
fn wait_shared(daemons: [&Daemon; 2], partitions: i32) {
    wait_for(LIMIT, "two daemons share the work", || {
        let shares = daemons.map(owned);
        if shares.iter().sum::<usize>() == partitions as usize && !shares.contains(&0) {
            Ok(())
        } else {
            Err(format!("they have {shares:?}"))
        }
    });
}

/// Waits until each daemon has some partitions.
#[track_caller]
fn wait_shared_by_all(daemons: &[Daemon], partitions: i32) {
    wait_for(LIMIT, "all daemons share the work", || {
        let shares: Vec<usize> = daemons.iter().map(owned).collect();
        if shares.iter().sum::<usize>() == partitions as usize && !shares.contains(&0) {
            Ok(())
        } else {
            Err(format!("they have {shares:?}"))
        }
    });
}

/// How far the mirror has grown.
fn mirrored(rig: &Rig) -> i64 {
    rig.target().end_offsets(MIRROR).iter().sum()
}

#[test]
fn a_daemon_that_wakes_up_after_it_was_replaced_writes_nothing_more() {
    let mut random = random("zombie");
    let rig = Rig::start(4);
    let mut asleep = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 16);
    let mut awake = Daemon::start(&rig.topology());
    for _ in 0..4 {
        wait_shared([&asleep, &awake], rig.partitions);
        let_pass(Duration::from_millis(random.random_range(0..300)));
        asleep.process().pause();
        wait_owns_all_within(TAKEN_OVER, &awake, rig.partitions);
        wait_mirrored(&rig.target(), mirrored(&rig) + 400);
        asleep.process().resume();
        let_pass(Duration::from_millis(random.random_range(0..300)));
        std::mem::swap(&mut asleep, &mut awake);
    }
    wait_shared([&asleep, &awake], rig.partitions);
    let exact = rig.finish(load, vec![asleep, awake]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn what_was_on_the_line_when_its_owner_was_replaced_is_refused_when_it_arrives() {
    let mut random = random("late requests");
    let (target, line) = BuiltIn::start_behind(TARGET);
    let rig = Rig::of(BuiltIn::start(1, SOURCE), target, 4);
    let far = topology(&rig.source.bootstrap(), &line.address().to_string(), "");
    let behind_line = Daemon::start(&far);
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 16);
    let near = Daemon::start(&rig.topology());
    for _ in 0..3 {
        wait_shared([&behind_line, &near], rig.partitions);
        // Requests are always on the way.
        line.delay(Duration::from_millis(50));
        let_pass(Duration::from_millis(random.random_range(100..300)));
        line.stall(true);
        wait_owns_all_within(TAKEN_OVER, &near, rig.partitions);
        wait_mirrored(&rig.target(), mirrored(&rig) + 400);
        line.delay(Duration::ZERO);
        line.stall(false);
    }
    wait_shared([&behind_line, &near], rig.partitions);
    let exact = rig.finish(load, vec![near, behind_line]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn daemons_that_start_at_the_same_moment_do_not_copy_twice() {
    let mut random = random("at once");
    let rig = Rig::start(4);
    let load = rig.load(RATE);
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::spawn(&rig.topology(), &[])).collect();
    wait_mirrored(&rig.target(), 16);
    for _ in 0..3 {
        let_pass(Duration::from_millis(random.random_range(100..1_500)));
        daemons.iter_mut().for_each(|daemon| daemon.process().kill());
        super::forget_members(&rig.target.bootstrap());
        daemons.iter_mut().for_each(Daemon::respawn);
    }
    daemons.iter_mut().for_each(Daemon::wait_ready);
    let exact = rig.finish(load, daemons);
    exact.expect_equal().expect_whole_map();
}

/// Each finds nobody in the group; one of them begins, and the others take what the group gives them when it has released it. So does one that comes
/// while the first one is about to join the group.
#[test]
fn daemons_that_start_at_the_same_moment_keep_the_offsets_of_the_source() {
    let mut random = random("starts at once");
    let rig = Rig::start(4);
    let load = rig.load(RATE);
    let mut daemons: Vec<Daemon> = (0..3)
        .map(|_| Daemon::spawn(&rig.topology(), &super::log()))
        .collect();
    for turn in 0..4 {
        daemons.iter_mut().for_each(Daemon::wait_ready);
        wait_shared_by_all(&daemons, rig.partitions);
        wait_more(&load, 500);
        for daemon in &mut daemons {
            let status = daemon.stop(END);
            assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        }
        for daemon in &mut daemons {
            daemon.respawn();
            let_pass(Duration::from_millis(random.random_range(0..=200 * turn)));
        }
    }
    daemons.iter_mut().for_each(Daemon::wait_ready);
    let exact = rig.finish(load, daemons);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

/// Of two owners who know of nothing the second finds what the first has copied, and says where it goes on: where those records landed is on
/// record with that, whatever becomes of it then.
#[test]
fn what_an_owner_finds_in_a_mirror_is_on_record_before_it_copies_on() {
    let rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
    let plain: Vec<Rec> = (0..5)
        .map(|number: i32| Rec::new(0, Some(b"key"), Some(&number.to_be_bytes())))
        .collect();
    rig.source().delete_topic(TOPIC);
    rig.source().create_topic(TOPIC, 1, &[]);
    rig.source().produce(TOPIC, &plain, Producing::default());
    rig.target().create_topic(MIRROR, 1, &[]);
    let first = Raw::new(&rig.target.bootstrap());
    let written = first.write_records_as(first.next_epoch(), 0, &rig.source().read(TOPIC));
    assert_eq!(written, ErrorCode::None);
    let second = Daemon::start(&rig.topology());
    let exact = super::finish(&rig.sides(), vec![second]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
    let records = rig.target().read(MAP).into_iter();
    let blocks = records.filter_map(|rec| serde_json::from_slice::<Block>(&rec.value?).ok());
    for block in blocks {
        let landed: i64 = block.segments.iter().map(|segment| segment.length).sum();
        assert_eq!(
            (block.position, landed),
            (5, 5),
            "whoever reads on from here: {block:?}"
        );
    }
}

/// Both find nobody in the group, both claim, and one of them loses each partition: perhaps the one that the group gives it to.
#[test]
fn what_two_daemons_claim_at_the_start_goes_on_as_soon_as_the_group_has_said_whose_it_is() {
    const SESSION: Duration = Duration::from_secs(60);
    let rig = Rig::start(32);
    let load = rig.load(RATE);
    let topology = rig
        .topology()
        .replace("session_timeout: 1s", "session_timeout: 60s");
    let mut daemons = [(); 2].map(|()| Daemon::spawn(&topology, &super::log()));
    daemons.iter_mut().for_each(Daemon::wait_ready);
    wait_for(SESSION / 2, "both daemons copy all that is theirs", || {
        let shares = [owned(&daemons[0]), owned(&daemons[1])];
        let is_all = shares.iter().sum::<usize>() == rig.partitions as usize && !shares.contains(&0);
        is_all
            .then_some(())
            .ok_or_else(|| format!("they copy {shares:?}"))
    });
    let exact = rig.finish(load, daemons.into());
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

#[test]
fn planned_restarts_keep_the_offsets_of_the_source() {
    let mut random = random("planned restarts");
    let rig = Rig::start(4);
    let load = rig.load(RATE);
    let mut daemon = Daemon::start(&rig.topology());
    wait_mirrored(&rig.target(), 16);
    for _ in 0..8 {
        let_pass(Duration::from_millis(random.random_range(0..600)));
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        daemon.restart();
        wait_owns_all(&daemon, rig.partitions);
    }
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
    assert_eq!(
        exact.runs.values().map(Vec::len).sum::<usize>(),
        4,
        "one run each: {:?}",
        exact.runs
    );
}

#[test]
fn work_that_moves_between_daemons_as_planned_keeps_the_offsets_of_the_source() {
    let rig = Rig::start(4);
    let load = rig.load(RATE);
    let mut leaving = Daemon::start(&rig.topology());
    wait_mirrored(&rig.target(), 16);
    let mut staying = Daemon::start(&rig.topology());
    for _ in 0..3 {
        wait_shared([&leaving, &staying], rig.partitions);
        wait_more(&load, 500);
        let status = leaving.stop(END);
        assert_eq!(status.code(), Some(0), "{}", leaving.process().stderr_tail());
        wait_owns_all(&staying, rig.partitions);
        wait_more(&load, 500);
        leaving.restart();
        std::mem::swap(&mut leaving, &mut staying);
    }
    let exact = rig.finish(load, vec![leaving, staying]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

#[test]
fn a_partition_that_is_taken_while_its_owner_still_copies_is_no_log_that_moved_backwards() {
    let (pair, sides) = Pair::with_topic(4);
    let file = pair.topology(", on_recreated: follow");
    let mut daemons = vec![Daemon::start(&file), Daemon::start(&file)];
    let load = super::load(&sides.source, 4, RATE);
    wait_mirrored(&sides.target, 16);
    // From asking for offsets to the claim it takes so long that the owner before copies on beyond them.
    pair.target
        .add_fault(json!({ "kind": "delay", "api": "InitProducerId", "delay_ms": 300 }));
    for turn in 0..4 {
        wait_shared([&daemons[0], &daemons[1]], 4);
        if turn % 2 == 0 {
            // The group takes all from everybody, and nobody has heard of it yet.
            pair.forget_members();
        } else {
            daemons[0].process().pause();
            wait_owns_all(&daemons[1], 4);
            daemons[0].process().resume();
        }
    }
    load.stop();
    daemons.iter_mut().for_each(Daemon::wait_ready);
    let exact = super::finish(&sides, daemons);
    exact.expect_equal().expect_whole_map();
}

/// Whoever ends in the middle of taking a partition says so: it costs the next one no offset.
#[test]
fn a_planned_end_while_partitions_are_prepared_costs_no_offset() {
    let mut random = random("end while preparing");
    let (pair, sides) = Pair::with_topic(4);
    pair.target
        .add_fault(json!({ "kind": "delay", "api": "InitProducerId", "delay_ms": 700 }));
    let file = pair.topology("");
    let load = super::load(&sides.source, 4, RATE);
    let mut daemon = Daemon::start(&file);
    for _ in 0..6 {
        let_pass(Duration::from_millis(random.random_range(0..1_200)));
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
        daemon.restart();
    }
    load.stop();
    let exact = super::finish(&sides, vec![daemon]);
    exact.expect_equal().expect_same_offsets().expect_whole_map();
}

/// Without exactly-once nobody is fenced: who slept while a partition was prepared for it must not set back what is on record of it.
#[test]
fn who_wakes_up_while_it_prepares_sets_nothing_back_without_exactly_once() {
    let (pair, sides) = Pair::with_topic(1);
    let records: Vec<Rec> = (0..300)
        .map(|number: i32| Rec::new(0, None, Some(&number.to_be_bytes())))
        .collect();
    sides.source.produce(TOPIC, &records, Producing::default());
    pair.target
        .add_fault(json!({ "kind": "delay", "api": "InitProducerId", "delay_ms": 2000, "count": 1 }));
    let settings = ", delivery: at-least-once";
    let file = pair.topology(settings);
    let mut asleep = Daemon::start(&file);
    wait_for(LIMIT, "the mirror is there", || {
        sides.target.partitions(MIRROR).map(drop).ok_or("it is not")
    });
    let_pass(Duration::from_millis(500));
    asleep.process().pause();
    pair.forget_members();
    let awake = Daemon::start(&file);
    super::wait_copied(&sides, &awake);
    let copied = || Exact::read(&sides).positions.get(&0).map(|position| position.0);
    wait_for(LIMIT, "it is on record", || match copied() {
        Some(300) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    asleep.process().resume();
    asleep.wait_ready();
    let_pass(Duration::from_millis(3_000));
    assert_eq!(copied(), Some(300), "{}", asleep.log());
    assert_eq!(sides.target.read(MIRROR).len(), 300, "{}", asleep.log());
}
