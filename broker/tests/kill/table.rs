//! What must be there of a compacted topic after a kill: of each key what was committed last, and nothing that was aborted.

use std::collections::{BTreeMap, HashMap, HashSet};

use heliostat_wire::{
    Uuid,
    batch::{BatchView, Batches},
    message::{
        FetchRequest, InitProducerIdRequest, InitProducerIdResponse, Message,
        fetch::{FetchPartition, FetchTopic, PartitionData},
    },
};

use crate::{client::Client, node::Node};

pub const TABLE: &str = "c";
/// Keys of each writer; a key has its place in one of the partitions.
pub const KEYS: u32 = 8;
pub const TABLE_PARTITIONS: u32 = 2;
/// Transactions that are left open by those who began them are aborted after this time.
const SHORT_MS: i32 = 150;
const LONG_MS: i32 = 60_000;

/// How a writer goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Commits and aborts transactions.
    Transactional,
    /// Leaves a transaction open.
    Leaving,
    /// Knows nothing of transactions.
    Plain,
}

/// One writer, which has keys of its own.
#[derive(Debug, Clone)]
pub struct Writer {
    pub number: usize,
    pub kind: Kind,
    pub attempts: Vec<Attempt>,
}

/// A transaction; or a batch, where there are none.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub fate: Fate,
    pub rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Committed,
    Aborted,
    /// The end was asked for, and not answered.
    Undecided,
}

/// A record. The last one of an attempt has a value.
#[derive(Debug, Clone)]
pub struct Row {
    pub key: u32,
    pub gone: bool,
    /// Where it is, if that was acknowledged.
    pub offset: Option<i64>,
}

/// Which record it is: writer, attempt and row.
pub type Place = (usize, usize, usize);

/// The topic.
#[derive(Debug)]
pub struct Table {
    pub topic_id: Uuid,
    pub writers: Vec<Writer>,
    /// Of each partition, what readers of committed records have seen since the last kill, by offset.
    pub seen: Vec<BTreeMap<i64, Place>>,
    /// Of each partition, where it ended when it was last read.
    pub ends: Vec<i64>,
    /// Records that are not there any more, of those that were committed.
    pub compacted: usize,
}

impl Writer {
    /// The partition of one of its keys.
    pub fn partition(key: u32) -> u32 {
        key % TABLE_PARTITIONS
    }

    pub fn transactional_id(&self) -> String {
        format!("writer-{}", self.number)
    }

    /// The key, the value, and what tells where it belongs.
    pub fn record(&self, attempt: usize, row: usize) -> (String, Option<String>, String) {
        let place = format!("{}/{attempt}/{row}", self.number);
        let what = &self.attempts[attempt].rows[row];
        let value = (!what.gone).then(|| format!("{place}{}", ".".repeat(attempt % 61)));
        (format!("{}/{}", self.number, what.key), value, place)
    }

    /// A producer id, after which no transaction of the writer is open.
    pub async fn init(&self, client: &mut Client) -> Option<InitProducerIdResponse> {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.transactional_id()),
            transaction_timeout_ms: if self.kind == Kind::Leaving {
                SHORT_MS
            } else {
                LONG_MS
            },
            producer_id: -1,
            producer_epoch: -1,
        };
        const CONCURRENT_TRANSACTIONS: i16 = 51;
        let began = std::time::Instant::now();
        loop {
            let answer =
                crate::load::ask(client, &request, *InitProducerIdRequest::KEY.versions().end()).await?;
            if answer.error_code != CONCURRENT_TRANSACTIONS {
                assert_eq!(answer.error_code, 0);
                return Some(answer);
            }
            assert!(
                began.elapsed() < crate::client::PATIENCE,
                "a transaction does not end"
            );
        }
    }

    /// Of each key, the attempt and row that count.
    fn last_rows(&self) -> BTreeMap<u32, (usize, usize)> {
        let committed = |(_, attempt): &(usize, &Attempt)| attempt.fate == Fate::Committed;
        let attempts = self.attempts.iter().enumerate().filter(committed);
        let rows = attempts.flat_map(|(at, attempt)| {
            attempt
                .rows
                .iter()
                .enumerate()
                .map(move |(index, row)| (row.key, (at, index)))
        });
        rows.collect()
    }
}

impl Default for Table {
    fn default() -> Self {
        use Kind::{Leaving, Plain, Transactional};
        let kinds = [Transactional, Transactional, Plain, Leaving];
        let writers = kinds.iter().enumerate().map(|(number, kind)| Writer {
            number,
            kind: *kind,
            attempts: Vec::new(),
        });
        Table {
            topic_id: Uuid::ZERO,
            writers: writers.collect(),
            seen: vec![BTreeMap::new(); TABLE_PARTITIONS as usize],
            ends: vec![0; TABLE_PARTITIONS as usize],
            compacted: 0,
        }
    }
}

impl Table {
    /// Compares the topic with what is known of it, and learns how what was undecided has ended.
    pub async fn check(&mut self, node: &Node, context: &str) {
        let mut client = Client::connect(node.address).await;
        for writer in self
            .writers
            .iter()
            .filter(|writer| writer.kind == Kind::Transactional)
        {
            writer.init(&mut client).await.expect("the node is there");
        }
        let mut visible = Vec::new();
        for partition in 0..TABLE_PARTITIONS {
            visible.push(self.read(&mut client, partition, context).await);
        }
        self.decide(&visible);
        let mut found = HashMap::new();
        for (partition, rows) in visible.iter().enumerate() {
            for (offset, place, text) in rows {
                self.check_row(partition, *offset, *place, text, context);
                let (writer, attempt, row) = *place;
                let key = (writer, self.writers[writer].attempts[attempt].rows[row].key);
                found.insert(key, (attempt, row));
            }
            for (offset, place) in &self.seen[partition] {
                let (writer, attempt, _) = *place;
                let fate = self.writers[writer].attempts[attempt].fate;
                assert_eq!(fate, Fate::Committed, "{place:?} was seen at {offset}, {context}");
            }
        }
        self.check_keys(&found, context);
        let there: usize = visible.iter().map(Vec::len).sum();
        let committed = self.writers.iter().flat_map(|writer| &writer.attempts);
        let committed = committed.filter(|attempt| attempt.fate == Fate::Committed);
        self.compacted = committed.map(|attempt| attempt.rows.len()).sum::<usize>() - there;
    }

    /// What was undecided is committed if its last row is there: nothing has come behind it.
    fn decide(&mut self, visible: &[Vec<(i64, Place, String)>]) {
        let there: HashSet<Place> = visible.iter().flatten().map(|(_, place, _)| *place).collect();
        for (number, writer) in self.writers.iter_mut().enumerate() {
            for (at, attempt) in writer.attempts.iter_mut().enumerate() {
                if attempt.fate == Fate::Undecided {
                    let committed = there.contains(&(number, at, attempt.rows.len() - 1));
                    attempt.fate = if committed { Fate::Committed } else { Fate::Aborted };
                }
            }
        }
    }

    fn check_row(&self, partition: usize, offset: i64, place: Place, text: &str, context: &str) {
        let (writer, attempt, row) = place;
        let writer = &self.writers[writer];
        let what = &writer.attempts[attempt];
        let at = format!("offset {offset} of partition {partition}, {context}");
        assert_eq!(what.fate, Fate::Committed, "{place:?}, {at}");
        let known = what.rows[row].offset;
        assert!(
            known.is_none_or(|known| known == offset),
            "was acknowledged at {known:?}: {at}"
        );
        let (key, value, _) = writer.record(attempt, row);
        assert_eq!(text, format!("{key}={}", value.unwrap_or_default()), "{at}");
        assert_eq!(Writer::partition(what.rows[row].key) as usize, partition, "{at}");
        let seen = self.seen[partition].get(&offset);
        assert!(seen.is_none_or(|seen| *seen == place), "{seen:?} was seen, {at}");
    }

    /// Of every key the last row is there, except that a tombstone may be gone with all before it.
    fn check_keys(&self, found: &HashMap<(usize, u32), (usize, usize)>, context: &str) {
        for (number, writer) in self.writers.iter().enumerate() {
            let last_rows = writer.last_rows();
            for key in 0..KEYS {
                let (expected, seen) = (last_rows.get(&key), found.get(&(number, key)));
                let gone = expected.is_some_and(|(attempt, row)| writer.attempts[*attempt].rows[*row].gone);
                assert!(
                    seen == expected || gone && seen.is_none(),
                    "key {key} of writer {number} is {seen:?} in place of {expected:?}, {context}"
                );
            }
        }
    }

    /// All records that a reader of committed records sees, once no transaction is open.
    async fn read(
        &mut self,
        client: &mut Client,
        partition: u32,
        context: &str,
    ) -> Vec<(i64, Place, String)> {
        let known = partition as usize;
        let deadline = std::time::Instant::now() + crate::client::PATIENCE;
        let end = loop {
            let data = fetch(client, self.topic_id, partition, self.ends[known]).await;
            assert_eq!(
                data.error_code, 0,
                "partition {partition} ends before {}, {context}",
                self.ends[known]
            );
            if data.last_stable_offset == data.high_watermark {
                break data.high_watermark;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "a transaction stays open at {} of partition {partition}, {context}",
                data.last_stable_offset
            );
        };
        let last_seen = self.seen[known]
            .last_key_value()
            .map_or(-1, |(offset, _)| *offset);
        let rows = self
            .writers
            .iter()
            .flat_map(|writer| &writer.attempts)
            .flat_map(|attempt| &attempt.rows);
        let of_partition = rows.filter(|row| Writer::partition(row.key) == partition);
        let acknowledged = of_partition.filter_map(|row| row.offset).max().unwrap_or(-1);
        assert!(
            end > last_seen.max(acknowledged),
            "partition {partition} ends at {end}, {context}"
        );
        self.ends[known] = end;
        let (mut next, mut visible) = (0, Vec::new());
        while next < end {
            let data = fetch(client, self.topic_id, partition, next).await;
            assert_eq!(
                data.error_code, 0,
                "offset {next} of partition {partition}, {context}"
            );
            let before = next;
            let found = committed(&data, &mut next);
            assert!(
                next > before,
                "nothing behind {before} of partition {partition}, {context}"
            );
            visible.extend(found);
        }
        visible
    }
}

/// The committed records of an answer, from `next` on, which moves behind them.
pub fn committed(data: &PartitionData, next: &mut i64) -> Vec<(i64, Place, String)> {
    let mut begun = data.aborted_transactions.clone().unwrap_or_default();
    begun.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
    let (mut aborting, mut found, from) = (HashSet::new(), Vec::new(), *next);
    let records = data.records.clone().into_bytes().unwrap();
    for batch in Batches::new(&records) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        let header = batch.header();
        assert!(header.next_offset() > *next, "offsets run backwards at {next}");
        while let Some(aborted) = begun.pop_if(|aborted| aborted.first_offset <= header.last_offset()) {
            aborting.insert(aborted.producer_id);
        }
        if header.is_control() {
            aborting.remove(&header.producer_id);
        } else if !header.is_transactional() || !aborting.contains(&header.producer_id) {
            found.extend(rows(&batch).into_iter().filter(|(offset, ..)| *offset >= from));
        }
        *next = header.next_offset();
    }
    found
}

fn rows(batch: &BatchView<'_>) -> Vec<(i64, Place, String)> {
    let bytes = batch.decompress(1 << 20).unwrap();
    let rows = batch.records(&bytes).map(|record| {
        let record = record.unwrap();
        let place = record.headers.clone().next().unwrap().value.unwrap();
        let place = std::str::from_utf8(place).unwrap();
        let numbers: Vec<usize> = place.split('/').map(|number| number.parse().unwrap()).collect();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let shown = format!(
            "{}={}",
            text(record.key.unwrap()),
            text(record.value.unwrap_or_default())
        );
        let offset = batch.header().offset(record.offset_delta);
        (offset, (numbers[0], numbers[1], numbers[2]), shown)
    });
    rows.collect()
}

async fn fetch(client: &mut Client, topic_id: Uuid, partition: u32, offset: i64) -> PartitionData {
    let mut response = client.send(&fetch_request(topic_id, partition, offset, 0)).await;
    response.responses.remove(0).partitions.remove(0)
}

/// A request for what is committed of one partition from `offset` on.
pub fn fetch_request(topic_id: Uuid, partition: u32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    const READ_COMMITTED: i8 = 1;
    let partition = FetchPartition {
        partition: partition.cast_signed(),
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation_level: READ_COMMITTED,
        topics: vec![FetchTopic {
            topic_id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}
