//! What batches of the mirror topics may be like.

use std::collections::{BTreeSet, HashMap};

use heliostat_wire::compression;
use heliostat_wire::message::DescribeConfigsRequest;
use heliostat_wire::message::describe_configs::{DescribeConfigsResource, DescribeConfigsResult};

use super::Wanted;
use crate::cluster::admin::TOPIC_RESOURCE;
use crate::flow::discover::Discovery;
use crate::topology::Compression;

/// The config that bounds the size of a batch.
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";

/// The codec that batches are compressed with anew.
pub(super) fn codec(compression: Compression) -> Option<compression::Compression> {
    match compression {
        Compression::Producer => None,
        Compression::None => Some(compression::Compression::None),
        Compression::Gzip => Some(compression::Compression::Gzip),
        Compression::Snappy => Some(compression::Compression::Snappy),
        Compression::Lz4 => Some(compression::Compression::Lz4),
        Compression::Zstd => Some(compression::Compression::Zstd),
    }
}

/// The largest batches that the mirror topics take, where a claim is needed.
pub(super) async fn batch_limits(discovery: &Discovery, wanted: &[Wanted]) -> HashMap<String, usize> {
    let Some((_, target)) = &discovery.wire else {
        return HashMap::new();
    };
    let topics: BTreeSet<&str> = wanted
        .iter()
        .map(|wanted| wanted.mirror.target_topic.as_str())
        .collect();
    let resources = topics.into_iter().map(|topic| DescribeConfigsResource {
        resource_type: TOPIC_RESOURCE,
        resource_name: topic.to_owned(),
        configuration_keys: Some(vec![MAX_MESSAGE_BYTES.to_owned()]),
    });
    let request = DescribeConfigsRequest {
        resources: resources.collect(),
        ..Default::default()
    };
    // Where it is not known, Kafka's default is taken; a batch that is too large all the same is refused, and named.
    let answer = target
        .any(request)
        .await
        .map(|answer| answer.results)
        .unwrap_or_default();
    let limit = |topic: DescribeConfigsResult| {
        let value = topic
            .configs
            .iter()
            .find(|config| config.name == MAX_MESSAGE_BYTES)?
            .value
            .as_ref()?;
        Some((topic.resource_name, value.parse().ok()?))
    };
    answer.into_iter().filter_map(limit).collect()
}
