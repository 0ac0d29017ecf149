//! What is on its way to each node of the target, so that one that does not answer holds up nobody but those that it leads.
//!
//! A node may have so much on its way that something is left for every other one, however many of them do not answer. One that
//! has not answered for a while, where memory is short, loses what was fetched for it and not sent: that is fetched again once it
//! answers. A target whose partitions all have the same leader has none of this: nobody is there who could be held up.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// A node may have so many times what is left on its way. With one that does not answer a fifth is left for the others; with
/// several that do they have eight ninths and more together, so that this is no limit on what a target takes.
const GENEROSITY: usize = 4;

/// A node that has something on its way and has not answered for so long is silent: far more than an answer takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Over a thin line answers take longer; who waits for them is not taken for silent, up to this.
const PATIENCE_MAX: Duration = Duration::from_secs(5);

/// A node, if it is known who leads.
pub(super) type NodeId = Option<i32>;

/// The nodes that lead partitions of a flow.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: HashMap<NodeId, Node>,
    in_flight: usize,
    in_flight_max: usize,
}

#[derive(Debug)]
struct Node {
    /// Partitions that it leads.
    slots: usize,
    in_flight: usize,
    /// When it last answered, or was given something while it owed no answer.
    heard_at: Instant,
    patience: Duration,
    is_silent: bool,
    /// Slots that have something to send and wait until it has less on its way, in turn.
    crowded: VecDeque<u32>,
    /// Slots that are not fetched while it is silent.
    parked: Vec<u32>,
}

impl Nodes {
    /// No node yet, and at most so many bytes on their way to all.
    pub(super) fn new(in_flight_max: u64) -> Nodes {
        Nodes {
            nodes: HashMap::new(),
            in_flight: 0,
            in_flight_max: usize::try_from(in_flight_max).unwrap_or(usize::MAX),
        }
    }

    /// A node leads one more slot.
    pub(super) fn join(&mut self, id: NodeId, now: Instant) {
        let node = self.nodes.entry(id).or_insert_with(|| Node {
            slots: 0,
            in_flight: 0,
            heard_at: now,
            patience: PATIENCE,
            is_silent: false,
            crowded: VecDeque::new(),
            parked: Vec::new(),
        });
        node.slots += 1;
    }

    /// One of its slots has ended, with nothing on its way.
    pub(super) fn leave(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.slots -= 1;
            if node.slots == 0 {
                self.nodes.remove(&id);
            }
        }
    }

    /// It has become known which node leads a slot that has nothing on its way: it waits in the lists of none before it.
    pub(super) fn move_to(&mut self, id: NodeId, slot: u32, now: Instant) {
        if let Some(node) = self.nodes.get_mut(&None) {
            node.crowded.retain(|other| *other != slot);
            node.parked.retain(|other| *other != slot);
        }
        self.leave(None);
        self.join(id, now);
    }

    /// Whether a batch of this size may go to a node now. One may always be on its way.
    pub(super) fn may_send(&self, id: NodeId, bytes: usize) -> bool {
        let Some(node) = self.nodes.get(&id).filter(|_| self.nodes.len() > 1) else {
            return true;
        };
        let left = self.in_flight_max.saturating_sub(self.in_flight);
        node.in_flight == 0 || node.in_flight.saturating_add(bytes) <= left.saturating_mul(GENEROSITY)
    }

    /// A batch goes to a node.
    pub(super) fn sent(&mut self, id: NodeId, bytes: usize, now: Instant) {
        self.in_flight += bytes;
        if let Some(node) = self.nodes.get_mut(&id) {
            if node.in_flight == 0 {
                node.heard_at = now;
            }
            node.in_flight += bytes;
        }
    }

    /// So much of what was on its way to a node is not any more, because it has answered or because that is given up. Returns the slots that
    /// may be fetched again.
    pub(super) fn settled(&mut self, id: NodeId, bytes: usize, is_answer: bool, now: Instant) -> Vec<u32> {
        self.in_flight -= bytes;
        let Some(node) = self.nodes.get_mut(&id) else {
            return Vec::new();
        };
        node.in_flight -= bytes;
        if is_answer {
            let took = now.duration_since(node.heard_at);
            node.patience = (node.patience - node.patience / 16)
                .max(took * 2)
                .clamp(PATIENCE, PATIENCE_MAX);
        }
        node.heard_at = now;
        node.is_silent = false;
        std::mem::take(&mut node.parked)
    }

    /// A slot has something to send, and the node has too much on its way.
    pub(super) fn crowd(&mut self, id: NodeId, slot: u32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.crowded.push_back(slot);
        }
    }

    /// Takes the slots that waited for nodes that may be given more by now, in turn.
    pub(super) fn no_longer_crowded(&mut self) -> Vec<u32> {
        let mut slots = Vec::new();
        let ids: Vec<NodeId> = self
            .nodes
            .iter()
            .filter(|(_, node)| !node.crowded.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if self.may_send(id, 1)
                && let Some(node) = self.nodes.get_mut(&id)
            {
                slots.extend(std::mem::take(&mut node.crowded));
            }
        }
        slots
    }

    /// Whether a node is silent.
    pub(super) fn is_silent(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.is_silent)
    }

    /// A slot is not fetched until its node answers.
    pub(super) fn park(&mut self, id: NodeId, slot: u32) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.parked.push(slot);
        }
    }

    /// Whether one node can hold up another.
    pub(super) fn are_several(&self) -> bool {
        self.nodes.len() > 1
    }

    /// Finds nodes that are silent from now on, while others are not.
    pub(super) fn fall_silent(&mut self, now: Instant) -> Vec<NodeId> {
        let owes = |node: &Node| node.in_flight > 0 && now.duration_since(node.heard_at) >= node.patience;
        if self.nodes.values().all(owes) {
            return Vec::new();
        }
        let silent = self
            .nodes
            .iter_mut()
            .filter(|(_, node)| !node.is_silent && owes(node));
        silent
            .map(|(id, node)| {
                node.is_silent = true;
                *id
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000_000;
    const BATCH: usize = 1_000;

    fn nodes(ids: impl IntoIterator<Item = i32>, now: Instant) -> Nodes {
        let mut nodes = Nodes::new(MAX as u64);
        ids.into_iter().for_each(|id| nodes.join(Some(id), now));
        nodes
    }

    /// Gives a node as much as it may have.
    fn fill(nodes: &mut Nodes, id: i32, now: Instant) -> usize {
        let mut sent = 0;
        while sent < MAX && nodes.may_send(Some(id), BATCH) {
            nodes.sent(Some(id), BATCH, now);
            sent += BATCH;
        }
        sent
    }

    #[test]
    fn a_node_alone_has_everything() {
        let now = Instant::now();
        assert_eq!(fill(&mut nodes([1, 1, 1], now), 1, now), MAX);
    }

    #[test]
    fn however_many_do_not_answer_something_is_left_for_each_other() {
        let now = Instant::now();
        let mut nodes = nodes(1..=4, now);
        let shares = [1, 2, 3, 4].map(|id| fill(&mut nodes, id, now));
        assert!(
            shares[0] >= MAX * 3 / 4 && shares.iter().all(|share| *share > 0),
            "{shares:?}"
        );
        assert!(shares.iter().sum::<usize>() < MAX, "{shares:?}");
    }

    #[test]
    fn nodes_that_take_turns_have_most_of_it_together() {
        let now = Instant::now();
        let mut nodes = nodes(0..=2, now);
        let mut sent = [0; 3];
        for round in 0..10_000 {
            let id = round % 3;
            if nodes.may_send(Some(id as i32), BATCH) {
                nodes.sent(Some(id as i32), BATCH, now);
                sent[id] += BATCH;
            }
        }
        assert!(sent.iter().sum::<usize>() > MAX * 9 / 10, "{sent:?}");
        assert!(sent.iter().all(|share| *share > MAX / 4), "{sent:?}");
    }

    #[test]
    fn who_owes_an_answer_for_long_is_silent_until_it_comes() {
        let began = Instant::now();
        let mut nodes = nodes(1..=2, began);
        nodes.sent(Some(1), BATCH, began);
        assert_eq!(nodes.fall_silent(began), []);
        let later = began + PATIENCE;
        assert_eq!(nodes.fall_silent(later), [Some(1)]);
        assert_eq!(nodes.fall_silent(later), []);
        nodes.park(Some(1), 7);
        assert_eq!(nodes.settled(Some(1), BATCH, true, later), [7]);
        assert!(!nodes.is_silent(Some(1)));
        // Its next answer may take twice as long as this one did.
        nodes.sent(Some(1), BATCH, later);
        assert_eq!(nodes.fall_silent(later + PATIENCE * 3 / 2), []);
        assert_eq!(nodes.fall_silent(later + PATIENCE * 2), [Some(1)]);
    }

    #[test]
    fn who_moves_to_its_node_waits_for_that_one_alone() {
        let now = Instant::now();
        let mut nodes = nodes([1], now);
        nodes.join(None, now);
        nodes.join(None, now);
        nodes.sent(None, BATCH, now);
        nodes.sent(Some(1), MAX / 10 * 9, now);
        for slot in [7, 8] {
            nodes.crowd(None, slot);
            nodes.park(None, slot);
        }
        nodes.move_to(Some(1), 7, now);
        nodes.crowd(Some(1), 7);
        assert_eq!(nodes.no_longer_crowded(), [8], "node 1 has too much on its way");
        assert_eq!(nodes.settled(None, BATCH, true, now), [8]);
        nodes.settled(Some(1), MAX / 10 * 9, true, now);
        assert_eq!(nodes.no_longer_crowded(), [7]);
    }

    #[test]
    fn where_nobody_answers_nobody_is_silent() {
        let now = Instant::now();
        let mut nodes = nodes(1..=2, now);
        nodes.sent(Some(1), BATCH, now);
        nodes.sent(Some(2), BATCH, now);
        assert_eq!(nodes.fall_silent(now + PATIENCE_MAX), []);
    }
}
