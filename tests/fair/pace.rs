//! `bytes_per_second` is a rate: what is copied under it is neither more nor much less.

use std::time::{Duration, Instant};

use super::{FLOW, LIMIT, QUICK_GROUPS, fill, topology};
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
    let clusters = Filled::start();
    let daemon = Daemon::start(&clusters.topology());
    expect_rate(&[&daemon]);
}

/// Each has the share of its partitions.
#[test]
fn two_daemons_keep_the_limit_of_their_flow_together() {
    let clusters = Filled::start();
    let first = Daemon::start(&clusters.topology());
    let second = Daemon::start(&clusters.topology());
    wait_for(LIMIT, "both copy some partitions", || {
        let shares = [&first, &second].map(|daemon| {
            let partitions = daemon.flow(FLOW).partitions;
            partitions.iter().filter(|partition| partition.mine).count()
        });
        match shares.iter().sum::<usize>() == PARTITIONS as usize && !shares.contains(&0) {
            true => Ok(()),
            false => Err(format!("{shares:?}")),
        }
    });
    expect_rate(&[&first, &second]);
}

/// Two clusters, with more on the source than is copied while it is looked.
struct Filled([InProcess; 2]);

impl Filled {
    #[track_caller]
    fn start() -> Filled {
        let clusters = [InProcess::start(1, &[]), InProcess::start(1, QUICK_GROUPS)];
        let from = Client::new(clusters[0].bootstrap());
        from.create_topic(TOPIC, PARTITIONS, &[]);
        let enough = (RATE as usize * 4 * LOOK.as_secs() as usize) / PARTITIONS as usize;
        fill(&from, TOPIC, 0..PARTITIONS, enough);
        Filled(clusters)
    }

    fn topology(&self) -> String {
        let [source, target] = self.0.each_ref().map(InProcess::bootstrap);
        let settings = format!(", limits: {{ bytes_per_second: {}MB }}", RATE / 1_000_000);
        topology(&source, &target, &settings)
    }
}

/// What these daemons copy together is what is allowed.
#[track_caller]
fn expect_rate(daemons: &[&Daemon]) {
    let copied = || -> u64 {
        let partitions = daemons.iter().flat_map(|daemon| daemon.flow(FLOW).partitions);
        partitions.map(|partition| partition.bytes_total).sum()
    };
    let begun = copied();
    let first = wait_for(LIMIT, "something is copied", || match copied() {
        bytes if bytes > begun => Ok(bytes),
        bytes => Err(bytes),
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
    let batch = 1_000_000.0 * daemons.len() as f64 / seconds;
    assert!(rate < RATE as f64 * 1.05 + batch, "{rate:.0} bytes a second");
    assert!(rate > RATE as f64 * 0.75 - batch, "{rate:.0} bytes a second");
}
