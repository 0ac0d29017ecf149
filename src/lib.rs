//! Heliostat mirrors topics between Kafka clusters.
//!
//! The modules, in the order in which data meets them:
//!
//! - [`cli`]: one file per command.
//! - [`topology`]: a YAML file becomes a checked [`topology::Topology`]: clusters, flows, policies.
//! - [`policy`]: what a mirror topic is called, which topics are in, what would come back in a circle.
//! - [`cluster`]: one Kafka cluster as seen from here: connection settings, metadata, admin calls.
//! - [`flow`]: one running flow: discover, assign, copy, account; the state of each partition.
//! - [`offsets`]: the offset map, the only home of progress.
//! - [`memory`]: how much of it lies idle.
//! - [`observe`]: what others may see of all this: status, metrics, the HTTP server.

pub mod cli;
pub mod cluster;
pub mod flow;
pub mod memory;
pub mod observe;
pub mod offsets;
pub mod policy;
pub mod topology;

/// The version of the program, with the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HELIOSTAT_COMMIT"), ")");
