//! The engine of a flow: making it, and making it anew.

use super::*;
use crate::flow::engine::batches::{self, Batches};
use crate::flow::engine::librdkafka::{Librdkafka, Settings};

/// The engine that the flow is to have.
pub(super) fn engine(
    flow: &Flow,
    discovery: &Discovery,
    clusters: &(Arc<Cluster>, Arc<Cluster>),
    share: &Arc<Share>,
    events: UnboundedSender<Event>,
) -> rdkafka::error::KafkaResult<Box<dyn Engine>> {
    if let Some((source, target)) = &discovery.wire {
        let settings = batches::Settings {
            flow: flow.name.clone(),
            in_flight_bytes: flow.limits.in_flight_bytes,
            bytes_per_second: flow.limits.bytes_per_second,
            share: share.clone(),
        };
        return Ok(Box::new(Batches::new(
            settings,
            source.clone(),
            target.clone(),
            events,
        )));
    }
    let settings = Settings {
        flow: flow.name.clone(),
        compression: flow.compression,
        in_flight_bytes: flow.limits.in_flight_bytes,
        bytes_per_second: flow.limits.bytes_per_second,
        share: share.clone(),
    };
    Ok(Box::new(Librdkafka::new(
        settings,
        &clusters.0,
        &clusters.1,
        events,
    )?))
}

impl Supervisor {
    /// It is of no use any more: what it copied is prepared again.
    pub(super) fn replace_engine(&mut self) {
        let new = match engine(
            &self.flow,
            &self.discovery,
            &self.clusters,
            &self.share,
            self.engine_events.0.clone(),
        ) {
            Ok(new) => new,
            Err(error) => return tracing::error!(flow = %self.flow.name, "cannot make a writer: {error}"),
        };
        let old = std::mem::replace(&mut self.engine, new);
        // Its threads may take a moment to end.
        tokio::task::spawn_blocking(move || drop(old));
        self.by_id.clear();
        for partition in self.mine.values_mut() {
            partition.engine_id = None;
            partition.permit.take_back();
            if let Some(account) = &partition.account {
                account.close();
                account.rewind();
            }
            partition.phase = Phase::Due(Instant::now());
        }
        self.hold_what_is_paused();
    }
}
