//! A daemon that ends cleanly goes on where it stopped, and so does another one.

use std::time::Duration;

use crate::support::check::judge;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape};
use crate::support::mirrors::{CATCH_UP, Pair, wait_ends, wait_quiet, write_numbers};
use crate::support::wait_until;

/// How long a daemon may take to drain and end.
const END: Duration = Duration::from_secs(15);

const SHAPE: Shape = Shape {
    rate: Some(2_000),
    partitions: 4,
    value_bytes: 64,
    compression: "none",
};

#[test]
fn what_is_written_while_the_daemon_is_away_is_copied_once_when_it_is_back() {
    let pair = Pair::start();
    for topic in ["busy", "idle"] {
        pair.primary.create_topic(topic, 3, &[]);
        write_numbers(&pair.primary, topic, 3, 0..300);
    }
    let mut daemon = Daemon::start(&pair.topology(""));
    for (from, to) in [(300, 600), (600, 601), (601, 601)] {
        pair.wait_mirrored("busy");
        pair.wait_mirrored("idle");
        assert!(daemon.stop(END).success());
        write_numbers(&pair.primary, "busy", 3, from..to);
        daemon.restart();
    }
    pair.wait_mirrored("busy");
    wait_quiet(&[&pair.standby]);
    pair.wait_mirrored("busy");
    pair.wait_mirrored("idle");
}

#[test]
fn a_clean_stop_under_load_neither_loses_nor_repeats() {
    let pair = Pair::start();
    pair.primary.create_topic("loaded", SHAPE.partitions, &[]);
    let load = Load::start(&pair.primary, "loaded", SHAPE);
    let mut daemon = Daemon::start(&pair.topology(""));
    for stops in 1..=3 {
        wait_grown(&pair.standby, stops * 1_000);
        assert!(daemon.stop(END).success());
        daemon.restart();
    }
    let written = load.stop();
    wait_ends(
        &pair.standby,
        "primary.loaded",
        &pair.primary.end_offsets("loaded"),
    );
    let read = pair.standby.read("primary.loaded");
    judge(&written.name, &written.acknowledged, &read).expect_exact();
}

#[test]
fn two_daemons_share_the_partitions_and_one_takes_over_what_the_other_gives_up() {
    let pair = Pair::start();
    pair.primary.create_topic("shared", SHAPE.partitions, &[]);
    let load = Load::start(&pair.primary, "shared", SHAPE);
    let mut first = Daemon::start(&pair.topology(""));
    wait_grown(&pair.standby, 1_000);
    let second = Daemon::start(&pair.topology(""));
    let owned = |daemon: &Daemon| {
        let flow = daemon.flow("primary->standby");
        flow.partitions.iter().filter(|partition| partition.mine).count()
    };
    wait_until(CATCH_UP, "each has half of the partitions", || {
        (owned(&first), owned(&second)) == (2, 2)
    });
    let before: u64 = load.acknowledged();
    wait_grown(&pair.standby, before as i64 + 1_000);
    assert!(first.stop(END).success());
    wait_until(CATCH_UP, "the one that is left has them all", || {
        owned(&second) == 4
    });
    let written = load.stop();
    wait_ends(
        &pair.standby,
        "primary.shared",
        &pair.primary.end_offsets("shared"),
    );
    let read = pair.standby.read("primary.shared");
    judge(&written.name, &written.acknowledged, &read).expect_exact();
}

/// Waits until the only mirror topic has so many records.
fn wait_grown(standby: &Client, least: i64) {
    wait_until(CATCH_UP, &format!("the mirror has {least} records"), || {
        let mirror = crate::support::mirrors::topics(standby);
        mirror
            .first()
            .is_some_and(|mirror| standby.end_offsets(mirror).iter().sum::<i64>() >= least)
    });
}
