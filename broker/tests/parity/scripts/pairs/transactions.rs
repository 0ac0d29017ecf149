//! Producers with a transactional id, with and without a transaction that is open.

use heliostat_wire::message::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
    TxnOffsetCommitRequest,
};

use super::{Fault, ends, pairs};
use crate::{
    harness::Parity,
    scripts::transactions::{adding, begin, committing, ending, epoch, init, producer, ready, writing},
    side::Side,
};

const NOBODY: i64 = 1 << 50;

pub async fn initializing(p: &mut Parity) {
    ready(p).await;
    let faults: &[Fault<InitProducerIdRequest>] = &[
        ("timeout 0", |_, request| request.transaction_timeout_ms = 0),
        ("timeout -1", |_, request| request.transaction_timeout_ms = -1),
        ("a long timeout", |_, request| {
            request.transaction_timeout_ms = i32::MAX
        }),
        ("another producer", |_, request| request.producer_id = NOBODY),
        ("producer -2", |_, request| request.producer_id = -2),
        ("no producer", |_, request| request.producer_id = -1),
        ("an epoch to come", |_, request| request.producer_epoch = 7),
        ("the largest epoch", |_, request| {
            request.producer_epoch = i16::MAX
        }),
        ("no epoch", |_, request| request.producer_epoch = -1),
        ("an empty id", |_, request| {
            request.transactional_id = Some(String::new())
        }),
        ("no id", |_, request| request.transactional_id = None),
        ("an unknown id", |_, request| {
            request.transactional_id = Some("pairs-unknown".to_owned())
        }),
    ];
    begin(p, "pairs-init").await;
    let good = |side: &Side| InitProducerIdRequest {
        producer_id: producer(side),
        producer_epoch: epoch(side),
        ..init("pairs-init")
    };
    let versions = ends::<InitProducerIdRequest>(p);
    pairs(p, &[versions[0], 3, versions[1]], good, faults).await;
}

/// No transaction is open.
pub async fn idle(p: &mut Parity) {
    ready(p).await;
    begin(p, "pairs-idle").await;
    refused(p, "pairs-idle").await;
}

/// A transaction is open, and has one partition.
pub async fn ongoing(p: &mut Parity) {
    ready(p).await;
    begin(p, "pairs-ongoing").await;
    p.at("adding", 3, |side| {
        adding(side, "pairs-ongoing", epoch(side), &[("txn", &[0])])
    })
    .await;
    refused(p, "pairs-ongoing").await;
    p.newest("ending", |side| ending(side, "pairs-ongoing", epoch(side), false))
        .await;
}

fn changed(request: &mut AddPartitionsToTxnRequest, change: impl Fn(&mut String, &mut i64, &mut i16)) {
    change(
        &mut request.v3_and_below_transactional_id,
        &mut request.v3_and_below_producer_id,
        &mut request.v3_and_below_producer_epoch,
    );
    let newer = &mut request.transactions[0];
    change(
        &mut newer.transactional_id,
        &mut newer.producer_id,
        &mut newer.producer_epoch,
    );
}

fn to_topic(request: &mut AddPartitionsToTxnRequest, name: &str, partitions: &[i32]) {
    let older = request.v3_and_below_topics.iter_mut();
    for topic in older.chain(&mut request.transactions[0].topics) {
        topic.name = name.to_owned();
        topic.partitions = partitions.to_vec();
    }
}

/// Nothing here begins or ends a transaction: one fault at least is in each request.
async fn refused(p: &mut Parity, id: &str) {
    let good = |side: &Side| ending(side, id, epoch(side), true);
    let versions = ends::<EndTxnRequest>(p);
    pairs(
        p,
        &[versions[0], 4, versions[1]],
        good,
        &[
            ("another producer", |_, request| request.producer_id = NOBODY),
            ("producer -1", |_, request| request.producer_id = -1),
            ("the epoch before", |side, request| {
                request.producer_epoch = epoch(side) - 1
            }),
            ("an epoch to come", |side, request| {
                request.producer_epoch = epoch(side) + 1
            }),
            ("an unknown id", |_, request| {
                request.transactional_id = "pairs-unknown".to_owned()
            }),
            ("no id", |_, request| request.transactional_id = String::new()),
        ],
    )
    .await;
    let good = |side: &Side| adding(side, id, epoch(side), &[("txn", &[0])]);
    let versions = ends::<AddPartitionsToTxnRequest>(p);
    pairs(
        p,
        &[versions[0], 3, 4, versions[1]],
        good,
        &[
            ("another producer", |_, request| {
                changed(request, |_, id, _| *id = NOBODY)
            }),
            ("producer -1", |_, request| changed(request, |_, id, _| *id = -1)),
            ("the epoch before", |side, request| {
                changed(request, |_, _, old| *old = epoch(side) - 1)
            }),
            ("an epoch to come", |side, request| {
                changed(request, |_, _, old| *old = epoch(side) + 1)
            }),
            ("an unknown topic", |_, request| {
                to_topic(request, "txn-none", &[0])
            }),
            ("an unknown partition", |_, request| {
                to_topic(request, "txn", &[0, 9])
            }),
            ("no partitions", |_, request| to_topic(request, "txn", &[])),
            ("an unknown id", |_, request| {
                changed(request, |id, _, _| *id = "pairs-unknown".to_owned())
            }),
            ("no id", |_, request| changed(request, |id, _, _| id.clear())),
        ],
    )
    .await;
    let good = |side: &Side| AddPartitionsToTxnRequest {
        transactions: {
            let mut transactions = adding(side, id, epoch(side), &[("txn", &[1])]).transactions;
            transactions[0].verify_only = true;
            transactions
        },
        ..Default::default()
    };
    pairs(
        p,
        &[4, versions[1]],
        good,
        &[
            ("another producer", |_, request| {
                changed(request, |_, id, _| *id = NOBODY)
            }),
            ("the epoch before", |side, request| {
                changed(request, |_, _, old| *old = epoch(side) - 1)
            }),
            ("an epoch to come", |side, request| {
                changed(request, |_, _, old| *old = epoch(side) + 1)
            }),
            ("an unknown topic", |_, request| {
                to_topic(request, "txn-none", &[0])
            }),
            ("an unknown id", |_, request| {
                changed(request, |id, _, _| *id = "pairs-unknown".to_owned())
            }),
            ("no id", |_, request| changed(request, |id, _, _| id.clear())),
        ],
    )
    .await;
    let good = |side: &Side| AddOffsetsToTxnRequest {
        transactional_id: id.to_owned(),
        producer_id: NOBODY,
        producer_epoch: epoch(side),
        group_id: "pairs-txn".to_owned(),
    };
    let versions = ends::<AddOffsetsToTxnRequest>(p);
    pairs(
        p,
        &versions,
        good,
        &[
            ("producer -1", |_, request| request.producer_id = -1),
            ("the epoch before", |side, request| {
                request.producer_epoch = epoch(side) - 1
            }),
            ("an epoch to come", |side, request| {
                request.producer_epoch = epoch(side) + 1
            }),
            ("no group", |_, request| request.group_id = String::new()),
            ("an unknown id", |_, request| {
                request.transactional_id = "pairs-unknown".to_owned()
            }),
            ("no id", |_, request| request.transactional_id = String::new()),
        ],
    )
    .await;
    let good = |side: &Side| committing(side, id, "pairs-txn", &[(0, 1)]);
    let versions = ends::<TxnOffsetCommitRequest>(p);
    // Version 5 begins a transaction by itself.
    pairs(
        p,
        &[versions[0], 4],
        good,
        &[
            ("another producer", |_, request| request.producer_id = NOBODY),
            ("the epoch before", |side, request| {
                request.producer_epoch = epoch(side) - 1
            }),
            ("an epoch to come", |side, request| {
                request.producer_epoch = epoch(side) + 1
            }),
            ("generation 7", |_, request| request.generation_id = 7),
            ("generation -1", |_, request| request.generation_id = -1),
            ("nobody", |_, request| request.member_id = "nobody".to_owned()),
            ("an unknown instance", |_, request| {
                request.group_instance_id = Some("two".to_owned())
            }),
            ("long metadata", |_, request| {
                request.topics[0].partitions[0].committed_metadata = Some("x".repeat(5000));
            }),
            ("an unknown partition", |_, request| {
                request.topics[0].partitions[0].partition_index = 9
            }),
            ("an unknown topic", |_, request| {
                request.topics[0].name = "txn-none".to_owned()
            }),
            ("no group", |_, request| request.group_id = String::new()),
            ("an unknown id", |_, request| {
                request.transactional_id = "pairs-unknown".to_owned()
            }),
            ("no id", |_, request| request.transactional_id = String::new()),
        ],
    )
    .await;
    // Partition 1 is in no transaction.
    let good = |side: &Side| {
        let mut request = writing(side, id, "txn", 0);
        request.topic_data[0].partition_data[0].index = 1;
        request
    };
    let faults: &[Fault<ProduceRequest>] = &[
        ("no id", |_, request| request.transactional_id = None),
        ("an unknown id", |_, request| {
            request.transactional_id = Some("pairs-unknown".to_owned())
        }),
        ("acks=1", |_, request| request.acks = 1),
        ("acks=2", |_, request| request.acks = 2),
        ("an unknown partition", |_, request| {
            request.topic_data[0].partition_data[0].index = 9
        }),
        ("a wrong checksum", |_, request| {
            let records = &mut request.topic_data[0].partition_data[0].records;
            let mut bytes = records.to_vec();
            bytes[17] ^= 1;
            *records = bytes.into();
        }),
    ];
    pairs(p, &[7, 11], good, faults).await;
}
