//! A target that does not fence producers is found out before anything is copied to it.

use heliostat::observe::status::State;

use super::{FLOW, LIMIT, Rig, SOURCE, TARGET, topology, wait_copied};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::Daemon;
use crate::support::{http, wait_for, wait_until};

/// What an answer to Produce says of partition 0 to a producer that was replaced: the partition, INVALID_PRODUCER_EPOCH, and no offset.
const REFUSED: [u8; 14] = [0, 0, 0, 0, 0, 47, 255, 255, 255, 255, 255, 255, 255, 255];

/// What a target says that does not know of that.
const TAKEN: [u8; 14] = [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255];

#[test]
fn a_target_that_does_not_fence_is_refused_with_what_to_do_about_it() {
    let (target, line) = BuiltIn::start_behind(TARGET);
    let rig = Rig::of(BuiltIn::start(1, SOURCE), target, 1);
    let through = |settings: &str| topology(&rig.source.bootstrap(), &line.address().to_string(), settings);
    line.rewrite(Some((&REFUSED, &TAKEN)));
    let daemon = Daemon::spawn(&through(""), &super::log());
    wait_until(LIMIT, "the daemon listens", || {
        http::connects(daemon.http()).is_ok()
    });
    wait_for(LIMIT, "the flow says why it does not copy", || {
        let flow = daemon.flow(FLOW);
        let reason = flow.reason.unwrap_or_default();
        let says = ["does not fence", "delivery: at-least-once", "engine: librdkafka"];
        if flow.state == State::Stalled && says.iter().all(|part| reason.contains(part)) {
            Ok(())
        } else {
            Err(format!("{:?} {reason}\n{}", flow.state, daemon.log()))
        }
    });
    assert_eq!(
        rig.target().partitions(super::MIRROR),
        None,
        "nothing is made there"
    );
    // It is asked again, and may have been replaced by one that does.
    line.rewrite(None);
    wait_copied(&rig.sides(), &daemon);
    drop(daemon);
    line.rewrite(Some((&REFUSED, &TAKEN)));
    let daemon = Daemon::start(&through(", delivery: at-least-once"));
    rig.load(1_000).stop();
    wait_copied(&rig.sides(), &daemon);
}
