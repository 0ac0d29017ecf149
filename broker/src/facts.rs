//! What a running cluster tells about itself, for metrics.

use crate::{
    cluster::ReadOnlyPartition,
    control::Control,
    log::CleanerFacts,
    quota::ClientUsage,
    sasl::{RefusedClients, Sasl},
};

/// A cluster as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterFacts {
    /// What clients with quotas have used of late, and how long they were kept waiting.
    pub quotas: Vec<ClientUsage>,
    /// What the log cleaner has done.
    pub cleaner: CleanerFacts,
    /// Partitions that take no records for the time being.
    pub read_only: Vec<ReadOnlyPartition>,
    /// Clients that were not let in; `None` where everybody is.
    pub refused_clients: Option<RefusedClients>,
}

impl Control {
    /// The cluster as it is now. It takes locks and no disk, so that it can be asked often.
    pub fn facts(&self) -> ClusterFacts {
        let broker = self.broker();
        ClusterFacts {
            quotas: broker.quotas().usage(),
            cleaner: broker.storage().cleaner().facts(),
            read_only: broker.storage().read_only(),
            refused_clients: broker.sasl().map(Sasl::refused_clients),
        }
    }
}
