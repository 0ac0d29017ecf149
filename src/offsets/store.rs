//! The map topics of a cluster: reading them to their end and on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::watch;

use super::first::First;
use super::index::{BlockIndex, Mirror};
use super::left_out::LeftOut;
use super::pause::Pauses;
use super::record::{Block, BlockId, MapRecord, Provenance};
use super::segments::Segment;
use crate::cluster::Cluster;
use crate::cluster::native::{Consumed, Consumer, SourceTopic};

/// How long the threads of this file sleep at most. Who wants something of them wakes them.
const TICK: Duration = Duration::from_secs(1);

/// What the map topics of one cluster say, kept up to date by a thread that reads them.
pub struct MapReader {
    shared: Arc<Shared>,
    consumer: Arc<Mutex<Arc<Consumer>>>,
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Follow(String),
    BeginAnew,
}

struct Shared {
    cluster: Arc<Cluster>,
    /// The map topic whose blocks are kept; of the others only the provenance matters.
    blocks_of: Option<String>,
    state: Mutex<State>,
    read_to: watch::Sender<HashMap<String, i64>>,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    provenance: HashMap<String, HashMap<String, Provenance>>,
    partitions: HashMap<(String, i32), Partition>,
    pauses: Arc<Pauses>,
    first: First,
    /// How many records of provenance were read.
    told: u64,
    left_out: LeftOut,
}

/// What is kept of one partition.
struct Partition {
    /// The block that was written last.
    last: (BlockId, Block),
    /// If that says of no record where it landed: where the last ones before it did.
    before: Vec<Segment>,
    /// Which blocks the map holds.
    index: BlockIndex,
}

/// What the map says of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The block that was written last.
    pub last: Block,
    /// Where the last records landed of which the map knows, in this block or before it.
    pub segments: Vec<Segment>,
}

impl MapReader {
    /// A reader of map topics on `cluster`, each of which has to be named with [`MapReader::follow`].
    pub fn start(
        cluster: Arc<Cluster>,
        client_id: &str,
        blocks_of: Option<String>,
    ) -> KafkaResult<MapReader> {
        let mut config = cluster.client_config(client_id);
        config.set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "earliest");
        config.set("fetch.queue.backoff.ms", "20");
        config.set("queued.max.messages.kbytes", "4096");
        let alias = cluster.alias.clone();
        let make = move || Consumer::new(&alias, &config).map(Arc::new);
        let consumer = Arc::new(Mutex::new(make()?));
        let shared = Arc::new(Shared {
            cluster,
            blocks_of,
            state: Mutex::default(),
            read_to: watch::Sender::new(HashMap::new()),
            stop: AtomicBool::new(false),
        });
        let (commands, inbox) = mpsc::channel();
        let for_thread = (consumer.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("map-reader".into())
            .spawn(move || read(&for_thread.0, make, &inbox, &for_thread.1))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(MapReader {
            shared,
            consumer,
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Read this map topic too. Naming it again changes nothing.
    pub fn follow(&self, topic: &str) {
        self.send(Command::Follow(topic.to_string()));
    }

    /// A map topic is not the one that it was: read all from their beginnings, over another client. One of librdkafka takes the leader of a topic
    /// that was made again for an old one, as long as its epoch is smaller than that of the topic before.
    pub fn begin_anew(&self) {
        self.send(Command::BeginAnew);
    }

    fn send(&self, command: Command) {
        // The thread lives as long as `self`.
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
        lock(&self.consumer).wake();
    }

    /// Wait until everything before `end` in this map topic has been read. False if the time runs out first.
    pub async fn caught_up(&self, topic: &str, end: i64, timeout: Duration) -> bool {
        if end == 0 {
            // A reader hears of the end of an empty log only when its first long poll is over.
            return true;
        }
        let mut read_to = self.shared.read_to.subscribe();
        let reached = read_to.wait_for(|read| read.get(topic).is_some_and(|&offset| offset >= end));
        tokio::time::timeout(timeout, reached)
            .await
            .is_ok_and(|result| result.is_ok())
    }

    /// What a mirror topic on this cluster mirrors, by whichever map topic says so, with the name of that map topic.
    pub fn provenance(&self, mirror_topic: &str) -> Option<(String, Provenance)> {
        let state = self.shared.lock();
        let mut found = state.provenance.iter().filter_map(|(map_topic, mirrors)| {
            mirrors
                .get(mirror_topic)
                .map(|provenance| (map_topic.clone(), provenance.clone()))
        });
        found.next()
    }

    /// How often map topics have said what a topic mirrors: as long as this is the same, [`MapReader::provenance`] says the same of all topics.
    pub fn told(&self) -> u64 {
        self.shared.lock().told
    }

    /// All mirror topics that a map topic names, by name.
    pub fn provenances(&self, map_topic: &str) -> Vec<(String, Provenance)> {
        let state = self.shared.lock();
        let mirrors = state.provenance.get(map_topic).into_iter().flatten();
        let mut mirrors: Vec<(String, Provenance)> = mirrors
            .map(|(mirror, provenance)| (mirror.clone(), provenance.clone()))
            .collect();
        mirrors.sort_by(|a, b| a.0.cmp(&b.0));
        mirrors
    }

    /// What is paused. It is another value when anything has changed.
    pub fn pauses(&self) -> Arc<Pauses> {
        self.shared.lock().pauses.clone()
    }

    /// Which daemon begins.
    pub fn first(&self) -> First {
        self.shared.lock().first.clone()
    }

    /// What the map says of a partition.
    pub fn facts(&self, mirror_topic: &str, partition: i32) -> Option<PartitionFacts> {
        self.of(mirror_topic, partition, |partition| {
            let last = &partition.last.1;
            let segments = match last.segments.is_empty() {
                true => &partition.before,
                false => &last.segments,
            };
            PartitionFacts {
                last: last.clone(),
                segments: segments.clone(),
            }
        })
    }

    /// The block of a partition that was written last, and which one it is.
    pub fn last_block(&self, mirror_topic: &str, partition: i32) -> Option<(BlockId, Block)> {
        self.of(mirror_topic, partition, |partition| partition.last.clone())
    }

    /// How far the map says that a partition is copied: source position, target position. `id` is that of the mirror topic as it is now: what
    /// was copied to one of the same name before is not in it.
    pub fn position(&self, mirror_topic: &str, partition: i32, id: Option<&str>) -> Option<(i64, i64)> {
        let position = self.of(mirror_topic, partition, |partition| {
            let last = &partition.last.1;
            last.is_of_mirror(id)
                .then_some((last.position, last.target_position))
        });
        position.flatten()
    }

    /// Whether the map has more of a partition than the block that was written last.
    pub fn has_older(&self, mirror_topic: &str, partition: i32) -> bool {
        self.of(mirror_topic, partition, |partition| {
            partition.index.len() > 1 || partition.index.is_used_up()
        })
        .unwrap_or(false)
    }

    /// Blocks of a partition that may be taken back, at most so many: `start` is the first offset that the mirror has now, `id` its
    /// topic's id.
    pub fn expired(
        &self,
        (mirror_topic, partition): (&str, i32),
        start: i64,
        id: Option<&str>,
        at_most: usize,
    ) -> Vec<BlockId> {
        let expired = self.of(mirror_topic, partition, |partition| {
            let last = (partition.last.0, &partition.last.1);
            partition.index.expired(Mirror { start, id, last }, at_most)
        });
        expired.unwrap_or_default()
    }

    /// If more blocks of a partition have to be looked for in the map topic before they can be taken back: what to look for them with.
    pub fn used_up(&self, mirror_topic: &str, partition: i32) -> Option<BlockIndex> {
        self.of(mirror_topic, partition, |partition| {
            let index = &partition.index;
            index.is_used_up().then(|| index.following())
        })
        .flatten()
    }

    /// Takes in which blocks of partitions were found when the map topic was gone through again.
    pub fn refill(&self, found: HashMap<(String, i32), BlockIndex>) {
        let mut state = self.shared.lock();
        for (key, index) in found {
            if let Some(partition) = state.partitions.get_mut(&key) {
                partition.index.refill(index);
            }
        }
    }

    fn of<T>(&self, mirror_topic: &str, partition: i32, look: impl FnOnce(&Partition) -> T) -> Option<T> {
        let state = self.shared.lock();
        state
            .partitions
            .get(&(mirror_topic.to_string(), partition))
            .map(look)
    }
}

impl Drop for MapReader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.commands = None;
        lock(&self.consumer).wake();
        let Some(thread) = self.thread.take() else { return };
        // Its client takes a moment to end: nothing else on the runtime waits for that.
        let consumer = self.consumer.clone();
        let end = move || {
            let _ = thread.join();
            drop(consumer);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(end)),
            Err(_) => end(),
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn apply(&self, (map_topic, offset): (&str, i64), key: &[u8], value: Option<&[u8]>) {
        let record = MapRecord::try_read(key, value);
        let mut state = self.lock();
        let record = match record {
            Ok(record) => record,
            Err(reason) => {
                if let Some(records) = state.left_out.note(Instant::now()) {
                    tracing::warn!(cluster = %self.cluster.alias, topic = map_topic, offset, records, "left out a record of the offset map: {reason}");
                }
                return;
            }
        };
        state.take(map_topic, self.blocks_of.as_deref() == Some(map_topic), record);
    }
}

impl State {
    /// `keeps_blocks`: of other map topics only the provenance matters.
    fn take(&mut self, map_topic: &str, keeps_blocks: bool, record: MapRecord) {
        match record {
            MapRecord::Provenance(topic, Some(provenance)) => {
                self.told += 1;
                self.provenance
                    .entry(map_topic.to_string())
                    .or_default()
                    .insert(topic, provenance);
            }
            MapRecord::Provenance(topic, None) => {
                self.told += 1;
                if let Some(mirrors) = self.provenance.get_mut(map_topic) {
                    mirrors.remove(&topic);
                }
            }
            MapRecord::Block(..) | MapRecord::Pause(..) | MapRecord::First(_) if !keeps_blocks => {}
            MapRecord::Block(topic, partition, id, Some(block)) => {
                self.note_block(topic, partition, id, block);
            }
            MapRecord::Block(topic, partition, id, None) => {
                if let Some(known) = self.partitions.get_mut(&(topic, partition)) {
                    known.index.remove(&id);
                }
            }
            MapRecord::Pause(scope, pause) => Arc::make_mut(&mut self.pauses).note(scope, pause),
            MapRecord::First(start) => self.first.note(start, Instant::now()),
        }
    }

    fn note_block(&mut self, topic: String, partition: i32, id: BlockId, block: Block) {
        let known = self
            .partitions
            .entry((topic, partition))
            .or_insert_with(|| Partition {
                last: (id, block.clone()),
                before: Vec::new(),
                index: BlockIndex::default(),
            });
        known.index.note(id, &block);
        // The order of the topic is the order of writing, and compaction keeps it: the last one read is the last one written. Only what
        // an owner says who was replaced, and did not know it yet, is older than what his successor has said before.
        let last = &known.last.1;
        let is_outdated = block.producer_id.is_some()
            && block.producer_id == last.producer_id
            && block.producer_epoch < last.producer_epoch;
        if !is_outdated {
            let (_, former) = std::mem::replace(&mut known.last, (id, block));
            known.note_before(former);
        }
    }
}

impl Partition {
    /// Another block has been written behind this one. A daemon that has copied nothing since it began knows from what is before where the last
    /// records are, by which it finds out whether the mirror has them yet.
    fn note_before(&mut self, former: Block) {
        let last = &self.last.1;
        if !last.segments.is_empty() {
            self.before = Vec::new();
            return;
        }
        let is_same = (&last.source_topic_id, &last.target_topic_id)
            == (&former.source_topic_id, &former.target_topic_id);
        if !is_same {
            self.before = Vec::new();
        } else if !former.segments.is_empty() {
            self.before = former.segments;
        }
        // What does not count any more is of a log that has lost its end.
        let (source, target) = (last.position, last.target_position);
        self.before
            .retain(|segment| segment.source_end() <= source && segment.target_end() <= target);
    }
}

fn lock(consumer: &Mutex<Arc<Consumer>>) -> std::sync::MutexGuard<'_, Arc<Consumer>> {
    consumer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read(
    place: &Mutex<Arc<Consumer>>,
    make: impl Fn() -> KafkaResult<Arc<Consumer>>,
    inbox: &mpsc::Receiver<Command>,
    shared: &Shared,
) {
    let mut consumer = lock(place).clone();
    let mut topics: HashMap<String, SourceTopic> = HashMap::new();
    let mut items = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        // As long as there is no topic nothing can arrive but the name of the first one.
        let command = match topics.is_empty() {
            true => inbox.recv_timeout(TICK).ok(),
            false => inbox.try_recv().ok(),
        };
        match command {
            Some(Command::Follow(name)) => {
                follow(&consumer, &mut topics, name, shared);
                continue;
            }
            Some(Command::BeginAnew) => {
                let names = stop(&consumer, &mut topics);
                shared.read_to.send_modify(HashMap::clear);
                match make() {
                    Ok(new) => consumer = new,
                    Err(error) => {
                        tracing::error!("cannot make a client that reads offset maps: {error}");
                    }
                }
                lock(place).clone_from(&consumer);
                for name in names {
                    follow(&consumer, &mut topics, name, shared);
                }
                continue;
            }
            None if topics.is_empty() => continue,
            None => {}
        }
        consumer.take(TICK, 1000, &mut items);
        for item in items.drain(..) {
            take_in(shared, &topics, &item);
        }
    }
    stop(&consumer, &mut topics);
}

/// Reads no topic any more. Returns which they were.
fn stop(consumer: &Consumer, topics: &mut HashMap<String, SourceTopic>) -> Vec<String> {
    let stopped = topics.drain().map(|(name, topic)| {
        consumer.stop(&topic, 0);
        name
    });
    stopped.collect()
}

fn follow(consumer: &Consumer, topics: &mut HashMap<String, SourceTopic>, name: String, shared: &Shared) {
    if topics.contains_key(&name) {
        return;
    }
    let started = consumer
        .topic(&name)
        .and_then(|topic| consumer.start(&topic, 0, 0).map(|()| topic));
    match started {
        Ok(topic) => drop(topics.insert(name, topic)),
        Err(error) => {
            tracing::warn!(cluster = %shared.cluster.alias, topic = %name, "cannot read the map topic: {error}")
        }
    }
}

fn take_in(shared: &Shared, topics: &HashMap<String, SourceTopic>, item: &Consumed) {
    let id = match item {
        Consumed::Record(record) => record.topic(),
        Consumed::End { topic, .. } | Consumed::Error { topic, .. } => *topic,
    };
    let Some((name, _)) = topics.iter().find(|(_, topic)| topic.id() == id) else {
        return;
    };
    let read_to = match item {
        Consumed::Record(record) => {
            if let Some(key) = record.key() {
                shared.apply((name, record.offset()), &key, record.value().as_deref());
            }
            record.offset() + 1
        }
        Consumed::End { offset, .. } => *offset,
        Consumed::Error { text, .. } => {
            tracing::warn!(cluster = %shared.cluster.alias, topic = %name, "cannot read the map topic: {text}");
            return;
        }
    };
    shared.read_to.send_modify(|read| {
        read.insert(name.clone(), read_to);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offsets::hostile::{HOSTILE, OTHER, Raw, honest, record};
    use crate::offsets::record::VERSION;

    fn block(position: i64, producer: (i64, i16)) -> Block {
        Block {
            v: VERSION,
            source_topic: "orders".into(),
            source_topic_id: None,
            target_topic_id: None,
            position,
            target_position: position,
            segments: Vec::new(),
            at_ms: 0,
            producer_id: Some(producer.0),
            producer_epoch: Some(producer.1),
            from: None,
            source_epochs: Default::default(),
            released: false,
        }
    }

    #[test]
    fn owners_that_go_on_from_the_same_fact_keep_their_blocks() {
        let mut state = State::default();
        for producer in [(7, 3), (7, 4), (7, 3)] {
            let (topic, id) = ("primary.orders".to_owned(), (10, Some(producer)));
            state.note_block(topic, 0, id, block(10 + i64::from(producer.1), producer));
        }
        let known = &state.partitions[&("primary.orders".into(), 0)];
        assert_eq!(known.index.len(), 2);
    }

    fn state(records: &[Raw]) -> State {
        let mut state = State::default();
        for (key, value) in records {
            if let Some(record) = MapRecord::read(key, value.as_deref()) {
                state.take("map", true, record);
            }
        }
        state
    }

    proptest! {
        #[test]
        fn whatever_lies_in_the_topic_other_partitions_go_on_as_before(
            hostile in prop::collection::vec(record(), 0..40),
            start in any::<i64>(),
        ) {
            let other = (OTHER.to_owned(), 0);
            let alone = state(&honest());
            let mixed: Vec<Raw> = hostile.iter().cloned().chain(honest()).chain(hostile.clone()).collect();
            let mixed = state(&mixed);
            let (alone, known) = (&alone.partitions[&other], &mixed.partitions[&other]);
            prop_assert_eq!((&alone.last, &alone.index), (&known.last, &known.index));
            for ((topic, _), partition) in &mixed.partitions {
                prop_assert!(topic == HOSTILE || topic == OTHER);
                let (id, block) = &partition.last;
                let mirror = Mirror { start, id: None, last: (*id, block) };
                prop_assert!(!partition.index.expired(mirror, 100).contains(id));
            }
        }
    }

    #[test]
    fn what_an_owner_says_after_it_was_replaced_does_not_put_the_position_back() {
        let mut state = State::default();
        let mut say = |position, producer| {
            let id = (position, Some(producer));
            state.note_block("primary.orders".into(), 0, id, block(position, producer));
            state.partitions[&("primary.orders".into(), 0)].last.1.position
        };
        assert_eq!(say(10, (7, 3)), 10);
        assert_eq!(say(30, (7, 4)), 30);
        assert_eq!(say(20, (7, 3)), 30, "its owner was replaced");
        assert_eq!(say(25, (7, 4)), 25, "the same owner may begin anew");
        assert_eq!(say(5, (8, 0)), 5, "the id before was forgotten");
    }
}
