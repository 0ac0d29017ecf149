//! DescribeLogDirs (35), versions 1-4: how large the partitions of a node are, and how full the disk is.
//!
//! All nodes share one directory; each tells of the partitions that it holds a replica of.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use heliostat_wire::{
    ErrorCode,
    message::{
        DescribeLogDirsRequest, DescribeLogDirsResponse,
        describe_log_dirs::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
    },
};

use super::{Context, blocking};
use crate::state::Topic;

/// Partitions that are asked for, by topic.
type Asked = BTreeMap<String, BTreeSet<i32>>;

pub(super) async fn handle(context: Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let asked = request.topics.map(|topics| {
        let mut asked = Asked::new();
        for topic in topics {
            asked.entry(topic.topic).or_default().extend(topic.partitions);
        }
        asked
    });
    let result = blocking(move || describe(&context, asked.as_ref())).await;
    DescribeLogDirsResponse {
        results: vec![result],
        ..Default::default()
    }
}

fn describe(context: &Context, asked: Option<&Asked>) -> DescribeLogDirsResult {
    let directory = &context.broker.directory;
    let log_dir = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
    let log_dir = log_dir.display().to_string();
    let (total_bytes, usable_bytes) = match space(directory) {
        Ok(space) => space,
        Err(error) => {
            tracing::error!(%error, directory = log_dir, "the data directory cannot be looked at");
            return DescribeLogDirsResult {
                error_code: ErrorCode::KafkaStorageError.into(),
                log_dir,
                ..Default::default()
            };
        }
    };
    let image = context.broker.image();
    let topics = image.topics().filter_map(|topic| {
        let partitions = partitions(context, topic, asked)?;
        Some(DescribeLogDirsTopic {
            name: topic.name.clone(),
            partitions,
        })
    });
    DescribeLogDirsResult {
        error_code: 0,
        topics: topics.collect(),
        log_dir,
        total_bytes,
        usable_bytes,
    }
}

/// The partitions of a topic that this node holds and that are asked for; `None` if there are none.
fn partitions(
    context: &Context,
    topic: &Topic,
    asked: Option<&Asked>,
) -> Option<Vec<DescribeLogDirsPartition>> {
    let asked = match asked {
        None => None,
        Some(asked) => Some(asked.get(&topic.name)?),
    };
    let held = (0..).zip(&topic.partitions).filter(|(index, partition)| {
        partition.replicas.contains(&context.node_id()) && asked.is_none_or(|asked| asked.contains(index))
    });
    let described = held.filter_map(|(partition_index, _)| {
        let log = context.broker.storage().log(topic, partition_index)?;
        Some(DescribeLogDirsPartition {
            partition_index,
            partition_size: i64::try_from(log.size_bytes()).unwrap_or(i64::MAX),
            offset_lag: 0,
            is_future_key: false,
        })
    });
    Some(described.collect::<Vec<_>>()).filter(|partitions| !partitions.is_empty())
}

/// The size of the file system, and what of it can be used, in bytes.
fn space(directory: &Path) -> std::io::Result<(i64, i64)> {
    let stat = rustix::fs::statvfs(directory)?;
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    Ok((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}
