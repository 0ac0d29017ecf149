//! `heliostat completions`: what a shell needs to complete commands and options.

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs};
use super::{exit, print};

/// Prints the completions of one shell.
///
/// # Errors
/// If they cannot be written.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "heliostat", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(exit::OK)
}
