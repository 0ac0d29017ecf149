//! Who leads a partition, which replicas are in sync, and what changes when nodes come and go.
//!
//! The rules are Kafka's with eligible leader replicas (KIP-966): a replica that leaves the in-sync replicas while there
//! are fewer than `min.insync.replicas` stays eligible, and only in-sync or eligible replicas are elected. Since all
//! replicas of a partition are one log here, an unclean election loses nothing; it still has to be allowed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Stands for "no node" where a leader is named.
pub const NO_LEADER: i32 = -1;

/// A partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// The node that serves it; -1 while it is offline.
    pub leader: i32,
    /// The nodes that are said to hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// How many times the leader has changed. It is part of the leader epoch.
    #[serde(default)]
    pub elections: i32,
    /// Replicas that it is about to get, which must be in sync before the others go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adding: Vec<i32>,
    /// Replicas that go then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removing: Vec<i32>,
    /// The replicas that are in sync. After a start all are: nodes start together, with the same bytes.
    #[serde(skip)]
    pub isr: Vec<i32>,
    /// Replicas out of sync that may be elected nevertheless.
    #[serde(skip)]
    pub eligible: Vec<i32>,
    /// While it is offline: the node that led it last.
    #[serde(skip)]
    pub last_known: Vec<i32>,
    /// Replicas that are kept out of sync on demand.
    #[serde(skip)]
    pub behind: Vec<i32>,
}

/// What elections of a partition go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The nodes that are up.
    pub(crate) live: &'a BTreeSet<i32>,
    /// `min.insync.replicas`.
    pub(crate) min_isr: usize,
    /// `unclean.leader.election.enable`.
    pub(crate) unclean: bool,
}

/// Why a node was not made the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotElected {
    /// It leads already.
    NotNeeded,
    /// It is down, not in sync, or no replica.
    NotAvailable,
}

impl Partition {
    /// A partition that its first replica leads. `replicas` must not be empty.
    pub fn new(replicas: Vec<i32>) -> Self {
        Partition {
            leader: replicas[0],
            elections: 0,
            adding: Vec::new(),
            removing: Vec::new(),
            isr: replicas.clone(),
            eligible: Vec::new(),
            last_known: Vec::new(),
            behind: Vec::new(),
            replicas,
        }
    }

    /// How many in-sync replicas acks=all takes: `min.insync.replicas`, but no more than there are replicas.
    pub(crate) fn effective_min_isr(&self, min_isr: usize) -> usize {
        min_isr.min(self.replicas.len())
    }

    /// The replicas whose nodes are down.
    pub(crate) fn offline_replicas(&self, live: &BTreeSet<i32>) -> Vec<i32> {
        let replicas = self.replicas.iter().copied();
        replicas.filter(|node| !live.contains(node)).collect()
    }

    /// The partition as it is on nodes 1 to `nodes` after a start: what a node led that is there no more is led by
    /// another replica, or by any node if there is none. All nodes share their storage, so none of them lacks the data.
    pub(super) fn on_nodes(&mut self, index: usize, nodes: i32) {
        let is_there = |node: &i32| (1..=nodes).contains(node);
        self.replicas.retain(is_there);
        self.adding.retain(is_there);
        self.removing.retain(is_there);
        if self.replicas.is_empty() {
            self.replicas.push(index as i32 % nodes + 1);
        }
        if !self.replicas.contains(&self.leader) {
            self.leader = self.replicas[0];
        }
        self.isr = self.replicas.clone();
        let live = (1..=nodes).collect();
        self.complete_reassignment(&Rules {
            live: &live,
            min_isr: 1,
            unclean: false,
        });
    }

    /// Brings leader and in-sync replicas in line with the nodes that are up.
    pub(crate) fn settle(&mut self, rules: &Rules<'_>) {
        let usable = |partition: &Partition, node: &i32| {
            rules.live.contains(node) && partition.replicas.contains(node) && !partition.behind.contains(node)
        };
        let before = self.isr.clone();
        self.isr = before.iter().copied().filter(|node| usable(self, node)).collect();
        self.keep_eligible(&before, rules);
        self.elect_if_needed(rules);
        if self.leader != NO_LEADER {
            let back = self.replicas.iter().copied();
            let back: Vec<_> = back
                .filter(|node| usable(self, node) && !self.isr.contains(node))
                .collect();
            self.isr.extend(back);
            self.complete_reassignment(rules);
            self.keep_eligible(&[], rules);
        }
    }

    /// Makes a node the leader if it is up and in sync.
    pub(crate) fn elect(&mut self, node: i32, rules: &Rules<'_>) -> Result<(), NotElected> {
        if self.leader == node {
            return Err(NotElected::NotNeeded);
        }
        if !self.isr.contains(&node) || !rules.live.contains(&node) {
            return Err(NotElected::NotAvailable);
        }
        self.lead(node);
        Ok(())
    }

    /// Elects any replica that is up, in sync or not, where nobody leads.
    pub(crate) fn elect_unclean(&mut self, rules: &Rules<'_>) -> Result<(), NotElected> {
        if self.leader != NO_LEADER {
            return Err(NotElected::NotNeeded);
        }
        self.settle(&Rules {
            unclean: true,
            ..*rules
        });
        match self.leader {
            NO_LEADER => Err(NotElected::NotAvailable),
            _ => Ok(()),
        }
    }

    /// Whether the partition waits to be moved.
    pub(crate) fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Moves the partition to other nodes: at once if they are up, because all nodes share the bytes.
    pub(crate) fn reassign(&mut self, target: Vec<i32>, rules: &Rules<'_>) {
        let mut original = std::mem::take(&mut self.replicas);
        original.retain(|node| !self.adding.contains(node));
        self.adding = without(&target, &original);
        self.removing = without(&original, &target);
        self.replicas = target;
        self.replicas.extend(&self.removing);
        self.settle(rules);
    }

    /// Leaves the partition where it was. False if it was not about to move.
    pub(crate) fn cancel_reassignment(&mut self, rules: &Rules<'_>) -> bool {
        if !self.is_reassigning() {
            return false;
        }
        self.replicas = without(&self.replicas, &self.adding);
        self.adding.clear();
        self.removing.clear();
        self.settle(rules);
        true
    }

    fn complete_reassignment(&mut self, rules: &Rules<'_>) {
        let target = without(&self.replicas, &self.removing);
        let has_some = self.isr.iter().any(|node| target.contains(node));
        let has_new = self.adding.iter().all(|node| self.isr.contains(node));
        if !self.is_reassigning() || !has_some || !has_new {
            return;
        }
        self.isr.retain(|node| target.contains(node));
        self.eligible.retain(|node| target.contains(node));
        self.behind.retain(|node| target.contains(node));
        self.replicas = target;
        self.adding.clear();
        self.removing.clear();
        self.elect_if_needed(rules);
    }

    fn elect_if_needed(&mut self, rules: &Rules<'_>) {
        if self.isr.contains(&self.leader) {
            return;
        }
        let is_live = |node: &&i32| rules.live.contains(node);
        let may_lead = |node: &&i32| self.isr.contains(node) || self.eligible.contains(node);
        let elected = self.replicas.iter().filter(is_live).find(may_lead);
        let elected = elected.or_else(|| self.replicas.iter().filter(is_live).find(|_| rules.unclean));
        let elected = elected.copied().unwrap_or(NO_LEADER);
        if elected != NO_LEADER && !self.isr.contains(&elected) {
            self.isr = vec![elected];
            self.eligible.retain(|node| *node != elected);
            self.behind.retain(|node| *node != elected);
        }
        if elected != self.leader {
            self.lead(elected);
        }
    }

    fn lead(&mut self, node: i32) {
        self.last_known = match node {
            NO_LEADER => vec![self.leader],
            _ => Vec::new(),
        };
        self.leader = node;
        self.elections = self.elections.saturating_add(1);
    }

    fn keep_eligible(&mut self, left: &[i32], rules: &Rules<'_>) {
        if self.isr.len() >= self.effective_min_isr(rules.min_isr) {
            self.eligible.clear();
            return;
        }
        let before: BTreeSet<i32> = self.eligible.iter().chain(left).copied().collect();
        let stays = |node: &i32| self.replicas.contains(node) && !self.isr.contains(node);
        self.eligible = before.into_iter().filter(stays).collect();
    }
}

fn without(nodes: &[i32], others: &[i32]) -> Vec<i32> {
    let nodes = nodes.iter().copied();
    nodes.filter(|node| !others.contains(node)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settle(partition: &mut Partition, live: &[i32], min_isr: usize, unclean: bool) {
        let live = live.iter().copied().collect();
        partition.settle(&Rules {
            live: &live,
            min_isr,
            unclean,
        });
    }

    fn seen(partition: &Partition) -> (i32, i32, &[i32], &[i32]) {
        (
            partition.leader,
            partition.elections,
            &partition.isr,
            &partition.eligible,
        )
    }

    #[test]
    fn leadership_follows_the_nodes_and_comes_back_only_by_election() {
        let mut partition = Partition::new(vec![2, 3, 1]);
        settle(&mut partition, &[1, 3], 1, false);
        assert_eq!(seen(&partition), (3, 1, &[3, 1][..], &[][..]));
        settle(&mut partition, &[1, 2, 3], 1, false);
        assert_eq!(seen(&partition), (3, 1, &[3, 1, 2][..], &[][..]));
        let live = [1, 2, 3].into();
        let rules = Rules {
            live: &live,
            min_isr: 1,
            unclean: false,
        };
        assert_eq!(partition.elect(2, &rules), Ok(()));
        assert_eq!(partition.elect(2, &rules), Err(NotElected::NotNeeded));
        assert_eq!(partition.elect(4, &rules), Err(NotElected::NotAvailable));
        assert_eq!(partition.elections, 2);
    }

    #[test]
    fn the_last_in_sync_replica_stays_eligible() {
        let mut partition = Partition::new(vec![1, 2]);
        settle(&mut partition, &[2], 1, false);
        settle(&mut partition, &[], 1, false);
        assert_eq!(seen(&partition), (NO_LEADER, 2, &[][..], &[2][..]));
        assert_eq!(partition.last_known, [2]);
        // Node 1 left before node 2, so what it has may be old.
        settle(&mut partition, &[1], 1, false);
        assert_eq!(seen(&partition), (NO_LEADER, 2, &[][..], &[2][..]));
        settle(&mut partition, &[1, 2], 1, false);
        assert_eq!(seen(&partition), (2, 3, &[2, 1][..], &[][..]));
        assert!(partition.last_known.is_empty());
    }

    #[test]
    fn below_min_insync_replicas_those_that_leave_stay_eligible() {
        let mut partition = Partition::new(vec![1, 2, 3]);
        settle(&mut partition, &[1, 2], 2, false);
        assert_eq!(seen(&partition), (1, 0, &[1, 2][..], &[][..]));
        settle(&mut partition, &[1], 2, false);
        assert_eq!(seen(&partition), (1, 0, &[1][..], &[2][..]));
        settle(&mut partition, &[], 2, false);
        assert_eq!(seen(&partition), (NO_LEADER, 1, &[][..], &[1, 2][..]));
        settle(&mut partition, &[3], 2, false);
        assert_eq!(partition.leader, NO_LEADER);
        settle(&mut partition, &[2, 3], 2, false);
        assert_eq!(seen(&partition), (2, 2, &[2, 3][..], &[][..]));
    }

    #[test]
    fn an_unclean_election_must_be_allowed() {
        let mut partition = Partition::new(vec![1, 2]);
        partition.behind = vec![2];
        settle(&mut partition, &[1, 2], 1, false);
        assert_eq!(seen(&partition), (1, 0, &[1][..], &[][..]));
        settle(&mut partition, &[2], 1, false);
        assert_eq!(partition.leader, NO_LEADER);
        settle(&mut partition, &[2], 1, true);
        assert_eq!(seen(&partition), (2, 2, &[2][..], &[][..]));
    }

    #[test]
    fn a_partition_moves_once_its_new_nodes_are_up() {
        let live = [1, 2, 3].into();
        let rules = Rules {
            live: &live,
            min_isr: 1,
            unclean: false,
        };
        let mut partition = Partition::new(vec![1, 2]);
        partition.reassign(vec![3, 2], &rules);
        assert_eq!(seen(&partition), (3, 1, &[2, 3][..], &[][..]));
        assert_eq!(
            (&partition.replicas[..], partition.is_reassigning()),
            (&[3, 2][..], false)
        );
        partition.reassign(vec![4], &rules);
        assert_eq!((&partition.replicas[..], partition.leader), (&[4, 3, 2][..], 3));
        assert_eq!(
            (&partition.adding[..], &partition.removing[..]),
            (&[4][..], &[3, 2][..])
        );
        let mut cancelled = partition.clone();
        assert!(cancelled.cancel_reassignment(&rules));
        assert!(!cancelled.cancel_reassignment(&rules));
        assert_eq!((&cancelled.replicas[..], cancelled.leader), (&[3, 2][..], 3));
        settle(&mut partition, &[1, 4], 1, false);
        assert_eq!(partition.leader, NO_LEADER);
        settle(&mut partition, &[1, 2, 3, 4], 1, false);
        assert_eq!((&partition.replicas[..], partition.leader), (&[4][..], 4));
        assert_eq!(
            (&partition.isr[..], partition.is_reassigning()),
            (&[4][..], false)
        );
    }

    proptest! {
        #[test]
        fn leaders_are_live_in_sync_and_their_epoch_only_grows(
            steps in proptest::collection::vec((proptest::collection::btree_set(1..=4i32, 0..=4), 1..=3usize, any::<bool>()), 1..20),
            replicas in Just(vec![1, 2, 3, 4]).prop_shuffle(), count in 1..=4usize,
        ) {
            let mut partition = Partition::new(replicas[..count].to_vec());
            for (live, min_isr, unclean) in steps {
                let before = partition.clone();
                partition.settle(&Rules { live: &live, min_isr, unclean });
                prop_assert_eq!(partition.elections, before.elections + i32::from(partition.leader != before.leader));
                let offline = partition.leader == NO_LEADER;
                prop_assert!(offline || (live.contains(&partition.leader) && partition.isr.contains(&partition.leader)));
                prop_assert!(partition.isr.iter().all(|node| live.contains(node)));
                prop_assert!(!offline || !unclean || !partition.replicas.iter().any(|node| live.contains(node)));
                prop_assert!(partition.eligible.iter().all(|node| !partition.isr.contains(node)));
                let again = partition.clone();
                partition.settle(&Rules { live: &live, min_isr, unclean });
                prop_assert_eq!(again, partition.clone());
            }
        }
    }
}
