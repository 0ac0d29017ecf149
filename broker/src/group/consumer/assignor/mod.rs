//! The assignors that run in the coordinator: who is to get which partitions (KIP-848).
//!
//! An assignor sees the members with the topics that they read and with what they were to get before, and says what each
//! is to get now. Both give every partition of every topic that somebody reads to exactly one member that reads it.

mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use heliostat_wire::Uuid;

use super::assignment::Assignment;

/// An assignor, by the name that `group.consumer.assignors` and members know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::group) enum Assignor {
    /// Spreads all partitions evenly, and moves as few as it can.
    Uniform,
    /// Cuts each topic into ranges, so that the same partitions of two topics go to the same member.
    Range,
}

/// A member as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub(in crate::group) struct Reader {
    pub instance_id: Option<String>,
    /// The topics that it reads and that exist.
    pub topics: BTreeSet<Uuid>,
    /// What it was to get before.
    pub previous: Assignment,
}

/// A group as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub(in crate::group) struct Spec {
    /// The members, by id.
    pub readers: BTreeMap<String, Reader>,
    /// The partitions of each topic that somebody reads.
    pub partitions: BTreeMap<Uuid, i32>,
}

impl Assignor {
    /// Those that there are, the default first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// What each member is to get.
    pub fn assign(self, spec: &Spec) -> BTreeMap<String, Assignment> {
        match self {
            Assignor::Uniform => uniform::assign(spec),
            Assignor::Range => range::assign(spec),
        }
    }
}

impl Spec {
    /// Whether all members read the same topics.
    fn is_homogeneous(&self) -> bool {
        let mut readers = self.readers.values();
        let first = readers.next();
        readers.all(|reader| first.is_some_and(|first| first.topics == reader.topics))
    }
}
