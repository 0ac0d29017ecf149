//! The offsets of one group: what is committed, and what waits for the end of a transaction.
//!
//! Nothing changes here before it is durable: a request is worked out into [`OffsetChange`]s, these are stored, and only then
//! applied.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::ErrorCode;
use heliostat_wire::message::offset_fetch::{OffsetFetchResponsePartitions, OffsetFetchResponseTopics};

use super::room::{OFFSET_BYTES, texts};

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: i64,
    /// The leader epoch of the last record that was consumed, or -1.
    pub leader_epoch: i32,
    pub metadata: String,
    /// Wall clock, in milliseconds.
    pub committed_at: i64,
    /// Set by old clients that choose a retention of their own (OffsetCommit up to version 4).
    pub expires_at: Option<i64>,
    /// Counts the group's commits. A transaction's offset takes effect only if none was committed after it.
    pub order: i64,
}

/// One change to a group's offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OffsetChange {
    Set {
        topic: String,
        partition: i32,
        committed: Committed,
    },
    Remove {
        topic: String,
        partition: i32,
    },
    SetPending {
        producer_id: i64,
        topic: String,
        partition: i32,
        committed: Committed,
    },
    RemovePending {
        producer_id: i64,
        topic: String,
        partition: i32,
    },
}

impl Committed {
    /// What it takes in memory, in bytes.
    fn bytes(&self, topic: &str) -> usize {
        OFFSET_BYTES + texts([topic, &self.metadata])
    }
}

/// The offsets of one group.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: BTreeMap<String, BTreeMap<i32, Committed>>,
    /// By producer id, and then by topic and partition.
    pending: BTreeMap<i64, BTreeMap<(String, i32), Committed>>,
    last_order: i64,
    /// What they take in memory.
    bytes: usize,
}

impl Offsets {
    /// Whether there is nothing, not even in an open transaction.
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// The topics with a committed offset.
    pub fn topics(&self) -> impl Iterator<Item = &String> {
        self.committed.keys()
    }

    /// What they take in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What more they take with these changes, in bytes.
    pub fn growth(&self, changes: &[OffsetChange]) -> usize {
        let (mut more, mut less) = (0, 0);
        for change in changes {
            let (topic, old, new) = match change {
                OffsetChange::Set {
                    topic,
                    partition,
                    committed,
                } => (topic, self.get(topic, *partition), committed),
                OffsetChange::SetPending {
                    producer_id,
                    topic,
                    partition,
                    committed,
                } => {
                    let pending = self.pending.get(producer_id);
                    let old = pending.and_then(|offsets| offsets.get(&(topic.clone(), *partition)));
                    (topic, old, committed)
                }
                OffsetChange::Remove { .. } | OffsetChange::RemovePending { .. } => continue,
            };
            more += new.bytes(topic);
            less += old.map_or(0, |old| old.bytes(topic));
        }
        more.saturating_sub(less)
    }

    /// A number for the next commit, larger than all before.
    pub fn next_order(&mut self) -> i64 {
        self.last_order += 1;
        self.last_order
    }

    /// Makes a change that is stored, or was read from the journal.
    pub fn apply(&mut self, change: OffsetChange) {
        match change {
            OffsetChange::Set {
                topic,
                partition,
                committed,
            } => {
                self.last_order = self.last_order.max(committed.order);
                self.bytes += committed.bytes(&topic);
                let partitions = self.committed.entry(topic.clone()).or_default();
                let old = partitions.insert(partition, committed);
                self.bytes -= old.map_or(0, |old| old.bytes(&topic));
            }
            OffsetChange::Remove { topic, partition } => {
                if let Some(partitions) = self.committed.get_mut(&topic) {
                    let old = partitions.remove(&partition);
                    self.bytes -= old.map_or(0, |old| old.bytes(&topic));
                    if partitions.is_empty() {
                        self.committed.remove(&topic);
                    }
                }
            }
            OffsetChange::SetPending {
                producer_id,
                topic,
                partition,
                committed,
            } => {
                self.last_order = self.last_order.max(committed.order);
                self.bytes += committed.bytes(&topic);
                let pending = self.pending.entry(producer_id).or_default();
                let old = pending.insert((topic.clone(), partition), committed);
                self.bytes -= old.map_or(0, |old| old.bytes(&topic));
            }
            OffsetChange::RemovePending {
                producer_id,
                topic,
                partition,
            } => {
                if let Some(offsets) = self.pending.get_mut(&producer_id) {
                    let old = offsets.remove(&(topic.clone(), partition));
                    self.bytes -= old.map_or(0, |old| old.bytes(&topic));
                    if offsets.is_empty() {
                        self.pending.remove(&producer_id);
                    }
                }
            }
        }
    }

    /// The end of a producer's transaction.
    pub fn end_transaction(&self, producer_id: i64, commit: bool) -> Vec<OffsetChange> {
        let mut changes = Vec::new();
        for ((topic, partition), pending) in self.pending.get(&producer_id).into_iter().flatten() {
            let (topic, partition) = (topic.clone(), *partition);
            let overtaken = self
                .get(&topic, partition)
                .is_some_and(|c| c.order > pending.order);
            if commit && !overtaken {
                changes.push(OffsetChange::Set {
                    topic: topic.clone(),
                    partition,
                    committed: pending.clone(),
                });
            }
            changes.push(OffsetChange::RemovePending {
                producer_id,
                topic,
                partition,
            });
        }
        changes
    }

    /// Forgets what is known about one partition.
    pub fn remove(&self, topic: &str, partition: i32) -> Vec<OffsetChange> {
        let mut changes = Vec::new();
        if self.get(topic, partition).is_some() {
            changes.push(OffsetChange::Remove {
                topic: topic.to_owned(),
                partition,
            });
        }
        for (&producer_id, offsets) in &self.pending {
            if offsets.contains_key(&(topic.to_owned(), partition)) {
                changes.push(OffsetChange::RemovePending {
                    producer_id,
                    topic: topic.to_owned(),
                    partition,
                });
            }
        }
        changes
    }

    /// Forgets everything about a topic.
    pub fn remove_topic(&self, topic: &str) -> Vec<OffsetChange> {
        let committed = self
            .committed
            .get(topic)
            .into_iter()
            .flat_map(|p| p.keys().copied());
        let pending = self
            .pending
            .values()
            .flat_map(|offsets| offsets.keys().filter(|(t, _)| t == topic).map(|(_, p)| *p));
        let partitions: BTreeSet<i32> = committed.chain(pending).collect();
        partitions
            .into_iter()
            .flat_map(|partition| self.remove(topic, partition))
            .collect()
    }

    /// Forgets everything.
    pub fn remove_all(&self) -> Vec<OffsetChange> {
        let pending = self
            .pending
            .values()
            .flat_map(|offsets| offsets.keys().map(|(topic, _)| topic));
        let topics: BTreeSet<&String> = self.committed.keys().chain(pending).collect();
        topics
            .into_iter()
            .flat_map(|topic| self.remove_topic(topic))
            .collect()
    }

    /// Forgets offsets that are out of date. `unused_since` tells for a topic and a commit time from when on an offset
    /// counts as unused, if it does. An offset with a transaction pending on it stays.
    pub fn expire(
        &self,
        now: i64,
        retention: i64,
        unused_since: impl Fn(&str, i64) -> Option<i64>,
    ) -> Vec<OffsetChange> {
        let mut changes = Vec::new();
        for (topic, partitions) in &self.committed {
            for (&partition, committed) in partitions {
                let Some(since) = unused_since(topic, committed.committed_at) else {
                    continue;
                };
                let expires_at = committed.expires_at.unwrap_or(since.saturating_add(retention));
                if now >= expires_at && !self.is_pending(topic, partition) {
                    changes.push(OffsetChange::Remove {
                        topic: topic.clone(),
                        partition,
                    });
                }
            }
        }
        changes
    }

    /// What OffsetFetch says about one partition. With `require_stable`, one that a transaction is about to change is
    /// answered with an error.
    pub fn fetch(&self, topic: &str, partition: i32, require_stable: bool) -> OffsetFetchResponsePartitions {
        let mut response = OffsetFetchResponsePartitions {
            partition_index: partition,
            committed_offset: -1,
            committed_leader_epoch: -1,
            metadata: Some(String::new()),
            error_code: ErrorCode::None.code(),
        };
        if require_stable && self.is_pending(topic, partition) {
            response.error_code = ErrorCode::UnstableOffsetCommit.code();
        } else if let Some(committed) = self.get(topic, partition) {
            response.committed_offset = committed.offset;
            response.committed_leader_epoch = committed.leader_epoch;
            response.metadata = Some(committed.metadata.clone());
        }
        response
    }

    /// What OffsetFetch says when it is asked for everything.
    pub fn fetch_all(&self, require_stable: bool) -> Vec<OffsetFetchResponseTopics> {
        let topic = |(name, partitions): (&String, &BTreeMap<i32, Committed>)| OffsetFetchResponseTopics {
            name: name.clone(),
            partitions: partitions
                .keys()
                .map(|&partition| self.fetch(name, partition, require_stable))
                .collect(),
        };
        self.committed.iter().map(topic).collect()
    }

    fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(topic)?.get(&partition)
    }

    fn is_pending(&self, topic: &str, partition: i32) -> bool {
        !self.pending.is_empty()
            && self
                .pending
                .values()
                .any(|offsets| offsets.contains_key(&(topic.to_owned(), partition)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(offset: i64, order: i64) -> Committed {
        Committed {
            offset,
            leader_epoch: 0,
            metadata: String::new(),
            committed_at: 100,
            expires_at: None,
            order,
        }
    }

    fn set(topic: &str, offset: i64, order: i64) -> OffsetChange {
        OffsetChange::Set {
            topic: topic.into(),
            partition: 0,
            committed: committed(offset, order),
        }
    }

    fn set_pending(producer_id: i64, offset: i64, order: i64) -> OffsetChange {
        OffsetChange::SetPending {
            producer_id,
            topic: "t".into(),
            partition: 0,
            committed: committed(offset, order),
        }
    }

    fn with(changes: impl IntoIterator<Item = OffsetChange>) -> Offsets {
        let mut offsets = Offsets::default();
        changes.into_iter().for_each(|change| offsets.apply(change));
        offsets
    }

    fn apply_all(offsets: &mut Offsets, changes: Vec<OffsetChange>) {
        changes.into_iter().for_each(|change| offsets.apply(change));
    }

    #[test]
    fn a_transaction_shows_its_offsets_only_when_it_commits() {
        let mut offsets = with([set("t", 5, 1), set_pending(7, 9, 2)]);
        assert_eq!(offsets.fetch("t", 0, false).committed_offset, 5);
        assert_eq!(
            offsets.fetch("t", 0, true).error_code,
            ErrorCode::UnstableOffsetCommit.code()
        );
        let changes = offsets.end_transaction(7, true);
        apply_all(&mut offsets, changes);
        assert_eq!(offsets.fetch("t", 0, true).committed_offset, 9);

        let mut offsets = with([set("t", 5, 1), set_pending(7, 9, 2)]);
        let changes = offsets.end_transaction(7, false);
        apply_all(&mut offsets, changes);
        assert_eq!(offsets.fetch("t", 0, true).committed_offset, 5);
    }

    #[test]
    fn a_commit_made_after_a_transactions_own_is_not_undone_by_it() {
        let mut offsets = with([set_pending(7, 9, 1), set("t", 20, 2)]);
        let changes = offsets.end_transaction(7, true);
        apply_all(&mut offsets, changes);
        assert_eq!(offsets.fetch("t", 0, true).committed_offset, 20);
    }

    #[test]
    fn removing_everything_leaves_nothing() {
        let mut offsets = with([set("t", 5, 1), set("u", 6, 2), set_pending(7, 9, 3)]);
        let changes = offsets.remove_all();
        apply_all(&mut offsets, changes);
        assert!(offsets.is_empty());
        assert_eq!(offsets.bytes(), 0);
        assert_eq!(offsets.next_order(), 4);
    }

    #[test]
    fn offsets_that_take_the_place_of_others_take_no_more_memory() {
        let mut offsets = with([set("t", 5, 1), set_pending(7, 9, 2)]);
        let before = offsets.bytes();
        assert_eq!(offsets.growth(&[set("t", 6, 3), set_pending(7, 10, 4)]), 0);
        let more = [set("u", 6, 3), set_pending(8, 10, 4)];
        let growth = offsets.growth(&more);
        assert!(growth > 0);
        apply_all(&mut offsets, more.to_vec());
        assert_eq!(offsets.bytes(), before + growth);
        apply_all(&mut offsets, vec![set("t", 6, 3)]);
        assert_eq!(offsets.bytes(), before + growth);
    }

    #[test]
    fn an_offset_expires_when_it_was_unused_for_long_enough() {
        let offsets = with([set("read", 5, 1), set("unread", 6, 2)]);
        let unused = |topic: &str, committed: i64| (topic == "unread").then_some(committed);
        assert_eq!(offsets.expire(149, 50, unused), vec![]);
        let expired = vec![OffsetChange::Remove {
            topic: "unread".into(),
            partition: 0,
        }];
        assert_eq!(offsets.expire(150, 50, unused), expired);
        // A transaction about to change it keeps it.
        let offsets = with([set("t", 5, 1), set_pending(7, 9, 2)]);
        assert_eq!(offsets.expire(150, 50, |_, committed| Some(committed)), vec![]);
    }
}
