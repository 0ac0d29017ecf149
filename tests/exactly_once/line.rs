//! The line to a cluster: cut, silent, slow.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::{Rig, SOURCE, TARGET, let_pass, load, random, sides, topology, wait_mirrored};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::Daemon;
use crate::support::exact::Exact;
use crate::support::proxy::Proxy;

/// Records a second, over all partitions.
const RATE: u32 = 8_000;

pub(super) const PARTITIONS: i32 = 3;

/// Two clusters with a line of the daemon's own to each.
pub(super) struct Far {
    pub(super) rig: Rig,
    pub(super) to_source: Proxy,
    pub(super) to_target: Proxy,
}

impl Far {
    #[track_caller]
    pub(super) fn start() -> Far {
        let (source, to_source) = BuiltIn::start_behind(SOURCE);
        let (target, to_target) = BuiltIn::start_behind(TARGET);
        Far {
            rig: Rig::of(source, target, PARTITIONS),
            to_source,
            to_target,
        }
    }

    pub(super) fn topology(&self) -> String {
        let [source, target] = [&self.to_source, &self.to_target].map(|line| line.address().to_string());
        topology(&source, &target, "")
    }

    /// Disturbs the lines while records are copied, and reads what has become of them.
    #[track_caller]
    fn disturbed(
        &self,
        times: usize,
        random: &mut StdRng,
        mut disturb: impl FnMut(&Far, &mut StdRng),
    ) -> Exact {
        let mut daemon = Daemon::spawn(&self.topology(), &super::log());
        daemon.wait_ready();
        let load = load(&self.rig.source(), PARTITIONS, RATE);
        wait_mirrored(&self.rig.target(), 16);
        for _ in 0..times {
            let_pass(Duration::from_millis(random.random_range(50..500)));
            disturb(self, random);
        }
        for line in [&self.to_source, &self.to_target] {
            line.delay(Duration::ZERO);
            line.stall(false);
        }
        load.stop();
        super::finish(&sides(self.rig.source(), self.rig.target()), vec![daemon])
    }
}

#[test]
fn lines_that_are_cut_at_random_moments_cost_nothing_and_repeat_nothing() {
    let mut random = random("cut lines");
    let far = Far::start();
    // What is on the line when it is cut may have arrived, or not, or its answer may not have.
    far.to_target.delay(Duration::from_millis(5));
    let exact = far.disturbed(16, &mut random, |far, random| match random.random_range(0..4) {
        0 => far.to_source.cut(),
        1 => {
            far.to_source.cut();
            far.to_target.cut();
        }
        _ => far.to_target.cut(),
    });
    exact.expect_equal().expect_whole_map();
}

#[test]
fn lines_that_fall_silent_for_longer_than_a_session_cost_nothing_and_repeat_nothing() {
    let mut random = random("silent lines");
    let far = Far::start();
    let exact = far.disturbed(3, &mut random, |far, random| {
        let line = if random.random_bool(0.7) {
            &far.to_target
        } else {
            &far.to_source
        };
        fall_silent(&[line], random);
    });
    exact.expect_equal().expect_whole_map();
}

/// Neither the group nor anybody else hears of the daemon, which hears of nobody: its partitions are given to nobody, or to it again.
#[test]
fn lines_to_both_clusters_that_fall_silent_at_once_cost_nothing_and_repeat_nothing() {
    let mut random = random("both lines silent");
    let far = Far::start();
    let exact = far.disturbed(2, &mut random, |far, random| {
        fall_silent(&[&far.to_source, &far.to_target], random);
    });
    exact.expect_equal().expect_whole_map();
}

/// Nothing passes for a while; what was on its way comes then, or is lost with the connections.
fn fall_silent(lines: &[&Proxy], random: &mut StdRng) {
    lines.iter().for_each(|line| line.stall(true));
    let_pass(Duration::from_millis(random.random_range(200..2_500)));
    for line in lines {
        if random.random_bool(0.5) {
            line.cut();
        }
        line.stall(false);
    }
}

#[test]
fn a_slow_line_with_many_requests_on_it_that_is_cut_repeats_nothing() {
    let mut random = random("slow line");
    let far = Far::start();
    far.to_target.delay(Duration::from_millis(40));
    far.to_source.delay(Duration::from_millis(40));
    let exact = far.disturbed(6, &mut random, |far, random| {
        if random.random_bool(0.5) {
            far.to_target
                .delay(Duration::from_millis(random.random_range(0..80)));
        }
        far.to_target.cut();
    });
    exact.expect_equal().expect_whole_map();
}
