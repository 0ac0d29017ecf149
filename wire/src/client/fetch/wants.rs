//! What is wanted, and from whom.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{FetchFailure, Fetched, LogEnds};
use crate::{
    Uuid,
    client::{Error, Leader},
};

/// All slots, by the node that they are read from.
#[derive(Debug, Default)]
pub(super) struct Wants {
    slots: HashMap<u32, Want>,
    nodes: HashMap<i32, Node>,
    /// The ids of the topics that slots read from, where that is given.
    pins: HashMap<u32, Uuid>,
    /// The last number that was given to a wish, or to a slot.
    numbers: u64,
}

/// Where a reader wants to go on.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) last_epoch: i32,
}

/// What a slot needs next.
pub(super) enum Step {
    None,
    /// Its node has no tasks yet.
    Start(i32),
    /// Its leader has to be found.
    Find(Arc<str>, i32, u64),
}

/// A wish as it goes to a node.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) slot: u32,
    /// Which of the slot's wishes it is.
    pub(super) number: u64,
    pub(super) wish: Wish,
    pub(super) topic_id: Option<Uuid>,
    pub(super) leader_epoch: i32,
}

#[derive(Debug)]
pub(super) struct Want {
    wish: Wish,
    number: u64,
    /// Tells this slot from an earlier one of the same name.
    generation: u64,
    /// Whether the wish is still open.
    open: bool,
    route: Route,
    told: Option<LogEnds>,
    /// Since when it goes wrong.
    failing_since: Option<Instant>,
    /// Whether the topic was not known before, and was asked for again.
    asked_again: bool,
    /// Whether this leader has said that its log is the one that was read, where it does not say so by itself.
    is_compared: bool,
}

#[derive(Debug)]
enum Route {
    /// The leader is being asked for.
    Asked,
    Known(Leader),
}

/// What is read from one node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Open wishes, the oldest first.
    wanted: BTreeSet<(u64, u32)>,
    /// Slots that are not as the last long poll has them.
    changed: HashSet<u32>,
    /// What became wanted while the long poll is out.
    fresh: VecDeque<u32>,
    /// Slots that got records, and are expected to want more at once.
    awaited: HashSet<u32>,
    main_out: bool,
    side_out: bool,
    /// When it last answered a long poll, which tells all that has changed.
    heard: Option<Instant>,
    /// Whether anything was asked aside since the long poll went out.
    asked_aside: bool,
    pub(super) wake_main: Arc<Notify>,
    pub(super) wake_side: Arc<Notify>,
}

impl Wants {
    pub(super) fn want(&mut self, slot: u32, wish: Wish) -> Step {
        let same = self
            .slots
            .get(&slot)
            .is_some_and(|want| want.wish.topic == wish.topic && want.wish.partition == wish.partition);
        if !same {
            self.stop(slot);
        }
        self.settle(slot);
        self.numbers += 1;
        let number = self.numbers;
        if let Some(want) = self.slots.get_mut(&slot) {
            want.wish = wish;
            want.number = number;
            want.open = true;
            want.failing_since = None;
            want.asked_again = false;
            return self.place(slot);
        }
        let step = Step::Find(wish.topic.clone(), wish.partition, number);
        let want = Want {
            wish,
            number,
            generation: number,
            open: true,
            route: Route::Asked,
            told: None,
            failing_since: None,
            asked_again: false,
            is_compared: false,
        };
        self.slots.insert(slot, want);
        step
    }

    pub(super) fn forget(&mut self, slot: u32) {
        self.stop(slot);
        self.pins.remove(&slot);
    }

    fn stop(&mut self, slot: u32) {
        self.settle(slot);
        let want = self.slots.remove(&slot);
        if let Some(node) = want.and_then(|want| self.nodes.get_mut(&want.node()?)) {
            node.no_longer_awaited(slot);
        }
    }

    /// The wish of a slot is not open any more.
    pub(super) fn settle(&mut self, slot: u32) {
        let Some(want) = self.slots.get_mut(&slot) else {
            return;
        };
        want.open = false;
        if let Some(node) = want.node().and_then(|node| self.nodes.get_mut(&node)) {
            node.wanted.remove(&(want.number, slot));
            node.changed.insert(slot);
        }
    }

    /// Gives an open wish to the node that leads its partition.
    fn place(&mut self, slot: u32) -> Step {
        let Some(want) = self.slots.get(&slot).filter(|want| want.open) else {
            return Step::None;
        };
        let Some(id) = want.node() else { return Step::None };
        let is_new = !self.nodes.contains_key(&id);
        let node = self.nodes.entry(id).or_default();
        node.wanted.insert((want.number, slot));
        node.changed.insert(slot);
        node.no_longer_awaited(slot);
        if node.main_out {
            node.fresh.push_back(slot);
            node.wake_side.notify_one();
        } else if node.awaited.is_empty() {
            node.wake_main.notify_one();
        }
        if is_new { Step::Start(id) } else { Step::None }
    }

    /// A slot reads from the topic with this id alone.
    pub(super) fn pin(&mut self, slot: u32, topic_id: Uuid) {
        self.pins.insert(slot, topic_id);
    }

    /// The id of the topic that a slot reads from, where it is bound to one.
    pub(super) fn pinned(&self, slot: u32) -> Option<Uuid> {
        self.pins.get(&slot).copied()
    }

    /// The leader of a slot was found.
    pub(super) fn found(&mut self, slot: u32, generation: u64, leader: Leader) -> Step {
        match self.slots.get_mut(&slot) {
            Some(want) if want.generation == generation => {
                want.route = Route::Known(leader);
                want.is_compared = false;
            }
            _ => return Step::None,
        }
        self.place(slot)
    }

    /// The leader of a slot was not found: what to report if that is final, and nothing if it is to be tried again.
    pub(super) fn not_found(
        &mut self,
        slot: u32,
        generation: u64,
        error: Error,
        patience: Duration,
    ) -> Option<Vec<Fetched>> {
        let Some(want) = self
            .slots
            .get_mut(&slot)
            .filter(|want| want.generation == generation)
        else {
            return Some(Vec::new());
        };
        let unknown = matches!(error, Error::UnknownTopic { .. } | Error::UnknownPartition { .. });
        let since = *want.failing_since.get_or_insert_with(Instant::now);
        if error.is_retriable() && !unknown && since.elapsed() < patience {
            return None;
        }
        let failed = want.failed(slot, error, None);
        // The next wish looks again.
        self.slots.remove(&slot);
        Some(failed.into_iter().collect())
    }

    /// Looks for the leader of a slot again.
    pub(super) fn lose(&mut self, slot: u32) -> Step {
        let Some(want) = self.slots.get_mut(&slot) else {
            return Step::None;
        };
        if let Some(node) = want.node().and_then(|node| self.nodes.get_mut(&node)) {
            node.wanted.remove(&(want.number, slot));
            node.changed.insert(slot);
        }
        match want.route {
            Route::Asked => Step::None,
            Route::Known(_) => {
                want.route = Route::Asked;
                Step::Find(want.wish.topic.clone(), want.wish.partition, want.generation)
            }
        }
    }

    /// The wish of a slot, if it is this one and still open.
    pub(super) fn open(&mut self, slot: u32, number: u64) -> Option<&mut Want> {
        self.slots
            .get_mut(&slot)
            .filter(|want| want.open && want.number == number)
    }

    /// What is known of the log of a slot that waits for records, if its node has answered within this time.
    pub(super) fn log_ends(&self, slot: u32, within: Duration) -> Option<LogEnds> {
        let want = self.slots.get(&slot)?;
        let node = self.nodes.get(&want.node()?)?;
        let is_new = node.heard.is_some_and(|heard| heard.elapsed() <= within);
        want.told
            .filter(|_| is_new && want.open && want.failing_since.is_none())
    }

    pub(super) fn node(&mut self, node: i32) -> &mut Node {
        self.nodes.entry(node).or_default()
    }

    /// All open wishes at a node, the oldest first.
    pub(super) fn all(&self, node: i32) -> Vec<Item> {
        let wanted = self.nodes.get(&node).into_iter().flat_map(|of| &of.wanted);
        wanted.filter_map(|(_, slot)| self.item(*slot, node)).collect()
    }

    /// Open wishes at a node behind which something was read, where nobody has asked this leader yet whether that is its log. Of the others
    /// that is taken for granted: what is read of this leader from now on is.
    pub(super) fn not_compared(&mut self, node: i32) -> Vec<Item> {
        let mut items = self.all(node);
        items.retain(|item| match self.slots.get_mut(&item.slot) {
            Some(want) if item.wish.last_epoch < 0 => {
                want.is_compared = true;
                false
            }
            want => want.is_some_and(|want| !want.is_compared),
        });
        items
    }

    /// What a slot wants of a node, if anything.
    pub(super) fn item(&self, slot: u32, node: i32) -> Option<Item> {
        let want = self.slots.get(&slot).filter(|want| want.open)?;
        let Route::Known(leader) = &want.route else {
            return None;
        };
        (leader.node == node).then(|| Item {
            slot,
            number: want.number,
            wish: want.wish.clone(),
            topic_id: leader.topic_id,
            leader_epoch: leader.epoch,
        })
    }
}

impl Want {
    fn node(&self) -> Option<i32> {
        match &self.route {
            Route::Known(leader) => Some(leader.node),
            Route::Asked => None,
        }
    }

    /// Takes note of what was told of the log's ends; whether that is news.
    pub(super) fn is_news(&mut self, ends: LogEnds) -> bool {
        self.failing_since = None;
        self.asked_again = false;
        self.told.replace(ends) != Some(ends)
    }

    /// The leader's log is the one that was read, as far as it can tell.
    pub(super) fn compared(&mut self) {
        self.is_compared = true;
    }

    /// Whether to try again after an error that may pass.
    pub(super) fn may_pass(&mut self, patience: Duration) -> bool {
        self.failing_since.get_or_insert_with(Instant::now).elapsed() < patience
    }

    /// Whether this is the first time that its topic is not known.
    pub(super) fn ask_again(&mut self) -> bool {
        !std::mem::replace(&mut self.asked_again, true)
    }

    fn failed(&self, slot: u32, error: Error, diverging: Option<(i32, i64)>) -> Option<Fetched> {
        self.open.then(|| Fetched {
            slot,
            at: self.wish.offset,
            leader_epoch: -1,
            result: Err(FetchFailure { error, diverging }),
        })
    }
}

impl Node {
    /// Whether a long poll has something to ask for, and nothing is out that it would ask for, too.
    pub(super) fn main_is_due(&self) -> bool {
        !self.wanted.is_empty() && !self.side_out
    }

    /// A long poll goes out. Returns the slots that are not as the last one had them.
    pub(super) fn begin_main(&mut self) -> HashSet<u32> {
        self.main_out = true;
        self.asked_aside = false;
        self.fresh.clear();
        self.awaited.clear();
        std::mem::take(&mut self.changed)
    }

    /// A long poll is back.
    pub(super) fn end_main(&mut self) {
        self.main_out = false;
    }

    /// It has brought an answer.
    pub(super) fn hear(&mut self) {
        self.heard = Some(Instant::now());
    }

    /// Whether somebody came too late for the long poll.
    pub(super) fn has_asked_aside(&self) -> bool {
        self.asked_aside || !self.fresh.is_empty()
    }

    /// The long poll brought records for a slot.
    pub(super) fn await_more(&mut self, slot: u32) {
        self.awaited.insert(slot);
    }

    /// Slots that do not want more by now are not waited for any longer.
    pub(super) fn await_nobody(&mut self) {
        self.awaited.clear();
    }

    pub(super) fn awaits_none(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Takes what has become wanted while the long poll is out.
    pub(super) fn begin_side(&mut self) -> VecDeque<u32> {
        if !self.main_out || self.fresh.is_empty() {
            return VecDeque::new();
        }
        self.side_out = true;
        self.asked_aside = true;
        std::mem::take(&mut self.fresh)
    }

    /// What was asked aside is back; what is still open of it is asked for again.
    pub(super) fn end_side(&mut self, still_open: impl IntoIterator<Item = u32>) {
        self.side_out = false;
        if self.main_out {
            self.fresh.extend(still_open);
        }
        self.wake_main.notify_one();
    }

    fn no_longer_awaited(&mut self, slot: u32) {
        if self.awaited.remove(&slot) && self.awaited.is_empty() {
            self.wake_main.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NODE: i32 = 3;

    fn want(wants: &mut Wants, slot: u32, topic: &str) {
        let wish = Wish {
            topic: Arc::from(topic),
            partition: 0,
            offset: 0,
            last_epoch: -1,
        };
        let Step::Find(_, _, generation) = wants.want(slot, wish) else {
            panic!("a new slot's leader is looked for");
        };
        let leader = Leader {
            node: NODE,
            epoch: 0,
            topic_id: None,
        };
        wants.found(slot, generation, leader);
    }

    #[tokio::test]
    async fn who_got_records_and_wants_no_more_keeps_nobody_waiting() {
        let mut wants = Wants::default();
        want(&mut wants, 1, "first");
        let node = wants.node(NODE);
        let wake = node.wake_main.clone();
        wake.notified().await;
        node.begin_main();
        wants.settle(1);
        let node = wants.node(NODE);
        node.end_main();
        node.await_more(1);
        node.await_nobody();
        want(&mut wants, 2, "second");
        let woken = tokio::time::timeout(Duration::from_secs(5), wake.notified()).await;
        assert!(woken.is_ok() && wants.node(NODE).main_is_due());
    }
}
