//! Kill -9 of the daemon, again and again, at moments that nobody chose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rdkafka::consumer::Consumer as _;

use super::{LIMIT, MIRROR, Pair, wait_mirrored, wait_more};
use crate::support::clients::Client;
use crate::support::daemon::Daemon;
use crate::support::load::number;
use crate::support::rec::Rec;
use crate::support::wait_until;

const KILLS: usize = 10;

/// Records a second, over all partitions.
const RATE: u32 = 2_000;

/// A copy that was made longer before a kill than this is on record by then, and is not made again. Facts are written
/// once a second.
const ON_RECORD: Duration = Duration::from_secs(2);

/// What a killed process had handed to the system may still arrive.
const STILL_ARRIVING: Duration = Duration::from_secs(1);

/// How often the mirror's log ends are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A number that says which moments were chosen; the environment can give one that failed before.
fn seed() -> u64 {
    let seed = std::env::var("HELIOSTAT_TEST_SEED").ok();
    let seed = seed.map(|text| text.parse().expect("HELIOSTAT_TEST_SEED is a number"));
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("HELIOSTAT_TEST_SEED={seed} chooses the same moments again");
    seed
}

#[test]
fn a_daemon_killed_ten_times_loses_nothing_and_repeats_only_the_last_second_or_so() {
    let mut random = StdRng::seed_from_u64(seed());
    let pair = Pair::start(3);
    let mut daemon = Daemon::start(&pair.topology());
    let load = pair.load(RATE);
    wait_mirrored(&pair.target(), 1);
    let growth = Growth::watch(pair.target());
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        // From before it is ready to well after it copies.
        wait_more(&load, random.random_range(500..5_000));
        kills.push(Instant::now());
        daemon.process().kill();
        daemon.respawn();
    }
    daemon.wait_ready();
    let finished = pair.finish(load, &daemon);
    let growth = growth.stop();
    finished.verdict.expect_complete();
    let lives = kills
        .windows(2)
        .filter(|life| growth.grew_between(life[0], life[1]))
        .count();
    assert!(
        lives >= KILLS / 3,
        "only {lives} lives of the daemon were long enough to copy anything"
    );
    for partition in 0..pair.partitions {
        judge_repeats(partition, &finished.mirror, &growth, &kills);
    }
}

/// Panics unless a partition's records are runs without holes, of which each begins where a kill explains it: it repeats
/// only what was copied shortly before.
fn judge_repeats(partition: i32, mirror: &[Rec], growth: &Grown, kills: &[Instant]) {
    let mut copied: BTreeMap<u64, i64> = BTreeMap::new();
    let mut last: Option<u64> = None;
    let mut runs = 0;
    for record in mirror.iter().filter(|record| record.partition == partition) {
        let number = of(record);
        let expected = last.map_or(0, |last| last + 1);
        assert!(
            number <= expected,
            "partition {partition}: {number} at offset {} leaves out {expected}",
            record.offset
        );
        runs += usize::from(number < expected);
        if let Some(before) = copied.insert(number, record.offset) {
            let at = growth.written_at(partition, before);
            let explained = kills
                .iter()
                .any(|&kill| at <= kill + STILL_ARRIVING && kill <= at + ON_RECORD);
            assert!(
                explained,
                "partition {partition}: {number}, copied to offset {before}, is there again at {}, although no kill came \
                 within {ON_RECORD:?}: the next one came after {:?}",
                record.offset,
                kills.iter().find(|&&kill| kill >= at).map(|&kill| kill - at)
            );
        }
        last = Some(number);
    }
    assert!(
        runs <= kills.len(),
        "partition {partition} went back {runs} times"
    );
}

fn of(record: &Rec) -> u64 {
    let name = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
    number(&name, record.value.as_deref().unwrap_or_default()).expect("a number of the load")
}

/// Watches the mirror's log ends over time.
struct Growth {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(Instant, Vec<i64>)>>,
}

/// What was seen of them.
struct Grown {
    samples: Vec<(Instant, Vec<i64>)>,
}

impl Growth {
    fn watch(target: Client) -> Growth {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let consumer = target.consumer();
            let partitions = target.partitions(MIRROR).expect("the mirror is there");
            let end = |partition| {
                let (_, end) = consumer
                    .fetch_watermarks(MIRROR, partition, LIMIT)
                    .expect("the target answers");
                end
            };
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let ends = (0..partitions).map(end).collect();
                let at = Instant::now();
                samples.push((at, ends));
                wait_until(LIMIT, "it is time for another look", || {
                    at.elapsed() >= LOOK_EVERY
                });
            }
            samples
        });
        Growth { stop, thread }
    }

    fn stop(self) -> Grown {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.join().expect("the watch does not panic");
        Grown { samples }
    }
}

impl Grown {
    /// When the record at `offset` was there.
    fn written_at(&self, partition: i32, offset: i64) -> Instant {
        let after = self
            .samples
            .partition_point(|(_, ends)| ends[partition as usize] <= offset);
        let (at, _) = self.samples.get(after).expect("the watch went on to the end");
        *at
    }

    /// Whether anything was copied between two moments.
    fn grew_between(&self, from: Instant, to: Instant) -> bool {
        let at = |moment| {
            let after = self.samples.partition_point(|(at, _)| *at <= moment);
            self.samples.get(after).map(|(_, ends)| ends)
        };
        at(from) != at(to)
    }
}
