//! The command line: arguments, logging, one command, an exit code.
fn main() {}
