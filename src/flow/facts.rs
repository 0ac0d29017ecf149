//! Bringing the facts of the accounts into the offset map.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::{Account, Facts};
use super::discover::Mirror;
use super::exactly_once::Claim;
use super::ledger::{self, Draft};
use super::now_ms;
use super::partition::Mine;
use crate::offsets::epochs::Epochs;
use crate::offsets::record::{Block, Key, VERSION};
use crate::offsets::segments::Segment;
use crate::offsets::writer::{MapWriter, WriteError};

/// How often a partition that is given up is looked at.
const TICK: Duration = Duration::from_millis(5);

/// Facts of one partition that are about to be written.
pub struct Taken {
    account: Arc<Account>,
    facts: Facts,
    mirror: Mirror,
    partition: i32,
}

/// Where a partition begins of which nothing is on record, or where what is on record is of no use any more.
pub struct Beginning {
    /// Its topic and mirror.
    pub mirror: Mirror,
    /// The partition.
    pub partition: i32,
    /// The first source offset that is copied.
    pub position: i64,
    /// The target offset from which on the mirror's records are copied ones.
    pub target_position: i64,
    /// What it is copied with.
    pub claim: Option<Claim>,
    /// The source's leader epochs, as far as they are known.
    pub epochs: Epochs,
    /// Where records before it landed of which nothing is on record.
    pub found: Vec<Segment>,
    /// Behind which source and target position all that was copied is known.
    pub from: Option<(i64, i64)>,
    /// Nothing is copied under the claim.
    pub released: bool,
}

/// The facts that the offset map does not hold yet.
pub fn take<'a>(partitions: impl Iterator<Item = &'a Mine>) -> Vec<Taken> {
    take_by(partitions, Account::take_facts)
}

fn take_by<'a>(
    partitions: impl Iterator<Item = &'a Mine>,
    take: impl Fn(&Account) -> Option<Facts>,
) -> Vec<Taken> {
    partitions
        .filter_map(|mine| {
            let account = mine.account.as_ref()?;
            Some(Taken {
                facts: take(account)?,
                account: account.clone(),
                mirror: mine.mirror.clone(),
                partition: mine.partition,
            })
        })
        .collect()
}

/// Write where partitions begin, before anything of them is copied. What was found there goes with it: whoever reads this goes on behind that, and
/// looks no more.
pub async fn begin(writer: &MapWriter, beginnings: Vec<Beginning>) -> Result<(), WriteError> {
    let mut records = Vec::with_capacity(beginnings.len());
    for beginning in beginnings {
        let facts = Facts {
            position: beginning.position,
            target_position: beginning.target_position,
            blocks: ledger::blocks(beginning.from, &beginning.found, beginning.target_position),
            claim: beginning.claim,
            epochs: beginning.epochs,
        };
        let place = (&beginning.mirror, beginning.partition);
        records.extend(blocks(place, &facts, beginning.released));
    }
    writer.blocks(&records).await
}

/// Write them. If that fails, the accounts offer them again. Facts that are taken later are written later, whenever the outcome is waited for:
/// a release mark is not followed by what was true before it.
pub fn write(
    writer: &MapWriter,
    taken: Vec<Taken>,
    released: bool,
) -> impl Future<Output = Result<(), WriteError>> + Send + use<> {
    let blocks_of = |taken: &Taken| blocks((&taken.mirror, taken.partition), &taken.facts, released);
    let records: Vec<(Key, Option<Block>)> = taken.iter().flat_map(blocks_of).collect();
    let queued = writer.blocks(&records);
    async move {
        let result = queued.await;
        for taken in taken {
            match &result {
                Ok(()) => taken.account.written(&taken.facts),
                Err(error) => taken.account.unwritten(taken.facts, &error.to_string()),
            }
        }
        result
    }
}

/// Write the last facts of partitions of which nothing is on its way, with a release mark where nothing can arrive any more: their owner copies
/// nothing of them for now. Returns whether they are written.
pub async fn mark(writer: &MapWriter, clear: Vec<Taken>, unclear: Vec<Taken>) -> bool {
    let mut written = true;
    for (taken, released) in [(clear, true), (unclear, false)] {
        if let Err(error) = write(writer, taken, released).await {
            tracing::warn!("{error}; it is tried again");
            written = false;
        }
    }
    written
}

fn blocks((mirror, partition): (&Mirror, i32), facts: &Facts, released: bool) -> Vec<(Key, Option<Block>)> {
    let place = (mirror, partition, facts.claim);
    let last = facts.blocks.len().saturating_sub(1);
    let blocks = facts.blocks.iter().enumerate().map(|(index, draft)| {
        // A full block that is followed by others speaks of the position at its own end.
        let positions = draft
            .segments
            .last()
            .filter(|_| index < last)
            .map_or((facts.position, facts.target_position), |end| {
                (end.source_end(), end.target_end())
            });
        let released = released && index == last;
        block(place, draft.clone(), positions, &facts.epochs, released)
    });
    blocks.collect()
}

/// A block of a partition with the positions on both sides.
fn block(
    (mirror, partition, claim): (&Mirror, i32, Option<Claim>),
    draft: Draft,
    (position, target_position): (i64, i64),
    epochs: &Epochs,
    released: bool,
) -> (Key, Option<Block>) {
    let key = Key {
        topic: mirror.target_topic.clone(),
        partition: Some(partition),
        block: Some(draft.id),
        owner: claim.map(|claim| (claim.producer_id, claim.epoch)),
    };
    let block = Block {
        v: VERSION,
        source_topic: mirror.topic.clone(),
        source_topic_id: mirror.source_id.clone(),
        target_topic_id: mirror.target_id.clone(),
        position,
        target_position,
        from: draft.from,
        segments: draft.segments,
        at_ms: now_ms(),
        producer_id: claim.map(|claim| claim.producer_id),
        producer_epoch: claim.map(|claim| claim.epoch),
        source_epochs: epochs.before(position),
        released,
    };
    (key, Some(block))
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
    // Facts that a write under way has taken must be there before anyone else goes on from them; if it fails, they are offered again. Whoever
    // waits for it may hear of it a moment after this.
    if let Err(error) = writer.settled().await {
        tracing::debug!("{error}");
    }
    let is_being_written = |mine: &Mine| {
        mine.account
            .as_ref()
            .is_some_and(|account| account.is_being_written())
    };
    while partitions.iter().any(is_being_written) && Instant::now() < until {
        tokio::time::sleep(TICK).await;
    }
    // They say what was true then, and are no place for a release mark.
    let repeated = take_by(partitions.iter(), Account::take_repeated);
    if let Err(error) = write(writer, repeated, false).await {
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
