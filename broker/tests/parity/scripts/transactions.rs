//! Transactions of both generations: begun, written to, ended, fenced, and looked at.

use bytes::Bytes;
use heliostat_wire::{
    builder::BatchBuilder,
    message::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, DescribeProducersRequest,
        DescribeTransactionsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
        InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest, OffsetFetchRequest,
        ProduceRequest, TxnOffsetCommitRequest, WriteTxnMarkersRequest,
        add_partitions_to_txn::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        describe_producers::TopicRequest,
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
        write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic},
    },
};

use crate::{
    harness::{Both, Parity},
    requests::{fetch, filled, list_offsets, produce},
    side::Side,
};

const TRANSACTIONAL: i8 = 1;

pub fn init(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: Some(id.to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
    }
}

pub fn producer(side: &Side) -> i64 {
    side.noted_number("producer")
}

pub fn epoch(side: &Side) -> i16 {
    side.noted_number("epoch") as i16
}

fn take(p: &mut Parity, both: &Both<InitProducerIdResponse>) {
    p.keep("producer", both, |answer| answer.producer_id.to_string());
    p.keep("epoch", both, |answer| answer.producer_epoch.to_string());
}

/// Gets a producer for a transactional id.
pub async fn begin(p: &mut Parity, id: &str) {
    let both = p.at("a producer", 4, |_| init(id)).await;
    take(p, &both);
}

pub fn adding(side: &Side, id: &str, epoch: i16, topics: &[(&str, &[i32])]) -> AddPartitionsToTxnRequest {
    let topic = |(name, partitions): &(&str, &[i32])| AddPartitionsToTxnTopic {
        name: (*name).to_owned(),
        partitions: partitions.to_vec(),
    };
    let topics: Vec<_> = topics.iter().map(topic).collect();
    AddPartitionsToTxnRequest {
        transactions: vec![AddPartitionsToTxnTransaction {
            transactional_id: id.to_owned(),
            producer_id: producer(side),
            producer_epoch: epoch,
            verify_only: false,
            topics: topics.clone(),
        }],
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: producer(side),
        v3_and_below_producer_epoch: epoch,
        v3_and_below_topics: topics,
    }
}

pub fn ending(side: &Side, id: &str, epoch: i16, committed: bool) -> EndTxnRequest {
    EndTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: producer(side),
        producer_epoch: epoch,
        committed,
    }
}

pub fn writing(side: &Side, id: &str, topic: &str, sequence: i32) -> ProduceRequest {
    let records: Bytes = filled(
        BatchBuilder::new()
            .producer(producer(side), epoch(side), sequence)
            .transactional(),
        &["a", "b"],
    );
    ProduceRequest {
        transactional_id: Some(id.to_owned()),
        ..produce(side, topic, 0, records)
    }
}

pub fn committing(side: &Side, id: &str, group: &str, partitions: &[(i32, i64)]) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: id.to_owned(),
        group_id: group.to_owned(),
        producer_id: producer(side),
        producer_epoch: epoch(side),
        topics: vec![TxnOffsetCommitRequestTopic {
            name: "txn".to_owned(),
            partitions: partitions
                .iter()
                .map(
                    |&(partition_index, committed_offset)| TxnOffsetCommitRequestPartition {
                        partition_index,
                        committed_offset,
                        committed_metadata: Some(String::new()),
                        ..Default::default()
                    },
                )
                .collect(),
        }],
        ..Default::default()
    }
}

fn committed_offsets(group: &str, require_stable: bool) -> OffsetFetchRequest {
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: "txn".to_owned(),
                partition_indexes: vec![0, 1],
            }]),
            ..Default::default()
        }],
        require_stable,
        ..Default::default()
    }
}

/// Waits until no transaction is open in a topic: Kafka writes markers after it has answered.
async fn settled(p: &mut Parity, topic: &str) {
    tokio::join!(settled_on(&mut p.ours, topic), settled_on(&mut p.kafka, topic));
}

async fn settled_on(side: &mut Side, topic: &str) {
    const TRIES: usize = 10_000;
    for _ in 0..TRIES {
        let answer = side.ask(&fetch(side, topic, &[(0, 0)]), 12).await.answer();
        let partition = &answer.responses[0].partitions[0];
        if partition.last_stable_offset == partition.high_watermark {
            return;
        }
    }
    panic!("a transaction stays open in {topic}");
}

/// Waits until the last transaction of this id has ended.
async fn ended(p: &mut Parity, id: &str) {
    tokio::join!(ended_on(&mut p.ours, id), ended_on(&mut p.kafka, id));
}

async fn ended_on(side: &mut Side, id: &str) {
    const TRIES: usize = 10_000;
    let request = DescribeTransactionsRequest {
        transactional_ids: vec![id.to_owned()],
    };
    for _ in 0..TRIES {
        let answer = side.ask(&request, 0).await.answer();
        if !answer.transaction_states[0]
            .transaction_state
            .starts_with("Prepare")
        {
            return;
        }
    }
    panic!("the transaction of {id} does not end");
}

pub async fn ready(p: &mut Parity) {
    p.create("txn", 2, &[]).await;
    p.coordinated("txn", TRANSACTIONAL).await;
    tokio::join!(gives_ids(&mut p.ours), gives_ids(&mut p.kafka));
}

/// Kafka reads what it knows of transactions from several partitions, each by itself.
async fn gives_ids(side: &mut Side) {
    const IDS: usize = 20;
    const TRIES: usize = 10_000;
    for id in 0..IDS {
        for _ in 0..TRIES {
            let answer = side.ask(&init(&format!("ready-{id}")), 4).await.answer();
            if answer.error_code == 0 {
                // Known from now on, so that lists in any order are alike.
                let known = side.numbers.entry("producer").or_default();
                known.push(answer.producer_id.to_string());
                break;
            }
        }
    }
}

pub async fn life(p: &mut Parity) {
    ready(p).await;
    for version in p.versions(ApiKey::EndTxn) {
        for committed in [true, false] {
            let id = &format!("life-{version}-{committed}");
            let topic = &format!("txn-{version}-{committed}");
            let group = &format!("txn-group-{version}-{committed}");
            p.create(topic, 1, &[]).await;
            begin(p, id).await;
            let partitions = version.min(3);
            p.at("ending before it has begun", version, |side| {
                ending(side, id, epoch(side), committed)
            })
            .await;
            // Since version 5 a transaction that has not begun is aborted too, after the answer.
            ended(p, id).await;
            let bumped = p.at("a producer again", 4, |_| init(id)).await;
            take(p, &bumped);
            p.at("adding", partitions, |side| {
                adding(side, id, epoch(side), &[(topic, &[0])])
            })
            .await;
            p.at("adding again", partitions, |side| {
                adding(side, id, epoch(side), &[(topic, &[0])])
            })
            .await;
            p.at("writing", 11, |side| writing(side, id, topic, 0)).await;
            p.newest("reading what is open", |side| FetchRequest {
                isolation_level: 1,
                ..fetch(side, topic, &[(0, 0)])
            })
            .await;
            p.newest("the end of what is open", |_| {
                heliostat_wire::message::ListOffsetsRequest {
                    isolation_level: 1,
                    ..list_offsets(topic, &[(0, -1)])
                }
            })
            .await;
            p.at("offsets", version.min(4), |side| AddOffsetsToTxnRequest {
                transactional_id: id.clone(),
                producer_id: producer(side),
                producer_epoch: epoch(side),
                group_id: group.clone(),
            })
            .await;
            p.at("committing offsets", version.min(4), |side| {
                committing(side, id, group, &[(0, 5), (1, 7)])
            })
            .await;
            p.newest("offsets that are not stable", |_| committed_offsets(group, true))
                .await;
            p.newest("offsets that may not be stable", |_| {
                committed_offsets(group, false)
            })
            .await;
            p.newest("describing", |_| DescribeTransactionsRequest {
                transactional_ids: vec![id.clone()],
            })
            .await;
            p.newest("its producers", |_| describing_producers(topic, &[0]))
                .await;
            let done = p
                .at("ending", version, |side| ending(side, id, epoch(side), committed))
                .await;
            settled(p, topic).await;
            ended(p, id).await;
            p.at("ending again", version, |side| {
                ending(side, id, epoch(side), committed)
            })
            .await;
            p.at("ending the other way", version, |side| {
                ending(side, id, epoch(side), !committed)
            })
            .await;
            if version >= 5 {
                p.keep("epoch", &done, |answer| answer.producer_epoch.to_string());
            }
            p.newest("reading what is committed", |side| FetchRequest {
                isolation_level: 1,
                ..fetch(side, topic, &[(0, 0)])
            })
            .await;
            p.newest("reading all", |side| fetch(side, topic, &[(0, 0)]))
                .await;
            p.newest("offsets afterwards", |_| committed_offsets(group, true))
                .await;
            p.newest("describing the end", |_| DescribeTransactionsRequest {
                transactional_ids: vec![id.clone()],
            })
            .await;
        }
    }
    for version in p.versions(ApiKey::ListTransactions) {
        p.at("listing those of an id", version, |_| ListTransactionsRequest {
            transactional_id_pattern: Some("life-.*".to_owned()),
            ..Default::default()
        })
        .await;
        p.at("listing states", version, |_| ListTransactionsRequest {
            state_filters: vec![
                "CompleteAbort".to_owned(),
                "Nothing".to_owned(),
                "ongoing".to_owned(),
            ],
            ..Default::default()
        })
        .await;
        p.at("listing nobody's", version, |_| ListTransactionsRequest {
            producer_id_filters: vec![1 << 60],
            duration_filter: 1 << 40,
            ..Default::default()
        })
        .await;
    }
    p.newest("a bad pattern", |_| ListTransactionsRequest {
        transactional_id_pattern: Some("(".to_owned()),
        ..Default::default()
    })
    .await;
}

fn describing_producers(topic: &str, partitions: &[i32]) -> DescribeProducersRequest {
    DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: topic.to_owned(),
            partition_indexes: partitions.to_vec(),
        }],
    }
}

/// A second generation's transaction: the first record adds the partition.
pub async fn second_generation(p: &mut Parity) {
    ready(p).await;
    p.create("txn-second", 1, &[]).await;
    let id = "second";
    begin(p, id).await;
    for (round, committed) in [(0, true), (1, false), (2, true)] {
        p.newest("writing", |side| writing(side, id, "txn-second", 0))
            .await;
        p.newest("writing more", |side| writing(side, id, "txn-second", 2))
            .await;
        p.newest("committing offsets", |side| {
            committing(side, id, "txn-second", &[(0, 100 + round)])
        })
        .await;
        let done = p
            .newest("ending", |side| ending(side, id, epoch(side), committed))
            .await;
        settled(p, "txn-second").await;
        ended(p, id).await;
        p.newest("ending again", |side| ending(side, id, epoch(side), committed))
            .await;
        p.newest("writing with the old epoch", |side| {
            writing(side, id, "txn-second", 4)
        })
        .await;
        p.keep("epoch", &done, |answer| answer.producer_epoch.to_string());
        p.newest("offsets", |_| committed_offsets("txn-second", true))
            .await;
    }
    p.newest("ending without writing", |side| {
        ending(side, id, epoch(side), false)
    })
    .await;
    ended(p, id).await;
    p.newest("reading what is committed", |side| FetchRequest {
        isolation_level: 1,
        ..fetch(side, "txn-second", &[(0, 0)])
    })
    .await;
    p.newest("its producers", |_| describing_producers("txn-second", &[0]))
        .await;
}

pub async fn refused(p: &mut Parity) {
    ready(p).await;
    p.create("txn-refused", 1, &[]).await;
    for timeout in [0, -1, 900_001, i32::MAX] {
        p.all(&format!("timeout {timeout}"), |_, version| {
            InitProducerIdRequest {
                transaction_timeout_ms: timeout,
                ..init(&format!("timeout-{timeout}-{version}"))
            }
        })
        .await;
    }
    for (producer_id, producer_epoch) in [(5, 0), (5, i16::MAX), (-1, 0)] {
        p.all(
            &format!("producer {producer_id}, epoch {producer_epoch}"),
            |_, version| InitProducerIdRequest {
                producer_id,
                producer_epoch,
                ..init(&format!("refused-{producer_id}-{version}"))
            },
        )
        .await;
    }
    let id = "refused";
    begin(p, id).await;
    let nobody = |_: &Side, name: &str| EndTxnRequest {
        transactional_id: name.to_owned(),
        producer_id: 1 << 50,
        producer_epoch: 0,
        committed: true,
    };
    for name in ["refused-none", "", "refused"] {
        p.all(&format!("nobody ends {name:?}"), |side, _| nobody(side, name))
            .await;
        p.all(&format!("nobody adds to {name:?}"), |_, version| {
            AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: name.to_owned(),
                v3_and_below_producer_id: 1 << 50,
                v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                    name: "txn".to_owned(),
                    partitions: vec![0],
                }],
                transactions: vec![AddPartitionsToTxnTransaction {
                    transactional_id: name.to_owned(),
                    producer_id: 1 << 50,
                    verify_only: version % 2 == 1,
                    topics: vec![AddPartitionsToTxnTopic {
                        name: "txn".to_owned(),
                        partitions: vec![0],
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            }
        })
        .await;
        p.all(&format!("nobody adds offsets to {name:?}"), |_, _| {
            AddOffsetsToTxnRequest {
                transactional_id: name.to_owned(),
                producer_id: 1 << 50,
                producer_epoch: 0,
                group_id: "txn-refused".to_owned(),
            }
        })
        .await;
        p.all(&format!("nobody commits offsets in {name:?}"), |_, _| {
            TxnOffsetCommitRequest {
                transactional_id: name.to_owned(),
                group_id: "txn-refused".to_owned(),
                producer_id: 1 << 50,
                ..Default::default()
            }
        })
        .await;
    }
    for (case, change) in [("an old epoch", -1), ("an epoch to come", 1)] {
        p.all(&format!("ending with {case}"), |side, _| {
            ending(side, id, epoch(side) + change, true)
        })
        .await;
        p.all(&format!("adding with {case}"), |side, _| {
            adding(side, id, epoch(side) + change, &[("txn", &[0])])
        })
        .await;
    }
    p.all("unknown partitions", |side, _| {
        adding(side, id, epoch(side), &[("txn", &[0, 9]), ("txn-none", &[0])])
    })
    .await;
    p.all("no partitions", |side, _| adding(side, id, epoch(side), &[]))
        .await;
    for group in ["", "txn-refused"] {
        p.all(&format!("offsets of group {group:?}"), |side, _| {
            committing(side, id, group, &[(0, 1), (9, 1)])
        })
        .await;
    }
    p.at("writing to what was not added", 11, |side| {
        writing(side, id, "txn-refused", 0)
    })
    .await;
    p.at("writing without the id", 11, |side| ProduceRequest {
        transactional_id: None,
        ..writing(side, id, "txn-refused", 0)
    })
    .await;
    p.at("writing under another id", 11, |side| ProduceRequest {
        transactional_id: Some("another".to_owned()),
        ..writing(side, id, "txn-refused", 0)
    })
    .await;
    p.newest("describing", |_| DescribeTransactionsRequest {
        transactional_ids: ["refused", "refused-none", "", "refused"]
            .map(str::to_owned)
            .to_vec(),
    })
    .await;
    p.newest("describing none", |_| DescribeTransactionsRequest::default())
        .await;
    for (topic, partitions) in [
        ("txn-none", &[0][..]),
        ("txn", &[0, 9, -1]),
        ("", &[0]),
        ("txn", &[]),
        ("txn", &[0, 0, 9, 9]),
    ] {
        p.newest(&format!("the producers of {topic:?} {partitions:?}"), |_| {
            describing_producers(topic, partitions)
        })
        .await;
    }
    p.newest("the coordinator", |_| FindCoordinatorRequest {
        key_type: TRANSACTIONAL,
        coordinator_keys: vec![id.to_owned(), String::new()],
        ..Default::default()
    })
    .await;
    p.all("markers for nothing", |_, _| WriteTxnMarkersRequest {
        markers: vec![WritableTxnMarker {
            producer_id: 1 << 50,
            topics: vec![WritableTxnMarkerTopic {
                name: "txn-none".to_owned(),
                partition_indexes: vec![0],
            }],
            ..Default::default()
        }],
    })
    .await;
    p.all("no markers", |_, _| WriteTxnMarkersRequest::default())
        .await;
}
