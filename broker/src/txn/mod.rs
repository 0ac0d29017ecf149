//! The transaction coordinator: which producer a transactional id stands for, which partitions and groups its
//! transaction reaches, and how it ends.
//!
//! What Kafka keeps in `__transaction_state` is in a journal of our own. A transaction ends in three steps: the decision
//! is stored (`PrepareCommit`, `PrepareAbort`), a marker is written to every partition and group, and `CompleteCommit` or
//! `CompleteAbort` is stored. Whoever finds a decision without an end, after a crash or a full disk, goes on with the
//! second step; a marker that is written twice says nothing new.
//!
//! Invariants:
//! - A decision is on disk before its first marker is written, and is never changed.
//! - The next transaction of the same id begins only when all markers are as durable as the log's flush policy makes them.
//! - A transaction that is open in a partition is known here; `recovery` ends those that a power cut has made otherwise.
//!
//! Each transactional id has a lock, which is held for the whole of a request, markers included. So a client rarely sees
//! CONCURRENT_TRANSACTIONS where Kafka's coordinator, which answers before the markers are written, would say it.

mod admission;
mod coordinator;
mod expiry;
mod listing;
mod markers;
mod metadata;
mod record;
mod recovery;
mod requests;

pub(crate) use admission::{Arrival, admit};
pub(crate) use coordinator::{Coordinator, TransactionConfig};
pub(crate) use listing::Filter;
pub(crate) use markers::append as append_marker;
pub(crate) use metadata::{EPOCH_BUMP, State};
pub(crate) use requests::{EndKind, Producer, expected_producer};

use std::collections::{BTreeMap, BTreeSet};

/// Partitions, by topic.
pub(crate) type Partitions = BTreeMap<String, BTreeSet<i32>>;

/// The topic in which Kafka keeps groups' offsets. Here it is only a name: tools show it among a transaction's partitions.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
