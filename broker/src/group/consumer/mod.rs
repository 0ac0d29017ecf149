//! Groups of the consumer protocol (KIP-848): the coordinator itself works out who reads what.
//!
//! A group has an epoch, which grows when members or topics change; a target for each member, worked out by an assignor
//! (`assignor`) for such an epoch; and for each member the epoch and the partitions that it has reached on its way to the
//! target (`reconcile`). All of it moves with heartbeats (`heartbeat`) and with time (`group`), and is stored before it is
//! told (`record`). Members of the classic
//! protocol may be among them (`classic`), and a group may change from one protocol to the other while it has members
//! (`migration`). `serve` and `serve_classic` connect this with the task of the group.

pub(super) mod assignment;
pub(super) mod assignor;
mod classic;
pub(super) mod group;
pub(super) mod heartbeat;
pub(super) mod member;
mod migration;
mod reconcile;
pub(super) mod record;
#[cfg(test)]
mod scenarios;
mod serve;
mod serve_classic;
mod topics;
