//! A map topic whose log has lost its end in an unclean election: nothing is lost or copied twice, and what the map says is true.

use rand::RngExt as _;

use super::cut_back::{Daemons, cut_built_in, write};
use super::{END, LIMIT, MAP, Rig, SOURCE, TARGET, TOPIC, forget_members, random, wait_copied};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::Daemon;
use crate::support::exact::Exact;
use crate::support::wait_until;

/// Cuts the map's log to `kept` parts of a hundred, in the middle of the daemon's life or between two, and kills the daemon after it.
fn a_map_that_was_cut_back(rig: &mut Rig, daemons: Daemons, kept: i64) {
    let mut random = random(&format!("map cut back: {daemons:?}, {kept} % kept"));
    let sides = rig.sides();
    let mut daemon = Daemon::start(&rig.topology());
    // Each comes to the map by itself, and each life of the daemon has blocks of its own.
    for turn in 0..3 {
        write(
            &sides.source,
            &format!("before {turn}"),
            random.random_range(1..20),
        );
        wait_copied(&sides, &daemon);
        wait_until(LIMIT, "what was copied is on record", || {
            Some(Exact::read(&sides).positions[&0].0) == sides.source.end_offsets(TOPIC).first().copied()
        });
        if turn < 2 {
            daemon.process().kill();
            forget_members(&rig.target.bootstrap());
            daemon.restart();
        }
    }
    write(&sides.source, "behind", 20);
    wait_copied(&sides, &daemon);
    daemons.interrupt(&mut daemon);
    let end = sides.target.end_offsets(MAP)[0];
    let cut = cut_built_in(&mut rig.target, MAP, end * kept / 100);
    assert!(cut < end, "cut from {end} to {cut}");
    eprintln!("{daemons:?}: cut from {end} to {cut}");
    write(&sides.source, "after", 20);
    daemons.go_on(&mut daemon, &rig.target.bootstrap());
    wait_copied(&sides, &daemon);
    write(&sides.source, "more", random.random_range(1..20));
    daemon.process().kill();
    forget_members(&rig.target.bootstrap());
    daemon.restart();
    wait_copied(&sides, &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    Exact::read(&sides).expect_equal().expect_true_map();
}

#[test]
fn a_map_that_has_lost_its_end_costs_no_record_and_tells_the_truth() {
    let cases = [
        (Daemons::Stopped, 60),
        (Daemons::Killed, 0),
        (Daemons::Killed, 70),
        (Daemons::Asleep, 0),
        (Daemons::Awake, 70),
    ];
    // They wait for most of the time.
    std::thread::scope(|scope| {
        for (daemons, kept) in cases {
            scope.spawn(move || {
                let mut rig = Rig::of(BuiltIn::start(1, SOURCE), BuiltIn::start(1, TARGET), 1);
                a_map_that_was_cut_back(&mut rig, daemons, kept);
            });
        }
    });
}
