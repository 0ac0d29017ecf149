//! Scripts about a transaction, which run against a broker and write down what it answers.
//!
//! ```text
//! init [v=] [timeout=] [id=] [pid=P epoch=E]   a producer id and epoch, which the following lines use
//! add PARTITION... [v=] [verify=true] [topic=] AddPartitionsToTxn
//! group [v=]                                   AddOffsetsToTxn for the test's own group
//! put PARTITION SEQUENCE [v=] [count=] [plain=true] [noid=true]    produces a batch
//! commit OFFSET [v=] [generation=] [member=]   TxnOffsetCommit for partition 0
//! end commit|abort [v=]                        EndTxn; the following lines use the epoch that it gives
//! until STATE                                  waits until the transactional id is in this state
//! read PARTITION [from=]                       fetches at read_committed
//! latest PARTITION                             the log's end for both isolation levels
//! offsets [stable=true]                        OffsetFetch of partition 0
//! describe, producers PARTITION, list [state=] [longer=] [like=]
//! mark PARTITION commit|abort [epoch=] [coordinator=]     WriteTxnMarkers
//! ```
//!
//! Producer ids are shown as P1, P2 in the order of their appearance. `pid=` and `epoch=` go everywhere; `epoch=-1` means one less
//! than the current one, `epoch=+1` one more, `epoch==5` is 5.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use expect_test::Expect;
use heliostat_wire::{
    ErrorCode,
    builder::{BatchBuilder, NewRecord},
    message::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest,
        InitProducerIdRequest, ProduceRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
        add_partitions_to_txn::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        produce::{PartitionProduceData, TopicProduceData},
        txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
        write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic},
    },
};

use crate::client::{Client, PATIENCE, start};

/// Runs the script against a new cluster, or the Kafka that the environment names, and compares what was answered.
pub async fn check(script: &str, expected: Expect) {
    let (address, cluster) = match std::env::var("HELIOSTAT_TEST_KAFKA") {
        Ok(address) => (address.parse().unwrap(), None),
        Err(_) => {
            let soon = (
                "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                "20",
            );
            let cluster = start(&[soon]).await;
            (cluster.addresses()[0], Some(cluster))
        }
    };
    let mut session = Session::start(address).await;
    let said = session.run_all(script).await;
    if let Some(cluster) = cluster {
        cluster.shutdown(PATIENCE).await;
    }
    expected.assert_eq(&said);
}

/// A script's side of the conversation: a topic with three partitions, a transactional id and a group of its own.
pub struct Session {
    pub(super) client: Client,
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) group: String,
    /// The producer id and epoch that requests use.
    current: (i64, i16),
    names: Vec<i64>,
    said: String,
}

/// The words and `name=value` options of a line.
pub(super) struct Line<'a> {
    pub(super) words: Vec<&'a str>,
    pub(super) options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Self {
        let (options, words): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|w| w.contains('='));
        let options = options.iter().filter_map(|option| option.split_once('='));
        Line {
            words,
            options: options.collect(),
        }
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.options.get(name).copied().unwrap_or(default).to_owned()
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.options
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The n-th word as a number.
    pub(super) fn at<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, place: usize) -> T {
        self.words[place].parse().unwrap()
    }
}

pub(super) fn error(code: i16) -> String {
    ErrorCode::from_code(code).to_string()
}

impl Session {
    /// Makes the topic, and waits until the coordinators are there.
    pub async fn start(address: SocketAddr) -> Session {
        let unique = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let mut session = Session {
            client: Client::connect(address).await,
            id: format!("id-{unique}"),
            topic: format!("t-{unique}"),
            group: format!("g-{unique}"),
            current: (-1, -1),
            names: Vec::new(),
            said: String::new(),
        };
        session.client.create_topic(&session.topic.clone(), 3, &[]).await;
        session.patiently(async |session| session.is_there().await).await;
        session.find_coordinators().await;
        session
    }

    /// Goes on with another process.
    pub async fn reconnect(&mut self, address: SocketAddr) {
        self.client = Client::connect(address).await;
    }

    /// Runs the lines of a script; returns them with the answers.
    pub async fn run_all(&mut self, script: &str) -> String {
        self.said.clear();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let answer = self.run(&Line::new(line)).await;
            self.said.push_str(&format!("> {line}\n{answer}"));
        }
        self.said.clone()
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn producer_id_and_epoch(&self) -> (i64, i16) {
        self.current
    }

    async fn run(&mut self, line: &Line<'_>) -> String {
        match line.words[0] {
            "init" => self.init(line).await,
            "add" => self.add(line).await,
            "group" => self.add_group(line).await,
            "put" => self.put(line).await,
            "commit" => self.commit(line).await,
            "end" => self.end(line).await,
            "until" => self.until(line.words[1]).await,
            "read" => self.read(line).await,
            "latest" => self.latest(line.at(1)).await,
            "offsets" => self.offsets(line).await,
            "describe" => self.describe().await,
            "producers" => self.producers(line.at(1)).await,
            "list" => self.list(line).await,
            "mark" => self.mark(line).await,
            other => panic!("{other} is no command"),
        }
    }

    /// Whether all partitions of the topic have a leader, which in Kafka takes a moment.
    async fn is_there(&mut self) -> bool {
        let mut all = true;
        for partition in 0..3 {
            all &= !self.latest(partition).await.contains("-1");
        }
        all
    }

    /// Kafka makes the topics of its coordinators when somebody first asks for one.
    async fn find_coordinators(&mut self) {
        for (key_type, key) in [(0, self.group.clone()), (1, self.id.clone())] {
            let request = FindCoordinatorRequest {
                key_type,
                coordinator_keys: vec![key],
                ..Default::default()
            };
            self.patiently(async |session| {
                session.client.send(&request).await.coordinators[0].error_code == 0
            })
            .await;
        }
        let request = InitProducerIdRequest {
            transactional_id: Some(format!("{}-first", self.id)),
            transaction_timeout_ms: 1_000,
            ..Default::default()
        };
        self.patiently(async |session| session.client.send_version(&request, 4).await.error_code == 0)
            .await;
    }

    async fn patiently(&mut self, mut attempt: impl AsyncFnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !attempt(self).await {
            assert!(Instant::now() < deadline, "so far:\n{}", self.said);
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn name(&mut self, producer_id: i64) -> String {
        if producer_id < 0 {
            return producer_id.to_string();
        }
        let known = self.names.iter().position(|known| *known == producer_id);
        let place = known.unwrap_or_else(|| {
            self.names.push(producer_id);
            self.names.len() - 1
        });
        format!("P{}", place + 1)
    }

    fn producer(&self, line: &Line<'_>) -> (i64, i16) {
        let (pid, epoch) = self.current;
        let pid = match line.options.get("pid") {
            Some(name) => match name.strip_prefix('P') {
                Some(place) => self.names[place.parse::<usize>().unwrap() - 1],
                None => name.parse().unwrap(),
            },
            None => pid,
        };
        let epoch = match line.options.get("epoch") {
            Some(text) => match text.strip_prefix('=') {
                Some(absolute) => absolute.parse().unwrap(),
                None => epoch + text.parse::<i16>().unwrap(),
            },
            None => epoch,
        };
        (pid, epoch)
    }

    async fn init(&mut self, line: &Line<'_>) -> String {
        let goes_on = line.has("pid") || line.has("epoch");
        let (producer_id, producer_epoch) = if goes_on { self.producer(line) } else { (-1, -1) };
        let request = InitProducerIdRequest {
            transactional_id: Some(line.text("id", &self.id)),
            transaction_timeout_ms: line.number("timeout", 60_000),
            producer_id,
            producer_epoch,
        };
        let response = self.client.send_version(&request, line.number("v", 5)).await;
        if response.error_code == 0 {
            self.current = (response.producer_id, response.producer_epoch);
        }
        let name = self.name(response.producer_id);
        format!(
            "  {} {name} epoch {}\n",
            error(response.error_code),
            response.producer_epoch
        )
    }

    async fn add(&mut self, line: &Line<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer(line);
        let topics = vec![AddPartitionsToTxnTopic {
            name: line.text("topic", &self.topic),
            partitions: line.words[1..].iter().map(|word| word.parse().unwrap()).collect(),
        }];
        let id = line.text("id", &self.id);
        let version = line.number("v", 3);
        let request = AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: id.clone(),
                producer_id,
                producer_epoch,
                verify_only: line.has("verify"),
                topics: topics.clone(),
            }],
            v3_and_below_transactional_id: id,
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: producer_epoch,
            v3_and_below_topics: topics,
        };
        let response = self.client.send_version(&request, version).await;
        let mut results = response.results_by_topic_v3_and_below;
        for transaction in response.results_by_transaction {
            results.extend(transaction.topic_results);
        }
        let mut partitions: Vec<_> = results
            .iter()
            .flat_map(|topic| &topic.results_by_partition)
            .map(|p| {
                format!(
                    "  partition {} {}\n",
                    p.partition_index,
                    error(p.partition_error_code)
                )
            })
            .collect();
        partitions.sort();
        partitions.concat()
    }

    async fn add_group(&mut self, line: &Line<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer(line);
        let request = AddOffsetsToTxnRequest {
            transactional_id: line.text("id", &self.id),
            producer_id,
            producer_epoch,
            group_id: self.group.clone(),
        };
        let response = self.client.send_version(&request, line.number("v", 4)).await;
        format!("  {}\n", error(response.error_code))
    }

    async fn put(&mut self, line: &Line<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer(line);
        let mut batch = BatchBuilder::new().producer(producer_id, producer_epoch, line.at(2));
        if !line.has("plain") {
            batch = batch.transactional();
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        for _ in 0..line.number("count", 1) {
            batch.push(NewRecord {
                timestamp: now.as_millis() as i64,
                key: None,
                value: Some(b"value"),
                headers: &[],
            });
        }
        let version = line.number("v", 12);
        let request = ProduceRequest {
            transactional_id: (!line.has("noid")).then(|| line.text("id", &self.id)),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                partition_data: vec![PartitionProduceData {
                    index: line.at(1),
                    records: batch.build().unwrap().into(),
                }],
                ..Default::default()
            }],
        };
        let response = self.client.send_version(&request, version).await;
        let partition = &response.responses[0].partition_responses[0];
        format!("  {} at {}\n", error(partition.error_code), partition.base_offset)
    }

    async fn commit(&mut self, line: &Line<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer(line);
        let request = TxnOffsetCommitRequest {
            transactional_id: line.text("id", &self.id),
            group_id: line.text("group", &self.group),
            producer_id,
            producer_epoch,
            generation_id: line.number("generation", -1),
            member_id: line.text("member", ""),
            group_instance_id: None,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: line.text("topic", &self.topic),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    committed_offset: line.at(1),
                    committed_metadata: Some(String::new()),
                    ..Default::default()
                }],
            }],
        };
        let response = self.client.send_version(&request, line.number("v", 5)).await;
        format!("  {}\n", error(response.topics[0].partitions[0].error_code))
    }

    async fn end(&mut self, line: &Line<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer(line);
        let request = EndTxnRequest {
            transactional_id: line.text("id", &self.id),
            producer_id,
            producer_epoch,
            committed: line.words[1] == "commit",
        };
        let version = line.number("v", 5);
        let response = self.client.send_version(&request, version).await;
        if version < 5 {
            return format!("  {}\n", error(response.error_code));
        }
        if response.error_code == 0 {
            self.current = (response.producer_id, response.producer_epoch);
        }
        let name = self.name(response.producer_id);
        format!(
            "  {} {name} epoch {}\n",
            error(response.error_code),
            response.producer_epoch
        )
    }

    async fn until(&mut self, state: &str) -> String {
        self.patiently(async |session| session.described().await.transaction_state == state)
            .await;
        // Kafka's coordinator is done a moment before the group has heard of it.
        String::new()
    }

    async fn mark(&mut self, line: &Line<'_>) -> String {
        let (producer_id, producer_epoch) = self.producer(line);
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id,
                producer_epoch,
                transaction_result: line.words[2] == "commit",
                topics: vec![WritableTxnMarkerTopic {
                    name: line.text("topic", &self.topic),
                    partition_indexes: vec![line.at(1)],
                }],
                coordinator_epoch: line.number("coordinator", 0),
            }],
        };
        let response = self.client.send(&request).await;
        let partition = &response.markers[0].topics[0].partitions[0];
        format!("  {}\n", error(partition.error_code))
    }
}
