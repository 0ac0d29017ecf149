//! Integration tests, one module per capability, in one binary.

mod apache_kafka;
mod cli;
mod java_tools;
mod real_kafka;
mod support;
mod tidy;
mod topology_errors;
