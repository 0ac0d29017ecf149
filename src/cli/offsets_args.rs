//! The arguments of `heliostat offsets`, with the help that users see.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

pub(super) const OFFSETS_EXAMPLES: &str = "\
Examples:
  heliostat offsets topology.yaml --topic orders --partition 0 --offset 1234
  heliostat offsets topology.yaml --group billing       Where the group's offsets are in the mirrors
  heliostat offsets topology.yaml --group billing -o csv > billing.csv
  heliostat offsets topology.yaml --from-file billing.csv
  heliostat offsets topology.yaml --reverse --topic primary.orders --partition 0 --offset 1236

What -o csv prints is what kafka-consumer-groups --reset-offsets --from-file takes on the other
cluster. Offsets come from the offset map on the target: no daemon has to run, and the source is
needed for --group only. An offset is meant as consumers commit it: the next one to read.

Exit codes: 2 there is no such topic or flow; 3 a cluster does not answer, or there is nothing to
translate; 7 for some offsets there is no answer, and the reasons are on standard error.";

/// Arguments of `heliostat offsets`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["offset", "group", "from_file"]))]
pub struct OffsetsArgs {
    /// The topology file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The flow, such as 'primary->standby'; needed where the file has several
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<String>,

    /// From the mirror to the source, in place of the other way round
    #[arg(long)]
    pub reverse: bool,

    /// The topic on the cluster where the offsets are from; with --group and --from-file only these, may be repeated
    #[arg(long = "topic", value_name = "NAME")]
    pub topics: Vec<String>,

    /// The partition of --offset
    #[arg(long, value_name = "NUMBER", requires = "offset", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,

    /// One offset; needs --topic and --partition
    #[arg(long, value_name = "OFFSET", requires = "partition", requires = "topics", allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    pub offset: Option<i64>,

    /// All offsets that this consumer group has committed
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,

    /// Offsets of a file with lines of topic,partition,offset; - is standard input
    #[arg(long, value_name = "CSV")]
    pub from_file: Option<PathBuf>,

    /// For people, for programs, or for kafka-consumer-groups
    #[arg(short, long, value_name = "FORMAT", default_value = "human")]
    pub output: OffsetsOutputArg,
}

/// The form of the answer: a table, JSON, or lines of topic,partition,offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OffsetsOutputArg {
    #[allow(missing_docs)]
    Human,
    #[allow(missing_docs)]
    Json,
    #[allow(missing_docs)]
    Csv,
}
