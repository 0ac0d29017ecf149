//! Integration tests, one module per capability, in one binary.

mod apache_kafka;
mod cli;
mod faults;
mod groups_on_built_in;
mod growth;
mod layouts;
mod mirror;
mod support;
mod tidy;
mod topology_errors;
