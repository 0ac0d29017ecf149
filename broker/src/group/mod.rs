//! The group coordinator: membership, generations, assignments and committed offsets of consumer groups, of Kafka Connect's
//! workers, and of whatever else uses the classic group protocol; and of consumers that use KIP-848's (`consumer`).
//!
//! [`Coordinator`] has one method for each request. Behind it every group is a task of its own (`actor`) around a state machine
//! that knows neither sockets nor clocks (`membership`, `join`, `session`) and its offsets (`offsets`). What must survive
//! goes through one thread (`store`) into one journal (`record`) before anybody is told.
//!
//! As in Kafka, members, generation and assignment are stored when an assignment is complete, when a static member
//! changes its id, and when the last member leaves. A restart brings that state back, and sessions start anew.

mod actor;
mod calls;
mod config;
mod consumer;
mod consumer_requests;
mod coordinator;
#[cfg(test)]
mod coordinator_tests;
mod embedded;
mod join;
mod member;
mod membership;
mod offset_requests;
mod offsets;
mod record;
mod room;
#[cfg(test)]
mod scenarios;
mod session;
mod store;
mod subscription;

pub use config::{ConsumerConfig, GroupConfig, MigrationPolicy};
pub(crate) use config::{HEARTBEAT_INTERVAL, SESSION_TIMEOUT};
pub use coordinator::Coordinator;
pub use member::Client;
pub use offset_requests::NotStored;
pub use store::OpenError;
pub(crate) use store::Store;

/// Stands for a request whose answer may come later.
type Ticket = u64;

/// Whether there is an assignor of this name for groups of the consumer protocol.
pub(crate) fn is_assignor(name: &str) -> bool {
    consumer::assignor::Assignor::from_name(name).is_some()
}
