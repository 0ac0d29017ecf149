//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords; and what becomes of all of it when a topic is made anew.

use bytes::Bytes;
use heliostat_wire::{
    builder::{BatchBuilder, NewRecord},
    message::{
        DeleteRecordsRequest, DeleteTopicsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_topics::DeleteTopicState,
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};

use crate::{
    harness::Parity,
    requests::{THEN, batch, fetch, list_offsets as listing, produce},
};

/// A batch with these times.
fn at(times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for timestamp in times {
        builder.push(NewRecord {
            timestamp: *timestamp,
            key: Some(b"k"),
            value: Some(b"v"),
            headers: &[],
        });
    }
    builder.build().expect("a batch").into()
}

pub async fn list_offsets(p: &mut Parity) {
    p.create("times", 2, &[]).await;
    for times in [
        &[THEN, THEN + 10, THEN + 5][..],
        &[THEN + 7],
        &[THEN + 30, THEN + 30],
        &[THEN + 2],
    ] {
        p.append("times", &at(times)).await;
    }
    for timestamp in [
        -1,
        -2,
        -3,
        -4,
        -5,
        -6,
        -7,
        i64::MIN,
        0,
        THEN,
        THEN + 1,
        THEN + 6,
        THEN + 11,
        THEN + 30,
        THEN + 31,
        i64::MAX,
    ] {
        p.all(&format!("time {timestamp}"), |_, _| {
            listing("times", &[(0, timestamp)])
        })
        .await;
        p.all(&format!("time {timestamp} where there is nothing"), |_, _| {
            listing("times", &[(1, timestamp)])
        })
        .await;
        p.all(&format!("time {timestamp}, committed"), |_, _| {
            ListOffsetsRequest {
                isolation_level: 1,
                ..listing("times", &[(0, timestamp)])
            }
        })
        .await;
    }
    for isolation_level in [2, -1] {
        p.newest(&format!("isolation {isolation_level}"), |_| ListOffsetsRequest {
            isolation_level,
            ..listing("times", &[(0, -1)])
        })
        .await;
    }
    p.all("unknown partitions", |_, _| {
        listing("times", &[(2, -1), (-1, -1), (0, -1)])
    })
    .await;
    p.all("a partition twice", |_, _| {
        listing("times", &[(0, -1), (0, -2), (1, -1)])
    })
    .await;
    for name in ["times-none", "", "a b"] {
        p.all(&format!("topic {name:?}"), |_, _| listing(name, &[(0, -1)]))
            .await;
    }
    p.all("no topics", |_, _| ListOffsetsRequest {
        topics: vec![],
        ..listing("times", &[])
    })
    .await;
    p.all("no partitions", |_, _| listing("times", &[])).await;
    for epoch in [0, 1, 5, -2] {
        p.all(&format!("leader epoch {epoch}"), |_, _| {
            let mut request = listing("times", &[(0, -1)]);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            request
        })
        .await;
    }
    for replica_id in [0, 1, -2, -3] {
        p.newest(&format!("replica {replica_id}"), |_| ListOffsetsRequest {
            replica_id,
            ..listing("times", &[(0, -1)])
        })
        .await;
    }
    for timeout_ms in [0, -1] {
        p.newest(&format!("timeout {timeout_ms}"), |_| ListOffsetsRequest {
            timeout_ms,
            ..listing("times", &[(0, -1)])
        })
        .await;
    }
}

pub async fn leader_epochs(p: &mut Parity) {
    p.create("epochs", 2, &[]).await;
    p.append("epochs", &batch(&["a", "b"])).await;
    let ask = |name: &str, partitions: &[(i32, i32, i32)]| OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: name.to_owned(),
            partitions: partitions
                .iter()
                .map(
                    |&(partition, current_leader_epoch, leader_epoch)| OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch,
                        leader_epoch,
                    },
                )
                .collect(),
        }],
    };
    for epoch in [0, 1, 7, -1, -2, i32::MAX] {
        p.all(&format!("epoch {epoch}"), |_, _| {
            ask("epochs", &[(0, -1, epoch), (1, -1, epoch)])
        })
        .await;
        p.all(&format!("current epoch {epoch}"), |_, _| {
            ask("epochs", &[(0, epoch, 0)])
        })
        .await;
    }
    p.all("unknown partitions", |_, _| {
        ask("epochs", &[(2, -1, 0), (-1, -1, 0)])
    })
    .await;
    p.all("twice", |_, _| ask("epochs", &[(0, -1, 0), (0, -1, 1)]))
        .await;
    for name in ["epochs-none", "", "a b"] {
        p.all(&format!("topic {name:?}"), |_, _| ask(name, &[(0, -1, 0)]))
            .await;
    }
    p.all("no partitions", |_, _| ask("epochs", &[])).await;
    p.all("no topics", |_, _| OffsetForLeaderEpochRequest {
        topics: vec![],
        ..ask("epochs", &[])
    })
    .await;
    for replica_id in [-2, 1, 5] {
        p.all(&format!("replica {replica_id}"), |_, _| {
            OffsetForLeaderEpochRequest {
                replica_id,
                ..ask("epochs", &[(0, -1, 0)])
            }
        })
        .await;
    }
}

pub fn delete_before(name: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |&(partition_index, offset): &(i32, i64)| DeleteRecordsPartition {
        partition_index,
        offset,
    };
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: name.to_owned(),
            partitions: partitions.iter().map(partition).collect(),
        }],
        timeout_ms: 10_000,
    }
}

pub async fn delete_records(p: &mut Parity) {
    p.create("cut", 2, &[]).await;
    p.create("cut-compacted", 1, &[("cleanup.policy", "compact")])
        .await;
    p.create("cut-both", 1, &[("cleanup.policy", "compact,delete")])
        .await;
    for topic in ["cut", "cut-compacted", "cut-both"] {
        for values in [["a", "b", "c"], ["d", "e", "f"], ["g", "h", "i"]] {
            p.append(topic, &batch(&values)).await;
        }
    }
    for (version, offset) in (0..).zip([1, 4, 5]) {
        p.at("some", version, |_| delete_before("cut", &[(0, offset)]))
            .await;
        p.at("fewer than are gone", version, |_| {
            delete_before("cut", &[(0, offset - 1)])
        })
        .await;
        p.newest("reading from before the start", |side| {
            fetch(side, "cut", &[(0, offset - 1)])
        })
        .await;
        p.newest("reading from the start", |side| {
            fetch(side, "cut", &[(0, offset)])
        })
        .await;
        p.newest("the start", |_| listing("cut", &[(0, -2), (0, -1)]))
            .await;
        p.newest("by time", |_| listing("cut", &[(0, THEN)])).await;
    }
    for offset in [10, 100, -2, i64::MIN, i64::MAX] {
        p.all(&format!("offset {offset}"), |_, _| {
            delete_before("cut", &[(0, offset)])
        })
        .await;
    }
    p.all("unknown partitions", |_, _| {
        delete_before("cut", &[(2, 0), (-1, 0), (1, 0)])
    })
    .await;
    p.all("a partition twice", |_, _| {
        delete_before("cut", &[(0, 6), (0, 5)])
    })
    .await;
    for name in ["cut-none", "", "a b", "cut-compacted", "cut-both"] {
        p.all(&format!("topic {name:?}"), |_, _| delete_before(name, &[(0, 1)]))
            .await;
    }
    p.all("no partitions", |_, _| delete_before("cut", &[])).await;
    p.all("no topics", |_, _| DeleteRecordsRequest {
        topics: vec![],
        timeout_ms: 1000,
    })
    .await;
    for timeout_ms in [0, -1] {
        p.newest(&format!("timeout {timeout_ms}"), |_| DeleteRecordsRequest {
            timeout_ms,
            ..delete_before("cut", &[(0, 7)])
        })
        .await;
    }
    p.all("all of it", |_, _| delete_before("cut", &[(0, -1), (1, -1)]))
        .await;
    p.newest("reading at the end", |side| fetch(side, "cut", &[(0, 9), (1, 0)]))
        .await;
    p.newest("the offsets", |_| listing("cut", &[(0, -2), (1, -1)]))
        .await;
    p.newest("writing goes on", |side| produce(side, "cut", 0, batch(&["j"])))
        .await;
    p.newest("reading goes on", |side| fetch(side, "cut", &[(0, 9)]))
        .await;
    p.newest("the largest time", |_| listing("cut", &[(0, -3)])).await;
}

pub async fn recreated(p: &mut Parity) {
    p.create("again", 2, &[("retention.ms", "100000000000000")]).await;
    p.append("again", &batch(&["a", "b", "c"])).await;
    p.newest("some", |_| delete_before("again", &[(0, 2)])).await;
    for side in [&mut p.ours, &mut p.kafka] {
        let id = side.topic_id("again");
        side.register("again-old", id);
    }
    p.newest("by name", |_| DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some("again".to_owned()),
            ..Default::default()
        }],
        timeout_ms: 20_000,
        ..Default::default()
    })
    .await;
    p.gone("again").await;
    let records = batch(&["d"]);
    p.newest("writing to a topic that is gone", |side| {
        produce(side, "again", 0, records.clone())
    })
    .await;
    p.newest("reading a topic that is gone", |side| {
        fetch(side, "again", &[(0, 0)])
    })
    .await;
    p.at("writing to a topic that is gone", 12, |side| {
        produce(side, "again", 0, records.clone())
    })
    .await;
    p.at("reading a topic that is gone", 12, |side| {
        fetch(side, "again", &[(0, 0)])
    })
    .await;
    p.newest("offsets of a topic that is gone", |_| {
        listing("again", &[(0, -1)])
    })
    .await;
    p.create("again", 1, &[]).await;
    p.newest("writing with the old id", |side| {
        produce(side, "again-old", 0, records.clone())
    })
    .await;
    p.newest("reading with the old id", |side| {
        fetch(side, "again-old", &[(0, 0)])
    })
    .await;
    p.newest("reading the new topic", |side| fetch(side, "again", &[(0, 0)]))
        .await;
    p.newest("writing to the new topic", |side| {
        produce(side, "again", 0, records.clone())
    })
    .await;
    p.newest("the offsets", |_| listing("again", &[(0, -2)])).await;
    p.newest("reading what was written", |side| {
        fetch(side, "again", &[(0, 0), (1, 0)])
    })
    .await;
}
