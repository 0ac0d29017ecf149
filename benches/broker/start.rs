//! From exec until a request is answered.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::{self, PARTITIONS};
use crate::memory::create;
use crate::server::{Kind, Server};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::table::{median, print};

/// Runs and prints.
pub fn run(partitions: i32, gigabytes: f64, runs: u32, servers: &[Kind]) {
    let mut rows = Vec::new();
    for &kind in servers {
        let mut add = |what: String, seconds: Vec<f64>| {
            let each: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.3}")).collect();
            let median = format!("{:.3} s", median(seconds));
            rows.push(vec![format!("{}: {what}", kind.name()), median, each.join(" ")]);
        };
        let empty = || {
            let started = Instant::now();
            kind.start().map(|server| {
                answers(&server.bootstrap());
                started.elapsed().as_secs_f64()
            })
        };
        add("empty".to_owned(), (0..runs).filter_map(|_| empty()).collect());
        let again = |built_in: &mut BuiltIn, end: fn(&mut BuiltIn)| {
            let once = |_| {
                end(built_in);
                let started = Instant::now();
                built_in.restart();
                answers(&built_in.bootstrap());
                started.elapsed().as_secs_f64()
            };
            (0..runs).map(once).collect()
        };
        if let Some(Server::BuiltIn(mut built_in)) = kind.start() {
            create(&Client::new(built_in.bootstrap()), partitions);
            let seconds = again(&mut built_in, |built_in| {
                assert!(built_in.stop().success(), "a clean end")
            });
            add(format!("{partitions} partitions, clean stop"), seconds);
            let seconds = again(&mut built_in, |built_in| built_in.process().kill());
            add(format!("{partitions} partitions, kill -9"), seconds);
        }
        for gigabytes in [gigabytes / 4.0, gigabytes] {
            if let Some(Server::BuiltIn(mut built_in)) = kind.start() {
                let client = Client::new(built_in.bootstrap());
                client.create_topic("bench", PARTITIONS, &[("retention.ms", "-1")]);
                load::write(&client, "bench", load::SHAPE.records(gigabytes));
                let seconds = again(&mut built_in, |built_in| built_in.process().kill());
                add(format!("{gigabytes} GB in the log, kill -9"), seconds);
            }
        }
    }
    println!();
    print(
        &[
            "from exec until it has said what topics it has",
            "median",
            "each, in seconds",
        ],
        &rows,
    );
    println!("wanted: 0.05 s empty, 2 s with 10,000 partitions after a clean stop");
}

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for the metadata of all topics (version 1: no client id, no list of topics), and waits for the whole answer. That it can be
/// connected to says little: the system accepts connections for a process that does not look at them yet.
fn answers(address: &str) {
    let request = [
        0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let mut server = TcpStream::connect(address).expect("connect");
    server.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
    server.write_all(&request).expect("ask for metadata");
    let mut size = [0; 4];
    server.read_exact(&mut size).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(size) as usize];
    server.read_exact(&mut answer).expect("a whole answer");
}
