//! Getting a flow on its feet: reach both clusters, make the map topic, read it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use heliostat_wire::client::Client;
use tokio::sync::Semaphore;

use super::daemon::Fleet;
use super::discover::Discovery;
use super::exactly_once::{self, Fences};
use super::map_topic;
use crate::cluster::{Admin, Cluster};
use crate::offsets::record;
use crate::offsets::store::MapReader;
use crate::offsets::writer::MapWriter;
use crate::topology::{Delivery, Engine, Flow};

/// So many partitions of a flow are claimed at once.
const CLAIMS_AT_ONCE: usize = 64;

/// Why a flow cannot start.
#[derive(Debug)]
pub enum ConnectError {
    /// It may work later.
    Later(String),
    /// A cluster does not allow it.
    Denied(String),
    /// It cannot work with this topology.
    Never(String),
}

impl<E: std::error::Error> From<E> for ConnectError {
    fn from(error: E) -> Self {
        ConnectError::Later(error.to_string())
    }
}

/// Everything that a flow needs besides its engine and its group. The target is needed; so is the source, to know what it is.
pub async fn connect(
    flow: &Arc<Flow>,
    source: &Arc<Cluster>,
    target: &Arc<Cluster>,
    fleet: &Fleet,
) -> Result<Discovery, ConnectError> {
    let name = |role: &str| format!("heliostat/{}/{role}", flow.name);
    let source_admin = Admin::new(source.clone(), &name("source-admin"))?;
    let target_admin = Admin::new(target.clone(), &name("target-admin"))?;
    let wire = (flow.engine == Engine::Batches).then(|| {
        (
            source.wire_client(&name("reader")),
            target.wire_client(&name("writer")),
        )
    });
    let (source_admin, target_admin) = match &wire {
        Some((from, to)) => (
            source_admin.with_wire(from.clone()),
            target_admin.with_wire(to.clone()),
        ),
        None => (source_admin, target_admin),
    };
    let (source_cluster, target_cluster) = tokio::join!(source_admin.cluster_id(), target_admin.cluster_id());
    let (source_cluster, target_cluster) = (source_cluster?, target_cluster?);
    for (cluster, id) in [(source, &source_cluster), (target, &target_cluster)] {
        if let Some(twin) = fleet.twin_of(&cluster.alias, id) {
            return Err(ConnectError::Never(format!(
                "{} and {} are one and the same cluster ({id}): keep one of the two in the topology file, or correct its bootstrap_servers",
                twin.alias, cluster.alias
            )));
        }
    }
    let map_topic = record::topic_name(&flow.source);
    map_topic::make(&target_admin, &map_topic, flow.replication_factor).await?;
    let claim_period = match &wire {
        Some((_, client)) if flow.delivery == Delivery::ExactlyOnce => {
            see_whether_it_fences(flow, &target.wire_client(&name("probe")), &map_topic).await?;
            exactly_once::period(client).await
        }
        _ => Duration::MAX,
    };
    let source_maps = Arc::new(MapReader::start(source.clone(), &name("source-maps"), None)?);
    let target_maps = Arc::new(MapReader::start(
        target.clone(),
        &name("target-maps"),
        Some(map_topic.clone()),
    )?);
    target_maps.follow(&map_topic);
    let writer = Arc::new(MapWriter::start(target, &name("map-writer"), &map_topic)?);
    Ok(Discovery {
        flow: flow.clone(),
        source: source_admin,
        target: target_admin,
        source_cluster,
        target_cluster,
        aliases: fleet.aliases(),
        source_maps,
        target_maps,
        map_topic,
        writer,
        wire,
        places: Arc::new(Semaphore::new(CLAIMS_AT_ONCE)),
        claim_period,
        settled: Mutex::default(),
        awaited: Mutex::default(),
        seen_map: Mutex::default(),
    })
}

/// Exactly once takes a target that keeps those out who were replaced.
async fn see_whether_it_fences(flow: &Flow, client: &Client, map_topic: &str) -> Result<(), ConnectError> {
    let found = exactly_once::probe(client, &flow.source, map_topic).await;
    client.close().await;
    match found.map_err(|error| denied(flow, &error))? {
        Fences::Yes => Ok(()),
        Fences::No(instead) => Err(ConnectError::Never(format!(
            "{} does not fence producers: {instead}. So delivery: exactly-once cannot be kept there; set delivery: at-least-once for this flow, or engine: librdkafka",
            flow.target
        ))),
    }
}

/// What this user may not do, with what it takes.
fn denied(flow: &Flow, error: &heliostat_wire::client::Error) -> ConnectError {
    use heliostat_wire::ErrorCode as Code;
    match error.code() {
        Some(
            Code::TransactionalIdAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TopicAuthorizationFailed,
        ) => ConnectError::Denied(format!(
            "{} does not let this user copy exactly once: {error}; allow Write and Describe on the transactional ids heliostat.*, and Write on the topics heliostat.*, or set delivery: at-least-once",
            flow.target
        )),
        _ => ConnectError::Later(error.to_string()),
    }
}
