//! What scripts look at.

use heliostat_wire::batch::Batches;
use heliostat_wire::message::{
    DescribeProducersRequest, DescribeTransactionsRequest, FetchRequest, ListOffsetsRequest,
    ListTransactionsRequest, OffsetFetchRequest,
    describe_producers::TopicRequest,
    describe_transactions::TransactionState,
    fetch::{FetchPartition, FetchTopic},
    list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
    offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

use super::script::{Line, Session, error};

impl Session {
    pub(super) async fn read(&mut self, line: &Line<'_>) -> String {
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
        let records = partition.records.clone().into_bytes().unwrap();
        for batch in Batches::new(&records) {
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

    pub(super) async fn latest(&mut self, partition_index: i32) -> String {
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

    pub(super) async fn offsets(&mut self, line: &Line<'_>) -> String {
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

    pub(super) async fn described(&mut self) -> TransactionState {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.id.clone()],
        };
        self.client.send(&request).await.transaction_states.remove(0)
    }

    pub(super) async fn describe(&mut self) -> String {
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

    pub(super) async fn producers(&mut self, partition: i32) -> String {
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

    pub(super) async fn list(&mut self, line: &Line<'_>) -> String {
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
}
