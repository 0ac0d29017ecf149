//! What a mirror costs and how fast it is, each figure beside another copier's in the same run.
//!
//! `cargo bench --bench mirror -- throughput|latency|start`; README.md beside this directory says how to read it.

#[path = "../common/records.rs"]
mod records;
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../common/table.rs"]
mod table;
#[path = "../common/usage.rs"]
mod usage;

mod copier;
mod data;
mod ends;
mod latency;
mod start;
mod throughput;

use clap::{Parser, Subcommand};

use crate::copier::Kind;

#[derive(Parser)]
#[command(about = "Measures mirrors beside each other")]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// `cargo bench` gives this to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Records a second, processor time and memory while a topic is copied from one Kafka to another.
    Throughput {
        /// Gigabytes of keys and values to copy.
        #[arg(long, default_value_t = 1.0)]
        gb: f64,
        /// Who copies, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "mm2,mm2-tuned,heliostat")]
        copiers: Vec<Kind>,
        /// How often each of them copies it.
        #[arg(long, default_value_t = 1)]
        runs: u32,
    },
    /// From the producer's send until the record can be read in the mirror, beside reading it on the source.
    Latency {
        /// Records a second.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        /// Seconds that are measured, after three that are not.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// Who copies: heliostat on built-in clusters and on Kafka, the others on Kafka.
        #[arg(long, value_delimiter = ',', default_value = "mm2,heliostat")]
        copiers: Vec<Kind>,
    },
    /// From the start of the process to the first record in the mirror.
    Start {
        /// Who starts: heliostat with built-in clusters and on running Kafkas, the others on running Kafkas.
        #[arg(long, value_delimiter = ',', default_value = "mm2,heliostat")]
        copiers: Vec<Kind>,
        /// How often; the median counts.
        #[arg(long, default_value_t = 3)]
        runs: u32,
    },
}

fn main() {
    if cfg!(debug_assertions) {
        println!(
            "This is a debug build: its figures say nothing about heliostat. `cargo bench` makes a release build.\n"
        );
    }
    match Arguments::parse().what {
        What::Throughput { gb, copiers, runs } => throughput::run(gb, &copiers, runs),
        What::Latency {
            rate,
            seconds,
            copiers,
        } => latency::run(rate, seconds, &copiers),
        What::Start { copiers, runs } => start::run(&copiers, runs),
    }
}
