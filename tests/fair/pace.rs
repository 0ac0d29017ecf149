//! `bytes_per_second` is a rate: what is copied under it is neither more nor much less.

use std::time::{Duration, Instant};

use super::{FLOW, LIMIT, fill, topology};
use crate::support::built_in::InProcess;
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::wait_for;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 4;

/// Bytes a second.
const RATE: u64 = 4_000_000;

/// For so long is looked, from the first bytes on.
const LOOK: Duration = Duration::from_secs(3);

#[test]
fn a_limit_of_bytes_a_second_is_kept_and_used() {
    let clusters = [InProcess::start(1, &[]), InProcess::start(1, &[])];
    let [source, target] = clusters.each_ref().map(InProcess::bootstrap);
    let from = Client::new(&source);
    from.create_topic(TOPIC, PARTITIONS, &[]);
    let enough = (RATE as usize * 2 * LOOK.as_secs() as usize) / PARTITIONS as usize;
    fill(&from, TOPIC, 0..PARTITIONS, enough);
    let settings = format!(", limits: {{ bytes_per_second: {}MB }}", RATE / 1_000_000);
    let daemon = Daemon::start(&topology(&source, &target, &settings));
    let copied = || -> u64 {
        let partitions = daemon.flow(FLOW).partitions;
        partitions.iter().map(|partition| partition.bytes_total).sum()
    };
    let first = wait_for(LIMIT, "something is copied", || match copied() {
        0 => Err("nothing is"),
        bytes => Ok(bytes),
    });
    let began = Instant::now();
    let (bytes, seconds) = wait_for(LIMIT, "some seconds are over", || {
        let (bytes, elapsed) = (copied() - first, began.elapsed());
        match elapsed >= LOOK {
            true => Ok((bytes as f64, elapsed.as_secs_f64())),
            false => Err(format!("{bytes} bytes in {elapsed:?}")),
        }
    });
    let rate = bytes / seconds;
    eprintln!("{rate:.0} bytes a second, {RATE} are allowed");
    // A batch of a megabyte goes at once, and is paid for by a longer wait; what is not used in a tenth of a second is lost.
    let batch = 1_000_000.0 / seconds;
    assert!(rate < RATE as f64 * 1.05 + batch, "{rate:.0} bytes a second");
    assert!(rate > RATE as f64 * 0.75 - batch, "{rate:.0} bytes a second");
}
