//! The arguments of every command, with the help that users see.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::check::EXAMPLE_TOPIC;
use super::cluster_args::{CLUSTER_EXAMPLES, ClusterArgs, FAULT_EXAMPLES, FaultArgs};
use super::logging::LogFormat;
use super::offsets_args::{OFFSETS_EXAMPLES, OffsetsArgs};
use super::sasl_args::{BrokerSaslArgs, ClientSaslArgs};
use super::typed;
use super::view::PARTITIONS_SHOWN;
use crate::VERSION;
use crate::observe::events::EventKind;

const ABOUT: &str = "Mirrors topics between Kafka clusters";

const EXAMPLES: &str = "\
Examples:
  heliostat run topologies/active-standby.yaml     Start two clusters, mirror one to the other
  heliostat check topologies/hub-and-spoke.yaml    See which flows a file means
  heliostat status topologies/active-standby.yaml  See where they stand

Exit codes:
  0    done
  1    failed
  2    wrong arguments, or a wrong topology file
  3    something is missing or in the way, and nothing was changed
  7    done in part (offsets)
  8    a flow is not healthy (status --check)
  130  ended by Ctrl-C";

const RUN_EXAMPLES: &str = "\
Examples:
  heliostat run topologies/active-standby.yaml
  heliostat run topology.yaml --log-format json 2>heliostat.log

SIGTERM and Ctrl-C end it in order: what was read is written, and positions are recorded.
A second Ctrl-C ends it at once.";

const CHECK_EXAMPLES: &str = "\
Examples:
  heliostat check topologies/hub-and-spoke.yaml
  heliostat check topology.yaml --topic orders --topic payments.v1
  heliostat check topology.yaml --connect          Ask the clusters for their topics
  heliostat check topology.yaml -o json | jq '.topics[].steps[].outcome'

All that is wrong with the file goes to standard error, each with its line and what to write
instead; the exit code is then 2. Warnings are shown too, and leave it at 0.

With --connect, two aliases for one cluster are an error as well (2), and a cluster that does
not answer within 10 s gives 3. A built-in one that does not run is started by heliostat run.
Nothing is changed anywhere.";

const STATUS_EXAMPLES: &str = "\
Examples:
  heliostat status                             Ask the daemon on this machine
  heliostat status topology.yaml --watch       Ask the daemon of a file, and again every second
  heliostat status topology.yaml --clusters    Ask the clusters themselves
  heliostat status --flow 'primary->standby' -o json
  heliostat status --check || alert            Exit code 8 if a flow is not healthy";

const EVENTS_EXAMPLES: &str = "\
Examples:
  heliostat events                             Ask the daemon on this machine
  heliostat events topology.yaml --follow      Go on with what happens, until Ctrl-C
  heliostat events --flow 'primary->standby' --kind quarantined
  heliostat events --since 1200 -o json | jq -r .reason";

const PAUSE_EXAMPLES: &str = "\
Examples:
  heliostat pause topology.yaml --topic orders --reason maintenance
  heliostat pause topology.yaml --flow 'primary->standby'
  heliostat pause topology.yaml --topic orders --partition 3

It is written down on the target: no daemon has to run, every daemon of the flow heeds it within
a second, and it holds until it is resumed, also for topics and partitions that are still to come.";

const RESUME_EXAMPLES: &str = "\
Examples:
  heliostat resume topology.yaml --topic orders
  heliostat resume topology.yaml --flow 'primary->standby' --all

It takes back what was paused under exactly this name. What is paused with something wider (a topic
of a paused flow) cannot be resumed by itself: exit code 3. With --all, parts that were paused on
their own are resumed too.";

const BROKER_EXAMPLES: &str = "\
Examples:
  heliostat broker                               On 127.0.0.1:9092, with data that goes with it
  heliostat broker --port 19092 --data ./data    On another port, with data that stays
  heliostat broker --brokers 3                   Three brokers, on 9092, 9093 and 9094
  heliostat broker --config log.retention.hours=1 --config num.partitions=6
  heliostat broker --user app=env:APP_PASSWORD    Asks who connects
  heliostat broker --brokers 3 --http 127.0.0.1:8080    For heliostat cluster and heliostat fault";

const PRODUCE_EXAMPLES: &str = "\
Examples:
  echo hello | heliostat produce --bootstrap-server 127.0.0.1:9092 --topic orders
  seq 1000 | sed 's/.*/key-&:value-&/' |
    heliostat produce --bootstrap-server 127.0.0.1:9092 --topic orders --key-separator :";

const CONSUME_EXAMPLES: &str = "\
Examples:
  heliostat consume --bootstrap-server 127.0.0.1:9092 --topic orders --from-beginning
  heliostat consume --bootstrap-server 127.0.0.1:9092 --topic orders --max-messages 10 --verbose";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  heliostat completions bash > ~/.local/share/bash-completion/completions/heliostat
  heliostat completions zsh > ~/.zfunc/_heliostat
  heliostat completions fish > ~/.config/fish/completions/heliostat.fish";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "heliostat", version = VERSION, about = ABOUT, after_help = EXAMPLES, max_term_width = 120)]
pub struct Cli {
    /// What every command has.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to log.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log options")]
pub struct LogArgs {
    /// The form of log lines, which go to standard error
    #[arg(
        long = "log-format",
        value_name = "FORMAT",
        default_value = "human",
        global = true
    )]
    pub format: LogFormatArg,
    /// What to log: off, error, warn, info, debug, trace, or filters such as info,heliostat::flow=debug
    #[arg(
        long = "log-level",
        value_name = "LEVEL",
        default_value = "info",
        global = true
    )]
    pub level: String,
}

/// The form of log lines: for people, or one JSON object to a line.
// A doc comment on a value would make every help text three times as long.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormatArg {
    #[allow(missing_docs)]
    Human,
    #[allow(missing_docs)]
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the built-in clusters of a topology, then mirror until told to stop
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Check a topology file and show what it means
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Show flows and partitions: state, position, lag
    #[command(after_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Show what has happened to flows and partitions
    #[command(after_help = EVENTS_EXAMPLES)]
    Events(EventsArgs),
    /// Translate offsets between topics and their mirrors, in either direction
    #[command(after_help = OFFSETS_EXAMPLES)]
    Offsets(OffsetsArgs),
    /// Stop copying a flow, a topic or a partition until it is resumed
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(PauseArgs),
    /// Copy again what was paused
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(ResumeArgs),
    /// Start one built-in cluster on its own
    #[command(after_help = BROKER_EXAMPLES)]
    Broker(BrokerArgs),
    /// Stop, start and isolate the brokers of a built-in cluster, and move leaders
    #[command(after_help = CLUSTER_EXAMPLES)]
    Cluster(ClusterArgs),

    /// Make a built-in cluster misbehave on demand
    #[command(after_help = FAULT_EXAMPLES)]
    Fault(FaultArgs),

    /// Write lines from standard input as records
    #[command(after_help = PRODUCE_EXAMPLES)]
    Produce(ProduceArgs),
    /// Read records as lines
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(ConsumeArgs),
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
}

/// Arguments of `heliostat run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The topology file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Let other machines pause flows, and stop and break the built-in clusters, too, where the HTTP server listens for them
    #[arg(long)]
    pub open_control: bool,
}

/// Arguments of `heliostat check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The topology file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Show what becomes of this topic; may be repeated
    #[arg(long = "topic", value_name = "NAME", help = topic_help(), value_parser = typed::topic)]
    pub topics: Vec<String>,
    /// Ask every cluster too: whether it answers, and what becomes of the topics that it has
    #[arg(long)]
    pub connect: bool,
    /// For people or programs
    #[arg(short, long, value_name = "FORMAT", default_value = "human")]
    pub output: OutputArg,
}

/// Arguments of `heliostat status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The topology file, which says where its daemon listens and which clusters can be asked if it does not answer
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The daemon's address [default: that of the file, or http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", conflicts_with = "clusters")]
    pub url: Option<String>,
    /// Ask the clusters themselves, not the daemon
    #[arg(long, requires = "file")]
    pub clusters: bool,
    /// Only this flow, such as 'primary->standby'
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<String>,
    /// Look again every second, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Exit with code 8 if a flow is not healthy
    #[arg(long)]
    pub check: bool,
    /// How many partitions of each flow to show
    #[arg(long, value_name = "COUNT", default_value_t = PARTITIONS_SHOWN, value_parser = typed::whole::<usize>)]
    pub partitions: usize,
    /// For people or programs
    #[arg(short, long, value_name = "FORMAT", default_value = "human")]
    pub output: OutputArg,
}

/// Arguments of `heliostat events`.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// The topology file, which says where its daemon listens
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The daemon's address [default: that of the file, or http://127.0.0.1:8080]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Only this flow, such as 'primary->standby'
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<String>,
    /// Only events of this kind, such as gap; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = event_kind)]
    pub kinds: Vec<EventKind>,
    /// Only events from this number on
    #[arg(long, value_name = "NUMBER", default_value_t = 0, value_parser = typed::whole::<u64>)]
    pub since: u64,
    /// Go on with what happens, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    /// For people or programs
    #[arg(short, long, value_name = "FORMAT", default_value = "human")]
    pub output: OutputArg,
}

/// What is paused or resumed.
#[derive(Debug, Args)]
pub struct PauseWhat {
    /// The topology file, which says where the clusters are
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The flow, such as 'primary->standby'; needed where there are several
    #[arg(long, value_name = "FLOW")]
    pub flow: Option<String>,
    /// Only this topic, by its name on the source
    #[arg(long, value_name = "NAME")]
    pub topic: Option<String>,
    /// Only this partition of the topic
    #[arg(long, value_name = "PARTITION", requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    pub partition: Option<i32>,
}

/// Arguments of `heliostat pause`.
#[derive(Debug, Args)]
pub struct PauseArgs {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub what: PauseWhat,
    /// Why, for whoever looks at the status
    #[arg(long, value_name = "TEXT", value_parser = typed::reason)]
    pub reason: Option<String>,
}

/// Arguments of `heliostat resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[allow(missing_docs)]
    #[command(flatten)]
    pub what: PauseWhat,
    /// Resume its parts too, where they were paused on their own
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `heliostat broker`.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    /// The port of the first broker; the others follow. 0 picks free ones
    #[arg(long, default_value_t = 9092, value_parser = typed::port)]
    pub port: u16,
    /// How many brokers the cluster shows
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = typed::brokers)]
    pub brokers: u16,
    /// Where the data is kept; without it nothing outlives the process
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The address to listen on; 0.0.0.0 is every address of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = typed::host)]
    pub host: IpAddr,
    /// A broker config under Kafka's name; may be repeated
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    pub configs: Vec<(String, String)>,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub sasl: BrokerSaslArgs,

    /// Listen here for metrics, heliostat cluster and heliostat fault
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = typed::address)]
    pub http: Option<SocketAddr>,

    /// Let other machines stop and break the cluster too
    #[arg(long, requires = "http")]
    pub open_control: bool,
}

/// Arguments of `heliostat produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// Where the cluster is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap_server: String,
    /// The topic
    #[arg(long, value_name = "NAME")]
    pub topic: String,
    /// What stands between key and value in a line; without it a line is a value
    #[arg(long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub sasl: ClientSaslArgs,
}

/// Arguments of `heliostat consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// Where the cluster is
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    pub bootstrap_server: String,
    /// The topic
    #[arg(long, value_name = "NAME")]
    pub topic: String,
    /// Begin with the first record that is there, not with the next one to come
    #[arg(long)]
    pub from_beginning: bool,
    /// End after so many records
    #[arg(long, value_name = "COUNT", value_parser = typed::whole::<u64>)]
    pub max_messages: Option<u64>,
    /// Show partition, offset and key of each record
    #[arg(long)]
    pub verbose: bool,
    #[allow(missing_docs)]
    #[command(flatten)]
    pub sasl: ClientSaslArgs,
}

/// Arguments of `heliostat completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

/// The form of what a command prints: text, or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputArg {
    #[allow(missing_docs)]
    Human,
    #[allow(missing_docs)]
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> LogFormat {
        match format {
            LogFormatArg::Human => LogFormat::Human,
            LogFormatArg::Json => LogFormat::Json,
        }
    }
}

/// Says what is wrong with the arguments, or what was asked for, and gives the exit code for it.
pub fn refuse(error: &clap::Error) -> u8 {
    // Whoever closed the output has seen enough.
    drop(error.print());
    let is_named = error.get(ContextKind::SuggestedSubcommand).is_some();
    if error.kind() == ErrorKind::InvalidSubcommand && !is_named {
        let command = Cli::command();
        let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        eprintln!("\nThe commands of heliostat are: {}", names.join(", "));
    }
    u8::try_from(error.exit_code()).unwrap_or(super::exit::USAGE)
}

fn topic_help() -> String {
    format!("Show what becomes of this topic; may be repeated [default: {EXAMPLE_TOPIC}]")
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, such as log.retention.hours=1".to_owned()),
    }
}

fn event_kind(text: &str) -> Result<EventKind, String> {
    let known = EventKind::ALL.into_iter().find(|kind| kind.name() == text);
    known.ok_or_else(|| {
        let names = EventKind::ALL.map(EventKind::name);
        format!("there are: {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let example = format!("heliostat {}", command.get_name());
            assert!(
                help.contains("Examples:") && help.contains(&example),
                "{}",
                command.get_name()
            );
        }
    }

    /// An example that does not work is worse than none.
    #[test]
    fn examples_are_right() {
        let texts = [
            EXAMPLES,
            RUN_EXAMPLES,
            CHECK_EXAMPLES,
            STATUS_EXAMPLES,
            EVENTS_EXAMPLES,
            OFFSETS_EXAMPLES,
            PAUSE_EXAMPLES,
            RESUME_EXAMPLES,
            BROKER_EXAMPLES,
            PRODUCE_EXAMPLES,
            CONSUME_EXAMPLES,
            COMPLETIONS_EXAMPLES,
        ];
        for line in texts
            .iter()
            .flat_map(|text| text.lines())
            .filter(|line| line.starts_with("  heliostat"))
        {
            let command = line.trim().split("  ").next().unwrap_or_default();
            let command = command.split(['|', '>']).next().unwrap_or_default();
            let command = command.trim_end_matches(" 2").replace('\'', "");
            // `'primary->standby'` was cut at its arrow, which leaves an option without its end, and is still one word.
            let parsed = Cli::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn configs_are_pairs() {
        assert_eq!(key_value("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(key_value("a.b").is_err());
        assert!(key_value("=c").is_err());
    }
}
