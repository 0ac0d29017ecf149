//! Kill -9 of a built-in cluster under load, on either side of a mirror.

use super::{FLOW, MIRROR, Pair, TOPIC, wait_flow, wait_mirrored, wait_more};
use crate::support::check::judge;
use crate::support::daemon::Daemon;

const KILLS: usize = 3;

/// Records a second, over all partitions.
const RATE: u32 = 2_000;

fn mirrored(pair: &Pair) -> i64 {
    pair.target().end_offsets(MIRROR).iter().sum()
}

#[test]
fn nothing_acknowledged_is_lost_when_the_source_is_killed_and_the_mirror_goes_on() {
    let mut pair = Pair::start(2);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(RATE);
    wait_mirrored(&pair.target(), 1);
    for _ in 0..KILLS {
        wait_more(&load, 1_000);
        pair.source.process().kill();
        let before = mirrored(&pair);
        pair.source.restart();
        wait_mirrored(&pair.target(), before + 500);
    }
    let finished = pair.finish(load, &daemon);
    let (name, acknowledged) = (&finished.written.name, &finished.written.acknowledged);
    judge(name, acknowledged, &pair.source().read(TOPIC)).expect_exact();
    finished.verdict.expect_exact();
    wait_flow(&mut daemon, "the flow is healthy again", |flow| flow.is_healthy());
}

#[test]
fn nothing_is_lost_when_the_target_is_killed_while_it_is_mirrored_to() {
    let mut pair = Pair::start(2);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(RATE);
    wait_mirrored(&pair.target(), 1);
    for _ in 0..KILLS {
        wait_more(&load, 1_000);
        pair.target.process().kill();
        // Records come while it is away.
        wait_more(&load, 500);
        pair.target.restart();
        let before = mirrored(&pair);
        wait_mirrored(&pair.target(), before + 500);
    }
    let verdict = pair.finish(load, &daemon).verdict;
    verdict.expect_complete();
    // The producer knows what was written; only if the group gave the work up meanwhile is the last second copied again.
    assert!(verdict.duplicated <= u64::from(RATE) * KILLS as u64, "{verdict}");
    let flow = wait_flow(&mut daemon, "the flow is healthy again", |flow| flow.is_healthy());
    assert_eq!((flow.name.as_str(), flow.partitions.len()), (FLOW, 2));
}
