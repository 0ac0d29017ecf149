//! Kill -9 under load: of the daemon, of one of several daemons, of the source, of the target.

use std::time::Duration;

use rand::RngExt as _;

use super::{LIMIT, Rig, forget_members, kills, let_pass, random, wait_mirrored, wait_more};
use crate::support::daemon::Daemon;
use crate::support::wait_for;

/// Records a second, over all partitions.
const RATE: u32 = 8_000;

/// A life that ends before it has begun to copy, and one that ends in the middle of it.
fn life(random: &mut rand::rngs::StdRng) -> Duration {
    let millis = if random.random_bool(0.3) {
        random.random_range(0..250)
    } else {
        random.random_range(250..900)
    };
    Duration::from_millis(millis)
}

#[test]
fn a_daemon_that_is_killed_again_and_again_copies_each_record_once() {
    let mut random = random("killed daemon");
    let rig = Rig::start(4);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    let mut grown = wait_mirrored(&rig.target(), 16);
    let (mut lives, all) = (0, kills(30));
    let target = rig.target();
    for _ in 0..all {
        let_pass(life(&mut random));
        daemon.process().kill();
        let now = target.end_offsets(super::MIRROR).iter().sum();
        lives += usize::from(now > grown);
        grown = now;
        // Mostly it need not wait until the group has missed the one before.
        if random.random_bool(0.9) {
            forget_members(&rig.target.bootstrap());
        }
        daemon.respawn();
    }
    daemon.wait_ready();
    assert!(
        lives >= all / 3,
        "only {lives} of {all} lives were long enough to copy anything"
    );
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn of_three_daemons_any_may_be_killed_and_the_others_go_on_where_it_was() {
    let mut random = random("one of three daemons");
    let rig = Rig::start(6);
    let mut daemons: Vec<Daemon> = (0..3).map(|_| Daemon::spawn(&rig.topology(), &[])).collect();
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 24);
    for _ in 0..kills(12) {
        let_pass(Duration::from_millis(random.random_range(100..1_200)));
        let victim = &mut daemons[random.random_range(0..3)];
        victim.process().kill();
        victim.respawn();
    }
    daemons.iter_mut().for_each(Daemon::wait_ready);
    let exact = rig.finish(load, daemons);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn a_target_that_is_killed_again_and_again_has_each_record_once() {
    let mut random = random("killed target");
    let mut rig = Rig::start(4);
    let daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 16);
    for _ in 0..kills(12) {
        let_pass(Duration::from_millis(random.random_range(100..900)));
        rig.target.process().kill();
        rig.target.restart();
        let now = wait_mirrored(&rig.target(), 1);
        if random.random_bool(0.5) {
            wait_mirrored(&rig.target(), now + 10);
        }
    }
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn a_source_that_is_killed_again_and_again_is_copied_once() {
    let mut random = random("killed source");
    let mut rig = Rig::start(4);
    let daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 16);
    for _ in 0..kills(12) {
        let_pass(Duration::from_millis(random.random_range(100..700)));
        rig.source.process().kill();
        rig.source.restart();
        wait_more(&load, 100);
    }
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_whole_map();
}

#[test]
fn everything_may_be_killed_at_once() {
    let mut random = random("everything killed");
    let mut rig = Rig::start(4);
    let mut daemon = Daemon::start(&rig.topology());
    let load = rig.load(RATE);
    wait_mirrored(&rig.target(), 16);
    for _ in 0..kills(6) {
        let_pass(Duration::from_millis(random.random_range(100..1_000)));
        rig.target.process().kill();
        daemon.process().kill();
        rig.source.process().kill();
        daemon.respawn();
        rig.source.restart();
        rig.target.restart();
        wait_for(LIMIT, "the daemon is still there", || {
            match daemon.process().ended() {
                None => Ok(()),
                Some(status) => Err(status),
            }
        });
    }
    daemon.wait_ready();
    let exact = rig.finish(load, vec![daemon]);
    exact.expect_equal().expect_whole_map();
}
