//! A target that refuses a batch and does not say for which of its records: Kafka before 2.4.

use heliostat::observe::status::State;

use super::{FLOW, LIMIT, Rig, SOURCE, TARGET, TOPIC, topology};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Producing;
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, Sides};
use crate::support::rec::Rec;
use crate::support::wait_for;

/// What ApiVersions says of Produce, up to the key of what follows: versions 0 to 13.
const PRODUCE: [u8; 9] = [0, 0, 0, 0, 0, 13, 0, 0, 1];

/// The same up to version 7, whose answers name no records.
const OLD_PRODUCE: [u8; 9] = [0, 0, 0, 0, 0, 7, 0, 0, 1];

/// Records of one batch.
const RECORDS: usize = 1_000;

#[test]
fn the_record_at_fault_is_found_by_halves_and_what_lies_before_it_is_copied() {
    let (target, line) = BuiltIn::start_behind(TARGET);
    line.rewrite(Some((&PRODUCE, &OLD_PRODUCE)));
    let rig = Rig::of(BuiltIn::start(1, SOURCE), target, 1);
    rig.source().create_topic("keyed", 1, &[]);
    rig.target()
        .create_topic("source.keyed", 1, &[("cleanup.policy", "compact")]);
    // Two of them cannot be taken: one is found, and once it is, the other.
    let at_fault = [617i64, 618];
    let records: Vec<Rec> = (0..RECORDS as i64)
        .map(|number| {
            let key = number.to_be_bytes();
            let key = (!at_fault.contains(&number)).then_some(&key[..]);
            Rec::new(0, key, Some(format!("record {number}").as_bytes()))
        })
        .collect();
    let as_one_batch = Producing {
        linger_ms: 200,
        ..Producing::default()
    };
    rig.source().produce("keyed", &records, as_one_batch);
    let file = topology(&rig.source.bootstrap(), &line.address().to_string(), "");
    let mut daemon = Daemon::start(&file);
    let stopped = wait_for(LIMIT, "it is quarantined for the record at fault", || {
        let flow = daemon.flow(FLOW);
        let found = flow.partitions.into_iter().find(|found| found.topic == "keyed");
        match found {
            Some(found) if found.state == State::Quarantined => Ok(found),
            found => Err(format!("{found:?}\n{}", daemon.log())),
        }
    });
    let first = at_fault[0];
    assert_eq!(
        (stopped.position, stopped.offsets),
        (Some(first), Some((first, first))),
        "what lies before it is copied, and nothing is passed over: {stopped:?}"
    );
    assert_eq!(rig.target().read("source.keyed").len(), 617);
    assert!(
        stopped.errors_total > 5,
        "it was named at once, and not found by halves: {stopped:?}"
    );
    let neighbour = daemon.flow(FLOW).partitions.into_iter();
    let neighbour = neighbour.filter(|found| found.topic == TOPIC);
    assert!(neighbour.into_iter().all(|found| found.position == Some(4)));

    // Once the mirror takes it, it and all that lies behind it are copied, once.
    rig.target()
        .alter_topic("source.keyed", &[("cleanup.policy", "delete")]);
    wait_for(LIMIT, "it goes on", || {
        let flow = daemon.flow(FLOW);
        let mut of_keyed = flow.partitions.iter().filter(|found| found.topic == "keyed");
        match of_keyed.all(|found| found.position == Some(RECORDS as i64)) {
            true => Ok(()),
            false => Err(format!("{flow:?}")),
        }
    });
    assert!(daemon.stop(super::END).success());
    let sides = Sides {
        topic: "keyed".to_owned(),
        mirror: "source.keyed".to_owned(),
        ..rig.sides()
    };
    Exact::read(&sides).expect_equal().expect_whole_map();
}
