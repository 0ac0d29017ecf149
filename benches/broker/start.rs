//! From exec until a request is answered.

use std::time::Instant;

use crate::asked::Line;
use crate::greeting::answers;
use crate::load::{self, PARTITIONS};
use crate::memory::create;
use crate::server::{Kind, Server};
use crate::support::built_in::BuiltIn;
use crate::support::clients::Client;
use crate::table::{median, print};

/// What is asked for, in seconds.
const EMPTY: f64 = 0.05;
const CLEAN_STOP: f64 = 2.0;
/// Four times the log may take this much longer after a kill: what has to be read is the part that was not flushed.
const LONGER_LOG: f64 = 2.0;

/// Runs and prints; returns what is asked for.
pub fn run(partitions: i32, gigabytes: f64, runs: u32, servers: &[Kind]) -> Vec<Line> {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let in_seconds = |seconds: f64| format!("{seconds:.3} s");
    for &kind in servers {
        let mut ask = |what: &str, asked: f64, found: f64| {
            if kind != Kind::Kafka {
                let what = format!("{}: {what}", kind.name());
                lines.push(Line::at_most(what, asked, found, in_seconds));
            }
        };
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
        let seconds: Vec<f64> = (0..runs).filter_map(|_| empty()).collect();
        ask("start, empty", EMPTY, median(seconds.clone()));
        add("empty".to_owned(), seconds);
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
            let seconds: Vec<f64> = again(&mut built_in, |built_in| {
                assert!(built_in.stop().success(), "a clean end")
            });
            let what = format!("start, {partitions} partitions, clean stop");
            ask(&what, CLEAN_STOP, median(seconds.clone()));
            add(format!("{partitions} partitions, clean stop"), seconds);
            let seconds = again(&mut built_in, |built_in| built_in.process().kill());
            add(format!("{partitions} partitions, kill -9"), seconds);
        }
        let mut with_less = None;
        for gigabytes in [gigabytes / 4.0, gigabytes] {
            if let Some(Server::BuiltIn(mut built_in)) = kind.start() {
                let client = Client::new(built_in.bootstrap());
                client.create_topic("bench", PARTITIONS, &[("retention.ms", "-1")]);
                load::write(&client, "bench", load::SHAPE.records(gigabytes));
                let seconds: Vec<f64> = again(&mut built_in, |built_in| built_in.process().kill());
                let took = median(seconds.clone());
                if let Some(less) = with_less.replace(took) {
                    ask(
                        "start, kill -9, beside a quarter of the log",
                        LONGER_LOG * less,
                        took,
                    );
                }
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
    lines
}
