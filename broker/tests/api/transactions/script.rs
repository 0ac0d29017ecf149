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
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use expect_test::Expect;
use heliostat_wire::{
    ErrorCode,
    batch::Batches,
    builder::{BatchBuilder, NewRecord},
    message::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
        DescribeTransactionsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
        InitProducerIdRequest, ListOffsetsRequest, ListTransactionsRequest, OffsetFetchRequest,
        ProduceRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
        add_partitions_to_txn::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        describe_producers::TopicRequest,
        describe_transactions::TransactionState,
        fetch::{FetchPartition, FetchTopic},
        list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
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
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let answer = session.run(&Line::new(line)).await;
        session.said.push_str(&format!("> {line}\n{answer}"));
    }
    if let Some(cluster) = cluster {
        cluster.shutdown(PATIENCE).await;
    }
    expected.assert_eq(&session.said);
}

struct Session {
    client: Client,
    id: String,
    topic: String,
    group: String,
    /// The producer id and epoch that requests use.
    current: (i64, i16),
    names: Vec<i64>,
    said: String,
}

/// The words and `name=value` options of a line.
struct Line<'a> {
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
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

    fn text(&self, name: &str, default: &str) -> String {
        self.options.get(name).copied().unwrap_or(default).to_owned()
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        self.options
            .get(name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    }

    fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    /// The n-th word as a number.
    fn at<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, place: usize) -> T {
        self.words[place].parse().unwrap()
    }
}

fn error(code: i16) -> String {
    ErrorCode::from_code(code).to_string()
}

impl Session {
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

    fn name(&mut self, producer_id: i64) -> String {
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

    async fn read(&mut self, line: &Line<'_>) -> String {
        const READ_COMMITTED: i8 = 1;
        let request = FetchRequest {
            replica_id: -1,
            isolation_level: READ_COMMITTED,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: self.topic.clone(),
                partitions: vec![FetchPartition {
                    partition: line.at(1),
                    fetch_offset: line.number("from", 0),
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.client.send_version(&request, 12).await;
        let partition = &response.responses[0].partitions[0];
        let mut said = format!(
            "  {} stable {} of {}\n",
            error(partition.error_code),
            partition.last_stable_offset,
            partition.high_watermark
        );
        for batch in Batches::new(&partition.records) {
            let header = *batch.unwrap().header();
            let kind = match (header.is_control(), header.is_transactional()) {
                (true, _) => "marker",
                (false, true) => "transactional",
                (false, false) => "plain",
            };
            said += &format!(
                "  {} to {} {kind} {} epoch {}\n",
                header.base_offset,
                header.last_offset(),
                self.name(header.producer_id),
                header.producer_epoch
            );
        }
        match &partition.aborted_transactions {
            None => said += "  aborted: null\n",
            Some(aborted) => {
                for transaction in aborted {
                    let name = self.name(transaction.producer_id);
                    said += &format!("  aborted: {name} from {}\n", transaction.first_offset);
                }
            }
        }
        said
    }

    async fn latest(&mut self, partition_index: i32) -> String {
        let mut said = String::new();
        for isolation_level in [0, 1] {
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level,
                topics: vec![ListOffsetsTopic {
                    name: self.topic.clone(),
                    partitions: vec![ListOffsetsPartition {
                        partition_index,
                        current_leader_epoch: -1,
                        timestamp: -1,
                    }],
                }],
                ..Default::default()
            };
            let response = self.client.send(&request).await;
            said += &format!(" {}", response.topics[0].partitions[0].offset);
        }
        format!(" {said}\n")
    }

    async fn offsets(&mut self, line: &Line<'_>) -> String {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: self.group.clone(),
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: self.topic.clone(),
                    partition_indexes: vec![0],
                }]),
                ..Default::default()
            }],
            require_stable: line.has("stable"),
            ..Default::default()
        };
        let response = self.client.send(&request).await;
        let partition = &response.groups[0].topics[0].partitions[0];
        format!(
            "  {} {}\n",
            error(partition.error_code),
            partition.committed_offset
        )
    }

    async fn described(&mut self) -> TransactionState {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.id.clone()],
        };
        self.client.send(&request).await.transaction_states.remove(0)
    }

    async fn describe(&mut self) -> String {
        let mut state = self.described().await;
        state.topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        let name = self.name(state.producer_id);
        let topics = state.topics.iter_mut().map(|topic| {
            topic.partitions.sort_unstable();
            let of_groups = topic.topic == "__consumer_offsets";
            match of_groups {
                true => " offsets".to_owned(),
                false => format!(" {:?}", topic.partitions),
            }
        });
        let topics: String = topics.collect();
        format!(
            "  {} {} {name} epoch {} timeout {} started {}{topics}\n",
            error(state.error_code),
            state.transaction_state,
            state.producer_epoch,
            state.transaction_timeout_ms,
            if state.transaction_start_time_ms > 0 {
                "once"
            } else {
                "never"
            },
        )
    }

    async fn producers(&mut self, partition: i32) -> String {
        let request = DescribeProducersRequest {
            topics: vec![TopicRequest {
                name: self.topic.clone(),
                partition_indexes: vec![partition],
            }],
        };
        let response = self.client.send(&request).await;
        let partition = &response.topics[0].partitions[0];
        let mut said = format!("  {}\n", error(partition.error_code));
        for producer in &partition.active_producers {
            let coordinator = if producer.coordinator_epoch < 0 { "no" } else { "a" };
            said += &format!(
                "  {} epoch {} sequence {} open from {} {coordinator} coordinator\n",
                self.name(producer.producer_id),
                producer.producer_epoch,
                producer.last_sequence,
                producer.current_txn_start_offset,
            );
        }
        said
    }

    async fn list(&mut self, line: &Line<'_>) -> String {
        let states = line.options.get("state").map(|state| (*state).to_owned());
        let request = ListTransactionsRequest {
            state_filters: states.into_iter().collect(),
            producer_id_filters: Vec::new(),
            duration_filter: line.number("longer", -1),
            transactional_id_pattern: line.options.get("like").map(|like| (*like).to_owned()),
        };
        let response = self.client.send(&request).await;
        let mine = response
            .transaction_states
            .iter()
            .filter(|state| state.transactional_id == self.id);
        let mine: Vec<_> = mine.map(|state| state.transaction_state.clone()).collect();
        format!(
            "  {} {mine:?} unknown {:?}\n",
            error(response.error_code),
            response.unknown_state_filters
        )
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
