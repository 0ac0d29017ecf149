//! Integration tests, one module per capability.
fn main() {}
