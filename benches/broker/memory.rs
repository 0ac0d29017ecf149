//! Memory: idle, at full load, with many partitions, with many connections.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::asked::Line;
use crate::greeting::greet;
use crate::load::{self, PARTITIONS};
use crate::server::{Kind, Server};
use crate::support::clients::Client;
use crate::support::{ports, wait_still};
use crate::table::{print, thousands};

/// Partitions of one topic, of which there are many.
const PARTITIONS_PER_TOPIC: i32 = 100;
/// How long memory may take to stand still.
const SETTLE: Duration = Duration::from_secs(20);

/// What is asked for, in megabytes.
const IDLE: f64 = 32.0;
const CONNECTIONS: f64 = 100.0;
const FULL_SPEED: f64 = 128.0;
const MANY_PARTITIONS: f64 = 256.0;

/// Runs and prints; returns what is asked for.
pub fn run(partitions: i32, connections: usize, gigabytes: f64, servers: &[Kind]) -> Vec<Line> {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let written = |megabytes: f64| format!("{megabytes:.0} MB");
    for &kind in servers {
        let mut ask = |what: &str, asked: f64, bytes: u64| {
            if kind != Kind::Kafka {
                let what = format!("{}: {what}", kind.name());
                lines.push(Line::at_most(what, asked, bytes as f64 / 1e6, written));
            }
        };
        let mut add = |what: String, bytes: u64, more: String| {
            let megabytes = format!("{:.0} MB", bytes as f64 / 1e6);
            rows.push(vec![format!("{}: {what}", kind.name()), megabytes, more]);
        };
        if let Some(mut server) = kind.start() {
            let idle = settled(&mut server);
            add("idle".to_owned(), idle, String::new());
            ask("memory when idle", IDLE, idle);
            let held: Vec<TcpStream> = connect(&server, connections);
            let with = settled(&mut server);
            let what = format!("more memory with {connections} idle connections");
            ask(&what, CONNECTIONS, with.saturating_sub(idle));
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
            ask("memory at full speed", FULL_SPEED, peak);
            add(
                "at full speed".to_owned(),
                peak,
                format!("{} records/s written", thousands(rate)),
            );
        }
        if let Some(mut server) = kind.start() {
            let took = create(&server.client(), partitions);
            let with = settled(&mut server);
            ask(
                &format!("memory with {partitions} partitions"),
                MANY_PARTITIONS,
                with,
            );
            add(
                format!("{partitions} partitions"),
                with,
                format!("created in {:.1} s", took.as_secs_f64()),
            );
        }
    }
    println!();
    print(&["", "memory", ""], &rows);
    lines
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
    // A client that has nothing to do has at least asked what there is.
    (0..connections).map(|_| greet(&server.bootstrap())).collect()
}

/// What it holds when that does not change any more.
fn settled(server: &mut Server) -> u64 {
    wait_still(SETTLE, "memory stands still", || server.usage().memory >> 18);
    server.usage().memory
}
