//! The command line: arguments, logging, one command, an exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use heliostat::cli::args::Cli;
use heliostat::cli::live::Live;
use heliostat::cli::{self, exit, logging};

/// How long work that blocks may take to end after a command is done.
const RUNTIME_END: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    heliostat::memory::share();
    // Wrong arguments end here with exit code 2, help and version with 0.
    let arguments = match Cli::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return cli::args::refuse(&error).into(),
    };
    if let Err(error) = logging::init(arguments.log.format.into(), &arguments.log.level, Live::writer()) {
        eprintln!("error: {error:#}");
        return exit::USAGE.into();
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: start the runtime: {error}");
            return exit::FAILURE.into();
        }
    };
    let result = runtime.block_on(cli::execute(arguments.command));
    runtime.shutdown_timeout(RUNTIME_END);
    match result {
        Ok(code) => code.into(),
        Err(error) => cli::explain(&error).into(),
    }
}
