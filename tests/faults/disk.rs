//! A target whose disk takes no more, and one whose disk takes nothing at all.

use heliostat::observe::status::State;

use super::{MIRROR, Pair, TOPIC, wait_flow, wait_mirrored, wait_more};
use crate::support::daemon::Daemon;
use crate::support::load::{Load, Shape};

/// Writes what fills a small disk soon.
fn load(pair: &Pair) -> Load {
    let shape = Shape {
        rate: Some(1_000),
        partitions: pair.partitions,
        value_bytes: 1_000,
        ..Shape::default()
    };
    Load::start(&pair.source(), TOPIC, shape)
}

/// Copies for a while, lets no file of the target grow beyond `limit`, and waits until the flow says so; then makes room
/// again, with a restart of the target or without, and expects every record, once.
fn fills_up(limit: impl Fn(&Pair) -> u64, restart: bool) {
    let mut pair = Pair::start(2);
    let mut daemon = Daemon::start(&pair.topology());
    let load = load(&pair);
    wait_mirrored(&pair.target(), 500);
    pair.target.limit_files(Some(limit(&pair)));
    let full = wait_flow(
        &mut daemon,
        "the flow says that its target takes nothing",
        |flow| {
            flow.state == State::Stalled
                && flow
                    .reason
                    .as_ref()
                    .is_some_and(|reason| reason.contains("target"))
        },
    );
    let reason = full.reason.unwrap_or_default();
    assert!(reason.to_lowercase().contains("disk"), "{reason}");
    let before: i64 = pair.target().end_offsets(MIRROR).iter().sum();
    wait_more(&load, 500);
    if restart {
        pair.target.process().kill();
        pair.target.restart();
    } else {
        pair.target.limit_files(None);
    }
    wait_mirrored(&pair.target(), before + 1_000);
    wait_flow(&mut daemon, "the flow is healthy again", |flow| flow.is_healthy());
    pair.finish(load, &daemon).verdict.expect_exact();
}

/// The size of the largest file of the mirror.
fn largest(pair: &Pair) -> u64 {
    let mut largest = 0;
    let mut directories = vec![pair.target.data()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)
            .expect("list the target's data")
            .flatten()
        {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "log")
            {
                largest = largest.max(metadata.len());
            }
        }
    }
    largest
}

#[test]
fn a_target_whose_disk_is_full_loses_nothing_and_goes_on_when_there_is_room() {
    fills_up(|pair| largest(pair) + 10_000, false);
}

#[test]
fn a_target_that_can_write_nothing_loses_nothing_and_goes_on_after_a_restart() {
    fills_up(|_| 0, true);
}
