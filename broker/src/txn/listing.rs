//! ListTransactions and DescribeTransactions.

use std::collections::HashSet;

use super::coordinator::Coordinator;
use super::metadata::{Metadata, State};
use super::{OFFSETS_TOPIC, Partitions};

/// Which transactions to list. `None`, or no producer id, lets everything pass.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) states: Option<Vec<State>>,
    pub(crate) producer_ids: HashSet<i64>,
    /// Only those that run for longer, in milliseconds.
    pub(crate) longer_than_ms: Option<i64>,
    /// Only ids that match as a whole.
    pub(crate) pattern: Option<regex::Regex>,
}

/// A transactional id, as tools show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) transactional_id: String,
    pub(crate) state: State,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) started_ms: i64,
    pub(crate) partitions: Partitions,
}

/// How many partitions Kafka's topic of offsets has by default: tools show groups as these.
const OFFSETS_PARTITIONS: i32 = 50;

impl Coordinator {
    /// All transactional ids that pass.
    pub(crate) async fn list(&self, filter: &Filter) -> Vec<Described> {
        let (mut listed, now_ms) = (Vec::new(), self.now_ms());
        for (id, slot) in self.all() {
            let place = slot.metadata.lock().await;
            if let Some(metadata) = place
                .as_ref()
                .filter(|metadata| filter.passes(&id, metadata, now_ms))
            {
                listed.push(describe(id, metadata));
            }
        }
        listed
    }

    /// One transactional id, if it is known.
    pub(crate) async fn describe(&self, id: &str) -> Option<Described> {
        let slot = self.find(id)?;
        let place = slot.metadata.lock().await;
        Some(describe(id.to_owned(), place.as_ref()?))
    }
}

impl Filter {
    fn passes(&self, id: &str, metadata: &Metadata, now_ms: i64) -> bool {
        let age = now_ms.saturating_sub(metadata.started_ms);
        self.states
            .as_ref()
            .is_none_or(|states| states.contains(&metadata.state))
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&metadata.producer_id))
            && self.longer_than_ms.is_none_or(|longest| age > longest)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
    }
}

fn describe(transactional_id: String, metadata: &Metadata) -> Described {
    let mut partitions = metadata.partitions.clone();
    for group in &metadata.groups {
        partitions
            .entry(OFFSETS_TOPIC.to_owned())
            .or_default()
            .insert(offsets_partition(group));
    }
    Described {
        transactional_id,
        state: metadata.state,
        producer_id: metadata.producer_id,
        epoch: metadata.epoch,
        timeout_ms: metadata.timeout_ms,
        started_ms: metadata.started_ms,
        partitions,
    }
}

/// The partition of the topic of offsets in which Kafka would keep a group: by Java's hash of its name.
fn offsets_partition(group: &str) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash & i32::MAX) % OFFSETS_PARTITIONS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_shown_where_kafka_would_keep_them() {
        // As Java's String.hashCode has it.
        for (group, partition) in [("", 0), ("a", 47), ("ab", 5), ("my-group", 36), ("grüße", 23)] {
            assert_eq!(offsets_partition(group), partition, "{group}");
        }
    }
}
