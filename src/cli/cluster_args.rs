//! The arguments of `heliostat cluster` and `heliostat fault`, with the help that users see.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::args::OutputArg;
use super::typed;
use crate::topology::units::{parse_duration_text, parse_size_text};

pub(super) const CLUSTER_EXAMPLES: &str = "\
Examples:
  heliostat cluster brokers                        Who is up, and who leads how much
  heliostat cluster stop 2                         Close its port, and elect other leaders
  heliostat cluster start 2
  heliostat cluster isolate 1 --noticed-after 3s   Answer nothing; the others notice after 3 s
  heliostat cluster move-leader orders 0 3
  heliostat --log-level warn cluster --url http://127.0.0.1:8081 --cluster west brokers

It asks the HTTP server of heliostat run, or of heliostat broker --http ADDRESS, and only for
built-in clusters. Exit code 2: there is no such broker or partition; 3: it cannot be done as things are.";

pub(super) const FAULT_EXAMPLES: &str = "\
Examples:
  heliostat fault add error --api Produce --error NOT_LEADER_OR_FOLLOWER --count 3
  heliostat fault add error --api Fetch --error 1 --topic orders --skip 9 --count 1
  heliostat fault add delay --delay 500ms --client-id billing --fraction 0.1 --seed 7
  heliostat fault add cut --api Produce --takes-effect --count 1
  heliostat fault add full-disk --topic orders
  heliostat fault list
  heliostat fault remove --all

A fault stays until it is removed or the cluster ends; one with a count strikes so many times.";

/// Whom to ask.
#[derive(Debug, Args)]
pub struct WhereArgs {
    /// The address of the HTTP server
    #[arg(
        long,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    pub url: String,

    /// The built-in cluster; needed where there are several
    #[arg(long, value_name = "NAME", global = true)]
    pub cluster: Option<String>,
}

/// Arguments of `heliostat cluster`.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub at: WhereArgs,

    /// What to do.
    #[command(subcommand)]
    pub action: ClusterAction,
}

/// What can be done to a built-in cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterAction {
    /// Show the brokers: state, leaders, replicas
    Brokers {
        /// For people or programs
        #[arg(short, long, value_name = "FORMAT", default_value = "human")]
        output: OutputArg,
    },
    /// Stop a broker: its port is closed, and others lead what it led
    Stop {
        /// The broker's id
        #[arg(value_name = "BROKER", value_parser = typed::broker)]
        broker: i32,
    },
    /// Start a broker that was stopped, or reconnect one that was isolated
    Start {
        /// The broker's id
        #[arg(value_name = "BROKER", value_parser = typed::broker)]
        broker: i32,
    },
    /// Cut a broker off from its clients: it answers nothing until it is started
    Isolate {
        /// The broker's id
        #[arg(value_name = "BROKER", value_parser = typed::broker)]
        broker: i32,

        /// Cut its connections and refuse new ones, in place of answering nothing
        #[arg(long)]
        refuse: bool,

        /// When the rest of the cluster notices and elects other leaders: a time, or never
        #[arg(long, value_name = "TIME", default_value = "9s", value_parser = noticed_after)]
        noticed_after: NoticedAfter,
    },
    /// Make a broker the leader of a partition; it must be up and in sync
    MoveLeader {
        /// The topic
        #[arg(value_name = "TOPIC")]
        topic: String,
        /// The partition
        #[arg(value_name = "PARTITION", value_parser = typed::whole::<i32>)]
        partition: i32,
        /// The broker's id
        #[arg(value_name = "BROKER", value_parser = typed::broker)]
        broker: i32,
    },
    /// Take a replica out of the in-sync replicas of a partition, as if it had fallen behind
    ShrinkIsr {
        /// The topic
        #[arg(value_name = "TOPIC")]
        topic: String,
        /// The partition
        #[arg(value_name = "PARTITION", value_parser = typed::whole::<i32>)]
        partition: i32,
        /// The broker's id
        #[arg(value_name = "BROKER", value_parser = typed::broker)]
        broker: i32,
    },
    /// Let all replicas of a partition be in sync again
    RestoreIsr {
        /// The topic
        #[arg(value_name = "TOPIC")]
        topic: String,
        /// The partition
        #[arg(value_name = "PARTITION", value_parser = typed::whole::<i32>)]
        partition: i32,
    },
}

/// A time, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoticedAfter(pub Option<Duration>);

/// Arguments of `heliostat fault`.
#[derive(Debug, Args)]
pub struct FaultArgs {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub at: WhereArgs,

    /// What to do.
    #[command(subcommand)]
    pub action: FaultAction,
}

/// What can be done about faults.
#[derive(Debug, Subcommand)]
pub enum FaultAction {
    /// Add a fault, which takes effect at once; prints its number
    Add(Box<FaultAddArgs>),
    /// Show the faults, and what they have hit
    List {
        /// For people or programs
        #[arg(short, long, value_name = "FORMAT", default_value = "human")]
        output: OutputArg,
    },
    /// Remove a fault
    Remove {
        /// The fault's number
        #[arg(value_name = "ID", required_unless_present = "all", value_parser = typed::whole::<u64>)]
        id: Option<u64>,

        /// Remove all of them
        #[arg(long, conflicts_with = "id")]
        all: bool,
    },
}

/// Arguments of `heliostat fault add`.
#[derive(Debug, Args)]
pub struct FaultAddArgs {
    /// What goes wrong: error, delay, cut, refuse, slow-disk, full-disk, failed-fsync or clock
    #[arg(value_name = "KIND")]
    pub kind: String,

    /// The error code, by Kafka's name or by number (error)
    #[arg(long, value_name = "CODE")]
    pub error: Option<String>,

    /// How long a request, or each access to the disk, is held up (delay, slow-disk)
    #[arg(long, value_name = "TIME", value_parser = parse_duration_text)]
    pub delay: Option<Duration>,

    /// Let the request take effect before its connection is cut (cut)
    #[arg(long)]
    pub takes_effect: bool,

    /// How many bytes still fit (full-disk)
    #[arg(long, value_name = "SIZE", value_parser = parse_size_text)]
    pub room: Option<u64>,

    /// How far the clock is ahead (clock)
    #[arg(long, value_name = "TIME", value_parser = parse_duration_text)]
    pub ahead: Option<Duration>,

    /// How far the clock is behind (clock)
    #[arg(long, value_name = "TIME", value_parser = parse_duration_text, conflicts_with = "ahead")]
    pub behind: Option<Duration>,

    /// Only requests of this API, by Kafka's name or by key
    #[arg(long, value_name = "API")]
    pub api: Option<String>,

    /// Only requests of clients with this client.id
    #[arg(long, value_name = "NAME")]
    pub client_id: Option<String>,

    /// Only requests that name this topic, or only its logs
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,

    /// Only requests to this broker
    #[arg(long, value_name = "BROKER", value_parser = typed::broker)]
    pub broker: Option<i32>,

    /// Let so many pass first
    #[arg(long, value_name = "COUNT", value_parser = typed::whole::<u64>)]
    pub skip: Option<u64>,

    /// Strike so many times, and no more
    #[arg(long, value_name = "COUNT", value_parser = typed::whole::<u64>)]
    pub count: Option<u64>,

    /// Strike this share of them, from 0 to 1
    #[arg(long, value_name = "SHARE")]
    pub fraction: Option<f64>,

    /// What the share is drawn with, to hit the same ones again
    #[arg(long, value_name = "NUMBER", requires = "fraction", value_parser = typed::whole::<u64>)]
    pub seed: Option<u64>,
}

fn noticed_after(text: &str) -> Result<NoticedAfter, String> {
    if text == "never" {
        return Ok(NoticedAfter(None));
    }
    parse_duration_text(text).map(|time| NoticedAfter(Some(time)))
}
