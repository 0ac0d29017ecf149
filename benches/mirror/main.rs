//! What a mirror costs and how fast it is, each figure beside another copier's in the same run.
//!
//! `cargo bench --bench mirror -- all|throughput|topics|latency|start|handover|relay`; README.md beside this directory says how to read it.

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
mod given;
mod handover;
mod latency;
mod relay;
mod start;
mod throughput;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::copier::Kind;
use crate::data::Batches;
use crate::throughput::Task;

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
        #[command(flatten)]
        task: Task,
        /// Who copies, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "mm2,mm2-tuned,heliostat")]
        copiers: Vec<Kind>,
    },
    /// Many small topics: from the start until all are copied, and what the copier uses afterwards, when nothing happens.
    Topics {
        /// How many topics, of 2 partitions and 10 records each.
        #[arg(long, default_value_t = 1_000)]
        topics: u32,
        /// Seconds for which the copier is watched when all is copied.
        #[arg(long, default_value_t = 30)]
        idle: u64,
        /// Who copies, one after the other.
        #[arg(long, value_delimiter = ',', default_value = "mm2,heliostat")]
        copiers: Vec<Kind>,
        /// Where the clusters keep their data: in memory where there is /dev/shm, elsewhere among temporary files. On a disk it
        /// is the target's that is measured.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// What it costs at least: a relay that receives and sends bytes and looks at none of them.
    Relay {
        /// Gigabytes that it moves.
        #[arg(long, default_value_t = 4.0)]
        gb: f64,
    },
    /// From the producer's send until the record can be read in the mirror, beside reading it on the source.
    Latency {
        /// Records a second.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        /// Seconds that are measured, after thirty that are not.
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
    /// Everything, one after the other, and at the end one table of what is asked for, what MirrorMaker 2 does, and what heliostat does.
    All {
        /// Gigabytes of keys and values for the copies of large batches.
        #[arg(long, default_value_t = 2.0)]
        gb: f64,
    },
    /// How long partitions stand still when a daemon comes, is told to end, or is killed.
    Handover {
        /// How often.
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
    let lines = match Arguments::parse().what {
        What::All { gb } => all(gb),
        What::Throughput { task, copiers } => throughput::run(task, &copiers),
        What::Topics {
            topics,
            idle,
            copiers,
            data,
        } => topics::run(topics, Duration::from_secs(idle), &copiers, data),
        What::Relay { gb } => relay::run(gb),
        What::Latency {
            rate,
            seconds,
            copiers,
        } => latency::run(rate, seconds, &copiers),
        What::Start { copiers, runs } => start::run(&copiers, runs),
        What::Handover { runs } => handover::run(runs),
    };
    table::print_lines(&lines);
}

fn all(gb: f64) -> Vec<table::Line> {
    let copiers = [Kind::Mm2Tuned, Kind::Heliostat];
    let copy = |task| throughput::run(task, &copiers);
    let plain = [Kind::Mm2, Kind::Heliostat];
    let parts = [
        relay::run(4.0),
        copy(Task::of(gb)),
        copy(Task::of(gb).batches(Batches::Uncompressed)),
        copy(Task::of(gb / 10.0).batches(Batches::Small)),
        copy(Task::of(gb).partitions(200)),
        copy(Task::of(gb / 4.0).round_trip(100)),
        copy(Task::of(gb / 4.0).batches(Batches::Middle).round_trip(100)),
        latency::run(1_000, 10, &[Kind::Mm2, Kind::Mm2ExactlyOnce, Kind::Heliostat]),
        start::run(&plain, 3),
        handover::run(2),
        // The last one: its clusters keep their data elsewhere, and those of any later one would too.
        topics::run(1_000, Duration::from_secs(30), &plain, None),
    ];
    parts.into_iter().flatten().collect()
}
