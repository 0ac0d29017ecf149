//! Taking back what the offset map says of records that the target does not have any more, so that the map does not grow for ever.

use std::collections::HashMap;

use super::*;
use crate::offsets::index::BlockIndex;
use crate::offsets::read::scan;
use crate::offsets::record::{Block, Key, MapRecord};

/// Every so many beats the mirrors' log starts are asked for, if nothing is left to be taken back. Only retention and DeleteRecords move them, which takes its time.
const EXPIRE_EVERY: u64 = 5;

/// At most so many blocks are taken back at a time, so that facts never wait long behind them.
const EXPIRED_AT_ONCE: usize = 2_000;

impl Supervisor {
    /// Take back blocks of partitions that this daemon copies, where the map has more than the one that copying goes on from.
    pub(super) fn expire(&mut self) {
        let is_time = self.beats % EXPIRE_EVERY == EXPIRE_EVERY / 2;
        if self.expiring || !(is_time || std::mem::take(&mut self.more_expired)) {
            return;
        }
        let maps = &self.discovery.target_maps;
        let has_older = |(topic, partition): &MirrorPartition| maps.has_older(topic, *partition);
        let own: Vec<(MirrorPartition, Option<String>)> = self
            .mine
            .iter()
            .filter(|(key, mine)| mine.phase == Phase::Copying && has_older(key))
            .map(|(key, mine)| (key.clone(), mine.mirror.target_id.clone()))
            .collect();
        if own.is_empty() {
            return;
        }
        self.expiring = true;
        let discovery = self.discovery.clone();
        self.beside(Report::Expired(false), async move {
            let more = expire(&discovery, own).await.unwrap_or_else(|reason| {
                tracing::debug!(flow = %discovery.flow.name, "take back blocks of the offset map: {reason}");
                false
            });
            Report::Expired(more)
        });
    }
}

/// Returns whether there is more to take back.
async fn expire(discovery: &Discovery, own: Vec<(MirrorPartition, Option<String>)>) -> Result<bool, String> {
    let maps = &discovery.target_maps;
    let used_up: HashMap<MirrorPartition, BlockIndex> = own
        .iter()
        .filter_map(|((topic, partition), _)| {
            Some(((topic.clone(), *partition), maps.used_up(topic, *partition)?))
        })
        .collect();
    if !used_up.is_empty() {
        look_for_more(discovery, used_up)
            .await
            .map_err(|error| error.to_string())?;
    }
    let partitions = own.iter().map(|(key, _)| key.clone()).collect();
    let starts = discovery.target.offsets(partitions, OffsetSpec::Earliest).await;
    let starts: HashMap<MirrorPartition, i64> = starts
        .map_err(|error| error.to_string())?
        .into_iter()
        .filter_map(|found| Some(((found.topic, found.partition), found.offset.ok()?)))
        .collect();
    let mut expired: Vec<(Key, Option<Block>)> = Vec::new();
    for ((topic, partition), id) in own {
        let Some(&start) = starts.get(&(topic.clone(), partition)) else {
            continue;
        };
        let room = EXPIRED_AT_ONCE - expired.len();
        let blocks = maps.expired((&topic, partition), start, id.as_deref(), room);
        let key = |(block, owner)| Key {
            topic: topic.clone(),
            partition: Some(partition),
            block: Some(block),
            owner,
        };
        expired.extend(blocks.into_iter().map(|id| (key(id), None)));
    }
    if expired.is_empty() {
        return Ok(false);
    }
    tracing::debug!(flow = %discovery.flow.name, blocks = expired.len(), "the offset map's blocks of what the target does not have any more are taken back");
    let written = discovery.writer.blocks(&expired).await;
    written.map_err(|error| error.to_string())?;
    Ok(expired.len() == EXPIRED_AT_ONCE)
}

/// Goes through the map topic for the blocks of partitions that were not kept in memory.
async fn look_for_more(
    discovery: &Discovery,
    partitions: HashMap<MirrorPartition, BlockIndex>,
) -> Result<(), ClusterError> {
    let client_id = format!("heliostat/{}/expiry", discovery.flow.name);
    let found = scan(
        &discovery.target,
        &client_id,
        &discovery.map_topic,
        partitions,
        |found, record| {
            let Some(partition) = record.key.partition else {
                return;
            };
            let Some(index) = found.get_mut(&(record.key.topic.clone(), partition)) else {
                return;
            };
            match record.read() {
                Some(MapRecord::Block(_, _, id, Some(block))) => index.note(id, &block),
                Some(MapRecord::Block(_, _, id, None)) => index.remove(&id),
                _ => {}
            }
        },
    );
    discovery.target_maps.refill(found.await?);
    Ok(())
}
