//! Integration tests, one module per capability, in one binary.

mod apache_kafka;
mod support;
mod tidy;
