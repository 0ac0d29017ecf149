//! Which groups a node may speak for.

use heliostat_wire::ErrorCode;

use super::Context;
use crate::{
    group::{Client, Coordinator},
    txn,
};

impl Context {
    /// The groups, if this node coordinates the one with this id; NOT_COORDINATOR makes clients look for the one that does.
    pub(super) fn groups_for(&self, group_id: &str) -> Result<&Coordinator, ErrorCode> {
        if self.is_coordinator(group_id) {
            Ok(self.broker.groups())
        } else {
            Err(ErrorCode::NotCoordinator)
        }
    }

    /// The transactions, if this node coordinates those of this id.
    pub(super) fn transactions_for(&self, transactional_id: &str) -> Result<&txn::Coordinator, ErrorCode> {
        if transactional_id.is_empty() {
            Err(ErrorCode::InvalidRequest)
        } else if self.is_coordinator(transactional_id) {
            Ok(self.broker.transactions())
        } else {
            Err(ErrorCode::NotCoordinator)
        }
    }

    /// The error as this client knows it: PRODUCER_FENCED is known since a version of each API.
    pub(super) fn known_fencing(&self, error: ErrorCode, since: i16) -> ErrorCode {
        match error {
            ErrorCode::ProducerFenced if self.api_version < since => ErrorCode::InvalidProducerEpoch,
            error => error,
        }
    }

    /// Who asks, as descriptions of groups show it.
    pub(super) fn client(&self) -> Client {
        // Kafka writes addresses as Java does: after a slash, which would follow the name.
        let host = format!("/{}", self.peer.address.to_canonical());
        Client {
            id: self.client_id.clone(),
            host,
        }
    }

    /// Whether the partition exists.
    pub(super) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        self.broker
            .image()
            .topic(topic)
            .is_some_and(|topic| topic.partition(partition).is_some())
    }
}
