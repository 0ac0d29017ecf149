//! The command line: one file per command, and what commands share.

pub mod args;
pub mod broker;
pub mod built_in;
pub mod check;
pub mod cluster;
pub mod cluster_args;
pub mod completions;
pub mod connect;
pub mod control;
pub mod events;
pub mod live;
pub mod logging;
pub mod offsets;
pub mod offsets_args;
pub mod pause;
pub mod rates;
pub mod records;
pub mod run;
pub mod sasl_args;
pub mod screen;
pub mod signal;
pub mod status;
pub mod table;
pub mod text;
mod typed;
pub mod view;

use std::io::{self, Write};
use std::path::Path;

use self::args::{Command, OutputArg, StatusArgs};
use crate::flow::survey::survey;
use crate::topology::{Problems, Topology};

/// Exit codes.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// It did not work.
    pub const FAILURE: u8 = 1;
    /// Wrong arguments, or a wrong topology file.
    pub const USAGE: u8 = 2;
    /// Something that must be there is not, or the other way round; nothing was changed.
    pub const PRECONDITION: u8 = 3;
    /// It worked for some and not for others.
    pub const PARTIAL: u8 = 7;
    /// A flow is not healthy.
    pub const UNHEALTHY: u8 = 8;
    /// Ended by Ctrl-C, in order.
    pub const INTERRUPTED: u8 = 130;

    /// Every exit code.
    pub const ALL: [u8; 7] = [OK, FAILURE, USAGE, PRECONDITION, PARTIAL, UNHEALTHY, INTERRUPTED];
}

/// A failure whose exit code is not [`exit::FAILURE`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What is wrong, and what to do.
    pub message: String,
}

/// Runs one command. The number is the exit code.
///
/// # Errors
/// Whatever the command cannot do; [`explain`] prints it.
pub async fn execute(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => run::run(&args.file, &load(&args.file)?, args.open_control).await,
        Command::Check(args) => check::run(&args).await,
        Command::Status(args) => status(args).await,
        Command::Events(args) => events::run(args).await,
        Command::Offsets(args) => offsets::run(args).await,
        Command::Pause(args) => pause::run(args).await,
        Command::Resume(args) => pause::run_resume(args).await,
        Command::Broker(args) => broker::run(args).await,
        Command::Cluster(args) => cluster::run(args).await,
        Command::Fault(args) => cluster::run_fault(args).await,
        Command::Produce(args) => records::run_produce(args).await,
        Command::Consume(args) => records::run_consume(args).await,
        Command::Completions(args) => completions::run(&args),
    }
}

/// Prints why a command failed, and gives the exit code for it.
pub fn explain(error: &anyhow::Error) -> u8 {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        complain(&format!("{problems}\n"));
        return exit::USAGE;
    }
    complain(&format!("error: {error:#}\n"));
    error
        .downcast_ref::<Failure>()
        .map_or(exit::FAILURE, |failure| failure.code)
}

/// Reads a topology file and prints its warnings.
///
/// # Errors
/// All that is wrong with the file, which [`explain`] prints.
pub fn load(file: &Path) -> Result<Topology, Problems> {
    let topology = Topology::load(file)?;
    warn(&topology);
    Ok(topology)
}

/// Reads a topology file without its secrets, which nobody needs who asks a daemon, and prints its warnings.
///
/// # Errors
/// All that is wrong with the file, which [`explain`] prints.
pub fn load_without_secrets(file: &Path) -> Result<Topology, Problems> {
    let topology = Topology::load_without_secrets(file)?;
    warn(&topology);
    Ok(topology)
}

fn warn(topology: &Topology) {
    for warning in &topology.warnings {
        complain(&format!("{warning}\n\n"));
    }
}

/// Writes to standard output. Whoever closed it, `head` for example, has seen enough, and that is no failure.
///
/// # Errors
/// If it cannot be written for another reason.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes to standard error, as far as there is one.
fn complain(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

async fn status(args: StatusArgs) -> anyhow::Result<u8> {
    let topology = match &args.file {
        Some(file) if args.clusters => Some(load(file)?),
        Some(file) => Some(load_without_secrets(file)?),
        None => None,
    };
    let listens_at = topology
        .as_ref()
        .map(|topology| status::url_of(topology.http.listen));
    let url = match args.clusters {
        true => None,
        false => Some(
            args.url
                .or(listens_at)
                .unwrap_or_else(|| status::DEFAULT_URL.to_owned()),
        ),
    };
    let options = status::Options {
        url,
        topology: topology.as_ref().map(|topology| topology.name.clone()),
        flow: args.flow,
        watch: args.watch,
        output: match args.output {
            OutputArg::Human => status::Output::Human,
            OutputArg::Json => status::Output::Json,
        },
        check: args.check,
        partitions: args.partitions,
    };
    let from_clusters = args.file.map(|file| -> status::FromClusters<'static> {
        Box::new(move || {
            let file = file.clone();
            Box::pin(async move {
                let topology = Topology::load(&file)?;
                Ok(survey(&topology, crate::VERSION.to_owned()).await)
            })
        })
    });
    status::run(&options, from_clusters).await
}
