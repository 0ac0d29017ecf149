//! The engine on librdkafka: every record passes through, at least once.
//!
//! Two threads: one takes records from the consumer and gives them to the producer, one takes delivery reports and settles them in the
//! accounts. Memory is bounded by the bytes in flight of the whole flow, and each partition has a share of them, so that one whose target
//! does not answer cannot use up what its neighbours need: it is paused, and what was already taken of it waits in its stash.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::budget::{Budget, Share};
use super::{Engine, Event, Pressing, Side, Start};
use crate::cluster::native::{Consumed, Consumer, Producer, Record, SourceTopic, TargetTopic};
use crate::cluster::{Cluster, admin};
use crate::flow::account::Account;
use crate::topology::Compression;

/// How long the threads wait for something to do before they look for commands.
const TICK: Duration = Duration::from_millis(20);

/// How long the target may take to say which partitions a topic has.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);

/// How many records are taken from the consumer at once.
const RECORDS_AT_ONCE: usize = 2_000;

/// No partition's share of the bytes in flight is smaller than this, or small batches would make it slow.
const SMALLEST_SHARE: u64 = 256 * 1024;

/// Bits of a delivery tag that hold the sequence number; the rest holds the partition's id.
const SEQUENCE_BITS: u32 = 40;

/// What the engine needs to know of its flow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The flow's name, for client ids and logs.
    pub flow: String,
    /// How what is written is compressed.
    pub compression: Compression,
    /// At most this many bytes of keys and values on their way.
    pub in_flight_bytes: u64,
    /// At most this many bytes a second, if set.
    pub bytes_per_second: Option<u64>,
    /// How much of that is this daemon's.
    pub share: Arc<Share>,
}

/// The librdkafka engine.
pub struct Librdkafka {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    copier: Option<JoinHandle<()>>,
    settler: Option<JoinHandle<()>>,
}

enum Command {
    Start(Start),
    Stop(u32),
}

struct Shared {
    settings: Settings,
    consumer_error: Mutex<Option<String>>,
    producer: Producer,
    accounts: RwLock<HashMap<u32, Arc<Account>>>,
    /// Target topics about which the target is being asked.
    refreshing: Mutex<HashSet<String>>,
    in_flight_bytes: AtomicU64,
    events: tokio::sync::mpsc::UnboundedSender<Event>,
    stop: AtomicBool,
}

impl Librdkafka {
    /// An engine between two clusters. What it has to say goes to `events`.
    pub fn new(
        settings: Settings,
        source: &Cluster,
        target: &Cluster,
        events: tokio::sync::mpsc::UnboundedSender<Event>,
    ) -> KafkaResult<Librdkafka> {
        let consumer = Consumer::new(&source.alias, &reader_config(&settings, source))?;
        let producer = Producer::new(&target.alias, &writer_config(&settings, target))?;
        let shared = Arc::new(Shared {
            settings,
            consumer_error: Mutex::new(None),
            producer,
            accounts: RwLock::default(),
            refreshing: Mutex::default(),
            in_flight_bytes: AtomicU64::new(0),
            events,
            stop: AtomicBool::new(false),
        });
        let (commands, inbox) = mpsc::channel();
        let (for_copier, for_settler) = (shared.clone(), shared.clone());
        let copier = spawn("copier", move || Copier::new(for_copier, consumer).run(&inbox))?;
        let settler = spawn("settler", move || settle(&for_settler))?;
        Ok(Librdkafka {
            shared,
            commands,
            copier: Some(copier),
            settler: Some(settler),
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> KafkaResult<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(|error| {
            rdkafka::error::KafkaError::ClientCreation(format!("cannot start a thread: {error}"))
        })
}

fn reader_config(settings: &Settings, source: &Cluster) -> rdkafka::ClientConfig {
    let mut config = source.client_config(&format!("heliostat/{}/reader", settings.flow));
    // An offset that is gone is an event to be named, never something to jump over in silence.
    config.set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "true");
    config.set("isolation.level", "read_committed");
    config.set("check.crcs", "true");
    // At its default of a second the fetcher stands still whenever the queue is full for a moment.
    config.set("fetch.queue.backoff.ms", "10");
    config.set("fetch.error.backoff.ms", "100");
    config.set("fetch.wait.max.ms", "500");
    config.set("queued.min.messages", "50000");
    config.set("queued.max.messages.kbytes", "16384");
    config.set("fetch.message.max.bytes", "1048576");
    config.set("fetch.max.bytes", "8388608");
    config.set("message.max.bytes", "8388608");
    config.set("receive.message.max.bytes", "1000000000");
    config.set("topic.metadata.refresh.interval.ms", "30000");
    with_own(config, source)
}

fn writer_config(settings: &Settings, target: &Cluster) -> rdkafka::ClientConfig {
    let mut config = target.client_config(&format!("heliostat/{}/writer", settings.flow));
    config.set("enable.idempotence", "true");
    config.set("compression.codec", settings.compression.to_string());
    // A target that is away is waited for: the records stay in memory, which is bounded, and no time-out breaks their order.
    config.set("message.timeout.ms", "0");
    config.set("linger.ms", "2");
    config.set("batch.size", "1000000");
    config.set("batch.num.messages", "100000");
    config.set("message.max.bytes", "1000000000");
    // The bound on memory is the flow's own, on bytes in flight.
    config.set("queue.buffering.max.messages", "0");
    config.set("queue.buffering.max.kbytes", "2097151");
    config.set("retry.backoff.ms", "50");
    config.set("topic.metadata.refresh.interval.ms", "30000");
    // It tells of answers that it deals with by itself, a full disk on the target's side for example: see `Producer::refused`.
    config.set("debug", "topic");
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Debug);
    with_own(config, target)
}

/// The properties of the topology file win over ours.
fn with_own(mut config: rdkafka::ClientConfig, cluster: &Cluster) -> rdkafka::ClientConfig {
    for (key, value) in cluster.own_properties() {
        config.set(key, value);
    }
    config
}

impl Engine for Librdkafka {
    fn start(&self, partition: Start) {
        // The thread lives as long as `self`.
        let _ = self.commands.send(Command::Start(partition));
    }

    fn stop(&self, id: u32) {
        let _ = self.commands.send(Command::Stop(id));
    }

    fn refresh(&self, target_topic: &str) {
        let (shared, topic) = (self.shared.clone(), target_topic.to_string());
        if !shared.refreshing().insert(topic.clone()) {
            return;
        }
        let refresh = spawn("refresher", move || {
            if let Err(error) = shared.producer.refresh(&topic, REFRESH_TIMEOUT) {
                tracing::debug!(flow = %shared.settings.flow, target_topic = topic, "cannot ask for its partitions: {error}");
            }
            shared.refreshing().remove(&topic);
        });
        if refresh.is_err() {
            self.shared.refreshing().remove(target_topic);
        }
    }

    fn last_error(&self, side: Side) -> Option<String> {
        match side {
            Side::Source => self
                .shared
                .consumer_error
                .lock()
                .ok()
                .and_then(|error| error.clone()),
            Side::Target => self.shared.producer.last_error(),
        }
    }

    fn refused(&self, target_topic: &str, partition: i32) -> Option<String> {
        self.shared.producer.refused(target_topic, partition)
    }
}

impl Drop for Librdkafka {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in [self.copier.take(), self.settler.take()].into_iter().flatten() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn write_accounts(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<u32, Arc<Account>>> {
        self.accounts
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn refreshing(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.refreshing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn account(&self, id: u32) -> Option<Arc<Account>> {
        self.accounts
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    fn fail(&self, id: u32, side: Side, code: RDKafkaErrorCode, text: String) {
        // Nobody listens any more only when the flow is ending.
        let failed = Event::Failed {
            id,
            side,
            code,
            text,
            offset: None,
            middle: None,
        };
        let _ = self.events.send(failed);
    }
}

/// Take delivery reports until the engine ends.
fn settle(shared: &Shared) {
    let mut known: Option<(u32, Arc<Account>)> = None;
    let mut broken = false;
    while !shared.stop.load(Ordering::Relaxed) {
        let mut failures: Vec<(u32, RDKafkaErrorCode)> = Vec::new();
        let mut settled = 0;
        let reports = shared.producer.deliveries(TICK, |delivery| {
            let id = u32::try_from(delivery.tag >> SEQUENCE_BITS).unwrap_or(u32::MAX);
            let sequence = delivery.tag & ((1 << SEQUENCE_BITS) - 1);
            if known.as_ref().is_none_or(|(known, _)| *known != id) {
                known = shared.account(id).map(|account| (id, account));
            }
            let Some((_, account)) = &known else { return };
            settled += account.settle(sequence, delivery.result.ok());
            if let Err(code) = delivery.result
                && failures.last().is_none_or(|(failed, _)| *failed != id)
            {
                account.count_error();
                failures.push((id, code));
            }
        });
        shared.in_flight_bytes.fetch_sub(settled, Ordering::Relaxed);
        for (id, code) in failures {
            shared.fail(id, Side::Target, code, admin::explain(code));
        }
        if reports == 0
            && !broken
            && let Some(text) = shared.producer.fatal_error()
        {
            broken = true;
            let _ = shared.events.send(Event::Broken(text));
        }
    }
}

/// The thread that copies.
struct Copier {
    shared: Arc<Shared>,
    // Field order is drop order: topics must go before their consumer.
    slots: HashMap<(usize, i32), Slot>,
    by_id: HashMap<u32, (usize, i32)>,
    topics: HashMap<String, Arc<SourceTopic>>,
    consumer: Consumer,
    stashed: usize,
    budget: Budget,
    pressing: Pressing,
}

/// A partition that is being copied.
struct Slot {
    id: u32,
    source: Arc<SourceTopic>,
    target: TargetTopic,
    partition: i32,
    account: Arc<Account>,
    /// Taken from the consumer and not sent, since the partition's share of the bytes in flight is used up.
    stash: VecDeque<Record>,
    paused: bool,
    /// Until more records than this have arrived, one record goes alone.
    careful_until: Option<u64>,
}

impl Copier {
    fn new(shared: Arc<Shared>, consumer: Consumer) -> Copier {
        let budget = Budget::new(shared.settings.bytes_per_second, shared.settings.share.clone());
        let (slots, by_id, topics) = (HashMap::new(), HashMap::new(), HashMap::new());
        Copier {
            shared,
            slots,
            by_id,
            topics,
            consumer,
            stashed: 0,
            budget,
            pressing: Pressing::default(),
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<Command>) {
        let mut items = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            while let Ok(command) = inbox.try_recv() {
                match command {
                    Command::Start(start) => self.start(start),
                    Command::Stop(id) => self.stop(id),
                }
            }
            self.send_stashed();
            if self.is_full() || !self.budget.is_open() {
                // Room comes with the next delivery reports; commands are still heard.
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let wait = if self.stashed > 0 {
                Duration::from_millis(1)
            } else {
                TICK
            };
            let at_once = self.budget.records_at_once(RECORDS_AT_ONCE);
            self.consumer.take(wait, at_once, &mut items);
            for item in items.drain(..) {
                self.take_in(item);
            }
            if let Some(error) = self.consumer.last_error()
                && let Ok(mut last) = self.shared.consumer_error.lock()
            {
                *last = Some(error);
            }
        }
        for slot in self.slots.values() {
            self.consumer.stop(&slot.source, slot.partition);
        }
    }

    fn start(&mut self, start: Start) {
        let id = start.id;
        if let Err(error) = self.try_start(start) {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.shared.fail(id, Side::Source, code, error.to_string());
        }
    }

    fn try_start(&mut self, start: Start) -> KafkaResult<()> {
        let source = match self.topics.get(&start.topic) {
            Some(topic) => topic.clone(),
            None => {
                let topic = Arc::new(self.consumer.topic(&start.topic)?);
                self.topics.insert(start.topic.clone(), topic.clone());
                topic
            }
        };
        let target = self.shared.producer.topic(&start.target_topic)?;
        let key = (source.id(), start.partition);
        self.consumer.start(&source, start.partition, start.at)?;
        self.by_id.insert(start.id, key);
        let mut accounts = self.shared.write_accounts();
        accounts.retain(|id, account| self.by_id.contains_key(id) || !account.is_drained());
        accounts.insert(start.id, start.account.clone());
        drop(accounts);
        let careful_until = start.careful.then(|| start.account.totals().records);
        let slot = Slot {
            id: start.id,
            source,
            target,
            partition: start.partition,
            account: start.account,
            stash: VecDeque::new(),
            paused: false,
            careful_until,
        };
        self.slots.insert(key, slot);
        Ok(())
    }

    fn stop(&mut self, id: u32) {
        let Some(key) = self.by_id.remove(&id) else { return };
        let Some(slot) = self.slots.remove(&key) else {
            return;
        };
        self.stashed -= usize::from(!slot.stash.is_empty());
        if slot.paused {
            // librdkafka would remember it, and the next start would read nothing.
            self.consumer.pause(&slot.source, slot.partition, false);
        }
        // Delivery reports of it may still come: its account is kept until they have.
        self.consumer.stop(&slot.source, slot.partition);
    }

    fn take_in(&mut self, item: Consumed) {
        match item {
            Consumed::Record(record) => {
                let key = (record.topic(), record.partition());
                let share = self.share();
                let Some(slot) = self.slots.get_mut(&key) else {
                    return;
                };
                if !slot.stash.is_empty() || slot.is_over(share) {
                    self.stashed += usize::from(slot.stash.is_empty());
                    slot.stash.push_back(record);
                    if !slot.paused {
                        slot.paused = true;
                        self.consumer.pause(&slot.source, slot.partition, true);
                    }
                    return;
                }
                self.budget.spend(record.size());
                slot.send(&self.shared, record);
            }
            Consumed::End {
                topic,
                partition,
                offset,
            } => {
                if let Some(slot) = self.slots.get(&(topic, partition))
                    && slot.stash.is_empty()
                {
                    slot.account.reached(slot.id, offset);
                }
            }
            Consumed::Error {
                topic,
                partition,
                code,
                text,
                ..
            } => {
                if let Some(slot) = self.slots.get(&(topic, partition)) {
                    slot.account.count_error();
                    self.shared.fail(slot.id, Side::Source, code, text);
                }
            }
        }
    }

    /// Send what waited, as far as there is room for it now.
    fn send_stashed(&mut self) {
        if self.stashed == 0 {
            return;
        }
        let share = self.share();
        for slot in self.slots.values_mut().filter(|slot| slot.paused) {
            if slot.account.is_pressing() {
                self.pressing.say(&self.shared.events);
            }
            while !slot.stash.is_empty() && !slot.is_over(share) && self.budget.is_open() {
                if let Some(record) = slot.stash.pop_front() {
                    self.budget.spend(record.size());
                    slot.send(&self.shared, record);
                }
            }
            if slot.stash.is_empty() {
                self.stashed -= 1;
                slot.paused = false;
                self.consumer.pause(&slot.source, slot.partition, false);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.shared.in_flight_bytes.load(Ordering::Relaxed) >= self.shared.settings.in_flight_bytes
    }

    /// How many bytes one partition may have in flight.
    fn share(&self) -> u64 {
        let partitions = (self.slots.len() as u64).clamp(2, 16);
        (self.shared.settings.in_flight_bytes / partitions).max(SMALLEST_SHARE)
    }
}

impl Slot {
    fn is_over(&mut self, share: u64) -> bool {
        if let Some(before) = self.careful_until {
            if self.account.totals().records == before {
                return self.account.snapshot().in_flight;
            }
            self.careful_until = None;
        }
        self.account.in_flight_bytes() >= share || self.account.is_held_up()
    }

    fn send(&self, shared: &Shared, record: Record) {
        let bytes = record.size();
        let sending = self
            .account
            .sending(self.id, record.offset(), record.timestamp(), bytes);
        // None: it is being given up, and the command to stop is on its way.
        let Some(sequence) = sending else { return };
        shared.in_flight_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let tag = (u64::from(self.id) << SEQUENCE_BITS) | (sequence & ((1 << SEQUENCE_BITS) - 1));
        if let Err(code) = shared.producer.send(&self.target, record, tag) {
            let settled = self.account.settle(sequence, None);
            shared.in_flight_bytes.fetch_sub(settled, Ordering::Relaxed);
            self.account.count_error();
            shared.fail(self.id, Side::Target, code, admin::explain(code));
        }
    }
}
