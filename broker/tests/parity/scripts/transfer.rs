//! Produce and Fetch.

use bytes::Bytes;
use heliostat_wire::{
    Uuid,
    builder::{BatchBuilder, NewRecord},
    compression::Compression,
    message::{
        ApiKey, FetchRequest, ProduceRequest,
        fetch::{FetchPartition, ForgottenTopic},
    },
};

use crate::{
    harness::Parity,
    requests::{THEN, batch, fetch as fetching, fetch_topic, filled, produce as producing, produce_topic},
    side::Side,
};

pub async fn produce(p: &mut Parity) {
    p.create("produce", 2, &[]).await;
    p.create("produce-other", 1, &[]).await;
    p.create(
        "produce-stamped",
        1,
        &[("message.timestamp.type", "LogAppendTime")],
    )
    .await;
    let records = batch(&["a", "b"]);
    p.all("appended", |side, _| {
        producing(side, "produce", 0, records.clone())
    })
    .await;
    p.all("stamped by the broker", |side, _| {
        producing(side, "produce-stamped", 0, records.clone())
    })
    .await;
    p.all("acks=1", |side, _| ProduceRequest {
        acks: 1,
        ..producing(side, "produce", 1, records.clone())
    })
    .await;
    for acks in [2, -2, i16::MAX] {
        p.all(&format!("acks={acks}"), |side, _| ProduceRequest {
            acks,
            ..producing(side, "produce", 0, records.clone())
        })
        .await;
    }
    for timeout_ms in [0, -1, i32::MAX] {
        p.newest(&format!("timeout {timeout_ms}"), |side| ProduceRequest {
            timeout_ms,
            ..producing(side, "produce", 0, records.clone())
        })
        .await;
    }
    for index in [2, -1, i32::MAX] {
        p.all(&format!("partition {index}"), |side, _| {
            producing(side, "produce", index, records.clone())
        })
        .await;
    }
    p.all("an unknown topic", |side, version| {
        let mut request = producing(side, "produce-none", 0, records.clone());
        if version >= 13 {
            request.topic_data[0].topic_id = Uuid::from_bytes([5; 16]);
        }
        request
    })
    .await;
    p.newest("the zero id", |side| {
        producing(side, "produce-none", 0, records.clone())
    })
    .await;
    for name in ["", "a b", "."] {
        p.at(&format!("named {name:?}"), 12, |side| {
            producing(side, name, 0, records.clone())
        })
        .await;
    }
    p.all("no topics", |_, _| ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        ..Default::default()
    })
    .await;
    p.all("no partitions", |side, _| ProduceRequest {
        topic_data: vec![produce_topic(side, "produce", vec![])],
        ..producing(side, "produce", 0, Bytes::new())
    })
    .await;
    p.all("good and bad", |side, _| ProduceRequest {
        topic_data: vec![
            produce_topic(
                side,
                "produce",
                vec![(1, records.clone()), (7, records.clone()), (0, records.clone())],
            ),
            produce_topic(side, "produce-other", vec![(0, records.clone())]),
        ],
        ..producing(side, "produce", 0, Bytes::new())
    })
    .await;
    for version in p.versions(ApiKey::Produce) {
        let zero = |request: ProduceRequest| ProduceRequest { acks: 0, ..request };
        p.silent("acks=0", version, |side| {
            zero(producing(side, "produce", 0, records.clone()))
        })
        .await;
        p.silent("acks=0, unknown partition", version, |side| {
            zero(producing(side, "produce", 9, records.clone()))
        })
        .await;
    }
    // A transactional id without a transaction, on records that are not part of one.
    p.all("a transactional id", |side, _| ProduceRequest {
        transactional_id: Some("produce-txn".to_owned()),
        ..producing(side, "produce", 0, records.clone())
    })
    .await;
    p.newest("what came of it", |side| {
        fetching(side, "produce", &[(0, 0), (1, 0)])
    })
    .await;
    p.newest("what came of it, stamped", |side| {
        fetching(side, "produce-stamped", &[(0, 0)])
    })
    .await;
}

/// Batches that are wrong, or nearly.
fn shapes() -> Vec<(String, Vec<u8>)> {
    let good = batch(&["a", "b"]).to_vec();
    let mut all = vec![
        ("nothing".to_owned(), Vec::new()),
        ("one byte".to_owned(), vec![0]),
    ];
    let mut add = |case: &str, bytes: Vec<u8>| all.push((case.to_owned(), bytes));
    let with = |at: usize, bytes: &[u8]| {
        let mut batch = good.clone();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        batch
    };
    let sealed = |at: usize, bytes: &[u8]| seal(with(at, bytes));
    add("cut in the header", good[..30].to_vec());
    add("cut in the records", good[..good.len() - 1].to_vec());
    add("followed by a byte", [&good[..], &[0]].concat());
    add("twice", [&good[..], &good].concat());
    add("followed by a part", [&good[..], &good[..20]].concat());
    add("a wrong checksum", with(17, &[1, 2, 3, 4]));
    for magic in [0, 1, 3, 0x80] {
        add(&format!("magic {magic}"), with(16, &[magic]));
    }
    add("length 0", with(8, &0_i32.to_be_bytes()));
    add("length -1", with(8, &(-1_i32).to_be_bytes()));
    add("length 10", with(8, &10_i32.to_be_bytes()));
    add("a length beyond the end", with(8, &10_000_i32.to_be_bytes()));
    add("base offset 5", with(0, &5_i64.to_be_bytes()));
    add("base offset -1", with(0, &(-1_i64).to_be_bytes()));
    add("leader epoch 7", with(12, &7_i32.to_be_bytes()));
    for count in [0, 1, 3, -1, i32::MAX] {
        add(&format!("count {count}"), sealed(57, &count.to_be_bytes()));
    }
    for delta in [0, 2, -1, i32::MAX] {
        add(
            &format!("last offset delta {delta}"),
            sealed(23, &delta.to_be_bytes()),
        );
    }
    for attributes in [0x08_u8, 0x10, 0x20, 0x30, 0x40, 0x05, 0x07, 0x80, 0x01] {
        add(&format!("attributes {attributes:#x}"), sealed(22, &[attributes]));
    }
    add(
        "a wrong largest timestamp",
        sealed(35, &(THEN + 500).to_be_bytes()),
    );
    add("a negative base timestamp", sealed(27, &(-5_i64).to_be_bytes()));
    add("a producer without an epoch", sealed(43, &77_i64.to_be_bytes()));
    add("an epoch without a producer", sealed(51, &3_i16.to_be_bytes()));
    add("a sequence without a producer", sealed(53, &3_i32.to_be_bytes()));
    let last = good.len() - 1;
    add("a wrong length of the last record", sealed(last - 6, &[0x7f]));
    add("a bad end of the last record", sealed(last, &[0x7f]));
    all
}

fn seal(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

pub async fn bad_batches(p: &mut Parity) {
    for (topic, configs) in [
        ("batches", &[][..]),
        ("batches-small", &[("max.message.bytes", "100")]),
        ("batches-compacted", &[("cleanup.policy", "compact")]),
        ("batches-old", &[("message.timestamp.before.max.ms", "1000")]),
        ("batches-gzip", &[("compression.type", "gzip")]),
        ("batches-plain", &[("compression.type", "uncompressed")]),
    ] {
        p.create(topic, 1, configs).await;
    }
    for (case, bytes) in shapes() {
        for version in [13, 7, 3] {
            p.at(&case, version, |side| {
                producing(side, "batches", 0, bytes.clone().into())
            })
            .await;
        }
        p.silent(&format!("acks=0, {case}"), 13, |side| ProduceRequest {
            acks: 0,
            ..producing(side, "batches-plain", 0, bytes.clone().into())
        })
        .await;
    }
    let codecs = [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for codec in codecs {
        let records = filled(BatchBuilder::new().compression(codec, None), &["a", "b", "c"]);
        for topic in ["batches", "batches-gzip", "batches-plain"] {
            p.all(&format!("{codec:?} to {topic}"), |side, _| {
                producing(side, topic, 0, records.clone())
            })
            .await;
        }
        let mut broken = records.to_vec();
        let end = broken.len();
        broken[end - 4..].fill(0x55);
        let broken = Bytes::from(seal(broken));
        p.newest(&format!("broken {codec:?}"), |side| {
            producing(side, "batches", 0, broken.clone())
        })
        .await;
    }
    let large = batch(&[&"x".repeat(200)]);
    p.all("too large", |side, _| {
        producing(side, "batches-small", 0, large.clone())
    })
    .await;
    let mut keyless = BatchBuilder::new();
    for key in [Some(&b"k"[..]), None, None] {
        keyless.push(NewRecord {
            timestamp: THEN,
            key,
            value: Some(b"v"),
            headers: &[],
        });
    }
    let keyless = Bytes::from(keyless.build().expect("a batch"));
    p.all("without keys", |side, _| {
        producing(side, "batches-compacted", 0, keyless.clone())
    })
    .await;
    p.all("too old", |side, _| {
        producing(side, "batches-old", 0, batch(&["a", "b"]))
    })
    .await;
    let mut future = BatchBuilder::new();
    future.push(NewRecord {
        timestamp: 1 << 50,
        key: None,
        value: None,
        headers: &[],
    });
    let future = Bytes::from(future.build().expect("a batch"));
    p.all("from the future", |side, _| {
        producing(side, "batches", 0, future.clone())
    })
    .await;
    for topic in [
        "batches",
        "batches-small",
        "batches-compacted",
        "batches-old",
        "batches-gzip",
        "batches-plain",
    ] {
        p.newest(&format!("what came of it in {topic}"), |side| {
            fetching(side, topic, &[(0, 0)])
        })
        .await;
    }
}

pub async fn fetch(p: &mut Parity) {
    p.create("fetch", 2, &[]).await;
    for values in [&["a", "b", "c"][..], &["d"], &["e", "f"]] {
        p.append("fetch", &batch(values)).await;
    }
    for offset in [0, 1, 2, 3, 5, 6, 7, 100, -1, i64::MAX, i64::MIN] {
        p.all(&format!("offset {offset}"), |side, _| {
            fetching(side, "fetch", &[(0, offset)])
        })
        .await;
    }
    p.all("an empty partition", |side, _| {
        fetching(side, "fetch", &[(1, 0), (0, 4)])
    })
    .await;
    p.all("unknown partitions", |side, _| {
        fetching(side, "fetch", &[(2, 0), (-1, 0), (0, 5)])
    })
    .await;
    p.all("an unknown topic", |side, version| {
        let mut request = fetching(side, "fetch-none", &[(0, 0)]);
        if version >= 13 {
            request.topics[0].topic_id = Uuid::from_bytes([5; 16]);
        }
        request
    })
    .await;
    p.newest("the zero id", |side| fetching(side, "fetch-none", &[(0, 0)]))
        .await;
    for name in ["", "a b"] {
        p.at(&format!("named {name:?}"), 12, |side| {
            fetching(side, name, &[(0, 0)])
        })
        .await;
    }
    p.all("no topics", |side, _| FetchRequest {
        topics: vec![],
        ..fetching(side, "fetch", &[])
    })
    .await;
    p.all("no partitions", |side, _| fetching(side, "fetch", &[]))
        .await;
    p.all("a partition twice", |side, _| {
        fetching(side, "fetch", &[(0, 3), (0, 4)])
    })
    .await;
    for isolation_level in [0, 1, 2, -1] {
        p.all(&format!("isolation {isolation_level}"), |side, _| FetchRequest {
            isolation_level,
            ..fetching(side, "fetch", &[(0, 3)])
        })
        .await;
    }
    for epoch in [0, 1, 7, -2] {
        p.all(&format!("leader epoch {epoch}"), |side, _| {
            with_partition(side, |partition| {
                partition.current_leader_epoch = epoch;
            })
        })
        .await;
        p.all(&format!("last fetched epoch {epoch}"), |side, _| {
            with_partition(side, |partition| {
                partition.last_fetched_epoch = epoch;
            })
        })
        .await;
    }
    for (id, epoch) in [(0, -1), (5, -1), (5, 0), (0, 1), (5, 1), (-1, 1), (0, -2)] {
        p.all(&format!("session {id}, epoch {epoch}"), |side, _| FetchRequest {
            session_id: id,
            session_epoch: epoch,
            ..fetching(side, "fetch", &[(0, 4)])
        })
        .await;
    }
    p.all("a forgotten topic", |side, _| FetchRequest {
        forgotten_topics_data: vec![ForgottenTopic {
            topic: "fetch".to_owned(),
            topic_id: side.topic_id("fetch"),
            partitions: vec![0],
        }],
        ..fetching(side, "fetch", &[(0, 4)])
    })
    .await;
    p.all("a rack", |side, _| FetchRequest {
        rack_id: "here".to_owned(),
        ..fetching(side, "fetch", &[(0, 4)])
    })
    .await;
    for replica_id in [-2, 0, 1, 7] {
        p.at(&format!("replica {replica_id}"), 11, |side| FetchRequest {
            replica_id,
            ..fetching(side, "fetch", &[(0, 4)])
        })
        .await;
    }
}

fn with_partition(side: &Side, change: impl Fn(&mut FetchPartition)) -> FetchRequest {
    let mut request = fetching(side, "fetch", &[(0, 2)]);
    change(&mut request.topics[0].partitions[0]);
    request
}

pub async fn fetch_limits(p: &mut Parity) {
    p.create("limits", 1, &[]).await;
    p.create("limits-b", 1, &[]).await;
    let one = batch(&["0123456789"; 5]);
    let size = one.len() as i32;
    for _ in 0..4 {
        p.append("limits", &one).await;
        p.append("limits-b", &one).await;
    }
    let from = |side: &Side, offset| fetching(side, "limits", &[(0, offset)]);
    for max_bytes in [0, 1, size - 1, size, size + 1, 2 * size, 3 * size - 1, -1] {
        p.newest(
            &format!("max_bytes of {max_bytes} in batches of {size}"),
            |side| FetchRequest {
                max_bytes,
                ..from(side, 0)
            },
        )
        .await;
        p.at(
            &format!("partition_max_bytes of {max_bytes} in batches of {size}"),
            12,
            |side| {
                let mut request = from(side, 7);
                request.topics[0].partitions[0].partition_max_bytes = max_bytes;
                request
            },
        )
        .await;
    }
    for min_bytes in [0, 1, -1, i32::MAX] {
        for max_wait_ms in [0, 1, -1] {
            p.newest(
                &format!("min_bytes {min_bytes}, max_wait_ms {max_wait_ms}"),
                |side| FetchRequest {
                    min_bytes,
                    max_wait_ms,
                    ..from(side, 20)
                },
            )
            .await;
        }
    }
    p.newest("an error ends the wait", |side| FetchRequest {
        min_bytes: i32::MAX,
        max_wait_ms: 20_000,
        ..from(side, 21)
    })
    .await;
    p.newest("two topics", |side| FetchRequest {
        topics: vec![
            fetch_topic(side, "limits", &[(0, 15)]),
            fetch_topic(side, "limits-b", &[(0, 15)]),
        ],
        ..from(side, 0)
    })
    .await;
}
