//! What built-in clusters tell about themselves, in the words of the metrics.

use std::sync::Arc;

use heliostat_broker::{ClusterFacts, Control};

use crate::observe::built_in::{
    BuiltInFacts, BuiltInFn, CleanerFacts, QuotaFacts, ReadOnlyFacts, RefusedFacts,
};

/// Asks these clusters, each under its name, whenever it is called.
pub fn facts(clusters: Vec<(String, Control)>) -> BuiltInFn {
    Arc::new(move || {
        clusters
            .iter()
            .map(|(name, control)| described(name, control.facts()))
            .collect()
    })
}

fn described(name: &str, facts: ClusterFacts) -> BuiltInFacts {
    let ClusterFacts {
        quotas,
        cleaner,
        read_only,
        refused_clients,
    } = facts;
    let quotas = quotas.into_iter().map(|usage| QuotaFacts {
        quota: usage.kind.key().to_owned(),
        user: usage.user,
        client_id: usage.client_id,
        limit: usage.limit,
        rate: usage.rate,
        throttled: usage.throttled,
        throttled_seconds: usage.throttled_ms as f64 / 1000.0,
    });
    let read_only = read_only.into_iter().map(|partition| ReadOnlyFacts {
        topic: partition.topic,
        partition: partition.partition,
        since_ms: partition.since_ms,
    });
    BuiltInFacts {
        cluster: name.to_owned(),
        quotas: quotas.collect(),
        cleaner: CleanerFacts {
            rounds: cleaner.rounds,
            failed_rounds: cleaner.failed_rounds,
            read_bytes: cleaner.bytes_read,
            written_bytes: cleaner.bytes_written,
            dropped_records: cleaner.records_dropped,
            uncleanable_partitions: cleaner.uncleanable_partitions,
            partitions_in_progress: cleaner.partitions_in_progress,
        },
        read_only: read_only.collect(),
        refused_clients: refused_clients.map(|clients| RefusedFacts {
            refused: clients.refused,
            without_credentials: clients.without_credentials,
        }),
    }
}
