//! What the built-in cluster costs and how fast it is, each figure beside Apache Kafka's in the same run.
//!
//! `cargo bench --bench broker -- all|throughput|latency|memory|start`; README.md beside this directory says how to read it.

#[path = "../common/records.rs"]
mod records;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../common/table.rs"]
mod table;
#[path = "../common/usage.rs"]
mod usage;

mod asked;
mod greeting;
mod latency;
mod load;
mod memory;
mod server;
mod start;
mod throughput;

use clap::{Parser, Subcommand};

use crate::server::Kind;

#[derive(Parser)]
#[command(about = "Measures the built-in cluster beside Apache Kafka")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// `cargo bench` gives this to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Records a second and processor time while a topic is written and read, by librdkafka and by Kafka's perf tools.
    Throughput {
        /// Gigabytes of keys and values for each client.
        #[arg(long, default_value_t = 1.0)]
        gb: f64,
        /// Who serves, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "kafka,heliostat,heliostat-os")]
        servers: Vec<Kind>,
        /// How often.
        #[arg(long, default_value_t = 1)]
        runs: u32,
    },
    /// From the producer's send until the acknowledgement.
    Latency {
        /// Records a second.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        /// Seconds that are measured, after three that are not.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// Who serves, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "kafka,heliostat-os,heliostat")]
        servers: Vec<Kind>,
    },
    /// Memory when idle, at full load, with many partitions, and with many connections.
    Memory {
        /// Partitions to create.
        #[arg(long, default_value_t = 10_000)]
        partitions: i32,
        /// Connections to hold.
        #[arg(long, default_value_t = 5_000)]
        connections: usize,
        /// Gigabytes to write and read at full speed.
        #[arg(long, default_value_t = 1.0)]
        gb: f64,
        /// Who serves, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "kafka,heliostat")]
        servers: Vec<Kind>,
    },
    /// Everything, one after the other, and at the end one table of what is asked for, what Kafka does, what the built-in cluster does, and
    /// whether that holds.
    All {
        /// Gigabytes of keys and values.
        #[arg(long, default_value_t = 1.0)]
        gb: f64,
    },
    /// From exec until a request is answered: empty, with many partitions, and after kill -9.
    Start {
        /// Partitions to create.
        #[arg(long, default_value_t = 10_000)]
        partitions: i32,
        /// Gigabytes in the log before the kill.
        #[arg(long, default_value_t = 1.0)]
        gb: f64,
        /// How often; the median counts.
        #[arg(long, default_value_t = 3)]
        runs: u32,
        /// Who starts. Kafka starts empty only.
        #[arg(long, value_delimiter = ',', default_value = "kafka,heliostat")]
        servers: Vec<Kind>,
    },
}

fn main() {
    if cfg!(debug_assertions) {
        println!(
            "This is a debug build: its figures say nothing about heliostat. `cargo bench` makes a release build.\n"
        );
    }
    let lines = match Arguments::parse().what {
        What::All { gb } => all(gb),
        What::Throughput { gb, servers, runs } => throughput::run(gb, &servers, runs),
        What::Latency {
            rate,
            seconds,
            servers,
        } => latency::run(rate, seconds, &servers),
        What::Memory {
            partitions,
            connections,
            gb,
            servers,
        } => memory::run(partitions, connections, gb, &servers),
        What::Start {
            partitions,
            gb,
            runs,
            servers,
        } => start::run(partitions, gb, runs, &servers),
    };
    asked::print(&lines);
}

fn all(gb: f64) -> Vec<asked::Line> {
    let servers = [Kind::Kafka, Kind::HeliostatOs, Kind::Heliostat];
    let parts = [
        throughput::run(gb, &servers, 1),
        latency::run(1_000, 10, &servers),
        memory::run(10_000, 5_000, gb, &servers[2..]),
        start::run(10_000, gb, 3, &servers[2..]),
    ];
    parts.into_iter().flatten().collect()
}
