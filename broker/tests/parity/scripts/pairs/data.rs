//! What is written to and read from partitions.

use bytes::Bytes;
use heliostat_wire::{
    Uuid,
    builder::{BatchBuilder, NewRecord},
    message::{
        FetchRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest, ProduceRequest,
        fetch::FetchPartition,
        list_offsets::ListOffsetsPartition,
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce::TopicProduceData,
    },
};

use super::{Fault, pairs};
use crate::{
    harness::Parity,
    requests::{self, THEN, batch, filled},
    side::Side,
};

/// An id that no topic has.
const NO_ID: Uuid = Uuid::from_bytes([5; 16]);

/// Changes the batch of a request, and leaves its checksum as good as it was.
fn edit(request: &mut ProduceRequest, change: impl Fn(&mut Vec<u8>)) {
    const CRC: std::ops::Range<usize> = 17..21;
    let records = &mut topic(request).partition_data[0].records;
    let mut bytes = records.to_vec();
    let good = bytes[CRC] == crc32c::crc32c(&bytes[21..]).to_be_bytes();
    change(&mut bytes);
    if good && bytes.len() > CRC.end {
        let crc = crc32c::crc32c(&bytes[CRC.end..]).to_be_bytes();
        bytes[CRC].copy_from_slice(&crc);
    }
    *records = bytes.into();
}

fn put(request: &mut ProduceRequest, at: usize, bytes: &[u8]) {
    edit(request, |batch| {
        batch[at..at + bytes.len()].copy_from_slice(bytes)
    });
}

fn topic(request: &mut ProduceRequest) -> &mut TopicProduceData {
    &mut request.topic_data[0]
}

/// What can be wrong with records that a client has sent.
const RECORDS: &[Fault<ProduceRequest>] = &[
    ("too large", |_, request| {
        topic(request).partition_data[0].records = batch(&["a", &"x".repeat(300)]);
    }),
    ("no key", |_, request| {
        let mut builder = BatchBuilder::new();
        for key in [None, Some(&b"k"[..])] {
            builder.push(NewRecord {
                timestamp: THEN,
                key,
                value: Some(b"v"),
                headers: &[],
            });
        }
        topic(request).partition_data[0].records = Bytes::from(builder.build().expect("a batch"));
    }),
    ("from the future", |_, request| {
        put(request, 27, &(1_i64 << 50).to_be_bytes());
        put(request, 35, &(1_i64 << 50).to_be_bytes());
    }),
    ("a wrong count", |_, request| {
        put(request, 57, &7_i32.to_be_bytes())
    }),
    ("a wrong last offset", |_, request| {
        put(request, 23, &7_i32.to_be_bytes())
    }),
    ("base offset 5", |_, request| {
        put(request, 0, &5_i64.to_be_bytes())
    }),
    ("a control batch", |_, request| put(request, 22, &[0x20])),
    ("a transaction", |_, request| put(request, 22, &[0x10])),
    ("a transaction's marker", |_, request| put(request, 22, &[0x30])),
    ("not compressed as it says", |_, request| put(request, 22, &[1])),
    ("an unknown codec", |_, request| put(request, 22, &[7])),
    ("a producer without an epoch", |_, request| {
        put(request, 43, &77_i64.to_be_bytes())
    }),
    ("a sequence without a producer", |_, request| {
        put(request, 53, &3_i32.to_be_bytes())
    }),
    ("a bad record", |_, request| {
        edit(request, |batch| *batch.last_mut().expect("a record") = 0x7f)
    }),
    ("magic 1", |_, request| put(request, 16, &[1])),
    ("magic 9", |_, request| put(request, 16, &[9])),
    ("a wrong checksum", |_, request| {
        let records = &mut topic(request).partition_data[0].records;
        let mut bytes = records.to_vec();
        bytes[17] ^= 1;
        *records = bytes.into();
    }),
    ("two batches", |_, request| {
        edit(request, |batch| batch.extend_from_within(..))
    }),
    ("cut short", |_, request| {
        edit(request, |batch| batch.truncate(batch.len() - 1))
    }),
    ("a wrong length", |_, request| {
        put(request, 8, &10_i32.to_be_bytes())
    }),
    ("an unknown partition", |_, request| {
        topic(request).partition_data[0].index = 9
    }),
    ("an unknown topic", |_, request| {
        topic(request).name = "pairs-none".to_owned();
        topic(request).topic_id = NO_ID;
    }),
    ("acks=2", |_, request| request.acks = 2),
    ("a transactional id", |_, request| {
        request.transactional_id = Some("pairs".to_owned())
    }),
    ("a partition twice", |_, request| {
        let again = topic(request).partition_data[0].clone();
        topic(request).partition_data.push(again);
    }),
];

const STRICT: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("max.message.bytes", "200"),
    ("message.timestamp.after.max.ms", "3600000"),
];

pub async fn produce(p: &mut Parity) {
    p.create("pairs-strict", 1, &STRICT).await;
    let good = |side: &Side| requests::produce(side, "pairs-strict", 0, batch(&["a", "b"]));
    pairs(p, &[3, 8, 13], good, RECORDS).await;
    p.newest("what came of it", |side| {
        requests::fetch(side, "pairs-strict", &[(0, 0)])
    })
    .await;
}

/// What can be wrong with records of an idempotent producer, beside what can be with all.
const SEQUENCED: &[Fault<ProduceRequest>] = &[
    ("from the future", |_, request| {
        put(request, 27, &(1_i64 << 50).to_be_bytes());
        put(request, 35, &(1_i64 << 50).to_be_bytes());
    }),
    ("sent before", |_, request| put(request, 53, &0_i32.to_be_bytes())),
    ("a gap", |_, request| put(request, 53, &50_i32.to_be_bytes())),
    ("a negative sequence", |_, request| {
        put(request, 53, &(-2_i32).to_be_bytes())
    }),
    ("the epoch before", |_, request| {
        put(request, 51, &0_i16.to_be_bytes())
    }),
    ("an epoch to come", |_, request| {
        put(request, 51, &5_i16.to_be_bytes())
    }),
    ("an unknown producer", |_, request| {
        put(request, 43, &(1_i64 << 50).to_be_bytes())
    }),
    ("a control batch", |_, request| put(request, 22, &[0x20])),
    ("a transaction", |_, request| put(request, 22, &[0x10])),
    ("a wrong count", |_, request| {
        put(request, 57, &7_i32.to_be_bytes())
    }),
    ("a bad record", |_, request| {
        edit(request, |batch| *batch.last_mut().expect("a record") = 0x7f)
    }),
    ("two batches", |_, request| {
        edit(request, |batch| batch.extend_from_within(..))
    }),
    ("a partition twice", |_, request| {
        let again = topic(request).partition_data[0].clone();
        topic(request).partition_data.push(again);
    }),
];

pub async fn produce_sequenced(p: &mut Parity) {
    p.create("pairs-sequenced", 1, &STRICT).await;
    p.gives_producer_ids().await;
    let first = p
        .newest("the producer", |_| InitProducerIdRequest {
            transaction_timeout_ms: 10_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        })
        .await;
    p.keep("producer", &first, |answer| answer.producer_id.to_string());
    let sequenced = |side: &Side, epoch, sequence| {
        let builder = BatchBuilder::new().producer(side.noted_number("producer"), epoch, sequence);
        requests::produce(side, "pairs-sequenced", 0, filled(builder, &["a", "b"]))
    };
    for epoch in [0, 1] {
        p.newest("set up", |side| sequenced(side, epoch, 0)).await;
    }
    pairs(p, &[3, 8, 13], |side| sequenced(side, 1, 2), SEQUENCED).await;
    p.newest("what came of it", |side| {
        requests::fetch(side, "pairs-sequenced", &[(0, 0)])
    })
    .await;
}

fn fetched(request: &mut FetchRequest) -> &mut FetchPartition {
    &mut request.topics[0].partitions[0]
}

pub async fn fetch(p: &mut Parity) {
    p.create("pairs-fetched", 2, &[]).await;
    p.append("pairs-fetched", &batch(&["a", "b", "c"])).await;
    let faults: &[Fault<FetchRequest>] = &[
        ("offset 100", |_, request| fetched(request).fetch_offset = 100),
        ("offset -1", |_, request| fetched(request).fetch_offset = -1),
        ("current epoch 7", |_, request| {
            fetched(request).current_leader_epoch = 7
        }),
        ("current epoch -2", |_, request| {
            fetched(request).current_leader_epoch = -2
        }),
        ("last epoch 7", |_, request| {
            fetched(request).last_fetched_epoch = 7
        }),
        ("last epoch -2", |_, request| {
            fetched(request).last_fetched_epoch = -2
        }),
        ("no bytes", |_, request| fetched(request).partition_max_bytes = 0),
        ("an unknown partition", |_, request| {
            fetched(request).partition = 9
        }),
        ("an unknown topic", |_, request| {
            request.topics[0].topic = "pairs-none".to_owned();
            request.topics[0].topic_id = NO_ID;
        }),
        ("no topic", |_, request| {
            request.topics[0].topic = String::new();
            request.topics[0].topic_id = Uuid::ZERO;
        }),
        ("an unknown session", |_, request| {
            (request.session_id, request.session_epoch) = (5, 3)
        }),
        ("session epoch 3", |_, request| request.session_epoch = 3),
        ("session epoch -2", |_, request| request.session_epoch = -2),
        ("a wait for more", |_, request| {
            (request.min_bytes, request.max_wait_ms) = (1, 1)
        }),
        ("a partition twice", |_, request| {
            let mut again = fetched(request).clone();
            again.fetch_offset = 1;
            request.topics[0].partitions.push(again);
        }),
    ];
    let good = |side: &Side| FetchRequest {
        session_epoch: -1,
        ..requests::fetch(side, "pairs-fetched", &[(0, 0)])
    };
    let [oldest, newest] = super::ends::<FetchRequest>(p);
    pairs(p, &[oldest, 11, 12, 13, newest], good, faults).await;
}

fn listed(request: &mut ListOffsetsRequest) -> &mut ListOffsetsPartition {
    &mut request.topics[0].partitions[0]
}

pub async fn list_offsets(p: &mut Parity) {
    p.create("pairs-listed", 2, &[]).await;
    p.append("pairs-listed", &batch(&["a", "b", "c"])).await;
    let faults: &[Fault<ListOffsetsRequest>] = &[
        ("time -9", |_, request| listed(request).timestamp = -9),
        ("the largest time", |_, request| listed(request).timestamp = -3),
        ("the local start", |_, request| listed(request).timestamp = -4),
        ("tiered", |_, request| listed(request).timestamp = -5),
        ("epoch 7", |_, request| listed(request).current_leader_epoch = 7),
        ("epoch -2", |_, request| listed(request).current_leader_epoch = -2),
        ("an unknown partition", |_, request| {
            listed(request).partition_index = 9
        }),
        ("an unknown topic", |_, request| {
            request.topics[0].name = "pairs-none".to_owned()
        }),
        ("a bad topic", |_, request| {
            request.topics[0].name = "a b".to_owned()
        }),
        ("replica 7", |_, request| request.replica_id = 7),
        ("a partition twice", |_, request| {
            let again = listed(request).clone();
            request.topics[0].partitions.push(again);
        }),
        ("a topic twice", |_, request| {
            let again = request.topics[0].clone();
            request.topics.push(again);
        }),
    ];
    let good = |_: &Side| requests::list_offsets("pairs-listed", &[(0, -1)]);
    let versions: Vec<i16> = p.versions(heliostat_wire::message::ApiKey::ListOffsets).collect();
    pairs(p, &versions, good, faults).await;
}

fn ended(request: &mut OffsetForLeaderEpochRequest) -> &mut OffsetForLeaderPartition {
    &mut request.topics[0].partitions[0]
}

pub async fn leader_epochs(p: &mut Parity) {
    p.create("pairs-epochs", 2, &[]).await;
    p.append("pairs-epochs", &batch(&["a", "b"])).await;
    let faults: &[Fault<OffsetForLeaderEpochRequest>] = &[
        ("epoch 7", |_, request| ended(request).leader_epoch = 7),
        ("current epoch 7", |_, request| {
            ended(request).current_leader_epoch = 7
        }),
        ("current epoch -2", |_, request| {
            ended(request).current_leader_epoch = -2
        }),
        ("an unknown partition", |_, request| ended(request).partition = 9),
        ("an unknown topic", |_, request| {
            request.topics[0].topic = "pairs-none".to_owned()
        }),
        ("a bad topic", |_, request| {
            request.topics[0].topic = "a b".to_owned()
        }),
        ("replica 7", |_, request| request.replica_id = 7),
        ("a partition twice", |_, request| {
            let again = ended(request).clone();
            request.topics[0].partitions.push(again);
        }),
    ];
    let good = |_: &Side| OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: "pairs-epochs".to_owned(),
            partitions: vec![OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch: -1,
                leader_epoch: 0,
            }],
        }],
    };
    let versions = super::ends::<OffsetForLeaderEpochRequest>(p);
    pairs(p, &versions, good, faults).await;
}
