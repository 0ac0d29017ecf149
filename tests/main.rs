//! Integration tests, one module per capability.

mod cli;
mod topology_errors;
