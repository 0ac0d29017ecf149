//! The built-in Kafka cluster: one process, several nodes, one storage engine.
//!
//! [`Cluster::start`] is the way in. Inside, data meets the modules in this order: `net` splits connections into
//! frames, `api` has a file for each request, which works on what all nodes share (`broker`): topics and
//! configuration (`state`), logs (`log`), and groups (`group`).

mod api;
mod api_error;
mod broker;
mod cleaning;
mod clock;
mod cluster;
mod configs;
mod control;
mod facts;
mod fault;
mod fetch_session;
pub mod group;
mod group_configs;
pub mod log;
mod net;
mod node_configs;
mod nodes;
mod partitions;
mod quota;
mod sasl;
pub mod state;
mod storage;
mod topics;
mod txn;

pub use api::{SupportedApi, supported_apis};
pub use cleaning::CompactError;
pub use cluster::{Cluster, ClusterConfig, ReadOnlyPartition, StartError};
pub use configs::{BrokerConfig, PropertyProblem, broker_configs, check_property};
pub use control::{Control, ControlError, Isolation, NodeState, NodeStatus};
pub use facts::ClusterFacts;
pub use fault::{Fault, FaultError, FaultKind, FaultStatus};
pub use quota::{ClientUsage, QuotaKind};
pub use sasl::{RefusedClients, SaslConfig, SaslMechanism};
