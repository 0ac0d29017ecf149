//! Good frames that were broken in one or a few places, by the ten thousand.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use heliostat_broker::{Cluster, ClusterConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::frames::{Sample, good_frames};
use crate::{
    client::Client,
    records::{batch, fetch, id_of, produce, values},
};

pub const SEED: &str = "HELIOSTAT_TEST_SEED";
const CONNECTIONS: usize = 8;
const FRAMES_PER_CONNECTION: usize = 3000;

/// Frames that are read and written anew, without a broker behind: what a broker reads it never writes.
const READ_ONLY_FRAMES: usize = 250_000;

/// Some broken requests are good ones that wait; nobody waits with them.
const ANSWER_PATIENCE: Duration = Duration::from_millis(50);

/// Lengths and counts that are likely to be mistaken for others.
const NUMBERS: [i32; 10] = [
    -1,
    -2,
    0,
    1,
    i32::MAX,
    i32::MIN,
    0x7fff,
    0x00ff_ffff,
    0x0fff_ffff,
    1 << 30,
];

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// Breaks a frame, and puts a size before it: mostly the right one.
pub fn broken(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut frame = good.to_vec();
    for _ in 0..=random.below(3) {
        break_once(&mut frame, random);
    }
    let size = match random.below(20) {
        0 => NUMBERS[random.below(NUMBERS.len())],
        1 => frame.len() as i32 + 1 - random.below(3) as i32,
        _ => frame.len() as i32,
    };
    [&size.to_be_bytes()[..], &frame].concat()
}

pub fn break_once(frame: &mut Vec<u8>, random: &mut Random) {
    // The API and its version stay mostly as they are: what follows them is more interesting.
    let first = if random.below(16) == 0 { 0 } else { 8 };
    if frame.len() <= first {
        return;
    }
    let at = first + random.below(frame.len() - first);
    match random.below(7) {
        0 => frame.truncate(at),
        1 => frame[at] ^= 1 << random.below(8),
        2 => frame[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
        3 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_be_bytes();
            let end = frame.len().min(at + number.len());
            frame[at..end].copy_from_slice(&number[..end - at]);
        }
        4 => drop(frame.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x07])),
        5 => {
            let end = at + random.below((frame.len() - at).min(40)) + 1;
            let part = frame[at..end].to_vec();
            drop(frame.splice(at..at, part));
        }
        _ => drop(frame.drain(at..(at + 1 + random.below(4)).min(frame.len()))),
    }
}

async fn attack(address: SocketAddr, frames: Arc<Vec<Sample>>, seed: u64) {
    let mut random = Random(seed);
    let mut answer = vec![0; 64 * 1024];
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..FRAMES_PER_CONNECTION {
        let frame = broken(&frames[random.below(frames.len())].frame, &mut random);
        let written = stream.write_all(&frame).await;
        let answered = timeout(ANSWER_PATIENCE, stream.read(&mut answer)).await;
        if written.is_err() || !matches!(answered, Ok(Ok(1..))) {
            stream = TcpStream::connect(address).await.unwrap();
        }
    }
}

async fn start(data: &std::path::Path) -> Cluster {
    let properties = [("auto.create.topics.enable", "false")];
    Cluster::start(ClusterConfig {
        data: Some(data.to_owned()),
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_neither_kill_nor_confuse_the_broker() {
    let seed: u64 = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("{SEED}={seed}");
    let panics = count_panics();
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let mut client = Client::of(&cluster).await;
    client.create_topic("t", 2, &[]).await;
    let frames = Arc::new(good_frames(id_of(&mut client, "t").await));

    let attacks: Vec<_> = (0..CONNECTIONS as u64)
        .map(|turn| {
            tokio::spawn(attack(
                cluster.addresses()[0],
                frames.clone(),
                seed ^ (turn << 32),
            ))
        })
        .collect();
    for attack in attacks {
        attack.await.unwrap();
    }
    assert_eq!(panics.load(Ordering::SeqCst), 0, "{SEED}={seed}");

    client.create_topic("after", 1, &[]).await;
    let produced = produce(&mut client, "after", 0, batch(&["still", "here"])).await;
    assert_eq!(produced.error_code, 0, "{SEED}={seed}");
    cluster.shutdown(Duration::from_secs(1)).await;
    let cluster = start(directory.path()).await;
    let mut client = Client::of(&cluster).await;
    let fetched = fetch(&mut client, "after", 0).await;
    assert_eq!(values(&fetched.records), ["still", "here"], "{SEED}={seed}");
}

#[test]
fn broken_frames_are_read_and_written_or_refused() {
    let seed: u64 = std::env::var(SEED).map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("{SEED}={seed}");
    let mut random = Random(seed);
    let samples = good_frames(heliostat_wire::Uuid::from_bytes([7; 16]));
    for turn in 0..READ_ONLY_FRAMES {
        let sample = &samples[turn % samples.len()];
        let frame = broken(&sample.frame, &mut random).split_off(4);
        // The process would not survive memory that is taken for a count from outside; a panic is shown with its turn.
        let read = std::panic::catch_unwind(|| (sample.read)(frame.clone().into()));
        assert!(read.is_ok(), "{SEED}={seed} turn {turn}: {frame:02x?}");
    }
}

/// Counts panics from now on, wherever they happen: those in a connection's task would only close it.
pub fn count_panics() -> Arc<AtomicUsize> {
    let panics = Arc::new(AtomicUsize::new(0));
    let (counted, previous) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let ours = panic
            .location()
            .is_some_and(|location| !location.file().contains("tests/"));
        counted.fetch_add(ours.into(), Ordering::SeqCst);
        previous(panic);
    }));
    panics
}
