//! Fetch sessions (KIP-227): what a client fetches is remembered, so that it need only say what changes, and is only
//! told what has changed.
//!
//! Each node has its own sessions. None is ever promised: a client whose session is gone begins anew.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use heliostat_wire::{
    ErrorCode, Uuid,
    message::{
        FetchRequest,
        fetch::{FetchPartition, FetchTopic, FetchableTopicResponse, PartitionData},
    },
};

/// The epoch of a request that ends its session, or has none.
const FINAL_EPOCH: i32 = -1;

/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;

/// The id that says that there is no session.
const NO_SESSION: i32 = 0;

/// The first version in which topics are named by their ids.
const TOPIC_IDS_SINCE: i16 = 13;

/// A session that was not used for this long makes room for a new one, and one that is this old for a larger one.
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// Partitions that all sessions of all nodes hold together; clients whose session would exceed this do without. One takes about
/// [`PARTITION_BYTES`], and counts as several if its topic's name is long: nobody has to know a topic to ask for it.
const PARTITIONS_MAX: usize = 250_000;

/// What a partition of a session takes, besides its topic's name.
const PARTITION_BYTES: usize = 150;

/// The sessions of all nodes.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    /// `max.incremental.fetch.session.cache.slots`, for each node.
    slots: usize,
    nodes: Mutex<HashMap<i32, Cache>>,
}

/// What a request turned out to be.
#[derive(Debug)]
pub(crate) enum Fetching {
    /// It names all partitions, and wants no session.
    Sessionless,
    /// It names all partitions, these, and wants a session.
    New(Vec<FetchTopic>),
    /// It continues a session; the epoch is the one of its next request.
    Incremental { id: i32, epoch: i32 },
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<i32, Session>,
    /// The weight of all sessions.
    weight: usize,
    /// What it may be at the moment: what other nodes' sessions leave of [`PARTITIONS_MAX`].
    room: usize,
}

#[derive(Debug)]
struct Session {
    by_id: bool,
    /// The epoch of the next request.
    epoch: i32,
    created: Instant,
    used: Instant,
    partitions: Partitions,
}

/// Partitions in the order in which they are read: whoever got records goes to the end.
#[derive(Debug, Default)]
struct Partitions {
    in_order: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
    next: u64,
    /// How many partitions they count as.
    weight: usize,
}

/// A partition of a session.
#[derive(Debug)]
struct Cached {
    key: Key,
    request: FetchPartition,
    /// What the client was told last.
    high_watermark: i64,
    log_start_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    topic: Arc<str>,
    topic_id: Uuid,
    partition: i32,
}

impl FetchSessions {
    /// Room for this many sessions on each node.
    pub(crate) fn new(slots: usize) -> Self {
        FetchSessions {
            slots,
            nodes: Mutex::default(),
        }
    }

    /// Looks at a request. One that continues a session gets all the partitions of that session.
    pub(crate) fn begin(
        &self,
        node_id: i32,
        api_version: i16,
        request: &mut FetchRequest,
    ) -> Result<Fetching, ErrorCode> {
        let by_id = api_version >= TOPIC_IDS_SINCE;
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            if id != NO_SESSION {
                self.with(node_id, |cache| cache.remove(id));
            }
            return Ok(match epoch {
                INITIAL_EPOCH if self.slots > 0 => Fetching::New(request.topics.clone()),
                _ => Fetching::Sessionless,
            });
        }
        self.with(node_id, |cache| cache.continue_session(id, by_id, request))
    }

    /// Turns what was read into what is answered: the id of the session, and the partitions that the client has to be
    /// told of.
    pub(crate) fn finish(
        &self,
        node_id: i32,
        api_version: i16,
        fetching: Fetching,
        topics: Vec<FetchableTopicResponse>,
    ) -> Result<(i32, Vec<FetchableTopicResponse>), ErrorCode> {
        match fetching {
            Fetching::Sessionless => Ok((NO_SESSION, topics)),
            Fetching::New(asked) => {
                let by_id = api_version >= TOPIC_IDS_SINCE;
                let id = self.with(node_id, |cache| cache.create(self.slots, by_id, asked, &topics));
                Ok((id, topics))
            }
            Fetching::Incremental { id, epoch } => {
                self.with(node_id, |cache| match cache.sessions.get_mut(&id) {
                    Some(session) if session.epoch == epoch => Ok((id, session.partitions.news(topics))),
                    // Two requests of one session at the same time.
                    Some(_) => Err(ErrorCode::InvalidFetchSessionEpoch),
                    // It was evicted while the request waited: the client hears of that with its next request.
                    None => Ok((id, topics)),
                })
            }
        }
    }

    fn with<T>(&self, node_id: i32, work: impl FnOnce(&mut Cache) -> T) -> T {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let others = nodes.iter().filter(|(node, _)| **node != node_id);
        let elsewhere: usize = others.map(|(_, cache)| cache.weight).sum();
        let cache = nodes.entry(node_id).or_default();
        cache.room = PARTITIONS_MAX.saturating_sub(elsewhere);
        work(cache)
    }
}

impl Fetching {
    /// The session that the request names, for an answer that tells nothing of partitions.
    pub(crate) fn session_id(&self) -> i32 {
        match self {
            Fetching::Incremental { id, .. } => *id,
            Fetching::Sessionless | Fetching::New(_) => NO_SESSION,
        }
    }
}

impl Cache {
    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.weight -= session.partitions.weight;
        }
    }

    fn continue_session(
        &mut self,
        id: i32,
        by_id: bool,
        request: &mut FetchRequest,
    ) -> Result<Fetching, ErrorCode> {
        let session = self
            .sessions
            .get_mut(&id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.partitions.weight;
        session.partitions.update(request);
        let after = session.partitions.weight;
        self.weight = self.weight - before + after;
        if after == 0 {
            self.remove(id);
            return Ok(Fetching::Sessionless);
        }
        session.used = Instant::now();
        session.epoch = next_epoch(session.epoch);
        let epoch = session.epoch;
        request.topics = session.partitions.asked();
        if self.weight > self.room && after > before {
            self.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(Fetching::Incremental { id, epoch })
    }

    /// Begins a session if there is room; returns its id.
    fn create(
        &mut self,
        slots: usize,
        by_id: bool,
        asked: Vec<FetchTopic>,
        topics: &[FetchableTopicResponse],
    ) -> i32 {
        let partitions = Partitions::new(asked, topics);
        let size = partitions.weight;
        let now = Instant::now();
        if (self.sessions.len() >= slots && !self.evict_for(size, now)) || self.weight + size > self.room {
            return NO_SESSION;
        }
        let id = loop {
            let id = rand::random_range(1..=i32::MAX);
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let session = Session {
            by_id,
            epoch: next_epoch(INITIAL_EPOCH),
            created: now,
            used: now,
            partitions,
        };
        self.weight += size;
        self.sessions.insert(id, session);
        id
    }

    /// Makes room: for any session if one was not used for long, and else for one that is larger than an old one.
    fn evict_for(&mut self, size: usize, now: Instant) -> bool {
        let stale = self.sessions.iter().min_by_key(|(_, session)| session.used);
        let stale = stale.filter(|(_, session)| now - session.used > EVICTION_AGE);
        let old = self
            .sessions
            .iter()
            .filter(|(_, session)| now - session.created > EVICTION_AGE);
        let smallest = old.min_by_key(|(_, session)| session.partitions.weight);
        let smaller = smallest.filter(|(_, session)| session.partitions.weight < size);
        match stale.or(smaller).map(|(id, _)| *id) {
            Some(id) => {
                self.remove(id);
                true
            }
            None => false,
        }
    }
}

impl Partitions {
    fn new(asked: Vec<FetchTopic>, topics: &[FetchableTopicResponse]) -> Self {
        let mut partitions = Partitions::default();
        partitions.ask(asked);
        for (topic, data) in each(topics) {
            if let Some(cached) = partitions.find(&key(topic, data.partition_index)) {
                cached.tell(data);
            }
        }
        partitions
    }

    /// Applies what a request adds, changes and forgets.
    fn update(&mut self, request: &mut FetchRequest) {
        self.ask(std::mem::take(&mut request.topics));
        for topic in std::mem::take(&mut request.forgotten_topics_data) {
            let name: Arc<str> = topic.topic.into();
            for partition in topic.partitions {
                let key = Key {
                    topic: name.clone(),
                    topic_id: topic.topic_id,
                    partition,
                };
                if let Some(place) = self.places.remove(&key) {
                    self.take(place);
                }
            }
        }
    }

    fn ask(&mut self, topics: Vec<FetchTopic>) {
        for topic in topics {
            let name: Arc<str> = topic.topic.into();
            for request in topic.partitions {
                let key = Key {
                    topic: name.clone(),
                    topic_id: topic.topic_id,
                    partition: request.partition,
                };
                match self.find(&key) {
                    Some(cached) => cached.request = request,
                    None => self.push(Cached {
                        key,
                        request,
                        high_watermark: -1,
                        log_start_offset: -1,
                    }),
                }
            }
        }
    }

    fn find(&mut self, key: &Key) -> Option<&mut Cached> {
        self.in_order.get_mut(self.places.get(key)?)
    }

    fn push(&mut self, cached: Cached) {
        self.places.insert(cached.key.clone(), self.next);
        self.weight += cached.key.weight();
        self.in_order.insert(self.next, cached);
        self.next += 1;
    }

    fn take(&mut self, place: u64) -> Option<Cached> {
        let taken = self.in_order.remove(&place)?;
        self.weight -= taken.key.weight();
        Some(taken)
    }

    /// All partitions, in order, as a request would name them.
    fn asked(&self) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for cached in self.in_order.values() {
            let same = |last: &&mut FetchTopic| {
                last.topic == *cached.key.topic && last.topic_id == cached.key.topic_id
            };
            match topics.last_mut().filter(same) {
                Some(last) => last.partitions.push(cached.request.clone()),
                None => topics.push(FetchTopic {
                    topic: cached.key.topic.to_string(),
                    topic_id: cached.key.topic_id,
                    partitions: vec![cached.request.clone()],
                }),
            }
        }
        topics
    }

    /// What the client has not been told yet. Partitions with records go to the end, so that the others come first
    /// next time.
    fn news(&mut self, mut topics: Vec<FetchableTopicResponse>) -> Vec<FetchableTopicResponse> {
        for topic in &mut topics {
            let (name, topic_id): (Arc<str>, _) = (topic.topic.as_str().into(), topic.topic_id);
            let key_of = |partition| Key {
                topic: name.clone(),
                topic_id,
                partition,
            };
            topic.partitions.retain(|data| {
                let key = key_of(data.partition_index);
                // What was forgotten meanwhile is told: the client can tell best what to make of it.
                let Some(place) = self.places.get(&key).copied() else {
                    return true;
                };
                let Some(cached) = self.in_order.get_mut(&place) else {
                    return true;
                };
                let is_news = cached.tell(data);
                if !data.records.is_empty()
                    && let Some(cached) = self.take(place)
                {
                    self.push(cached);
                }
                is_news
            });
        }
        let mut told: Vec<FetchableTopicResponse> = Vec::new();
        for topic in topics.into_iter().filter(|topic| !topic.partitions.is_empty()) {
            // Neighbours, now that what was between them is not news.
            let same = |last: &&mut FetchableTopicResponse| {
                last.topic == topic.topic && last.topic_id == topic.topic_id
            };
            match told.last_mut().filter(same) {
                Some(last) => last.partitions.extend(topic.partitions),
                None => told.push(topic),
            }
        }
        told
    }
}

impl Key {
    /// How many partitions it counts as.
    fn weight(&self) -> usize {
        1 + self.topic.len() / PARTITION_BYTES
    }
}

impl Cached {
    /// Takes note of what the client is told. Returns whether any of it is new.
    fn tell(&mut self, data: &PartitionData) -> bool {
        let is_error = data.error_code != 0;
        let is_news = !data.records.is_empty()
            || is_error
            || data.diverging_epoch.end_offset >= 0
            || self.high_watermark != data.high_watermark
            || self.log_start_offset != data.log_start_offset;
        // When an error goes away, the client is told that too.
        self.high_watermark = if is_error { -1 } else { data.high_watermark };
        self.log_start_offset = data.log_start_offset;
        is_news
    }
}

fn key(topic: &FetchableTopicResponse, partition: i32) -> Key {
    Key {
        topic: topic.topic.as_str().into(),
        topic_id: topic.topic_id,
        partition,
    }
}

fn each(
    topics: &[FetchableTopicResponse],
) -> impl Iterator<Item = (&FetchableTopicResponse, &PartitionData)> {
    topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |data| (topic, data)))
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: i32 = 1;
    const BY_NAME: i16 = 12;

    /// A topic that does not exist, with the longest name that the protocol allows.
    fn stranger(number: usize) -> FetchTopic {
        FetchTopic {
            topic: format!("{number:032000}"),
            partitions: vec![FetchPartition::default()],
            ..Default::default()
        }
    }

    #[test]
    fn names_that_are_no_topics_take_no_more_memory_than_topics_do() {
        const NAMES: usize = 100;
        let sessions = FetchSessions::new(1000);
        let mut begun = Vec::new();
        for number in 0..100 {
            let names = number * NAMES..(number + 1) * NAMES;
            let mut request = FetchRequest {
                session_epoch: INITIAL_EPOCH,
                topics: names.map(stranger).collect(),
                ..Default::default()
            };
            let fetching = sessions.begin(NODE, BY_NAME, &mut request).unwrap();
            let (id, _) = sessions.finish(NODE, BY_NAME, fetching, Vec::new()).unwrap();
            begun.extend((id != NO_SESSION).then_some(id));
        }
        let bytes = begun.len() * NAMES * 32_000;
        assert!((1 << 20..64 << 20).contains(&bytes), "{bytes} bytes");
        // Nor when they come one by one.
        let mut id = begun[0];
        for epoch in 1..1000 {
            let mut request = FetchRequest {
                session_id: id,
                session_epoch: epoch,
                topics: vec![stranger(1_000_000 + epoch as usize)],
                ..Default::default()
            };
            if sessions.begin(NODE, BY_NAME, &mut request).is_err() {
                id = NO_SESSION;
                break;
            }
        }
        assert_eq!(id, NO_SESSION, "the session was given up");
        for id in begun {
            sessions.with(NODE, |cache| cache.remove(id));
        }
        sessions.with(NODE, |cache| assert_eq!(cache.weight, 0));
    }

    #[test]
    fn all_nodes_together_hold_no_more_than_one_could() {
        let sessions = FetchSessions::new(1000);
        let begin = |node: i32, number: usize| {
            let mut request = FetchRequest {
                session_epoch: INITIAL_EPOCH,
                topics: (number * 100..(number + 1) * 100).map(stranger).collect(),
                ..Default::default()
            };
            let fetching = sessions.begin(node, BY_NAME, &mut request).unwrap();
            sessions.finish(node, BY_NAME, fetching, Vec::new()).unwrap().0
        };
        let mut begun = Vec::new();
        loop {
            match begin(NODE, begun.len()) {
                NO_SESSION => break,
                id => begun.push(id),
            }
        }
        assert_eq!(begin(NODE + 1, 0), NO_SESSION);
        sessions.with(NODE, |cache| cache.remove(begun[0]));
        assert_ne!(begin(NODE + 1, 0), NO_SESSION);
    }
}
