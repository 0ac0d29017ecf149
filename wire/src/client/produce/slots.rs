//! The batches of each slot, and where they go.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;

use super::{Failure, Outgoing, Report};
use crate::{
    Uuid,
    client::{Error, Leader},
};

/// All slots, and what is ready for each node.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: HashMap<u32, Slot>,
    nodes: HashMap<i32, Node>,
    reports: Vec<Report>,
    generations: u64,
}

/// What a slot needs next.
pub(super) enum Step {
    None,
    /// There are reports.
    Report,
    /// Its node has something to send.
    Wake(Arc<Notify>),
    /// So has its node, which has no task yet.
    Start(i32, Arc<Notify>),
    /// Its leader has to be found.
    Find(Arc<str>, i32, u64),
}

/// A batch that is put into a request.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) outgoing: Outgoing,
    pub(super) generation: u64,
    pub(super) epoch: i32,
    pub(super) topic_id: Option<Uuid>,
}

#[derive(Debug)]
struct Slot {
    /// Tells what was sent before the slot was opened again from what was sent after.
    generation: u64,
    queue: VecDeque<Outgoing>,
    /// Batches of this generation that are on their way.
    in_flight: usize,
    failed: Option<Error>,
    /// The id of the topic that its batches are for, if there is one.
    topic_id: Option<Uuid>,
    route: Route,
    /// Whether its node's list has it.
    listed: bool,
}

#[derive(Debug)]
enum Route {
    Unknown,
    /// The leader is being asked for.
    Asked,
    Known(Leader),
}

#[derive(Debug, Default)]
struct Node {
    /// Slots with something to send; each waits its turn.
    ready: VecDeque<u32>,
    /// Requests that are out.
    in_flight: usize,
    wake: Arc<Notify>,
}

impl Slots {
    pub(super) fn open(&mut self, slot: u32, topic_id: Option<Uuid>) {
        self.close(slot);
        self.generations += 1;
        let opened = Slot {
            generation: self.generations,
            queue: VecDeque::new(),
            in_flight: 0,
            failed: None,
            topic_id,
            route: Route::Unknown,
            listed: false,
        };
        self.slots.insert(slot, opened);
    }

    pub(super) fn close(&mut self, slot: u32) {
        if let Some(closed) = self.slots.remove(&slot) {
            let error = closed.failed.unwrap_or(Error::SlotClosed { slot });
            self.reports.extend(not_sent(closed.queue, &error));
        }
    }

    pub(super) fn push(&mut self, outgoing: Outgoing) -> Step {
        let id = outgoing.slot;
        let Some(slot) = self.slots.get_mut(&id) else {
            let error = Error::SlotClosed { slot: id };
            self.reports.extend(not_sent([outgoing], &error));
            return Step::Report;
        };
        slot.queue.push_back(outgoing);
        self.advance(id)
    }

    /// What a slot needs next, if it has something to send.
    fn advance(&mut self, id: u32) -> Step {
        let Some(slot) = self.slots.get_mut(&id) else {
            return Step::None;
        };
        if let Some(error) = &slot.failed {
            // What is on its way is reported first.
            if slot.in_flight > 0 || slot.queue.is_empty() {
                return Step::None;
            }
            self.reports.extend(not_sent(slot.queue.drain(..), error));
            return Step::Report;
        }
        let Some(first) = slot.queue.front() else {
            return Step::None;
        };
        match &slot.route {
            Route::Asked => Step::None,
            Route::Unknown => {
                slot.route = Route::Asked;
                Step::Find(first.topic.clone(), first.partition, slot.generation)
            }
            Route::Known(_) if slot.listed => Step::None,
            Route::Known(leader) => {
                slot.listed = true;
                let is_new = !self.nodes.contains_key(&leader.node);
                let node = self.nodes.entry(leader.node).or_default();
                node.ready.push_back(id);
                if is_new {
                    Step::Start(leader.node, node.wake.clone())
                } else {
                    Step::Wake(node.wake.clone())
                }
            }
        }
    }

    /// The id of the topic that a slot's batches are for, where it is bound to one.
    pub(super) fn topic_id(&self, slot: u32) -> Option<Uuid> {
        self.slots.get(&slot)?.topic_id
    }

    /// The leader of a slot was found, or not.
    pub(super) fn found(&mut self, id: u32, generation: u64, leader: Result<Leader, Error>) -> Step {
        let Some(slot) = self
            .slots
            .get_mut(&id)
            .filter(|slot| slot.generation == generation)
        else {
            return Step::None;
        };
        match leader {
            Ok(leader) => slot.route = Route::Known(leader),
            Err(error) => slot.failed = Some(error),
        }
        self.advance(id)
    }

    /// Whether a node has something to send, and a place for it.
    pub(super) fn is_ready(&self, node: i32, in_flight_max: usize) -> bool {
        let node = self.nodes.get(&node);
        node.is_some_and(|node| !node.ready.is_empty() && node.in_flight < in_flight_max)
    }

    /// How many requests to a node are out.
    pub(super) fn in_flight(&self, node: i32) -> usize {
        self.nodes.get(&node).map_or(0, |node| node.in_flight)
    }

    /// Takes the batches of the next request to a node: one of each slot in turn, up to so many bytes, but at least one.
    pub(super) fn take(&mut self, node: i32, bytes_max: usize) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        let Some(to) = self.nodes.get_mut(&node) else {
            return parts;
        };
        let mut bytes = 0;
        // Kafka takes one batch of a partition in a request. Two slots of one partition are no use, but no harm either.
        let mut partitions = HashSet::new();
        for _ in 0..to.ready.len() {
            let Some(id) = to.ready.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            let (Route::Known(leader), None) = (&slot.route, &slot.failed) else {
                slot.listed = false;
                continue;
            };
            let Some(first) = slot.queue.front() else {
                slot.listed = false;
                continue;
            };
            if !parts.is_empty() && bytes + first.batch.len() > bytes_max {
                to.ready.push_front(id);
                break;
            }
            if !partitions.insert((first.topic.clone(), first.partition)) {
                to.ready.push_back(id);
                continue;
            }
            let (epoch, topic_id) = (leader.epoch, leader.topic_id);
            let Some(outgoing) = slot.queue.pop_front() else {
                continue;
            };
            bytes += outgoing.batch.len();
            slot.in_flight += 1;
            slot.listed = !slot.queue.is_empty();
            if slot.listed {
                to.ready.push_back(id);
            }
            parts.push(Part {
                outgoing,
                generation: slot.generation,
                epoch,
                topic_id,
            });
        }
        if !parts.is_empty() {
            to.in_flight += 1;
        }
        parts
    }

    /// Fails everything that is ready for a node which cannot be reached. Tells whose leader has to be asked for again.
    pub(super) fn fail_ready(&mut self, node: i32, error: &Error) -> Vec<(Arc<str>, i32, i32)> {
        let ready = self
            .nodes
            .get_mut(&node)
            .map(|node| std::mem::take(&mut node.ready));
        let mut stale = Vec::new();
        for id in ready.unwrap_or_default() {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            slot.listed = false;
            if let (Route::Known(leader), Some(first)) = (&slot.route, slot.queue.front()) {
                stale.push((first.topic.clone(), first.partition, leader.epoch));
            }
            slot.failed.get_or_insert_with(|| error.clone());
            self.advance(id);
        }
        stale
    }

    /// Takes note of what became of the batches of a request.
    pub(super) fn settle(&mut self, node: i32, results: Vec<(Part, Result<super::Acked, Failure>)>) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.in_flight -= 1;
            node.wake.notify_one();
        }
        for (part, result) in results {
            let id = part.outgoing.slot;
            let error = result.as_ref().err().map(|failure| failure.error(&part.outgoing));
            self.reports.push(Report {
                slot: id,
                tag: part.outgoing.tag,
                result,
            });
            let Some(slot) = self
                .slots
                .get_mut(&id)
                .filter(|slot| slot.generation == part.generation)
            else {
                continue;
            };
            slot.in_flight -= 1;
            if let Some(error) = error {
                slot.failed.get_or_insert(error);
                self.advance(id);
            } else if slot.failed.is_some() {
                self.advance(id);
            }
        }
    }

    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }
}

fn not_sent(batches: impl IntoIterator<Item = Outgoing>, error: &Error) -> impl Iterator<Item = Report> {
    batches.into_iter().map(|outgoing| Report {
        slot: outgoing.slot,
        tag: outgoing.tag,
        result: Err(Failure::NotSent(error.clone())),
    })
}

impl Failure {
    /// What those are told that come after.
    fn error(&self, of: &Outgoing) -> Error {
        match self {
            Failure::Unclear(error) | Failure::NotSent(error) => error.clone(),
            Failure::Refused { code, message, .. } => {
                let mut what = format!(
                    "a batch for partition {} of topic {} was refused",
                    of.partition, of.topic
                );
                if let Some(message) = message {
                    what = format!("{what} ({message})");
                }
                Error::Broker { code: *code, what }
            }
        }
    }
}
