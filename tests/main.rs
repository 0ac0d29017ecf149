//! Integration tests, one module per capability, in one binary.

mod apache_kafka;
mod built_in_metrics;
mod check_connect;
mod cli;
mod consumer_protocol;
mod exactly_once;
mod fair;
mod faults;
mod groups_on_built_in;
mod growth;
mod guide;
mod java_applications;
mod java_tools;
mod layouts;
mod mirror;
mod nodes;
mod offsets;
mod old_source;
mod protocol_migration;
mod real_kafka;
mod refusals;
mod sasl;
mod support;
mod tidy;
mod topology_errors;
mod transactions;
