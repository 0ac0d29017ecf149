//! The task that moves batches: from what was fetched to what is sent.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use heliostat_wire::ErrorCode;
use heliostat_wire::client::{
    Acked, Client, Data, Failure, FetchFailure, Fetched, Fetcher, FetcherConfig, Report, Sender, SenderConfig,
};
use heliostat_wire::convert::ConvertReason;
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::nodes::Nodes;
use super::slot::Slot;
use super::spare::Spare;
use super::{Command, Complaints, Settings};
use crate::cluster::admin::explain;
use crate::cluster::offsets::{OFFSET_MAX, is_offset, rdkafka_code};
use crate::flow::engine::budget::Budget;
use crate::flow::engine::{Event, HELD_UP_TICK, Pressing, Side, Start};

/// Answers that wait to be taken in; each is bounded, and with them what is fetched ahead.
const ANSWERS: usize = 1;

/// Reports that wait to be taken in.
const REPORTS: usize = 64;

/// A partition is fetched ahead by so many bytes that wait to be sent.
const AHEAD_BYTES: usize = 1 << 20;

/// No partition's share of the bytes in flight is smaller than this, or small batches would make it slow.
const SHARE_MIN: usize = 256 * 1024;

/// The memory of this part of what may be in flight is kept also where nothing is left: what is sent next needs it at once.
const SPARE_SHARE: u64 = 4;

/// How often is looked whether the budget allows more.
const TICK: Duration = Duration::from_millis(2);

/// Under a limit of bytes a second answers are so small that so many of them pass in a second, and still large enough that a line with a
/// long way does not make them less; never smaller than this.
const ANSWERS_A_SECOND: u64 = 4;
const ANSWER_BYTES_MIN: u64 = 256 * 1024;

/// How often is looked whether a node of the target is silent, while there is no room.
pub(super) const LISTEN_TICK: Duration = Duration::from_millis(100);

pub(super) struct Pump {
    pub(super) settings: Settings,
    target: Client,
    sender: Sender,
    pub(super) fetcher: Arc<Fetcher>,
    reports: mpsc::Receiver<Vec<Report>>,
    fetched: mpsc::Receiver<Vec<Fetched>>,
    events: mpsc::UnboundedSender<Event>,
    complaints: Arc<Complaints>,
    pub(super) slots: HashMap<u32, Slot>,
    /// Slots that have something to send and wait for the budget, by their turn.
    held: BTreeSet<(u64, u32)>,
    /// What the slot that has sent last had had of it before.
    turn: u64,
    /// Slots that may not be fetched now, in turn.
    waiting: VecDeque<u32>,
    /// Slots of which the offset map has to take facts before anything more is read or sent, and when they are looked at again.
    held_up: Vec<u32>,
    look_again: Instant,
    pressing: Pressing,
    pub(super) nodes: Nodes,
    /// When is looked again whether one of them is silent.
    pub(super) listen_at: Instant,
    /// Bytes that were fetched and are not acknowledged.
    pub(super) buffered: usize,
    budget: Budget,
    /// Memory of batches that have arrived, for those that come: the system would have to clear new memory first.
    spare: Spare,
}

impl Pump {
    pub(super) fn new(
        settings: Settings,
        source: Client,
        target: Client,
        events: mpsc::UnboundedSender<Event>,
        complaints: Arc<Complaints>,
    ) -> Pump {
        let (reported, reports) = mpsc::channel(REPORTS);
        let (answered, fetched) = mpsc::channel(ANSWERS);
        let fetcher = fetching(&settings);
        Pump {
            sender: Sender::new(target.clone(), SenderConfig::default(), reported),
            fetcher: Arc::new(Fetcher::new(source, fetcher, answered)),
            target,
            reports,
            fetched,
            events,
            complaints,
            slots: HashMap::new(),
            held: BTreeSet::new(),
            turn: 0,
            waiting: VecDeque::new(),
            held_up: Vec::new(),
            look_again: Instant::now(),
            pressing: Pressing::default(),
            nodes: Nodes::new(settings.in_flight_bytes),
            listen_at: Instant::now(),
            buffered: 0,
            budget: Budget::new(settings.bytes_per_second, settings.share.clone()),
            settings,
            spare: Spare::default(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        stop: CancellationToken,
    ) {
        loop {
            let has_room = self.has_room();
            let is_held = !self.held.is_empty();
            let listens = !has_room && self.nodes.are_several();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = commands.recv() => match command {
                    Some(Command::Start(start)) => self.start(*start),
                    Some(Command::Stop(id)) => self.stop(id),
                    None => return,
                },
                Some(reports) = self.reports.recv() => self.take_reports(reports),
                Some(fetched) = self.fetched.recv(), if has_room => self.take_fetched(fetched),
                () = tokio::time::sleep(TICK), if is_held => {}
                () = tokio::time::sleep_until(self.look_again), if !self.held_up.is_empty() => {}
                () = tokio::time::sleep_until(self.listen_at), if listens => {}
            }
            self.send_held();
            self.go_on_where_held_up();
            self.listen();
            self.fetch_waiting();
        }
    }

    fn start(&mut self, start: Start) {
        let id = start.id;
        let (Some(claim), options) = (start.claim, start.options) else {
            // The supervisor starts partitions of this engine with a claim, always.
            let text = "it was started without a producer id".to_owned();
            return self.fail(id, Side::Target, RDKafkaErrorCode::Fail, text);
        };
        let (source_id, target_id) = start.topic_ids;
        let mut slot = Slot::new(start, claim, options, self.settings.bytes_per_second);
        slot.look_up_node(&self.target);
        self.nodes.join(slot.node, Instant::now());
        self.sender.open(id, target_id);
        if let Some(source_id) = source_id {
            self.fetcher.pin(id, source_id);
        }
        self.slots.insert(id, slot);
        self.fetch(id);
    }

    fn stop(&mut self, id: u32) {
        self.fetcher.stop(id);
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.is_stopped = true;
        self.buffered -= slot.buffered();
        slot.clear();
        self.buffered += slot.buffered();
        self.forget_if_done(id);
    }

    fn forget_if_done(&mut self, id: u32) {
        let Some(slot) = self
            .slots
            .get(&id)
            .filter(|slot| slot.is_stopped && slot.is_idle())
        else {
            return;
        };
        self.nodes.leave(slot.node);
        self.slots.remove(&id);
        self.sender.close(id);
    }

    fn take_fetched(&mut self, fetched: Vec<Fetched>) {
        for fetched in fetched {
            let id = fetched.slot;
            // What was asked for before the slot was put back may still come.
            let is_wanted =
                |slot: &Slot| !slot.is_stopped && slot.is_fetching && slot.next_fetch == fetched.at;
            if !self.slots.get(&id).is_some_and(is_wanted) {
                continue;
            }
            match fetched.result {
                // What has moved in the log is asked for elsewhere; the question is still open.
                Ok(data) if data.records.is_empty() => {}
                Ok(data) => self.take_data(id, &data),
                Err(failure) => self.fetch_failed(id, &failure),
            }
        }
    }

    fn take_data(&mut self, id: u32, data: &Data) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.is_fetching = false;
        let mut ready = Vec::new();
        self.buffered -= slot.buffered();
        if let Err(error) = slot.converter.convert(&data.records, &data.aborted, &mut ready) {
            slot.obstacle = Some(error);
        }
        slot.next_fetch = slot.converter.position();
        slot.last_epoch = slot
            .account
            .read_on(slot.converter.take_epochs(), slot.next_fetch);
        ready.into_iter().for_each(|ready| slot.push(ready));
        self.buffered += slot.buffered();
        self.send(id);
        self.fetch(id);
    }

    fn fetch_failed(&mut self, id: u32, failure: &FetchFailure) {
        let code = match failure.diverging {
            Some(_) => RDKafkaErrorCode::LogTruncation,
            None => rdkafka_code(failure.error.code()),
        };
        let text = failure.error.to_string();
        *self.complaints.of(Side::Source) = Some(text.clone());
        if let Some(slot) = self.slots.get(&id) {
            slot.account.count_error();
        }
        self.fail(id, Side::Source, code, text);
    }

    /// Sends what may be sent of a slot now.
    pub(super) fn send(&mut self, id: u32) {
        let share = self.share();
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.is_stopped) else {
            return;
        };
        // What is merged is not of the size that it had before.
        self.buffered -= slot.buffered();
        // Who had nothing to send for a while has not saved up for that.
        slot.turn = slot.turn.max(self.turn);
        if slot.node.is_none() && slot.is_idle() {
            // The sender finds out with the first batch, if it was not known when the slot began.
            slot.look_up_node(&self.target);
            self.nodes.move_to(slot.node, id, Instant::now());
            // It waits for another node from here on, if at all.
            slot.is_crowded = false;
            if std::mem::take(&mut slot.is_parked) && !std::mem::replace(&mut slot.is_waiting, true) {
                self.waiting.push_back(id);
            }
        }
        let (mut is_given_up, mut is_over_budget) = (false, false);
        while slot.has_queued() {
            if slot.account.is_held_up() {
                // Also what was fetched already waits: the facts of what arrives have nowhere to go.
                self.buffered += slot.buffered();
                return self.hold_up(id);
            }
            let is_its_turn = self
                .held
                .first()
                .is_none_or(|&(turn, _)| slot.next_turn() <= turn);
            if !is_its_turn || !self.budget.is_open() {
                is_over_budget = true;
                break;
            }
            if !self.nodes.may_send(slot.node, slot.first_bytes()) {
                if !std::mem::replace(&mut slot.is_crowded, true) {
                    self.nodes.crowd(slot.node, id);
                }
                break;
            }
            let Some(ready) = slot.next(share) else { break };
            self.budget.spend(ready.size());
            self.turn = slot.turn;
            slot.turn += ready.size() as u64;
            let Some(outgoing) = slot.send(&ready, &mut self.spare) else {
                is_given_up = true;
                break;
            };
            self.nodes.sent(slot.node, ready.size(), Instant::now());
            self.sender.send(outgoing);
        }
        self.buffered += slot.buffered();
        if is_given_up {
            // The command to stop is on its way.
            return self.stop(id);
        }
        if slot.has_queued() {
            // What waits for a place in flight goes on with the slot's own reports.
            if is_over_budget && !slot.is_held {
                slot.is_held = true;
                self.held.insert((slot.next_turn(), id));
            }
            return;
        }
        slot.account.reached(id, slot.next_fetch);
        if slot.is_idle()
            && let Some(obstacle) = slot.obstacle.take()
        {
            let (side, code) = match obstacle.reason {
                ConvertReason::RecordTooLarge { .. } => (Side::Target, RDKafkaErrorCode::MessageSizeTooLarge),
                _ => (Side::Source, RDKafkaErrorCode::InvalidRecord),
            };
            let place = Place {
                offset: Some(obstacle.offset),
                middle: None,
            };
            self.fail_at(id, side, code, obstacle.reason.to_string(), place);
        }
    }

    /// Sends as long as the budget allows, first what is of slots that will have had the least of it then: what is live and little need not
    /// wait for the large batches of what catches up.
    fn send_held(&mut self) {
        while !self.held.is_empty() && self.budget.is_open() {
            let Some((_, id)) = self.held.pop_first() else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_held = false;
            }
            self.send(id);
        }
    }

    /// Nothing more of a slot is read or sent until the offset map has taken facts of it.
    fn hold_up(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.account.is_pressing() {
            self.pressing.say(&self.events);
        }
        if !std::mem::replace(&mut slot.is_held_up, true) {
            self.held_up.push(id);
        }
    }

    /// Looks now and then whether slots that were held up may go on.
    fn go_on_where_held_up(&mut self) {
        if self.held_up.is_empty() || Instant::now() < self.look_again {
            return;
        }
        self.look_again = Instant::now() + HELD_UP_TICK;
        for id in std::mem::take(&mut self.held_up) {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_held_up = false;
            }
            self.send(id);
            self.fetch(id);
        }
    }

    /// Asks for more of a slot, now or when there is room.
    pub(super) fn fetch(&mut self, id: u32) {
        let has_room = self.has_room();
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if slot.is_fetching || slot.is_waiting || slot.is_parked || slot.is_stopped || slot.obstacle.is_some()
        {
            return;
        }
        if self.nodes.is_silent(slot.node) {
            slot.is_parked = true;
            return self.nodes.park(slot.node, id);
        }
        if !has_room || slot.queued_bytes >= AHEAD_BYTES {
            slot.is_waiting = true;
            self.waiting.push_back(id);
            return;
        }
        if slot.account.is_held_up() {
            return self.hold_up(id);
        }
        slot.is_fetching = true;
        // With the epoch before it the source's leader can tell whether its log is the one that was read.
        let (topic, last_epoch) = (slot.topic.clone(), slot.last_epoch);
        self.fetcher
            .want(id, topic, slot.partition, slot.next_fetch, last_epoch);
    }

    fn fetch_waiting(&mut self) {
        if !self.has_room() {
            return;
        }
        for _ in 0..self.waiting.len() {
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_waiting = false;
            }
            self.fetch(id);
        }
    }

    fn take_reports(&mut self, reports: Vec<Report>) {
        let (mut parked, now) = (Vec::new(), Instant::now());
        for report in reports {
            let id = report.slot;
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            // An answer without an offset says that it was there before, and not where.
            let target = match &report.result {
                Ok(Acked { base_offset, .. }) => {
                    Some(*base_offset).filter(|offset| is_offset(*offset) && slot.account.may_land(*offset))
                }
                Err(_) => None,
            };
            if target.is_none() && report.result.as_ref().err().is_none_or(Failure::may_be_there) {
                // Before it counts as settled: whoever waits for that must not see a partition that is clear.
                slot.account.unclear();
            }
            let at_fault = Place::at_fault(slot, &report);
            self.buffered -= slot.buffered();
            let before = slot.in_flight_bytes;
            let free = slot.settle(report.tag, target);
            self.buffered += slot.buffered();
            if let Some(free) = free {
                self.spare.keep(free);
            }
            let is_answer = matches!(report.result, Ok(_) | Err(Failure::Refused { .. }));
            let settled = before - slot.in_flight_bytes;
            parked.extend(self.nodes.settled(slot.node, settled, is_answer, now));
            if slot.account.is_pressing() {
                self.pressing.say(&self.events);
            }
            if target.is_some() {
                slot.is_careful = false;
            } else {
                self.refused(id, report.result, at_fault);
            }
            self.send(id);
            self.forget_if_done(id);
        }
        self.bound_spare();
        self.go_on_where_answered(parked);
    }

    fn refused(&mut self, id: u32, result: Result<Acked, Failure>, at_fault: Place) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.account.count_error();
        if slot.is_stopped {
            return;
        }
        let (code, text) = match result {
            Ok(Acked { base_offset, .. }) if base_offset > OFFSET_MAX => (
                RDKafkaErrorCode::BadMessage,
                format!("the target says that a batch is at the offset {base_offset}, which cannot be"),
            ),
            Ok(Acked { base_offset, .. }) if base_offset >= 0 => (
                RDKafkaErrorCode::Fail,
                format!(
                    "the mirror's log has lost its end: a batch has landed at {base_offset}, before what was copied earlier"
                ),
            ),
            Ok(_) => (
                RDKafkaErrorCode::Fail,
                "a batch was there already, and the target does not say where".to_owned(),
            ),
            Err(Failure::Refused { code, message, .. }) => {
                let code = rdkafka_code(Some(code));
                let text = explain(code);
                let text = message.map_or_else(|| text.clone(), |message| format!("{text}: {message}"));
                (code, text)
            }
            Err(Failure::Unclear(error) | Failure::NotSent(error)) => {
                (rdkafka_code(error.code()), error.to_string())
            }
        };
        *self.complaints.of(Side::Target) = Some(text.clone());
        self.fail_at(id, Side::Target, code, text, at_fault);
    }

    /// A partition cannot go on: said once, and nothing more of it is read or sent.
    fn fail(&mut self, id: u32, side: Side, code: RDKafkaErrorCode, text: String) {
        self.fail_at(id, side, code, text, Place::default());
    }

    fn fail_at(&mut self, id: u32, side: Side, code: RDKafkaErrorCode, text: String, place: Place) {
        self.stop(id);
        tracing::debug!(flow = %self.settings.flow, id, ?code, "{text}");
        // Nobody listens any more only when the flow is ending.
        let failed = Event::Failed {
            id,
            side,
            code,
            text,
            offset: place.offset,
            middle: place.middle,
        };
        let _ = self.events.send(failed);
    }

    /// Memory that is kept for batches to come is part of what may be in flight, and little is held on top of that.
    fn bound_spare(&mut self) {
        let most = self.settings.in_flight_bytes;
        let left = most.saturating_sub(self.buffered as u64).max(most / SPARE_SHARE);
        self.spare.bound(usize::try_from(left).unwrap_or(usize::MAX));
    }

    pub(super) fn has_room(&self) -> bool {
        (self.buffered as u64) < self.settings.in_flight_bytes
    }

    /// How many bytes one partition may have in flight.
    fn share(&self) -> usize {
        let partitions = (self.slots.len() as u64).clamp(2, 16);
        let share = self.settings.in_flight_bytes / partitions;
        usize::try_from(share).unwrap_or(usize::MAX).max(SHARE_MIN)
    }
}

/// How much is asked for at once: no more than may be in flight, nor than a limit lets pass soon, because what comes next waits behind it.
fn fetching(settings: &Settings) -> FetcherConfig {
    let default = FetcherConfig::default();
    let soon = settings
        .bytes_per_second
        .map_or(u64::MAX, |limit| limit / ANSWERS_A_SECOND);
    let at_once = soon.min(settings.in_flight_bytes / 2).max(ANSWER_BYTES_MIN);
    let max_bytes = i32::try_from(at_once).unwrap_or(i32::MAX).min(default.max_bytes);
    FetcherConfig {
        max_bytes,
        partition_max_bytes: default.partition_max_bytes.min(max_bytes / 4),
        read_committed: true,
        ..default
    }
}

/// Which record something failed for, as in [`Event::Failed`].
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    offset: Option<i64>,
    middle: Option<i64>,
}

impl Place {
    /// The first record that the target complains of. If it does not say which, it is the only one of the batch, or is in one of its halves.
    fn at_fault(slot: &Slot, report: &Report) -> Place {
        let Err(Failure::Refused {
            code, record_errors, ..
        }) = &report.result
        else {
            return Place::default();
        };
        let at = |index| slot.offset_of(report.tag, index);
        if let Some((index, _)) = record_errors.first() {
            return Place {
                offset: at(*index),
                middle: None,
            };
        }
        let is_of_one = matches!(code, ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp);
        match slot.records_of(report.tag).filter(|_| is_of_one) {
            None | Some(0) => Place::default(),
            Some(1) => Place {
                offset: at(0),
                middle: None,
            },
            Some(records) => Place {
                offset: None,
                middle: i32::try_from(records / 2).ok().and_then(at),
            },
        }
    }
}
