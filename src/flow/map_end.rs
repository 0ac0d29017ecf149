//! Waiting until what a map topic says now is known.

use std::time::Duration;

use crate::cluster::admin::explain;
use crate::cluster::native::OffsetSpec;
use crate::cluster::{Admin, Cluster, ClusterError};
use crate::offsets::store::MapReader;

/// Waits until a reader has read map topics, which it follows, to the ends that they have now.
///
/// # Errors
/// If the cluster does not tell the ends, or one is not reached in this time.
pub(super) async fn read_to_end(
    admin: &Admin,
    reader: &MapReader,
    topics: impl IntoIterator<Item = &str>,
    timeout: Duration,
) -> Result<(), ClusterError> {
    let partitions = topics.into_iter().map(|topic| (topic.to_owned(), 0)).collect();
    for end in admin.offsets(partitions, OffsetSpec::LatestCommitted).await? {
        let failed = |reason: String| not_read(admin.cluster(), &end.topic, reason);
        let offset = end.offset.map_err(|code| failed(explain(code)))?;
        if !reader.caught_up(&end.topic, offset, timeout).await {
            let reason = format!("its end was not reached within {} s", timeout.as_secs());
            return Err(failed(reason));
        }
    }
    Ok(())
}

/// A map topic cannot be read.
pub(super) fn not_read(cluster: &Cluster, topic: &str, reason: String) -> ClusterError {
    ClusterError {
        cluster: cluster.alias.clone(),
        call: format!("read {topic}"),
        reason,
        away: true,
    }
}
