//! Bringing the facts of the accounts into the offset map.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::{Account, Facts};
use super::now_ms;
use super::partition::Mine;
use crate::offsets::record::{Block, Key, VERSION};
use crate::offsets::store::{MapWriter, WriteError};

/// How often a partition that is given up is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Facts of one partition that are about to be written.
pub struct Taken {
    account: Arc<Account>,
    facts: Facts,
    target_topic: String,
    partition: i32,
    source_topic: String,
    source_id: Option<String>,
    target_id: Option<String>,
}

/// The facts that the offset map does not hold yet.
pub fn take<'a>(partitions: impl Iterator<Item = &'a Mine>) -> Vec<Taken> {
    partitions
        .filter_map(|mine| {
            let account = mine.account.clone()?;
            Some(Taken {
                facts: account.take_facts()?,
                account,
                target_topic: mine.mirror.target_topic.clone(),
                partition: mine.partition,
                source_topic: mine.mirror.topic.clone(),
                source_id: mine.mirror.source_id.clone(),
                target_id: mine.mirror.target_id.clone(),
            })
        })
        .collect()
}

/// Write them. If that fails, the accounts offer them again.
pub async fn write(writer: &MapWriter, taken: Vec<Taken>, released: bool) -> Result<(), WriteError> {
    let records: Vec<(Key, Option<Block>)> = taken.iter().flat_map(|taken| blocks(taken, released)).collect();
    let result = writer.blocks(&records).await;
    if result.is_err() {
        for taken in taken {
            taken.account.unwritten(taken.facts);
        }
    }
    result
}

fn blocks(taken: &Taken, released: bool) -> impl Iterator<Item = (Key, Option<Block>)> {
    let last = taken.facts.blocks.len().saturating_sub(1);
    taken
        .facts
        .blocks
        .iter()
        .enumerate()
        .map(move |(index, (id, segments))| {
            let key = Key {
                topic: taken.target_topic.clone(),
                partition: Some(taken.partition),
                block: Some(*id),
                owner: taken.facts.claim.map(|claim| (claim.producer_id, claim.epoch)),
            };
            // A full block that is followed by others speaks of the position at its own end.
            let end = segments.last().filter(|_| index < last);
            let block = Block {
                v: VERSION,
                source_topic: taken.source_topic.clone(),
                source_topic_id: taken.source_id.clone(),
                target_topic_id: taken.target_id.clone(),
                position: end.map_or(taken.facts.position, |segment| segment.source_end()),
                target_position: end.map_or(taken.facts.target_position, |segment| segment.target_end()),
                segments: segments.clone(),
                at_ms: now_ms(),
                producer_id: taken.facts.claim.map(|claim| claim.producer_id),
                producer_epoch: taken.facts.claim.map(|claim| claim.epoch),
                released: released && index == last,
            };
            (key, Some(block))
        })
}

/// Wait until nothing of these partitions is on its way, then write their last facts with a release mark. Returns of how
/// many something is copied again: they were still waiting at the deadline, and their facts are written without the mark, or the facts
/// could not be written.
pub async fn release(writer: &MapWriter, partitions: Vec<Mine>, deadline: Duration) -> usize {
    let until = Instant::now() + deadline;
    let drained = |mine: &Mine| mine.account.as_ref().is_none_or(|account| account.is_drained());
    while !partitions.iter().all(drained) && Instant::now() < until {
        tokio::time::sleep(TICK).await;
    }
    // Facts that a write under way has taken must be there before anyone else goes on from them; if it fails, they are offered again.
    if let Err(error) = writer.settled().await {
        tracing::debug!("{error}");
    }
    let (drained, mut unmarked): (Vec<Mine>, Vec<Mine>) = partitions.into_iter().partition(drained);
    let mut again = unmarked.len();
    // What may yet arrive has to be fenced by whoever comes next, who does not do that where there is a mark.
    let is_clear = |mine: &Mine| mine.account.as_ref().is_none_or(|account| account.is_clear());
    let (clean, unclear): (Vec<Mine>, Vec<Mine>) = drained.into_iter().partition(is_clear);
    again += unclear.len();
    unmarked.extend(unclear);
    for account in clean.iter().filter_map(|mine| mine.account.as_ref()) {
        // Whoever comes next has to know that nothing is on its way, also if nothing has moved.
        account.state_position();
    }
    for (partitions, released) in [(&clean, true), (&unmarked, false)] {
        if let Err(error) = write(writer, take(partitions.iter()), released).await {
            tracing::warn!("{error}; what was copied since the last write is copied again");
            again += if released { clean.len() } else { 0 };
        }
    }
    again
}
