//! InitProducerId and what idempotent producers write; FindCoordinator.

use bytes::Bytes;
use heliostat_wire::{
    builder::BatchBuilder,
    message::{FindCoordinatorRequest, InitProducerIdRequest},
};

use crate::{
    harness::Parity,
    requests::{fetch, filled, produce},
    side::Side,
};

fn init(transactional_id: Option<&str>, producer_id: i64, producer_epoch: i16) -> InitProducerIdRequest {
    InitProducerIdRequest {
        transactional_id: transactional_id.map(str::to_owned),
        transaction_timeout_ms: 10_000,
        producer_id,
        producer_epoch,
    }
}

pub async fn ids(p: &mut Parity) {
    p.gives_producer_ids().await;
    p.all("an id", |_, _| init(None, -1, -1)).await;
    p.all("an empty transactional id", |_, _| init(Some(""), -1, -1))
        .await;
    for (id, epoch) in [(5, 0), (5, -1), (-1, 3), (-2, -1), (5, i16::MAX)] {
        p.all(&format!("id {id}, epoch {epoch}"), |_, _| init(None, id, epoch))
            .await;
    }
    for transaction_timeout_ms in [0, -1, i32::MAX] {
        p.all(&format!("timeout {transaction_timeout_ms}"), |_, _| {
            InitProducerIdRequest {
                transaction_timeout_ms,
                ..init(None, -1, -1)
            }
        })
        .await;
    }
}

fn sequenced(side: &Side, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    filled(
        BatchBuilder::new().producer(side.noted_number("producer"), epoch, sequence),
        values,
    )
}

pub async fn idempotent(p: &mut Parity) {
    p.create("idempotent", 2, &[]).await;
    let first = p.newest("the producer", |_| init(None, -1, -1)).await;
    p.keep("producer", &first, |answer| answer.producer_id.to_string());
    let steps: &[(&str, i16, i32, &[&str])] = &[
        ("the first must be 0", 0, 5, &["x"]),
        ("the first", 0, 0, &["a", "b"]),
        ("again", 0, 0, &["a", "b"]),
        ("a part of it again", 0, 0, &["a"]),
        ("the next", 0, 2, &["c"]),
        ("a gap", 0, 4, &["x"]),
        ("going back", 0, 1, &["x"]),
        ("the first once more", 0, 0, &["a", "b"]),
        ("a new epoch in the middle", 1, 3, &["x"]),
        ("a new epoch", 1, 0, &["d"]),
        ("the old epoch", 0, 3, &["x"]),
        ("a negative epoch", -1, 1, &["x"]),
        ("a negative sequence", 1, -2, &["x"]),
    ];
    for (case, epoch, sequence, values) in steps {
        for version in [13, 8, 3] {
            p.at(case, version, |side| {
                produce(side, "idempotent", 0, sequenced(side, *epoch, *sequence, values))
            })
            .await;
        }
    }
    for batch in 0..7 {
        p.newest("many", |side| {
            produce(side, "idempotent", 1, sequenced(side, 0, batch * 2, &["a", "b"]))
        })
        .await;
    }
    for batch in 0..7 {
        let case = format!("batch {batch} of 7 again");
        p.newest(&case, |side| {
            produce(side, "idempotent", 1, sequenced(side, 0, batch * 2, &["a", "b"]))
        })
        .await;
    }
    p.newest("what came of it", |side| {
        fetch(side, "idempotent", &[(0, 0), (1, 0)])
    })
    .await;
}

pub async fn coordinators(p: &mut Parity) {
    // The first request for a group makes Kafka create its topic, which takes a moment.
    p.coordinated("coordinated", 0).await;
    let find = |key_type: i8, keys: &[&str]| FindCoordinatorRequest {
        key: keys.first().unwrap_or(&"").to_string(),
        key_type,
        coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    for key_type in [0, 2, -1, 9] {
        p.all(&format!("type {key_type}"), |_, _| {
            find(key_type, &["coordinated"])
        })
        .await;
        p.all(&format!("type {key_type}, an empty key"), |_, _| {
            find(key_type, &[""])
        })
        .await;
        p.all(&format!("type {key_type}, several"), |_, _| {
            find(key_type, &["a", "b", "a"])
        })
        .await;
    }
    p.newest("none", |_| find(0, &[])).await;
}
