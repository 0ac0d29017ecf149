//! A map topic whose log has lost its end in an unclean election: nothing is lost or copied twice, and what the map says is true.

use rand::RngExt as _;
use serde_json::Value;

use super::cut_back::{Daemons, cut_built_in, write};
use super::{END, LIMIT, MAP, Rig, SOURCE, TARGET, TOPIC, forget_members, random, wait_copied};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::{Daemon, heliostat};
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
    let found = Exact::read(&sides);
    found.expect_equal().expect_true_map();
    let places = found.source.iter().zip(&found.mirror);
    let places: Vec<(i64, i64)> = places
        .map(|(source, mirror)| (source.offset, mirror.offset))
        .collect();
    let back: Vec<(i64, i64)> = places.iter().map(|(source, mirror)| (*mirror, *source)).collect();
    let unknown = [
        expect_nothing_skipped(&daemon, (TOPIC, &[]), &places),
        expect_nothing_skipped(&daemon, (&sides.mirror, &["--reverse"]), &back),
    ];
    eprintln!(
        "{daemons:?}: of {} records, not on record: {unknown:?}",
        places.len()
    );
}

/// Asks where each offset of the first sides is on the second ones, as far as there are records. Whoever goes on there misses nothing, and each record
/// is where it is said to be exactly. Returns of how many records it is not known.
#[track_caller]
fn expect_nothing_skipped(
    daemon: &Daemon,
    (topic, direction): (&str, &[&str]),
    places: &[(i64, i64)],
) -> usize {
    let last = places.last().expect("records").0;
    let lines: String = (0..=last).map(|offset| format!("{topic},0,{offset}\n")).collect();
    let asked = daemon.directory().join("asked.csv");
    std::fs::write(&asked, lines).expect("write a file of offsets");
    let (file, asked) = (daemon.topology(), asked.to_str().expect("a path in UTF-8"));
    let file = file.to_str().expect("a path in UTF-8");
    let all = [
        &[
            "offsets",
            file,
            "--from-file",
            asked,
            "-o",
            "json",
            "--log-level",
            "error",
        ],
        direction,
    ]
    .concat();
    let output = heliostat(&all, None);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = said["offsets"].as_array().expect("rows");
    assert_eq!(rows.len() as i64, last + 1);
    let mut unknown = 0;
    for row in rows {
        let offset = row["offset"].as_i64().expect("an offset");
        let there = row["to_offset"].as_i64().expect("an offset");
        let next = places.iter().find(|place| place.0 >= offset).expect("a record");
        assert!(there <= next.1, "{row} skips {next:?}");
        if next.0 == offset {
            match row["state"].as_str() {
                Some("exact") => assert_eq!(there, next.1, "{row}"),
                Some("not on record") => unknown += 1,
                _ => panic!("{row}: there is a record"),
            }
        }
    }
    unknown
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
