//! Integration tests, one module per capability, in one binary.

mod apache_kafka;
mod check_connect;
mod cli;
mod guide;
mod support;
mod tidy;
mod topology_errors;
