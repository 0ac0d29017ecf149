//! Sources that give topics no ids, as those of before Kafka 2.8: a topic that was made again is known by its leader epochs and its records.

use heliostat::observe::status::State;

use super::cut_back::{BATCH, BEFORE, LOST, cut_built_in, expect_both, write};
use super::{END, FLOW, LIMIT, MIRROR, Rig, SOURCE, TARGET, TOPIC, forget_members, topology, wait_copied};
use crate::support::built_in::BuiltIn;
use crate::support::daemon::Daemon;
use crate::support::exact::{Exact, same};
use crate::support::proxy::Proxy;
use crate::support::rec::Rec;
use crate::support::{wait_for, wait_until};

/// What a broker says of Metadata: its versions up to the last one, and up to the last one without ids.
const WITH_IDS: [u8; 6] = [0, 3, 0, 0, 0, 13];
const WITHOUT_IDS: [u8; 6] = [0, 3, 0, 0, 0, 9];

/// A rig whose source gives no ids to those who come through the line.
fn rig() -> (Rig, Proxy) {
    let (source, line) = BuiltIn::start_behind(SOURCE);
    line.rewrite(Some((&WITH_IDS, &WITHOUT_IDS)));
    (Rig::of(source, BuiltIn::start(1, TARGET), 1), line)
}

fn file(rig: &Rig, line: &Proxy, settings: &str) -> String {
    topology(&line.address().to_string(), &rig.target.bootstrap(), settings)
}

/// Copies some records, and makes the topic again with more of them, while a daemon with `settings` runs or not. Returns what the mirror had before.
fn made_again(
    rig: &mut Rig,
    line: &Proxy,
    settings: &str,
    runs: bool,
    elections: usize,
) -> (Daemon, Vec<Rec>) {
    for _ in 0..elections {
        rig.source.stop();
        rig.source.restart();
    }
    let mut daemon = Daemon::start(&file(rig, line, settings));
    write(&rig.source(), "before", BEFORE);
    wait_copied(&rig.sides(), &daemon);
    let before = Exact::read(&rig.sides()).mirror;
    let ids = rig.target().read(super::MAP);
    let ids = ids.iter().filter_map(|record| record.value.as_deref());
    for value in ids {
        let value = String::from_utf8_lossy(value);
        assert!(
            !value.contains("source_topic_id"),
            "the source gives no ids: {value}"
        );
    }
    if runs {
        daemon.process().pause();
    } else {
        let status = daemon.stop(END);
        assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    }
    rig.source().delete_topic(TOPIC);
    rig.source().create_topic(TOPIC, 1, &[]);
    // More than there was before, so that the log's length tells nothing.
    write(&rig.source(), "again", 3 * BEFORE);
    if runs {
        daemon.process().resume();
    } else {
        daemon.restart();
    }
    (daemon, before)
}

#[test]
fn a_source_without_ids_that_is_made_again_halts_its_mirror() {
    for elections in [0, 2] {
        let (mut rig, line) = rig();
        let (daemon, before) = made_again(&mut rig, &line, "", false, elections);
        wait_for(LIMIT, "the partition halts", || {
            let flow = daemon.flow(FLOW);
            match flow.partitions.first().map(|partition| partition.state) {
                Some(State::Recreated) => Ok(()),
                _ => Err(format!("{:?}\n{}", flow.partitions, daemon.log())),
            }
        });
        assert_eq!(
            rig.target().read(MIRROR),
            before,
            "nothing was written over the old one"
        );
    }
}

#[test]
fn a_source_without_ids_that_is_made_again_and_followed_is_copied_once_behind_the_old_one() {
    let (mut rig, line) = rig();
    let (mut daemon, before) = made_again(&mut rig, &line, ", on_recreated: follow", false, 0);
    for turn in 0..3 {
        wait_copied(&rig.sides(), &daemon);
        daemon.process().kill();
        forget_members(&rig.target.bootstrap());
        write(&rig.source(), &format!("more {turn}"), BATCH as i64);
        daemon.restart();
    }
    wait_copied(&rig.sides(), &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let exact = Exact::read(&rig.sides());
    let wanted = [before, exact.source].concat();
    let equal = wanted
        .iter()
        .zip(&exact.mirror)
        .all(|(wanted, found)| same(wanted, found));
    assert!(
        equal && wanted.len() == exact.mirror.len(),
        "{} records wanted, and {} in the mirror\n{}",
        wanted.len(),
        exact.mirror.len(),
        daemon.log()
    );
}

#[test]
fn a_source_without_ids_that_was_cut_back_is_no_other_one() {
    let (mut rig, line) = rig();
    let mut daemon = Daemon::start(&file(&rig, &line, ""));
    write(&rig.source(), "before", BEFORE);
    wait_copied(&rig.sides(), &daemon);
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    let before = Exact::read(&rig.sides());
    let end = rig.source().end_offsets(TOPIC)[0];
    let cut = cut_built_in(&mut rig.source, TOPIC, end - LOST);
    assert!(cut <= end - LOST && cut > 0, "cut from {end} to {cut}");
    write(&rig.source(), "after", LOST + 40);
    daemon.restart();
    wait_copied(&rig.sides(), &daemon);
    wait_until(LIMIT, "the log names the offsets that were replaced", || {
        let log = daemon.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains("cut back") && line.contains(&cut.to_string()))
    });
    let status = daemon.stop(END);
    assert_eq!(status.code(), Some(0), "{}", daemon.process().stderr_tail());
    expect_both(&before, &Exact::read(&rig.sides()), cut);
}
