//! A record that the target refuses stops its partition alone, and nothing is lost once that is mended.

use heliostat::observe::status::State;

use crate::support::clients::{Client, Producing};
use crate::support::daemon::Daemon;
use crate::support::mirrors::{CATCH_UP, FLOW, Pair, wait_ends, write_numbers};
use crate::support::rec::{self, Rec};
use crate::support::{wait_for, wait_still};

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

fn of_partition(client: &Client, topic: &str, partition: i32) -> Vec<Rec> {
    let mut records = client.read(topic);
    records.retain(|record| record.partition == partition);
    records
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
    // Its neighbour goes on, and of this partition nothing more arrives.
    wait_ends(&pair.standby, "primary.orders", &[51, 550]);
    wait_still(CATCH_UP, "partition 0 stands still", || {
        pair.standby.end_offsets("primary.orders")[0]
    });
    pair.standby
        .alter_topic("primary.orders", &[("max.message.bytes", "100000")]);
    let source = of_partition(&pair.primary, "orders", 0);
    let mirror = wait_for(
        CATCH_UP,
        "the record and all that follows it have arrived in order",
        || {
            let mirror = of_partition(&pair.standby, "primary.orders", 0);
            let end = mirror
                .len()
                .checked_sub(source.len() - 51)
                .ok_or("too few records")?;
            rec::difference(&source[51..], &mirror[end..]).map_or(Ok(mirror), Err)
        },
    );
    // Records behind it that were on their way when it was refused are there twice, but none is missing and none is foreign.
    rec::assert_mirrored(&source[..50], &mirror[..50]);
    assert!(mirror.iter().any(|record| record.value == source[50].value));
    let known = |record: &Rec| source.iter().any(|one| one.value == record.value);
    assert!(mirror.iter().all(known));
    rec::assert_mirrored(
        &of_partition(&pair.primary, "orders", 1),
        &of_partition(&pair.standby, "primary.orders", 1),
    );
}
