//! Those who copy, behind one face: MirrorMaker 2 and heliostat.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use rustix::process::Signal;

use crate::support::daemon;
use crate::support::kafka::mirror_maker;
use crate::support::ports::Ports;
use crate::support::process::Process;

/// How long a copier may take to end when it is told to.
const END: Duration = Duration::from_secs(60);

/// A copier and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// MirrorMaker 2 with its defaults: 16 KiB batches, one in flight.
    Mm2,
    /// MirrorMaker 2 with 1 MB batches, linger 20 ms, 5 in flight, 5,000 records a poll.
    Mm2Tuned,
    /// The same, with `exactly.once.source.support`.
    Mm2ExactlyOnce,
    /// This project, with its defaults.
    Heliostat,
}

/// What is to be copied.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'a> {
    /// The source's name, which begins the mirror topic's name.
    pub source: &'a str,
    /// Where the source's clients connect.
    pub source_bootstrap: &'a str,
    /// Where the target's clients connect.
    pub target_bootstrap: &'a str,
    /// The topic.
    pub topic: &'a str,
}

/// A copier at work. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    /// Its process.
    pub process: Process,
    _ports: Option<Ports>,
}

impl Running {
    /// Ends it as an operator does, so that nobody who comes next has to wait until its group misses it.
    pub fn end(mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait(END);
    }
}

impl Flow<'_> {
    /// What every copier here calls the mirror topic.
    pub fn mirror(&self) -> String {
        format!("{}.{}", self.source, self.topic)
    }
}

impl Kind {
    /// Its name in a table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mm2 => "MirrorMaker 2, defaults",
            Kind::Mm2Tuned => "MirrorMaker 2, tuned",
            Kind::Mm2ExactlyOnce => "MirrorMaker 2, tuned, exactly once",
            Kind::Heliostat => "heliostat",
        }
    }

    /// A name that can be part of a topic's.
    pub fn alias(self) -> &'static str {
        match self {
            Kind::Mm2 => "mm2",
            Kind::Mm2Tuned => "mm2-tuned",
            Kind::Mm2ExactlyOnce => "mm2-eos",
            Kind::Heliostat => "source",
        }
    }

    /// Starts it on a flow; its files and its output go to `directory`.
    pub fn start(self, flow: Flow<'_>, directory: &Path) -> Running {
        match self {
            Kind::Mm2 => mm2(&mm2_properties(flow), directory),
            Kind::Mm2Tuned => mm2(&(mm2_properties(flow) + &mm2_tuning(flow)), directory),
            Kind::Mm2ExactlyOnce => {
                let exactly_once =
                    "exactly.once.source.support = enabled\ndedicated.mode.enable.internal.rest = true\n";
                mm2(
                    &(mm2_properties(flow) + &mm2_tuning(flow) + exactly_once),
                    directory,
                )
            }
            Kind::Heliostat => heliostat(&topology(flow), directory),
        }
    }
}

/// Starts `heliostat run` on a topology, to which an HTTP port is added.
pub fn heliostat(topology: &str, directory: &Path) -> Running {
    let ports = Ports::reserve(1);
    let path = directory.join("topology.yaml");
    let text = format!("{topology}http: {{ listen: \"{}\" }}\n", ports.address());
    std::fs::write(&path, text).expect("write a topology");
    let mut command = daemon::binary();
    command.arg("run").arg(path).current_dir(directory);
    Running {
        process: Process::start("heliostat", command, directory),
        _ports: Some(ports),
    }
}

fn mm2(properties: &str, directory: &Path) -> Running {
    Running {
        process: mirror_maker(properties, directory),
        _ports: None,
    }
}

fn topology(flow: Flow<'_>) -> String {
    let Flow {
        source,
        source_bootstrap,
        target_bootstrap,
        topic,
    } = flow;
    format!(
        "name: bench\nlayout: active-standby\nclusters:\n  \
         {source}: {{ bootstrap_servers: \"{source_bootstrap}\" }}\n  \
         target: {{ bootstrap_servers: \"{target_bootstrap}\" }}\n\
         primary: {source}\nstandby: target\ndefaults:\n  topics: {{ include: [\"{topic}\"] }}\n"
    )
}

/// One flow, and nothing that a benchmark does not need: no heartbeats, no flow back.
fn mm2_properties(flow: Flow<'_>) -> String {
    let Flow {
        source,
        source_bootstrap,
        target_bootstrap,
        topic,
    } = flow;
    let mut text = format!(
        "clusters = {source}, target\n\
         {source}.bootstrap.servers = {source_bootstrap}\n\
         target.bootstrap.servers = {target_bootstrap}\n\
         {source}->target.enabled = true\n\
         {source}->target.topics = {topic}\n\
         target->{source}.enabled = false\n\
         emit.heartbeats.enabled = false\n"
    );
    // The clusters have one node each.
    for key in [
        "replication.factor",
        "checkpoints.topic.replication.factor",
        "heartbeats.topic.replication.factor",
        "offset-syncs.topic.replication.factor",
        "offset.storage.replication.factor",
        "status.storage.replication.factor",
        "config.storage.replication.factor",
    ] {
        let _ = writeln!(text, "{key} = 1");
    }
    text
}

/// Producer keys take effect under the target's name and consumer keys under the source's; at the top level, where many
/// put them, they are ignored.
fn mm2_tuning(flow: Flow<'_>) -> String {
    let source = flow.source;
    format!(
        "target.producer.batch.size = 1000000\n\
         target.producer.linger.ms = 20\n\
         target.producer.max.in.flight.requests.per.connection = 5\n\
         target.producer.buffer.memory = 67108864\n\
         {source}.consumer.max.poll.records = 5000\n"
    )
}
