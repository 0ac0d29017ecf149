//! A record that the target refuses stops its partition alone, and nothing is lost once that is mended.

use heliostat::observe::status::State;

use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::mirrors::{CATCH_UP, FLOW, Pair, wait_ends, write_numbers};
use crate::support::rec::Rec;
use crate::support::wait_for;

/// Waits until partition 0 of `orders` is quarantined for a reason that says this.
fn wait_quarantined(daemon: &Daemon, expected: &str) {
    wait_for(CATCH_UP, "partition 0 is quarantined", || {
        let flow = daemon.flow(FLOW);
        let found = flow
            .partitions
            .iter()
            .find(|found| found.topic == "orders" && found.partition == 0);
        let found = found.ok_or("it is not there")?;
        let reason = found.reason.as_deref().unwrap_or_default();
        if found.state == State::Quarantined && reason.contains(expected) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
}

#[test]
fn a_record_too_large_for_the_mirror_stops_its_partition_until_it_fits() {
    let pair = Pair::start();
    pair.primary.create_topic("orders", 2, &[]);
    write_numbers(&pair.primary, "orders", 2, 0..100);
    let daemon = Daemon::start(&pair.topology(""));
    pair.wait_mirrored("orders");
    pair.standby
        .alter_topic("primary.orders", &[("max.message.bytes", "20000")]);
    // Nothing that compression could make fit.
    let mut large = vec![0; 50_000];
    rand::RngExt::fill(&mut rand::rng(), &mut large[..]);
    let records = [
        Rec::new(0, None, Some(b"before")),
        Rec::new(0, None, Some(&large)),
        Rec::new(0, None, Some(b"after")),
    ];
    pair.primary.produce("orders", &records, Producing::default());
    write_numbers(&pair.primary, "orders", 2, 100..1_100);
    wait_quarantined(&daemon, "at source offset 51");
    wait_quarantined(&daemon, "raise max.message.bytes of the mirror topic");
    // What comes before it has arrived once, what comes after it has not, and its neighbour goes on.
    wait_ends(&pair.standby, "primary.orders", &[51, 550]);
    assert_eq!(pair.standby.end_offsets("primary.orders"), [51, 550]);
    pair.standby
        .alter_topic("primary.orders", &[("max.message.bytes", "100000")]);
    pair.wait_mirrored("orders");
}
