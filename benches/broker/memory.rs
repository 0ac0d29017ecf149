//! Memory: idle, at full load, with many partitions, with many connections.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::{self, PARTITIONS};
use crate::server::{Kind, Server};
use crate::support::clients::Client;
use crate::support::{ports, wait_still};
use crate::table::{print, thousands};

/// Partitions of one topic, of which there are many.
const PARTITIONS_PER_TOPIC: i32 = 100;
/// How long memory may take to stand still.
const SETTLE: Duration = Duration::from_secs(20);

/// Runs and prints.
pub fn run(partitions: i32, connections: usize, gigabytes: f64, servers: &[Kind]) {
    let mut rows = Vec::new();
    for &kind in servers {
        let mut add = |what: String, bytes: u64, more: String| {
            let megabytes = format!("{:.0} MB", bytes as f64 / 1e6);
            rows.push(vec![format!("{}: {what}", kind.name()), megabytes, more]);
        };
        if let Some(mut server) = kind.start() {
            let idle = settled(&mut server);
            add("idle".to_owned(), idle, String::new());
            let held: Vec<TcpStream> = connect(&server, connections);
            let with = settled(&mut server);
            let more = with.saturating_sub(idle) as f64 / 1e6;
            add(
                format!("{} idle connections", held.len()),
                with,
                format!("{more:.0} MB more"),
            );
        }
        if let Some(mut server) = kind.start() {
            let rate = full_speed(&server, gigabytes);
            let peak = server.usage().peak_memory;
            add(
                "at full speed".to_owned(),
                peak,
                format!("{} records/s written", thousands(rate)),
            );
        }
        if let Some(mut server) = kind.start() {
            let took = create(&server.client(), partitions);
            let with = settled(&mut server);
            add(
                format!("{partitions} partitions"),
                with,
                format!("created in {:.1} s", took.as_secs_f64()),
            );
        }
    }
    println!();
    print(&["", "memory", ""], &rows);
    println!(
        "wanted: 32 MB idle, 128 MB at a million records a second, 256 MB with 10,000 partitions, \
         100 MB more with 5,000 idle connections"
    );
}

/// Creates topics that have this many partitions together, and returns how long it took.
pub fn create(client: &Client, partitions: i32) -> Duration {
    let started = Instant::now();
    let mut left = partitions;
    while left > 0 {
        let count = left.min(PARTITIONS_PER_TOPIC);
        client.create_topic(&format!("many-{left}"), count, &[]);
        left -= count;
    }
    started.elapsed()
}

fn full_speed(server: &Server, gigabytes: f64) -> f64 {
    let client = server.client();
    let records = load::SHAPE.records(gigabytes);
    client.create_topic("bench", PARTITIONS, &[("retention.ms", "-1")]);
    let took = load::write(&client, "bench", records);
    load::read(&client, "bench", records);
    records as f64 / took.as_secs_f64()
}

fn connect(server: &Server, connections: usize) -> Vec<TcpStream> {
    let address: std::net::SocketAddr = server.bootstrap().parse().expect("an address");
    assert_eq!(
        address.ip(),
        ports::loopback(address.port()).ip(),
        "it is on this machine"
    );
    let connect = |_| TcpStream::connect(address).expect("connect; `ulimit -n` must allow it");
    (0..connections).map(connect).collect()
}

/// What it holds when that does not change any more.
fn settled(server: &mut Server) -> u64 {
    wait_still(SETTLE, "memory stands still", || server.usage().memory >> 18);
    server.usage().memory
}
