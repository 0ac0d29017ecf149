//! Sets of partitions: what a member owns, is to give up, or is to get.

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::Uuid;
use heliostat_wire::message::consumer_group_heartbeat::TopicPartitions;

/// Partitions by topic id. A topic without partitions is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::group) struct Assignment(BTreeMap<Uuid, BTreeSet<i32>>);

impl Assignment {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    pub fn contains(&self, topic: Uuid, partition: i32) -> bool {
        self.0.get(&topic).is_some_and(|p| p.contains(&partition))
    }

    pub fn insert(&mut self, topic: Uuid, partition: i32) {
        self.0.entry(topic).or_default().insert(partition);
    }

    pub fn remove(&mut self, topic: Uuid, partition: i32) {
        if let Some(partitions) = self.0.get_mut(&topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.0.remove(&topic);
            }
        }
    }

    /// The partitions of one topic.
    pub fn of(&self, topic: Uuid) -> Option<&BTreeSet<i32>> {
        self.0.get(&topic)
    }

    /// Every partition with its topic, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.0
            .iter()
            .flat_map(|(&topic, partitions)| partitions.iter().map(move |&p| (topic, p)))
    }

    /// Every topic with its partitions, in order.
    pub fn topics(&self) -> impl Iterator<Item = (Uuid, &BTreeSet<i32>)> {
        self.0.iter().map(|(&topic, partitions)| (topic, partitions))
    }
}

impl FromIterator<(Uuid, i32)> for Assignment {
    fn from_iter<I: IntoIterator<Item = (Uuid, i32)>>(partitions: I) -> Self {
        let mut assignment = Assignment::default();
        for (topic, partition) in partitions {
            assignment.insert(topic, partition);
        }
        assignment
    }
}

impl From<&Assignment> for Vec<TopicPartitions> {
    fn from(assignment: &Assignment) -> Self {
        let topic = |(topic_id, partitions): (Uuid, &BTreeSet<i32>)| TopicPartitions {
            topic_id,
            partitions: partitions.iter().copied().collect(),
        };
        assignment.topics().map(topic).collect()
    }
}

/// Whether any of the partitions that a member reports is in the assignment.
pub(in crate::group) fn owns_any_of(owned: &[TopicPartitions], assignment: &Assignment) -> bool {
    owned
        .iter()
        .any(|t| t.partitions.iter().any(|&p| assignment.contains(t.topic_id, p)))
}

/// Whether all partitions that a member reports are in the assignment.
pub(in crate::group) fn owns_nothing_beyond(owned: &[TopicPartitions], assignment: &Assignment) -> bool {
    owned
        .iter()
        .all(|t| t.partitions.iter().all(|&p| assignment.contains(t.topic_id, p)))
}
